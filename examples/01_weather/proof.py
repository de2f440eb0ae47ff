"""The proof: what the database says before and after, against what the tasks' bodies have noted outside of it.

Plain SQL through ``sqlite3``, without cloaca: the tables are documented, and anybody may look.
"""

import json
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Row = tuple[Any, ...]

RUNS = "SELECT id, workflow, status, key, crashes FROM cloaca_run"
SESSIONS = "SELECT id AS session, name AS worker, time(expires_at, 'unixepoch') AS lease_until FROM cloaca_session"
TASKS = """SELECT name, status, attempt, session, strftime('%H:%M:%f', finished_at, 'unixepoch') AS committed
    FROM cloaca_task ORDER BY finished_at, name"""
FAILURES = "SELECT name, attempt, exception_type, message FROM cloaca_failure"
NOTES = "SELECT strftime('%H:%M:%f', at, 'unixepoch') AS at, kind, detail FROM cloaca_note"
WORKERS = """SELECT session, count(*) AS committed, strftime('%H:%M:%f', min(finished_at), 'unixepoch') AS first,
    strftime('%H:%M:%f', max(finished_at), 'unixepoch') AS last FROM cloaca_task GROUP BY session"""
LEASE = "SELECT max(expires_at) FROM cloaca_session"
RECOVERY = "SELECT min(at) FROM cloaca_note WHERE kind = 'run_recovered'"
ROWS = "SELECT name, status, attempt, session, started_at, finished_at, output FROM cloaca_task ORDER BY finished_at"


@dataclass(frozen=True, slots=True)
class Execution:
    """One time that a body began, as it has noted itself."""

    pid: int
    task: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that there is: rows by task, before the second process and after it, and every execution.

    ``statuses`` are those of the two processes, ``lease_until`` is when the first one's lease would have run out.
    """

    before: Mapping[str, Row]
    after: Mapping[str, Row]
    executions: Sequence[Execution]
    runs: Sequence[Row]
    failures: Sequence[Row]
    statuses: tuple[int, int]
    lease_until: float
    recovered_at: float

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes, in the order in which they began."""
        return tuple(dict.fromkeys(execution.pid for execution in self.executions))

    @property
    def cut_off(self) -> frozenset[str]:
        """The tasks that the first process had begun and not committed."""
        return frozenset(execution.task for execution in self.by(0)) - self.before.keys()

    def by(self, process: int) -> Iterator[Execution]:
        """The executions in the first process, or in the second."""
        return (execution for execution in self.executions if execution.pid == self.pids[process])


def query(database: Path, sql: str) -> tuple[list[str], list[Row]]:
    """Return the names of the columns, and the rows."""
    with closing(sqlite3.connect(database)) as connection:
        cursor = connection.execute(sql)
        return [column[0] for column in cursor.description], cursor.fetchall()


def number(database: Path, sql: str) -> float:
    """Return the one number that is the answer; 0 if there is none."""
    return float(query(database, sql)[1][0][0] or 0)


def rows_of(database: Path) -> dict[str, Row]:
    """Return the rows of the tasks, by name."""
    return {row[0]: row for row in query(database, ROWS)[1]}


def executions_of(log: Path) -> list[Execution]:
    """Return what the bodies have noted."""
    entries = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    return [Execution(entry["pid"], entry["task"], entry["attempt"]) for entry in entries]


def accounts(evidence: Evidence) -> Iterator[Row]:
    """Yield a line for each row of cloaca_task: who committed it, and how often each process executed it."""
    counts = Counter((execution.pid, execution.task) for execution in evidence.executions)
    for name, row in evidence.after.items():
        when = "before the kill" if name in evidence.before else "after"
        yield (name, row[3], when, *(counts[pid, name] or "" for pid in evidence.pids), _remark(evidence, row))


def _remark(evidence: Evidence, row: Row) -> str:
    if is_condition(row[0]):
        return f"a condition: {row[6]}"
    if row[0] in evidence.cut_off:
        return "cut off, so executed again"
    failed = sum(failure[0] == row[0] for failure in evidence.failures)
    return f"{failed} failed attempt, retried" if failed else ""


def is_condition(name: str) -> bool:
    """Whether a row is the verdict of a ``when``."""
    return name.startswith("when:")


def claims(evidence: Evidence, tasks: Iterable[str]) -> Iterator[tuple[bool, str]]:
    """Yield each claim and whether it is true. ``tasks`` are those that are to have committed, when all is done."""
    before, after = evidence.before, evidence.after
    committed = [name for name in after if not is_condition(name)]
    again = {execution.task for execution in evidence.by(1)} if len(evidence.pids) == 2 else set[str]()
    yield evidence.statuses == (-signal.SIGKILL, 0), "the first process was killed, the second one ended well"
    yield len(evidence.runs) == 1 and evidence.runs[0][2] == "succeeded", "both worked on one run, and it has succeeded"
    yield len(before) > 0 < len(evidence.cut_off), _middle(evidence)
    yield all(after.get(name) == row for name, row in before.items()), "what had committed is the same, byte by byte"
    yield not again & before.keys(), "no task that had committed was executed again"
    yield evidence.cut_off <= again, f"what the kill had cut off was: {', '.join(sorted(evidence.cut_off))}"
    yield sorted(committed) == sorted(tasks), f"each task has committed exactly once: {len(committed)} of them"
    total, failed, lost = len(evidence.executions), len(evidence.failures), len(evidence.cut_off)
    sums = f"{total} executions = {len(committed)} commits + {failed} failed attempt + {lost} cut off by the kill"
    yield total == len(committed) + failed + lost, sums
    if sys.platform == "linux":  # elsewhere nobody can tell that a worker is dead before its lease runs out
        left_s = evidence.lease_until - evidence.recovered_at
        yield left_s > 0, f"nobody waited for the dead worker's lease, which had {left_s:.0f} s left"


def _middle(evidence: Evidence) -> str:
    return f"it was in the middle: {len(evidence.before)} rows committed, {len(evidence.cut_off)} tasks running"
