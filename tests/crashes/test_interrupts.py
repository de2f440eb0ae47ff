"""A program whose handler of SIGTERM raises SystemExit: wherever that strikes, no task has failed, and nothing is lost.

The event loop is then torn down: ``asyncio.run`` cancels every task, those of attempts and of the worker too.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import sys
from pathlib import Path

import pytest
from returns.result import Success

from cloaca import Runner
from tests.crashes import interrupting
from tests.crashes.interrupting import BODIES, CODE, STRUCK, WORKFLOWS
from tests.crashes.processes import assert_sound, begun, life, log, rows, until
from tests.crashes.programs import Job, Total, Two
from tests.runner.databases import asynchronous

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")

SEED, STRIKES = 20261122, 40


@pytest.mark.parametrize("name", BODIES)
@asynchronous
async def test_who_ends_itself_out_of_a_handler_fails_no_task(url: str, folder: Path, name: str) -> None:
    """It does not wait for the grace either: every task of the event loop is cancelled."""
    with life(interrupting.wait_for_the_signal, url, str(folder), name) as process:
        until(lambda: any(name in entry["task"] for entry in log(folder)))
        os.kill(process.pid, signal.SIGTERM)
        assert process.end() == CODE
    assert rows(url, "SELECT status, owner, crashes FROM cloaca_run") == [("pending", None, 0)]
    assert rows(url, "SELECT name FROM cloaca_failure") == []
    assert rows(url, "SELECT id FROM cloaca_session") == []
    assert ("first", "succeeded") in rows(url, "SELECT name, status FROM cloaca_task")
    (folder / "go").touch()
    async with Runner(url, workflows=WORKFLOWS.values()) as runner:
        handle = await runner.start(WORKFLOWS[name], Job(folder=str(folder), number=1), key="once")
        assert await handle.result() == Success(Two(two=1))
    assert not begun(folder, "first", times=2)
    assert_sound(url)


@asynchronous
async def test_a_handler_may_strike_at_any_moment(url: str, folder: Path) -> None:
    (folder / "calm").mkdir()
    with life(interrupting.strike, "memory://", str(folder / "calm"), 0) as process:
        assert process.end() == 0
    moments = int((folder / "calm" / "moments").read_text())
    assert moments > 1000
    for number in random.Random(SEED).sample(range(1, moments), STRIKES):
        own = folder / str(number)
        own.mkdir()
        with life(interrupting.strike, url, str(own), number) as process:
            assert process.end() in (CODE, 0)  # it may do less than the calm one, which waits for no disk
        await _is_as_undisturbed(url, own, number)
    assert_sound(url)


async def _is_as_undisturbed(url: str, folder: Path, number: int) -> None:
    where = (folder / "where").read_text() if (folder / "where").exists() else "nowhere"
    met = f"struck at {number}, {where}"
    found = rows(url, "SELECT status FROM cloaca_run WHERE status NOT IN ('pending', 'succeeded')")
    assert found == [], met
    assert rows(url, "SELECT id FROM cloaca_session") == [], met
    async with Runner(url, workflows={*STRUCK}) as runner:
        async with asyncio.timeout(20):
            for place, workflow in enumerate(STRUCK):
                handle = await runner.start(workflow, Job(folder=str(folder), number=place), key=f"{folder} {place}")
                assert await handle.result() == Success(Total(total=2 * place + 3)), met
    counts = "SELECT run_id, count(*) FROM cloaca_task WHERE status = 'succeeded' GROUP BY run_id"
    assert {count for _, count in rows(url, counts)} == {4}, met
    assert rows(url, "SELECT DISTINCT exception_type, attempt FROM cloaca_failure") == [("ConnectionError", 1)], met


@asynchronous
async def test_a_worker_whose_tasks_were_all_cancelled_starts_again(
    database: Path, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody's clean-up, say, that means its own tasks; the event loop goes on, and so does the runner."""
    others = asyncio.all_tasks()
    async with Runner(database, workflows=WORKFLOWS.values()) as runner:
        handle = await runner.start(WORKFLOWS["idles"], Job(folder=str(folder), number=1))
        while not begun(folder, "idles"):
            await asyncio.sleep(0.005)
        for each in asyncio.all_tasks() - others:
            each.cancel()
        (folder / "go").touch()
        with caplog.at_level(logging.WARNING):
            assert await handle.result(timeout=20) == Success(Two(two=1))
    assert "were cancelled" in caplog.text
    assert rows(database, "SELECT name FROM cloaca_failure") == []
    assert_sound(database)
