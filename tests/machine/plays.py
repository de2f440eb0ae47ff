"""Plays: one worker drives a run to its end, and what fails or says no is given by name."""

from collections.abc import Collection

from cloaca.contract.plans import Plan
from cloaca.machine.commands import Adopt, Begin, Command, Complete, Fail
from cloaca.machine.decisions import Rejected, step
from cloaca.machine.events import Event
from cloaca.machine.states import RunState, enabled

LEASE, AT = 1, 1000.0


def do(plan: Plan, state: RunState, command: Command) -> tuple[Event, ...]:
    """Put a command through the machine, which must accept it."""
    decision = step(plan, state, command)
    assert not isinstance(decision, Rejected), decision
    return decision


def adopted(plan: Plan) -> RunState:
    """Return the state of a run that a worker has just taken."""
    state = RunState(plan)
    do(plan, state, Adopt(LEASE, AT))
    return state


def play(
    plan: Plan, *, failing: Collection[str] = (), refusing: Collection[str] = (), typed: Collection[str] = ()
) -> RunState:
    """Return the state at the end of a run in which these nodes fail and these conditions say no.

    Those of them that fail and are ``typed`` have answered with an error.
    """
    state = adopted(plan)
    while nodes := enabled(state, AT):
        node = plan.nodes[nodes[0]]
        do(plan, state, Begin(node.index, LEASE, AT))
        if node.name in failing:
            do(plan, state, Fail(node.index, 1, LEASE, AT, retryable=False, typed=node.name in typed))
        else:
            verdict = node.name not in refusing if node.decides else None
            do(plan, state, Complete(node.index, 1, LEASE, AT, verdict))
    return state


def ends(plan: Plan, state: RunState) -> dict[str, str]:
    """Return how each node stands: its status, and for a skipped one by what."""
    return {
        node.name: f"skipped by {state.skips[node.index].by}" if node.index in state.skips else state.tasks[node.index]
        for node in plan.nodes
    }
