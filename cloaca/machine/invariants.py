"""What is true of every run after every step, as named functions of plan and state.

Each returns whether it holds. They are slow and plain on purpose: they say what the incremental bookkeeping of
``states`` must amount to. They know nothing of commands and of how a run came to its state. Tests check them after
each step; the guarantees page quotes their names.
"""

from collections.abc import Callable, Mapping

from cloaca.contract.plans import Plan
from cloaca.machine.states import NO_LEASE, RunState, judge
from cloaca.machine.statuses import FINAL_TASK, RunStatus, TaskStatus

STARTED = frozenset({TaskStatus.READY, TaskStatus.RUNNING, TaskStatus.WAITING, TaskStatus.SUCCEEDED, TaskStatus.FAILED})


def no_task_before_its_predecessors(plan: Plan, state: RunState) -> bool:
    """A task is ready, runs or has run only if all its predecessors are final."""
    return all(
        state.tasks[pred] in FINAL_TASK
        for node in plan.nodes
        if state.tasks[node.index] in STARTED
        for pred in node.preds
    )


def open_predecessors_are_counted(plan: Plan, state: RunState) -> bool:
    """``open`` is the number of predecessors that are not final."""
    return state.over or all(
        state.open[node.index] == sum(state.tasks[pred] not in FINAL_TASK for pred in node.preds) for node in plan.nodes
    )


def nothing_waits_for_nothing(plan: Plan, state: RunState) -> bool:
    """A pending task has a predecessor that is not final: no wake-up is lost."""
    return all(state.open[node.index] > 0 for node in plan.nodes if state.tasks[node.index] is TaskStatus.PENDING)


def ready_is_what_is_ready(plan: Plan, state: RunState) -> bool:
    """``ready`` holds the ready nodes, ``retry_at`` and ``waits`` the waiting ones between them, and nothing else."""
    ready = {node for node, status in enumerate(state.tasks) if status is TaskStatus.READY}
    waiting = {node for node, status in enumerate(state.tasks) if status is TaskStatus.WAITING}
    apart = state.retry_at.keys().isdisjoint(state.waits)
    return ready == state.ready.keys() and apart and waiting == state.retry_at.keys() | state.waits.keys()


def waits_are_no_attempts(plan: Plan, state: RunState) -> bool:
    """What waits for a timer, a signal or a child never runs and is never retried; only such nodes are in ``waits``.

    One that has a time is over at some moment, one that has none is not.
    """
    return all(
        node.index not in state.waits
        if node.wait is None
        else state.tasks[node.index] is not TaskStatus.RUNNING
        and node.index not in state.retry_at
        and (state.waits.get(node.index) is not None)
        == (node.wait.seconds is not None and state.tasks[node.index] is TaskStatus.WAITING)
        for node in plan.nodes
    )


def skips_are_justified(plan: Plan, state: RunState) -> bool:
    """A task is skipped exactly if its gates and its rule say so."""
    return all(
        (state.tasks[node.index] is TaskStatus.SKIPPED) == (judge(plan, node, state) is not None)
        for node in plan.nodes
        if state.tasks[node.index] in STARTED | {TaskStatus.SKIPPED}
    )


def attempts_are_bounded(plan: Plan, state: RunState) -> bool:
    """No task has failed more often than its policy allows, counted anew when the run is retried."""
    return all(
        0 <= count - state.earlier.get(node, 0) <= plan.nodes[node].retry.attempts
        for node, count in state.attempts.items()
    )


def attempts_in_flight_are_counted(plan: Plan, state: RunState) -> bool:
    """``in_flight`` is the number of tasks that run."""
    return state.in_flight == state.tasks.count(TaskStatus.RUNNING)


def a_run_pauses_while_attempts_are_in_flight(plan: Plan, state: RunState) -> bool:
    """A run that was asked to pause is driven and has attempts in flight: without any, it is paused."""
    return not state.pausing or (state.status is RunStatus.RUNNING and state.in_flight > 0)


def an_attempt_count_never_goes_back(plan: Plan, state: RunState) -> bool:
    """The attempts from before a retry are among those that a task has made."""
    return all(0 < count <= state.attempts.get(node, 0) for node, count in state.earlier.items())


def failures_are_listed(plan: Plan, state: RunState) -> bool:
    """``failed`` names each task that failed for good, once, but not those whose handlers have succeeded."""
    return sorted(state.failed) == _unrescued(plan, state)


