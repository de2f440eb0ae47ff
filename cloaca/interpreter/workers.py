"""A worker: it claims runs, drives them in memory, and starts attempts while it has slots.

One session is its lease and its fencing token at once: whoever has lost it can't commit. It knows the ports and its
drives; it has no recovery procedure, because claiming a run and going on with it are what it always does.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from cloaca.algebra.context import TaskContext
from cloaca.algebra.outcomes import TaskFailure
from cloaca.contract.fingerprints import codes
from cloaca.contract.plans import Plan, PlanNode
from cloaca.contract.workflows import Workflow
from cloaca.current import ATTEMPT, Place
from cloaca.errors import CodecNeeded, IncompatibleRun, LeaseLost, StoreError, StoreUnavailable
from cloaca.interpreter.alarms import Alarms
from cloaca.interpreter.answers import Raised, Report, Returned, Withdrawn, raised
from cloaca.interpreter.attempts import SUBSTITUTES, attempt, concluded, evaluate
from cloaca.interpreter.caching import Cache
from cloaca.interpreter.drives import Drive, Running
from cloaca.interpreter.epilogues import idempotency_key
from cloaca.interpreter.errands import run_errand, runs_in_a_child
from cloaca.interpreter.fanouts import FanOut
from cloaca.interpreter.group_commit import GroupCommit
from cloaca.interpreter.headstarts import head_start
from cloaca.interpreter.histories import moment, task_failure
from cloaca.interpreter.interrupts import interrupt_of
from cloaca.interpreter.offspring import ENDED_BADLY, child_report, new_child, plan_row
from cloaca.interpreter.queues import Queues
from cloaca.interpreter.retention import keep_pruning
from cloaca.interpreter.retrials import retrial
from cloaca.interpreter.schedulers import Scheduler
from cloaca.interpreter.sealed import SEALED_SIGNAL, refuse_sealed
from cloaca.interpreter.slots import Slots
from cloaca.interpreter.transactions import in_transaction
from cloaca.interpreter.versions import judge, parsed
from cloaca.logs import logger_of
from cloaca.ports import SUSPECT_CRASHES, History, MoveRow, NewRun, PlanRow, Poll, Ports, RunRow, Submitted, is_sealed
from cloaca.telemetry import Begun, Telemetry, traceparent

logger = logger_of("cloaca.worker")

MOST_RUNS = 1000  # runs in memory; more wait in the database
PARKED_AFTER_S = 60.0  # what has nothing to do for longer than this rests in the database
MOST_WOKEN = 256  # parked runs at a time that are made to wait for a worker
REFILL = 64  # claim when there is room for so many
SHOWN_AFTER_S = 1.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 5.0  # between tries of what has failed
BEAT_S = 1.0
UNHEARD_POLL_S = 1.0  # how often to look for work where other processes can't be heard
FLUSH_S = 5.0  # what is done is committed before a worker leaves, however short the grace is


@dataclass(frozen=True, slots=True)
class Settings:
    """How a worker works. Times are in seconds; ``concurrency`` is the most attempts at a time.

    ``poll_s`` is how often a worker that has nothing to do looks for work that nobody has told it of.

    Runs that ended more than ``retention_s`` ago are deleted, None for never.
    """

    concurrency: int = 1000
    lease_s: float = 30.0
    grace_s: float = 10.0
    poll_s: float = 6.0
    retention_s: float | None = None


class Worker:
    """Drives runs of ``workflows``, which may grow while it works."""

    def __init__(
        self,
        ports: Ports,
        settings: Settings,
        workflows: Mapping[str, Workflow[Any, Any, Any, Any]],
        ids: Iterator[int],
    ) -> None:
        self.store, self.clock, self.executor, self.codec = ports.store, ports.clock, ports.executor, ports.codec
        self.processes, self.ids = ports.processes, ids
        self._ports, self.place = ports, Place(0)
        self.telemetry: Telemetry | None = ports.telemetry
        self._cache = Cache(ports.store, ports.clock.now, ports.codec)
        self.settings, self.workflows = settings, workflows
        self.session = 0
        self.drives: dict[int, Drive] = {}
        self.commits: GroupCommit
        self.queues: Queues
        self.closing = False
        self.now: Callable[[], float] = ports.clock.now
        self.chance: Callable[[], float] = random.random
        self.version_of: Callable[[Workflow[Any, Any, Any, Any]], str] = lambda workflow: workflow.version
        self.codes: Callable[[Plan], Mapping[int, str]] = codes
        self.serves: dict[str, str] = {}  # the version of each workflow, as the session has said it
        self._specs: dict[str, Mapping[str, Any] | None] = {}  # plans of other code, by digest
        self.scheduler: Scheduler
        self._slots: Slots[tuple[Drive, int]]
        self._more = True
        self._ended = self._pace = 0  # runs that have ended since the last beat, and between the two before
        self._suspect: int | None = None
        self._ticker: asyncio.Task[None] | None = None
        self._background: set[asyncio.Task[Any]] = set()
        self._claiming = False  # a claim is in flight: the store may know of more runs than ``drives``
        self._lapsed: list[int] = []  # runs with a crash to take back: this worker was taken for dead, and was not
        self._resting: dict[int, float] = {}  # runs that only wait, and since when
        self._queued: set[int] = set()  # runs that rest, and wait for a slot of a queue
        self._alarms: Alarms
        self._calling: set[int] = set()  # runs for which something has come from outside
        self._listening = False
        self._ending: dict[int, int] = {}  # child runs whose end is being read, and who waits for it
        self._hearing: frozenset[int] = frozenset()  # runs for which what has come is being read
        self._woken = self._waking = False  # somebody has left work to do; it is being looked for
        self._awaited: dict[int, list[Callable[[], None]]] = {}
        self._look_every = min(settings.poll_s, settings.lease_s / 5)
        self._look_at = 0.0  # by the loop's clock
        self._heeding = asyncio.Lock()  # a look that began later must not be heeded before
        self._loop: asyncio.AbstractEventLoop

    # Opening and closing

    async def open(self) -> None:
        """Register a session and start to look for work."""
        self._loop = asyncio.get_running_loop()
        self._slots = Slots(self.settings.concurrency, self._perform, self._interrupted)
        self._alarms = Alarms(self._loop, lambda: self.now())  # noqa: PLW0108 - whatever it is then
        self.scheduler = Scheduler(self)
        await self._register()
        if not await self.store.watch(self.wake):
            self._look_every = min(self._look_every, UNHEARD_POLL_S)
        self._begin_to_tick()
        if self.telemetry is not None:
            self.telemetry.watch(self.load)
        if self.settings.retention_s is not None:
            self.spawn(keep_pruning(self.store, self.now, self.chance, self.settings.retention_s))

    def _begin_to_tick(self) -> None:
        self._ticker = self._loop.create_task(self._tick())
        self._ticker.add_done_callback(self._stopped_ticking)

    def _stopped_ticking(self, ticker: asyncio.Task[None]) -> None:
        if ticker.cancelled() and not self.closing:
            self._loop.call_later(FIRST_PAUSE_S, self._revive)

    def _revive(self) -> None:
        """Go on after all: somebody has cancelled every task, the heartbeat's too, but this event loop still runs."""
        if self.closing:
            return
        logger.warning("All tasks of the event loop were cancelled, but the runner was not left: it starts again")
        self._begin_to_tick()
        if self.commits.closed:
            self.spawn(self._again(0.0))
        else:
            self._interrupted(asyncio.CancelledError())

    async def close(self) -> None:
        """Start nothing more, give running attempts their grace, then release every run to the other workers."""
        self.closing = True
        if self.telemetry is not None:
            self.telemetry.unwatch(self.load)
        leaving = {"session": self.session, "attempts": len(self._attempts())}
        logger.info("Session %(session)d leaves, attempts that run: %(attempts)d", leaving, extra=leaving)
        self._slots.close()
        self.queues.close()  # what waits for a slot of a queue is another worker's, and what has one and has not begun
        self.executor.close()  # bodies that wait for a thread never begin; their attempts are another worker's
        self.processes.close()  # those that wait for a process neither
        try:
            await self.scheduler.close()
            if not self._is_torn_down():
                await self._see_out()
                await self._flush(max(self.settings.grace_s, FLUSH_S))
        finally:  # also when the grace is cut short
            await self._release()

    async def _see_out(self) -> None:
        """Wait for the attempts that run, as long as the grace allows. Runs without any go to the others meanwhile."""
        try:
            async with asyncio.timeout(self.settings.grace_s):
                while running := self._attempts():
                    await self.commits.flushed()
                    self._give_back_idle()
                    await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            pass

    def _give_back_idle(self) -> None:
        """Give back the runs of which nothing runs here and all is committed."""
        idle = [drive for drive in self.drives.values() if drive.is_idle]
        for drive in idle:
            self._let_go(drive)
            drive.drop()
        if idle:  # what the session owns and does not hold is given back with the next commit
            self.commits.doubtful = True
            self.commits.batch()

    async def _release(self) -> None:
        """Stop everything, and give every run back."""
        if self._ticker is not None:
            self._ticker.cancel()
        for task in list(self._background):
            task.cancel()
        for drive in list(self.drives.values()):
            drive.drop()
        self.drives.clear()
        self._resting.clear()
        self._alarms.clear()
        self._queued.clear()
        self.commits.close()
        await asyncio.sleep(0)
        try:
            await self._leave_session()
        except StoreUnavailable as error:
            logger.warning("The lease could not be released, it will run out by itself: %s", error)
        else:
            logger.info("Session %d has left", self.session, extra={"session": self.session})

    def _attempts(self) -> set[asyncio.Task[None]]:
        drives = self.drives.values()
        running = (drive.running[node].serving for root in drives for drive, node in root.attempts())
        return {task for task in running if task is not None and not task.done()}

    async def _flush(self, within_s: float) -> None:
        try:
            await asyncio.wait_for(self.commits.flushed(), within_s)
        except TimeoutError:
            logger.warning("Some results could not be committed before closing; their tasks will run again")

    async def _register(self) -> None:
        at = self.now()
        name = f"{socket.gethostname()}:{os.getpid()}"
        self.serves = self._versions()
        self.session = await self.store.open_session(name, at, at + self.settings.lease_s, serves=self.serves)
        self.place = Place(self.session, self._ports.tenant, self._ports.secrets, self._loop)
        serves = ", ".join(sorted(self.workflows)) or "nothing yet"
        logger.info("Session %d serves %s", self.session, serves, extra={"session": self.session})
        self.commits = GroupCommit(
            self.store, self.clock, self.session,
            lost=self._session_lost, disowned=self.disowned, held=self._held, torn=self._is_torn_down,
        )  # fmt: skip
        if self.telemetry is not None:
            self.commits.measured = self.telemetry.commit
        self.commits.lease_s = self.settings.lease_s
        self.commits.renew_at = at + self.settings.lease_s / 5
        self.queues = Queues(self)
        if self._lapsed:
            self.commits.batch().absolved.extend(self._lapsed)
            self.commits.then(partial(self._absolved, len(self._lapsed)))

    def _versions(self) -> dict[str, str]:
        return {workflow.name: self.version_of(workflow) for workflow in self.workflows.values()}

    def _absolved(self, count: int) -> None:
        del self._lapsed[:count]

    def _is_torn_down(self) -> bool:
        """Whether the event loop is being torn down: whoever does that cancels all its tasks, the heartbeat's too."""
        return self._ticker is not None and self._ticker.cancelling() > 0

    def _interrupted(self, error: BaseException) -> None:
        """Something of this worker's was cut off by a signal's handler: what is in memory may be half done."""
        self.commits.interrupted(error, None, [])

    def _session_lost(self, error: BaseException) -> None:
        """Nothing can be committed any more: forget every run, and start again under a new session.

        Whoever took this worker for dead has charged each of its runs with a crash. Since it lives, it takes them back.
        """
        if isinstance(error, LeaseLost):
            logger.warning(
                "The lease of session %d is lost: its runs have gone to another worker. If nothing kept this process "
                "from running, an async body has blocked the event loop for longer than the lease",
                self.session,
            )
            self._lapsed.extend(self.drives)
            if self.telemetry is not None:
                self.telemetry.lease_lost()
        self._slots.clear()
        self.queues.close()
        for drive in list(self.drives.values()):
            drive.drop()
        self.drives.clear()
        self._resting.clear()
        self._alarms.clear()
        self._queued.clear()
        self._suspect = None
        if not self.closing and not self._is_torn_down():
            self.spawn(self._again(0.0 if isinstance(error, LeaseLost) else FIRST_PAUSE_S))

    async def _again(self, pause: float) -> None:
        """Leave the old session in order, should it still be there, and work under a new one, after a pause.

        Without the pause, what can never be written would be tried as fast as the machine allows.
        """
        while not self.closing:
            await asyncio.sleep(pause)
            try:
                await self._leave_session()
                await self._register()
                self._more = True
                await self._look()
                return
            except StoreError as error:
                logger.warning("No new session yet, will try again: %s", error)
            except Exception:
                logger.exception("No new session yet, will try again")
            pause = min(max(pause * 2, FIRST_PAUSE_S), LONGEST_PAUSE_S)

    async def _leave_session(self) -> None:
        """Give back whatever the session still owns, which then need not wait for its end.

        Raises StoreUnavailable; whatever else goes wrong is logged, and the lease runs out by itself.
        """
        try:
            await self.store.close_session(self.session, at=self.now())
        except StoreUnavailable:
            raise
        except Exception:
            logger.exception("Session %d could not be closed, its lease will run out by itself", self.session)

    def _held(self) -> list[int] | None:
        """Return the runs that this worker knows to be its own; None while a claim is in flight."""
        return None if self._claiming else list(self.drives)

    def disowned(self, runs: frozenset[int]) -> None:
        """Let go of runs that another has taken."""
        for run in runs:
            if drive := self.drives.get(run):
                self._let_go(drive)
                drive.drop()

    def spawn(self, work: Coroutine[Any, Any, object]) -> None:
        """Run ``work`` in the background for as long as the worker is open."""
        task = self._loop.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._background.discard(task)
        if (error := interrupt_of(task)) is not None:
            self._interrupted(error)

    # Runs

    @property
    def concurrency(self) -> int:
        """The most attempts at a time."""
        return self.settings.concurrency

    @property
    def has_room(self) -> bool:
        """Whether one more run, which this process has started, can be driven here."""
        return self._active < MOST_RUNS and not self.closing and not self.commits.closed

    @property
    def _room(self) -> int:
        """How many runs to take that others could, too: those that find a slot, and about as many as end in a second.

        Whoever took all that wait would leave nothing to its peers, and have it wait for a slot here.
        """
        at_hand = self.settings.concurrency + self._pace - self._active
        return min(MOST_RUNS - self._active, max(at_hand, self._slots.free)) if self.has_room else 0

    @property
    def _active(self) -> int:
        """How many runs count: those that only wait take no room from others.

        Nor do those that wait for a slot of a queue, up to a number: more of them wait in the database.
        """
        return len(self.drives) - len(self._resting) - min(len(self._queued), MOST_RUNS)

    def weigh(self, drive: Drive) -> None:
        """Count a run among those that take room, or among those that rest."""
        if not (drive.id in self._resting or drive.id in self._queued or drive.may_rest):
            return
        since = self._resting.pop(drive.id, self.now())
        self._queued.discard(drive.id)
        if drive.rests and self.drives.get(drive.id) is drive:
            if drive.queued:
                self._queued.add(drive.id)
            else:
                self._resting[drive.id] = since

    async def submit(self, plan: Plan, row: PlanRow, run: NewRun) -> tuple[Submitted, Drive | None]:
        """Store a run, and drive it if it is this session's. Raises StoreUnavailable or LeaseLost, nothing stored."""
        return await self.commits.submit(row, run, lambda stored: (stored, self._adopt(plan, run, stored)))

    def _adopt(self, plan: Plan, run: NewRun, stored: Submitted) -> Drive | None:
        if not stored.created:
            return None
        if run.owner is None:
            self._more = True
            return None
        if run.owner != self.session:
            return None  # the lease was lost meanwhile: another worker has it
        row = RunRow(
            stored.id, run.workflow, run.version, run.plan, "running", run.input, run.key, run.owner, 0,
            run.created_at, run.created_at, None, None, cancel_requested=False, priority=run.priority,
            parent=run.parent, parent_task=run.parent_task, epilogue=run.epilogue, traceparent=run.traceparent,
        )  # fmt: skip
        return self.drive(plan, History(row, [], [], [], []))

    def drive(self, plan: Plan, history: History) -> Drive:
        """Drive a run that this session owns. Raises IncompatibleRun if its rows don't belong to ``plan``."""
        drive = Drive(self, plan, history)
        self.drives[drive.id] = drive
        for told in self._awaited.pop(drive.id, ()):
            told()
        if drive.is_hopeless:
            drive.begin_to_abandon(history.run.crashes)
        else:
            drive.begin()
        return drive

    async def arrival(self, run: int, within_s: float) -> None:
        """Wait until this worker drives ``run``, but not longer than ``within_s``."""
        if run in self.drives:
            return
        arrival = asyncio.Event()
        self.expect(run, arrival.set)
        try:
            await asyncio.wait_for(arrival.wait(), within_s)
        except TimeoutError:
            pass
        finally:
            self.forget(run, arrival.set)

    def expect(self, run: int, tell: Callable[[], None]) -> None:
        """Call ``tell`` once this worker drives ``run``, unless that is forgotten before."""
        self._awaited.setdefault(run, []).append(tell)

    def forget(self, run: int, tell: Callable[[], None]) -> None:
        """Call ``tell`` no more; nothing if it is not called."""
        waiting = self._awaited.get(run, [])
        if tell in waiting:
            waiting.remove(tell)
        if not waiting:
            self._awaited.pop(run, None)

    def finished(self, drive: Drive) -> None:
        """Let go of a run that has ended, and take others if some wait."""
        _log(drive.row, f"has ended: {drive.state.status}", status=drive.state.status)
        if self.telemetry is not None:
            self.telemetry.ended(drive.row, str(drive.state.status), self.now())
        self._let_go(drive)
        self._ended += 1
        if (parent := self.drives.get(drive.row.parent or 0)) is not None:
            self._tell(parent, drive)
        if drive.row.schedule is not None and self.scheduler.waits:
            self.wake()
        refill = min(REFILL, max(1, (self.settings.concurrency + self._pace) // 4))
        if self._more and self._room >= refill and not self.closing:
            self._more = False
            self.spawn(self._look())

    def _tell(self, parent: Drive, child: Drive) -> None:
        """Tell a run that its child run has ended; it asks for itself if the wait is not there yet."""
        found = None if child.row.parent_task is None else parent.locate(child.row.parent_task)
        if (
            found is not None
            and (waits := found[0].waits).children.get(found[1]) == child.id
            and found[1] in waits.durable
        ):
            self.see_end(*found, child.id)
        else:
            self.listen(parent.id)

    def released(self, drive: Drive) -> None:
        """Let go of a run that is paused, or waits again because nobody wants it to be paused any more."""
        self._let_go(drive)
        self.wake()

    def _let_go(self, drive: Drive) -> None:
        self.drives.pop(drive.id, None)
        self._resting.pop(drive.id, None)
        self._queued.discard(drive.id)
        self._alarms.forget(len(drive.plan.waits))
        if drive.tickets:
            self.queues.withdraw(drive)
        if self._suspect == drive.id:
            self._suspect, self._more = None, True

    async def look(self) -> None:
        """Look for work, and for what users want of this worker's runs, and heed it before this returns."""
        await self._look()

    async def _look(self) -> bool:
        """Look for work once; return whether the store has answered."""
        try:
            async with self._heeding:
                poll = await self._polled()
                self._heed(poll)
            if self.commits.doubtful:  # what this session owns must be certain before it takes more
                self.commits.batch()
            elif not self._claiming:
                await self._claim_some(poll)
        except LeaseLost:
            self.commits.batch()  # a commit finds that out, too, and begins again under a new session
        except StoreError as error:
            logger.warning("Looking for work failed, will try again: %s", error)
            return False
        except Exception:
            logger.exception("Looking for work failed, will try again")
            return False
        return True

    def _heed(self, poll: Poll) -> None:
        """Do with this worker's runs what users want: cancel, pause, go on after all."""
        for run in poll.cancelling:
            if drive := self.drives.get(run):
                drive.cancel()
        for run in poll.pausing.difference(poll.cancelling):
            if drive := self.drives.get(run):
                drive.pause()
        for drive in self.drives.values():
            if drive.state.pausing and drive.id not in poll.pausing:
                drive.resume()
        for run in poll.roused:
            self.listen(run)

    async def _polled(self) -> Poll:
        """Ask what there is to do, after the dead have been looked after."""
        poll = await self._asked()
        if poll.due and await self.store.wake(self.now(), MOST_WOKEN):
            poll = replace(poll, claimable=True)
        if not poll.expired or not self._in_good_standing():
            return poll
        if count := await self.store.reap(self.now(), sparing=self.session):
            logger.info("Runs of dead workers that wait again: %d", count, extra={"released": count})
        return await self._asked()

    async def _asked(self) -> Poll:
        """Ask what there is to do, and renew the lease by the same statement if it is time; say when to ask next."""
        at, commits, lease_s = self.now(), self.commits, self.settings.lease_s
        if len(self.serves) < len(self.workflows):  # some were added since
            self.serves = self._versions()
            await self.store.serve(commits.session, self.serves)
        renew_until = at + lease_s if at >= commits.renew_at else None
        names = list(self.workflows)
        poll = await self.store.poll(commits.session, names, at, renew_until=renew_until, serves=self.serves)
        if renew_until is not None:
            commits.renew_at = max(commits.renew_at, at + lease_s / 5)
        lapse_s = self._look_every if poll.lapse_s is None else max(0.0, poll.lapse_s)
        self._look_at = self._loop.time() + min(self._look_every, lapse_s)
        self.scheduler.heed(poll)
        return poll

    async def _claim_some(self, poll: Poll) -> None:
        if poll.claimable and self._room > 0:
            await self._claim(self._room, suspects=False)
        if poll.suspects and self._suspect is None and self.has_room:
            await self._claim_suspect()
        if poll.refused and self.has_room:
            await self._claim_by(partial(self.store.claim_refused, self.commits.session, self.serves), REFILL)

    async def _claim_suspect(self) -> None:
        self._suspect = 0  # so that another look does not claim a second meanwhile
        try:
            await self._claim(1, suspects=True)
        finally:
            if self._suspect == 0:
                self._suspect = None

    def _in_good_standing(self) -> bool:
        """Whether this worker's own lease still runs: one that was stopped for long must not reap itself."""
        if self.now() < self.commits.renew_at + self.settings.lease_s * 4 / 5:
            return True
        self.commits.batch()  # an empty batch renews the lease; if another has taken it, that says so
        return False

    async def _claim(self, limit: int, *, suspects: bool) -> None:
        claim = partial(self.store.claim, self.commits.session, list(self.workflows), suspects=suspects)
        await self._claim_by(claim, min(limit, REFILL * 4))

    async def _claim_by(self, claim: Callable[[int, float], Awaitable[list[History]]], most: int) -> None:
        """Take runs that wait. If that goes wrong, the next commit gives back what may have been taken."""
        commits = self.commits
        self._claiming = True
        try:
            histories = await claim(most, self.now())
            self._more = self._more or len(histories) == most
            if histories:
                logger.info("Claimed runs: %d", len(histories), extra={"claimed": len(histories)})
                await self._read_specs(histories)
            for history in histories:
                if commits.closed or self.closing:
                    return  # the lease was lost meanwhile: the claims are void
                if self.telemetry is not None:
                    self.telemetry.claimed(history.run, self.now())
                if history.run.crashes >= SUSPECT_CRASHES:
                    self._suspect = history.run.id
                self._take(history)
        except Exception:
            commits.doubtful = True
            commits.batch()
            raise
        finally:
            self._claiming = False

    async def _read_specs(self, histories: Iterable[History]) -> None:
        """Read the plans of runs that other code has begun, each once."""
        own = {workflow.plan.digest for workflow in self.workflows.values()}
        for digest in {history.run.plan for history in histories}.difference(own, self._specs):
            row = await self.store.plan(digest)
            self._specs[digest] = parsed(row.spec if row is not None else None)

    def _take(self, history: History) -> None:
        row, workflow = history.run, self.workflows.get(history.run.workflow)
        if workflow is None or row.id in self.drives:
            return
        if row.crashes:
            _log(row, f"is taken over, {row.crashes} of its workers died")
        version = self.version_of(workflow)
        try:
            refuse_sealed(history)
            verdict = judge(workflow, version, self._specs.get(row.plan), history)
            reason = verdict.reason
            if verdict.fits:
                self._go_on(workflow, version, history)
        except (IncompatibleRun, CodecNeeded) as error:
            reason = str(error)
        if reason:
            self.drives.pop(row.id, None)
            self.spawn(self._block(row, reason, version))

    def _go_on(self, workflow: Workflow[Any, Any, Any, Any], version: str, history: History) -> None:
        """Drive a run; if other code has begun it, it is this code's from now on, which its events say."""
        row, plan = history.run, workflow.plan
        drive = self.drive(plan, history)
        if row.version == version and row.plan == plan.digest:
            return
        batch = self.commits.batch(2)
        batch.plans.append(PlanRow(plan.digest, workflow.name, version, plan.spec))
        batch.moved.append(MoveRow(row.id, plan.digest, version, plan.has_epilogue))
        drive.row = row._replace(plan=plan.digest, version=version, epilogue=plan.has_epilogue)
        drive.note("code_changed", None, f"goes on with version {version}, was {row.version}", self.now())

    async def _block(self, row: RunRow, reason: str, version: str) -> None:
        """Give a claimed run up, however often the store fails meanwhile: nobody else can while this session lives."""
        logger.error("Run %d is blocked, unless other code can go on with it: %s", row.id, reason)
        if self._suspect == row.id:
            self._suspect, self._more = None, True
        while True:
            try:
                return await self.store.block(self.session, row.id, reason, version)
            except StoreError as error:
                logger.warning("Run %d could not be marked as blocked, will try again: %s", row.id, error)
            except Exception:
                logger.exception("Run %d could not be marked as blocked, will try again", row.id)
            await asyncio.sleep(BEAT_S)

    # Time

    def wake(self) -> None:
        """Look for work now: another process may have left some. What is said while it looks, it looks for again."""
        self._more = self._woken = True
        self.queues.look()
        self.scheduler.hear()
        if not self._waking and not self.closing:
            self._waking = True
            self.spawn(self._look_again())

    async def _look_again(self) -> None:
        try:
            while self._woken and not self.closing and not self.commits.closed:
                self._woken = False
                await self._look()
        finally:
            self._waking = False

    async def _tick(self) -> None:
        """The backstop: look for work, renew the lease, show long attempts. In-process work never waits for it."""
        every = pause = min(BEAT_S, self.settings.poll_s, self.settings.lease_s / 5)
        while True:
            try:
                answered = self.commits.closed or await self._beat()
            except Exception:
                logger.exception("The worker's heartbeat failed, will try again")
                answered = False
            pause = every if answered else min(pause * 2, LONGEST_PAUSE_S, self.settings.lease_s / 5)
            await asyncio.sleep(pause)

    async def _beat(self) -> bool:
        """Return whether the store has answered, if it was asked."""
        self._pace, self._ended = self._ended, 0
        self._alarms.ring()
        answered = True
        if self._loop.time() >= self._look_at or self.scheduler.overdue:
            answered = await self._look()
        if self.now() >= self.commits.renew_at + (self._look_every if answered else 0):  # a look would have renewed it
            self.commits.batch()
        self._show_attempts()
        self._park()
        return answered

    def _park(self) -> None:
        """Give back to the store what only waits, and will for long: it needs no worker, no memory and no lease.

        A run under suspicion at once: meanwhile no other such run is taken, and it may be one that this one waits for.
        """
        now = self.now()
        if self._suspect in self._resting:
            self._park_at_rest(self.drives[self._suspect])
        for run, since in list(self._resting.items()):
            if now - since < PARKED_AFTER_S:
                return  # those after it rest for a shorter time
            drive = self.drives[run]
            due = drive.next_due
            if not drive.is_watched and (due is None or due - now > PARKED_AFTER_S):
                self._park_at_rest(drive)

    def _learns(self, run: int) -> bool:
        """Whether what a run waits for is being read: nobody would tell it again, once it is parked."""
        return run in self._hearing or run in self._calling or run in self._ending.values()

    def _park_at_rest(self, drive: Drive) -> None:
        if drive.rests and drive.is_idle and not self._learns(drive.id):
            drive.park(self.commits.batch())
            self._let_go(drive)
            drive.drop()

    def _show_attempts(self) -> None:
        older_than = self.now() - SHOWN_AFTER_S
        for drive in self.drives.values():
            for row in drive.visible(older_than):
                self.commits.batch().attempts.append(row)

    def offer_at(self, due: float, drive: Drive, node: int) -> None:
        """Offer a node once its retry delay is over."""
        drive.delayed[node] = None
        drive.worker.weigh(drive)
        self._loop.call_later(max(0.0, due - self.now()), self._due, due, drive, node)

    def _due(self, due: float, drive: Drive, node: int) -> None:
        if drive.dropped or drive.state.over:
            return
        if self.now() < due:  # the clock was set back: the delay is a promise about the clock
            self.offer_at(due, drive, node)
            return
        drive.delayed.pop(node, None)
        drive.worker.weigh(drive)
        self.offer(drive, node)

    # What comes from outside of a run

    def alarm_at(self, due: float, drive: Drive, node: int) -> None:
        """Ring ``drive.alarm(node)`` once it is due."""
        self._alarms.set(due, drive, node)

    def listen(self, run: int) -> None:
        """Look for what has come for a run from outside: signals, ends of child runs."""
        self._calling.add(run)
        if not self._listening and not self.closing:
            self._listening = True
            self.spawn(self._listen())

    async def _listen(self) -> None:
        try:
            while self._calling and not self.closing and not self.commits.closed:
                runs = [run for run in self._calling if run in self.drives]
                self._calling.clear()
                self._hearing = frozenset(runs)
                if runs:
                    await self._persistently(partial(self._hear, runs), "What has come for runs could not be read")
        finally:
            self._listening, self._hearing = False, frozenset()

    async def _hear(self, runs: Iterable[int]) -> None:
        for arrivals in await self.store.hear(self.session, list(runs)):
            if (drive := self.drives.get(arrivals.run)) is not None and not drive.is_gone:
                if any(is_sealed(signal.payload) for signal in arrivals.signals):
                    # The next commit finds it gone.
                    self.spawn(self._block(drive.row, SEALED_SIGNAL, drive.row.version))
                    self.disowned(frozenset({arrivals.run}))
                else:
                    drive.waits.arrived(arrivals)

    async def _persistently(self, work: Callable[[], Coroutine[Any, Any, None]], failure: str) -> None:
        """Do something however often the store fails meanwhile, for as long as this session may."""
        pause = FIRST_PAUSE_S
        while not self.closing and not self.commits.closed:
            try:
                return await work()
            except StoreError as error:
                logger.warning("%s, will try again: %s", failure, error)
            except Exception:
                logger.exception("%s, will try again", failure)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_S)

    def bear(self, drive: Drive, node: int, input: str | None) -> None:
        """Store the child run that ``node`` starts, together with the rows appended last."""
        plan_node, owner = drive.plan.nodes[node], self.session if self.has_room else None
        name = drive.name_of(node)
        child = new_child(drive.row, plan_node, name, input, id=next(self.ids), owner=owner, at=self.now())
        if self.telemetry is not None:
            child = child._replace(traceparent=traceparent(drive.row))
        self.commits.bear(plan_row(plan_node), child, partial(self._born, drive, node, child))

    def _born(self, drive: Drive, node: int, child: NewRun, stored: Submitted) -> None:
        """A child run is durable; or it has been there since an earlier try of its parent."""
        drive.waits.children[node] = stored.id
        if stored.created:
            self._adopt(drive.plan.nodes[node].child.plan, child, stored)
            if child.owner is None:
                self.wake()
        elif stored.agrees:
            self.listen(drive.id)

    def forsake(self, drive: Drive) -> None:
        """Cancel the child runs that are driven here: their parent has ended before them."""
        for waiter in drive.drives():
            for id in waiter.waits.children.values() if waiter.plan.waits else ():
                if (child := self.drives.get(id)) is not None:
                    child.cancel()

    def revive(self, drive: Drive, node: int, child: int) -> None:
        """Retry a child run that has ended badly, and then offer ``node`` again."""

        async def retry() -> None:
            history = await self.store.history(child)
            while history is not None and history.run.status in ENDED_BADLY:
                found = retrial(drive.plan.nodes[node].child.plan, history, self.now())
                seen, anew, earlier = history.run, found.anew, found.earlier
                if await self.store.retry(seen, self.now(), anew=anew, earlier=earlier, detail=found.detail):
                    break
                history = await self.store.history(child)
            drive.waits.revive(node)
            self.wake()

        self.spawn(self._persistently(retry, f"Child run {child} could not be retried"))

    def see_end(self, drive: Drive, node: int, child: int) -> None:
        """Look at a child run that has ended, and end the wait of ``node`` accordingly."""
        if child in self._ending:
            return
        self._ending[child] = drive.id

        async def see() -> None:
            history = await self.store.history(child)
            if history is not None and history.run.finished_at is not None:
                refuse_sealed(history)
                drive.waits.end(node, child_report(drive.plan.nodes[node], history, self.codec))

        async def end() -> None:
            try:
                await self._persistently(see, f"The end of child run {child} could not be read")
            finally:
                self._ending.pop(child, None)

        self.spawn(end())

    # Attempts

    def offer(self, drive: Drive, node: int) -> None:
        """Start an attempt of ``node`` as soon as a slot is free, first one of its queue, if it has one."""
        if (queue := drive.plan.queues.get(node)) is not None:
            self.queues.wait(drive, node, queue)
        else:
            self._slots.offer((drive, node), drive.row.priority)

    def begin(self, drive: Drive, node: int) -> None:
        """Start an attempt of ``node`` as soon as this worker has a slot for it."""
        self._slots.offer((drive, node), drive.row.priority)

    def spare(self) -> int:
        """Return how many attempts more could begin now."""
        return self._slots.free

    def _perform(self, offer: tuple[Drive, int]) -> Coroutine[Any, Any, None] | None:
        """Begin an attempt; nodes without a body are done at once."""
        drive, node = offer
        running = drive.start(node)
        if running is None:
            self.queues.refused(drive, node)
            return None
        plan = drive.plan
        plan_node = plan.nodes[node]
        if plan_node.fan is not None:
            FanOut(drive, node, plan_node.fan).begin()
            return None
        if plan_node.body is None:
            drive.report(node, running.attempt, evaluate(plan_node, drive.outputs, self.codec))
            return None
        running.serving = self._slots.serving
        if (function := plan.plain.get(node)) is not None and self.telemetry is None and not SUBSTITUTES:
            return self._head_start(plan_node, function, running)
        if (ticket := drive.tickets.get(node)) is not None:
            running.ticket, ticket.begun = ticket, True
        return self._attempt(drive, node, running.attempt)

    def _head_start(
        self, node: PlanNode, function: Callable[..., Any], running: Running
    ) -> Coroutine[Any, Any, None] | None:
        """Begin an attempt of a node whose body asks for nothing but its inputs; report it if it is over at once."""
        drive = running.drive
        current = ATTEMPT.set(running)
        try:
            found = head_start(node, function, drive.outputs, self.codec)
        finally:
            ATTEMPT.reset(current)
        if not isinstance(found, Returned | Raised):
            return self._attempt(drive, node.index, running.attempt, found)
        drive.report(node.index, running.attempt, found)
        if self.queues.line:
            self.queues.ask()
        return None

    async def _attempt(self, drive: Drive, node: int, number: int, performed: Awaitable[object] | None = None) -> None:
        """Make an attempt, or go on with one whose body has begun, and report how it ended."""
        running = drive.running[node]
        current = ATTEMPT.set(running)
        begun = None if self.telemetry is None else self._traced(self.telemetry, drive, node, number)
        try:
            if performed is None:
                report = await self._end_of(drive, node, number, running)
            else:
                report = await concluded(drive.plan.nodes[node], performed, self.codec)
            if begun is not None and isinstance(report, Raised):
                begun.error = report.exception_type
            if report is not None:
                drive.report(node, number, report)
        except Withdrawn:  # only a worker that leaves closes its executor: the run is released with all the others
            drive.running.pop(node, None)
        except asyncio.CancelledError as error:
            if not running.stopped and not self._is_torn_down():
                if running.serving is not None:  # the body cancelled its own task: that is a fault like any other
                    running.serving.uncancel()
                drive.report(node, number, raised(error, retryable=False))
        finally:
            if begun is not None and self.telemetry is not None:
                self.telemetry.left(begun)
            ATTEMPT.reset(current)
            if running.ticket is not None:  # unless it was given back with the report
                self.queues.over(running.ticket)
            if self.queues.line:
                self.queues.ask()

    def _traced(self, telemetry: Telemetry, drive: Drive, node: int, number: int) -> Begun:
        """Begin the span of an attempt; the drive ends it once its end is durable."""
        plan_node, at = drive.plan.nodes[node], drive.running[node].started_at
        name, kind, task = drive.name_of(node), plan_node.kind, plan_node.task
        begun = telemetry.begin(drive.row, name=name, kind=kind, task=task, number=number, at=at)
        drive.begun[node, number] = begun
        return begun

    def load(self) -> dict[str, int]:
        """Return how many runs are driven, attempts run, and attempts wait for a slot; from any thread."""
        waiting = self._slots.waiting + len(self.queues.line)
        return {"runs": len(self.drives), "running": self._slots.busy, "waiting": waiting}

    async def _end_of(self, drive: Drive, node: int, number: int, running: Running) -> Report | None:
        """Make an attempt; return how it ended, None if that is committed already. Raises as ``attempts.attempt``."""
        plan_node = drive.plan.nodes[node]
        assert plan_node.body is not None
        running.cache_key = self._cache.key(plan_node, drive.outputs)
        if running.cache_key is not None and (found := await self._cache.find(plan_node, running.cache_key)):
            return Returned(found.output, origin=found.run)
        takes_context = plan_node.body.signature.context is not None or plan_node.body.function in SUBSTITUTES
        context = self._context(drive, node, number, running) if takes_context else None
        executor = self.executor if running.ticket is None else self.queues.holding(running.ticket, self.executor)
        try:
            failure = self._failure(drive, node) if plan_node.given else None
        except Exception as error:  # noqa: BLE001 - a user's validator may raise anything
            return raised(error, retryable=False)
        if runs_in_a_child(plan_node) and plan_node.body.function not in SUBSTITUTES:
            return await run_errand(plan_node, drive.outputs, context, self.codec, self.processes, failure=failure)
        told = drive.failure() if plan_node.body.signature.run_failure else None
        perform = partial(
            attempt, plan_node, drive.outputs, context, self.codec, executor, failure=failure, run_failure=told
        )
        if plan_node.body.signature.session is None:
            return await perform()
        return await in_transaction(drive, node, number, self.store, perform)

    def _failure(self, drive: Drive, node: int) -> TaskFailure | None:
        """Return what a handler is given."""
        row, rescued = drive.fault(node), drive.plan.nodes[node].rescues
        if row is None or rescued is None:
            return None
        return replace(task_failure(drive.plan, row, self.codec), task=drive.shown(rescued))

    def _context(self, drive: Drive, node: int, number: int, running: Running) -> TaskContext:
        name, run_id = drive.name_of(node), str(drive.id)
        shown = drive.plan.nodes[node].task  # a logger lives for ever, so that elements share theirs

        def beat() -> None:
            running.beat_at = self.now()

        return TaskContext(
            run_id=run_id,
            task=name,
            attempt=number,
            idempotency_key=idempotency_key(drive.plan, drive.state, drive.id, node, name),
            logger=logging.LoggerAdapter(
                logger_of(f"cloaca.task.{shown}"), {"run": run_id, "task": name, "attempt": number}
            ),
            scheduled_for=None if drive.row.scheduled_for is None else moment(drive.row.scheduled_for),
            is_cancelled=lambda: drive.dropped or drive.state.over or drive.running.get(node) is not running,
            beat=beat,
        )


def _log(run: RunRow, what: str, **more: object) -> None:
    """Say what has become of a run, in words and, for who reads logs by program, in fields."""
    if logger.isEnabledFor(logging.INFO):
        logger.info(
            "Run %d of %s %s", run.id, run.workflow, what, extra={"run": str(run.id), "workflow": run.workflow, **more}
        )
