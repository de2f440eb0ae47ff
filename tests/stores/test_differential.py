"""The store in memory and the one on SQLite give the same answers and keep the same rows, whatever is asked of them."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cloaca.errors import LeaseLost, StoreError
from cloaca.ports import Batch, Store
from cloaca.stores.memory import MemoryStore
from cloaca.stores.sql.sqlite import SqliteStore
from tests.stores.rows import AT, PLAN, attempt, end, failure, new_run, note, task

T = TypeVar("T")

RUNS = st.integers(1, 6)
SESSIONS = st.integers(1, 5)
NAMES = st.sampled_from(["a", "b"])
ATTEMPTS = st.integers(1, 2)
TIMES = st.integers(0, 12).map(lambda step: AT + step)
WORKFLOWS = st.sampled_from(["orders", "mail"])
PLANS = st.sampled_from(["digest", "other"])
STATUSES = st.sampled_from(["pending", "running", "blocked", "succeeded", "failed", "cancelled"])
INPUTS = st.sampled_from(["{}", "null", None])
KEYS = st.sampled_from([None, None, "k", "l"])


class Stores(RuleBasedStateMachine):
    """Asks both stores for the same, at random. The words of an error may differ, its kind may not."""

    @initialize()
    def begin(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.directory = tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
        self.memory, self.sqlite = MemoryStore(), SqliteStore(Path(self.directory.name) / "runs.db")
        self.both(lambda store: store.open())

    def both(self, ask: Callable[[Store], Coroutine[Any, Any, T]]) -> T | type[StoreError]:
        """Ask both; the answers are equal."""
        first, second = (self.answer(ask(store)) for store in (self.memory, self.sqlite))
        assert first == second
        return first

    def answer(self, asked: Coroutine[Any, Any, T]) -> T | type[StoreError]:
        try:
            return self.loop.run_until_complete(asked)
        except LeaseLost:
            return LeaseLost
        except StoreError:
            return StoreError

    @rule(until=TIMES)
    def open_session(self, until: float) -> None:
        self.both(lambda store: store.open_session("host:1", AT, until))

    @rule(session=SESSIONS)
    def close_session(self, session: int) -> None:
        self.both(lambda store: store.close_session(session))

    @rule(id=RUNS, workflow=WORKFLOWS, plan=PLANS, input=INPUTS, key=KEYS, created_at=TIMES)
    def submit(self, **changes: Any) -> None:
        self.both(lambda store: store.submit(PLAN, new_run(**changes)))

    @rule(
        session=SESSIONS,
        replay=st.booleans(),
        renew_until=st.none() | TIMES,
        runs=st.lists(
            st.fixed_dictionaries({"id": RUNS, "key": KEYS, "input": INPUTS, "workflow": WORKFLOWS}), max_size=2
        ),
        tasks=st.lists(st.tuples(RUNS, NAMES, TIMES), max_size=3),
        failures=st.lists(st.tuples(RUNS, NAMES, ATTEMPTS), max_size=2),
        attempts=st.lists(st.tuples(RUNS, NAMES), max_size=2),
        settled=st.lists(st.tuples(RUNS, NAMES), max_size=2),
        notes=st.lists(st.tuples(RUNS, TIMES), max_size=2),
        ends=st.lists(st.tuples(RUNS, st.sampled_from(["succeeded", "failed"])), max_size=2, unique_by=lambda e: e[0]),
    )
    def transact(self, session: int, replay: bool, renew_until: float | None, **rows: Any) -> None:
        batch = Batch(session, AT, renew_until, replay=replay, plans=[PLAN])
        batch.runs = [new_run(owner=session, **changes) for changes in rows["runs"]]
        batch.tasks = [task(run, name, finished_at=at) for run, name, at in rows["tasks"]]
        batch.failures = [failure(run, name, number) for run, name, number in rows["failures"]]
        batch.attempts = [attempt(run, name, session=session) for run, name in rows["attempts"]]
        batch.settled = rows["settled"]
        batch.notes = [note(run, at=at) for run, at in rows["notes"]]
        batch.ends = [end(run, status) for run, status in rows["ends"]]
        self.both(lambda store: store.transact(batch))

    @rule(session=SESSIONS, workflows=st.sets(WORKFLOWS), limit=st.integers(0, 3), at=TIMES, suspects=st.booleans())
    def claim(self, session: int, workflows: set[str], limit: int, at: float, suspects: bool) -> None:
        self.both(lambda store: store.claim(session, sorted(workflows), limit, at, suspects=suspects))

    @rule(at=TIMES)
    def reap(self, at: float) -> None:
        self.both(lambda store: store.reap(at))

    @rule(run=RUNS, at=TIMES)
    def cancel(self, run: int, at: float) -> None:
        self.both(lambda store: store.cancel(run, at))

    @rule(session=SESSIONS, run=RUNS)
    def block(self, session: int, run: int) -> None:
        self.both(lambda store: store.block(session, run, "unfit"))

    @rule(plans=st.sets(PLANS))
    def unblock(self, plans: set[str]) -> None:
        self.both(lambda store: store.unblock(sorted(plans)))

    @rule(workflow=st.none() | WORKFLOWS, status=st.none() | STATUSES, before=st.none() | RUNS, limit=st.integers(0, 4))
    def list_runs(self, **filters: Any) -> None:
        self.both(lambda store: store.runs(**filters))

    @rule(session=SESSIONS, workflows=st.sets(WORKFLOWS), at=TIMES)
    def poll(self, session: int, workflows: set[str], at: float) -> None:
        self.both(lambda store: store.poll(session, sorted(workflows), at))

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


TestStores = Stores.TestCase
TestStores.settings = settings(
    max_examples=40,
    stateful_step_count=30,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
