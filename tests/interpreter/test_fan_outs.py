"""Random fan-outs in fan-outs, with branches, handlers and retries inside, on the real runner, against a reference.

Each page says what becomes of it; the reference follows it by the words of the specification: one arm runs; a handler
stands in if its task finally fails, one that takes the typed error only after a ``Failure``; one failed element fails
the fan-out once the others have run; a retry runs only what has failed again.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from returns.result import Failure, Result, Success

from cloaca import BlockingRunner, Retry, TaskContext, TaskFailure, Workflow, branch, each, task

EXAMPLES = int(os.environ.get("CLOACA_EXAMPLES", "20"))
SETTINGS = settings(
    max_examples=EXAMPLES,
    derandomize=EXAMPLES <= 20,
    database=None,
    suppress_health_check=list(HealthCheck),
)
ATTEMPTS = 2
Fate = Literal["succeeds", "declines", "raises"]
Kind = Literal["any", "typed"]


class Page(BaseModel):
    number: int
    arm: Literal["work", "skim", "raises"]
    fate: Fate
    failures: int
    mends: bool


class Chapter(BaseModel):
    pages: list[Page]


class Book(BaseModel):
    chapters: list[Chapter]


class Value(BaseModel):
    value: int


class Values(BaseModel):
    values: list[Value]


class Total(BaseModel):
    total: int


class Totals(BaseModel):
    totals: list[Total]


class Refused(BaseModel):
    number: int


class Odd(Exception):
    """What bodies raise."""


@dataclass
class World:
    """What the bodies have done, and whether all that went wrong is right by now."""

    log: list[str] = field(default_factory=list)
    healed: bool = False


WORLD = World()


def chooses(page: Page) -> bool:
    if page.arm == "raises" and not WORLD.healed:
        raise Odd("undecided")
    return page.arm == "work"


@task(retry=Retry(attempts=ATTEMPTS, delay=0))
async def work(page: Page, *, ctx: TaskContext) -> Result[Value, Refused]:
    WORLD.log.append(ctx.task)
    if not WORLD.healed and (ctx.attempt <= page.failures or page.fate == "raises"):
        raise Odd("work")
    if not WORLD.healed and page.fate == "declines":
        return Failure(Refused(number=page.number))
    return Success(Value(value=page.number * 3))


@task
def skim(page: Page, *, ctx: TaskContext) -> Value:
    WORLD.log.append(ctx.task)
    return Value(value=page.number * 2)


def mended(page: Page, ctx: TaskContext) -> Value:
    WORLD.log.append(ctx.task)
    if not page.mends and not WORLD.healed:
        raise Odd("mend")
    return Value(value=page.number * 5)


@task
def mend(page: Page, failure: TaskFailure, *, ctx: TaskContext) -> Value:
    assert failure.task == ctx.task.removesuffix("mend") + "work"
    assert failure.error is None or failure.error == Refused(number=page.number)
    return mended(page, ctx)


@task
def mend_typed(refused: Refused, page: Page, *, ctx: TaskContext) -> Value:
    assert refused.number == page.number
    return mended(page, ctx)


@task
async def finish(value: Value, *, ctx: TaskContext) -> Value:
    WORLD.log.append(ctx.task)
    return Value(value=value.value + 1)


@task
def add(values: Values, *, ctx: TaskContext) -> Total:
    WORLD.log.append(ctx.task)
    return Total(total=sum(value.value for value in values.values))


@task
def bind(totals: Totals) -> Total:
    return Total(total=sum(total.total for total in totals.totals))


HANDLERS: dict[Kind, Any] = {"any": mend, "typed": mend_typed.named("mend")}


def fanning(kind: Kind, limit: int | None) -> Workflow[Any, Any]:
    page = branch(chooses, then=work.rescue(HANDLERS[kind]), otherwise=skim) >> finish
    chapter = each(page, over="pages", into="values", limit=limit).named("page") >> add
    chapters = each(chapter, over="chapters", into="totals").named("chapter")
    return Workflow(f"fans {kind} {limit}", chapters >> bind, input=Book)


# The reference


@dataclass
class Ended:
    """What becomes of a page: its value, None if it failed; the bodies that are called, and its failed attempts."""

    value: int | None
    bodies: list[str]
    failures: list[tuple[str, str]]


def page_end(page: Page, kind: Kind) -> Ended:
    if page.arm == "raises":
        return Ended(None, [], [("branch:chooses", "Odd")])
    if page.arm == "skim":
        return Ended(page.number * 2 + 1, ["skim", "finish"], [])
    bodies: list[str] = []
    failures: list[tuple[str, str]] = []
    for attempt in range(1, ATTEMPTS + 1):
        bodies.append("work")
        if attempt > page.failures and page.fate == "succeeds":
            return Ended(page.number * 3 + 1, [*bodies, "finish"], failures)
        declined = attempt > page.failures and page.fate == "declines"
        failures.append(("work", "Failure" if declined else "Odd"))
        if declined:
            break
    if kind == "typed" and failures[-1][1] == "Odd":
        return Ended(None, bodies, failures)
    if not page.mends:
        return Ended(None, [*bodies, "mend"], [*failures, ("mend", "Odd")])
    return Ended(page.number * 5 + 1, [*bodies, "mend", "finish"], failures)


def healed_end(page: Page) -> Ended:
    """How a page ends that is tried again once nothing is wrong any more."""
    arm, times = ("work", 3) if page.arm == "work" else ("skim", 2)
    return Ended(page.number * times + 1, [arm, "finish"], [])


# Books by chance


def a_page(number: int) -> st.SearchStrategy[Page]:
    return st.builds(
        Page,
        number=st.just(number),
        arm=st.sampled_from(("work", "work", "work", "skim", "raises")),
        fate=st.sampled_from(("succeeds", "succeeds", "declines", "raises")),
        failures=st.sampled_from((0, 0, 1, 2)),
        mends=st.sampled_from((True, True, False)),
    )


@st.composite
def books(draw: st.DrawFn) -> Book:
    sizes = draw(st.lists(st.integers(0, 4), max_size=4))
    made = [[draw(a_page(chapter * 10 + page)) for page in range(size)] for chapter, size in enumerate(sizes)]
    return Book(chapters=[Chapter(pages=pages) for pages in made])


@pytest.fixture(scope="module")
def runners(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[BlockingRunner, ...]]:
    folder = tmp_path_factory.mktemp("fans")
    with BlockingRunner("memory://") as memory, BlockingRunner(Path(folder) / "runs.db") as file:
        yield memory, file


def check(book: Book, kind: Kind, workflow: Workflow[Any, Any], runner: BlockingRunner) -> None:
    ends = {
        f"chapter/{c}/page/{p}/": (page, page_end(page, kind))
        for c, chapter in enumerate(book.chapters)
        for p, page in enumerate(chapter.pages)
    }
    broken = {prefix.split("/")[1] for prefix, (_, end) in ends.items() if end.value is None}
    WORLD.log, WORLD.healed = [], False
    handle = runner.start(workflow, book)
    outcome = handle.result(timeout=30)
    wanted = Counter(prefix + body for prefix, (_, end) in ends.items() for body in end.bodies)
    wanted.update(f"chapter/{c}/add" for c in range(len(book.chapters)) if str(c) not in broken)
    assert Counter(WORLD.log) == wanted
    failures = Counter((f.task, f.exception_type) for f in handle.failures() if f.exception_type != "ElementsFailed")
    assert failures == Counter((prefix + body, why) for prefix, (_, end) in ends.items() for body, why in end.failures)
    statuses = [info.status for info in handle.elements("chapter")]
    assert statuses == ["failed" if str(c) in broken else "succeeded" for c in range(len(book.chapters))]
    for c, chapter in enumerate(book.chapters):
        found = [info.status for info in handle.elements(f"chapter/{c}/page")]
        pages = [ends[f"chapter/{c}/page/{p}/"][1] for p in range(len(chapter.pages))]
        assert found == ["failed" if end.value is None else "succeeded" for end in pages]
    if not broken:
        assert outcome == Success(Total(total=sum(end.value or 0 for _, end in ends.values())))
        return
    assert isinstance(outcome, Failure)
    assert outcome.failure().task == "chapter"
    WORLD.log, WORLD.healed = [], True
    handle.retry()
    again = {prefix: healed_end(page) for prefix, (page, end) in ends.items() if end.value is None}
    final = {prefix: end.value for prefix, (_, end) in ends.items()} | {p: end.value for p, end in again.items()}
    assert handle.result(timeout=30) == Success(Total(total=sum(value or 0 for value in final.values())))
    wanted = Counter(prefix + body for prefix, end in again.items() for body in end.bodies)
    wanted.update(f"chapter/{c}/add" for c in broken)
    assert Counter(WORLD.log) == wanted


@pytest.mark.parametrize("limit", [None, 1, 2])
@pytest.mark.parametrize("kind", HANDLERS)
def test_random_fan_outs(kind: Kind, limit: int | None, runners: tuple[BlockingRunner, ...]) -> None:
    workflow = fanning(kind, limit)

    @given(book=books())
    @SETTINGS
    def holds(book: Book) -> None:
        for runner in runners:
            check(book, kind, workflow, runner)

    holds()
