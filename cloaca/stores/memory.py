"""A store in memory: the reference of what a store does, for tests and simulations. Nothing survives the process.

It knows the rows and the guarantees of the port, and passes the same conformance suite as the databases.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from cloaca.errors import LeaseLost, StoreError
from cloaca.ports import (
    GIVEN_UP,
    NOTHING,
    SUSPECT_CRASHES,
    Arrivals,
    AttemptRow,
    Batch,
    Cached,
    CacheRow,
    EndRow,
    FailureRow,
    Granted,
    History,
    NewRun,
    NoteRow,
    PlanRow,
    Poll,
    QueueRow,
    Receipt,
    RunRow,
    SignalRow,
    SlotRow,
    Submitted,
    TaskRow,
    Transaction,
    WaitRow,
)
from cloaca.stores.memory_schedules import MemorySchedules
from cloaca.stores.memory_slots import MemorySlots

if TYPE_CHECKING:
    from cloaca.stores.sql.memory_bodies import MemoryBodies

FINAL = frozenset({"succeeded", "failed", "cancelled"})


class MemoryStore(MemorySchedules):
    """Rows in dictionaries. Each method yields to the event loop once, as a database would, and is then one step."""

    def __init__(self) -> None:
        super().__init__()
        self.sessions: dict[int, float] = {}
        self.serves: dict[int, Mapping[str, str]] = {}
        self.last_session = 0
        self.plans: dict[str, PlanRow] = {}
        self.rows: dict[int, RunRow] = {}
        self.keys: dict[tuple[str, str], int] = {}
        self.tasks: dict[int, dict[str, TaskRow]] = {}
        self.failures: dict[int, dict[tuple[str, int], FailureRow]] = {}
        self.attempts: dict[tuple[int, str], AttemptRow] = {}
        self.notes: dict[int, dict[NoteRow, None]] = {}
        self.kept: dict[str, tuple[CacheRow, float]] = {}
        self.waits: dict[int, dict[str, WaitRow]] = {}
        self.signals: dict[int, dict[int, SignalRow]] = {}
        self.last_signal = 0
        self.slots = MemorySlots()
        self._bodies: MemoryBodies | None = None
        self._waiting: set[int] = set()  # pending runs
        self._owned: dict[int, set[int]] = {}  # runs by session

    async def open(self) -> None:
        """Nothing to prepare."""

    async def close(self) -> None:
        """Keep the rows: a store that is opened again still has them, as a file would."""

    async def watch(self, wake: Callable[[], None]) -> bool:
        """No other process shares this memory."""
        return False

    async def follow(self, run: int, wake: Callable[[], None]) -> bool:
        """As ``watch``."""
        return False

    def unfollow(self, run: int, wake: Callable[[], None]) -> None:
        """Nobody is called."""

    async def open_session(self, name: str, at: float, until: float, *, serves: Mapping[str, str] = NOTHING) -> int:
        await asyncio.sleep(0)
        self.last_session += 1
        self.sessions[self.last_session] = until
        self.serves[self.last_session] = dict(serves)
        return self.last_session

    async def serve(self, session: int, serves: Mapping[str, str]) -> None:
        await asyncio.sleep(0)
        self.serves[session] = dict(serves)

    async def close_session(self, session: int, *, at: float) -> None:
        await asyncio.sleep(0)
        self.sessions.pop(session, None)
        self.slots.free(session)
        self._give_back(session, at)

    async def transact(self, batch: Batch) -> Receipt:
        await asyncio.sleep(0)
        return self.write(batch)

    def write(self, batch: Batch) -> Receipt:
        """Write a batch at once."""
        self._fence(batch.session)
        known, unheld = len(self.rows), self._unheld(batch)
        submitted = [self._insert(run) for run in batch.runs]
        foreign = frozenset(run for run in batch.touched() if run in unheld or not self._owns(batch.session, run))
        if self._repeats(batch, foreign):
            self._undo(known)
            raise StoreError("a task or an attempt of this batch is committed already")
        if batch.renew_until is not None:
            self.sessions[batch.session] = batch.renew_until
        if batch.held is not None:
            self._give_back(batch.session, batch.at, unheld)
        for plan in batch.plans:
            self.plans.setdefault(plan.digest, plan)
        ended = {end.run for end in batch.ends if batch.replay and end.run in foreign and self._has_ended(end)}
        submitted += [self._insert_child(child, foreign) for child in batch.children]
        self._write(batch, foreign)
        return Receipt(submitted, foreign - ended)

    def transaction(self, *, is_async: bool) -> Transaction:
        from cloaca.stores.sql.memory_bodies import MemoryBodies  # noqa: PLC0415 - only who needs SQL loads it

        if self._bodies is None:
            self._bodies = MemoryBodies(self)
        return self._bodies.transaction(is_async=is_async)

    async def submit(self, plan: PlanRow, run: NewRun) -> Submitted:
        await asyncio.sleep(0)
        self.plans.setdefault(plan.digest, plan)
        return self._insert(run)

    async def claim(
        self, session: int, workflows: Sequence[str], limit: int, at: float, *, suspects: bool
    ) -> list[History]:
        await asyncio.sleep(0)
        self._fence(session)
        found = [row for row in self._queue(workflows) if (row.crashes >= SUSPECT_CRASHES) == suspects]
        for row in found[:limit]:
            self._take(row, session, at)
        return [self._history(row.id) for row in found[:limit]]

    async def reap(self, at: float, *, sparing: int | None = None) -> int:
        await asyncio.sleep(0)
        dead = [session for session, until in self.sessions.items() if until < at and session != sparing]
        for session in dead:
            del self.sessions[session]
            self.slots.free(session)
        return sum(self._give_back(session, at, crash=1) for session in dead)

    async def claim_refused(self, session: int, serves: Mapping[str, str], limit: int, at: float) -> list[History]:
        await asyncio.sleep(0)
        self._fence(session)
        found = self._refused(serves)[: max(0, limit)]
        for row in found:
            self._take(row, session, at)
        return [self._history(row.id) for row in found]

    def _take(self, row: RunRow, session: int, at: float) -> None:
        started_at = at if row.started_at is None else row.started_at
        row = row._replace(status="running", owner=session, started_at=started_at, reason=None)
        self._put(row._replace(roused=False, wake_at=None))

    def _refused(self, serves: Mapping[str, str]) -> list[RunRow]:
        """The runs that other code has refused, and that these versions may take."""
        rows = (row for row in self.rows.values() if row.refused is not None and row.status in ("pending", "blocked"))
        found = [row for row in rows if row.workflow in serves and self._may_try(row, serves[row.workflow])]
        return sorted(found, key=lambda row: (-row.priority, row.id))

    def _may_try(self, row: RunRow, version: str) -> bool:
        refused = row.refused or ""
        return version not in refused or (row.status == "pending" and not self._is_served(row.workflow, refused))

    def _is_served(self, workflow: str, refused: str) -> bool:
        """Whether a session has a version of a workflow that has not refused a run."""
        found = (self.serves.get(session, {}).get(workflow) for session in self.sessions)
        return any(version is not None and version not in refused for version in found)

    async def poll(
        self,
        session: int,
        workflows: Sequence[str],
        at: float,
        *,
        renew_until: float | None = None,
        serves: Mapping[str, str] = NOTHING,
    ) -> Poll:
        await asyncio.sleep(0)
        if renew_until is not None:
            self._fence(session)
            self.sessions[session] = renew_until
        crashes = [row.crashes for row in self._queue(workflows)]
        owned = [self.rows[run] for run in self._owned.get(session, ())]
        return Poll(
            claimable=any(count < SUSPECT_CRASHES for count in crashes),
            suspects=any(count >= SUSPECT_CRASHES for count in crashes),
            expired=any(until < at for other, until in self.sessions.items() if other != session),
            cancelling=sorted(row.id for row in owned if row.cancel_requested),
            pausing=frozenset(row.id for row in owned if row.pausing is not None),
            roused=frozenset(row.id for row in owned if row.roused),
            due=any(self._parked_due(at)),
            lapse_s=min((until - at for other, until in self.sessions.items() if other != session), default=None),
            firings=self._waits(session, workflows),
            due_s=min((due_at - at for due_at, _ in self._due(workflows)), default=None),
            refused=bool(self._refused(serves)),
        )

    async def declare(self, queues: Sequence[QueueRow]) -> list[QueueRow]:
        await asyncio.sleep(0)
        return self.slots.declare(queues)

    async def queues(self) -> list[QueueRow]:
        await asyncio.sleep(0)
        return sorted(self.slots.queues.values())

    async def acquire(self, session: int, wanted: Sequence[SlotRow], at: float) -> Granted:
        await asyncio.sleep(0)
        self._fence(session)
        return self.slots.acquire(self.sessions, session, wanted, at)

    async def cancel(self, run: int, at: float) -> str | None:
        await asyncio.sleep(0)
        self._stop(run, at)
        row = self.rows.get(run)
        return row.status if row else None

    def _stop(self, run: int, at: float) -> None:
        row = self.rows.get(run)
        if row is None or row.status in FINAL:
            return
        if row.status == "blocked" and (row.cancel_requested or row.closing is not None):
            outcome = "cancelled" if row.closing is None else str(json.loads(row.closing)["status"])
            self._end(EndRow(run, outcome, at, GIVEN_UP))
            self._stopped(run, at)
        elif row.closing is not None:
            return
        elif row.owner is None and not row.epilogue:
            self._end(EndRow(run, "cancelled", at, None))
            self._stopped(run, at)
        elif row.owner is None:
            self._put(row._replace(cancel_requested=True, status="pending", reason=None, wake_at=None))
        else:
            self._put(row._replace(cancel_requested=True))

    async def pause(self, run: int, at: float) -> RunRow | None:
        await asyncio.sleep(0)
        row = self.rows.get(run)
        if row is not None and row.status not in (*FINAL, "paused") and row.pausing is None:
            if row.owner is None:
                self._pause(row, at)
            else:
                self._put(row._replace(pausing="asked"))
        return self.rows.get(run)

    async def resume(self, run: int, at: float) -> RunRow | None:
        await asyncio.sleep(0)
        row = self.rows.get(run)
        if row is not None and row.status == "paused":
            self._put(row._replace(status="pending"))
            self._note(NoteRow(run, at, "run_resumed", None, ""))
        elif row is not None:
            self._put(row._replace(pausing=None))
        return self.rows.get(run)

    async def retry(self, seen: RunRow, at: float, *, anew: Sequence[str], earlier: str | None, detail: str) -> bool:
        await asyncio.sleep(0)
        row = self.rows.get(seen.id)
        if row is None or (row.status, row.finished_at) != (seen.status, seen.finished_at):
            return False
        row = row._replace(status="pending", finished_at=None, reason=None, crashes=0, earlier=earlier, refused=None)
        self._put(row)
        self._forget(row.id, anew)
        self._note(NoteRow(row.id, at, "run_retried", None, detail))
        return True

    def _forget(self, run: int, names: Sequence[str]) -> None:
        for name in names:
            self.tasks.get(run, {}).pop(name, None)
            self.waits.get(run, {}).pop(name, None)

    async def upgrade(
        self, seen: RunRow, plan: PlanRow, at: float, *, anew: Sequence[str], earlier: str | None, epilogue: bool,
        detail: str,
    ) -> bool:  # fmt: skip
        await asyncio.sleep(0)
        row = self.rows.get(seen.id)
        if row is None or row.status != "blocked" or row.plan != seen.plan:
            return False
        self.plans.setdefault(plan.digest, plan)
        row = row._replace(plan=plan.digest, version=plan.version, epilogue=epilogue, earlier=earlier)
        self._put(row._replace(status="pending", reason=None, crashes=0, refused=None))
        self._forget(row.id, anew)
        self._note(NoteRow(row.id, at, "run_upgraded", None, detail))
        return True

    async def fork(self, plan: PlanRow, run: NewRun, *, origin: int, tasks: Sequence[str], detail: str) -> int | None:
        await asyncio.sleep(0)
        found = [self.tasks.get(origin, {}).get(name) for name in tasks]
        rows = [row for row in found if row is not None and row.status == "succeeded"]
        if len(rows) < len(tasks):
            return None
        self.plans.setdefault(plan.digest, plan)
        made = self._insert(run).id
        for row in rows:
            self.tasks.setdefault(made, {}).setdefault(row.name, row._replace(run=made, session=0))
        self._note(NoteRow(made, run.created_at, "run_forked", None, detail))
        return made

    async def send(self, run: int, name: str, payload: str, at: float, *, nodes: Sequence[str]) -> bool | None:
        await asyncio.sleep(0)
        row = self.rows.get(run)
        if row is None or row.status in FINAL:
            return None if row is None else False
        kept = self.signals.setdefault(run, {})
        untaken = sum(signal.name == name and signal.taken_by is None for signal in kept.values())
        answered = sum(node in self.tasks.get(run, ()) for node in set(nodes))
        if answered + untaken >= len(set(nodes)):
            return False
        self.last_signal += 1
        kept[self.last_signal] = SignalRow(self.last_signal, run, name, payload, at, None)
        self._rouse(run)
        return True

    async def hear(self, session: int, runs: Sequence[int]) -> list[Arrivals]:
        await asyncio.sleep(0)
        owned = sorted(set(runs).intersection(self._owned.get(session, ())))
        for run in owned:
            self._put(self.rows[run]._replace(roused=False))
        signals = {run: [s for s in self.signals.get(run, {}).values() if s.taken_by is None] for run in owned}
        return [Arrivals(run, signals[run], self._children(run)) for run in owned]

    async def wake(self, at: float, limit: int) -> int:
        await asyncio.sleep(0)
        due = sorted(self._parked_due(at), key=lambda row: (row.wake_at, row.id))[: max(0, limit)]
        for row in due:
            self._put(row._replace(status="pending"))
        return len(due)

    async def reconsider(self, serves: Mapping[str, str]) -> int:
        await asyncio.sleep(0)
        rows = [row for row in self.rows.values() if row.refused is not None and row.status in ("pending", "blocked")]
        found = [row for row in rows if row.workflow in serves and serves[row.workflow] in (row.refused or "")]
        for row in found:
            self._put(row._replace(refused=(row.refused or "").replace(f"{serves[row.workflow]},", "")))
        return len(found)

    async def block(self, session: int, run: int, reason: str, version: str = "") -> None:
        await asyncio.sleep(0)
        if self._owns(session, run):
            row = self.rows[run]
            refused = f"{row.refused or ''}{version},"
            waits = self._is_served(row.workflow, refused)
            status, because = ("pending", None) if waits else ("blocked", reason)
            self._put(row._replace(status=status, owner=None, reason=because, pausing=None, refused=refused))
            self._hide(lambda attempt: attempt.run == run)

    async def history(self, run: int) -> History | None:
        await asyncio.sleep(0)
        return self._history(run) if run in self.rows else None

    async def run(self, run: int) -> RunRow | None:
        await asyncio.sleep(0)
        return self.rows.get(run)

    async def plan(self, digest: str) -> PlanRow | None:
        await asyncio.sleep(0)
        return self.plans.get(digest)

    async def runs(self, *, workflow: str | None, status: str | None, before: int | None, limit: int) -> list[RunRow]:
        await asyncio.sleep(0)
        found = (
            row
            for row in sorted(self.rows.values(), reverse=True)
            if workflow in (None, row.workflow) and status in (None, row.status) and (before is None or row.id < before)
        )
        return [row for row, _ in zip(found, range(limit), strict=False)]

    async def prune(self, ended_before: float, limit: int) -> int:
        await asyncio.sleep(0)
        ended = [(row.finished_at or 0.0, row.id) for row in self.rows.values() if row.status in FINAL]
        needed = {row.parent for row in self.rows.values() if row.status not in FINAL}
        roots = (end for end in ended if self.rows[end[1]].parent is None and end[1] not in needed)
        old = sorted(end for end in roots if end[0] < ended_before)[: max(0, limit)]
        for _, run in old:
            self._delete(run)
        if not old:
            self._forget_skipped(ended_before)
            kept = {row.plan for row in self.rows.values()}
            self.plans = {digest: plan for digest, plan in self.plans.items() if digest in kept}
        return len(old)

    async def cached(self, keys: Sequence[str], at: float) -> list[Cached]:
        await asyncio.sleep(0)
        found = (self.kept[key] for key in set(keys) if key in self.kept)
        return [Cached(row.key, row.output, row.run, row.task, at - since) for row, since in found]

    async def prune_cache(self, kept_before: float, limit: int) -> int:
        await asyncio.sleep(0)
        old = sorted((since, key) for key, (_, since) in self.kept.items() if since < kept_before)[: max(0, limit)]
        for _, key in old:
            del self.kept[key]
        return len(old)

    # What has been stored

    def _owns(self, session: int, run: int) -> bool:
        return run in self._owned.get(session, ())

    def _unheld(self, batch: Batch) -> set[int]:
        """Return the runs that the session owns without knowing it."""
        return set() if batch.held is None else self._owned.get(batch.session, set()).difference(batch.held)

    def _queue(self, workflows: Sequence[str]) -> Iterator[RunRow]:
        rows = (self.rows[run] for run in self._waiting)
        waiting = (row for row in rows if row.workflow in workflows and row.refused is None)
        return iter(sorted(waiting, key=lambda row: (-row.priority, row.id)))

    def _has_ended(self, end: EndRow) -> bool:
        row = self.rows.get(end.run)
        return row is not None and (row.owner, row.status, row.finished_at, row.reason) == (None, *end[1:])

    def _history(self, run: int) -> History:
        return History(
            self.rows[run],
            sorted(self.tasks.get(run, {}).values(), key=lambda task: (task.finished_at, task.name)),
            list(self.failures.get(run, {}).values()),
            sorted(attempt for attempt in self.attempts.values() if attempt.run == run),
            list(self.notes.get(run, ())),
            sorted(self.waits.get(run, {}).values(), key=lambda wait: (wait.began_at, wait.name)),
            list(self.signals.get(run, {}).values()),
            self._children(run),
        )

    def _children(self, run: int) -> list[RunRow]:
        return sorted((row for row in self.rows.values() if row.parent == run), key=lambda row: row.id)

    def _parked_due(self, at: float) -> Iterator[RunRow]:
        parked = (row for row in self.rows.values() if row.status == "running" and row.owner is None)
        return (row for row in parked if row.wake_at is not None and row.wake_at <= at)

    # What refuses

    def _fence(self, session: int) -> None:
        if session not in self.sessions:
            raise LeaseLost(f"session {session} was taken for dead: its runs have gone to other workers")

    def _repeats(self, batch: Batch, foreign: frozenset[int]) -> bool:
        """Whether a task or an attempt is committed already, or twice in this batch."""
        tasks = [task for task in batch.tasks if task.run not in foreign]
        failures = [failure for failure in batch.failures if failure.run not in foreign]
        return not batch.replay and (
            any(task.name in self.tasks.get(task.run, ()) for task in tasks)
            or any((failure.name, failure.attempt) in self.failures.get(failure.run, ()) for failure in failures)
            or len({(task.run, task.name) for task in tasks}) < len(tasks)
            or len({(failure.run, failure.name, failure.attempt) for failure in failures}) < len(failures)
        )

    # What writes

    def _put(self, row: RunRow) -> None:
        """Store a run's row, and keep in step who waits and who is owned."""
        older = self.rows.get(row.id)
        if older is not None and older.owner is not None:
            self._owned.get(older.owner, set()).discard(row.id)
        if row.owner is not None:
            self._owned.setdefault(row.owner, set()).add(row.id)
        if row.status == "pending":
            self._waiting.add(row.id)
        else:
            self._waiting.discard(row.id)
        self._follow(row)
        self.rows[row.id] = row

    def _insert(self, run: NewRun) -> Submitted:
        if run.key is not None and (older := self.keys.get((run.workflow, run.key))) is not None:
            return Submitted(older, created=older == run.id, agrees=self.rows[older].input == run.input)
        taken = self.rows.get(run.id)
        if taken is not None:
            if run.key is None and _same(taken, run):
                return Submitted(run.id, created=True, agrees=True)
            return self._insert(run._replace(id=run.id + 1))
        if run.key is not None:
            self.keys[run.workflow, run.key] = run.id
        status, started_at = ("running", run.created_at) if run.owner is not None else ("pending", None)
        self._put(
            RunRow(
                run.id, run.workflow, run.version, run.plan, status, run.input, run.key, run.owner, 0,
                run.created_at, started_at, None, None, cancel_requested=False, priority=run.priority,
                parent=run.parent, parent_task=run.parent_task, epilogue=run.epilogue,
                schedule=run.schedule, scheduled_for=run.scheduled_for, traceparent=run.traceparent,
            )
        )  # fmt: skip
        return Submitted(run.id, created=True, agrees=True)

    def _insert_child(self, child: NewRun, foreign: frozenset[int]) -> Submitted:
        if child.parent in foreign:
            return Submitted(child.id, created=False, agrees=False)
        return self._insert(child)

    def _undo(self, known: int) -> None:
        """Forget the runs that were inserted last, all but the first ``known``."""
        while len(self.rows) > known:
            run, row = self.rows.popitem()
            self._waiting.discard(run)
            if row.owner is not None:
                self._owned[row.owner].discard(run)
            if row.key is not None:
                del self.keys[row.workflow, row.key]
            if row.schedule is not None:
                self._active[row.schedule].discard(run)

    def _write(self, batch: Batch, foreign: frozenset[int]) -> None:
        for run in batch.absolved:
            row = self.rows.get(run)
            if row is not None and row.crashes > 0 and row.finished_at is None:
                self._put(row._replace(crashes=row.crashes - 1))
        for task in batch.tasks:
            if task.run not in foreign:
                self.tasks.setdefault(task.run, {}).setdefault(task.name, task)
        for failure in batch.failures:
            if failure.run not in foreign:
                self.failures.setdefault(failure.run, {}).setdefault((failure.name, failure.attempt), failure)
        for move in batch.moved:
            if move.run not in foreign:
                _, plan, version, epilogue = move
                self._put(self.rows[move.run]._replace(plan=plan, version=version, epilogue=epilogue))
        for attempt in batch.attempts:
            if attempt.run not in foreign:
                self.attempts[attempt.run, attempt.name] = attempt
        settled = set(batch.settled)
        self._hide(lambda attempt: attempt[:2] in settled and attempt.session == batch.session)
        if batch.freed:
            self.slots.free(batch.session, batch.freed)
        for note in batch.notes:
            if note.run in self.rows:
                self._note(note)
        for closing in batch.closings:
            if closing.run not in foreign:
                row = self.rows[closing.run]
                pausing = None if closing.status == "cancelled" else row.pausing
                self._put(row._replace(closing=closing.closing, cancel_requested=False, pausing=pausing))
        self.kept.update({row.key: (row, batch.at) for row in batch.cached if row.run not in foreign})
        for end in batch.ends:
            if end.run not in foreign:
                self._end(end)
        for run in self._owned.get(batch.session, set()).intersection(batch.heard):
            if self.rows[run].pausing is not None:
                self._put(self.rows[run]._replace(pausing="heard"))
        self._write_arrivals(batch, foreign)
        for run, wake_at in batch.parked:
            self._park(batch.session, run, wake_at)
        given = [*batch.released, *(run for run, _ in batch.parked)]
        self._give_back(batch.session, batch.at, self._owned.get(batch.session, set()).intersection(given))

    def _write_arrivals(self, batch: Batch, foreign: frozenset[int]) -> None:
        for wait in batch.waits:
            if wait.run not in foreign:
                self.waits.setdefault(wait.run, {})[wait.name] = wait
        for run, id, node in batch.taken:
            signal = self.signals.get(run, {}).get(id)
            if run not in foreign and signal is not None and signal.taken_by is None:
                self.signals[run][id] = signal._replace(taken_by=node)
        for run in batch.roused:
            self._rouse(run)
        for run in batch.forsaken:
            if run not in foreign:
                self._forsake(run, batch.at)

    def _rouse(self, run: int) -> None:
        """Tell whoever drives a run that something has come for it; one that is parked waits for a worker."""
        row = self.rows.get(run)
        if row is not None and row.finished_at is None:
            parked = row.status == "running" and row.owner is None
            self._put(row._replace(roused=row.owner is not None, status="pending" if parked else row.status))

    def _forsake(self, run: int, at: float) -> None:
        """Cancel what a run that has ended has started, or ask whoever drives it."""
        for child in self._children(run):
            if child.finished_at is not None:
                continue
            if child.closing is not None:  # its outcome is known
                pass
            elif child.owner is not None:
                self._put(child._replace(cancel_requested=True))
            elif child.epilogue:
                self._put(child._replace(status="pending", cancel_requested=True, reason=None, wake_at=None))
            else:
                self._put(child._replace(status="cancelled", finished_at=at, reason=None, wake_at=None))
            self._forsake(child.id, at)

    def _stopped(self, run: int, at: float) -> None:
        """See to the family of a run that was just cancelled while nobody drove it."""
        self._forsake(run, at)
        if (parent := self.rows[run].parent) is not None:
            self._rouse(parent)

    def _park(self, session: int, run: int, wake_at: float | None) -> None:
        if self._owns(session, run):
            row = self.rows[run]
            if not row.roused and not row.cancel_requested and row.pausing is None:
                self._put(row._replace(owner=None, wake_at=wake_at))

    def _note(self, note: NoteRow) -> None:
        self.notes.setdefault(note.run, {}).setdefault(note)

    def _delete(self, run: int) -> None:
        """Forget a run that has ended."""
        row = self.rows.pop(run)
        if row.key is not None:
            del self.keys[row.workflow, row.key]
        for rows in (self.tasks, self.failures, self.notes, self.waits, self.signals):
            rows.pop(run, None)
        for child in self._children(run):
            self._put(child._replace(parent=None))
        if row.schedule is not None:
            self._forget_firing_of(row)
        self._hide(lambda attempt: attempt.run == run)

    def _end(self, end: EndRow) -> None:
        row = self.rows[end.run]._replace(status=end.status, finished_at=end.at, reason=end.reason)
        row = row._replace(owner=None, cancel_requested=False, pausing=None, roused=False, wake_at=None)
        self._put(row._replace(closing=None))
        self._hide(lambda attempt: attempt.run == end.run)

    def _hide(self, gone: Callable[[AttemptRow], bool]) -> None:
        if any(map(gone, self.attempts.values())):
            self.attempts = {key: attempt for key, attempt in self.attempts.items() if not gone(attempt)}

    def _give_back(self, session: int, at: float, runs: set[int] | None = None, *, crash: int = 0) -> int:
        """Take runs from a session, or all of them, with so many crashes more; return how many wait then."""
        given = sorted(self._owned.get(session, ()) if runs is None else runs)
        kept = self._owned.get(session, set()).difference(given)
        self._hide(lambda attempt: attempt.session == session and attempt.run not in kept)
        for run in given:
            self._release(self.rows[run], at, crash)
        return sum(self.rows[run].status == "pending" for run in given)

    def _release(self, row: RunRow, at: float, crash: int) -> None:
        """Cancel a run that was asked to stop, pause one that was asked to pause; any other waits for a worker."""
        if row.cancel_requested and not row.epilogue:
            self._end(EndRow(row.id, "cancelled", at, None))
            self._stopped(row.id, at)
            return
        if crash:
            self._note(NoteRow(row.id, at, "run_recovered", None, f"the worker of session {row.owner} died"))
        given = row._replace(status="pending", owner=None, crashes=row.crashes + crash)
        if row.pausing is None or row.cancel_requested:
            self._put(given._replace(pausing=None))
        else:
            self._pause(given, at)

    def _pause(self, row: RunRow, at: float) -> None:
        self._put(row._replace(status="paused", pausing=None, reason=None))
        self._note(NoteRow(row.id, at, "run_paused", None, ""))


def _same(row: RunRow, run: NewRun) -> bool:
    """Whether a stored run is this new one, stored before."""
    stored = (row.workflow, row.plan, row.input, row.key, row.created_at)
    return stored == (run.workflow, run.plan, run.input, run.key, run.created_at)
