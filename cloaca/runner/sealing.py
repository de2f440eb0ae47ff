"""A store whose payloads are encrypted: it seals rows on their way to another store, and opens them on their way back.

It knows rows and a codec, and neither SQL nor keys. So no store, and nothing that drives runs, knows of encryption;
what a worker can't read is given on as it is stored, for the worker to leave alone.

What is sealed: inputs of runs and schedules, outputs, typed errors, messages and tracebacks of failures, signals,
cached results. Of fingerprints of inputs, a keyed hash is stored. Everything else stays readable: names, ids, keys
that users give, statuses, times, kinds of exceptions, notes and reasons, which are cloaca's own words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from cloaca.errors import CodecNeeded, WrongKey
from cloaca.interpreter.histories import CHILD_KEY
from cloaca.interpreter.offspring import child_key
from cloaca.ports import (
    SEALED,
    Arrivals,
    Batch,
    Cached,
    CacheRow,
    FailureRow,
    History,
    NewRun,
    PayloadCodec,
    PlanRow,
    Receipt,
    RunRow,
    ScheduleRow,
    SignalRow,
    Store,
    Submitted,
    Taken,
    TaskRow,
    Transaction,
    is_sealed,
)

HASHED = re.compile(r"(trigger:.*:#)([0-9a-f]{64})")  # what a trigger without a key of its user's knows an input by
MOST_SENT, LARGEST_SENT = 2048, 4 * 1024 * 1024  # new runs that are remembered, and the characters of their inputs
LOOKED_AT = 20  # of the latest runs, when a runner is opened


async def refuse_unreadable(store: Store, codec: PayloadCodec | None) -> None:
    """Raise CodecNeeded or WrongKey if the latest runs can't be read here: what is written here could not be, either.

    A worker that began nevertheless would store in plain text what others encrypt.
    """
    rows = await store.runs(workflow=None, status=None, before=None, limit=LOOKED_AT)
    found = next((row.input for row in rows if is_sealed(row.input)), None)
    if found is None:
        return
    if codec is None:
        raise CodecNeeded(
            "this database has encrypted payloads, and this runner has no key: give it Runner(codec=Encryption(...)), "
            "or set $CLOACA_ENCRYPTION_KEYS; nothing was changed"
        )
    codec.decode(found.removeprefix(SEALED))


def sealing(store: Store, codec: PayloadCodec | None) -> Store:
    """Return a store that seals payloads; the store itself without a codec."""
    return store if codec is None else cast("Store", SealedStore(store, codec))  # the rest is the other's


class Seals:
    """Seals rows and opens them. A text that is sealed already, as a schedule's input that becomes a run's, stays."""

    def __init__(self, codec: PayloadCodec) -> None:
        self._codec = codec
        self._sent: dict[NewRun, NewRun] = {}
        self._size = 0

    def seal(self, text: str | None) -> str | None:
        """Return a text sealed."""
        return text if text is None or is_sealed(text) else SEALED + self._codec.encode(text)

    def text(self, text: str) -> str:
        """Return a text for people sealed, whatever it begins with."""
        return SEALED + self._codec.encode(text)

    def open(self, text: str | None) -> str | None:
        """Return what was sealed; a text that was stored before there was a codec as it is. Raises WrongKey."""
        return self._codec.decode(text.removeprefix(SEALED)) if text is not None and is_sealed(text) else text

    def shown(self, text: str) -> str:
        """Return a text for people; as it is stored, if it can't be opened."""
        try:
            return self.open(text) or ""
        except WrongKey:
            return text

    def key(self, key: str | None) -> str | None:
        """Return a key of a run in which a fingerprint of its input is a keyed one."""
        if key is None:
            return None
        if key.startswith(CHILD_KEY):
            return CHILD_KEY + self._codec.digest(key)[:32]
        hashed = HASHED.fullmatch(key)
        return key if hashed is None else hashed[1] + self._codec.digest(hashed[2])

    def digest(self, key: str) -> str:
        """Return the keyed hash of a cached result's key."""
        return self._codec.digest(key)

    # Rows

    def new_run(self, run: NewRun) -> NewRun:
        """Return a new run sealed; the same run alike for a while, so that a store knows it if it is sent again."""
        if (known := self._sent.get(run)) is not None:
            return known
        sealed = self._sent[run] = run._replace(input=self.seal(run.input), key=self.key(run.key))
        self._size += len(sealed.input or "")
        while len(self._sent) > MOST_SENT or self._size > LARGEST_SENT:
            self._size -= len(self._sent.pop(next(iter(self._sent))).input or "")
        return sealed

    def run(self, row: RunRow) -> RunRow:
        """Return a run opened; what a child run is known by is made again from what it was made from."""
        row = row._replace(input=self.open(row.input))
        if row.key is None or not row.key.startswith(CHILD_KEY) or row.parent is None or row.parent_task is None:
            return row
        return row._replace(key=child_key(row.parent, row.parent_task, row.input))

    def run_or_sealed(self, row: RunRow) -> RunRow:
        """Return a run opened, or as it is stored if there is no key for it."""
        try:
            return self.run(row)
        except WrongKey:
            return row

    def failure(self, row: FailureRow) -> FailureRow:
        """Return a failure sealed."""
        message, traceback = self.text(row.message), self.text(row.traceback)
        return row._replace(message=message, traceback=traceback, error=self.seal(row.error))

    def opened_failure(self, row: FailureRow) -> FailureRow:
        """Return a failure opened."""
        message, traceback = self.shown(row.message), self.shown(row.traceback)
        return row._replace(message=message, traceback=traceback, error=self.open(row.error))

    def task(self, row: TaskRow) -> TaskRow:
        """Return a task sealed."""
        return row._replace(output=self.seal(row.output))

    def cached(self, row: CacheRow) -> CacheRow:
        """Return a result that is kept, sealed."""
        return row._replace(key=self.digest(row.key), output=SEALED + self._codec.encode(row.output))

    def signal(self, row: SignalRow) -> SignalRow:
        """Return a signal opened."""
        return row._replace(payload=self.open(row.payload) or "")

    def batch(self, batch: Batch) -> Batch:
        """Return a batch sealed."""
        return replace(
            batch,
            runs=[self.new_run(run) for run in batch.runs],
            children=[self.new_run(run) for run in batch.children],
            tasks=[self.task(row) for row in batch.tasks],
            failures=[self.failure(row) for row in batch.failures],
            cached=[self.cached(row) for row in batch.cached],
        )

    def history(self, history: History) -> History:
        """Return all about a run opened. Raises WrongKey."""
        return history._replace(
            run=self.run(history.run),
            tasks=[row._replace(output=self.open(row.output)) for row in history.tasks],
            failures=[self.opened_failure(row) for row in history.failures],
            signals=[self.signal(row) for row in history.signals],
            children=[self.run(row) for row in history.children],
        )

    def arrivals(self, arrivals: Arrivals) -> Arrivals:
        """Return what has come for a run opened. Raises WrongKey."""
        signals = [self.signal(row) for row in arrivals.signals]
        return arrivals._replace(signals=signals, children=[self.run(row) for row in arrivals.children])


