"""One instance of a graph for each element of a list: order, limits, failures, and everything a user does to a run."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel
from returns.result import Failure, Result, Success

from cloaca import Queue, Reduce, Retry, TaskContext, UnknownQueue, UnknownTask, Waiting, Workflow, each, task
from cloaca.ports import Batch, Receipt
from cloaca.stores.memory import MemoryStore
from tests.runner.books import Book, Page, Pages, Refused, Text, bind
from tests.runner.controlled import Handle, database, postgres
from tests.runner.databases import Database, asynchronous, eventually

__all__ = ["database", "postgres"]


class Doc(BaseModel):
    count: int
    title: str


def doc(count: int) -> Doc:
    return Doc(count=count, title="doc")


class Titled(BaseModel):
    number: int
    title: str


@task
def split(doc: Doc) -> Pages:
    return Pages(pages=[Page(number=number) for number in range(doc.count)])


class Stage:
    """What bodies do, by the name of the instance's task: hold, fail so many times; and a log of the attempts."""

    def __init__(self) -> None:
        self.holds: set[str] = set()
        self.fails: dict[str, int] = {}
        self.log: list[tuple[str, int]] = []
        self.keys: set[str] = set()
        self.at_work = self.most = 0

    async def act(self, ctx: TaskContext) -> None:
        self.log.append((ctx.task, ctx.attempt))
        self.keys.add(ctx.idempotency_key)
        self.at_work += 1
        self.most = max(self.most, self.at_work)
        try:
            await asyncio.sleep(0)
            while ctx.task in self.holds:
                await asyncio.sleep(0.002)
        finally:
            self.at_work -= 1
        if self.fails.get(ctx.task, 0) > 0:
            self.fails[ctx.task] -= 1
            raise ConnectionError(f"{ctx.task} at attempt {ctx.attempt}")

    def count(self, name: str) -> int:
        return sum(task == name for task, _ in self.log)

    async def begun(self, name: str, times: int = 1) -> None:
        async def has_begun() -> bool:
            return self.count(name) >= times

        await eventually(has_begun)

    def workflow(
        self, *, retry: Retry | None = None, limit: int | None = None, timeout: float | None = None
    ) -> Workflow[Any, Any, Any, Any]:
        """Return ``split >> each(fetch >> trim) >> bind``."""

        @task(retry=retry or Retry(), timeout=timeout)
        async def fetch(page: Titled, *, ctx: TaskContext) -> Text:
            await self.act(ctx)
            return Text(text=f"{page.title}-{page.number}")

        @task
        async def trim(text: Text, *, ctx: TaskContext) -> Text:
            await self.act(ctx)
            return Text(text=text.text.upper())

        return Workflow("books", split >> each(fetch >> trim, over="pages", into="texts", limit=limit) >> bind)


def fetching(number: int) -> str:
    return f"each:fetch/{number}/fetch"


def trimming(number: int) -> str:
    return f"each:fetch/{number}/trim"


async def statuses(handle: Handle) -> dict[str, str]:
    return {info.name: info.status for info in await handle.tasks()}


# Values


@asynchronous
async def test_outputs_come_in_the_order_of_the_elements(database: Database) -> None:
    stage = Stage()
    stage.holds = {fetching(0), fetching(2)}
    workflow = stage.workflow()
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, doc(4))
        await stage.begun(trimming(3))
        stage.holds.clear()
        assert await handle.result() == Success(Book(book="DOC-0 DOC-1 DOC-2 DOC-3"))
        assert (await handle.context())["texts"] == [Text(text=f"DOC-{number}") for number in range(4)]
        assert await handle.output_of("each:fetch") == [Text(text=f"DOC-{number}") for number in range(4)]
        infos = {info.name: info for info in await handle.tasks()}
        assert list(infos) == ["split", "each:fetch", "bind"]
        assert infos["each:fetch"].elements == {"total": 4, "succeeded": 4}
        assert [event.task for event in [event async for event in handle.events()] if event.kind == "task_started"] == [
            "split",
            "each:fetch",
            "bind",
        ]
    assert stage.keys == {f"{handle.id}:{name(number)}" for name in (fetching, trimming) for number in range(4)}


