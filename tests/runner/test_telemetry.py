"""OpenTelemetry hears of what is durable, once; and where nobody wants to know, nothing is loaded or called."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import BaseModel

from cloaca import Retry, Secret, TaskContext, Workflow, each, subflow, task
from cloaca.telemetry import MOST_ELEMENTS
from tests.providers import forget_providers
from tests.runner.databases import Database, asynchronous

CANARY = "canary-telemetry-77"


class Number(BaseModel):
    """An input, and an element."""

    number: int


class Numbers(BaseModel):
    """Elements."""

    numbers: list[Number]


class Doubled(BaseModel):
    """An output."""

    doubled: int


class All(BaseModel):
    """All outputs."""

    results: list[Doubled]


@task
def count(given: Number) -> Numbers:
    """Make so many elements, inside of a span of the user's."""
    with trace.get_tracer("user").start_as_current_span("counting"):
        return Numbers(numbers=[Number(number=n) for n in range(given.number)])


@task(retry=Retry(attempts=2, delay=0))
async def double(given: Number, *, ctx: TaskContext) -> Doubled:
    """Fail once for one element."""
    if given.number == 1 and ctx.attempt == 1:
        raise ValueError(CANARY)
    return Doubled(doubled=given.number * 2)


@task
def leak(given: Number) -> Doubled:
    """Fail with a secret."""
    raise ValueError(Secret("TOKEN").reveal())


@task
def undo(given: Number) -> None:
    """Undo."""


DOUBLING = Workflow("doubling", count >> each(double, over="numbers", into="results"), input=Number, output=All)
AROUND = Workflow("around", subflow(DOUBLING), input=Number)
FAILING = Workflow("failing", count.compensate(undo) >> leak)
EXPORTER, READER = InMemorySpanExporter(), InMemoryMetricReader()


@pytest.fixture(scope="module", autouse=True)
def providers() -> Iterator[None]:
    """Set both for this process, as a program does, and take them away again: others set none."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(EXPORTER))
    forget_providers()
    trace.set_tracer_provider(provider)
    metrics.set_meter_provider(MeterProvider([READER]))
    yield
    forget_providers()


@pytest.fixture(autouse=True)
def empty() -> None:
    """Begin without spans."""
    EXPORTER.clear()


def named(name: str) -> list[ReadableSpan]:
    """Return the spans of a name."""
    return [span for span in EXPORTER.get_finished_spans() if span.name == name]


def id_of(span: ReadableSpan) -> int:
    """Return a span's id."""
    assert span.context is not None
    number: int = span.context.span_id
    return number


@asynchronous
async def test_attempts_runs_and_children_are_one_trace(database: Database) -> None:
    async with database.runner(AROUND) as runner:
        with trace.get_tracer("user").start_as_current_span("request"):
            outcome = await runner.run(AROUND, Number(number=3))
    assert outcome.unwrap() == All(results=[Doubled(doubled=n) for n in (0, 2, 4)])
    spans = EXPORTER.get_finished_spans()
    assert len({span.context.trace_id for span in spans if span.context}) == 1
    [start], [request] = named("start around"), named("request")
    assert start.parent is not None
    assert start.parent.span_id == id_of(request)
    elements = named("task each:double/double") or named("task double")
    told = sorted(
        (str(span.attributes["cloaca.task"]), span.attributes["cloaca.outcome"]) for span in elements if span.attributes
    )
    assert told == [
        ("each:double/0/double", "succeeded"),
        ("each:double/1/double", "retried"),
        ("each:double/1/double", "succeeded"),
        ("each:double/2/double", "succeeded"),
    ]
    for span in [*elements, *named("run around"), *named("run doubling"), *named("task count")]:
        assert span.parent is not None
        assert span.parent.span_id == id_of(start)
    [counting], [counted] = named("counting"), named("task count")
    assert counting.parent is not None
    assert counting.parent.span_id == id_of(counted)
    [parent] = {span.attributes["cloaca.parent"] for span in named("run doubling") if span.attributes}
    [run] = {span.attributes["cloaca.run"] for span in named("run around") if span.attributes}
    assert parent == run


@asynchronous
async def test_a_compensation_has_a_span_and_no_span_has_a_message(database: Database) -> None:
    async with database.runner(FAILING, secrets={"TOKEN": CANARY}) as runner:
        await runner.run(FAILING, Number(number=1))
    [undone] = [span for span in EXPORTER.get_finished_spans() if span.name.startswith("undo ")]
    assert (undone.attributes or {})["cloaca.outcome"] == "succeeded"
    [failed] = named("task leak")
    assert failed.attributes is not None
    assert failed.attributes["error.type"] == "ValueError"
    assert CANARY not in "".join(span.to_json() for span in EXPORTER.get_finished_spans())


@asynchronous
async def test_only_the_first_elements_have_spans(database: Database) -> None:
    async with database.runner(DOUBLING) as runner:
        await runner.run(DOUBLING, Number(number=MOST_ELEMENTS + 20))
    attributes = [span.attributes or {} for span in EXPORTER.get_finished_spans()]
    names = {each.get("cloaca.task") for each in attributes}
    assert f"each:double/{MOST_ELEMENTS - 1}/double" in names
    assert f"each:double/{MOST_ELEMENTS}/double" not in names


@asynchronous
async def test_metrics_count_what_is_durable(database: Database) -> None:
    def counted(name: str) -> dict[Any, int]:
        data = READER.get_metrics_data()
        found: dict[Any, int] = {}
        for resource in data.resource_metrics if data else ():
            for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
                for point in metric.data.data_points if metric.name == name else ():
                    key = tuple(value for key, value in sorted((point.attributes or {}).items()))
                    said: Any = getattr(point, "value", getattr(point, "count", 0))
                    found[key] = int(said)
        return found

    before = {name: counted(name) for name in ("cloaca.task.attempts", "cloaca.run.ends", "cloaca.task.retries")}
    async with database.runner(DOUBLING) as runner:
        await runner.run(DOUBLING, Number(number=3))
        assert counted("cloaca.worker.runs") == {(): 0}
    after = {name: counted(name) for name in before}
    grown = {
        name: {
            key: value - before[name].get(key, 0)
            for key, value in after[name].items()
            if value != before[name].get(key, 0)
        }
        for name in before
    }
    assert sum(grown["cloaca.task.attempts"].values()) == 5
    assert list(grown["cloaca.run.ends"].values()) == [1]
    assert list(grown["cloaca.task.retries"].values()) == [1]
    assert counted("cloaca.commit.size")[()] > 0
    assert sum(counted("cloaca.task.duration").values()) >= 5


@asynchronous
async def test_it_can_be_turned_off(database: Database) -> None:
    async with database.runner(DOUBLING, telemetry=False) as runner:
        await runner.run(DOUBLING, Number(number=1))
        [info] = await runner.runs()
    assert [span.name for span in EXPORTER.get_finished_spans()] == ["counting"]
    store = database.store()
    await store.open()
    row = await store.run(int(info.id))
    assert row is not None
    assert row.traceparent is None
    if database.memory is None:
        await store.close()


NOT_LOADED = """
import sys
from pydantic import BaseModel
from cloaca import Workflow, run, task

class Number(BaseModel):
    number: int

@task
def keep(given: Number) -> Number:
    return given

run(Workflow("w", keep), Number(number=1), database="memory://")
print([name for name in sys.modules if name.split(".")[0] in ("opentelemetry", "cryptography")])
"""


def test_without_it_nothing_of_it_is_loaded() -> None:
    done = subprocess.run([sys.executable, "-c", NOT_LOADED], capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(done.stdout) == []
