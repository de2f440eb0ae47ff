"""Writing a batch in memory: what is fenced, what is left out, and in which order its rows are written.

It knows rows and their owners, not what a batch is made for.
"""

from __future__ import annotations

import asyncio

from cloaca.errors import StoreError
from cloaca.ports import Batch, EndRow, NewRun, Receipt, Submitted
from cloaca.stores.memory_rows import MemoryRows


class MemoryBatches(MemoryRows):
    """The part of the memory store that writes what workers have done."""

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
        self.sessions[batch.session] = batch.renewed(self.sessions[batch.session])
        if batch.held is not None:
            self._give_back(batch.session, batch.at, unheld)
        for plan in batch.plans:
            self.plans.setdefault(plan.digest, plan)
        ended = {end.run for end in batch.ends if batch.replay and end.run in foreign and self._has_ended(end)}
        submitted += [self._insert_child(child, foreign) for child in batch.children]
        self._write(batch, foreign)
        return Receipt(submitted, foreign - ended)

    # What has been stored

    def _unheld(self, batch: Batch) -> set[int]:
        """Return the runs that the session owns without knowing it."""
        return set() if batch.held is None else self._owned.get(batch.session, set()).difference(batch.held)

    def _has_ended(self, end: EndRow) -> bool:
        row = self.rows.get(end.run)
        return row is not None and (row.owner, row.status, row.finished_at, row.reason) == (None, *end[1:])

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

    def _insert_child(self, child: NewRun, foreign: frozenset[int]) -> Submitted:
        if child.parent in foreign:
            return Submitted(child.id, created=False, agrees=False)
        return self._insert(child)

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

    def _park(self, session: int, run: int, wake_at: float | None) -> None:
        if self._owns(session, run):
            row = self.rows[run]
            if not row.roused and not row.cancel_requested and row.pausing is None:
                self._put(row._replace(owner=None, wake_at=wake_at))
