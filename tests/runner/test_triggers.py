"""Event triggers: what a poll finds is run once for each key, by any number of runners, whatever else it does."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from returns.result import Success

from cloaca import Runner, Trigger, Workflow, task
from cloaca.runner.triggers import LONGEST_PAUSE_S, Asking
from tests.runner.databases import Database, asynchronous, eventually


class File(BaseModel):
    path: str
    size: int = 0


class Loaded(BaseModel):
    path: str


@task
async def load(file: File) -> Loaded:
    return Loaded(path=file.path)


loading = Workflow("loading", load)


async def runs(runner: Runner, count: int) -> None:
    async def holds() -> bool:
        return len(await runner.runs(status="succeeded")) >= count

    await eventually(holds)


def counted(answers: list[Any]) -> tuple[Callable[[], Any], asyncio.Event]:
    """A poll that gives these answers, then None, and an event for when it has been asked once more."""
    asked, loop = asyncio.Event(), asyncio.get_running_loop()

    def poll() -> Any:
        if answers:
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        loop.call_soon_threadsafe(asked.set)
        return None

    return poll, asked


@asynchronous
async def test_what_a_poll_finds_is_run(database: Database) -> None:
    poll, asked = counted([None, File(path="a"), [File(path="b"), File(path="c")], []])
    async with database.runner(triggers=[Trigger(loading, poll, every=0.01)]) as runner:
        await asked.wait()
        await runs(runner, 3)
        [info] = runner.triggers()
        assert (info.name, info.workflow, info.failures, info.error) == ("loading", "loading", 0, None)
        assert info.polled_at is not None


class Caller:
    """A poll that is an object."""

    def __init__(self, function: Callable[[], Awaitable[File]]) -> None:
        self.function = function

    async def __call__(self) -> File:
        return await self.function()


@asynchronous
async def test_an_async_poll_runs_on_the_loop_and_a_sync_one_does_not(database: Database) -> None:
    threads: list[int] = []

    async def on_the_loop() -> File:
        threads.append(threading.get_ident())
        return File(path="a")

    def elsewhere() -> None:
        threads.append(-threading.get_ident())

    triggers: list[Trigger[Any]] = [
        Trigger(loading, on_the_loop, every=0.01, name="async"),
        Trigger(loading, partial(on_the_loop), every=0.01, name="partial"),
        Trigger(loading, Caller(on_the_loop), every=0.01, name="caller"),
        Trigger(loading, elsewhere, every=0.01, name="sync"),
    ]
    async with database.runner(triggers=triggers) as runner:
        await runs(runner, 3)  # one for each trigger: keys belong to a trigger
        await eventually(lambda: _true(any(ident < 0 for ident in threads)))
    assert {ident for ident in threads if ident > 0} == {threading.get_ident()}
    assert -threading.get_ident() not in threads


async def _true(holds: bool) -> bool:
    return holds


@asynchronous
async def test_one_run_for_each_key(database: Database) -> None:
    files = [File(path="a", size=1), File(path="a", size=2), File(path="b"), File(path="a", size=1)]
    poll, asked = counted([*files])
    async with database.runner(triggers=[Trigger(loading, poll, every=0.01, key=lambda file: file.path)]) as runner:
        await asked.wait()
        await runs(runner, 2)
        assert len(await runner.runs()) == 2
        handle = await runner.start(loading, files[0], key="trigger:loading:a")
        assert await handle.result() == Success(Loaded(path="a"))
        assert len(await runner.runs()) == 2


@asynchronous
async def test_without_a_key_all_of_the_input_counts(database: Database) -> None:
    poll, asked = counted([File(path="a", size=1), File(path="a", size=2), File(path="a", size=1)])
    async with database.runner(triggers=[Trigger(loading, poll, every=0.01)]) as runner:
        await asked.wait()
        await runs(runner, 2)
        assert len(await runner.runs()) == 2


@asynchronous
async def test_several_runners_run_what_they_all_find_once(database: Database) -> None:
    finds = [File(path=str(number)) for number in range(20)]
    polls = [counted([finds]) for _ in range(3)]
    first, second, third = (database.runner(triggers=[Trigger(loading, poll, every=0.01)]) for poll, _ in polls)
    async with first, second, third:
        for _, asked in polls:
            await asked.wait()
        await runs(first, 20)
        assert len(await first.runs(limit=100)) == 20


@asynchronous
async def test_a_poll_that_raises_is_shown_and_asked_again(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    gate = threading.Event()

    def poll() -> File:
        if not gate.is_set():
            raise ConnectionError("no such host")
        return File(path="a")

    with caplog.at_level(logging.WARNING, "cloaca.trigger"):
        async with database.runner(triggers=[Trigger(loading, poll, every=0.01)]) as runner:
            await eventually(lambda: _true(runner.triggers()[0].failures >= 2))
            assert runner.triggers()[0].error == "ConnectionError: no such host"
            gate.set()
            await runs(runner, 1)
            await eventually(lambda: _true(runner.triggers()[0].failures == 0))
            assert runner.triggers()[0].error is None
    assert 'Trigger "loading" failed' in caplog.text


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ("a", "poll() has returned 'a'"),
        ([File(path="a"), 3], "poll() has returned 3"),
        (Loaded(path="a"), "takes File"),
    ],
)
@asynchronous
async def test_what_is_no_input_is_shown_and_runs_nothing(file: Database, given: Any, error: str) -> None:
    async with file.runner(triggers=[Trigger(loading, lambda: given, every=0.01)]) as runner:
        await eventually(lambda: _true(runner.triggers()[0].failures > 0))
        assert error in (runner.triggers()[0].error or "")
        assert await runner.runs() == []


@asynchronous
async def test_a_key_that_is_no_text_is_shown(file: Database) -> None:
    bad: Any = len
    trigger = Trigger(loading, lambda: File(path="a"), every=0.01, key=lambda file: bad(file.path))
    async with file.runner(triggers=[trigger]) as runner:
        await eventually(lambda: _true(runner.triggers()[0].failures > 0))
        assert "key() has returned 1" in (runner.triggers()[0].error or "")


@asynchronous
async def test_a_lambda_may_call_an_async_function(file: Database) -> None:
    async def find() -> File:
        return File(path="a")

    async def at_once(call: Callable[[], object]) -> object:
        return call()

    found: list[str] = []

    async def start(trigger: object, input: BaseModel, key: str) -> None:
        found.append(key)

    poll: Callable[[], Awaitable[File]] = lambda: find()  # noqa: E731, PLW0108 - that is the point
    await Asking(Trigger(loading, poll, key=lambda file: file.path), start, lambda: 0.0, at_once)._ask()
    assert found == ["trigger:loading:a"]


def test_pauses_grow_with_failures_and_have_an_end() -> None:
    asking = Asking(Trigger(loading, lambda: None, every=5), start=_never, now=lambda: 0.0, submit=_never)
    pauses = []
    for failures in (0, 1, 2, 3, 10, 10_000):
        asking.failures = failures
        pauses.append(asking.pause_s)
    assert pauses == [5.0, 10.0, 20.0, 40.0, LONGEST_PAUSE_S, LONGEST_PAUSE_S]
    asking.trigger = Trigger(loading, lambda: None, every=timedelta(hours=1))
    assert asking.pause_s == 3600.0


async def _never(*_: Any) -> None:
    raise AssertionError


@asynchronous
async def test_a_runner_that_only_submits_asks_too(file: Database) -> None:
    poll, asked = counted([File(path="a")])
    async with file.runner(triggers=[Trigger(loading, poll, every=0.01)], work=False) as runner:
        await asked.wait()
        assert [run.status for run in await runner.runs()] == ["pending"]


def test_what_is_no_trigger_is_refused(tmp_path: Path) -> None:
    poll: Any = File(path="a")
    with pytest.raises(TypeError, match="are functions"):
        Trigger(loading, poll)
    with pytest.raises(ValueError, match="every="):
        Trigger(loading, lambda: None, every=0)
    with pytest.raises(ValueError, match="name="):
        Trigger(loading, lambda: None, name="a\nb")
    with pytest.raises(TypeError, match="is no trigger"):
        Runner(tmp_path / "a.db", triggers=[loading])  # type: ignore[list-item]  # that is the point
    with pytest.raises(ValueError, match="two triggers"):
        Runner(tmp_path / "a.db", triggers=[Trigger(loading, lambda: None), Trigger(loading, lambda: None)])
