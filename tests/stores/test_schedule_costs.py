"""What a firing costs on SQLite: statements and commits, the same with ten schedules and with ten thousand."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from pydantic import BaseModel

from cloaca import Runner, Workflow, task
from cloaca.ports import Move, ScheduleRow
from cloaca.stores.sql.schedules import INSERT_SCHEDULE
from cloaca.stores.sql.sqlite import SqliteStore
from tests.runner.databases import eventually
from tests.stores.asynchronous import asynchronous
from tests.stores.rows import AT, PLAN, firing_run, schedule, session_of
from tests.stores.traces import Trace, driver


class Nothing(BaseModel):
    pass


@task
async def nod(nothing: Nothing) -> None: ...


nodding = Workflow("orders", nod)


async def filled(path: Path, others: int) -> SqliteStore:
    """A store with schedules that are due much later."""
    store = SqliteStore(path)
    await store.open()
    rows = [schedule(name=f"other {number}", due_at=AT + 9e9) for number in range(others)]
    insert(store, rows)
    return store


def insert(store: SqliteStore, rows: list[ScheduleRow]) -> None:
    """Write many schedules in one transaction."""
    connection = driver(store._writing)
    connection.execute("BEGIN")
    connection.executemany(INSERT_SCHEDULE, rows)
    connection.execute("COMMIT")


async def cost_of_a_firing(path: Path, others: int) -> Counter[str]:
    store = await filled(path, others)
    session = await session_of(store)
    assert await store.put_schedule(schedule(workflow="orders"), None)
    trace = Trace(store)
    _, [row] = await store.due(["orders"], AT, 100)
    move = Move("daily", "orders", row.revision, (900.0,), "allow", 0, 900.0, AT + 9e9, AT + 9e9)
    assert await store.fire(session, [move], AT) == [("daily", 900.0)]
    assert await store.hand_over(session, [PLAN], [firing_run(1, 900.0)], AT) == ["handed_over"]
    await store.close()
    return trace.kinds()


@asynchronous
async def test_a_firing_costs_the_same_among_ten_thousand_schedules(tmp_path: Path) -> None:
    few, many = await cost_of_a_firing(tmp_path / "few.db", 10), await cost_of_a_firing(tmp_path / "many.db", 10_000)
    assert few == many
    assert few["COMMIT"] == 2
    assert few["UPDATE cloaca_schedule"] == few["UPDATE cloaca_firing"] == 1
    assert sum(few[kind] for kind in few if kind.startswith(("INSERT", "UPDATE"))) <= 5  # and the plan, once


@asynchronous
async def test_schedules_that_are_due_together_share_transactions(tmp_path: Path) -> None:
    store = await filled(tmp_path / "runs.db", 0)
    wanted = 300
    rows = [
        schedule(name=f"s{number}", input="{}", cron=None, at=AT, next_at=AT, due_at=AT) for number in range(wanted)
    ]
    insert(store, rows)
    trace = Trace(store)
    async with Runner(store=store, workflows=[nodding]) as runner:

        async def all_ran() -> bool:
            return len(await runner.runs(status="succeeded", limit=1000)) == wanted

        await eventually(all_ran)
        kinds = trace.kinds()
    claims_and_handovers = 2 * wanted / 100
    assert kinds["COMMIT"] <= claims_and_handovers + wanted / 10  # the rest claims and commits the runs
    assert kinds["UPDATE cloaca_schedule"] == kinds["UPDATE cloaca_firing"] == wanted


@asynchronous
async def test_an_idle_runner_asks_for_schedules_with_the_look_that_it_takes_anyway(tmp_path: Path) -> None:
    store = await filled(tmp_path / "runs.db", 100)
    session = await session_of(store)
    trace = Trace(store)
    poll = await store.poll(session, ["orders"], AT)
    await store.close()
    assert poll.due_s == 9e9
    assert len(trace.statements) == 1
