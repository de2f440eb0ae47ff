"""Timers and child runs inside fan-outs: each element waits by itself, over pauses, restarts and retries."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import BaseModel
from returns.result import Failure, Result, Success

from cloaca import ContractError, Retry, Runner, TaskContext, Waiting, Workflow, each, sleep, subflow, task, wait_for
from cloaca.ports import SUSPECT_CRASHES
from cloaca.stores.memory import MemoryStore
from tests.runner.books import Book, Doc, Page, Refused, Text, bind, split
from tests.runner.controlled import Handle, Stage, database, postgres
from tests.runner.databases import Database, asynchronous, eventually
from tests.runner.test_waiting import DAY_S, Clock, worker_of

__all__ = ["database", "postgres"]


class Approval(BaseModel):
    by: str


class Approved(BaseModel):
    number: int
    by: str


class Press:
    """A child workflow whose runs hold, refuse or break, by the page's number, and a log of what they did."""

    def __init__(self) -> None:
        self.refuses: set[int] = set()
        self.log: list[int] = []
        self.open = asyncio.Event()
        self.open.set()

    def child(self) -> Any:
        @task
        async def printed(page: Page) -> Result[Text, Refused]:
            self.log.append(page.number)
            await self.open.wait()
            if page.number in self.refuses:
                return Failure(Refused(why=f"no {page.number}"))
            return Success(Text(text=str(page.number)))

        return Workflow("press", printed)

    def parent(self, *, limit: int | None = None) -> Any:
        @task
        async def note(text: Text) -> Text:
            return Text(text=f"<{text.text}>")

        each_page = subflow(self.child()) >> sleep(0.001) >> note
        graph = split >> each(each_page, over="pages", into="texts", limit=limit).named("pressing") >> bind
        return Workflow("presses", graph)


async def began(press: Press, count: int) -> None:
    async def has() -> bool:
        return len(press.log) >= count

    await eventually(has)


async def status(handle: Handle, wanted: str) -> None:
    async def is_so() -> bool:
        return await handle.status() == wanted

    await eventually(is_so)


@asynchronous
async def test_each_element_has_a_child_run(database: Database) -> None:
    press = Press()
    workflow = press.parent(limit=3)
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Doc(count=8))
        assert await handle.result() == Success(Book(book=" ".join(f"<{number}>" for number in range(8))))
        children = await handle.children()
        assert {(child.workflow, child.status, child.parent) for child in children} == {
            ("press", "succeeded", handle.id)
        }
        found = await handle.elements("pressing")
        assert [element.tasks[0].child for element in found] == [child.id for child in children]
        assert [info.name for info in found[5].tasks] == [
            "pressing/5/subflow:press",
            "pressing/5/sleep",
            "pressing/5/note",
        ]
    assert sorted(press.log) == list(range(8))


@asynchronous
async def test_the_typed_error_of_an_elements_child_is_the_runs_and_a_retry_retries_it_alone(
    database: Database,
) -> None:
    press = Press()
    press.refuses = {1}
    workflow = press.parent()
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Doc(count=3))
        outcome = await handle.result()
        assert isinstance(outcome, Failure)
        assert (outcome.failure().task, outcome.failure().error) == ("pressing", Refused(why="no 1"))
        assert (await handle.tasks())[1].elements == {"total": 3, "succeeded": 2, "failed": 1}
        press.refuses = set()
        before = [child.id for child in await handle.children()]
        await handle.retry()
        assert await handle.result() == Success(Book(book="<0> <1> <2>"))
        assert [child.id for child in await handle.children()] == before
    assert sorted(press.log) == [0, 1, 1, 2]


