"""Every statement finds its rows by an index, so that its cost does not grow with the runs that are stored."""

from __future__ import annotations

import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from cloaca.ports import Batch
from cloaca.stores.sql.slots import GRANT
from cloaca.stores.sql.sqlite import SqliteStore
from cloaca.stores.sql.tables import QUEUED
from tests.stores.asynchronous import asynchronous
from tests.stores.conformance import CHECKS
from tests.stores.conformance.suite import Check
from tests.stores.rows import AT, PLAN, crash, end, new_run, note, owned, session_of, task, waiting
from tests.stores.traces import Trace, driver

# Of all tables, only these are ever looked through: the workers that are alive, the plans, for those without runs, and
# the queues.
SCANS = re.compile(
    r"SCAN (?!cloaca_session|cloaca_plan|cloaca_queue|json_each|wanted|mine|its|CONSTANT ROW|sqlite_master|cloaca_meta"
    r"|named|\(subquery|f USING INDEX cloaca_firing_open)"
)
# The newest runs, whichever they are, are the last of the table: the limit ends the scan.
NEWEST = re.compile(r"FROM cloaca_run ORDER BY cloaca_run.id DESC\s+LIMIT")
BULKY = {"any_text_comes_back_as_it_was", "many_runs_are_written_and_claimed_at_once"}


def shape(statement: str) -> str:
    """A statement without its values."""
    return re.sub(r"'(?:[^']|'')*'|\b\d[\d.e+]*\b", "?", statement)


def plan_of(connection: sqlite3.Connection, statement: str) -> list[str]:
    return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")]


@asynchronous
async def traced(path: Path, check: Check) -> list[str]:
    """Return what a check has sent to a database that is made already."""
    store = SqliteStore(path)
    await store.open()
    trace = Trace(store)
    await check(store)
    await store.close()
    return trace.statements


@asynchronous
async def made(path: Path) -> None:
    """Make an empty database."""
    store = SqliteStore(path)
    await store.open()
    await store.close()


def test_no_statement_looks_through_a_table(quick_path: Path) -> None:
    """Each check has a copy of an empty database, and the patience of one test."""
    empty = quick_path / "empty.db"
    made(empty)
    statements: dict[str, str] = {}
    for number, name in enumerate(sorted(CHECKS.keys() - BULKY)):
        path = quick_path / f"{number}.db"
        shutil.copy(empty, path)
        statements.update((shape(statement), statement) for statement in traced(path, CHECKS[name]))
    verbs = ("SELECT", "INSERT", "UPDATE", "DELETE")
    asked = [statement for statement in statements.values() if statement.startswith(verbs)]
    assert len(asked) > 40
    with closing(sqlite3.connect(empty)) as connection:
        plans = {statement: plan_of(connection, statement) for statement in asked}
    scans = {statement: plan for statement, plan in plans.items() if any(map(SCANS.match, plan))}
    assert [statement for statement in scans if not NEWEST.search(statement)] == []


@asynchronous
async def test_the_planner_takes_the_index_that_was_made_for_it(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "runs.db")
    await store.open()
    trace = Trace(store)
    session = await session_of(store)
    await store.claim(session, ["orders"], 5, AT, suspects=False)
    await store.claim(session, ["orders"], 5, AT, suspects=True)
    await store.poll(session, ["orders"], AT)
    await store.wake(AT, 5)
    await store.hear(session, [1])
    await store.take_firings(session, ["orders"], 5)
    await store.reconsider({"orders": "v1"})
    await store.claim_refused(session, {"orders": "v1"}, 5, AT)
    await store.serve(session, {"orders": "v1"})
    await store.prune(AT, 5)
    await store.close_session(session, at=AT)
    for workflow, status in (("orders", "failed"), ("orders", None), (None, "failed")):
        await store.runs(workflow=workflow, status=status, before=7, limit=5)
    connection = driver(store._writing)
    connection.set_trace_callback(None)
    plans = [
        plan_of(connection, statement)
        for statement in trace.statements
        if statement[:3] in ("SEL", "UPD", "DEL", "WIT")
    ]
    used = re.findall(r"USING (?:COVERING )?INDEX (cloaca_run_\w+)", str(plans))
    indexes = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'index' AND sql > ''")}
    await store.close()
    of_runs = {index for index in indexes if index.startswith("cloaca_run_")} - {"cloaca_run_key"}
    assert set(used) == of_runs
    assert all(index.startswith("cloaca_") for index in indexes)