@asynchronous
async def test_an_empty_list_is_done_at_once(database: Database) -> None:
    stage = Stage()
    workflow = stage.workflow()
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, doc(0))
        assert await handle.result() == Success(Book(book=""))
        assert await handle.output_of("each:fetch") == []
    assert stage.log == []


@asynchronous
async def test_no_more_elements_are_at_work_than_the_limit(database: Database) -> None:
    stage = Stage()
    workflow = stage.workflow(limit=3)
    async with database.runner(workflow) as runner:
        stage.holds = {fetching(number) for number in range(20)}
        handle = await runner.start(workflow, doc(20))
        await stage.begun(fetching(2))
        stage.holds.clear()
        assert isinstance(await handle.result(), Success)
    assert stage.most == 3
    assert len(stage.log) == 40


@asynchronous
async def test_the_outer_context_is_read_beneath_the_element(database: Database) -> None:
    class Shadow(BaseModel):
        title: str
        count: int

    class Shadows(BaseModel):
        shadows: list[Shadow]

    @task
    def make(doc: Doc) -> Shadows:
        return Shadows(shadows=[Shadow(title=f"{doc.title}{number}", count=-number) for number in range(2)])

    @task
    def show(doc: Doc) -> Text:
        return Text(text=f"{doc.title}/{doc.count}")

    workflow = Workflow("shadows", make >> each(show, over="shadows", into="texts") >> bind)
    async with database.runner(workflow) as runner:
        assert await runner.run(workflow, doc(7)) == Success(Book(book="doc0/0 doc1/-1"))


@asynchronous
async def test_what_nobody_around_has_written_keeps_its_default(database: Database) -> None:
    class Extra(BaseModel):
        number: int
        suffix: str = "none"

    class Suffix(BaseModel):
        suffix: str

    @task
    def decorate(doc: Doc) -> Suffix:
        return Suffix(suffix="!")

    @task
    def show(extra: Extra) -> Text:
        return Text(text=f"{extra.number}{extra.suffix}")

    def is_large(doc: Doc) -> bool:
        return doc.count > 1

    pages = [split, decorate.when(is_large)] >> each(show, over="pages", into="texts") >> bind
    workflow = Workflow("decorated", pages)
    async with database.runner(workflow) as runner:
        assert await runner.run(workflow, doc(1)) == Success(Book(book="0none"))
        assert await runner.run(workflow, doc(2)) == Success(Book(book="0! 1!"))


@asynchronous
async def test_a_condition_inside_skips_for_some_elements(database: Database) -> None:
    class Maybe(BaseModel):
        texts: list[Text | None]

    @task
    def show(page: Page) -> Text:
        return Text(text=str(page.number))

    @task
    def count(texts: Maybe) -> Book:
        return Book(book=",".join("-" if text is None else text.text for text in texts.texts))

    def is_odd(page: Page) -> bool:
        return page.number % 2 == 1

    workflow = Workflow("odd", split >> each(show.when(is_odd), over="pages", into="texts") >> count)
    async with database.runner(workflow) as runner:
        assert await runner.run(workflow, doc(4)) == Success(Book(book="-,1,-,3"))


@asynchronous
async def test_an_each_inside_an_each(database: Database) -> None:
    class Chapter(BaseModel):
        name: str
        pages: list[Page]

    class Chapters(BaseModel):
        chapters: list[Chapter]

    class NamedPage(BaseModel):
        name: str
        title: str
        number: int

    class Bound(BaseModel):
        chapters: list[Chapter]
        books: list[Book]

    class Shelf(BaseModel):
        shelf: str

    @task
    def outline(doc: Doc) -> Chapters:
        return Chapters(
            chapters=[
                Chapter(name=f"c{number}", pages=[Page(number=page) for page in range(number)])
                for number in range(doc.count)
            ]
        )

    @task
    async def write(page: NamedPage, *, ctx: TaskContext) -> Text:
        assert ctx.task == f"each:each:write/{page.name[1:]}/each:write/{page.number}/write"
        return Text(text=f"{page.title}.{page.name}.{page.number}")

    @task
    def stack(bound: Bound) -> Shelf:
        return Shelf(shelf=" | ".join(book.book for book in bound.books))

    inner = each(write, over="pages", into="texts") >> bind
    workflow = Workflow("shelves", outline >> each(inner, over="chapters", into="books") >> stack)
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, doc(3))
        assert await handle.result() == Success(Shelf(shelf=" | doc.c1.0 | doc.c2.0 doc.c2.1"))
        found = await handle.elements("each:each:write/2/each:write")
        assert [(info.index, info.status, info.tasks[0].name) for info in found] == [
            (0, "succeeded", "each:each:write/2/each:write/0/write"),
            (1, "succeeded", "each:each:write/2/each:write/1/write"),
        ]
        with pytest.raises(UnknownTask, match="it has each:each:write"):
            await handle.elements("each:nothing")


