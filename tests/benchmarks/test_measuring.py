"""That the benchmarks still measure: on a file of SQLite, a few runs each. How fast is nobody's business here."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.benchmarks.__main__ import sample
from tests.benchmarks.draining import drain
from tests.benchmarks.floors import SqliteGround
from tests.benchmarks.workloads import chain, count, many


def test_a_rate_is_measured_between_floors_that_write_the_rows_of_a_run(tmp_path: Path) -> None:
    found = asyncio.run(sample(SqliteGround(tmp_path), chain(count, 10), many, 3))
    assert min(found.rate, found.cpu_us, found.floors.single, found.floors.group) > 0
    assert list(tmp_path.glob("bench.db*")) == []


def test_two_processes_drain_what_waits(tmp_path: Path) -> None:
    found = asyncio.run(drain(SqliteGround(tmp_path), 30))
    assert found.rate > 0
    assert 0 <= found.share <= 0.5
