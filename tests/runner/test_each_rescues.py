"""Failures inside fan-outs: handlers of elements, branches, fan-outs in fan-outs, and retries of one element alone."""

from __future__ import annotations

import asyncio
from typing import Any

from pydantic import BaseModel
from returns.result import Failure, Result, Success

from cloaca import TaskContext, TaskFailure, Workflow, branch, each, task
from tests.runner.books import Book, Doc, Page, Refused, Text, Texts, bind, split
from tests.runner.controlled import database, postgres
from tests.runner.databases import Database, asynchronous, eventually

__all__ = ["database", "postgres"]


class Desk:
    """Bodies that refuse or break, by the page's number, and a log of what was done."""

    def __init__(self) -> None:
        self.refuses: set[int] = set()
        self.breaks: set[int] = set()
        self.log: list[str] = []
        self.open = asyncio.Event()
        self.open.set()

    def load(self) -> Any:
        @task
        async def load(page: Page, *, ctx: TaskContext) -> Result[Text, Refused]:
            self.log.append(ctx.task)
            await self.open.wait()
            if page.number in self.breaks:
                raise ConnectionError(f"page {page.number}")
            if page.number in self.refuses:
                return Failure(Refused(why=f"no {page.number}"))
            return Success(Text(text=str(page.number)))

        return load

    def mend(self) -> Any:
        @task
        async def mend(refused: Refused, page: Page, *, ctx: TaskContext) -> Text:
            self.log.append(ctx.task)
            return Text(text=f"({refused.why})")

        return mend


def names(word: str, *numbers: int) -> list[str]:
    return [f"each:load/{number}/{word}" for number in numbers]


@asynchronous
async def test_the_handler_of_a_last_task_gives_the_elements_output(database: Database) -> None:
    desk = Desk()
    desk.refuses = {1, 3}
    workflow = Workflow("mended", split >> each(desk.load().rescue(desk.mend()), over="pages", into="texts") >> bind)
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Doc(count=4))
        assert await handle.result() == Success(Book(book="0 (no 1) 2 (no 3)"))
        assert (await handle.tasks())[1].elements == {"total": 4, "succeeded": 4}
        assert [failure.error for failure in await handle.failures()] == [Refused(why="no 1"), Refused(why="no 3")]
        found = (await handle.elements("each:load"))[1]
        assert [(info.name, info.status) for info in found.tasks] == [
            ("each:load/1/load", "failed"),
            ("each:load/1/mend", "succeeded"),
        ]


@asynchronous
async def test_a_handler_is_given_the_elements_failure_by_whoever_goes_on(database: Database) -> None:
    desk = Desk()
    desk.breaks = {1}
    seen: list[tuple[str, str, int]] = []

    @task
    async def note(page: Page, failure: TaskFailure) -> Text:
        seen.append((failure.task, failure.message, failure.attempt))
        return Text(text="noted")

    workflow = Workflow("noted", split >> each(desk.load().rescue(note), over="pages", into="texts") >> bind)
    async with database.runner(workflow) as runner:
        assert await runner.run(workflow, Doc(count=2)) == Success(Book(book="0 noted"))
        desk.open.clear()
        handle = await runner.start(workflow, Doc(count=2))
        await eventually(lambda: _is(len(desk.log) == 4))
        await handle.pause()
        desk.open.set()
        await eventually(lambda: _status(handle, "paused"))
        assert len(seen) == 1
        await handle.resume()
        assert await handle.result() == Success(Book(book="0 noted"))
    assert seen == [("each:load/1/load", "page 1", 1)] * 2


async def _is(value: bool) -> bool:
    return value


async def _status(handle: Any, wanted: str) -> bool:
    return bool(await handle.status() == wanted)


@asynchronous
async def test_a_retry_keeps_the_elements_that_were_rescued(database: Database) -> None:
    desk = Desk()
    desk.refuses, desk.breaks = {1}, {2}
    workflow = Workflow("mended", split >> each(desk.load().rescue(desk.mend()), over="pages", into="texts") >> bind)
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Doc(count=4))
        outcome = await handle.result()
        assert isinstance(outcome, Failure)
        assert outcome.failure().task == "each:load"
        assert (await handle.tasks())[1].elements == {"total": 4, "succeeded": 3, "failed": 1}
        desk.breaks = set()
        before = len(desk.log)
        await handle.retry()
        assert await handle.result() == Success(Book(book="0 (no 1) 2 3"))
    assert desk.log[before:] == names("load", 2)


@asynchronous
async def test_a_handler_that_failed_is_tried_again_with_its_task_alone(database: Database) -> None:
    desk = Desk()
    desk.breaks = {0, 2}
    down = {2}

    @task
    async def note(page: Page, failure: TaskFailure, *, ctx: TaskContext) -> Text:
        desk.log.append(ctx.task)
        if page.number in down:
            raise OSError("no pen")
        return Text(text="noted")

    workflow = Workflow("noted", split >> each(desk.load().rescue(note), over="pages", into="texts") >> bind)
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Doc(count=3))
        outcome = await handle.result()
        assert isinstance(outcome, Failure)
        assert "element 2: ConnectionError: page 2" in outcome.failure().failures[-1].message
        down.clear()
        before = len(desk.log)
        await handle.retry()
        assert await handle.result() == Success(Book(book="noted 1 noted"))
    assert desk.log[before:] == [*names("load", 2), *names("note", 2)]


