"""What is true of every run after every step, as named functions of plan and state.

Each returns whether it holds. They are slow and plain on purpose: they say what the incremental bookkeeping of
``states`` must amount to. They know nothing of commands and of how a run came to its state. Tests check them after
each step; the guarantees page quotes their names.
"""

from collections.abc import Callable, Mapping

from cloaca.contract.plans import Plan
from cloaca.machine.states import NO_LEASE, RunState, judge, onward
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
    return (
        state.over
        or state.outcome is not None
        or all(
            state.open[node.index] == sum(state.tasks[pred] not in FINAL_TASK for pred in node.preds)
            for node in plan.nodes
        )
    )


def nothing_waits_for_nothing(plan: Plan, state: RunState) -> bool:
    """A pending task has a predecessor that is not final: no wake-up is lost."""
    proper = plan.nodes[: plan.length]
    return all(state.open[node.index] > 0 for node in proper if state.tasks[node.index] is TaskStatus.PENDING)


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
        for node in plan.nodes[: plan.length]
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
    """``failed`` names each task of the run proper that failed for good, once, but none that has been rescued."""
    return sorted(state.failed) == _unrescued(plan, state)


def _unrescued(plan: Plan, state: RunState) -> list[int]:
    proper = state.tasks[: plan.length]
    saved = {node.rescues for node in plan.nodes if state.tasks[node.index] is TaskStatus.SUCCEEDED}
    return [node for node, status in enumerate(proper) if status is TaskStatus.FAILED and node not in saved]


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
    """``unfinished`` is how many tasks are not final, the epilogue aside; a run with an outcome has none."""
    count = sum(status not in FINAL_TASK for status in state.tasks[: plan.length])
    return state.unfinished == count and not (count and (state.over or state.outcome is not None))


def a_run_goes_on(plan: Plan, state: RunState) -> bool:
    """A run that is driven has a task that is ready, runs or waits: it neither hangs nor misses its end."""
    going = {TaskStatus.READY, TaskStatus.RUNNING, TaskStatus.WAITING}
    return state.status is not RunStatus.RUNNING or any(status in going for status in state.tasks)


def attempts_run_under_a_lease(plan: Plan, state: RunState) -> bool:
    """A task runs only in a run that somebody drives."""
    return TaskStatus.RUNNING not in state.tasks or (state.status is RunStatus.RUNNING and state.lease != NO_LEASE)


def a_run_ends_as_its_tasks_did(plan: Plan, state: RunState) -> bool:
    """A run that succeeded has no cancelled task, and none that failed unrescued; one that failed has, or never ran."""
    proper = state.tasks[: plan.length]
    failed, cancelled = bool(_unrescued(plan, state)), TaskStatus.CANCELLED in proper
    if state.status is RunStatus.SUCCEEDED:
        return not failed and not cancelled
    unrun = all(status is TaskStatus.SKIPPED for status in proper)
    return state.status is not RunStatus.FAILED or failed or cancelled or unrun


def only_an_ended_run_cancels(plan: Plan, state: RunState) -> bool:
    """A task is cancelled only together with its run, a node of the epilogue only if the run ends without it."""
    proper, epilogue = state.tasks[: plan.length], state.tasks[plan.length :]
    cancelled = TaskStatus.CANCELLED in proper
    return state.over or (TaskStatus.CANCELLED not in epilogue and not (cancelled and state.outcome is None))


def an_epilogue_waits_for_the_outcome(plan: Plan, state: RunState) -> bool:
    """Nothing of the epilogue runs or is decided before the outcome is known, and then nothing else goes on."""
    proper, epilogue = state.tasks[: plan.length], state.tasks[plan.length :]
    if state.outcome is None:
        return state.over or all(status is TaskStatus.PENDING for status in epilogue)
    return all(status in FINAL_TASK for status in proper)


def every_compensation_is_due(plan: Plan, state: RunState) -> bool:
    """After a failure or a cancellation, exactly what undoes the tasks that succeeded is due, and behind it a callback.

    After a success, the callback alone. What is not due is skipped.
    """
    if state.outcome is None:
        return not state.due
    undone = plan.undos if state.outcome is not RunStatus.SUCCEEDED else {}
    undos = {undo for node, undo in undone.items() if node in state.completed}
    callback = [plan.callbacks[state.outcome]] if state.outcome in plan.callbacks else []
    skipped = [node for node, status in enumerate(state.tasks) if status is TaskStatus.SKIPPED and node >= plan.length]
    return (
        {*state.due[: len(undos)]} == undos
        and [*state.due[len(undos) :]] == callback
        and {*skipped, *state.due} == {*range(plan.length, len(plan.nodes))}
        and state.completed.keys() <= {node for node in plan.undos if state.tasks[node] is TaskStatus.SUCCEEDED}
    )


def nothing_is_undone_before_what_came_after_it(plan: Plan, state: RunState) -> bool:
    """A task is undone before every task that it came after, and of others the one that was completed later first."""
    undone = [node for undo in state.due if (node := plan.nodes[undo].undoes) is not None]
    after = {node: set(onward(plan, [node])) for node in undone}
    for place, later in enumerate(undone):
        if any(earlier in after[later] for earlier in undone[place + 1 :]):
            return False
    related = any(one != other and other in after[one] for one in undone for other in undone)
    times = [state.completed[node] for node in undone]
    return related or times == sorted(times, reverse=True)


def an_epilogue_goes_one_by_one(plan: Plan, state: RunState) -> bool:
    """What is due is final up to ``settled``; the next goes on, unless the run ended without it; no other has begun."""
    statuses = [state.tasks[node] for node in state.due]
    done, rest = statuses[: state.settled], statuses[state.settled :]
    going = {TaskStatus.READY, TaskStatus.RUNNING, TaskStatus.WAITING}
    if state.over:
        return {*done} <= {TaskStatus.SUCCEEDED, TaskStatus.FAILED} and {*rest} <= {TaskStatus.CANCELLED}
    return (
        {*done} <= {TaskStatus.SUCCEEDED, TaskStatus.FAILED}
        and all(status in going for status in rest[:1])
        and {*rest[1:]} <= {TaskStatus.PENDING}
    )


def a_run_ends_with_its_outcome(plan: Plan, state: RunState) -> bool:
    """Whatever becomes of the epilogue, the run ends as its outcome says."""
    return not state.over or state.outcome in (None, state.status)


INVARIANTS: Mapping[str, Callable[[Plan, RunState], bool]] = {
    invariant.__name__: invariant
    for invariant in (
        a_handler_runs_exactly_after_a_failure,
        a_run_ends_as_its_tasks_did,
        a_run_ends_with_its_outcome,
        a_run_goes_on,
        a_run_pauses_while_attempts_are_in_flight,
        an_attempt_count_never_goes_back,
        an_epilogue_goes_one_by_one,
        an_epilogue_waits_for_the_outcome,
        attempts_are_bounded,
        attempts_in_flight_are_counted,
        attempts_run_under_a_lease,
        every_compensation_is_due,
        failures_are_listed,
        no_task_before_its_predecessors,
        nothing_is_undone_before_what_came_after_it,
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
