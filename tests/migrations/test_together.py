"""Many processes on many databases at once; and processes that are killed at every boundary of an upgrade."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import Connection

from cloaca.ports import Batch
from cloaca.stores.sql import structure
from cloaca.stores.sql.connections import engine_of
from cloaca.stores.sql.postgres_links import Names, connect
from cloaca.stores.sql.postgres_migrating import bridged
from tests.crashes.processes import Life, rows, until
from tests.migrations.programs import open_all, store_of, upgrade_and_die
from tests.migrations.releases import next_files
from tests.stores.pgbouncers import binary, pgbouncer
from tests.stores.rows import owned, session_of, status_of, task, waiting
from tests.thoroughness import some
from tests.torture.boundaries import Fault

PROCESSES, PLACES = 16, 6
RUNS = 45  # two batches of the filling revision, and a rest


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the next release's revisions."""
    return next_files(tmp_path_factory.mktemp("next") / "revisions")


@pytest.fixture(params=["sqlite", "postgresql", "pgbouncer"])
def place(request: pytest.FixtureRequest, quick_path: Path) -> Iterator[Callable[[int], str]]:
    """What names places: files, or schemas of a database, also behind a pooler with fewer servers than processes."""
    if request.param == "sqlite":
        yield lambda number: f"sqlite:///{quick_path}/{number}.db"
        return
    url = request.getfixturevalue("url_of_postgres")
    if request.param == "postgresql":
        yield lambda number: f"{url} Te'n:ant {number}"
    elif binary() is None:
        pytest.skip("pgbouncer is not on this machine")
    else:
        with pgbouncer(url) as pooled:
            yield lambda number: f"{pooled} tenant{number}"


def asked(place: str, statement: str) -> list[tuple[Any, ...]]:
    url, _, schema = place.partition(" ")
    if not schema:
        return rows(url, statement.replace("{}", ""))

    async def ask() -> list[tuple[Any, ...]]:
        connection = await asyncpg.connect(url, statement_cache_size=0)  # a pooler may be in between
        try:
            return [tuple(row) for row in await connection.fetch(statement.replace("{}", f'"{schema}".'))]
        finally:
            await connection.close()

    return asyncio.run(ask())


def together(places: list[str], folder: Path, files: Path | None) -> None:
    gate = folder / f"gate-{files is not None}"
    for old in folder.glob("ready-*"):
        old.unlink()
    lives = [Life(open_all, places, gate, files) for _ in range(PROCESSES)]
    try:
        until(lambda: len(list(folder.glob("ready-*"))) == PROCESSES)
        gate.touch()
        assert [life.end() for life in lives] == [0] * PROCESSES
    finally:
        for life in lives:
            life.kill()


def test_many_processes_upgrade_many_places_once(place: Callable[[int], str], tmp_path: Path, files: Path) -> None:
    """A revision that is done twice fails: its column, its table is there already."""
    places = [place(number) for number in range(PLACES)]
    together(places, tmp_path, None)
    for each in places:
        assert asked(each, "SELECT version_num FROM {}cloaca_version") == [("0001",)]
        assert asked(each, "SELECT id, schema_version FROM {}cloaca_meta") == [(1, 1)]
    together(places, tmp_path, files)
    for each in places:
        assert asked(each, "SELECT version_num FROM {}cloaca_version") == [("0003",)]
        assert asked(each, "SELECT schema_version FROM {}cloaca_meta") == [(1,)]


def filled(place: str) -> None:
    """Make the tables of this release, with runs."""

    async def fill() -> None:
        store = store_of(place)
        await store.open()
        session = await session_of(store)
        await owned(store, session, *range(RUNS))
        await store.transact(Batch(session, tasks=[task(run) for run in range(RUNS)]))
        await store.close_session(session, at=0.0)
        await waiting(store, RUNS)
        await store.close()

    asyncio.run(fill())


def structural(place: str) -> list[str]:
    """How the tables differ from this release's."""
    url, _, schema = place.partition(" ")

    def compare(connection: Connection) -> list[str]:
        named = schema or None
        return [each.sentence for each in structure.differences(connection, structure.declared(named), named)]

    if not schema:
        with engine_of(Path(url.removeprefix("sqlite:///"))).connect() as connection:
            return compare(connection)

    async def on_server() -> list[str]:
        async with bridged(lambda: connect(url, Names(schema))) as (_, in_greenlet):
            found: list[str] = await in_greenlet(compare)
            return found

    return asyncio.run(on_server())


CASES = {"new": (False, False), "next": (True, False), "after deployment": (True, True)}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("place", ["sqlite", "postgresql"], indirect=True)
def test_an_upgrade_that_is_killed_anywhere_is_gone_on_with(
    place: Callable[[int], str], case: str, tmp_path: Path, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_next, after = CASES[case]
    monkeypatch.setenv("CLOACA_TORTURE_JOURNAL", str(tmp_path / "journal"))
    known = files if is_next else None
    number = 0

    def upgraded(fault: Fault) -> int | None:
        report = tmp_path / f"report-{number}-{fault.number}"
        life = Life(upgrade_and_die, place(number), fault, report, known, after)
        life.end()
        return int(report.read_text()) if report.exists() else None

    def prepared() -> None:
        if is_next:
            filled(place(number))
        if after:
            assert Life(upgrade_and_die, place(number), Fault(), tmp_path / "before", known, False).end() == 0

    prepared()
    count = upgraded(Fault())
    assert count is not None
    assert count > (4 if after else 10)
    expected = structural(place(number))
    assert bool(expected) == is_next
    faults = [Fault(1)] + [Fault(each, "after") for each in range(1, count)]
    faults = faults[:3] + (faults[3:-3:4] if case == "new" else some(faults[3:-3], 4)) + faults[-3:]
    for number, fault in enumerate(faults, 1):
        prepared()
        assert upgraded(fault) is None, f"{fault} did not kill"
        assert upgraded(Fault()) is not None
        assert structural(place(number)) == expected
        found = asked(place(number), "SELECT version_num FROM {}cloaca_version")
        assert found == [("0004" if after else "0003" if is_next else "0001",)]
        if is_next:
            assert asked(place(number), "SELECT count(*) FROM {}cloaca_run WHERE region = 'here'") == [(RUNS + 1,)]
            assert asked(place(number), "SELECT count(*) FROM {}cloaca_task") == [(RUNS,)]
        else:
            assert asyncio.run(works(place(number)))


async def works(place: str) -> bool:
    """Whether a run can be stored."""
    store = store_of(place)
    await store.open()
    await waiting(store, 1)
    found = await status_of(store, 1)
    await store.close()
    return found == "pending"
