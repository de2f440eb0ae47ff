"""``cloaca worker``: processes share what another has submitted, leave in order, and take over from the dead."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from returns.result import Success

from cloaca import Runner, Workflow, task
from tests.crashes.commands import worker
from tests.crashes.processes import begun, log, until
from tests.crashes.programs import PAGES, WORKFLOWS, Job, Total, book, chain, deciding, innocent
from tests.runner.databases import asynchronous

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")

LEASE = ("--lease", "2")  # PostgreSQL can't see that a process is dead: its lease has to run out


class Number(BaseModel):
    n: int


async def submitted(url: str, workflow: Any, *jobs: Job) -> list[str]:
    """Start runs and leave them to the workers."""
    async with Runner(url, workflows=WORKFLOWS, work=False) as runner:
        return [(await runner.start(workflow, job)).id for job in jobs]


async def result_of(url: str, run: str) -> Any:
    """Wait for a run that workers drive."""
    async with Runner(url, workflows=WORKFLOWS, work=False) as runner:
        return await (await runner.get(run)).result(timeout=20)


async def events_of(url: str, run: str) -> list[str]:
    async with Runner(url, workflows=WORKFLOWS, work=False) as runner:
        return [event.kind async for event in (await runner.get(run)).events()]


@asynchronous
async def test_two_workers_share_what_a_third_process_has_submitted(url: str, folder: Path) -> None:
    """Neither takes more runs than it has slots for, as long as none ends."""
    with worker(url, "--concurrency", "2") as one, worker(url, "--concurrency", "2") as two:
        runs = await submitted(url, chain, *(Job(folder=str(folder), number=n) for n in range(6)))
        until(lambda: {entry["pid"] for entry in log(folder)} == {one.pid, two.pid})
        (folder / "go").touch()
        for number, run in enumerate(runs):
            assert await result_of(url, run) == Success(Total(total=2 * number + 3))
        for each in (one, two):
            each.signal(signal.SIGTERM)
        assert (one.end(), two.end()) == (0, 0)
    times = Counter((entry["run"], entry["task"]) for entry in log(folder))
    assert times == {(run, name): 1 for run in runs for name in ("first", "waits", "blocks", "last")}
    ends = [line for each in (one, two) for line in each.said("has ended")]
    assert sorted(line["run"] for line in ends) == sorted(runs)
    assert {(line["workflow"], line["status"]) for line in ends} == {("chain", "succeeded")}
    assert one.log[-1]["message"] == two.log[-1]["message"] == "Stopped"


@asynchronous
async def test_workers_killed_in_the_middle_of_a_fan_out(url: str, folder: Path) -> None:
    """Each element is committed once, and what was committed never runs again."""
    [run] = await submitted(url, book, Job(folder=str(folder), number=1))
    for seen in (8, 50):
        with worker(url, *LEASE) as doomed:
            until(lambda seen=seen: len(log(folder)) >= seen)  # type: ignore[misc]  # bound early
            doomed.signal(signal.SIGKILL)
            doomed.end()
    with worker(url, *LEASE):
        assert await result_of(url, run) == Success(Total(total=sum(range(1, PAGES + 1))))
    async with Runner(url, workflows=WORKFLOWS, work=False) as runner:
        history = await runner._engine.history(int(run))
        info = next(info for info in await (await runner.get(run)).tasks() if info.name == "each:reads")
    assert info.elements == {"total": PAGES, "succeeded": PAGES}
    done = {row.name: row for row in history.tasks}
    names = [f"each:reads/{page}/{name}" for page in range(PAGES) for name in ("reads", "trims")]
    assert sorted(done) == sorted([*names, "cuts", "each:reads", "binds"])
    assert len(history.tasks) == len(done)
    for entry in log(folder):
        row = done[entry["task"]]
        assert entry["at"] <= row.finished_at
        assert entry["attempt"] <= row.attempt == (2 if row.name.endswith("/reads") and is_seventh(row.name) else 1)
        assert entry["key"] == f"{run}:{entry['task']}"
    begun_twice = Counter((entry["task"], entry["attempt"]) for entry in log(folder))
    assert sum(count - 1 for count in begun_twice.values()) <= 2 * 5  # no more than were at work at each kill


def is_seventh(name: str) -> bool:
    return int(name.split("/")[1]) % 7 == 0


@asynchronous
async def test_a_peer_goes_on_within_a_second_after_sigterm(url: str, folder: Path) -> None:
    [run] = await submitted(url, chain, Job(folder=str(folder), number=7))
    with worker(url, "--grace", "0.2") as leaving:
        until(lambda: begun(folder, "waits") and begun(folder, "blocks"))
        with worker(url) as peer:
            leaving.signal(signal.SIGTERM)
            assert leaving.end() == 0  # though a body still hangs on a thread
            left_at = time.time()
            until(lambda: begun(folder, "waits", 2) and begun(folder, "blocks", 2))
            (folder / "go").touch()
            assert await result_of(url, run) == Success(Total(total=17))
    entries = log(folder)
    assert Counter(entry["task"] for entry in entries) == {"first": 1, "waits": 2, "blocks": 2, "last": 1}
    for name in ("waits", "blocks"):
        before, after = (entry for entry in entries if entry["task"] == name)
        assert (before["pid"], after["pid"]) == (leaving.pid, peer.pid)
        assert (before["attempt"], after["attempt"]) == (1, 1)
        assert after["at"] - left_at < 5
    assert "run_recovered" not in await events_of(url, run)
    assert [line["message"].split(" ")[0] for line in leaving.log[-4:]] == ["Asked", "Session", "Session", "Stopped"]


@asynchronous
async def test_what_runs_gets_its_grace_and_nothing_begins(url: str, folder: Path) -> None:
    [run] = await submitted(url, chain, Job(folder=str(folder), number=7))
    with worker(url, "--grace", "20") as leaving:
        until(lambda: begun(folder, "waits") and begun(folder, "blocks"))
        leaving.signal(signal.SIGINT)
        leaving.wait_for("leaves")
        late = await submitted(url, innocent, Job(folder=str(folder), number=1))
        (folder / "go").touch()
        assert leaving.end() == 0
    assert sorted(entry["task"] for entry in log(folder)) == ["blocks", "first", "waits"]
    async with Runner(url, workflows=WORKFLOWS, work=False) as runner:
        assert {(info.id, info.status) for info in await runner.runs()} == {(run, "pending"), (late[0], "pending")}
    with worker(url):
        assert await result_of(url, run) == Success(Total(total=17))
    assert Counter(entry["task"] for entry in log(folder) if entry["run"] == run) == {
        "first": 1, "waits": 1, "blocks": 1, "last": 1,
    }  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@asynchronous
async def test_a_second_signal_ends_it_at_once(url: str, folder: Path, number: signal.Signals) -> None:
    [run] = await submitted(url, chain, Job(folder=str(folder), number=7))
    with worker(url, "--grace", "600") as leaving:
        until(lambda: begun(folder, "waits") and begun(folder, "blocks"))
        leaving.signal(number)
        leaving.wait_for("leaves")
        leaving.signal(number)
        asked_at = time.monotonic()
        assert leaving.end() == 128 + number
        assert time.monotonic() - asked_at < 10
    (folder / "go").touch()
    with worker(url):
        assert await result_of(url, run) == Success(Total(total=17))
    assert "run_recovered" not in await events_of(url, run)  # even then its lease was given back


@asynchronous
async def test_a_peer_takes_over_from_the_killed(url: str, folder: Path) -> None:
    [run] = await submitted(url, chain, Job(folder=str(folder), number=7))
    with worker(url, *LEASE) as dying:
        until(lambda: begun(folder, "waits") and begun(folder, "blocks"))
        with worker(url, *LEASE) as peer:
            dying.signal(signal.SIGKILL)
            assert dying.end() == -signal.SIGKILL
            until(lambda: begun(folder, "waits", 2) and begun(folder, "blocks", 2))
            (folder / "go").touch()
            assert await result_of(url, run) == Success(Total(total=17))
            peer.wait_for("has ended")
    [taken] = peer.said("is taken over")
    assert (taken["run"], taken["workflow"]) == (run, "chain")
    assert Counter(entry["task"] for entry in log(folder)) == {"first": 1, "waits": 2, "blocks": 2, "last": 1}
    assert (await events_of(url, run)).count("run_recovered") == 1


BLOCKING = """
import time
from pydantic import BaseModel
from cloaca import Workflow, task