@asynchronous
async def test_what_is_due_is_found_by_the_index_that_was_made_for_it(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "runs.db")
    await store.open()
    session = await session_of(store)
    trace = Trace(store)
    await store.due(["orders"], AT, 5)
    await store.poll(session, ["orders"], AT)
    await store.take_firings(session, ["orders"], 5)
    await store.prune(AT, 5)
    connection = driver(store._writing)
    connection.set_trace_callback(None)
    plans = [
        plan_of(connection, statement) for statement in trace.statements if statement[:4] in ("SELE", "DELE", "WITH")
    ]
    await store.close()
    used = set(re.findall(r"INDEX (cloaca_(?:schedule|firing)_\w+)", str(plans)))
    assert used == {"cloaca_schedule_due", "cloaca_firing_open", "cloaca_firing_run", "cloaca_firing_skipped"}
    assert not re.search(r"SCAN cloaca_(schedule|firing)(?! USING)", str(plans))
    assert not re.search(r"SCAN (due|f)\b(?! USING)", str(plans))


@asynchronous
async def test_runs_and_slots_are_taken_in_the_order_of_an_index(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "runs.db")
    await store.open()
    connection = driver(store._writing)
    claim = (
        "INDEXED BY cloaca_run_queue WHERE " + QUEUED + " AND workflow = 'orders' ORDER BY priority DESC, id LIMIT 5"
    )
    plans = [
        plan_of(connection, f"SELECT id FROM cloaca_run {claim}"),
        plan_of(connection, shape_of(GRANT, "'mail'", "1.0", "4")),
    ]
    await store.close()
    used = re.findall(r"INDEX (cloaca_\w+)", str(plans))
    assert used == ["cloaca_run_queue", "cloaca_slot_waiting"]
    assert "TEMP B-TREE" not in str(plans)


def shape_of(statement: str, *values: str) -> str:
    """A statement with its values."""
    for value in values:
        statement = statement.replace("?", value, 1)
    return statement


@asynchronous
async def test_the_cost_does_not_grow_with_the_runs_that_have_ended(tmp_path: Path) -> None:
    """In steps of SQLite's machine, which are the same on every computer."""
    costs = []
    for ended in (100, 20_000):
        store = SqliteStore(tmp_path / f"{ended}.db")
        await store.open()
        connection = driver(store._writing)
        connection.execute(
            "INSERT INTO cloaca_run (id, workflow, version, plan, status, created_at, finished_at, crashes) "
            "WITH RECURSIVE ids(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM ids WHERE id < ?) "
            "SELECT id, 'orders', 'v1', '', CASE id % 10 WHEN 0 THEN 'failed' ELSE 'succeeded' END, 1.0, 2.0, 0 "
            "FROM ids",
            (ended,),
        )
        connection.execute(
            "INSERT INTO cloaca_task (run_id, name, status, attempt, session, started_at, finished_at) "
            "SELECT id, 'charge', 'succeeded', 1, 1, 1.0, 2.0 FROM cloaca_run"
        )
        costs.append(await steps(store, ended + 1))
        await store.close()
    few, many = costs
    assert many == few


async def steps(store: SqliteStore, first: int) -> dict[str, int]:
    """Take a few runs through all that happens to a run; return the cost of each step, in tens."""
    counted = [0]

    def count() -> int:
        counted[0] += 1
        return 0

    for connection in (store._writing, store._reading):
        driver(connection).set_progress_handler(count, 10)
    costs: dict[str, int] = {}

    def note_cost(name: str) -> None:
        costs[name], counted[0] = counted[0], 0

    runs = range(first, first + 64)
    session, other = await session_of(store), await session_of(store, until=AT)
    await waiting(store, *runs)
    note_cost("submit")
    await store.claim(session, ["orders", "mail"], 64, AT, suspects=False)
    note_cost("claim")
    await store.poll(session, ["orders", "mail"], AT)
    note_cost("poll")
    await store.transact(Batch(session, tasks=[task(run) for run in runs], notes=[note(first)], ends=[end(first)]))
    note_cost("commit")
    await store.close_session(session, at=AT)
    note_cost("release")
    await owned(store, other, *range(first + 64, first + 80))
    note_cost("start")
    await store.reap(AT + 1)
    note_cost("reap")
    await store.submit(PLAN, new_run(first + 90, key="k"))
    await store.submit(PLAN, new_run(first + 91, key="k"))
    note_cost("keys")
    await crash(store, *range(first + 1, first + 80), first + 90)
    note_cost("crash")
    for workflow, status in (("orders", "failed"), ("orders", None), (None, "failed"), (None, None)):
        await store.runs(workflow=workflow, status=status, before=None, limit=5)
    note_cost("list")
    await store.prune(AT, 5)
    note_cost("prune")
    return costs