def _or_sealed(opened: Callable[[Any], Any], rows: Sequence[Any]) -> list[Any]:
    """Return rows opened, those for which there is no key as they are stored."""
    found = []
    for row in rows:
        try:
            found.append(opened(row))
        except WrongKey:
            found.append(row)
    return found


class SealedStore:
    """A ``Store`` on another one. What has nothing to do with payloads is the other's own."""

    def __init__(self, inner: Store, codec: PayloadCodec) -> None:
        self.inner, self._seals = inner, Seals(codec)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    # New runs

    async def transact(self, batch: Batch) -> Receipt:
        """As ``Store``."""
        receipt = await self.inner.transact(self._seals.batch(batch))
        return await self._answered(batch, receipt)

    async def _answered(self, batch: Batch, receipt: Receipt) -> Receipt:
        runs = [*batch.runs, *batch.children]
        if all(found.agrees for found in receipt.submitted):
            return receipt
        pairs = zip(runs, receipt.submitted, strict=True)
        return receipt._replace(submitted=[await self._compared(run, found) for run, found in pairs])

    async def _compared(self, run: NewRun, found: Submitted) -> Submitted:
        """Say whether the run that has the key has the same input: no input is sealed twice alike."""
        if found.agrees or (older := await self.inner.run(found.id)) is None or older.workflow != run.workflow:
            return found
        same_key = older.key == self._seals.key(run.key)
        return found._replace(agrees=same_key and self._seals.run_or_sealed(older).input == self._seals.open(run.input))

    async def submit(self, plan: PlanRow, run: NewRun) -> Submitted:
        """As ``Store``."""
        return await self._compared(run, await self.inner.submit(plan, self._seals.new_run(run)))

    async def fork(self, plan: PlanRow, run: NewRun, *, origin: int, tasks: Sequence[str], detail: str) -> int | None:
        """As ``Store``. What is copied stays sealed as it is."""
        return await self.inner.fork(plan, self._seals.new_run(run), origin=origin, tasks=tasks, detail=detail)

    async def hand_over(
        self, session: int, plans: Sequence[PlanRow], runs: Sequence[NewRun], at: float
    ) -> list[str | None]:
        """As ``Store``."""
        return await self.inner.hand_over(session, plans, [self._seals.new_run(run) for run in runs], at)

    def transaction(self, *, is_async: bool) -> Transaction:
        """As ``Store``."""
        return SealedTransaction(self.inner.transaction(is_async=is_async), self._seals)

    # What is read. A worker is given what it can't read as it is stored, and leaves it alone.

    async def claim(
        self, session: int, workflows: Sequence[str], limit: int, at: float, *, suspects: bool
    ) -> list[History]:
        """As ``Store``; a history that can't be read here is given on sealed."""
        return _or_sealed(self._seals.history, await self.inner.claim(session, workflows, limit, at, suspects=suspects))

    async def claim_refused(self, session: int, serves: Mapping[str, str], limit: int, at: float) -> list[History]:
        """As ``Store``; a history that can't be read here is given on sealed."""
        return _or_sealed(self._seals.history, await self.inner.claim_refused(session, serves, limit, at))

    async def hear(self, session: int, runs: Sequence[int]) -> list[Arrivals]:
        """As ``Store``; what can't be read here is given on sealed."""
        return _or_sealed(self._seals.arrivals, await self.inner.hear(session, runs))

    async def history(self, run: int) -> History | None:
        """As ``Store``. Raises WrongKey."""
        found = await self.inner.history(run)
        return None if found is None else self._seals.history(found)

    async def run(self, run: int) -> RunRow | None:
        """As ``Store``. Raises WrongKey."""
        found = await self.inner.run(run)
        return None if found is None else self._seals.run(found)

    async def runs(self, *, workflow: str | None, status: str | None, before: int | None, limit: int) -> list[RunRow]:
        """As ``Store``; a run that can't be read here is given on sealed."""
        return _or_sealed(
            self._seals.run, await self.inner.runs(workflow=workflow, status=status, before=before, limit=limit)
        )

    async def pause(self, run: int, at: float) -> RunRow | None:
        """As ``Store``."""
        found = await self.inner.pause(run, at)
        return None if found is None else self._seals.run_or_sealed(found)

    async def resume(self, run: int, at: float) -> RunRow | None:
        """As ``Store``."""
        found = await self.inner.resume(run, at)
        return None if found is None else self._seals.run_or_sealed(found)

    async def send(self, run: int, name: str, payload: str, at: float, *, nodes: Sequence[str]) -> bool | None:
        """As ``Store``."""
        return await self.inner.send(run, name, self._seals.text(payload), at, nodes=nodes)

    # Schedules: an input goes sealed from a schedule to its runs

    async def put_schedule(self, row: ScheduleRow, seen: int | None) -> bool:
        """As ``Store``."""
        return await self.inner.put_schedule(row._replace(input=self._seals.seal(row.input)), seen)

    async def schedule(self, name: str) -> ScheduleRow | None:
        """As ``Store``. Raises WrongKey."""
        found = await self.inner.schedule(name)
        return None if found is None else self._with_input(found)

    async def schedules(self, *, after: str | None, limit: int) -> list[ScheduleRow]:
        """As ``Store``; a schedule that can't be read here is given on sealed."""
        return _or_sealed(self._with_input, await self.inner.schedules(after=after, limit=limit))

    async def due(self, workflows: Sequence[str], at: float, limit: int) -> tuple[float, list[ScheduleRow]]:
        """As ``Store``; what can't be read here is given on sealed, and becomes a run's input so."""
        now, rows = await self.inner.due(workflows, at, limit)
        return now, _or_sealed(self._with_input, rows)

    async def take_firings(self, session: int, workflows: Sequence[str], limit: int) -> list[Taken]:
        """As ``Store``; what can't be read here is given on sealed, and becomes a run's input so."""
        return _or_sealed(self._with_input, await self.inner.take_firings(session, workflows, limit))

    def _with_input(self, row: Any) -> Any:
        return row._replace(input=self._seals.open(row.input))

    # Results that are kept

    async def cached(self, keys: Sequence[str], at: float) -> list[Cached]:
        """As ``Store``; what can't be read here is not there. What was kept before there was a codec isn't, either."""
        wanted = {self._seals.digest(key): key for key in keys}
        rows = _or_sealed(
            lambda row: row._replace(output=self._seals.open(row.output)), await self.inner.cached(list(wanted), at)
        )
        return [row._replace(key=wanted[row.key]) for row in rows if not is_sealed(row.output)]


class SealedTransaction:
    """A ``Transaction`` whose commit is sealed."""

    def __init__(self, inner: Transaction, seals: Seals) -> None:
        self._inner, self._seals = inner, seals

    @property
    def session(self) -> Any:
        """As ``Transaction``."""
        return self._inner.session

    @property
    def refused(self) -> bool:
        """As ``Transaction``."""
        return self._inner.refused

    @property
    def broken(self) -> Any:
        """As ``Transaction``."""
        return self._inner.broken

    def call(self, body: Callable[[], Any]) -> Any:
        """As ``Transaction``."""
        return self._inner.call(body)

    async def commit(self, batch: Batch) -> Receipt:
        """As ``Transaction``."""
        return await self._inner.commit(self._seals.batch(batch))

    async def end(self) -> None:
        """As ``Transaction``."""
        await self._inner.end()