@asynchronous
async def test_a_cancelled_run_cancels_the_child_runs_of_its_elements(database: Database) -> None:
    press = Press()
    press.open.clear()
    workflow = press.parent()
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Doc(count=3))
        await began(press, 3)
        await handle.cancel()
        assert [child.status for child in await handle.children()] == ["cancelled"] * 3
        assert (await handle.tasks())[1].elements == {"total": 3, "cancelled": 3}
        press.open.set()
        await handle.retry()
        assert await handle.result() == Success(Book(book="<0> <1> <2>"))
        assert len(await handle.children()) == 3


@asynchronous
async def test_a_pause_keeps_what_elements_wait_for(database: Database) -> None:
    press = Press()
    press.open.clear()
    workflow = press.parent()
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Doc(count=3))
        await began(press, 3)
        await handle.pause()
        await status(handle, "paused")
        press.open.set()

        async def are_done() -> bool:
            return all(child.status == "succeeded" for child in await handle.children())

        await eventually(are_done)
        assert await handle.status() == "paused"
        await handle.resume()
        assert await handle.result() == Success(Book(book="<0> <1> <2>"))
        assert len(await handle.children()) == 3
    assert len(press.log) == 3


@asynchronous
async def test_another_worker_goes_on_with_the_elements_that_wait(database: Database) -> None:
    press = Press()
    press.open.clear()
    workflow = press.parent()
    async with database.runner(workflow, grace_s=0.01) as runner:
        handle = await runner.start(workflow, Doc(count=3))
        await began(press, 3)
        run = handle.id
        assert [child.status for child in await handle.children()] == ["running"] * 3
    press.open.set()
    async with database.runner(workflow) as runner:
        handle = await runner.get(run)
        assert await handle.result() == Success(Book(book="<0> <1> <2>"))
        assert len(await handle.children()) == 3


@asynchronous
async def test_a_signal_is_sent_to_the_child_run_of_an_element(database: Database) -> None:
    @task
    async def sign(approved: Approved) -> Text:
        return Text(text=f"{approved.number}:{approved.by}")

    asked = Workflow("asked", wait_for(Approval) >> sign, input=Page)
    workflow = Workflow("asking", split >> each(subflow(asked), over="pages", into="texts") >> bind)
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Doc(count=3))

        async def are_there() -> bool:
            return len(await handle.children()) == 3

        await eventually(are_there)
        for element in reversed(await handle.elements("each:subflow:asked")):
            child = await runner.get(element.tasks[0].child or "")
            await child.send(Approval(by=f"b{element.index}"))
        assert await handle.result() == Success(Book(book="0:b0 1:b1 2:b2"))


class Wide(BaseModel):
    docs: list[Doc]


class Books(BaseModel):
    books: list[Book]


@task
def gather(books: Books) -> Book:
    return Book(book=" | ".join(book.book for book in books.books))


class MaybeTexts(BaseModel):
    texts: list[Text | None]


@asynchronous
async def test_a_child_run_that_answers_with_nothing_is_none_in_the_list(database: Database) -> None:
    @task
    async def write(page: Page) -> Text:
        return Text(text=str(page.number))

    @task
    def count(texts: MaybeTexts) -> Book:
        return Book(book=",".join("-" if text is None else text.text for text in texts.texts))

    odd = Workflow("odd", write.when(lambda page: page.number % 2 == 1), input=Page)
    workflow = Workflow("odds", split >> each(subflow(odd), over="pages", into="texts") >> count)
    async with database.runner(workflow) as runner:
        assert await runner.run(workflow, Doc(count=4)) == Success(Book(book="-,1,-,3"))


@asynchronous
async def test_fan_outs_in_fan_outs_have_child_runs(database: Database) -> None:
    press = Press()
    press.refuses = {2}

    inner = split >> each(sleep(0.001) >> subflow(press.child()), over="pages", into="texts").named("in") >> bind
    workflow = Workflow("wide", each(inner, over="docs", into="books").named("out") >> gather, input=Wide)
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Wide(docs=[Doc(count=2), Doc(count=3)]))
        outcome = await handle.result()
        assert isinstance(outcome, Failure)
        assert outcome.failure().error == Refused(why="no 2")
        press.refuses = set()
        await handle.retry()
        assert await handle.result() == Success(Book(book="0 1 | 0 1 2"))
        assert len(await handle.children()) == 5
    assert sorted(press.log) == [0, 0, 1, 1, 2, 2]


