"""The pytest plugin, in processes of its own: its options and fixtures, its last line; same seed, same bytes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stores.servers import server

ROOT = Path(__file__).parents[2]
TESTS = """
from cloaca.testing import Faults, Scenario, fail, workflow_test
from tests.testing.shop import LEDGER, Order, charge, shop

def log(w):
    with open("worlds.txt", "a") as file:
        print(w.input, w.scenario, w.trace, sep="\\n", file=file)

@workflow_test(shop, reset=LEDGER.clear)
def test_right(w):
    log(w)
    assert LEDGER.count("card") <= 1
"""
WRONG = """
@workflow_test(shop, reset=LEDGER.clear)
def test_wrong(w):
    assert w.attempts("charge") <= 1
"""
FIXTURES = """
def test_fixtures(ledger, simulation):
    ledger.post("card", 1)
    world = simulation(shop, Order(order_id=1, amount=1, gift=False), Scenario(fail("reserve")))
    assert simulation.worlds == [world]
    assert world.attempts("reserve") == 1, "look at the trace"

def test_ledger_is_new(ledger):
    assert ledger.count() == 0
"""


def run(folder: Path, *options: str, tests: str = TESTS, code: int = 0, env: dict[str, str] | None = None) -> str:
    (folder / "test_it.py").write_text(tests)
    command = [sys.executable, "-m", "pytest", "-p", "cloaca.testing.plugin", "-p", "xdist", "-p", "no:cacheprovider"]
    surroundings = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT), **(env or {})}
    surroundings.pop("PYTEST_XDIST_WORKER", None)
    done = subprocess.run(
        [*command, "-q", *options],
        cwd=folder,
        env=surroundings,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def executions(output: str) -> int:
    found = re.search(r"cloaca: ([\d,]+) simulated executions", output)
    assert found, output
    return int(found[1].replace(",", ""))


def test_how_much_is_tried(tmp_path: Path) -> None:
    least = ("--cloaca-examples=2", "--cloaca-scenarios=0", "--cloaca-sweep=0", "--cloaca-seed=1")
    assert executions(run(tmp_path, *least)) == 2
    more = executions(run(tmp_path, "--cloaca-examples=2", "--cloaca-scenarios=4", "--cloaca-sweep=0"))
    assert 10 <= more <= 20  # and at most one undisturbed execution for each
    swept = executions(run(tmp_path, "--cloaca-examples=1", "--cloaca-scenarios=0", "--cloaca-sweep=1"))
    assert swept > 60


@pytest.mark.parametrize("options", [("--cloaca-examples=-1",), ("--cloaca-driver=oracle",), ("--cloaca-sweep=2",)])
def test_options_that_are_none(tmp_path: Path, options: tuple[str, ...]) -> None:
    output = run(tmp_path, *options, code=4)
    assert options[0].split("=")[0] in output


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    seen = []
    for seed, processes in ((7, ()), (7, ()), (8, ()), (7, ("-n", "2"))):
        (tmp_path / "worlds.txt").unlink(missing_ok=True)
        run(tmp_path, f"--cloaca-seed={seed}", "--cloaca-examples=4", *processes)
        seen.append((tmp_path / "worlds.txt").read_bytes())
    assert seen[0] == seen[1] == seen[3]
    assert seen[0] != seen[2]


def test_workers_of_xdist_are_added_up(tmp_path: Path) -> None:
    options = ("--cloaca-seed=3", "--cloaca-examples=3")
    assert executions(run(tmp_path, *options, "-n", "2")) == executions(run(tmp_path, *options))


def test_a_failure_and_its_replay(tmp_path: Path) -> None:
    output = run(tmp_path, "--cloaca-seed=1", tests=TESTS + WRONG, code=1)
    assert "1 failed, 1 passed" in output
    blob = output.split('@replay("')[1].split('"')[0]
    again = run(tmp_path, f"--cloaca-replay={blob}", "-k", "wrong", tests=TESTS + WRONG, code=1)
    assert executions(again) <= 2
    assert "runs charge (attempt" in again
    nonsense = run(tmp_path, "--cloaca-replay=nonsense", tests=TESTS, code=1)
    assert "is not what a failing workflow_test prints" in nonsense


def test_fixtures(tmp_path: Path) -> None:
    output = run(tmp_path, tests=TESTS + FIXTURES, code=1)
    assert "1 failed, 2 passed" in output
    assert "Captured cloaca" in output
    assert "commits reserve failed attempt 1" in output


def test_drivers(tmp_path: Path) -> None:
    few = ("--cloaca-examples=1", "--cloaca-scenarios=2")
    run(tmp_path, *few, "--cloaca-driver=loop")
    (tmp_path / "temporary").mkdir()
    run(tmp_path, *few, "--cloaca-driver=sqlite", env={"TMPDIR": str(tmp_path / "temporary")})
    assert not list((tmp_path / "temporary").iterdir())
    assert not list(tmp_path.glob("*.db"))
    output = run(tmp_path, *few, "--cloaca-driver=postgres", code=1, env={"CLOACA_TEST_POSTGRES": ""})
    assert "the driver postgres needs a PostgreSQL server: set $CLOACA_TEST_POSTGRES" in output
    with server() as url:
        run(tmp_path, *few, "--cloaca-driver=postgres", env={"CLOACA_TEST_POSTGRES": url})
    output = run(tmp_path, *few, "--cloaca-driver=sqlite", tests=_with_sessions(), code=0)
    assert "1 skipped" in output


def _with_sessions() -> str:
    return """
from cloaca.testing import workflow_test
from tests.testing.bodies import books

@workflow_test(books)
def test_books(w):
    assert len(w.tables["kit_line"]) <= 3
"""


def test_nothing_is_left_and_nothing_is_loaded(tmp_path: Path) -> None:
    """A session that tests no workflow pays nothing for the plugin."""
    tests = "import sys\ndef test_it():\n    assert not {'sqlalchemy', 'cloaca.interpreter'} & set(sys.modules)\n"
    output = run(tmp_path, tests=tests)
    assert "simulated executions" not in output
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "__pycache__") == ["test_it.py"]
