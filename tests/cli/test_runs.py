"""``cloaca runs``: listing and showing runs, without the user's code."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest
from pydantic import BaseModel

from cloaca import Retry, Runner, Workflow, task
from cloaca.cli import main
from tests.cli.conftest import Answer
from tests.cli.conftest import Command as Program


class Number(BaseModel):
    n: int


@task
def first(number: Number) -> Number:
    return number


@task(retry=Retry(attempts=2, delay=0))
def picky(number: Number) -> None:
    if number.n == 1:
        raise ValueError("not \x1b[31m1")


@task
async def stuck(number: Number) -> None:
    await asyncio.Event().wait()


@task
def last(number: Number) -> None: ...


def is_large(number: Number) -> bool:
    return number.n > 5


PICKY = Workflow("picky", first >> picky >> last.when(is_large))
STUCK = Workflow("a-workflow-with-a-name-that-is-much-too-long-for-its-column", first >> stuck >> last)


class Database:
    """A database with some runs: one failed, one succeeded, one left in the middle."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.failed, self.succeeded, self.left = asyncio.run(self._fill())

    async def _fill(self) -> tuple[str, str, str]:
        async with Runner(f"sqlite:///{self.path}", workflows=[PICKY, STUCK], grace_s=0) as runner:
            ids = []
            for n in (1, 2):
                handle = await runner.start(PICKY, Number(n=n), key=f"key-{n}")
                await handle.result()
                ids.append(handle.id)
            handle = await runner.start(STUCK, Number(n=3))
            async for event in handle.events():
                if event.task == "stuck":
                    break
            return ids[0], ids[1], handle.id


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Database:
    return Database(tmp_path_factory.mktemp("runs") / "runs.db")


class Command:
    """Runs ``cloaca runs ...`` on the database, in this process."""

    def __init__(self, database: Database, capsys: pytest.CaptureFixture[str]) -> None:
        self.url, self._capsys = f"sqlite:///{database.path}", capsys

    def __call__(self, *arguments: str) -> Answer:
        code = main(["runs", *arguments, "--database", self.url])
        captured = self._capsys.readouterr()
        return Answer(code, captured.out, captured.err)


