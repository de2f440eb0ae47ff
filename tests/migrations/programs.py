"""What processes of either release do: open databases together, work on one, die in the middle of an upgrade."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from cloaca import Runner, Workflow, task
from cloaca.errors import StoreError
from cloaca.ports import Store
from cloaca.runner import open_store, open_upkeep
from tests.crashes.processes import until
from tests.torture.boundaries import Fault, install


class Number(BaseModel):
    value: int


@task
async def increment(number: Number) -> Number:
    await asyncio.sleep(0.005)
    return Number(value=number.value + 1)


@task(name="double")
def doubled(number: Number) -> Number:
    return Number(value=number.value * 2)


counting = Workflow("counting", increment >> doubled >> increment.named("again"))


def say(*words: object) -> None:
    """Tell the test."""
    print(*words, flush=True)


def store_of(place: str) -> Store:
    """Return the store of a file, or of a schema: ``URL schema``."""
    url, _, schema = place.partition(" ")
    if not schema:
        return open_store(url)
    from cloaca.stores.sql.postgres import PostgresStore  # noqa: PLC0415 - a process on SQLite needs no driver

    return PostgresStore(url, schema=schema)


async def work(url: str, file: str) -> None:
    """Start runs and drive whatever comes, until a file is there; say how many were right, then those of all."""
    done = wrong = 0
    async with Runner(url, workflows=[counting]) as runner:
        say("ready")

        async def one(number: int) -> bool:
            outcome = await runner.run(counting, Number(value=number))
            return bool(outcome.unwrap().value == 2 * (number + 1) + 1)

        while not Path(file).exists():
            results = await asyncio.gather(*(one(done + place) for place in range(5)))
            done += len(results)
            wrong += results.count(False)
            say(done)
    say(json.dumps({"done": done, "wrong": wrong}))


async def upgrade(url: str, after: str) -> None:
    """Upgrade, and say what came of it."""
    try:
        say(json.dumps(await open_upkeep(url).upgrade(after_deployment=after == "after")))
    except StoreError as error:
        say(json.dumps(f"{type(error).__name__}: {error}"))


async def look(url: str) -> None:
    """Look at the runs on the command line, and say the exit code and what it complains about."""
    arguments = [sys.executable, "-m", "cloaca.cli", "runs", "list", "--database", url]
    done = await asyncio.to_thread(lambda: subprocess.run(arguments, capture_output=True, text=True, check=False))
    say(done.returncode, done.stderr)


PROGRAMS: dict[str, Callable[..., Coroutine[Any, Any, None]]] = {
    "work": work, "upgrade": upgrade, "look": look
}  # fmt: skip


def become_next(folder: Path) -> None:
    """Have this process know the next release's revisions, whose files are in a folder."""
    from cloaca.stores.sql import revisions  # noqa: PLC0415 - in a process of its own only
    from tests.migrations.releases import NEXT  # noqa: PLC0415 - as above

    revisions.REVISIONS, revisions.FOLDER = NEXT, folder


def open_all(places: list[str], gate: Path, next_files: Path | None) -> None:
    """Open every place, together with other processes, once the gate is there."""
    if next_files is not None:
        become_next(next_files)
    (gate.parent / f"ready-{os.getpid()}").touch()
    until(gate.exists)

    async def opened(place: str) -> None:
        store = store_of(place)
        await store.open()
        await store.runs(workflow=None, status=None, before=None, limit=1)
        await store.close()

    async def all_opened() -> None:
        for place in sorted(places, key=lambda place: hash((place, os.getpid()))):  # each in an order of its own
            await opened(place)

    asyncio.run(all_opened())


def upgrade_and_die(place: str, fault: Fault, report: Path, next_files: Path | None, after: bool) -> None:
    """Upgrade and die at a boundary; note how many there were."""
    if next_files is not None:
        become_next(next_files)
    boundaries = install(fault)
    asyncio.run(upgraded(place) if after else opened_once(place))
    report.write_text(str(boundaries.count))


async def opened_once(place: str) -> None:
    """Open, and leave."""
    store = store_of(place)
    await store.open()
    await store.close()


async def upgraded(place: str) -> None:
    """Upgrade all the way."""
    url, _, schema = place.partition(" ")
    if schema:
        from cloaca.stores.sql.postgres_upkeep import PostgresUpkeep  # noqa: PLC0415 - as above

        await PostgresUpkeep(url, schema=schema).upgrade(after_deployment=True)
    else:
        await open_upkeep(url).upgrade(after_deployment=True)


if __name__ == "__main__":
    asyncio.run(PROGRAMS[sys.argv[1]](*sys.argv[2:]))