@asynchronous
async def test_a_run_whose_elements_sleep_takes_no_slot(database: Database) -> None:
    @task
    async def write(page: Page) -> Text:
        return Text(text=str(page.number))

    naps = Workflow("naps", split >> each(sleep(0.2) >> write, over="pages", into="texts") >> bind)
    quick = Workflow("quick", split >> bind.reading(texts="none"), input=QuickDoc)
    async with database.runner(naps, quick, concurrency=1) as runner:
        handle = await runner.start(naps, Doc(count=1))
        assert await runner.run(quick, QuickDoc(count=1, none=[])) == Success(Book(book=""))
        assert await handle.result() == Success(Book(book="0"))
        waited = [event.kind for event in [event async for event in handle.events()] if event.task == "each:sleep"]
    assert waited == ["task_started", "task_succeeded"]


class QuickDoc(BaseModel):
    count: int
    none: list[Text]


def test_a_wait_for_signals_inside_is_refused_and_says_what_to_do() -> None:
    inside = wait_for(Approval) >> split.named("again")
    with pytest.raises(ContractError, match=r"each\(subflow\(workflow\), \.\.\.\)") as refused:
        Workflow("w", split >> each(inside, over="pages", into="texts"), input=Doc)  # type: ignore[cloaca-workflow-input]
    assert [violation.code for violation in refused.value.violations] == ["workflow-input"]


@asynchronous
async def test_a_run_whose_elements_wait_long_is_parked_and_comes_back(database: Database) -> None:
    press = Press()
    press.open.clear()
    workflow = press.parent()
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Doc(count=3))
        await began(press, 3)
        worker = worker_of(runner)
        clock = Clock(runner)
        for seconds in (2.0, 100.0):  # so that the fan-out is shown, and then that the run has rested for long
            await clock.set(seconds)
            await worker.commits.flushed()
        assert int(handle.id) not in worker.drives
        row = await runner._engine.store.run(int(handle.id))
        assert row is not None
        assert (row.status, row.owner) == ("running", None)
        history = await runner._engine.history(int(handle.id))
        assert history.attempts == []
        press.open.set()
        assert await handle.result() == Success(Book(book="<0> <1> <2>"))
    assert sorted(press.log) == [0, 1, 2]


@task
async def write(page: Page) -> Text:
    return Text(text=str(page.number))


@task(retry=Retry(attempts=2, delay=DAY_S, max_delay=DAY_S))
async def fail_at_first(page: Page) -> Text:
    raise OSError("no paper")


ASKED = Workflow("asked", wait_for(Approval) >> write, input=Page)
PATIENT = {
    "timer": each(sleep(DAY_S) >> write, over="pages", into="texts").named("all"),
    "retry": each(fail_at_first, over="pages", into="texts").named("all"),
    "child": each(subflow(ASKED).named("ask"), over="pages", into="texts").named("all"),
}
NODES = {"timer": "sleep", "retry": "fail_at_first", "child": "ask"}


