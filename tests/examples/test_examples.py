"""Every example runs, in a process and a directory of its own, and prints what stands beside it.

An example is a program ``examples/*.py``, with its expected output in a file ``.out`` (where ``...`` stands for
anything); or a directory with such a program, and maybe with tests of its own; or one with a ``demo.py``, which must
have its tests here.
"""

import doctest
import importlib.util
import json
import os
import re
import sqlite3
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
PROGRAMS = sorted([*EXAMPLES.glob("*.py"), *(output.with_suffix(".py") for output in EXAMPLES.glob("*/*.out"))])
TESTED = sorted({tests.parent for tests in EXAMPLES.glob("*/test_*.py")})
DIRECTORIES = sorted(path for path in EXAMPLES.iterdir() if path.is_dir() and path.name != "__pycache__")
WEATHER = EXAMPLES / "01_weather"


def execute(program: Path, directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name != "CLOACA_DATABASE_URL"}
    return subprocess.run(
        [sys.executable, "-W", "error", str(program), *arguments],
        cwd=directory,
        env={**inherited, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        timeout=90,
        check=False,
    )


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.relative_to(EXAMPLES).as_posix())
def test_a_program_prints_what_stands_beside_it(program: Path, tmp_path: Path) -> None:
    expected = program.with_suffix(".out").read_text(encoding="utf-8")
    done = execute(program, tmp_path)
    assert done.returncode == 0, done.stderr
    same = doctest.OutputChecker().check_output(expected, done.stdout, doctest.ELLIPSIS)
    assert same, f"expected:\n{expected}\ngot:\n{done.stdout}"
    assert done.stderr == ""


@pytest.mark.parametrize("directory", TESTED, ids=lambda directory: directory.name)
def test_the_tests_of_an_example_pass(directory: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "--config-file",
        os.devnull,
        "--rootdir",
        ".",
        "-p",
        "no:cacheprovider",
    ]
    done = subprocess.run(
        command,
        cwd=directory,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_no_example_is_left_out() -> None:
    shown = {program.parent for program in PROGRAMS}
    assert [path.name for path in DIRECTORIES if path not in shown] == [WEATHER.name]
    assert (WEATHER / "demo.py").is_file()
    numbers = sorted(int(path.name[:2]) for path in {*EXAMPLES.glob("[0-9]*.py"), *DIRECTORIES})
    assert numbers == sorted(set(numbers)), "two examples have one number"
    assert len(numbers) >= 10


def test_every_example_is_in_the_list() -> None:
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in (*EXAMPLES.glob("*.py"), *DIRECTORIES) if f"]({path.name})" not in listed] == []


