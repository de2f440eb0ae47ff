"""Spans and metrics by OpenTelemetry's API: what a worker has done, told once it is durable.

It knows the API and rows, and neither stores nor how attempts are made; nothing here is loaded, nor called, unless the
program has set up OpenTelemetry. A span of an attempt is begun with the body, so that what the body traces belongs to
it, and ended only after the commit: an attempt that is lost with its worker leaves no span, so that a task that is
recovered has one. Names follow https://opentelemetry.io/docs/specs/semconv/; ours begin with ``cloaca.``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from contextvars import Token
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from cloaca.machine.events import AttemptFailed, Event, TaskFailed, TaskSucceeded
from cloaca.ports import RunRow

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span

NAME: Final = "cloaca"
MOST_ELEMENTS = 100  # of an ``each`` have spans: a trace of thousands is of use to nobody
_ELEMENT: Final = re.compile(r"/(\d+)/")


def is_set_up() -> bool:
    """Whether the program has set a provider of spans or of metrics. It loads nothing."""
    trace, metrics = sys.modules.get("opentelemetry.trace"), sys.modules.get("opentelemetry.metrics")
    providers = [
        module and getattr(module, ask)()
        for module, ask in ((trace, "get_tracer_provider"), (metrics, "get_meter_provider"))
    ]
    # The API's own stand-ins wait for a provider; one that does nothing is as good as none.
    return any(provider and not re.match("_?Proxy|NoOp", type(provider).__name__) for provider in providers)


def telemetry(wanted: bool | None) -> Telemetry | None:
    """Return what tells OpenTelemetry: if it is wanted, or the program has set it up; None if not.

    Raises ModuleNotFoundError if it is wanted and its API is not installed.
    """
    return _one() if wanted or (wanted is None and is_set_up()) else None


@cache
def _one() -> Telemetry:
    """Return the one of this process: an instrument is made once, however many runners there are."""
    return Telemetry()


@dataclass(slots=True)
class Begun:
    """An attempt under way: its span, if it has one, and the class of what it raised."""

    span: Span | None
    started_at: float
    kind: str
    task: str
    token: Token[Context] | None = None
    error: str | None = None


class Telemetry:
    """Tells OpenTelemetry what the runners of this process do."""

    def __init__(self) -> None:
        from opentelemetry import context, metrics, trace  # noqa: PLC0415 - an extra, loaded when it is used
        from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415 - as above
            TraceContextTextMapPropagator,
        )

        self._context, self._trace = context, trace
        self._propagator = TraceContextTextMapPropagator()
        self._tracer = trace.get_tracer(NAME)
        meter = metrics.get_meter(NAME)
        self._attempts = meter.create_counter(
            "cloaca.task.attempts", "{attempt}", "Attempts that are durable, by workflow, task and outcome"
        )
        self._retries = meter.create_counter("cloaca.task.retries", "{attempt}", "Attempts that are made again")
        self._task_s = meter.create_histogram("cloaca.task.duration", "s", "How long attempts took")
        self._runs = meter.create_counter("cloaca.run.ends", "{run}", "Runs that have ended, by workflow and status")
        self._run_s = meter.create_histogram("cloaca.run.duration", "s", "How long runs took, from their start")
        self._lag_s = meter.create_histogram("cloaca.run.lag", "s", "How long runs waited for their first worker")
        self._claims = meter.create_counter("cloaca.worker.claims", "{run}", "Runs that a worker has taken")
        self._leases = meter.create_counter("cloaca.worker.leases_lost", "{lease}", "Leases that ran out on a worker")
        self._rows = meter.create_histogram("cloaca.commit.size", "{row}", "Rows of one commit")
        self._late_s = meter.create_histogram("cloaca.schedule.lateness", "s", "From nominal time to start")
        self._gauges: list[Callable[[], dict[str, int]]] = []
        for name in ("runs", "running", "waiting"):
            meter.create_observable_gauge(
                f"cloaca.worker.{name}",
                [self._observing(name)],
                "{run}" if name == "runs" else "{attempt}",
                GAUGES[name],
            )

    def _observing(self, name: str) -> Callable[[Any], Iterable[Any]]:
        from opentelemetry.metrics import Observation  # noqa: PLC0415 - as above

        return lambda _: [Observation(sum(gauge()[name] for gauge in self._gauges))] if self._gauges else []

    def watch(self, gauge: Callable[[], dict[str, int]]) -> None:
        """Ask ``gauge`` for a worker's ``runs``, and attempts ``running`` and ``waiting``, until ``unwatch``."""
        self._gauges.append(gauge)

    def unwatch(self, gauge: Callable[[], dict[str, int]]) -> None:
        """Ask ``gauge`` no more."""
        if gauge in self._gauges:
            self._gauges.remove(gauge)

    # Runs

    def starting(self, workflow: str) -> tuple[Span, str | None]:
        """Begin the span of a call of ``start``; return it, and the trace context that is stored with the run."""
        span = self._tracer.start_span(
            f"start {workflow}", kind=self._trace.SpanKind.PRODUCER, attributes={"cloaca.workflow": workflow}
        )
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, self._trace.set_span_in_context(span))
        return span, carrier.get("traceparent")

    def started(self, span: Span, run: str | None) -> None:
        """End the span of a call of ``start``: the run is durable, or there is none."""
        if run is not None:
            span.set_attribute("cloaca.run", run)
        else:
            span.set_status(self._trace.StatusCode.ERROR)
        span.end()

    def ended(self, run: RunRow, status: str, at: float) -> None:
        """Tell that a run has ended, which is durable."""
        about = {"cloaca.workflow": run.workflow, "cloaca.status": status}
        self._runs.add(1, about)
        self._run_s.record(max(0.0, at - run.created_at), about)
        span = self._tracer.start_span(
            f"run {run.workflow}",
            self._around(run),
            attributes={**_facts(run), "cloaca.status": status},
            start_time=_ns(run.created_at),
        )
        if status == "failed":
            span.set_status(self._trace.StatusCode.ERROR)
        span.end(_ns(at))

    def _around(self, run: RunRow) -> Context:
        """Return the trace context of a run: that of its start, the same for whoever drives it."""
        return self._propagator.extract({"traceparent": traceparent(run)}, self._context.Context())

    # Attempts

    def begin(self, run: RunRow, *, name: str, kind: str, task: str, number: int, at: float) -> Begun:
        """Begin an attempt's span, and make it the current one; ``name`` is that of its row, ``task`` the node's."""
        begun = Begun(None, at, kind, task)
        index = _ELEMENT.search(name)
        if index is None or int(index[1]) < MOST_ELEMENTS:
            span = begun.span = self._tracer.start_span(
                f"{kind} {task}",
                self._around(run),
                kind=self._trace.SpanKind.CONSUMER,
                attributes={**_facts(run), "cloaca.task": name, "cloaca.attempt": number},
                start_time=_ns(at),
            )
            begun.token = self._context.attach(self._trace.set_span_in_context(span))
        return begun

    def left(self, begun: Begun) -> None:
        """The body is over: its span is not the current one any more."""
        if begun.token is not None:
            self._context.detach(begun.token)

    def committed(self, run: RunRow, begun: Begun, event: Event) -> None:
        """Tell that an attempt has ended, which is durable: end its span, and count it."""
        match event:
            case TaskSucceeded(at=at):
                outcome = "succeeded"
            case TaskFailed(at=at):
                outcome = "failed"
            case AttemptFailed(at=at):
                outcome = "retried"
                self._retries.add(1, {"cloaca.workflow": run.workflow, "cloaca.task": begun.task})
            case _:
                return
        about = {"cloaca.workflow": run.workflow, "cloaca.task": begun.task, "cloaca.outcome": outcome}
        self._attempts.add(1, about)
        self._task_s.record(max(0.0, at - begun.started_at), about)
        if (span := begun.span) is not None:
            span.set_attribute("cloaca.outcome", outcome)
            if outcome != "succeeded":  # its message stays in the database: it may say what is encrypted there
                span.set_attribute("error.type", begun.error or "unknown")
                span.set_status(self._trace.StatusCode.ERROR)
            span.end(_ns(at))

    # Workers

    def claimed(self, run: RunRow, at: float) -> None:
        """Tell that a worker has taken a run."""
        self._claims.add(1, {"cloaca.workflow": run.workflow})
        if not run.crashes:
            self._lag_s.record(max(0.0, at - run.created_at), {"cloaca.workflow": run.workflow})

    def commit(self, rows: int) -> None:
        """Tell how many rows a commit had."""
        self._rows.record(rows)

    def lease_lost(self) -> None:
        """Tell that a worker was taken for dead."""
        self._leases.add(1)

    def fired(self, schedule: str, late_s: float) -> None:
        """Tell that a schedule has started a run."""
        self._late_s.record(max(0.0, late_s), {"cloaca.schedule": schedule})


GAUGES: Final = {
    "runs": "Runs that a worker drives",
    "running": "Attempts in flight",
    "waiting": "Attempts that wait for a slot of the worker, or of a queue",
}


def traceparent(run: RunRow) -> str:
    """Return the W3C trace context of a run; one that was started where nobody traces gets its own from its id.

    >>> traceparent(RunRow(7, "w", "v", "p", "running", None, None, 1, 0, 0.0, 0.0, None, None, False))
    '00-7902699be42c8a8e46fbbb4501726517-e86b22c56a189f76-01'
    """
    if run.traceparent is not None:
        return run.traceparent
    made = sha256(str(run.id).encode()).hexdigest()
    return f"00-{made[:32]}-{made[32:48]}-01"


def _facts(run: RunRow) -> dict[str, str]:
    facts = {"cloaca.run": str(run.id), "cloaca.workflow": run.workflow, "cloaca.version": run.version}
    if run.parent is not None:
        facts["cloaca.parent"] = str(run.parent)
    if run.schedule is not None:
        facts["cloaca.schedule"] = run.schedule
    return facts


def _ns(at: float) -> int:
    return round(at * 1e9)
