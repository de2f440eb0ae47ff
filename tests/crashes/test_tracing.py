"""A worker is killed in the middle of a run: the run goes on in its trace, and each task has one span."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from tests.crashes.processes import begun, life, rows, until
from tests.crashes.tracing import start, work


def spans(folder: Path) -> list[dict[str, Any]]:
    """Return what all processes have written."""
    file = folder / "spans"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def test_a_task_that_is_recovered_has_one_span_in_the_same_trace(database: Path, folder: Path) -> None:
    with life(start, database, folder) as starter:
        assert starter.end() == 0
    with life(work, database, folder) as first:
        until(lambda: begun(folder, "waits") and begun(folder, "blocks"))
        until(lambda: any(span["name"] == "task first" for span in spans(folder)))
        first.kill()
    (folder / "go").touch()
    with life(work, database, folder) as second:
        until(lambda: rows(database, "SELECT status FROM cloaca_run") == [("succeeded",)])
        until(lambda: any(span["name"] == "run chain" for span in spans(folder)))
        second.kill()
    found = spans(folder)
    tasks = {name for (name,) in rows(database, "SELECT name FROM cloaca_task")}
    assert Counter(
        span["attributes"].get("cloaca.task") for span in found if span["name"].startswith("task ")
    ) == Counter(tasks)
    assert {span["pid"] for span in found if span["name"].startswith("task ")} == {first.pid, second.pid}
    assert len({span["trace"] for span in found}) == 1
    named = {span["name"]: span for span in found}
    assert named["start chain"]["parent"] == named["request"]["span"]
    parents = {span["parent"] for span in found if span["name"].startswith(("task ", "run "))}
    assert parents == {named["start chain"]["span"]}
