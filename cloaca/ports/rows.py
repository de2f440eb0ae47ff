"""The rows of runs: what a store keeps of each, and what is written of it as it goes on.

They say what each column means, and know no table: whoever keeps them may keep them otherwise. Times are seconds since
the epoch, runs and sessions are known by integers, payloads are JSON text.
"""

from __future__ import annotations

from typing import NamedTuple


class RunRow(NamedTuple):
    """A run. ``owner`` is the session that drives it; ``crashes`` how many of its owners have died driving it.

    ``plan`` is the digest of its plan, ``reason`` why it failed or is blocked where no task says so. ``pausing`` is
    ``asked`` while the session that drives the run does not know yet that it should pause, ``heard`` once it does.
    ``earlier`` says, as a JSON object by the names of nodes, how many attempts they had made when the run was last
    retried. Runs of a higher ``priority`` come first.

    ``parent`` is the run whose node ``parent_task`` has started this one, None if none has or it is gone. ``roused``
    says that something has come for a driven run from outside, a signal or a child run's end, of which its session may
    not know yet. A ``running`` run without an owner is parked: nobody need drive it before ``wake_at``, None for ever,
    or before something comes for it.

    ``epilogue`` says that its plan has one: such a run is not cancelled but by a worker, which sees it through.
    ``closing`` is how the run will end, from the moment on at which its epilogue began: a JSON object.

    ``schedule`` has started it, at the nominal time ``scheduled_for``; a fork has the time alone. ``traceparent`` is
    the W3C trace context in which it was started, None if nobody traced that.

    ``refused`` lists the versions whose code could not go on with it, each followed by a comma; None if none was tried.
    """

    id: int
    workflow: str
    version: str
    plan: str
    status: str
    input: str | None
    key: str | None
    owner: int | None
    crashes: int
    created_at: float
    started_at: float | None
    finished_at: float | None
    reason: str | None
    cancel_requested: bool
    pausing: str | None = None
    earlier: str | None = None
    priority: int = 0
    parent: int | None = None
    parent_task: str | None = None
    roused: bool = False
    wake_at: float | None = None
    epilogue: bool = False
    closing: str | None = None
    schedule: str | None = None
    scheduled_for: float | None = None
    traceparent: str | None = None
    refused: str | None = None


TAKEN_OVER = 0  # the session of what another run has done


class TaskRow(NamedTuple):
    """A node that is done: written once, never changed; gone only if a retry of the run makes the node start anew.

    ``name`` is the node's name in the plan.

    ``status`` is ``succeeded`` or ``failed``; ``output`` its payload (a gate's decision: ``true`` or ``false``).
    ``session`` is ``TAKEN_OVER`` for a row that a fork has copied. ``code`` is the fingerprint of the code
    that ran, None for a node that runs none.
    """

    run: int
    name: str
    status: str
    attempt: int
    session: int
    started_at: float
    finished_at: float
    output: str | None
    code: str | None = None


class FailureRow(NamedTuple):
    """A failed attempt. ``retry_at`` is when the next may start, None if it was the last; ``error`` a typed error.

    ``code`` is as for ``TaskRow``.
    """

    run: int
    name: str
    attempt: int
    session: int
    started_at: float
    at: float
    exception_type: str
    message: str
    traceback: str
    error: str | None
    retry_at: float | None
    code: str | None = None


class AttemptRow(NamedTuple):
    """An attempt that has run for a while, shown to other processes; gone once the task is done.

    ``beat_at`` is when its body last called ``ctx.heartbeat()``. ``code`` is as for ``TaskRow``.
    """

    run: int
    name: str
    attempt: int
    session: int
    started_at: float
    beat_at: float | None
    code: str | None = None


class NoteRow(NamedTuple):
    """Something rare that happened to a run and that no other row says: a recovery, an ignored result."""

    run: int
    at: float
    kind: str
    task: str | None
    detail: str


class WaitRow(NamedTuple):
    """A node that waits, without an attempt in flight; ``until`` is when that is over at the latest."""

    run: int
    name: str
    began_at: float
    until: float | None


class SignalRow(NamedTuple):
    """A signal to a run; ``name`` says which nodes may take it, ``taken_by`` which has. Ids grow."""

    id: int
    run: int
    name: str
    payload: str
    sent_at: float
    taken_by: str | None


class NewRun(NamedTuple):
    """A run to be stored. ``owner`` is the session that will drive it, None to leave it to whoever claims it.

    ``parent`` is the run whose node ``parent_task`` starts it. ``epilogue`` is as for ``RunRow``.
    """

    id: int
    workflow: str
    version: str
    plan: str
    input: str | None
    key: str | None
    owner: int | None
    created_at: float
    priority: int = 0
    parent: int | None = None
    parent_task: str | None = None
    epilogue: bool = False
    schedule: str | None = None
    scheduled_for: float | None = None
    traceparent: str | None = None


class ClosingRow(NamedTuple):
    """The outcome of a run that has not ended yet: ``closing`` becomes the run's. It need not be cancelled any more.

    Nor paused, if the outcome is that it was cancelled.
    """

    run: int
    status: str
    closing: str


class CacheRow(NamedTuple):
    """A result that other runs may reuse: the output of ``task``, as payload, under a key."""

    run: int
    key: str
    output: str
    task: str


class EndRow(NamedTuple):
    """The end of a run."""

    run: int
    status: str
    at: float
    reason: str | None


class PlanRow(NamedTuple):
    """A plan's structure as JSON, stored once for all the runs that have it."""

    digest: str
    workflow: str
    version: str
    spec: str


class MoveRow(NamedTuple):
    """A run that goes on with other code: by the plan with this digest, of this version; ``epilogue`` as for a run."""

    run: int
    plan: str
    version: str
    epilogue: bool
