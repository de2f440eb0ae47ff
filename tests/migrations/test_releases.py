"""Two releases on one database, in real processes: the one that is there, and the next, which brings revisions."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from cloaca import Runner
from cloaca.errors import DatabaseTooNew, StoreUnavailable
from cloaca.runner import open_store
from tests.crashes.processes import rows, until
from tests.migrations.programs import Number, counting
from tests.migrations.releases import end, start
from tests.stores.asynchronous import asynchronous

PLACES = 5


def ready(process: Any) -> None:
    assert process.stdout.readline() == "ready\n", process.stderr.read()


def column_count(url: str, table: str, column: str) -> int:
    if url.startswith("sqlite"):
        return len(rows(url, f"SELECT 1 FROM pragma_table_info('{table}') WHERE name = '{column}'"))
    where = f"table_schema = 'cloaca' AND table_name = '{table}' AND column_name = '{column}'"
    return len(rows(url, f"SELECT 1 FROM information_schema.columns WHERE {where}"))


def revision_of(url: str) -> str:
    return str(rows(url, "SELECT version_num FROM cloaca_version")[0][0])


def upgraded(url: str, after: str, *, release: Path, cwd: Path) -> Any:
    return json.loads(end(start(release, "upgrade", url, after, cwd=cwd)))


def test_both_work_side_by_side_until_the_old_one_is_gone(url: str, next_release: Path, tmp_path: Path) -> None:
    stop_old, stop_new = tmp_path / "stop-old", tmp_path / "stop-new"
    old = start(None, "work", url, stop_old, cwd=tmp_path)
    ready(old)
    until(lambda: rows(url, "SELECT count(*) FROM cloaca_run WHERE finished_at IS NOT NULL")[0][0] >= 30)
    assert revision_of(url) == "0001"
    new = start(next_release, "work", url, stop_new, cwd=tmp_path)  # it upgrades under the load of the old one
    ready(new)
    assert revision_of(url) == "0003"
    before = rows(url, "SELECT count(*) FROM cloaca_run WHERE finished_at IS NOT NULL")[0][0]
    until(lambda: rows(url, "SELECT count(*) FROM cloaca_run WHERE finished_at IS NOT NULL")[0][0] >= before + 40)
    assert rows(url, "SELECT count(*) FROM cloaca_run WHERE region = 'here'")[0][0] >= 30

    # What the old one needs is not taken away while it works, and nor while it may be started again unnoticed.
    assert old.poll() is None, end(old)
    refused = upgraded(url, "after", release=next_release, cwd=tmp_path)
    assert isinstance(refused, str), (refused, old.poll() is not None and end(old))
    assert refused.startswith("UpgradeRefused: ")
    assert "of an older release" in refused
    assert column_count(url, "cloaca_session", "lock_file") == 1

    stop_old.touch()
    said = json.loads(end(old).splitlines()[-1])
    assert said["wrong"] == 0
    reached = upgraded(url, "after", release=next_release, cwd=tmp_path)
    assert [steps for _, steps in reached] == [["0004"]]
    assert column_count(url, "cloaca_session", "lock_file") == 0
    before = rows(url, "SELECT count(*) FROM cloaca_run WHERE finished_at IS NOT NULL")[0][0]
    until(lambda: rows(url, "SELECT count(*) FROM cloaca_run WHERE finished_at IS NOT NULL")[0][0] >= before + 20)
    stop_new.touch()
    assert json.loads(end(new).splitlines()[-1])["wrong"] == 0
    assert rows(url, "SELECT count(*) FROM cloaca_run WHERE status <> 'succeeded'") == [(0,)]

    with pytest.raises(DatabaseTooNew) as refusal:
        asyncio.run(open_store(url).open())
    for words in ("newer release", "is at revision 0004", "knows revisions up to 0001", "upgrade cloaca here"):
        assert words in str(refusal.value)


def test_a_deployment_may_be_taken_back(url: str, next_release: Path, tmp_path: Path) -> None:
    """New code, then the old again on the tables that it has left, then the new: each finishes what is there."""
    for release, steps in ((next_release, ["0001", "0002", "0003"]), (None, []), (next_release, [])):
        assert release is None or upgraded(url, "before", release=release, cwd=tmp_path)[0][1] == steps

        if release is None:

            @asynchronous
            async def old() -> None:
                async with Runner(url, workflows=[counting]) as runner:
                    assert (await runner.run(counting, Number(value=3))).unwrap() == Number(value=9)

            old()
        else:
            stop = tmp_path / f"stop-{len(steps)}"
            process = start(release, "work", url, stop, cwd=tmp_path)
            ready(process)
            stop.touch()
            assert json.loads(end(process).splitlines()[-1])["wrong"] == 0
    assert revision_of(url) == "0003"


def test_new_code_that_only_looks_does_not_upgrade(url: str, next_release: Path, tmp_path: Path) -> None:
    asyncio.run(opened(url))
    process = start(next_release, "look", url, cwd=tmp_path)
    said = end(process)
    assert said.startswith("4 error: ")
    assert "is at revision 0001, and this release of cloaca works with 0003" in said
    assert "cloaca db upgrade" in said
    assert revision_of(url) == "0001"


async def opened(url: str) -> None:
    store = open_store(url)
    await store.open()
    await store.close()


def test_nothing_is_made_of_what_is_only_looked_at(url: str) -> None:
    store: Any = open_store(url)
    store.upgrades = False
    with pytest.raises(StoreUnavailable, match="no tables of cloaca's"):
        asyncio.run(store.open())
    if url.startswith("postgres"):
        assert rows(url, "SELECT 1 FROM pg_namespace WHERE nspname = 'cloaca'") == []
