"""Waits and child runs outlive the workers that are killed in the middle of them."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from returns.result import Success

from cloaca import NoSuchSignal, RunHandle, Runner
from tests.crashes.commands import worker
from tests.crashes.processes import begun, log, until
from tests.crashes.programs import Job, chain
from tests.crashes.test_workers import LEASE
from tests.crashes.waiting import Approval, Letter, approved, family
from tests.runner.databases import asynchronous

WORKFLOWS = [approved, family, chain]
TARGET = "tests.crashes.waiting"


async def reaches(handle: RunHandle[Any, Any, Any], kind: str) -> None:
    end = time.monotonic() + 20
    while (await handle.why()).kind != kind:
        assert time.monotonic() < end, await handle.why()
        await asyncio.sleep(0.02)


@asynchronous
async def test_a_signal_is_sent_while_every_worker_is_dead(url: str, folder: Path) -> None:
    async with Runner(url, workflows=WORKFLOWS, work=False) as runner:
        handle = await runner.start(approved, Job(folder=str(folder), number=7))
        with worker(url, *LEASE, target=TARGET) as first:
            await reaches(handle, "signal")
            until_then = (await handle.why()).until
            first.close()
        await handle.send(Approval(by="Ada"))
        with pytest.raises(NoSuchSignal):
            await handle.send(Approval(by="Mallory"))
        assert until_then is not None
        with worker(url, *LEASE, target=TARGET):
            assert await handle.result(timeout=20) == Success(Letter(text="7 Ada"))
        history = await runner._engine.history(int(handle.id))
        assert [signal.taken_by for signal in history.signals] == ["wait_for:Approval"]
        assert [wait.name for wait in history.waits] == ["sleep", "wait_for:Approval"]
        assert history.waits[1].until == pytest.approx(until_then.timestamp(), abs=1e-5)
        kinds = [event.kind async for event in handle.events()]
        assert kinds.count("run_recovered") == 1
        assert kinds.count("wait_began") == 2
    assert len(log(folder)) == 1  # the task before the waits has not run again


@asynchronous
async def test_workers_are_killed_at_any_moment_of_a_wait(url: str, folder: Path) -> None:
    async with Runner(url, workflows=WORKFLOWS, work=False) as runner:
        handle = await runner.start(approved, Job(folder=str(folder), number=7))
        for pause_s in (0.0, 0.05, 0.35):  # as the task runs, as the timer does, as the signal is waited for
            with worker(url, *LEASE, target=TARGET) as killed:
                await asyncio.sleep(pause_s)
                killed.close()
        await handle.send(Approval(by="Ada"))
        with worker(url, *LEASE, target=TARGET):
            assert await handle.result(timeout=25) == Success(Letter(text="7 Ada"))
        history = await runner._engine.history(int(handle.id))
        assert sorted(task.name for task in history.tasks) == ["first", "sign", "sleep", "wait_for:Approval"]
        [slept] = [task for task in history.tasks if task.name == "sleep"]
        assert slept.started_at == history.waits[0].began_at
        assert slept.finished_at >= history.waits[0].began_at + 0.3


@asynchronous
async def test_a_worker_is_killed_while_its_child_run_is_at_work(url: str, folder: Path) -> None:
    async with Runner(url, workflows=WORKFLOWS, work=False) as runner:
        handle = await runner.start(family, Job(folder=str(folder), number=7))
        with worker(url, *LEASE, target=TARGET) as killed:
            until(lambda: begun(folder, "waits") and begun(folder, "blocks"))
            killed.close()
        (folder / "go").touch()
        with worker(url, *LEASE, target=TARGET):
            assert await handle.result(timeout=20) == Success(Letter(text="34"))
        [child] = await handle.children()
        assert (child.status, child.parent) == ("succeeded", handle.id)
        assert {entry["run"] for entry in log(folder)} == {child.id}
        assert [entry["task"] for entry in log(folder)].count("first") == 1


@asynchronous
async def test_a_parent_is_cancelled_while_another_process_drives_its_child_run(url: str, folder: Path) -> None:
    async with Runner(url, workflows=WORKFLOWS, work=False) as runner:
        handle = await runner.start(family, Job(folder=str(folder), number=7))
        with worker(url, *LEASE, target=TARGET):
            until(lambda: begun(folder, "waits") and begun(folder, "blocks"))
            await handle.cancel()
            [child] = await handle.children()
            assert (await handle.status(), child.status) == ("cancelled", "cancelled")
            (folder / "go").touch()
    assert [entry["task"] for entry in log(folder)].count("last") == 0
