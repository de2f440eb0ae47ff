"""With a codec no payload is stored in plain; without the key nothing is lost."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from returns.result import Failure, Result, Success

from cloaca import (
    CodecNeeded,
    KeyConflict,
    Runner,
    Workflow,
    WrongKey,
    each,
    subflow,
    task,
    wait_for,
)
from cloaca.algebra.triggers import Trigger
from cloaca.encryption import Encryption
from cloaca.runner.sealing import sealing
from tests.runner.databases import Database, asynchronous, eventually

CANARY = "canary-0815-d4f7"
OLD, NEW = Encryption(Encryption.generate_key()), Encryption.generate_key()


class Text(BaseModel):
    """An input."""

    text: str


class Item(BaseModel):
    """An element."""

    item: str


class Items(BaseModel):
    """Elements."""

    items: list[Item]


class Said(BaseModel):
    """An output, a signal and a typed error."""

    said: str


@task
def split(given: Text) -> Items:
    """Make elements."""
    return Items(items=[Item(item=f"{given.text} {n}") for n in range(3)])


@task
def say(item: Item) -> Said:
    """Say an element."""
    return Said(said=item.item)


@task(cache=True)
def keep(given: Text) -> Said:
    """Be cached."""
    return Said(said=given.text)


@task
def make(given: Text) -> Said:
    """Be undone."""
    return Said(said=given.text)


@task
def decline(given: Text) -> Result[Said, Said]:
    """Answer with an error."""
    return Failure(Said(said=given.text))


@task
def fall(given: Text) -> Said:
    """Fail."""
    raise ValueError(given.text)


@task
def undo(given: Text, said: Said) -> None:
    """Read input and output again."""
    assert given.text == said.said


CHILD = Workflow("child", keep)
FAN = Workflow("fan", split >> each(say, over="items", into="results"), input=Text)
PARENT = Workflow("parent", subflow(CHILD), input=Text)
WAITING = Workflow("waiting", wait_for(Said), input=Text)
DECLINING, FALLING = Workflow("declining", decline), Workflow("falling", fall)
UNDOING = Workflow("undoing", make.compensate(undo) >> fall.writing(said="more"))
TIMED = Workflow("timed", keep)
WORKFLOWS = [FAN, PARENT, CHILD, WAITING, DECLINING, FALLING, UNDOING, TIMED]
INPUT = Text(text=CANARY)


def fingerprints() -> list[str]:
    """Return what would tell a guessed input: its hashes as they are without a codec."""
    whole = INPUT.model_dump_json()
    return [hashlib.sha256(whole.encode()).hexdigest()]


async def use(runner: Callable[..., Runner], codec: Encryption) -> None:
    """Use everything that stores payloads."""
    trigger = Trigger(TIMED, lambda: INPUT, every=60, name="trigger")
    async with runner(workflows=WORKFLOWS, codec=codec, triggers=[trigger]) as opened:
        context = (await opened.run(FAN, INPUT)).unwrap()
        assert [said.said for said in context["results"]] == [f"{CANARY} {n}" for n in range(3)]
        assert await opened.run(PARENT, INPUT) == Success(Said(said=CANARY))
        assert await opened.run(CHILD, INPUT) == Success(Said(said=CANARY))
        assert (await opened.run(DECLINING, INPUT)).failure().error == Said(said=CANARY)
        assert (await opened.run(FALLING, INPUT)).failure().failures[0].message == CANARY
        undone = await opened.start(UNDOING, INPUT)
        assert isinstance(await undone.result(), Failure)
        assert [info.status for info in await undone.tasks() if "undo" in info.name] == ["succeeded"]
        handle = await opened.start(WAITING, INPUT, key="k")
        assert (await opened.start(WAITING, INPUT, key="k")).id == handle.id
        with pytest.raises(KeyConflict):
            await opened.start(WAITING, Text(text="other"), key="k")
        await handle.send(Said(said=CANARY))
        assert await handle.result() == Success(Said(said=CANARY))
        await opened.schedule(TIMED, name="daily", cron="0 9 * * *", input=INPUT)
        await opened.schedule(TIMED, name="daily", cron="0 9 * * *", input=INPUT)  # the same again changes nothing
        await opened.schedules.backfill("daily", datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))

        async def all_timed() -> bool:
            runs = await opened.runs(workflow=TIMED, status="succeeded")
            return len(runs) == 2  # the trigger's and the schedule's

        await eventually(all_timed)


@asynchronous
async def test_no_file_has_a_payload(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"

    def runner(**options: Any) -> Runner:
        return Runner(path, **options)

    await use(runner, OLD)
    files = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    async with Runner(path, codec=OLD):
        files |= {f"{file.name} open": file.read_bytes() for file in tmp_path.iterdir()}
    assert b"cloaca-sealed:" in files["runs.db"]
    assert "runs.db-wal open" in files
    for name, content in files.items():
        assert CANARY.encode() not in content, name
        assert not any(fingerprint.encode() in content for fingerprint in fingerprints()), name


@asynchronous
async def test_everything_works_on_both_databases(database: Database) -> None:
    await use(lambda **options: database.runner(*options.pop("workflows"), **options), OLD)


@asynchronous
async def test_a_cached_result_is_found_again(database: Database) -> None:
    async with database.runner(CHILD, codec=OLD) as runner:
        await runner.run(CHILD, INPUT)
        handle = await runner.start(CHILD, INPUT)
        kinds = [event.kind async for event in handle.events()]
    assert "cache_hit" in kinds


@asynchronous
async def test_a_runner_without_the_key_does_not_open(database: Database) -> None:
    async with database.runner(CHILD, codec=OLD) as runner:
        await runner.run(CHILD, INPUT)
    for codec, error, said in (
        (None, CodecNeeded, r"give it Runner\(codec=Encryption"),
        (Encryption(NEW), WrongKey, "add that key behind the others"),
    ):
        with pytest.raises(error, match=said):
            async with database.runner(CHILD, codec=codec):
                pass
    async with database.runner(CHILD, codec=OLD) as runner:
        assert len(await runner.runs()) == 1


@asynchronous
async def test_it_is_turned_on_for_a_database_that_is_there(database: Database) -> None:
    async with database.runner(WAITING, CHILD) as runner:
        await runner.run(CHILD, INPUT)
        plain = await runner.start(WAITING, INPUT, key="k")
    async with database.runner(WAITING, CHILD, codec=OLD) as runner:
        assert (await runner.start(WAITING, INPUT, key="k")).id == plain.id
        handle = await runner.get(plain.id)
        await handle.send(Said(said="later"))
        assert await handle.result() == Success(Said(said="later"))
        assert await (await runner.get(plain.id)).context() == {"said": "later", "text": CANARY}


@asynchronous
async def test_keys_are_changed_while_runs_wait(database: Database) -> None:
    first, second = Encryption.generate_key(), Encryption.generate_key()
    both = Workflow("both", wait_for(Said).named("one") >> keep.named("two").writing(said="kept"), input=Text)
    parent = Workflow("around", subflow(WAITING), input=Text)
    async with database.runner(both, parent, codec=Encryption(first)) as runner:
        handle = await runner.start(both, INPUT)
        around = await runner.start(parent, INPUT)
        await eventually_child(runner)
    async with database.runner(both, parent, codec=Encryption(second, first)) as runner:
        await (await runner.get(handle.id)).send(Said(said="go"))
        assert await (await runner.get(handle.id)).result() == Success(Said(said=CANARY))
        [child] = await runner.runs(workflow=WAITING)
        await (await runner.get(child.id)).send(Said(said="go"))
        assert await (await runner.get(around.id)).result() == Success(Said(said="go"))
        assert len(await runner.runs(workflow=WAITING)) == 1


async def eventually_child(runner: Runner) -> None:
    """Wait until the child run is there."""

    async def is_there() -> bool:
        return bool(await runner.runs(workflow=WAITING))

    await eventually(is_there)


@asynchronous
async def test_a_run_of_another_key_is_blocked_and_not_failed(database: Database) -> None:
    """A worker was opened before there were runs of the new key."""
    async with database.runner(CHILD, codec=OLD) as worker:
        async with database.runner(CHILD, codec=Encryption(NEW), work=False) as client:
            handle = await client.start(CHILD, INPUT)

            async def is_blocked() -> bool:
                return await handle.status() == "blocked"

            await eventually(is_blocked)
            [info] = await client.runs()
            assert "encrypted with a key that this worker does not have" in (info.reason or "")
        assert [row.status for row in await worker.runs()] == ["blocked"]
    async with database.runner(CHILD, codec=Encryption(NEW)) as fitting:
        assert await (await fitting.get(handle.id)).result() == Success(Said(said=CANARY))


@asynchronous
async def test_a_signal_of_another_key_blocks_its_run(database: Database) -> None:
    async with database.runner(WAITING, codec=OLD) as worker:
        handle = await worker.start(WAITING, INPUT)
        async for event in handle.events():
            if event.kind == "wait_began":
                break
        store = sealing(database.store(), Encryption(NEW))
        await store.open()
        [(node, name)] = WAITING.plan.channels.items()
        nodes = [WAITING.plan.nodes[node].name]
        assert await store.send(int(handle.id), name, '{"said":"x"}', 1.0, nodes=nodes)

        async def is_blocked() -> bool:
            return (await worker.runs())[0].status == "blocked"

        await eventually(is_blocked)
        if database.memory is None:
            await store.close()
