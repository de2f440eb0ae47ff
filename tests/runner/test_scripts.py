"""Tasks for child processes in programs: a script, a package, ``python -m``; and those that no child could import."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from pathlib import Path

import pytest

TASKS = """
import os
from pydantic import BaseModel
from cloaca import Retry, Workflow, run, task

class A(BaseModel):
    a: int

class B(BaseModel):
    b: int

class Again(Exception):
    pass

@task(executor="process", retry=Retry(attempts=2, delay=0.01, on=Again))
def double(a: A) -> B:
    print("in a child" if os.getpid() != {parent} else "in the parent", a.a, __name__)
    if not os.path.exists("tried"):
        open("tried", "x").close()
        raise Again
    return B(b=2 * a.a)

workflow = Workflow("doubling", double)
"""
MAIN = """
if __name__ == "__main__":
    print(run(workflow, A(a=21)).map(lambda b: b.b))
"""
UNGUARDED = "\nprint(run(workflow, A(a=21)))\n"


def execute(folder: Path, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    root = str(Path(__file__).parents[2])
    inherited = {name: value for name, value in os.environ.items() if name != "CLOACA_DATABASE_URL"}
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=folder,
        env={**inherited, "PYTHONPATH": root},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def written(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.replace("{parent}", str(os.getpid())))


def test_a_script(tmp_path: Path) -> None:
    written(tmp_path, "script.py", TASKS + MAIN)
    done = execute(tmp_path, "script.py")
    assert done.stderr == ""
    assert done.stdout == "in a child 21 __mp_main__\nin a child 21 __mp_main__\n<Success: 42>\n"


def test_a_script_without_an_ending(tmp_path: Path) -> None:
    written(tmp_path, "bin/script", TASKS + MAIN)
    done = execute(tmp_path, "bin/script")
    assert (done.stderr, done.stdout.splitlines()[-1]) == ("", "<Success: 42>")


@pytest.mark.parametrize("guarded", [True, False])
def test_a_script_whose_tasks_are_in_a_module(tmp_path: Path, guarded: bool) -> None:
    """Nobody imports the script, so that it needs no guard."""
    written(tmp_path, "shop/__init__.py", "")
    written(tmp_path, "shop/tasks.py", TASKS)
    call = "print(run(workflow, A(a=21)).map(lambda b: b.b))"
    program = "from shop.tasks import *\n" + (f'if __name__ == "__main__":\n    {call}\n' if guarded else f"{call}\n")
    written(tmp_path, "script.py", program)
    done = execute(tmp_path, "script.py")
    assert done.stderr == ""
    assert done.stdout == "in a child 21 shop.tasks\nin a child 21 shop.tasks\n<Success: 42>\n"


@pytest.mark.parametrize("module", ["shop", "shop.program"])
def test_a_module_that_is_run(tmp_path: Path, module: str) -> None:
    written(tmp_path, "shop/__init__.py", "")
    written(tmp_path, "shop/__main__.py", TASKS + MAIN)
    written(tmp_path, "shop/program.py", TASKS + MAIN)
    done = execute(tmp_path, "-m", module)
    assert (done.stderr, done.stdout.splitlines()[-1]) == ("", "<Success: 42>")


def test_a_directory_that_is_run(tmp_path: Path) -> None:
    written(tmp_path, "shop/__main__.py", TASKS + MAIN)
    done = execute(tmp_path, "shop")
    assert (done.stderr, done.stdout.splitlines()[-1]) == ("", "<Success: 42>")


def test_a_script_that_would_run_again_in_the_child_is_refused(tmp_path: Path) -> None:
    written(tmp_path, "script.py", TASKS + UNGUARDED)
    done = execute(tmp_path, "script.py")
    assert done.returncode == 1
    assert "cloaca.errors.TaskNotImportable: a child process can't import __main__:double" in done.stderr
    assert 'under `if __name__ == "__main__":`' in done.stderr
    assert done.stdout == ""
    with closing(sqlite3.connect(tmp_path / "cloaca.db")) as connection:
        assert connection.execute("SELECT count(*) FROM cloaca_run").fetchone() == (0,)


def test_a_script_that_fails_when_it_is_imported_says_how(tmp_path: Path) -> None:
    written(tmp_path, "script.py", TASKS + '\nassert __name__ == "__main__", "never import me"\n' + MAIN)
    done = execute(tmp_path, "script.py")
    assert done.returncode == 1
    assert "TaskNotImportable: a child process can't import __main__:double: AssertionError: never" in done.stderr


@pytest.mark.parametrize("way", ["command", "stdin"])
def test_what_is_no_file_is_refused(tmp_path: Path, way: str) -> None:
    program = TASKS.replace("{parent}", "0") + MAIN
    done = execute(tmp_path, "-c", program) if way == "command" else execute(tmp_path, "-", stdin=program)
    assert done.returncode == 1
    assert "it is defined in an interactive session, a notebook or a command; move it to a module" in done.stderr
    assert not (tmp_path / "cloaca.db").exists()


def test_a_command_whose_tasks_are_in_a_module(tmp_path: Path) -> None:
    written(tmp_path, "shop.py", TASKS)
    done = execute(tmp_path, "-c", "from shop import *; print(run(workflow, A(a=21)).map(lambda b: b.b))")
    assert (done.stderr, done.stdout.splitlines()[-1]) == ("", "<Success: 42>")


def test_the_command_line(tmp_path: Path) -> None:
    written(tmp_path, "shop.py", TASKS)
    done = execute(tmp_path, "-m", "cloaca.cli", "run", "shop:workflow", "--input", '{"a": 21}')
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"b": 42}
    assert done.stderr.count("in a child 21 shop") == 2  # what a body prints is no data


def test_no_multiprocessing_is_loaded(tmp_path: Path) -> None:
    written(tmp_path, "shop.py", TASKS)
    program = textwrap.dedent("""
        import sys
        from shop import *
        run(workflow, A(a=1))
        print([name for name in sys.modules if name.startswith(("multiprocessing", "concurrent.futures.process"))])
    """)
    assert execute(tmp_path, "-c", program).stdout.splitlines()[-1] == "[]"
