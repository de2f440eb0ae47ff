"""Mutants of the machine: small named mistakes that the tests must notice.

A mutant replaces a piece of one function's source, and puts the code that comes out in the function's place, so that
every module that has imported the function makes the mistake.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import cast

from cloaca.algebra.retries import Retry
from cloaca.machine import decisions, epilogues, states


@dataclass(frozen=True)
class Mutant:
    """A mistake: in ``function``, ``right`` (which occurs once) is replaced by ``wrong``."""

    name: str
    function: Callable[..., object]
    right: str
    wrong: str

    @contextmanager
    def planted(self) -> Iterator[None]:
        """Make the mistake, for the time of a ``with`` block."""
        function = cast("FunctionType", self.function)
        right, wrong = function.__code__, self.code(function)
        function.__code__ = wrong
        try:
            yield
        finally:
            function.__code__ = right

    def code(self, function: FunctionType) -> CodeType:
        """Return the function's code with the mistake in it."""
        source = textwrap.dedent(inspect.getsource(function))
        assert source.count(self.right) == 1, f"{self.name}: {self.right!r} is not there once; adapt the mutant"
        module = f"from __future__ import annotations\n{source.replace(self.right, self.wrong)}"
        made: dict[str, FunctionType | property] = {}
        exec(compile(module, f"<{self.name}>", "exec"), function.__globals__, made)
        changed = made[function.__name__]
        return cast("FunctionType", changed.fget if isinstance(changed, property) else changed).__code__


_ADOPT = states._adopt
_ANEW = states._start_anew
_CANCEL = states._cancel
_END = states._end
_INIT = states.RunState.__init__
_JUDGE = states.judge
_LATE = decisions._late
_RULED = states._ruled
_SETTLED = states._settled
_STANDING = states._standing