@asynchronous
async def test_reducers_fold_inside_and_seals_close_inside(database: Database) -> None:
    class Counted(BaseModel):
        total: Annotated[int, Reduce(int.__add__)]

    class Sum(BaseModel):
        sums: list[Counted]

    class Grand(BaseModel):
        grand: list[int]

    @task
    def one(page: Page) -> Counted:
        return Counted(total=1)

    @task
    def more(page: Page) -> Counted:
        return Counted(total=page.number)

    @task
    def grand(sums: Sum) -> Grand:
        return Grand(grand=[each.total for each in sums.sums])

    inner = (one & more).sealed(Page, Counted)
    workflow = Workflow("sums", split >> each(inner, over="pages", into="sums") >> grand)
    async with database.runner(workflow) as runner:
        assert await runner.run(workflow, doc(3)) == Success(Grand(grand=[1, 2, 3]))


class Counting(MemoryStore):
    """Counts transactions."""

    commits = 0

    async def transact(self, batch: Batch) -> Receipt:
        self.commits += 1
        return await super().transact(batch)


@asynchronous
async def test_many_elements_share_their_commits(tmp_path: Path) -> None:
    stage, store = Stage(), Counting()
    workflow = stage.workflow()
    async with Database(tmp_path / "none", store).runner(workflow, payload_limit=10**6) as runner:
        before = store.commits
        assert isinstance(await runner.run(workflow, doc(1000)), Success)
    assert len(stage.log) == 2000
    assert store.commits - before <= 60


# Failures


@asynchronous
async def test_one_failed_element_fails_the_node_once_all_have_run(database: Database) -> None:
    stage = Stage()
    stage.fails = {fetching(1): 1}
    workflow = stage.workflow(limit=1)
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, doc(3))
        outcome = await handle.result()
        assert isinstance(outcome, Failure)
        failed = outcome.failure()
        assert (failed.task, failed.error) == ("each:fetch", None)
        assert [(failure.task, failure.exception_type) for failure in await handle.failures()] == [
            (fetching(1), "ConnectionError"),
            ("each:fetch", "ElementsFailed"),
        ]
        assert failed.failures[-1].message == (
            "1 of 3 elements failed; the first was element 1: ConnectionError: each:fetch/1/fetch at attempt 1"
        )
        assert await statuses(handle) == {"split": "succeeded", "each:fetch": "failed", "bind": "skipped"}
        infos = await handle.tasks()
        assert infos[1].elements == {"total": 3, "succeeded": 2, "failed": 1}
        (info,) = await handle.elements("each:fetch", status="failed")
        assert (info.index, [(info.name, info.status) for info in info.tasks]) == (
            1,
            [(fetching(1), "failed"), (trimming(1), "skipped")],
        )
        assert [info.index for info in await handle.elements("each:fetch", after=0, limit=1)] == [1]


@asynchronous
async def test_a_retry_runs_the_failed_element_alone(database: Database) -> None:
    stage = Stage()
    stage.fails = {fetching(1): 2, trimming(2): 1}
    workflow = stage.workflow()
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, doc(4))
        assert isinstance(await handle.result(), Failure)
        await handle.retry()
        assert isinstance(await handle.result(), Failure)
        await handle.retry()
        assert await handle.result() == Success(Book(book="DOC-0 DOC-1 DOC-2 DOC-3"))
    counts = {name: stage.count(name) for name, _ in stage.log}
    assert counts == {
        **{fetching(number): 1 for number in (0, 2, 3)},
        **{trimming(number): 1 for number in (0, 1, 3)},
        fetching(1): 3,
        trimming(2): 2,
    }
    assert stage.log[-2:] == [(fetching(1), 3), (trimming(1), 1)]


