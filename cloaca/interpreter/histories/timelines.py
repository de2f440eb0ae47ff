"""What happened to a run, in order of time. It knows what rows say, and nothing that is not stored yet."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from cloaca.contract.plans import Plan
from cloaca.interpreter.histories.reports import RunEvent, moment
from cloaca.interpreter.histories.restoring import earlier_attempts, restored
from cloaca.interpreter.histories.tasks import VISIBLE, shows_skip
from cloaca.ports import History

ENDINGS = frozenset({"run_succeeded", "run_failed", "run_cancelled"})
STARTS = frozenset({"task_started", "wait_began"})


def run_events(plan: Plan, history: History) -> list[RunEvent]:
    """Return what happened to a run so far, in order of time."""
    row = history.run
    events = [RunEvent("run_started", None, moment(row.started_at or row.created_at)), *_task_events(plan, history)]
    events += [RunEvent("task_skipped", task, moment(at)) for task, at in _skips(plan, history)]
    events += [RunEvent("signal_received", None, moment(row.sent_at), None, row.name) for row in history.signals]
    events += [RunEvent(note.kind, note.task, moment(note.at), None, note.detail) for note in history.notes]
    if row.finished_at is not None:
        events.append(RunEvent(f"run_{row.status}", None, moment(row.finished_at)))
    return sorted(events, key=place_of)


def place_of(event: RunEvent) -> tuple[int, datetime, bool]:
    """Return what to sort events by: time, but a run's start comes first and its end last, whatever clocks say."""
    phase = 0 if event.kind == "run_started" else 2 if event.kind in ENDINGS else 1
    return phase, event.at, event.kind not in STARTS


def _task_events(plan: Plan, history: History) -> Iterator[RunEvent]:
    tasks = {node.name: node.task for node in plan.nodes if node.kind in VISIBLE}
    waits = {node.name for node in plan.nodes if node.is_wait}
    messages = {(failure.name, failure.attempt): failure.message for failure in history.failures}
    for done in history.tasks:
        detail = messages.get((done.name, done.attempt), "")
        if task := tasks.get(done.name):
            start = "wait_began" if done.name in waits else "task_started"
            yield RunEvent(start, task, moment(done.started_at), done.attempt)
            yield RunEvent(f"task_{done.status}", task, moment(done.finished_at), done.attempt, detail)
        elif done.status == "failed" and done.name in plan.by_name:  # a condition that raised
            task = plan.nodes[plan.by_name[done.name]].task
            yield RunEvent("task_failed", task, moment(done.finished_at), done.attempt, detail)
    last = {(done.name, done.attempt) for done in history.tasks}
    for failure in history.failures:
        if (failure.name, failure.attempt) in last or failure.name not in plan.by_name:
            continue
        kind = "attempt_failed" if failure.retry_at is not None else "task_failed"  # which was retried since
        task = plan.nodes[plan.by_name[failure.name]].task
        if failure.name in tasks:
            start = "wait_began" if failure.name in waits else "task_started"
            yield RunEvent(start, task, moment(failure.started_at), failure.attempt)
        yield RunEvent(kind, task, moment(failure.at), failure.attempt, failure.message)
    done_waits, earlier = {done.name for done in history.tasks}, earlier_attempts(history.run)
    for wait in history.waits:
        if wait.name in waits and wait.name not in done_waits:
            yield RunEvent("wait_began", tasks[wait.name], moment(wait.began_at), earlier.get(wait.name, 0) + 1)
    for shown in history.attempts:
        if task := tasks.get(shown.name):
            yield RunEvent("task_started", task, moment(shown.started_at), shown.attempt)


def _skips(plan: Plan, history: History) -> Iterator[tuple[str, float]]:
    """Yield the skipped tasks, each at the time at which the last of its predecessors became final."""
    state = restored(plan, history)
    start = history.run.started_at or history.run.created_at
    finished = {plan.by_name[row.name]: row.finished_at for row in history.tasks if row.name in plan.by_name}
    for node in plan.nodes:
        if node.index in state.skips:
            finished[node.index] = max((finished.get(pred, start) for pred in node.preds), default=start)
            if shows_skip(plan, state, node.index):
                yield node.task, finished[node.index]