MUTANTS = [
    # Leases and attempts.
    Mutant("fencing removed", decisions._stale, "lease != state.lease or lease == NO_LEASE", "False"),
    Mutant("nobody may work", decisions._stale, " or lease == NO_LEASE", ""),
    Mutant("late report accepted", _LATE, "stale := _stale(state, lease)", "stale := None"),
    Mutant("other attempt accepted", _LATE, "attempt != state.attempt(node)", "False"),
    Mutant("second report accepted", _LATE, "elif state.tasks[node] is not RUNNING", "elif False"),
    Mutant("lease adopted twice", decisions._adoption, "lease > state.lease", "lease >= state.lease"),
    Mutant("ended run goes on", decisions.decide, "if state.over:", "if state.over and isinstance(command, Begin):"),
    Mutant("attempt lost at adoption", _ADOPT, "task is RUNNING", "False"),
    Mutant("ready node lost at adoption", states._offer_again, "state.ready[node] = None", "pass"),
    Mutant(
        "retry count lost at adoption", _ADOPT, "state.lease = lease", "state.lease = lease; state.attempts.clear()"
    ),
    Mutant("delay lost at adoption", _ADOPT, "state.lease = lease", "state.lease = lease; state.retry_at.clear()"),
    # Retries.
    Mutant("one attempt too many", decisions._failure, "tried < ", "tried <= "),
    Mutant("refusal retried", decisions._failure, "command.retryable and ", ""),
    Mutant("delay not awaited", decisions._beginning, " and state.retry_at[command.node] <= command.at", ""),
    # Waits.
    Mutant("timer over early", decisions._early, "until is not None and until <= command.at", "until is not None"),
    Mutant("endless wait times out", decisions._early, "until is not None and until", "until is None or until"),
    Mutant("timer fails", decisions._failure, 'if kind == "sleep":', "if False:"),
    Mutant("wait times out early", decisions._failure, 'if kind == "wait" else', "if False else"),
    Mutant("signal waits for the time", decisions._completion, '.kind == "sleep"', '.kind in ("sleep", "wait")'),
    Mutant("timer runs as an attempt", decisions._beginning, ":= plan.nodes[command.node].wait", ":= None"),
    Mutant("wait ends in a pause", _LATE, "if state.pausing or state.status", "if False and state.status"),
    Mutant("wait is never over", states._concluded, "del state.waits[node]", "pass"),
    Mutant("wait counted as in flight", states._concluded, "if node in state.waits", "if False"),
    Mutant("waits lost at adoption", _ADOPT, "state.lease = lease", "state.lease = lease; state.waits.clear()"),
    Mutant("cancel leaves waits", states._cancel, "state.waits.clear()", "pass"),
    Mutant("wait over in a pause", states.overdue, " or state.pausing", ""),
    Mutant("wait over early", states.overdue, "if until is not None and until <= at", "if until is not None"),
    Mutant(
        "delay counted from the wrong retry",
        decisions._failure,
        "delay_s(tried,",
        "delay_s(tried + 1,",
    ),
    Mutant("jitter beyond max_delay", Retry.delay_s, "min(jittered, in_seconds(self.max_delay))", "jittered"),
    Mutant("waiting node enabled early", states.enabled, "if retry_at <= at", ""),
    # Joins and cascades.
    Mutant("join counted twice", _SETTLED, "state.open[succ] -= 1", "state.open[succ] -= 1 + (state.open[succ] > 2)"),
    Mutant("join does not wait", _SETTLED, "state.open[succ] == 0 and", "state.tasks[succ] is TaskStatus.PENDING and"),
    Mutant("skip not propagated", _SETTLED, "final.append(succ)", "state.unfinished -= 1"),
    Mutant("first skip not propagated", _INIT, "_settled(plan, self, [", "self.unfinished -= len(["),
    Mutant("skip not counted", _SETTLED, "final.append(succ)", "final.append(succ); state.unfinished += 1"),
    Mutant(
        "news of skips lost",
        states._resolve,
        "    state.news.append(node.index)\n    if skip is None:\n",
        "    if skip is None:\n        state.news.append(node.index)\n",
    ),
    # Skips.
    Mutant("skip kind confused", _RULED, 'Skip("failure", first["failed"])', 'Skip("decision", first["failed"])'),
    Mutant("skip by failure forgotten", _STANDING, 'state.skips[pred].by == "decision"', "True"),
    Mutant("skip by decision counts as failed", _STANDING, 'state.skips[pred].by == "decision"', "False"),
    Mutant("skip by decision counts as success", _STANDING, 'return "neither"', 'return "succeeded"'),
    Mutant("gate ignored", _JUDGE, "for gate in node.gates:", "for gate in ():"),
    Mutant("inner gate ignored", _JUDGE, "for gate in node.gates:", "for gate in node.gates[:1]:"),
    Mutant("verdict inverted", _JUDGE, "== (gate in", "!= (gate in"),
    # Branches and handlers.
    Mutant("second arm never runs", _JUDGE, "== (gate in node.otherwise)", "is False"),
    Mutant("both arms run", _JUDGE, "state.verdicts.get(gate, True) == (gate in node.otherwise)", "False"),
    Mutant("handler runs in any case", states._not_needed, 'return Skip("decision", rescued)', "return None"),
    Mutant(
        "handler skipped as by failure", states._not_needed, 'Skip("decision", rescued)', 'Skip("failure", rescued)'
    ),
    Mutant("handler's task skipped otherwise", states._not_needed, "state.skips[rescued].by", '"decision"'),
    Mutant("any failure taken for a typed one", states._not_needed, "rescued not in state.typed", "False"),
    Mutant("handler's own rule counts", _JUDGE, "if node.rescues is not None:", "if False:"),
    Mutant("rescued task counts as failed", _STANDING, " or rescued(plan, pred, state)", ""),
    Mutant("failed handler rescues", states.rescued, "is TaskStatus.SUCCEEDED", "in FINAL_TASK"),
    Mutant("rescued run fails", states._succeed, "state.failed.remove(rescued)", "pass"),
    Mutant("typed error forgotten", states.evolve, "if typed:", "if False:"),
    Mutant("typed error kept", _ANEW, "state.typed.discard(node)", "pass"),
    Mutant("typed error not told", decisions._failure, "command.typed", "False"),
    Mutant("gate's failure taken for a no", _JUDGE, 'return Skip("failure", gate)', 'return Skip("decision", gate)'),
    Mutant("gate's skip taken for a no", _JUDGE, "Skip(state.skips[gate].by, gate)", 'Skip("decision", gate)'),
    Mutant("gate's skip taken for a failure", _JUDGE, "Skip(state.skips[gate].by, gate)", 'Skip("failure", gate)'),
    Mutant("none_failed never looks", _JUDGE, " and not state.failed", ""),
    Mutant("all_success runs after a skip", _RULED, 'if "neither" in first else None', "if False else None"),
    Mutant("all_success runs after a failure", _RULED, 'return failure or (Skip("decision"', 'return (Skip("decision"'),
    Mutant("all_failed with a skip", _RULED, 'first.keys() <= {"failed"}', '"succeeded" not in first'),
    Mutant("all_failed after one failure", _RULED, 'first.keys() <= {"failed"}', '"failed" in first'),
    Mutant("any_success without success", _RULED, 'if "succeeded" in first', "if first"),
    Mutant("any_success blames its rule", _RULED, "else failure or _unmet(node)", "else _unmet(node)"),
    Mutant("any_failed always", _RULED, "None if failure else _unmet(node)", "None"),
    # Pauses.
    Mutant("attempt begins in a pause", decisions._beginning, "state.pausing or ", ""),
    Mutant("attempt begins before adoption", decisions._beginning, "state.status is not RUN_RUNNING", "False"),
    Mutant("nodes enabled in a pause", states.enabled, " or state.pausing", ""),
    Mutant("pause while attempts are in flight", decisions.conclusion, " and state.in_flight == 0", ""),
    Mutant("run never paused", decisions.conclusion, "if state.pausing and", "if False and"),
    Mutant("paused run adopted", decisions._adoption, "is RunStatus.PAUSED", "is RunStatus.BLOCKED"),
    Mutant("pause asked twice", decisions._pause, "state.pausing or ", ""),
    Mutant("pause can't be withdrawn", decisions._resumption, "if state.pausing", "if False"),
    Mutant("in flight at adoption", _ADOPT, "state.in_flight = 0", "pass"),
    Mutant("in flight at the end", _CANCEL, "state.in_flight = 0", "pass"),
    Mutant("pausing at the end", _END, "state.pausing = False", "pass"),
    # Attempts that are put back.
    Mutant("late putting back accepted", decisions._putting_back, "late := _late(", "late := None and _late("),
    Mutant("put back is not told", states._offer_again, "state.news.append(node)", "pass"),
    Mutant(
        "put back is still in flight",
        states.evolve,
        "_offer_again(state, node)\n            state.in_flight -= 1",
        "_offer_again(state, node)",
    ),
    # Retries on demand.
    Mutant("success retried", decisions._retry, "not in RETRYABLE", "not in {*RETRYABLE, RunStatus.SUCCEEDED}"),
    Mutant(
        "success behind a failure kept",
        decisions._retry,
        "onward(plan, [*state.failed, *cancelled, *undone(plan, state)])",
        "sorted([*state.failed, *cancelled, *undone(plan, state)])",
    ),
    Mutant("cancelled task kept", decisions._retry, ", *cancelled", ""),
    Mutant("attempt count goes back", _ANEW, "state.attempts[node] = state.attempt(node)", "pass"),
    Mutant("policy counts from the first try", _ANEW, "state.earlier[node] = state.attempts[node]", "pass"),
    Mutant("delay counted from the first try", decisions._failure, "delay_s(tried,", "delay_s(command.attempt,"),
    Mutant("old skip kept", _ANEW, "state.skips.pop(node, None)", "pass"),
    Mutant("old verdict kept", _ANEW, "state.verdicts.pop(node, None)", "pass"),
    Mutant("old failure kept", _ANEW, " if state.tasks[node] is TaskStatus.FAILED", ""),
    Mutant("freed node not found", _ANEW, "if state.open[node] == 0", "if not plan.nodes[node].preds"),
    Mutant("retry miscounts", _ANEW, "state.unfinished = len(proper)", "pass"),
    Mutant("joins not counted anew", _ANEW, "state.open = [", "_ = ["),
    # Ends.
    Mutant("run ends early", decisions.conclusion, "state.unfinished == 0", "len(state.ready) + state.unfinished <= 1"),
    Mutant("run never ends", decisions.step, "is not None:", "is None:"),
    Mutant("failed run succeeds", decisions.conclusion, "if state.failed", "if len(state.failed) > 1"),
    Mutant("cancel leaves ready tasks", _CANCEL, "not in FINAL_TASK", "not in FINAL_TASK | {TaskStatus.READY}"),
    Mutant("cancel leaves ready queue", _CANCEL, "state.ready.clear()", "pass"),
    Mutant("cancel leaves delays", _CANCEL, "state.retry_at.clear()", "pass"),
    Mutant("cancel miscounts", _CANCEL, "state.unfinished = 0", "pass"),
]

