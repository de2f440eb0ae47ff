"""The scheduler of a worker: it sleeps until the first schedule is due, claims what fires, and hands it over.

What is due and what fires are pure decisions, the claim and the handover two transactions. There is no procedure for
recovery: what another has claimed and not handed over is taken whenever it is seen. It knows the store and its worker.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from cloaca.contract.workflows import Workflow
from cloaca.errors import CloacaError, LeaseLost, StoreError
from cloaca.interpreter.firings import key_of, policy_of, window_of
from cloaca.interpreter.group_commit import GroupCommit
from cloaca.ports import Move, NewRun, PlanRow, Poll, ScheduleRow, Store, Taken
from cloaca.schedules.decisions import step
from cloaca.telemetry import Telemetry

logger = logging.getLogger("cloaca.scheduler")

MOST_AT_ONCE = 100  # schedules, or firings, in one transaction
MOST_IN_VAIN = 5  # claims at once of what has changed meanwhile: the next look mostly says who was faster
GAP_S, LONGEST_GAP_S = 0.5, 60.0  # after what others were just doing, or nobody can do yet
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 5.0
LEAVE_S = 5.0
SAME_S = 0.001


class Host(Protocol):
    """The worker."""

    store: Store
    now: Callable[[], float]
    ids: Iterator[int]
    commits: GroupCommit
    closing: bool
    telemetry: Telemetry | None

    @property
    def workflows(self) -> Mapping[str, Workflow[Any, Any, Any, Any]]: ...
    def wake(self) -> None: ...


class Scheduler:
    """Fires the schedules of its worker's workflows. ``waits``: firings wait for a run of their schedule to end."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.waits = False
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._begin_at = 0.0
        self._due_at: float | None = None  # by the host's clock
        self._doubtful = False  # an answer was lost: the session may own firings without knowing it
        self._round: asyncio.Task[None] | None = None
        self._not_before = 0.0  # by the loop's clock
        self._pause = FIRST_PAUSE_S
        self._gap, self._vain_until = GAP_S, 0.0  # by the loop's clock: firings wait for what has not happened yet
        self._broken: dict[str, int] = {}  # revisions of schedules that can't be understood here
        self._plans: dict[str, PlanRow] = {}

    @property
    def overdue(self) -> bool:
        """Whether a schedule is due by now though the timer says nothing: a clock was set, or the host slept."""
        if self._due_at is None or self._round is not None or self._loop.time() < self._not_before:
            return False
        return self._host.now() >= self._due_at

    def hear(self) -> None:
        """Something has happened, perhaps what firings wait for."""
        if self._gap > GAP_S * 2:
            self._gap, self._vain_until = GAP_S, 0.0

    def heed(self, poll: Poll) -> None:
        """Do what a look has found, now or when it is due."""
        self.waits = poll.firings
        if self._round is not None or self._host.closing:
            return
        due_s = None if poll.due_s is None else max(0.0, poll.due_s)
        self._due_at = None if due_s is None else self._host.now() + due_s
        vain_s = max(0.0, self._vain_until - self._loop.time())
        self._arm(vain_s if poll.firings and (due_s is None or vain_s < due_s) else due_s)

    def _arm(self, due_s: float | None) -> None:
        """Begin in so many seconds, but at once if there is a doubt, and not while there is nothing to be had."""
        if self._doubtful:
            due_s = 0.0
        if due_s is None:
            self._cancel()
        else:
            self._set(max(self._loop.time() + due_s, self._not_before))

    def _set(self, when: float) -> None:
        if self._timer is not None and abs(self._begin_at - when) < SAME_S:
            return
        self._cancel()
        self._begin_at, self._timer = when, self._loop.call_at(when, self._begin)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _begin(self) -> None:
        self._timer = None
        if self._round is None and not self._host.closing and not self._host.commits.closed:
            self._round = self._loop.create_task(self._go())

    async def close(self) -> None:
        """Begin nothing more, and wait for what is being handed over."""
        self._cancel()
        if (going := self._round) is not None:
            await asyncio.wait({going}, timeout=LEAVE_S)
            going.cancel()

    async def _go(self) -> None:
        """Hand over what waits, and fire what is due, until there is nothing more."""
        done = False
        try:
            done = await self._work()
            self._pause = FIRST_PAUSE_S
        except LeaseLost:
            self._doubtful = False  # the next session has nothing yet
            self._host.commits.batch()  # a commit finds that out, too, and begins again under a new session
        except StoreError as error:
            logger.warning("Schedules could not be fired, will try again: %s", error)
            self._rest()
        except Exception:
            logger.exception("Schedules could not be fired, will try again")
            self._rest()
        finally:
            self._round = None
        if self._host.closing:
            return
        if done:
            self._host.wake()  # runs wait, and it is to be said when a schedule is due next
        else:
            self._arm(None if self._due_at is None else max(0.0, self._due_at - self._host.now()))

    def _rest(self) -> None:
        self._doubtful = True
        self._not_before = self._loop.time() + self._pause
        self._pause = min(self._pause * 2, LONGEST_PAUSE_S)

    async def _work(self) -> bool:
        """Return whether anything was done, or the look that has asked for it is out of date."""
        host, session = self._host, self._host.commits.session
        workflows = list(host.workflows)
        expected = self._due_at is not None and host.now() >= self._due_at
        waits = self.waits and self._loop.time() >= self._vain_until
        done = (waits or self._doubtful) and await self._take(session, workflows)
        self._doubtful, in_vain = False, 0
        while not host.closing:
            at, rows = await host.store.due(workflows, host.now(), MOST_AT_ONCE)
            moves = [move for row in rows if (move := self._move(row, at)) is not None]
            if not moves:
                if rows:  # this process can't understand them
                    self._not_before = self._loop.time() + LONGEST_PAUSE_S
                return done or (expected and not rows)
            fired = await host.store.fire(session, moves, at)
            known = {row.name: row for row in rows}
            taken = [Taken(name, instant, known[name].workflow, known[name].input) for name, instant in fired]
            for first in range(0, len(taken), MOST_AT_ONCE):
                await self._hand_over(session, taken[first : first + MOST_AT_ONCE])
            if not fired and any(move.fired for move in moves):  # others are at it, or somebody has just changed it
                in_vain += 1
                if in_vain < MOST_IN_VAIN:
                    continue
                self._not_before = self._loop.time() + GAP_S
                return True
            done = True
        return done

    async def _take(self, session: int, workflows: list[str]) -> bool:
        """Hand over what nobody else does; return whether there was anything."""
        done = False
        while not self._host.closing and (
            taken := await self._host.store.take_firings(session, workflows, MOST_AT_ONCE)
        ):
            await self._hand_over(session, taken)
            done = True
        if done:
            self._gap = GAP_S
        else:  # what waits, waits for others: whoever ends a run looks again
            self._vain_until = self._loop.time() + self._gap
            self._gap = min(self._gap * 2, LONGEST_GAP_S)
        return done

    def _move(self, row: ScheduleRow, at: float) -> Move | None:
        """Decide what a schedule does now; None if it is not understood here."""
        try:
            found = None if row.next_at is None else step(window_of(row), policy_of(row), row.next_at, at)
        except CloacaError as error:
            if self._broken.get(row.name) != row.revision:
                self._broken[row.name] = row.revision
                logger.error('Schedule "%s" can\'t be fired by this process: %s', row.name, error)
            return None
        if found is None:
            return None
        if found.missed:
            told = (row.name, found.missed, row.catchup)
            logger.warning('Schedule "%s" passes over %d firings that were missed (catchup=%s)', *told)
        last_at = found.fired[-1] if found.fired else at
        return Move(
            row.name, row.workflow, row.revision, found.fired, row.overlap, found.missed, last_at, found.next_at,
            found.due_at,
        )  # fmt: skip

    async def _hand_over(self, session: int, taken: Sequence[Taken]) -> None:
        host, at = self._host, self._host.now()
        runs = [self._run(each, at) for each in taken]
        plans = list({run.plan: self._plans[run.workflow] for run in runs}.values())
        states = await host.store.hand_over(session, plans, runs, at)
        for run, state in zip(runs, states, strict=True):
            if host.telemetry is not None and state == "handed_over" and run.scheduled_for is not None:
                host.telemetry.fired(run.schedule or "", at - run.scheduled_for)
            logger.info(
                'Schedule "%s" for %s: %s', run.schedule, run.key, state or "gone", extra={"schedule": run.schedule}
            )

    def _run(self, taken: Taken, at: float) -> NewRun:
        workflow = self._host.workflows[taken.workflow]
        plan = self._plans.get(workflow.name)
        if plan is None or plan.digest != workflow.plan.digest:
            plan = PlanRow(workflow.plan.digest, workflow.name, workflow.version, workflow.plan.spec)
            self._plans[workflow.name] = plan
        key = key_of(taken.schedule, taken.scheduled_for)
        return NewRun(
            next(self._host.ids), workflow.name, workflow.version, plan.digest, taken.input, key, None, at,
            epilogue=workflow.plan.has_epilogue, schedule=taken.schedule, scheduled_for=taken.scheduled_for,
        )  # fmt: skip
