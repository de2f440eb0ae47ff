"""What a claim and a completion cost beside many runs that have ended, which are made by bulk SQL."""

from __future__ import annotations

import asyncio
import time
from statistics import median

from cloaca.ports import Batch, EndRow, NewRun, PlanRow, Store, TaskRow
from tests.benchmarks.floors import Ground, PostgresGround

NAMES = ("fetch", "charge", "ship")
BATCH, BATCHES = 64, 15
FIRST = 1_000_000_000  # above the ids of those that have ended
PLAN = PlanRow("growth", "growth", "v1", '{"nodes":[]}')

NUMBERS = "WITH RECURSIVE n(id) AS (SELECT {first} UNION ALL SELECT id + 1 FROM n WHERE id < {last})"
POSTGRES_NUMBERS = "WITH n AS (SELECT * FROM generate_series({first}, {last}) AS n(id))"
RUNS = (
    "INSERT INTO {table}cloaca_run (id, workflow, version, plan, status, input, crashes, cancel_requested, created_at, "
    "started_at, finished_at) {numbers} SELECT id, 'growth', 'v1', 'growth', CASE id % 10 WHEN 0 THEN 'failed' ELSE "
    "'succeeded' END, '{{}}', 0, {false}, 1.0 * id, 1.0 * id, 1.0 * id + 1 FROM n"
)
TASKS = (
    "INSERT INTO {table}cloaca_task (run_id, name, status, attempt, session, started_at, finished_at, output) "
    "{numbers} SELECT n.id, t.name, 'succeeded', 1, 1, 1.0 * n.id, 1.0 * n.id + 1, '{{\"n\":1}}' FROM n, "
    "(SELECT 'fetch' AS name UNION ALL SELECT 'charge' UNION ALL SELECT 'ship') AS t ORDER BY n.id"
)


async def make_ended(ground: Ground, first: int, last: int) -> None:
    """Store runs that have ended, with their tasks, by two statements."""
    on_server = isinstance(ground, PostgresGround)
    numbers = (POSTGRES_NUMBERS if on_server else NUMBERS).format(first=first, last=last)
    table, false = ("cloaca.", "false") if on_server else ("", "0")
    for statement in (RUNS, TASKS):
        text = statement.format(table=table, numbers=numbers, false=false)
        await ground.query(text.replace("{", "{{").replace("}", "}}"))
    await ground.query("ANALYZE")


async def costs(store: Store, first: int) -> tuple[float, float]:
    """Return the median microseconds of a claim, for each run, and of a completion, for each task."""
    at, claims, completions = time.time(), [], []
    session = await store.open_session("bench", at, at + 600)
    new = [NewRun(first + n, "growth", "v1", "growth", "{}", None, None, at) for n in range(BATCH * BATCHES)]
    await store.transact(Batch(session, plans=[PLAN], runs=new))
    for _ in range(BATCHES):
        begun = time.perf_counter()
        claimed = await store.claim(session, ["growth"], BATCH, at, suspects=False)
        claims.append((time.perf_counter() - begun) / BATCH * 1e6)
        assert len(claimed) == BATCH
        runs = [history.run.id for history in claimed]
        tasks = [TaskRow(run, name, "succeeded", 1, session, at, at, '{"n":1}') for run in runs for name in NAMES]
        ends = [EndRow(run, "succeeded", at, None) for run in runs]
        begun = time.perf_counter()
        await store.transact(Batch(session, tasks=tasks, ends=ends))
        completions.append((time.perf_counter() - begun) / len(tasks) * 1e6)
    await store.close_session(session, at=at)
    return median(claims), median(completions)


async def measure(ground: Ground, sizes: list[int]) -> None:
    """Print a row for each number of runs that have ended."""
    store, ended = ground.store(), 0
    await store.open()
    try:
        for round_, size in enumerate(sizes):
            await make_ended(ground, ended + 1, size)
            ended = size
            claim, completion = await costs(store, FIRST * (round_ + 1))
            label = f"beside {size:,} runs that have ended"
            print(f"{label:<38} {claim:>10.1f} us to claim a run, {completion:.1f} us to complete a task", flush=True)
    finally:
        await store.close()
        await ground.clear()


def report(ground: Ground, *, large: bool) -> None:
    """Print the whole."""
    asyncio.run(measure(ground, [1_000, 10_000, 100_000, *([1_000_000] if large else [])]))