@pytest.fixture
def runs(database: Database, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setenv("COLUMNS", "80")
    return Command(database, capsys)


def test_a_list_fits_80_columns_and_has_the_newest_first(runs: Command, database: Database) -> None:
    answer = runs("list")
    assert (answer.code, answer.err) == (0, "")
    header, *rows = answer.lines()
    assert header.split() == ["ID", "WORKFLOW", "STATUS", "CREATED", "TOOK"]
    assert [row.split()[0] for row in rows] == [database.left, database.succeeded, database.failed]
    assert [row.split()[2] for row in rows] == ["pending", "succeeded", "failed"]
    assert max(len(line) for line in answer.lines()) <= 80
    assert "\x1b" not in answer.out


def test_a_list_is_filtered_and_paged(runs: Command, database: Database) -> None:
    page = runs("list", "--limit", "1")
    assert page.err == f"note: there are more: --before {database.left}\n"
    rest = runs("list", "--before", database.left, "--workflow", "picky", "--status", "failed", "--json")
    assert [run["id"] for run in rest.document] == [database.failed]
    assert runs("list", "--workflow", "nosuch").err == "note: no such runs\n"
    assert runs("list", "--workflow", "nosuch", "--json").document == []


def test_the_json_of_a_list(runs: Command, database: Database) -> None:
    (run,) = runs("list", "--status", "succeeded", "--json").document
    assert list(run) == [
        "id", "workflow", "version", "status", "key", "created_at", "started_at", "finished_at", "reason",
        "priority",
    ]  # fmt: skip
    assert (run["id"], run["workflow"], run["status"], run["key"]) == (
        database.succeeded,
        "picky",
        "succeeded",
        "key-2",
    )
    assert run["created_at"].endswith("+00:00")
    assert run["version"] == PICKY.version


def test_a_failed_run_is_shown_with_its_tasks_and_failures(runs: Command, database: Database) -> None:
    answer = runs("show", database.failed)
    assert (answer.code, answer.err) == (0, "")
    lines = [" ".join(line.split()) for line in answer.lines()]
    assert {"status failed", "workflow picky", "key key-1", 'input {"n":1}'} <= set(lines)
    assert any(line.startswith("first ✓ succeeded 1 ") for line in lines)
    assert any(line.startswith("picky ✗ failed 2 ") for line in lines)
    assert "last - skipped picky failed" in lines
    assert "2 failed attempts" in lines
    assert r"picky, attempt 1: ValueError: not \x1b[31m1" in lines
    assert "\x1b" not in answer.out
    assert max(len(line) for line in answer.lines()) <= 80


def test_a_run_left_in_the_middle_says_what_it_waits_for(runs: Command, database: Database) -> None:
    lines = [" ".join(line.split()) for line in runs("show", database.left).lines()]
    assert "waits for a worker that has its workflow" in lines
    assert "stuck · ready" in lines
    assert "last · pending" in lines
    document = runs("show", database.left, "--json").document
    assert document["waiting_for"] == {"kind": "worker", "task": None, "field": None, "until": None}


def test_the_json_of_a_run(runs: Command, database: Database) -> None:
    document = runs("show", database.failed, "--json").document
    assert list(document) == [
        "id", "workflow", "version", "status", "key", "created_at", "started_at", "finished_at", "reason",
        "priority", "input", "output", "waiting_for", "tasks", "failures",
    ]  # fmt: skip
    assert document["input"] == {"n": 1}
    assert document["waiting_for"]["kind"] == "nothing"
    last = document["tasks"][-1]
    assert list(last) == ["name", "status", "attempt", "started_at", "finished_at", "skipped_because", "code"]
    assert (last["name"], last["status"], last["skipped_because"]) == ("last", "skipped", "picky failed")
    assert [(f["task"], f["attempt"], f["exception_type"], f["error"]) for f in document["failures"]] == [
        ("picky", 1, "ValueError", None),
        ("picky", 2, "ValueError", None),
    ]
    assert document["failures"][1]["message"] == "not \x1b[31m1"


def test_a_condition_has_its_name_without_the_code(runs: Command, database: Database) -> None:
    without = runs("show", database.succeeded, "--json").document["tasks"][-1]
    target = f"{Path(__file__)}:PICKY"
    given = runs("show", database.succeeded, "--json", "--target", target).document["tasks"][-1]
    assert (without["skipped_because"], given["skipped_because"]) == ("when is_large", "when is_large")


@pytest.mark.parametrize("run_id", ["12", "abc", "-1x", "9" * 30])
def test_an_unknown_run_is_usage(runs: Command, run_id: str) -> None:
    answer = runs("show", run_id)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("error: ")


def test_another_workflows_target_is_usage(runs: Command, database: Database) -> None:
    answer = runs("show", database.failed, "--target", f"{Path(__file__)}:STUCK")
    assert answer.code == 2
    assert 'is one of workflow "picky"' in answer.err


@pytest.mark.parametrize("arguments", [["list"], ["show", "1"]])
def test_nothing_is_made_of_a_mistyped_path(
    tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["runs", *arguments, "--database", f"sqlite:///{tmp_path}/nosuch.db"]) == 4
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"error: there is no database {tmp_path}/nosuch.db")
    assert list(tmp_path.iterdir()) == []


def test_another_programs_database_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "app.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE customer (id)")
    connection.close()
    before = path.read_bytes()
    assert main(["runs", "list", "--database", f"sqlite:///{path}"]) == 4
    assert "has no tables of cloaca's" in capsys.readouterr().err
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_damaged_file_is_said_to_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "damaged.db"
    path.write_bytes(b"no database at all" * 100)
    assert main(["runs", "list", "--database", f"sqlite:///{path}"]) == 4
    assert "is not a SQLite database" in capsys.readouterr().err


def test_the_output_is_shown_to_who_names_the_code(cloaca: Program, runs: Command, database: Database) -> None:
    url = ["--database", "sqlite:///runs.db"]
    run = cloaca("run", "jobs", "--input", '{"order_id": 7}', "--json", *url).document["run_id"]
    with_code, without = (cloaca("runs", "show", run, *url, *target).lines() for target in (["--target", "jobs"], []))
    assert [line.split(maxsplit=1) for line in with_code if line.startswith("output")] == [
        ["output", '{"tracking": "t-p1"}']
    ]
    assert not any(line.startswith("output") for line in without)
    here = f"{Path(__file__)}:PICKY"
    null, none = (runs("show", run, "--target", here).out for run in (database.succeeded, database.failed))
    assert "\noutput    null\n" in null
    assert "output" not in none
