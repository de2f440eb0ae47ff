"""Leaving in order: attempts get their grace, peers go on at once, a body that hangs holds nobody up."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from returns.result import Success

from cloaca import Runner, TaskContext, Workflow, task
from cloaca.executors.threads import MOST_THREADS
from cloaca.interpreter.drives import Drive
from tests.crashes.processes import assert_sound, begun, log, rows, until
from tests.crashes.programs import WORKFLOWS, Total
from tests.runner.databases import asynchronous, eventually
from tests.runner.shop import A, B, C, Order, seed


@asynchronous
async def test_a_peer_goes_on_within_a_second(database: Path) -> None:
    begun_at: list[float] = []
    attempts: list[int] = []
    arrived = asyncio.Event()

    @task
    async def hold(a: A, *, ctx: TaskContext) -> B:
        begun_at.append(time.monotonic())
        attempts.append(ctx.attempt)
        arrived.set()
        if len(begun_at) == 1:
            await asyncio.Event().wait()
        return B(b=a.a)

    workflow = Workflow("held", seed >> hold)
    async with Runner(database, workflows=[workflow]) as peer:
        async with Runner(database, workflows=[workflow], grace_s=0.1) as runner:
            handle = await runner.start(workflow, Order(order=1))
            await arrived.wait()
        left_at = time.monotonic()
        assert await (await peer.get(handle.id)).result() == Success(B(b=1))
    assert begun_at[1] - left_at < 1.0 + 0.5  # the half is for a machine that is busy
    assert attempts == [1, 1]
    assert rows(database, "SELECT crashes FROM cloaca_run") == [(0,)]
    assert rows(database, "SELECT 1 FROM cloaca_session") == []
    assert_sound(database)


@asynchronous
async def test_attempts_get_their_grace_and_nothing_new_begins(database: Path) -> None:
    """What ends in time is committed by the one who leaves; what follows it is for the next."""
    ran: list[str] = []
    release = threading.Event()
    begun, begun_too = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    @task
    async def quick(order: Order) -> A:
        ran.append("quick")
        begun.set()
        await asyncio.to_thread(release.wait)
        return A(a=1)

    @task
    def quick_too(order: Order) -> B:
        ran.append("quick_too")
        loop.call_soon_threadsafe(begun_too.set)
        release.wait(10)
        return B(b=1)

    @task
    async def after(a: A) -> C:
        ran.append("after")
        return C(c=1)

    workflow = Workflow("graceful", quick >> after, quick_too, input=Order)
    runner = Runner(database, workflows=[workflow], grace_s=10)
    await runner.__aenter__()
    handle = await runner.start(workflow, Order(order=1))
    await begun.wait()
    await begun_too.wait()
    loop.call_later(0.1, release.set)
    await runner.__aexit__(None, None, None)
    assert sorted(ran) == ["quick", "quick_too"]
    assert rows(database, "SELECT name, status FROM cloaca_task ORDER BY name") == [
        ("quick", "succeeded"),
        ("quick_too", "succeeded"),
    ]
    assert rows(database, "SELECT status, owner, crashes FROM cloaca_run") == [("pending", None, 0)]
    async with Runner(database, workflows=[workflow]) as second:
        match await (await second.get(handle.id)).result():
            case Success(context):
                assert context == {"order": 1, "a": 1, "b": 1, "c": 1}
            case other:
                pytest.fail(f"{other}")
    assert sorted(ran) == ["after", "quick", "quick_too"]
    assert_sound(database)


@asynchronous
async def test_a_slot_that_becomes_free_begins_nothing(database: Path) -> None:
    """What a commit makes possible while the runner is left is not for those whose own attempt still runs."""
    ran: list[str] = []
    release, hold_on, begun = asyncio.Event(), asyncio.Event(), asyncio.Event()

    @task
    async def quick(order: Order) -> A:
        ran.append("quick")
        await release.wait()
        return A(a=1)

    @task
    async def slow(order: Order) -> B:
        ran.append("slow")
        begun.set()
        await hold_on.wait()
        return B(b=1)

    @task
    async def after(a: A) -> C:
        ran.append("after")
        return C(c=1)

    workflow = Workflow("slots", quick >> after, slow, input=Order)
    runner = Runner(database, workflows=[workflow], grace_s=10)
    await runner.__aenter__()
    handle = await runner.start(workflow, Order(order=1))
    await begun.wait()
    leaving = asyncio.create_task(runner.__aexit__(None, None, None))
    await asyncio.sleep(0)
    release.set()
    while not rows(database, "SELECT 1 FROM cloaca_task WHERE name = 'quick'"):
        await asyncio.sleep(0.01)
    hold_on.set()
    await leaving
    assert sorted(ran) == ["quick", "slow"]
    async with Runner(database, workflows=[workflow]) as second:
        assert isinstance(await (await second.get(handle.id)).result(), Success)
    assert sorted(ran) == ["after", "quick", "slow"]
    assert_sound(database)


@asynchronous
async def test_bodies_that_wait_for_a_thread_do_not_begin(database: Path) -> None:
    """Their attempts are not counted: the next worker makes them."""
    release, loop, full = threading.Event(), asyncio.get_running_loop(), asyncio.Event()
    begun: list[str] = []

    def body(ctx: TaskContext) -> None:
        assert ctx.attempt == 1
        begun.append(ctx.task)
        if len(begun) == MOST_THREADS:
            loop.call_soon_threadsafe(full.set)
        release.wait(20)

    @task
    def plain(order: Order, *, ctx: TaskContext) -> None:
        body(ctx)

    @task(timeout=100)
    def limited(order: Order, *, ctx: TaskContext) -> None:
        body(ctx)

    tasks = [kind.named(f"{kind.name}{n}") for n in range(40) for kind in (plain, limited)]
    workflow = Workflow("crowd", *tasks, input=Order)
    runner = Runner(database, workflows=[workflow], grace_s=10)
    await runner.__aenter__()
    handle = await runner.start(workflow, Order(order=1))
    await full.wait()
    worker = runner._engine.worker
    assert worker is not None
    drive = worker.drives[int(handle.id)]
    await eventually(lambda: runs(drive, len(tasks)))  # all attempts have begun, though most of their bodies have not
    leaving = asyncio.create_task(runner.__aexit__(None, None, None))
    await eventually(lambda: runs(drive, MOST_THREADS))
    release.set()
    await leaving
    assert len(begun) == MOST_THREADS
    assert rows(database, "SELECT count(*) FROM cloaca_task") == [(MOST_THREADS,)]
    assert rows(database, "SELECT count(*) FROM cloaca_failure") == [(0,)]
    async with Runner(database, workflows=[workflow]) as second:
        assert isinstance(await (await second.get(handle.id)).result(), Success)
    assert sorted(begun) == sorted(task.name for task in tasks)
    assert_sound(database)


async def runs(drive: Drive, attempts: int) -> bool:
    return len(drive.running) == attempts


@asynchronous
async def test_a_hung_body_has_no_more_than_its_grace(database: Path) -> None:
    release, begun = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    @task
    def hang(order: Order) -> A:
        loop.call_soon_threadsafe(begun.set)
        release.wait(20)
        return A(a=1)

    workflow = Workflow("hanging", hang)
    try:
        async with Runner(database, workflows=[workflow], grace_s=0.2) as runner:
            handle = await runner.start(workflow, Order(order=1))
            await begun.wait()
            leaving_at = time.monotonic()
        assert 0.2 <= time.monotonic() - leaving_at < 3
        assert rows(database, "SELECT status FROM cloaca_run") == [("pending",)]
        release.set()
        async with Runner(database, workflows=[workflow]) as second:
            assert await (await second.get(handle.id)).result() == Success(A(a=1))
    finally:
        release.set()
    assert_sound(database)


# Whole processes


def program(text: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", text, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


RUN = """
import sys
from cloaca import run
from tests.crashes.programs import Job, chain
run(chain, Job(folder=sys.argv[2], number=1), "sqlite:///" + sys.argv[1])
"""

HANG = """
import asyncio, sys, time
from pathlib import Path
from cloaca import Runner
from tests.crashes.programs import WORKFLOWS, Job, begun_file, chain

