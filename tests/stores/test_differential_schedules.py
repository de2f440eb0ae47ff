"""All stores give the same answers about schedules, and keep the same ledger, whatever else happens to runs."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule, run_state_machine_as_test

from cloaca.ports import Move, Store
from cloaca.stores.sql.sqlite import SqliteStore
from tests.stores.clocked import drop
from tests.stores.rows import AT, FAR, PLAN, new_run, schedule
from tests.stores.test_differential import (
    RUNS,
    SESSIONS,
    TIMES,
    WORKFLOWS,
    OnPostgres,
    Stores,
    options,
)

NAMES = st.sampled_from(["daily", "weekly"])
INSTANTS = st.integers(0, 7).map(lambda step: AT - 10.0 + step)
OVERLAPS = st.sampled_from(["allow", "skip", "queue", "cancel"])
REVISIONS = st.integers(0, 4)
REACHED: Counter[str | None] = Counter()  # what has become of firings, over all examples


class Schedules(Stores):
    """Asks for what schedules need, too."""

    @initialize(due_at=TIMES)
    def begin(self, due_at: float) -> None:
        """There are two schedules and a session that lives long, or nothing would ever be handed over."""
        super().begin()
        rows = [schedule(due_at=due_at), schedule(name="weekly", workflow="mail", due_at=due_at)]
        for row in rows:
            self.both(lambda store, row=row: store.put_schedule(row, None))  # type: ignore[misc]  # a default binds it
        self.both(lambda store: store.open_session("host:1", AT, FAR))

    def living(self, session: int) -> int:
        """Return a session that lives, most often."""
        found = sorted(self.memory.sessions)
        return found[session % len(found)] if found and session < 5 else session

    @rule(name=NAMES, workflow=WORKFLOWS, due_at=st.none() | TIMES, seen=st.none() | REVISIONS)
    def put_schedule(self, name: str, workflow: str, due_at: float | None, seen: int | None) -> None:
        revision = 0 if seen is None else seen + 1
        row = schedule(name=name, workflow=workflow, due_at=due_at, revision=revision)
        self.both(lambda store: store.put_schedule(row, seen))

    @rule(name=NAMES)
    def drop_schedule(self, name: str) -> None:
        self.both(lambda store: store.drop_schedule(name))

    @rule(workflows=st.sets(WORKFLOWS), at=TIMES, limit=st.integers(0, 2))
    def due(self, workflows: set[str], at: float, limit: int) -> None:
        self.both(lambda store: store.due(sorted(workflows), at, limit))

    @rule(
        session=SESSIONS,
        moves=st.lists(
            st.tuples(NAMES, REVISIONS, st.sets(INSTANTS, max_size=3), OVERLAPS, st.none() | TIMES),
            min_size=1, max_size=2, unique_by=lambda move: move[0],
        ),
    )  # fmt: skip
    def fire(self, session: int, moves: list[Any]) -> None:
        rows = []
        for name, seen, instants, overlap, due_at in moves:
            known = self.memory.known_schedules.get(name)
            workflow = "orders" if known is None else known.workflow
            current = seen if known is None or seen == 4 else known.revision  # most often as it is
            rows.append(Move(name, workflow, current, tuple(sorted(instants)), overlap, 1, AT, due_at, due_at))
        self.both(lambda store: store.fire(self.living(session), rows, AT))
        self.hand_over_what_is_its_own(session)

    @rule(name=NAMES, instants=st.sets(INSTANTS, max_size=3), at_most=st.none() | st.integers(1, 2))
    def add_firings(self, name: str, instants: set[float], at_most: int | None) -> None:
        self.both(lambda store: store.add_firings(name, sorted(instants), kind="backfill", at_most=at_most, at=AT))

    @rule(session=SESSIONS, workflows=st.sets(WORKFLOWS), limit=st.integers(0, 3))
    def take_firings(self, session: int, workflows: set[str], limit: int) -> None:
        self.both(lambda store: store.take_firings(self.living(session), sorted(workflows), limit))
        self.hand_over_what_is_its_own(session)

    @rule(
        session=SESSIONS,
        runs=st.lists(st.tuples(RUNS, NAMES, INSTANTS), min_size=1, max_size=3, unique_by=lambda run: run[1:]),
    )
    def hand_over(self, session: int, runs: list[tuple[int, str, float]]) -> None:
        self.start(session, sorted(runs, key=lambda run: run[1:]))

    def hand_over_what_is_its_own(self, session: int) -> None:
        """All but what a session of a low number has, which is left for others."""
        living = self.living(session)
        own = sorted(key for key, firing in self.memory.ledger.items() if firing.owner == living)
        if own and session > 1:
            self.start(session, [(number, *key) for number, key in enumerate(own, 1)])

    def start(self, session: int, runs: list[tuple[int, str, float]]) -> None:
        rows = [
            new_run(id, key=f"{name} {instant}", schedule=name, scheduled_for=instant, input="{}")
            for id, name, instant in runs
        ]
        states = self.both(lambda store: store.hand_over(self.living(session), [PLAN], rows, AT))
        REACHED.update(states if isinstance(states, list) else [])

    @invariant()
    def the_ledgers_are_the_same(self) -> None:
        self.both(lambda store: store.schedules(after=None, limit=9))
        for name in ("daily", "weekly"):
            self.both(lambda store, name=name: store.firings(name, before=None, limit=99))  # type: ignore[misc]  # a default binds the name
            self.both(lambda store, name=name: store.firing_counts(name, 5.0))  # type: ignore[misc]  # as above


class SchedulesOnSqlite(Schedules):
    """Memory and SQLite."""

    def other_store(self, folder: Path) -> Store:
        return SqliteStore(folder / "runs.db")


class SchedulesOnPostgres(Schedules, OnPostgres):
    """Memory and PostgreSQL."""

    other_store = OnPostgres.other_store


def test_on_sqlite() -> None:
    REACHED.clear()
    run_state_machine_as_test(SchedulesOnSqlite, settings=options(160, 30))
    assert all(REACHED[state] > 0 for state in ("handed_over", "claimed", "skipped", None)), REACHED


def test_on_postgres(postgres: str) -> None:
    OnPostgres.url = postgres
    try:
        run_state_machine_as_test(SchedulesOnPostgres, settings=options(10, 25))
    finally:
        asyncio.run(drop(postgres, *OnPostgres.schemas))