def _unrescued(plan: Plan, state: RunState) -> list[int]:
    saved = {node.rescues for node in plan.nodes if state.tasks[node.index] is TaskStatus.SUCCEEDED}
    return [node for node, status in enumerate(state.tasks) if status is TaskStatus.FAILED and node not in saved]


def a_handler_runs_exactly_after_a_failure(plan: Plan, state: RunState) -> bool:
    """A handler has started only if its task has failed, with a typed error if it takes one; else it is skipped."""
    for node in plan.nodes:
        if node.rescues is None or state.tasks[node.index] not in STARTED | {TaskStatus.SKIPPED}:
            continue
        needed = state.tasks[node.rescues] is TaskStatus.FAILED and (
            not node.needs_error or node.rescues in state.typed
        )
        if needed != (state.tasks[node.index] in STARTED):
            return False
    return True


def typed_errors_are_failures(plan: Plan, state: RunState) -> bool:
    """Only a task that has failed for good has answered with a typed error."""
    return all(state.tasks[node] is TaskStatus.FAILED for node in state.typed)


def one_arm_runs(plan: Plan, state: RunState) -> bool:
    """Of the arms of a branch only that runs which the decision has said, and neither before it has."""
    return all(
        state.verdicts.get(gate) == (gate not in node.otherwise)
        for node in plan.nodes
        if state.tasks[node.index] in STARTED
        for gate in node.gates
        if plan.nodes[gate].decides
    )


def verdicts_are_given(plan: Plan, state: RunState) -> bool:
    """Exactly the conditions and the decisions of branches that succeeded have a verdict."""
    return state.verdicts.keys() == {
        node.index for node in plan.nodes if node.decides and state.tasks[node.index] is TaskStatus.SUCCEEDED
    }


def unfinished_is_counted(plan: Plan, state: RunState) -> bool:
    """``unfinished`` is the number of tasks that are not final, and a run that has ended has none."""
    return state.unfinished == sum(status not in FINAL_TASK for status in state.tasks) and not (
        state.over and state.unfinished
    )


def a_run_goes_on(plan: Plan, state: RunState) -> bool:
    """A run that is driven has a task that is ready, runs or waits: it neither hangs nor misses its end."""
    going = {TaskStatus.READY, TaskStatus.RUNNING, TaskStatus.WAITING}
    return state.status is not RunStatus.RUNNING or any(status in going for status in state.tasks)


def attempts_run_under_a_lease(plan: Plan, state: RunState) -> bool:
    """A task runs only in a run that somebody drives."""
    return TaskStatus.RUNNING not in state.tasks or (state.status is RunStatus.RUNNING and state.lease != NO_LEASE)


def a_run_ends_as_its_tasks_did(plan: Plan, state: RunState) -> bool:
    """A run that succeeded has no cancelled task, and none that failed unrescued; one that failed has, or never ran."""
    failed, cancelled = bool(_unrescued(plan, state)), TaskStatus.CANCELLED in state.tasks
    if state.status is RunStatus.SUCCEEDED:
        return not failed and not cancelled
    unrun = all(status is TaskStatus.SKIPPED for status in state.tasks)
    return state.status is not RunStatus.FAILED or failed or cancelled or unrun


def only_an_ended_run_cancels(plan: Plan, state: RunState) -> bool:
    """A task is cancelled only together with its run."""
    return state.over or TaskStatus.CANCELLED not in state.tasks


INVARIANTS: Mapping[str, Callable[[Plan, RunState], bool]] = {
    invariant.__name__: invariant
    for invariant in (
        a_handler_runs_exactly_after_a_failure,
        a_run_ends_as_its_tasks_did,
        a_run_goes_on,
        a_run_pauses_while_attempts_are_in_flight,
        an_attempt_count_never_goes_back,
        attempts_are_bounded,
        attempts_in_flight_are_counted,
        attempts_run_under_a_lease,
        failures_are_listed,
        no_task_before_its_predecessors,
        nothing_waits_for_nothing,
        one_arm_runs,
        only_an_ended_run_cancels,
        open_predecessors_are_counted,
        ready_is_what_is_ready,
        skips_are_justified,
        typed_errors_are_failures,
        unfinished_is_counted,
        verdicts_are_given,
        waits_are_no_attempts,
    )
}


def violated(plan: Plan, state: RunState) -> list[str]:
    """Return the names of the invariants that don't hold."""
    return [name for name, holds in INVARIANTS.items() if not holds(plan, state)]
