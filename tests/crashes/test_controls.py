"""Pausing and retrying across processes, and with workers that are killed in the middle of it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path

from returns.result import Success

from cloaca import RunHandle, Runner
from tests.crashes.processes import assert_sound, begun, life, log, rows, until
from tests.crashes.programs import WORKFLOWS, Job, Total, chain, work
from tests.runner.databases import asynchronous

POLL_S = 1.0
LEASE_S = 2.0  # PostgreSQL can't see that a process is dead: its lease has to run out


def statuses(url: str) -> list[str]:
    return [status for (status,) in rows(url, "SELECT status FROM cloaca_run ORDER BY id")]


def counts(folder: Path) -> Counter[str]:
    return Counter(entry["task"] for entry in log(folder))


async def submitted(runner: Runner, folder: Path) -> RunHandle[Total, object]:
    return await runner.start(chain, Job(folder=str(folder), number=7))


@asynchronous
async def test_a_pause_from_another_process_is_heard_within_the_poll_interval(url: str, folder: Path) -> None:
    async with Runner(url, workflows=WORKFLOWS, work=False) as runner:
        handle = await submitted(runner, folder)
        with life(work, url, folder, LEASE_S):
            until(lambda: begun(folder, "waits") and begun(folder, "blocks"))
            asked_at = time.monotonic()
            await handle.pause()
            assert time.monotonic() - asked_at < 2 * POLL_S
            assert await handle.status() == "running"  # two bodies wait for the file
            (folder / "go").touch()
            until(lambda: statuses(url) == ["paused"])
            time.sleep(1.5 * POLL_S)
            assert counts(folder) == {"first": 1, "waits": 1, "blocks": 1}
            assert rows(url, "SELECT count(*) FROM cloaca_task") == [(3,)]
            await handle.resume()
            assert await handle.result(timeout=10) == Success(Total(total=17))
            assert counts(folder) == {"first": 1, "waits": 1, "blocks": 1, "last": 1}
    assert_sound(url)


@asynchronous
async def test_a_worker_is_killed_while_a_run_pauses(url: str, folder: Path) -> None:
    async with Runner(url, workflows=WORKFLOWS, work=False) as submitting:
        handle = await submitted(submitting, folder)
        with life(work, url, folder, LEASE_S) as worker:
            until(lambda: begun(folder, "waits") and begun(folder, "blocks"))
            await handle.pause()
            worker.kill()
        (folder / "go").touch()
        with life(work, url, folder, LEASE_S) as peer:
            until((folder / f"ready-{peer.pid}").exists)
            until(lambda: statuses(url) == ["paused"])
            time.sleep(1.5 * POLL_S)
            assert counts(folder) == {"first": 1, "waits": 1, "blocks": 1}
            await handle.resume()
            assert await handle.result(timeout=10) == Success(Total(total=17))
            kinds = [event.kind async for event in handle.events()]
            assert [kind for kind in kinds if kind in ("run_recovered", "run_paused", "run_resumed")] == [
                "run_recovered", "run_paused", "run_resumed",
            ]  # fmt: skip
    assert counts(folder) == {"first": 1, "waits": 2, "blocks": 2, "last": 1}
    assert {entry["attempt"] for entry in log(folder)} == {1}
    assert_sound(url)


@asynchronous
async def test_a_pause_that_nobody_has_heard_outlives_the_worker(url: str, folder: Path) -> None:
    """The worker is stopped when the pause is asked for, and killed before it hears of it; so is whoever asked."""
    async with Runner(url, workflows=WORKFLOWS, work=False) as submitting:
        handle = await submitted(submitting, folder)
        with life(work, url, folder, LEASE_S) as worker:
            until(lambda: begun(folder, "waits") and begun(folder, "blocks"))
            worker.freeze(url)
            asking = asyncio.create_task(handle.pause())
            while rows(url, "SELECT pausing FROM cloaca_run") != [("asked",)]:
                await asyncio.sleep(0.01)
            asking.cancel()
            worker.kill()
    (folder / "go").touch()
    async with Runner(url, workflows=WORKFLOWS) as runner:
        same = await runner.get(handle.id)
        until_s = time.monotonic() + 10
        while await same.status() != "paused":
            assert time.monotonic() < until_s
            await asyncio.sleep(0.02)
        assert counts(folder) == {"first": 1, "waits": 1, "blocks": 1}
        await same.resume()
        assert await same.result(timeout=10) == Success(Total(total=17))
    assert_sound(url)


@asynchronous
async def test_a_worker_is_killed_in_the_middle_of_a_retry(url: str, folder: Path) -> None:
    async with Runner(url, workflows=WORKFLOWS, work=False) as submitting:
        handle = await submitted(submitting, folder)
        with life(work, url, folder, LEASE_S):
            until(lambda: begun(folder, "waits") and begun(folder, "blocks"))
            await handle.cancel()
            await handle.retry()
            until(lambda: begun(folder, "waits", 2) and begun(folder, "blocks", 2))
        assert statuses(url) == ["running"]  # its worker is dead
        (folder / "go").touch()
        with life(work, url, folder, LEASE_S):
            assert await handle.result(timeout=15) == Success(Total(total=17))
        kinds = [event.kind async for event in handle.events()]
        assert [kind for kind in kinds if kind in ("run_retried", "run_recovered")] == ["run_retried", "run_recovered"]
    assert counts(folder) == {"first": 1, "waits": 3, "blocks": 3, "last": 1}
    assert len({entry["key"] for entry in log(folder)}) == 4
    assert_sound(url)