@pytest.mark.parametrize("kind", PATIENT)
@asynchronous
async def test_a_run_says_what_its_elements_wait_for_driven_and_seen_from_elsewhere_and_parked(
    database: Database, kind: str
) -> None:
    workflow: Any = Workflow("patient", split >> PATIENT[kind] >> bind)
    async with database.runner(workflow) as runner, database.runner(workflow, work=False) as other:
        handle = await runner.start(workflow, Doc(count=3))
        there = await other.get(handle.id)

        async def all_wait() -> bool:
            infos = await there.elements("all", status="running")
            return len(infos) == 3 and (await handle.why()).kind == kind and (await there.why()).kind == kind

        await eventually(all_wait)
        waiting = await handle.why()
        element, _, node = (waiting.task or "").removeprefix("all/").partition("/")
        assert (element in "012", node) == (True, NODES[kind])  # the first to come, by the clock
        if kind == "child":
            assert (waiting.field in {child.id for child in await handle.children()}, waiting.until) == (True, None)
        else:
            assert waiting.until is not None
            assert waiting.until > datetime.now(UTC) + timedelta(hours=23)
        assert await there.why() == waiting
        clock = Clock(runner)
        for seconds in (2.0, 100.0):
            await clock.set(seconds)
            await clock.worker.commits.flushed()
        assert int(handle.id) not in clock.worker.drives
        assert await handle.why() == await there.why() == waiting


@asynchronous
async def test_an_element_at_work_counts_before_those_that_wait(database: Database) -> None:
    stage = Stage()
    stage.holds = {"all/1/hold"}

    @task
    async def hold(page: Page, *, ctx: TaskContext) -> None:
        await stage.act(ctx)

    fan_out = each(hold >> sleep(DAY_S) >> write, over="pages", into="texts", limit=2).named("all")
    workflow: Any = Workflow("mixed", split >> fan_out >> bind)
    async with database.runner(workflow) as runner, database.runner(workflow, work=False) as other:
        handle = await runner.start(workflow, Doc(count=3))
        there = await other.get(handle.id)

        async def one_waits() -> bool:
            tasks = [info for element in await there.elements("all", status="running") for info in element.tasks]
            return {info.name: info.status for info in tasks}.get("all/0/sleep") == "waiting"

        await eventually(one_waits)
        await stage.begun("all/1/hold")
        assert await handle.why() == Waiting("task", "all/1/hold")
        seen = await there.why()
        assert (seen.kind, seen.task in {"all", "all/1/hold"}) == ("task", True)  # what has just begun has no row
        stage.holds.clear()

        async def rests() -> bool:  # of three elements there is room for two
            return (await handle.why()).kind == (await there.why()).kind == "timer"

        await eventually(rests)
        assert (await there.why()).task == (await handle.why()).task == "all/0/sleep"


@asynchronous
async def test_an_element_of_an_element_says_what_it_waits_for(database: Database) -> None:
    inner = split >> each(sleep(DAY_S) >> write, over="pages", into="texts").named("in") >> bind
    workflow: Any = Workflow("deep", each(inner, over="docs", into="books").named("out") >> gather, input=Wide)
    async with database.runner(workflow) as runner, database.runner(workflow, work=False) as other:
        handle = await runner.start(workflow, Wide(docs=[Doc(count=0), Doc(count=1)]))
        there = await other.get(handle.id)

        async def rests() -> bool:
            return (await there.why()).kind == "timer"

        await eventually(rests)
        assert (await handle.why()).task == (await there.why()).task == "out/1/in/0/sleep"


@pytest.mark.parametrize("fanned", [False, True], ids=["subflow", "each"])
@asynchronous
async def test_a_run_under_suspicion_waits_for_a_child_run_under_suspicion(fanned: bool) -> None:
    press = Press()
    press.open.clear()

    @task
    def show(text: Text) -> Book:
        return Book(book=text.text)

    alone = Workflow("alone", subflow(press.child()) >> show, input=Page)
    workflow: Any = press.parent() if fanned else alone
    store = MemoryStore()
    async with Runner(workflows=[workflow], store=store, grace_s=0.01) as runner:
        handle = await runner.start(workflow, Doc(count=2) if fanned else Page(number=0))
        await began(press, 1)
    press.open.set()
    for row in list(store.rows.values()):
        store._put(row._replace(crashes=SUSPECT_CRASHES))
    async with Runner(workflows=[workflow], store=store) as runner:
        handle = await runner.get(handle.id)
        assert await handle.result(timeout=20) == Success(Book(book="<0> <1>" if fanned else "0"))
