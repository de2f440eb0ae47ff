"""A simulated process's door to the store: here it is killed, here writes are refused and answers lost.

It knows operations by name and batches; what a commit means, whoever watches it knows.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final, Protocol

from cloaca.errors import LeaseLost, StoreError, StoreUnavailable
from cloaca.ports import Batch, Receipt, Transaction
from cloaca.testing.crews import Crew
from cloaca.testing.deviations import ANY, CLAIM, SUBMIT, Deviation, Kind, moved
from cloaca.testing.leases import Leases
from cloaca.testing.loops import NeverRests
from cloaca.testing.outside import Outside
from cloaca.testing.processes import Process
from cloaca.testing.scenes import Scene
from cloaca.testing.threads import wait_for

READS: Final = frozenset({"poll", "history", "run", "plan", "runs", "queues", "due", "open", "close"})
NEWS: Final = frozenset(
    {"submit", "reap", "close_session", "block", "send"}
)  # after which there may be work for others
FAULTS: Final[tuple[Kind, ...]] = ("crash_before_commit", "crash_after_commit", "store_error", "lost_answer")

Faults = Mapping[Kind, Deviation]


class Witness(Protocol):
    """Who looks at every write."""

    def observe(self, process: Process, batch: Batch, disowned: frozenset[int]) -> None:
        """A batch was written."""
        ...

    def tell(self, process: Process, name: str, result: Any) -> None:
        """Another operation was done."""
        ...


class Entrance:
    """The doors of all processes to one store."""

    def __init__(self, scene: Scene, leases: Leases, witness: Witness) -> None:
        self.scene, self._leases, self._witness = scene, leases, witness
        self.crew: Crew
        self.outside: Outside
        self._written: Counter[str] = Counter()
        self._commits = 0  # of what attempts came to, whichever task

    async def operate(self, process: Process, name: str, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Do one operation on the store for a process, and whatever is to go wrong there."""
        if name in READS:
            if name == "poll":
                self._leases.looked(args[0], args[2], kwargs.get("renew_until"))
            return await call(*args, **kwargs)
        batch = args[0] if name in ("transact", "commit") else None
        if batch is None or batch.touched() or batch.held is not None:
            self._leases.written()
        labels = _labels(name, batch)
        due = {each.kind: each for label in labels for each in self._reached(label)}
        if batch is not None and labels:
            due |= {each.kind: each for each in self._reached_any(next(iter(labels)))}
        if due:
            await self._before(process, due)
        result = await self._done(name, call, args, kwargs)
        before = set(self._leases.ends)
        self._leases.follow(name, args, kwargs, result)
        if name == "reap":
            self.crew.mourn(before - self._leases.ends.keys())
        if batch is None:
            self._witness.tell(process, name, result)
        else:
            self._leases.parked(moment for _, moment in batch.parked)
            self._witness.observe(process, batch, result.disowned)
        if name in NEWS or (batch is not None and _gives_back(batch)):
            self.crew.wake_others(process)  # a run may wait for them; what else is written is nothing to them
        for label in labels if self.outside.is_coming else ():
            self.outside.hear(label, self._written[label])
            self._written[label] += 1
        if due:
            await self._after(process, due)
        return result

    async def _done(self, name: str, call: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        try:
            return await call(*args, **kwargs)
        except (LeaseLost, StoreUnavailable):
            raise
        except StoreError as error:
            if name == "transact":  # else it is the body's fault
                self.scene.world.violations.append(f"refused: the store refuses what a worker writes: {error}")
                self.scene.loop.halt(NeverRests())
            raise

    async def _before(self, process: Process, due: Faults) -> None:
        if crash := due.get("crash_before_commit"):
            self.crew.kill(process, f"before the commit of {crash.at}", crash.seconds)
            await self.scene.loop.create_future()
        if error := due.get("store_error"):
            self.scene.log(process, f"*** the store can't be written, at {error.at}")
            raise StoreUnavailable("simulated: the store can't be written")

    async def _after(self, process: Process, due: Faults) -> None:
        if crash := due.get("crash_after_commit"):
            self.crew.kill(process, f"after the commit of {crash.at}", crash.seconds)
            await self.scene.loop.create_future()
        if lost := due.get("lost_answer"):
            self.scene.log(process, f"*** the answer of the store is lost, at {lost.at}")
            raise StoreUnavailable("simulated: the answer is lost")
        if jump := due.get("clock_jump"):
            self.scene.log(process, f"*** every clock jumps by {jump.seconds:g} s")
            self.scene.clock.jump(jump.seconds)

    def _reached(self, label: str) -> list[Deviation]:
        """Return what is to go wrong at a commit, and count it."""
        nth = self.scene.world.labels[label]
        self.scene.world.labels[label] += 1
        if label not in self.scene.places:
            return []
        kinds = (*FAULTS, "clock_jump") if label in (SUBMIT, CLAIM) else FAULTS  # at a task, its body's begin is meant
        return [each for kind in kinds for each in self.scene.taken(kind, label, nth)]

    def _reached_any(self, label: str) -> list[Deviation]:
        """Return what is to go wrong at a commit whichever task it is of, and count it. ``label`` is of one of them."""
        nth, self._commits = self._commits, self._commits + 1
        if ANY not in self.scene.places:
            return []
        return [moved(each, at=label) for kind in FAULTS for each in self.scene.taken(kind, ANY, nth)]


class Door:
    """A process's way to the store. It has every method of the store, whatever the store can do."""

    def __init__(self, entrance: Entrance, process: Process) -> None:
        self._entrance, self._process = entrance, process
        self._backend = entrance.scene.backend

    def __getattr__(self, name: str) -> Any:
        operation = partial(self._entrance.operate, self._process, name, self._backend.call(name))
        setattr(self, name, operation)
        return operation

    async def watch(self, wake: Callable[[], None]) -> bool:
        """Call ``wake`` when another process has left work."""
        self._entrance.crew.watchers[self._process] = wake
        return True

    def transaction(self, *, is_async: bool) -> Transaction:
        """Return a transaction for an attempt."""
        inner = self._backend.transaction(is_async=is_async)
        return SimulatedTransaction(inner, self._entrance, self._process, is_async=is_async)


class SimulatedTransaction:
    """An attempt's transaction. A body waits for its turn before it begins, and its commit goes through the door."""

    def __init__(self, inner: Any, entrance: Entrance, process: Process, *, is_async: bool) -> None:
        self._inner, self._entrance, self._process, self._is_async = inner, entrance, process, is_async
        self._open = entrance.crew.transactions.setdefault(process, set())
        self._open.add(inner)

    @property
    def session(self) -> Any:
        return self._inner.session

    @property
    def refused(self) -> bool:
        found: bool = self._inner.refused
        return found

    @property
    def broken(self) -> StoreUnavailable | None:
        found: StoreUnavailable | None = self._inner.broken
        return found

    def call(self, body: Callable[[], Any]) -> Any:
        if not self._is_async:
            wait_for(asyncio.wrap_future(self._inner._ask()))
        return self._inner.call(body)

    async def commit(self, batch: Batch) -> Receipt:
        commit = partial(self._entrance.scene.backend.commit, self._inner)
        receipt: Receipt = await self._entrance.operate(self._process, "commit", commit, batch)
        return receipt

    async def end(self) -> None:
        await self._inner.end()
        self._open.discard(self._inner)


def _labels(name: str, batch: Batch | None) -> Iterable[str]:
    """Return the places of an operation: the tasks that it commits something of, or ``submit`` or ``claim``."""
    if batch is None:
        return (name,) if name in (SUBMIT, CLAIM) else ()
    if not batch.failures and not batch.tasks and not batch.waits:
        return ()
    return dict.fromkeys(
        [*(row.name for row in batch.failures), *(row.name for row in batch.tasks), *(row.name for row in batch.waits)]
    )


def _gives_back(batch: Batch) -> bool:
    return bool(batch.released or batch.held is not None or batch.freed or any(r.owner is None for r in batch.runs))