def is_odd(page: Page) -> bool:
    return page.number % 2 == 1


@asynchronous
async def test_a_branch_and_a_handler_inside(database: Database) -> None:
    desk = Desk()
    desk.refuses, desk.breaks = {1, 4}, {3}

    @task
    async def skim(page: Page) -> Text:
        return Text(text=f"skim {page.number}")

    @task
    async def shout(text: Text) -> Text:
        return Text(text=text.text.upper() + "!")

    arms = branch(is_odd, then=desk.load().rescue(desk.mend()), otherwise=skim)
    workflow = Workflow("branched", split >> each(arms >> shout, over="pages", into="texts").named("reading") >> bind)
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Doc(count=5))
        assert isinstance(await handle.result(), Failure)
        (failed,) = await handle.elements("reading", status="failed")
        assert [(info.name, info.status, info.skipped_because) for info in failed.tasks] == [
            ("reading/3/branch:is_odd", "succeeded", None),
            ("reading/3/load", "failed", None),
            ("reading/3/mend", "skipped", "reading/3/load failed"),
            ("reading/3/skim", "skipped", "reading/3/branch:is_odd said yes"),
            ("reading/3/shout", "skipped", "reading/3/load failed"),
        ]
        desk.breaks = set()
        before = len(desk.log)
        await handle.retry()
        assert await handle.result() == Success(Book(book="SKIM 0! (NO 1)! SKIM 2! 3! SKIM 4!"))
    assert desk.log[before:] == ["reading/3/load"]


class Chapter(BaseModel):
    chapter: int
    pages: list[Page]


class Chapters(BaseModel):
    chapters: list[Chapter]


class Joined(BaseModel):
    joined: str


class AllJoined(BaseModel):
    all_joined: list[Joined]


@asynchronous
async def test_one_failed_element_of_a_fan_out_in_a_fan_out_is_retried_alone(database: Database) -> None:
    desk = Desk()
    desk.refuses, desk.breaks = {11}, {10, 21}

    @task
    def chapters(doc: Doc) -> Chapters:
        numbers = range(1, doc.count + 1)
        made = [Chapter(chapter=n, pages=[Page(number=n * 10 + page) for page in range(2)]) for n in numbers]
        return Chapters(chapters=made)

    @task
    async def join(texts: Texts, *, ctx: TaskContext) -> Joined:
        desk.log.append(ctx.task)
        return Joined(joined="+".join(text.text for text in texts.texts))

    @task
    def collect(found: AllJoined) -> Book:
        return Book(book=" ".join(joined.joined for joined in found.all_joined))

    inner = each(desk.load().rescue(desk.mend()), over="pages", into="texts") >> join
    workflow = Workflow("nested", chapters >> each(inner, over="chapters", into="all_joined").named("all") >> collect)
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Doc(count=3))
        outcome = await handle.result()
        assert isinstance(outcome, Failure)
        assert outcome.failure().task == "all"
        assert [info.status for info in await handle.elements("all")] == ["failed", "failed", "succeeded"]
        failed = await handle.elements("all/1/each:load", status="failed")
        assert [[info.name for info in element.tasks] for element in failed] == [
            ["all/1/each:load/1/load", "all/1/each:load/1/mend"]
        ]
        desk.breaks = {10}
        before = len(desk.log)
        await handle.retry()
        assert isinstance(await handle.result(), Failure)
        assert sorted(desk.log[before:]) == ["all/0/each:load/0/load", "all/1/each:load/1/load", "all/1/join"]
        desk.breaks = set()
        before = len(desk.log)
        await handle.retry()
        assert await handle.result() == Success(Book(book="10+(no 11) 20+21 30+31"))
        assert desk.log[before:] == ["all/0/each:load/0/load", "all/0/join"]


@asynchronous
async def test_a_pause_that_is_withdrawn_while_something_beside_runs(database: Database) -> None:
    desk, beside = Desk(), asyncio.Event()
    desk.open.clear()

    @task
    async def slow(doc: Doc) -> None:
        await beside.wait()

    pages = split >> each(desk.load(), over="pages", into="texts", limit=1) >> bind
    workflow = Workflow("beside", pages, slow, output=Book)
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Doc(count=3))
        await eventually(lambda: _is(len(desk.log) == 1))
        await handle.pause()
        desk.open.set()
        await eventually(lambda: _is_done(handle, 0))
        await handle.resume()
        await eventually(lambda: _is_done(handle, 2))
        beside.set()
        assert await handle.result() == Success(Book(book="0 1 2"))
    assert desk.log == names("load", 0, 1, 2)  # and what was committed before the pause was not done again


async def _is_done(handle: Any, index: int) -> bool:
    found = await handle.elements("each:load", status="succeeded")
    return index in [info.index for info in found]