@asynchronous
async def test_retries_and_timeouts_inside_are_an_elements_own(database: Database) -> None:
    stage = Stage()
    stage.fails = {fetching(0): 2, fetching(3): 1}
    workflow = stage.workflow(retry=Retry(attempts=3, delay=0.01))
    async with database.runner(workflow) as runner:
        assert isinstance(await runner.run(workflow, doc(4)), Success)
    assert [attempt for name, attempt in stage.log if name == fetching(0)] == [1, 2, 3]
    assert stage.count(fetching(1)) == 1

    stage = Stage()
    stage.holds = {fetching(1)}
    workflow = stage.workflow(timeout=0.05)
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, doc(2))
        outcome = await handle.result()
        assert isinstance(outcome, Failure)
        assert outcome.failure().failures[0].exception_type == "TimeoutError"
        assert outcome.failure().failures[0].task == fetching(1)


@asynchronous
async def test_a_typed_failure_of_an_element_is_the_runs(database: Database) -> None:
    @task
    def check(page: Page) -> Result[Text, Refused]:
        return Failure(Refused(why=f"page {page.number}")) if page.number else Success(Text(text="0"))

    workflow = Workflow("checked", split >> each(check, over="pages", into="texts") >> bind)
    async with database.runner(workflow, concurrency=1) as runner:
        outcome = await runner.run(workflow, doc(3))
        assert isinstance(outcome, Failure)
        assert (outcome.failure().task, outcome.failure().error) == ("each:check", Refused(why="page 1"))


@asynchronous
async def test_an_element_that_its_task_refuses_is_named(database: Database) -> None:
    class Small(BaseModel):
        number: Annotated[int, "checked below"]

        def model_post_init(self, _: object) -> None:
            if self.number > 1:
                raise ValueError("too large")

    @task
    def show(page: Small) -> Text:
        return Text(text=str(page.number))

    workflow = Workflow("small", split >> each(show, over="pages", into="texts") >> bind)
    async with database.runner(workflow) as runner:
        outcome = await runner.run(workflow, doc(3))
        assert isinstance(outcome, Failure)
        assert [failure.task for failure in outcome.failure().failures] == ["each:show/2/show", "each:show"]


@asynchronous
async def test_a_list_that_does_not_fit_fails_early_and_goes_on_under_a_larger_limit(database: Database) -> None:
    stage = Stage()
    workflow = stage.workflow(limit=2)
    async with database.runner(workflow, payload_limit=1000) as runner:
        handle = await runner.start(workflow, doc(60))
        outcome = await handle.result()
        assert isinstance(outcome, Failure)
        failure = outcome.failure().failures[-1]
        assert (failure.task, failure.exception_type) == ("each:fetch", "PayloadTooLarge")
        assert 'in field "texts"' in failure.message
        assert "payload_limit=1,000" in failure.message
    done = len(stage.log)
    assert done < 120
    async with database.runner(workflow, payload_limit=10_000) as runner:
        handle = await runner.get(handle.id)
        await handle.retry()
        assert isinstance(await handle.result(), Success)
    assert len(stage.log) == len(set(stage.log)) == 120


@asynchronous
async def test_a_queue_inside_limits_the_elements_of_all_runs(database: Database) -> None:
    stage = Stage()

    @task(queue="mail")
    async def fetch(page: Page, *, ctx: TaskContext) -> Text:
        await stage.act(ctx)
        return Text(text=str(page.number))

    workflow = Workflow("mails", split >> each(fetch, over="pages", into="texts") >> bind)
    async with database.runner(workflow, queues=[Queue("mail", concurrency=2)]) as runner:
        stage.holds = {fetching(number) for number in range(6)}
        handles = [await runner.start(workflow, doc(6)) for _ in range(2)]
        await stage.begun(fetching(1))
        assert (await handles[1].why()).kind == "queue"
        await handles[1].pause()

        async def is_paused() -> bool:
            return await handles[1].status() == "paused"

        await eventually(is_paused)
        stage.holds.clear()
        assert isinstance(await handles[0].result(), Success)
        await handles[1].resume()
        assert isinstance(await handles[1].result(), Success)
        assert stage.most == 2
    with pytest.raises(UnknownQueue, match='task "each:fetch/fetch" of workflow "mails"'):
        database.runner(workflow, queues=[Queue("other")])


