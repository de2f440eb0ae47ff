"""What a process under torture does: work, and start its share of the runs, until it is told to leave.

It never gives up: a database that can't be had now is asked again. It knows no disturbance; at most it is told the
statement at which it dies.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from cloaca import Runner, StoreUnavailable
from cloaca.contract.plans import Plan, PlanNode
from cloaca.interpreter.drives import Drive, Running
from cloaca.interpreter.errands import runs_in_a_child
from cloaca.interpreter.workers import Worker
from cloaca.ports import History
from tests.torture import boundaries, journal
from tests.torture.evidence import has_work
from tests.torture.places import Place
from tests.torture.workflows import WORKFLOWS, Claim, Job, Present, began

PAUSE_S = 0.05
GRACE_S = 5.0
HELD_S = 0.2
MOST_RUNS = 1000


class Start(NamedTuple):
    """A run to be started. Without a ``key`` a process that is started again starts it again."""

    workflow: str
    number: int
    key: str | None


class Ticks(NamedTuple):
    """Schedules that every process makes, with the same arguments: each call but the first changes nothing."""

    schedules: int
    workflow: str
    number: int
    every_s: float
    until: float  # seconds since the epoch


@dataclass(frozen=True)
class Orders:
    """What a process is told. It leaves when the file ``leave`` is there, or, if ``ends``, once its runs have ended."""

    place: Place
    folder: Path
    share: tuple[Start, ...] = ()
    lease_s: float = 30.0
    pace_s: float = 0.0  # between two starts
    work: bool = True
    ends: bool = False
    fault: boundaries.Fault | None = None
    ticks: Ticks | None = None

    @property
    def journal(self) -> Path:
        return self.folder / "journal"

    @property
    def leave(self) -> Path:
        return self.folder / "leave"


def serve(orders: Orders) -> None:
    """Be a process under torture."""
    _write_log(orders.folder / f"log-{os.getpid()}")
    os.environ[journal.VARIABLE] = str(orders.journal)
    _tell_claims()
    watched = boundaries.install(orders.fault) if orders.fault else None
    asyncio.run(_serve(orders))
    journal.note("left", statements=watched.count if watched else None)


def hold_up(orders: Orders) -> None:
    """Pause every run that has not ended, and let all go on after a while."""
    _obey(orders, _hold_up(orders))


def let_go(orders: Orders) -> None:
    """Let every run go on, whoever has paused it."""
    _obey(orders, _let_go(orders))


def _obey(orders: Orders, work: Coroutine[None, None, None]) -> None:
    _write_log(orders.folder / f"log-{os.getpid()}")
    os.environ[journal.VARIABLE] = str(orders.journal)
    asyncio.run(work)


async def _hold_up(orders: Orders) -> None:
    async with _runner(orders) as runner:
        open_runs = [info.id for info in await runner.runs(limit=MOST_RUNS) if info.status in ("pending", "running")]
        await asyncio.gather(*(_paused(runner, run) for run in open_runs))
        await asyncio.sleep(HELD_S)
        for run in open_runs:
            journal.note("resuming", run=run)
            await (await runner.get(run)).resume()


async def _paused(runner: Runner, run: str) -> None:
    await (await runner.get(run)).pause()
    journal.note("paused", run=run)


async def _let_go(orders: Orders) -> None:
    async with _runner(orders) as runner:
        for info in await runner.runs(limit=MOST_RUNS):
            journal.note("resuming", run=info.id)
            await (await runner.get(info.id)).resume()


def _write_log(path: Path) -> None:
    """Whatever is said goes to a file, whichever way."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(file, sys.stdout.fileno())
    os.dup2(file, sys.stderr.fileno())
    os.close(file)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s", force=True)


