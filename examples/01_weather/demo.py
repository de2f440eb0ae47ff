"""The demonstration: a workflow on real data is killed in the middle, and ends well without doing anything twice.

The same command runs twice (``run.py``, which kills itself the first time). After each, the database is asked, in plain
SQL; the end compares it with what the tasks' bodies have noted outside of it. Exits with 1 if the proof fails.
"""

import argparse
import asyncio
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import proof
from pipeline import weather

from cloaca import Runner

HERE = Path(__file__).resolve().parent
WHERE = HERE.parents[1] / "build" / "demo"
KILL_AFTER = "by_month"  # the quickest of five tasks that run side by side
SKIPPED = "find_cold"
PACE_S = 0.3
LONGEST_S = 60
OUTCOMES = {
    "report.html": "the report, with its picture",
    "chart.svg": "the picture alone",
    "graph-killed.svg": "the graph when the process was killed",
    "graph.svg": "the graph when the run had ended",
    "weather.db": "the database: look for yourself",
}


def main() -> int:
    """Show it; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path, nargs="?", default=WHERE, help="where to work; by default build/demo")
    directory: Path = parser.parse_args().directory.absolute()
    begin_anew(directory)
    database, log = directory / "weather.db", directory / "executions.log"

    heading("1. The workflow: real files fetched, cleaned, joined, summed up in parallel, reported")
    print(weather.to_text(width=width(), color=sys.stdout.isatty()).rstrip())

    heading(f"2. Run it. The process kills itself once {KILL_AFTER} has committed, while others run")
    first = run(directory, {"KILL_AFTER": KILL_AFTER})
    print(f"\n  The process is gone: {described(first)}.")

    heading("3. What the database says, while nobody works on it")
    show(database, proof.RUNS, proof.SESSIONS, proof.TASKS, proof.FAILURES)
    before, lease_until = proof.rows_of(database), proof.number(database, proof.LEASE)
    began = {execution.task for execution in proof.executions_of(log)}
    draw(directory / "graph-killed.svg", database, running=began - before.keys())

    heading("4. The same command again. Nobody says where to go on")
    second = run(directory, {})

    heading("5. The proof")
    show(database, proof.RUNS, proof.NOTES, proof.WORKERS)
    draw(directory / "graph.svg", database)
    runs, failures = (proof.query(database, sql)[1] for sql in (proof.RUNS, proof.FAILURES))
    after, executions = proof.rows_of(database), proof.executions_of(log)
    recovered_at = proof.number(database, proof.RECOVERY)
    proven = prove(
        proof.Evidence(before, after, executions, runs, failures, (first, second), lease_until, recovered_at)
    )

    heading("6. What has come out of it")
    table(("", ""), [(near(directory / name), what) for name, what in OUTCOMES.items()])
    print("Proven." if proven else "NOT PROVEN: see the lines above that begin with NO.")
    return 0 if proven else 1


def begin_anew(directory: Path) -> None:
    """Make the directory, and delete what an earlier demonstration has left there, and nothing else."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in ("raw", "rows"):
        shutil.rmtree(directory / name, ignore_errors=True)
    for pattern in ("weather.db*", "executions.log", *OUTCOMES):
        for path in directory.glob(pattern):
            path.unlink()


def run(directory: Path, environment: Mapping[str, str]) -> int:
    """Run the workflow in a process of its own, as a user would; return its status."""
    paths, options = (sys.executable, str(HERE / "run.py"), str(directory)), ("--pace", str(PACE_S))
    said = [*(f"{name}={value}" for name, value in environment.items()), shlex.join([*map(near, paths), *options])]
    print(f"$ {' '.join(said)}\n", flush=True)
    surroundings = {name: value for name, value in os.environ.items() if name != "KILL_AFTER"}
    environment = {**surroundings, **environment}
    status = subprocess.run([*paths, *options], env=environment, timeout=LONGEST_S, check=False).returncode
    if sys.stdout.isatty():
        print("\x1b[?25h", end="", flush=True)  # whoever was killed could not show the cursor again
    return status


def near(path: object) -> str:
    """Return a path from the current directory on, if it is below."""
    relative = os.path.relpath(str(path))
    return str(path) if relative.startswith(os.pardir) else relative


def described(status: int) -> str:
    """Say how a process has ended."""
    return f"killed by {signal.Signals(-status).name}" if status < 0 else f"it ended by itself, with status {status}"


def draw(path: Path, database: Path, running: Collection[str] = ()) -> None:
    """Draw the graph with the states of the one run. Those that run are told: nobody works who could tell."""

    async def states() -> dict[str, str]:
        async with Runner(database, workflows=[weather], work=False) as runner:
            (info,) = await runner.runs()
            handle = await runner.get(info.id)
            return {task.name: task.status for task in await handle.tasks()}

    known = asyncio.run(states())
    path.write_text(weather.to_svg({**known, **dict.fromkeys(running, "running")}), encoding="utf-8")


def prove(evidence: proof.Evidence) -> bool:
    """Print the account of each row and each claim; return whether all are true."""
    processes = [f"by process {pid}" for pid in evidence.pids]
    print("  Each row of cloaca_task, and how often the body was executed, by its own account:\n")
    table(("task", "session", "committed", *processes, ""), list(proof.accounts(evidence)))
    tasks = {task.name for task in weather.graph} - {SKIPPED}
    results = list(proof.claims(evidence, tasks))
    for is_true, claim in results:
        print(f"  {'ok' if is_true else 'NO'}  {claim}")
    return all(is_true for is_true, _ in results)


def show(database: Path, *queries: str) -> None:
    """Ask the database, and print question and answer."""
    for sql in queries:
        print(f"sqlite> {sql};\n")
        table(*proof.query(database, sql))


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table."""
    cells = [[str(cell) if cell is not None else "" for cell in row] for row in [*([head] if any(head) else []), *rows]]
    widths = [max(len(cell) for cell in column) for column in zip(*cells, strict=True)]
    for row in cells:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print()


def heading(text: str) -> None:
    """Begin a part."""
    bold, plain = ("\x1b[1m", "\x1b[0m") if sys.stdout.isatty() else ("", "")
    print(f"\n{bold}{text}{plain}\n{'-' * len(text)}\n")


def width() -> int:
    """How wide lines may be."""
    return min(shutil.get_terminal_size((160, 24)).columns, 160)


if __name__ == "__main__":
    sys.exit(main())