# Killed by walks of tests.machine.epilogue_walks.
EPILOGUE_MUTANTS = [
    Mutant("undone in order of completion", epilogues.due, "reversed(completion_order", "list(completion_order"),
    Mutant("order by clock alone", epilogues.completion_order, "max(before, completed", "max(-inf, completed"),
    Mutant("order by name alone", epilogues.completion_order, "(latest[node], node)", "node"),
    Mutant(
        "nothing undone after a cancellation", epilogues.due, "if outcome in UNDONE", "if outcome in list(UNDONE)[:1]"
    ),
    Mutant("success undone", epilogues.due, "if outcome in UNDONE", "if True"),
    Mutant(
        "callback before compensations",
        epilogues.due,
        "return (*(plan.undos",
        "return tuple(x for x in [callback] if x is not None) + (*(plan.undos",
    ),
    Mutant("callback forgotten", epilogues.due, "() if callback is None else (callback,)", "()"),
    Mutant(
        "failed task undone",
        states.evolve,
        "if node < plan.length:\n                state.failed.append(node)",
        "state.completed[node] = 0.0\n            if node < plan.length:\n                state.failed.append(node)",
    ),
    Mutant("another run's work undone", states._succeed, " and not event.reused", ""),
    Mutant(
        "failed compensation stops the others",
        states._finished,
        "state.settled += 1",
        "state.settled += 1 if state.tasks[node] is TaskStatus.SUCCEEDED else len(state.due)",
    ),
    Mutant(
        "failed compensation fails the run",
        states.evolve,
        "if node < plan.length:\n                state.failed",
        "if True:\n                state.failed",
    ),
    Mutant(
        "epilogue at once",
        states._offer_next,
        "if state.settled < len(state.due):\n        node = state.due[state.settled]",
        "for node in state.due[state.settled :]:",
    ),
    Mutant("next not offered", states._finished, "        _offer_next(state)", "        pass"),
    Mutant(
        "end before the epilogue",
        decisions.conclusion,
        "state.settled == len(state.due)",
        "state.settled <= len(state.due)",
    ),
    Mutant("end as it began", decisions.conclusion, "ENDS[state.outcome](at)", "RunSucceeded(at)"),
    Mutant("cancelled twice", decisions.decide, "state.outcome is not None and isinstance(command, Cancel)", "False"),
    Mutant("abandoned run never ends", decisions._abandonment, "if state.outcome is not None:", "if False:"),
    Mutant("what runs goes on though cancelled", states._reach, "_cancel(state, range(plan.length))", "pass"),
    Mutant("not skipped at the end", states._end, "_skip(state, epilogue)", "pass"),
    Mutant("undone task kept by a retry", decisions._retry, ", *undone(plan, state)", ""),
    Mutant("undone handler alone starts anew", epilogues.undone, ", *(task for", ", *(task for _ in () for"),
    Mutant(
        "undone though it did not succeed",
        epilogues.due,
        "completion_order(plan, state.completed)",
        "completion_order(plan, dict.fromkeys(plan.undos, 0.0) | state.completed)",
    ),
    Mutant(
        "outcome kept by a retry", states._start_anew, "state.outcome, state.due, state.settled = None, (), 0", "pass"
    ),
    Mutant("undone work still to be undone", states._start_anew, "state.completed.pop(node, None)", "pass"),
    Mutant("paused though cancelled", states._reach, "state.pausing = False", "pass"),
]