def _tell_claims() -> None:
    """Have bodies know under which claim they begin; and note that one begins in a child, which can't know.

    A claim is told by its session and ``since``, a moment before it was made; 0 if the session started the run itself.
    """
    claim, drive_run, attempt, head_start = Worker._claim, Worker.drive, Worker._attempt, Worker._head_start
    asked_at: ContextVar[float] = ContextVar("asked_at", default=0.0)
    present: ContextVar[Claim | None] = ContextVar("present", default=None)
    claims: dict[int, Claim] = {}
    Present.ask = present.get  # type: ignore[method-assign]  # in this process

    async def claiming(self: Worker, limit: int, *, suspects: bool) -> None:
        token = asked_at.set(time.time())
        try:
            await claim(self, limit, suspects=suspects)
        finally:
            asked_at.reset(token)

    def driving(self: Worker, plan: Plan, history: History) -> Drive:
        assert history.run.owner is not None
        claims[history.run.id] = Claim(history.run.owner, asked_at.get())
        return drive_run(self, plan, history)

    @functools.wraps(attempt)
    async def attempting(
        self: Worker, drive: Drive, node: int, number: int, performed: Awaitable[object] | None = None
    ) -> None:
        present.set(claims[drive.id])
        if runs_in_a_child(drive.plan.nodes[node]):
            began(self._context(drive, node, number, drive.running[node]), claims[drive.id])
        await attempt(self, drive, node, number, performed)

    @functools.wraps(head_start)
    def head_starting(
        self: Worker, node: PlanNode, function: Callable[..., Any], running: Running
    ) -> Coroutine[Any, Any, None] | None:
        present.set(claims[running.drive.id])
        return head_start(self, node, function, running)

    Worker._claim, Worker.drive, Worker._attempt = claiming, driving, attempting  # type: ignore[method-assign]  # as above
    Worker._head_start = head_starting  # type: ignore[method-assign]  # as above


async def _serve(orders: Orders) -> None:
    async with _runner(orders) as runner:
        if orders.ticks is not None:
            for number in range(orders.ticks.schedules):
                await _scheduled(runner, f"ticks {number}", orders.ticks)
        journal.note("ready")
        runs = []
        for start in orders.share:
            runs.append(await _started(runner, start))
            await asyncio.sleep(orders.pace_s)
        journal.note("started")
        if orders.ends:
            for run in runs:
                await (await runner.get(run)).result()
            while orders.ticks is not None and has_work(orders.place):
                await asyncio.sleep(PAUSE_S)
            return
        while not orders.leave.exists():
            await asyncio.sleep(PAUSE_S)


@asynccontextmanager
async def _runner(orders: Orders) -> AsyncIterator[Runner]:
    runner = await _entered(orders)
    try:
        yield runner
    finally:
        await runner.__aexit__(None, None, None)


async def _entered(orders: Orders) -> Runner:
    """Return a runner that is open, however long the database can't be opened."""
    options: dict[str, Any] = {"lease_s": orders.lease_s, "grace_s": GRACE_S, "processes": 1, "work": orders.work}
    while True:
        runner = Runner("memory://", store=orders.place.store(), workflows=WORKFLOWS, **options)
        try:
            return await runner.__aenter__()
        except StoreUnavailable as error:
            logging.warning("Can't open the database: %s", error)
            await asyncio.sleep(PAUSE_S)


async def _scheduled(runner: Runner, name: str, ticks: Ticks) -> None:
    """Make a schedule, however often that fails."""
    end = datetime.fromtimestamp(ticks.until, UTC)
    while True:
        try:
            await runner.schedule(
                ticks.workflow,
                name=name,
                input=Job(number=ticks.number),
                every=ticks.every_s,
                end=end,
                catchup="all",
            )
        except StoreUnavailable as error:
            logging.warning("Can't schedule: %s", error)
            await asyncio.sleep(PAUSE_S)
        else:
            return


async def _started(runner: Runner, start: Start) -> str:
    """Start a run, however often that fails, and note its id once ``start`` has returned."""
    while True:
        try:
            handle = await runner.start(start.workflow, Job(number=start.number), key=start.key)
        except StoreUnavailable as error:
            logging.warning("Can't start: %s", error)
            await asyncio.sleep(PAUSE_S)
        else:
            journal.note("acknowledged", run=handle.id, workflow=start.workflow, number=start.number, key=start.key)
            return handle.id