class N(BaseModel):
    n: int = 1

@task
async def stuck(n: N) -> N:
    open("begun", "w").close()
    while True:
        time.sleep(0.01)

jam = Workflow("jam", stuck)
"""


@asynchronous
async def test_a_body_that_blocks_the_event_loop_is_ended_by_a_second_signal(folder: Path, database: Path) -> None:
    file = folder / "jam.py"
    file.write_text(BLOCKING.replace('"begun"', repr(str(folder / "begun"))))
    with worker(f"sqlite:///{database}", target=str(file)) as stuck:
        async with Runner(f"sqlite:///{database}", work=False) as runner:
            namespace: dict[str, Any] = {}
            exec(file.read_text(), namespace)  # the same workflow, in this process
            await runner.start(namespace["jam"], namespace["N"]())
        until((folder / "begun").exists)
        stuck.signal(signal.SIGTERM)
        time.sleep(0.2)
        stuck.signal(signal.SIGTERM)
        assert stuck.end() == 128 + signal.SIGTERM


@asynchronous
async def test_runs_that_only_wait_go_to_a_peer_while_others_have_their_grace(url: str) -> None:
    """A worker that leaves keeps what it is doing, and nothing else."""
    begun, release = asyncio.Event(), asyncio.Event()

    @task
    async def hold(seen: Number) -> Number:
        begun.set()
        await release.wait()
        return seen

    @task
    async def quick(number: Number) -> Number:
        return number

    held, swift = Workflow("held", quick >> hold), Workflow("swift", quick)
    leaving = Runner(url, workflows=[held, swift], concurrency=1, grace_s=20)
    await leaving.__aenter__()
    slow = await leaving.start(held, Number(n=1))
    await begun.wait()
    waiting = [(await leaving.start(swift, Number(n=n))).id for n in range(3)]
    async with Runner(url, workflows=[swift]) as peer:
        left = asyncio.create_task(leaving.__aexit__(None, None, None))
        for run in waiting:
            assert isinstance(await (await peer.get(run)).result(timeout=10), Success)
        assert not left.done()
        release.set()
        await left
        infos = {info.id: info.status for info in await peer.runs()}
        assert infos == dict.fromkeys(waiting, "succeeded") | {slow.id: "succeeded"}


@asynchronous
async def test_a_branch_and_a_handler_go_on_after_a_kill(url: str, folder: Path) -> None:
    """The condition is asked once, the task that failed is not tried again, its handler gets the same failure."""
    [run] = await submitted(url, deciding, Job(folder=str(folder), number=7))
    with worker(url, *LEASE) as dying:
        until(lambda: begun(folder, "stands_in"))
        dying.signal(signal.SIGKILL)
        dying.end()
    (folder / "go").touch()
    with worker(url, *LEASE):
        assert await result_of(url, run) == Success(Total(total=len("7 is odd") + 1))
    assert Counter(entry["task"] for entry in log(folder)) == {"refuses": 1, "stands_in": 2, "counts": 1}
    assert (folder / "asked").read_text().count("\n") == 1
    assert "run_recovered" in await events_of(url, run)
