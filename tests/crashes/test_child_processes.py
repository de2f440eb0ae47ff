"""Programs that are killed, or told to stop, while their bodies run in child processes: nobody is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from returns.result import Success

from cloaca import Runner, Workflow
from tests.crashes.processes import assert_sound, rows, until
from tests.runner import bodies
from tests.runner.databases import asynchronous

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

PROGRAM = """
import asyncio, sys
from pathlib import Path
from cloaca import Runner, Workflow
from tests.runner import bodies

async def main():
    tasks = [getattr(bodies, name).named(f"{name}{n}").into(f"{name}{n}") for n, name in enumerate(sys.argv[3:])]
    workflow = Workflow("killed", *tasks, input=bodies.Place)
    async with Runner(Path(sys.argv[1]), workflows=[workflow], processes=3, grace_s=0.1) as runner:
        handle = await runner.start(workflow, bodies.Place(folder=sys.argv[2]))
        await handle.result()

asyncio.run(main())
"""


@contextmanager
def program(database: Path, folder: Path, *tasks: str) -> Iterator[subprocess.Popen[str]]:
    """A program in a process group of its own, as a shell starts it, that runs these tasks at the same time."""
    command = [sys.executable, "-W", "error", "-c", PROGRAM, str(database), str(folder), *tasks]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def traces(folder: Path) -> list[tuple[int, str]]:
    file = folder / "traces"
    lines = file.read_text().splitlines() if file.exists() else []
    return [(int(pid), what) for pid, what in (line.split(" ", 1) for line in lines)]


def spinning(folder: Path, times: int) -> bool:
    return [what for _, what in traces(folder)].count("spins") == times


def status(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ["X"]


def is_alive(pid: int) -> bool:
    return status(pid)[0] not in "ZX"


def family(pid: int) -> set[int]:
    """Return the living descendants of a process."""
    parents = {int(entry.name): status(int(entry.name)) for entry in Path("/proc").iterdir() if entry.name.isdigit()}
    found: set[int] = set()
    while (
        more := {child for child, words in parents.items() if len(words) > 1 and int(words[1]) in {pid, *found}} - found
    ):
        found |= more
    return found


def test_children_end_with_a_parent_that_is_killed(database: Path, folder: Path) -> None:
    with program(database, folder, "spins", "leaves_a_child", "where") as process:
        until(lambda: spinning(folder, 2) and bool(rows(database, "SELECT 1 FROM cloaca_task")))  # and one is idle
        descendants = family(process.pid)
        assert {pid for pid, _ in traces(folder)} < descendants
        assert len(descendants) == 5  # the one that forks, three children, a tool
        process.kill()
        until(lambda: not any(is_alive(pid) for pid in descendants))
    assert_sound(database)


def test_children_end_with_a_parent_that_is_killed_together_with_the_one_that_forks(
    database: Path, folder: Path
) -> None:
    with program(database, folder, "spins", "where") as process:
        until(lambda: spinning(folder, 1) and bool(rows(database, "SELECT 1 FROM cloaca_task")))
        descendants = family(process.pid)
        [server] = [pid for pid in descendants if int(status(pid)[1]) == process.pid]
        os.kill(process.pid, signal.SIGSTOP)
        os.kill(server, signal.SIGSTOP)
        process.kill()
        os.kill(server, signal.SIGKILL)
        until(lambda: not any(is_alive(pid) for pid in descendants))


def test_a_child_ends_with_its_parent_though_no_thread_of_it_can_run(database: Path, folder: Path) -> None:
    with program(database, folder, "holds_the_lock") as process:
        until(lambda: spinning(folder, 1))
        descendants = family(process.pid)
        process.kill()
        until(lambda: not any(is_alive(pid) for pid in descendants))


@asynchronous
async def test_a_run_goes_on_after_its_parent_was_killed(database: Path, folder: Path) -> None:
    """And the attempt that was cut off is made again, under the same number."""
    with program(database, folder, "where", "spins") as process:
        until(lambda: spinning(folder, 1) and bool(rows(database, "SELECT 1 FROM cloaca_task")))
        process.kill()
    where, spins = bodies.where.named("where0").into("where0"), bodies.in_time.named("spins1").into("spins1")
    workflow = Workflow("killed", where, spins, input=bodies.Place)
    async with Runner(database, workflows=[workflow]) as runner:
        [info] = await runner.runs()
        handle = await runner.get(info.id)
        assert isinstance(await handle.result(), Success)
        assert {task.name: task.attempt for task in await handle.tasks()} == {"where0": 1, "spins1": 1}
    assert_sound(database)


def test_ctrl_c_in_a_terminal(database: Path, folder: Path) -> None:
    """The whole foreground group gets the signal: the program leaves, and no child has anything to say about it."""
    with program(database, folder, "spins", "where") as process:
        until(lambda: spinning(folder, 1) and bool(rows(database, "SELECT 1 FROM cloaca_task")))
        descendants = family(process.pid)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=20)
        assert out == ""
        assert err.count("Traceback (most recent call last)") == 2, err  # asyncio's own: cancelled, then interrupted
        assert err.rstrip().endswith("KeyboardInterrupt")
        assert "executors" not in err
        until(lambda: not any(is_alive(pid) for pid in descendants))
    assert rows(database, "SELECT status, owner, crashes FROM cloaca_run") == [("pending", None, 0)]
    assert_sound(database)


def test_sigterm_leaves_no_child_behind(database: Path, folder: Path) -> None:
    """A program without a handler for it just dies."""
    with program(database, folder, "spins", "spins") as process:
        until(lambda: spinning(folder, 2))
        descendants = family(process.pid)
        process.terminate()
        until(lambda: not any(is_alive(pid) for pid in descendants))
        assert process.communicate(timeout=20) == ("", "")