# What users do to a run


@asynchronous
async def test_a_pause_begins_no_element_and_a_resume_goes_on(database: Database) -> None:
    stage = Stage()
    stage.holds = {fetching(1), fetching(2)}
    workflow = stage.workflow(limit=2)
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, doc(5))
        await stage.begun(fetching(2))
        await handle.pause()
        assert await handle.status() == "running"
        stage.holds.clear()

        async def is_paused() -> bool:
            return await handle.status() == "paused"

        await eventually(is_paused)
        assert stage.count(fetching(3)) == 0
        assert stage.count(trimming(1)) == 0
        assert (await handle.tasks())[1].elements == {"total": 5, "succeeded": 1, "running": 2}
        await handle.resume()
        assert isinstance(await handle.result(), Success)
    assert len(stage.log) == len(set(stage.log)) == 10


@asynchronous
async def test_a_pause_that_is_withdrawn(database: Database) -> None:
    stage = Stage()
    stage.holds = {fetching(0)}
    workflow = stage.workflow(limit=2)
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, doc(3))
        await stage.begun(trimming(1))
        await handle.pause()
        await handle.resume()
        stage.holds.clear()
        assert isinstance(await handle.result(), Success)
    assert len(stage.log) == len(set(stage.log)) == 6


@asynchronous
async def test_a_pause_while_elements_wait_for_a_retry(database: Database) -> None:
    stage = Stage()
    stage.fails = {fetching(0): 1}
    workflow = stage.workflow(retry=Retry(attempts=2, delay=1.0))
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, doc(2))
        await stage.begun(trimming(1))

        async def has_failed() -> bool:
            return len(await handle.failures()) == 1

        await eventually(has_failed)
        await handle.pause()

        async def is_paused() -> bool:
            return await handle.status() == "paused"

        await eventually(is_paused)
        await handle.resume()
        assert isinstance(await handle.result(), Success)
    assert [attempt for name, attempt in stage.log if name == fetching(0)] == [1, 2]


@asynchronous
async def test_a_cancelled_fan_out_and_its_retry(database: Database) -> None:
    stage = Stage()
    stage.holds = {fetching(1), fetching(2)}
    workflow = stage.workflow(limit=2)
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, doc(4))
        await stage.begun(fetching(2))
        await handle.cancel()
        before = list(stage.log)
        assert await statuses(handle) == {"split": "succeeded", "each:fetch": "cancelled", "bind": "cancelled"}
        assert (await handle.tasks())[1].elements == {"total": 4, "succeeded": 1}
        assert [info.status for info in await handle.elements("each:fetch")] == ["succeeded", *["cancelled"] * 3]
        notes = [event.task for event in [event async for event in handle.events()] if event.kind == "attempt_ignored"]
        assert sorted(map(str, notes)) == [fetching(1), fetching(2)]
        stage.holds.clear()
        await asyncio.sleep(0.05)
        assert stage.log == before
        await handle.retry()
        assert await handle.result() == Success(Book(book="DOC-0 DOC-1 DOC-2 DOC-3"))
    assert stage.count(fetching(0)) == stage.count(trimming(0)) == 1


@asynchronous
async def test_a_fork_reuses_finished_elements(database: Database) -> None:
    stage = Stage()
    workflow = stage.workflow()
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, doc(3))
        assert isinstance(await handle.result(), Success)
        before = len(stage.log)
        fork = await handle.fork("bind")
        assert await fork.result() == await handle.result()
        assert len(stage.log) == before
        again = await handle.fork("each:fetch")
        assert await again.result() == await handle.result()
        assert len(stage.log) == 2 * before

        stage.fails = {trimming(1): 1}
        handle = await runner.start(workflow, doc(3))
        assert isinstance(await handle.result(), Failure)
        before = len(stage.log)
        fork = await handle.fork("bind")
        assert isinstance(await fork.result(), Success)
        assert [name for name, _ in stage.log[before:]] == [
            f"each:fetch/{number}/{name}" for name in ("fetch", "trim") for number in range(3)
        ]