async def main():
    async with Runner(Path(sys.argv[1]), workflows=WORKFLOWS, grace_s=0.2) as runner:
        await runner.start(chain, Job(folder=sys.argv[2], number=1))
        while not begun_file(Path(sys.argv[2]), "blocks"):
            await asyncio.sleep(0.01)

asyncio.run(main())
print("left", flush=True)
"""


@asynchronous
async def test_a_hung_thread_does_not_hang_the_process(database: Path, folder: Path) -> None:
    with program(HANG, database, folder) as process:
        out, err = process.communicate(timeout=20)  # the file "go" never comes
    assert (process.returncode, out, err) == (0, "left\n", "")
    assert rows(database, "SELECT status, crashes FROM cloaca_run") == [("pending", 0)]
    assert_sound(database)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@asynchronous
async def test_ctrl_c_in_run(database: Path, folder: Path) -> None:
    """Attempts that end within the grace are committed, and the run is there for the next process."""
    with program(RUN, database, folder) as process:
        until(lambda: begun(folder, "waits") and begun(folder, "blocks"))
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
        (folder / "go").touch()
        _, err = process.communicate(timeout=20)
    assert process.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in err
    assert "never retrieved" not in err
    assert "was destroyed" not in err
    assert rows(database, "SELECT status, owner, crashes FROM cloaca_run") == [("pending", None, 0)]
    assert sorted(rows(database, "SELECT name FROM cloaca_task")) == [("blocks",), ("first",), ("waits",)]
    async with Runner(database, workflows=WORKFLOWS) as runner:
        [info] = await runner.runs()
        assert await (await runner.get(info.id)).result() == Success(Total(total=5))
    assert sorted(entry["task"] for entry in log(folder)) == ["blocks", "first", "last", "waits"]
    assert_sound(database)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@asynchronous
async def test_ctrl_c_twice_does_not_wait(database: Path, folder: Path) -> None:
    with program(RUN, database, folder) as process:
        until(lambda: begun(folder, "waits") and begun(folder, "blocks"))
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        sent_at = time.monotonic()
        process.communicate(timeout=20)
    assert time.monotonic() - sent_at < 5  # the grace is of ten seconds
    assert process.returncode == -signal.SIGINT
    (folder / "go").touch()
    async with Runner(database, workflows=WORKFLOWS) as runner:
        [info] = await runner.runs()
        assert await (await runner.get(info.id)).result(timeout=20) == Success(Total(total=5))
    assert_sound(database)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@asynchronous
async def test_ctrl_c_under_asyncio_run(database: Path, folder: Path) -> None:
    text = HANG.replace("grace_s=0.2", "grace_s=5").replace('begun_file(Path(sys.argv[2]), "blocks")', "False")
    with program(text, database, folder) as process:
        until(lambda: begun(folder, "waits") and begun(folder, "blocks"))
        os.kill(process.pid, signal.SIGINT)
        time.sleep(0.2)
        (folder / "go").touch()
        _, err = process.communicate(timeout=20)
    assert process.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in err
    assert "never retrieved" not in err
    assert rows(database, "SELECT status, owner, crashes FROM cloaca_run") == [("pending", None, 0)]
    assert_sound(database)