def test_the_demonstration_is_the_one_that_make_runs() -> None:
    found = re.search(r"^DEMO \?= (\S+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None
    assert ROOT / found[1] == WEATHER / "demo.py"


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The directory of a demonstration, and what it has printed."""
    directory = tmp_path_factory.mktemp("elsewhere") / "demo"
    (directory / "rows").mkdir(parents=True)
    for name in ("weather.db", "weather.db-wal", "executions.log", "rows/old.jsonl", "mine.txt"):
        (directory / name).write_text("left by an earlier one", encoding="utf-8")
    done = execute(WEATHER / "demo.py", directory.parent, str(directory))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return directory, done.stdout


def rows(directory: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(directory / "weather.db")) as connection:
        return connection.execute(sql).fetchall()


def test_the_demonstration_shows_each_part(shown: tuple[Path, str]) -> None:
    _, printed = shown
    parts = [line for line in printed.splitlines() if re.match(r"\d\. ", line)]
    assert [part[0] for part in parts] == ["1", "2", "3", "4", "5", "6"]
    graph = printed[printed.index("1. ") : printed.index("2. ")]
    assert "join" in graph
    assert "by_month" in graph
    assert "killed by SIGKILL" in printed
    assert printed.endswith("Proven.\n")


def test_the_killed_run_went_on_without_doing_anything_twice(shown: tuple[Path, str]) -> None:
    """The claims of the demonstration, checked without its code."""
    directory, _ = shown
    assert rows(directory, "SELECT status, crashes FROM cloaca_run") == [("succeeded", 1)]
    sessions = dict(rows(directory, "SELECT name, session FROM cloaca_task WHERE name NOT LIKE 'when:%'"))
    first = min(sessions.values())
    log = [json.loads(line) for line in (directory / "executions.log").read_text(encoding="utf-8").splitlines()]
    killed = log[0]["pid"]
    by_first = {entry["task"] for entry in log if entry["pid"] == killed}
    by_second = {entry["task"] for entry in log if entry["pid"] != killed}
    committed_first = {name for name, session in sessions.items() if session == first}
    assert len(set(sessions.values())) == 2
    assert by_first > committed_first
    assert by_second == sessions.keys() - committed_first


def test_the_demonstration_shows_retry_skip_and_condition(shown: tuple[Path, str]) -> None:
    directory, _ = shown
    failures = rows(directory, "SELECT name, attempt, exception_type FROM cloaca_failure")
    assert failures == [("fetch_sf", 1, "ConnectionError")]
    verdicts = rows(directory, "SELECT name, output FROM cloaca_task WHERE name LIKE 'when:%' ORDER BY name")
    assert [verdict for _, verdict in verdicts] == ["true", "false", "true"]
    assert rows(directory, "SELECT 1 FROM cloaca_task WHERE name = 'find_cold'") == []


def test_the_numbers_are_those_of_the_data(shown: tuple[Path, str]) -> None:
    directory, _ = shown
    ((output,),) = rows(directory, "SELECT output FROM cloaca_task WHERE name = 'by_year'")
    years = {year["year"]: year["departure_c"] for year in json.loads(output)["years"]}
    assert years == {2012: -0.12, 2013: 0.68, 2014: 1.41, 2015: 1.71}


@pytest.mark.parametrize("name", ["chart.svg", "graph.svg", "graph-killed.svg"])
def test_the_pictures_are_svg(shown: tuple[Path, str], name: str) -> None:
    directory, _ = shown
    assert ET.parse(directory / name).getroot().tag == "{http://www.w3.org/2000/svg}svg"


def test_the_report_needs_no_other_file(shown: tuple[Path, str]) -> None:
    page = (shown[0] / "report.html").read_text(encoding="utf-8")
    assert "2015 was +1.71 °C" in page
    assert "<svg" in page
    assert not re.search(r'\b(src|href)="', page)


def test_the_demonstration_deletes_what_it_has_left_and_nothing_else(shown: tuple[Path, str]) -> None:
    directory, _ = shown
    assert (directory / "mine.txt").exists()
    assert not (directory / "rows" / "old.jsonl").exists()


# The proof must be able to fail: each of these tampers with good evidence in one way.


@pytest.fixture(scope="module")
def proof() -> ModuleType:
    spec = importlib.util.spec_from_file_location("proof", WEATHER / "proof.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def row(name: str, session: int, at: float) -> tuple[Any, ...]:
    return (name, "succeeded", 1, session, at, at, "{}")


A, B, C = row("a", 1, 1.0), row("b", 2, 3.0), row("c", 2, 4.0)
GOOD: Mapping[str, Any] = {
    "before": {"a": A},
    "after": {"a": A, "b": B, "c": C},
    "executions": [(1, "a", 1), (1, "a", 2), (1, "b", 1), (2, "b", 1), (2, "c", 1)],
    "runs": [(1, "weather", "succeeded", "key", 1)],
    "failures": [("a", 1, "ConnectionError", "the server hung up")],
    "statuses": (-9, 0),
    "lease_until": 30.0,
    "recovered_at": 2.0,
}
TAMPERED: Mapping[str, Mapping[str, Any]] = {
    "not killed": {"statuses": (0, 0)},
    "second process failed": {"statuses": (-9, 1)},
    "run not done": {"runs": [(1, "weather", "running", "key", 1)]},
    "two runs": {"runs": [*GOOD["runs"], (2, "weather", "succeeded", None, 0)]},
    "nothing committed before": {"before": {}},
    "nothing was running": {"executions": [(1, "a", 1), (1, "a", 2), (2, "b", 1), (2, "c", 1)]},
    "row changed": {"after": {"a": row("a", 2, 2.0), "b": B, "c": C}},
    "row lost": {"after": {"b": B, "c": C}},
    "executed again": {"executions": [*GOOD["executions"], (2, "a", 1)]},
    "cut off and forgotten": {"executions": GOOD["executions"][:3], "after": {"a": A}},
    "task missing": {"after": {"a": A, "b": B}},
    "executed twice in the first process": {"executions": [(1, "a", 1), *GOOD["executions"]]},
    "executed twice in the second process": {"executions": [*GOOD["executions"], (2, "c", 1)]},
}


def claims(proof: ModuleType, **changes: Any) -> list[bool]:
    parts = {**GOOD, **changes}
    parts["executions"] = [proof.Execution(*execution) for execution in parts["executions"]]
    return [is_true for is_true, _ in proof.claims(proof.Evidence(**parts), ["a", "b", "c"])]


def test_good_evidence_proves_it(proof: ModuleType) -> None:
    assert all(claims(proof))


@pytest.mark.parametrize("tampering", TAMPERED)
def test_tampered_evidence_does_not(proof: ModuleType, tampering: str) -> None:
    assert not all(claims(proof, **TAMPERED[tampering]))