@asynchronous
async def test_a_retry_behind_a_failure_begins_every_element_anew(database: Database) -> None:
    stage = Stage()
    failing = [True]

    class Other(BaseModel):
        other: str

    @task
    def shaky(doc: Doc) -> Other:
        if failing[0]:
            raise ValueError("shaky")
        return Other(other="steady")

    @task
    async def fetch(page: Page, *, ctx: TaskContext) -> Text:
        await stage.act(ctx)
        return Text(text=str(page.number))

    fan = each(fetch, over="pages", into="texts").on("all_done")

    class Listed(BaseModel):
        count: int
        title: str
        pages: list[Page]

    workflow = Workflow("behind", shaky >> fan, input=Listed)
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Listed(count=1, title="", pages=[Page(number=0), Page(number=1)]))
        assert isinstance(await handle.result(), Failure)
        assert [attempt for _, attempt in sorted(stage.log)] == [1, 1]
        failing[0] = False
        await handle.retry()
        assert isinstance(await handle.result(), Success)
    assert sorted(stage.log) == [(f"each:fetch/{number}/fetch", attempt) for number in (0, 1) for attempt in (1, 2)]


@asynchronous
async def test_a_worker_that_leaves_hands_its_elements_over(database: Database) -> None:
    stage = Stage()
    stage.holds = {fetching(2)}
    workflow = stage.workflow(limit=2)
    async with database.runner(workflow, grace_s=0.01) as runner:
        handle = await runner.start(workflow, doc(5))
        await stage.begun(trimming(4))
    stage.holds.clear()
    async with database.runner(workflow) as runner:
        again = await runner.get(handle.id)
        assert await again.result() == Success(Book(book=" ".join(f"DOC-{number}" for number in range(5))))
    twice = {name for name, _ in stage.log if stage.count(name) > 1}
    assert twice <= {fetching(2)}


@asynchronous
async def test_what_others_see_of_an_element_at_work(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloaca.interpreter.workers.SHOWN_AFTER_S", 0.0)
    stage = Stage()
    stage.holds = {fetching(1)}
    workflow = stage.workflow()
    async with database.runner(workflow) as runner, database.runner(workflow, work=False) as other:
        handle = await runner.start(workflow, doc(3))
        await stage.begun(trimming(2))
        assert await handle.why() == Waiting("task", fetching(1))
        seen = await other.get(handle.id)

        async def is_seen() -> bool:
            (info, *_) = [info for info in await seen.tasks() if info.name == "each:fetch"]
            return info.status == "running" and info.elements == {"total": 3, "succeeded": 2, "running": 1}

        await eventually(is_seen)
        (info,) = await seen.elements("each:fetch", status="running")
        assert [(info.name, info.status) for info in info.tasks] == [(fetching(1), "running"), (trimming(1), "pending")]
        stage.holds.clear()
        assert isinstance(await handle.result(), Success)


@asynchronous
async def test_elements_share_a_logger(database: Database) -> None:
    """Loggers live as long as the process: one for each of 100,000 elements would never go."""
    stage = Stage()
    workflow = stage.workflow()
    async with database.runner(workflow) as runner:
        assert isinstance(await runner.run(workflow, doc(3)), Success)
    names = {name for name in logging.root.manager.loggerDict if name.startswith("cloaca.task.each:fetch")}
    assert names == {"cloaca.task.each:fetch/fetch", "cloaca.task.each:fetch/trim"}


@asynchronous
async def test_the_status_of_a_run_costs_one_row(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage()
    workflow = stage.workflow()
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, doc(3))
        assert isinstance(await handle.result(), Success)

        async def never(run: int) -> None:
            raise AssertionError("all rows were read")

        monkeypatch.setattr(runner._engine.store, "history", never)
        assert await handle.status() == "succeeded"
