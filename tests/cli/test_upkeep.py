"""``cloaca db upgrade|current|check|doctor``: what is told about tables, and what each ailment is told to need."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.cli.conftest import Answer, Command
from tests.crashes.conftest import execute as execute_on_server
from tests.stores.servers import server

NAME = "cloaca_upkeep"


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with server() as url:
        yield url


class Database:
    """A database of either kind, with one run that has ended, and the command on it."""

    def __init__(self, url: str, cloaca: Command) -> None:
        self.url, self._cloaca = url, cloaca
        self.prefix = "" if url.startswith("sqlite") else "cloaca."

    def __call__(self, *arguments: str) -> Answer:
        return self._cloaca("db", *arguments, "--database", self.url)

    def execute(self, statement: str) -> None:
        text = statement.replace("{}", self.prefix)
        if self.prefix:
            asyncio.run(execute_on_server(self.url, text))
            return
        with closing(sqlite3.connect(self.url.removeprefix("sqlite:///"))) as connection, connection:
            connection.execute(text)

    def findings(self, *arguments: str) -> list[dict[str, Any]]:
        (place,) = self(*arguments, "--json").document["places"]
        found: list[dict[str, Any]] = place["findings"]
        return found


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, cloaca: Command, here: Path) -> Iterator[Database]:
    """A database that nobody has used."""
    if request.param == "sqlite":
        yield Database(f"sqlite:///{here}/runs.db", cloaca)
        return
    url = request.getfixturevalue("postgres")
    asyncio.run(execute_on_server(url, f"CREATE DATABASE {NAME}"))
    yield Database(re.sub(r"/\w+(?=\?|$)", f"/{NAME}", url, count=1), cloaca)
    asyncio.run(execute_on_server(url, f"DROP DATABASE {NAME} WITH (FORCE)"))


@pytest.fixture
def database(empty: Database, cloaca: Command) -> Database:
    assert cloaca("run", "jobs", "--input", '{"order_id": 7}', "--quiet", "--database", empty.url).code == 0
    return empty


def test_upgrading_makes_what_is_not_there_and_is_done_once(empty: Database) -> None:
    answer = empty("current")
    assert (answer.code, answer.out) == (4 if not empty.prefix else 0, "")
    assert "`cloaca db upgrade`" in answer.err
    assert empty("check").code == 4
    answer = empty("upgrade")
    assert (answer.code, answer.out.endswith(": upgraded to 0001\n"), answer.err) == (0, True, "")
    assert empty("upgrade").out.endswith(": nothing to do\n")
    (place,) = empty("upgrade", "--post-deploy", "--json").document["places"]
    assert place["reached"] == []
    document = empty("current", "--json").document
    assert (document["head"], document["last"]) == ("0001", "0001")
    (place,) = document["places"]
    assert place["place"] == ("cloaca" if empty.prefix else empty.url.removeprefix("sqlite:///"))
    del place["place"]
    assert place == {"revision": "0001", "state": "current", "pending": [], "post_deploy": [], "refusal": None}
    assert empty("current").lines()[0].split() == ["PLACE", "REVISION", "HEAD", "STATE"]


def test_a_database_in_good_health(database: Database) -> None:
    answer = database("check")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.endswith(": revision 0001, ok\n")
    document = database("doctor", "--json").document
    assert document["ok"] is True
    assert document["places"][0]["findings"] == []
    assert (document["places"][0]["facts"]["runs"], document["places"][0]["facts"]["tasks"]) == (1, 3)
    assert database("doctor").code == 0


def test_every_place_is_shown(database: Database, cloaca: Command) -> None:
    if database.prefix:
        database.execute("CREATE SCHEMA acme")
        database.execute("CREATE TABLE acme.cloaca_meta (id int, schema_version int)")
        database.execute("INSERT INTO acme.cloaca_meta VALUES (1, 77)")
        names = ["acme", "cloaca"]
    else:
        path = Path(database.url.removeprefix("sqlite:///"))
        other = path.with_name("runs@acme.db")
        assert cloaca("db", "upgrade", "--database", f"sqlite:///{other}").code == 0
        with closing(sqlite3.connect(other)) as connection, connection:
            connection.execute("UPDATE cloaca_meta SET schema_version = 77")
        names = [str(path), str(other)]
    answer = database("current", "--json")
    assert answer.code == 4
    assert [place["place"] for place in answer.document["places"]] == names
    assert sorted(place["state"] for place in answer.document["places"]) == ["current", "refused"]
    assert "newer release" in answer.err
    assert database("check").code == database("doctor").code == 4
    answer = database("upgrade")
    assert answer.code == 4
    assert "upgrade cloaca here" in answer.err


STRUCTURES = {
    "DROP INDEX {}cloaca_run_queue": "the index cloaca_run_queue of cloaca_run is missing",
    "ALTER TABLE {}cloaca_note DROP COLUMN detail": "the column cloaca_note.detail is missing",
    "ALTER TABLE {}cloaca_note ALTER COLUMN detail TYPE int USING 1": "the column cloaca_note.detail has INTEGER where",
    "ALTER TABLE {}cloaca_note ALTER COLUMN detail DROP NOT NULL": "the column cloaca_note.detail has True where False",
}


@pytest.mark.parametrize("change", STRUCTURES, ids=list(STRUCTURES.values()))
def test_what_is_missing_fails_the_check(database: Database, change: str) -> None:
    if "ALTER COLUMN" in change and not database.prefix:
        pytest.skip("SQLite can't change columns")
    database.execute(change)
    answer = database("check")
    assert answer.code == 1
    assert STRUCTURES[change] in answer.out
    assert database("doctor").code == 1


def test_an_index_of_another_kind_fails_the_check(database: Database) -> None:
    database.execute("DROP INDEX {}cloaca_run_parked")
    database.execute("CREATE INDEX cloaca_run_parked ON {}cloaca_run (wake_at, id) WHERE status = 'waiting'")
    assert "cloaca_run_parked of cloaca_run is another one" in database("check").out


def test_what_is_there_in_addition_is_told_and_no_reason_to_fail(database: Database) -> None:
    database.execute("CREATE INDEX cloaca_mine ON {}cloaca_note (at)")
    answer = database("check")
    assert answer.code == 0
    assert "advice structure: this release knows no index cloaca_mine" in answer.out


def test_tables_without_a_revision_are_taken_over_if_they_are_those_of_a_release(database: Database) -> None:
    database.execute("DROP TABLE {}cloaca_version")
    (place,) = database("current", "--json").document["places"]
    assert (place["state"], place["revision"], place["pending"]) == ("no revision", None, ["0001"])
    assert database("current").code == 0
    (found,) = database.findings("check")
    assert found["message"] == "there are tables without a revision, and they are those of 0001"
    assert "cloaca db upgrade" in found["remedy"]
    assert database("check").code == 1
    assert database("upgrade").out.endswith(": upgraded to 0001\n")
    assert (database("check").code, database("current", "--json").document["places"][0]["state"]) == (0, "current")


@pytest.mark.parametrize("version", ["DROP TABLE {}cloaca_version", "DELETE FROM {}cloaca_version"])
def test_tables_that_no_release_has_made_are_not_told_to_be_upgraded(database: Database, version: str) -> None:
    database.execute(version)
    database.execute("ALTER TABLE {}cloaca_attempt DROP COLUMN beat_at")
    refusal = database("upgrade")
    assert refusal.code == 1
    (place,) = database("current", "--json").document["places"]
    assert (place["state"], place["pending"]) == ("refused", [])
    for said in (place["refusal"], database.findings("check")[0]["message"], database.findings("doctor")[0]["message"]):
        assert "tables of cloaca's without a revision, and they are not those of a release" in said
        assert "cloaca_attempt.beat_at is missing" in said
        assert "choose another database" in said
        assert said in " ".join(refusal.err.split())
    for command in ("current", "check", "doctor"):
        answer = database(command)
        assert answer.code == 4
        assert "db upgrade" not in answer.out + answer.err


RUN = "{}cloaca_run"
AILMENTS: dict[str, tuple[str, str, str]] = {
    "lost-runs": (f"UPDATE {RUN} SET status = 'running', finished_at = NULL, owner = 99", "problem", "UPDATE"),
    "dead-workers": (
        "INSERT INTO {}cloaca_session (name, started_at, expires_at) VALUES ('gone', 1, 1)", "advice", "start a worker",
    ),
    "runs-without-plan": ("DELETE FROM {}cloaca_plan", "problem", "restore cloaca_plan"),
    "half-ended-runs": (f"UPDATE {RUN} SET finished_at = NULL", "problem", "restore these rows"),
    "lost-children": (f"UPDATE {RUN} SET parent = 99", "problem", "SET parent = NULL"),
    "orphans-in-cloaca_note": (
        "INSERT INTO {}cloaca_note (run_id, at, kind, detail) VALUES (99, 1, 'x', 'x')", "problem", "DELETE FROM",
    ),
    "lost-slots": (
        "INSERT INTO {}cloaca_slot (session, ticket, queue, priority, run, task, held) "
        "VALUES (99, 1, 'mail', 0, 1, 'x', {true})", "problem", "DELETE FROM",
    ),
    "lost-attempts": (
        "INSERT INTO {}cloaca_attempt (run_id, name, attempt, session, started_at) SELECT id, 'x', 1, 99, 1 "
        f"FROM {RUN}", "problem", "DELETE FROM",
    ),
    "late-firings": (
        "INSERT INTO {}cloaca_firing (schedule, scheduled_for, workflow, state, kind, attempts, overlap, parked, "
        "claimed_at) VALUES ('daily', 1, 'orders', 'claimed', 'schedule', 0, 'allow', {false}, 1)", "advice",
        "start a worker that has their workflows",
    ),
    "blocked-runs": (f"UPDATE {RUN} SET status = 'blocked', finished_at = NULL", "advice", "cloaca runs show"),
    "old-runs": (f"UPDATE {RUN} SET finished_at = {time.time() - 50 * 86400}", "advice", "cloaca db prune"),
}  # fmt: skip


@pytest.mark.parametrize("ailment", AILMENTS)
def test_an_ailment_is_found_with_its_remedy(database: Database, ailment: str) -> None:
    statement, level, remedy = AILMENTS[ailment]
    for word, value in (("true", "1"), ("false", "0")):
        statement = statement.replace(f"{{{word}}}", word if database.prefix else value)
    database.execute(statement)
    (found,) = database.findings("doctor")
    assert (found["check"], found["level"]) == (ailment, level)
    assert remedy in found["remedy"]
    assert database("doctor").code == (1 if level == "problem" else 0)
    assert database("check").code == 0
    said = re.search(r"(UPDATE|DELETE FROM) .*", found["remedy"])
    if said:  # a remedy that is SQL works
        database.execute(said[0])
        assert database.findings("doctor") == []


@pytest.mark.parametrize("empty", ["sqlite"], indirect=True)
def test_a_file_that_is_damaged_or_has_room_to_give_back(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloaca.stores.sql.sqlite_upkeep.LARGE_BYTES", 1000)
    monkeypatch.setattr("cloaca.stores.sql.sqlite_upkeep.MOST_FREE", 0.01)
    database.execute("CREATE TABLE bulk AS SELECT zeroblob(200000) AS x")
    database.execute("DROP TABLE bulk")
    with closing(sqlite3.connect(database.url.removeprefix("sqlite:///"))) as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT 1 FROM cloaca_run").fetchall()  # so that the log stays
        database.execute("UPDATE cloaca_run SET reason = 'x'")
        assert {finding["check"] for finding in database.findings("doctor")} == {"free-space", "log-size"}
    path = Path(database.url.removeprefix("sqlite:///"))
    database.execute("PRAGMA journal_mode = DELETE")
    assert [finding["check"] for finding in database.findings("doctor")][:1] == ["journal"]
    with closing(sqlite3.connect(path)) as connection:
        ((page,),) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'cloaca_run_by_plan'")
    content = bytearray(path.read_bytes())
    content[(page - 1) * 4096 + 3 : (page - 1) * 4096 + 5] = b"\x00\x09"  # of more cells than there are
    path.write_bytes(content)
    answer = database("doctor", "--json")
    assert answer.code in (1, 4)
    assert "damaged" in answer.out + answer.err


@pytest.mark.parametrize("empty", ["postgresql"], indirect=True)
def test_a_server_that_does_not_clean_up(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    import cloaca.stores.sql.postgres_upkeep as upkeep  # noqa: PLC0415 - its driver is an extra

    for name in ("IDLE", "OLD"):
        monkeypatch.setattr(upkeep, name, re.sub(r"interval '\d+", "interval '0", getattr(upkeep, name)))
    for name in ("NEVER_COUNTED", "DEAD"):
        monkeypatch.setattr(upkeep, name, re.sub(r"> 10000", ">= 0", getattr(upkeep, name)))
    database.execute("ALTER TABLE {}cloaca_task SET (autovacuum_enabled = false)")

    async def examined() -> list[dict[str, Any]]:
        connection = await asyncpg.connect(database.url)
        await connection.execute("BEGIN; SELECT 1")
        found = await asyncio.to_thread(database.findings, "doctor")
        await connection.close()
        return found

    found = {finding["check"]: finding for finding in asyncio.run(examined())}
    assert found["autovacuum"]["level"] == "problem"
    assert "cloaca_task" in found["autovacuum"]["message"]
    assert {"idle-in-transaction", "old-transactions", "statistics"} <= found.keys()


@pytest.mark.parametrize("empty", ["postgresql"], indirect=True)
def test_a_role_that_may_not_do_enough(database: Database) -> None:
    if "cloaca@" not in database.url:
        pytest.skip("the roles of a server that is given are not touched")
    database.execute("CREATE ROLE looker LOGIN; GRANT USAGE ON SCHEMA cloaca TO looker; "
                     "GRANT SELECT ON ALL TABLES IN SCHEMA cloaca TO looker")  # fmt: skip
    try:
        looking = Database(database.url.replace("cloaca@", "looker@"), database._cloaca)
        found = looking.findings("doctor")
        assert [(each["check"], each["level"]) for each in found[:2]] == [
            ("permissions", "problem"), ("permissions", "advice"),
        ]  # fmt: skip
        assert looking("check").code == 0
    finally:
        database.execute("DROP OWNED BY looker; DROP ROLE looker")


def test_who_only_looks_makes_nothing_on_a_server(postgres: str, cloaca: Command) -> None:
    name = f"{NAME}_empty"
    asyncio.run(execute_on_server(postgres, f"CREATE DATABASE {name}"))
    url = re.sub(r"/\w+(?=\?|$)", f"/{name}", postgres, count=1)
    try:
        for command in (("runs", "list"), ("schedules", "list"), ("db", "prune", "--older-than", "1d")):
            answer = cloaca(*command, "--database", url)
            assert answer.code == 4, answer
            assert "no tables of cloaca's" in answer.err
        assert cloaca("db", "current", "--database", url).code == 0
    finally:
        asyncio.run(execute_on_server(postgres, f"DROP DATABASE {name} WITH (FORCE)"))


def test_memory_has_no_tables(cloaca: Command) -> None:
    answer = cloaca("db", "current", "--database", "memory://")
    assert answer.code == 2
    assert "no tables" in answer.err
