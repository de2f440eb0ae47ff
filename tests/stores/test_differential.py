"""All stores give the same answers and keep the same rows, whatever is asked of them."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from cloaca.errors import LeaseLost, StoreError
from cloaca.ports import Batch, MoveRow, QueueRow, SlotRow, Store, WaitRow
from cloaca.stores.memory import MemoryStore
from cloaca.stores.sql.sqlite import SqliteStore
from tests.stores.clocked import ClockedStore, drop, new_schema
from tests.stores.rows import AT, PLAN, attempt, end, failure, new_run, note, slot, task

T = TypeVar("T")

RUNS = st.integers(1, 6)
SESSIONS = st.integers(1, 5)
NAMES = st.sampled_from(["a", "b"])
ATTEMPTS = st.integers(1, 2)
TIMES = st.integers(0, 12).map(lambda step: AT + step)
WORKFLOWS = st.sampled_from(["orders", "mail"])
PLANS = st.sampled_from(["digest", "other"])
OTHER_PLAN = PLAN._replace(digest="other", version="v2")
VERSIONS = st.sampled_from(["v1", "v2"])
SERVES = st.dictionaries(WORKFLOWS, VERSIONS)
STATUSES = st.sampled_from(["pending", "running", "paused", "blocked", "succeeded", "failed", "cancelled"])
INPUTS = st.sampled_from(["{}", "null", None])
PRIORITIES = st.sampled_from([0, 0, 1, -1])
QUEUES = st.sampled_from(["mail", "web"])
TICKETS = st.integers(1, 6)
KEYS = st.sampled_from([None, None, "k", "l"])


class Stores(RuleBasedStateMachine):
    """Asks two stores for the same, at random. The words of an error may differ, its kind may not."""

    @initialize()
    def begin(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.directory = tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
        self.memory, self.other = MemoryStore(), self.other_store(Path(self.directory.name))
        self.both(lambda store: store.open())

    def other_store(self, folder: Path) -> Store:
        """A store that nobody has used."""
        raise NotImplementedError

    def both(self, ask: Callable[[Store], Coroutine[Any, Any, T]]) -> T | type[StoreError]:
        """Ask both; the answers are equal."""
        first, second = (self.answer(ask(store)) for store in (self.memory, self.other))
        assert first == second
        return first

    def answer(self, asked: Coroutine[Any, Any, T]) -> T | type[StoreError]:
        try:
            return self.loop.run_until_complete(asked)
        except LeaseLost:
            return LeaseLost
        except StoreError:
            return StoreError

    @rule(until=TIMES, serves=SERVES)
    def open_session(self, until: float, serves: dict[str, str]) -> None:
        self.both(lambda store: store.open_session("host:1", AT, until, serves=serves))

    @rule(session=SESSIONS, at=TIMES)
    def close_session(self, session: int, at: float) -> None:
        self.both(lambda store: store.close_session(session, at=at))

    @rule(id=RUNS, workflow=WORKFLOWS, plan=PLANS, input=INPUTS, key=KEYS, created_at=TIMES, priority=PRIORITIES)
    def submit(self, **changes: Any) -> None:
        self.both(lambda store: store.submit(PLAN, new_run(**changes)))

    @rule(
        session=SESSIONS,
        replay=st.booleans(),
        renew_until=st.none() | TIMES,
        runs=st.lists(
            st.fixed_dictionaries(
                {"id": RUNS, "key": KEYS, "input": INPUTS, "workflow": WORKFLOWS, "priority": PRIORITIES}
            ),
            max_size=2,
        ),
        tasks=st.lists(st.tuples(RUNS, NAMES, TIMES), max_size=3),
        failures=st.lists(st.tuples(RUNS, NAMES, ATTEMPTS), max_size=2),
        attempts=st.lists(st.tuples(RUNS, NAMES), max_size=2),
        settled=st.lists(st.tuples(RUNS, NAMES), max_size=2),
        notes=st.lists(st.tuples(RUNS, TIMES), max_size=2),
        ends=st.lists(st.tuples(RUNS, st.sampled_from(["succeeded", "failed"])), max_size=2, unique_by=lambda e: e[0]),
        at=TIMES,
        held=st.none() | st.lists(RUNS, max_size=4, unique=True),
        absolved=st.lists(RUNS, max_size=2),
        heard=st.lists(RUNS, max_size=3),
        released=st.lists(RUNS, max_size=2, unique=True),
        waits=st.lists(st.tuples(RUNS, NAMES, st.none() | TIMES), max_size=2, unique_by=lambda wait: wait[:2]),
        taken=st.lists(st.tuples(RUNS, st.integers(1, 4), NAMES), max_size=2, unique_by=lambda taken: taken[1]),
        children=st.lists(st.tuples(RUNS, RUNS, st.booleans()), max_size=2),
        roused=st.lists(RUNS, max_size=2),
        forsaken=st.lists(RUNS, max_size=2, unique=True),
        moved=st.lists(
            st.builds(MoveRow, RUNS, PLANS, VERSIONS, st.booleans()), max_size=2, unique_by=lambda move: move.run
        ),
        parked=st.lists(st.tuples(RUNS, st.none() | TIMES), max_size=2, unique_by=lambda parked: parked[0]),
        freed=st.lists(TICKETS, max_size=3),
    )
    def transact(self, session: int, replay: bool, renew_until: float | None, **rows: Any) -> None:
        batch = Batch(session, rows["at"], renew_until, replay=replay, plans=[PLAN])
        batch.held, batch.absolved = rows["held"], rows["absolved"]
        batch.heard, batch.released, batch.freed = rows["heard"], rows["released"], rows["freed"]
        batch.runs = [new_run(owner=session, **changes) for changes in rows["runs"]]
        batch.tasks = [task(run, name, finished_at=at) for run, name, at in rows["tasks"]]
        batch.failures = [failure(run, name, number) for run, name, number in rows["failures"]]
        batch.attempts = [attempt(run, name, session=session) for run, name in rows["attempts"]]
        batch.settled, batch.moved = rows["settled"], rows["moved"]
        batch.notes = [note(run, at=at) for run, at in rows["notes"]]
        batch.ends = [end(run, status) for run, status in rows["ends"]]
        batch.waits = [WaitRow(run, name, AT, until) for run, name, until in rows["waits"]]
        batch.children = [
            new_run(id, parent=parent, parent_task="a", key=f"child {parent}", owner=session if owned else None)
            for id, parent, owned in rows["children"]
        ]
        batch.taken, batch.roused = rows["taken"], rows["roused"]
        batch.forsaken, batch.parked = rows["forsaken"], rows["parked"]
        self.both(lambda store: store.transact(batch))

    @rule(session=SESSIONS, workflows=st.sets(WORKFLOWS), limit=st.integers(0, 3), at=TIMES, suspects=st.booleans())
    def claim(self, session: int, workflows: set[str], limit: int, at: float, suspects: bool) -> None:
        self.both(lambda store: store.claim(session, sorted(workflows), limit, at, suspects=suspects))

    @rule(
        queues=st.lists(
            st.builds(
                QueueRow,
                QUEUES,
                st.none() | st.integers(1, 2),
                *[st.just(None)] * 2,
            )
            | st.builds(
                QueueRow, QUEUES, st.none() | st.integers(1, 2), st.integers(1, 2), st.sampled_from([1.0, 4.0])
            ),
            max_size=2,
            unique_by=lambda queue: queue.name,
        )
    )
    def declare(self, queues: list[QueueRow]) -> None:
        self.both(lambda store: store.declare(queues))
        self.both(lambda store: store.queues())

    @rule(
        session=SESSIONS,
        wanted=st.lists(st.builds(slot, TICKETS, queue=QUEUES, priority=PRIORITIES, run=RUNS), max_size=4),
        at=TIMES,
    )
    def acquire(self, session: int, wanted: list[SlotRow], at: float) -> None:
        self.both(lambda store: store.acquire(session, wanted, at))

    @rule(at=TIMES)
    def reap(self, at: float) -> None:
        self.both(lambda store: store.reap(at))

    @rule(run=RUNS, at=TIMES)
    def cancel(self, run: int, at: float) -> None:
        self.both(lambda store: store.cancel(run, at))

    @rule(ended_before=TIMES, limit=st.integers(0, 3))
    def prune(self, ended_before: float, limit: int) -> None:
        self.both(lambda store: store.prune(ended_before, limit))
        self.both(lambda store: store.plan(PLAN.digest))

    @rule(run=RUNS, at=TIMES)
    def pause(self, run: int, at: float) -> None:
        self.both(lambda store: store.pause(run, at))

    @rule(run=RUNS, at=TIMES)
    def resume(self, run: int, at: float) -> None:
        self.both(lambda store: store.resume(run, at))

    @rule(run=RUNS, at=TIMES, anew=st.sets(NAMES))
    def retry(self, run: int, at: float, anew: set[str]) -> None:
        row = self.memory.rows.get(run)
        if row is not None and row.status in ("failed", "cancelled", "blocked"):
            self.both(lambda store: store.retry(row, at, anew=sorted(anew), earlier='{"a":1}', detail="again"))

    @rule(id=RUNS, origin=RUNS, tasks=st.sets(NAMES), at=TIMES)
    def fork(self, id: int, origin: int, tasks: set[str], at: float) -> None:
        run = new_run(id, created_at=at)
        self.both(lambda store: store.fork(PLAN, run, origin=origin, tasks=sorted(tasks), detail="from"))

    @rule(run=RUNS, name=NAMES, at=TIMES, nodes=st.sets(NAMES))
    def send(self, run: int, name: str, at: float, nodes: set[str]) -> None:
        self.both(lambda store: store.send(run, name, "{}", at, nodes=sorted(nodes)))

    @rule(session=SESSIONS, runs=st.sets(RUNS))
    def hear(self, session: int, runs: set[int]) -> None:
        self.both(lambda store: store.hear(session, sorted(runs)))

    @rule(at=TIMES, limit=st.integers(0, 2))
    def wake(self, at: float, limit: int) -> None:
        self.both(lambda store: store.wake(at, limit))

    @rule(session=SESSIONS, run=RUNS, version=st.just("") | VERSIONS)
    def block(self, session: int, run: int, version: str) -> None:
        self.both(lambda store: store.block(session, run, "unfit", version))

    @rule(serves=SERVES)
    def reconsider(self, serves: dict[str, str]) -> None:
        self.both(lambda store: store.reconsider(serves))

    @rule(session=SESSIONS, serves=SERVES)
    def serve(self, session: int, serves: dict[str, str]) -> None:
        self.both(lambda store: store.serve(session, serves))

    @rule(session=SESSIONS, serves=SERVES, limit=st.integers(0, 3), at=TIMES)
    def claim_refused(self, session: int, serves: dict[str, str], limit: int, at: float) -> None:
        self.both(lambda store: store.claim_refused(session, serves, limit, at))

    @rule(run=RUNS, at=TIMES, anew=st.sets(NAMES), epilogue=st.booleans())
    def upgrade(self, run: int, at: float, anew: set[str], epilogue: bool) -> None:
        row = self.memory.rows.get(run)
        if row is not None:
            how: dict[str, Any] = {"anew": sorted(anew), "earlier": None, "epilogue": epilogue, "detail": "again"}
            self.both(lambda store: store.upgrade(row, OTHER_PLAN, at, **how))

    @rule(workflow=st.none() | WORKFLOWS, status=st.none() | STATUSES, before=st.none() | RUNS, limit=st.integers(0, 4))
    def list_runs(self, **filters: Any) -> None:
        self.both(lambda store: store.runs(**filters))

    @rule(session=SESSIONS, workflows=st.sets(WORKFLOWS), at=TIMES, serves=SERVES)
    def poll(self, session: int, workflows: set[str], at: float, serves: dict[str, str]) -> None:
        self.both(lambda store: store.poll(session, sorted(workflows), at, serves=serves))

    @invariant()
    def the_rows_are_the_same(self) -> None:
        for run in self.memory.rows:
            self.both(lambda store, run=run: store.history(run))  # type: ignore[misc]  # a default binds the name
        listed = self.both(lambda store: store.runs(workflow=None, status=None, before=None, limit=100))
        assert isinstance(listed, list)
        assert len(listed) == len(self.memory.rows)

    def teardown(self) -> None:
        self.both(lambda store: store.close())
        self.loop.close()
        self.directory.cleanup()


def options(examples: int, steps: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow],
    )


class OnSqlite(Stores):
    """Memory and SQLite."""

    def other_store(self, folder: Path) -> Store:
        return SqliteStore(folder / "runs.db")


class OnPostgres(Stores):
    """Memory and PostgreSQL."""

    url = ""
    schemas: ClassVar[list[str]] = []

    def other_store(self, folder: Path) -> Store:
        self.schemas.append(new_schema())
        return ClockedStore(self.url, schema=self.schemas[-1])


TestOnSqlite = OnSqlite.TestCase
TestOnSqlite.settings = options(40, 30)


def test_on_postgres(postgres: str) -> None:
    OnPostgres.url = postgres
    try:
        run_state_machine_as_test(OnPostgres, settings=options(20, 25))
    finally:
        asyncio.run(drop(postgres, *OnPostgres.schemas))
