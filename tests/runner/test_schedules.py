"""Schedules on real databases and a real clock: made, changed, fired, looked at; the same on all of them."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from cloaca import (
    BlockingRunner,
    ContractError,
    InvalidCron,
    InvalidTimezone,
    Runner,
    Schedule,
    TaskContext,
    UnknownSchedule,
    UnknownWorkflow,
    Workflow,
    task,
)
from cloaca.ports import Store
from cloaca.stores.memory import MemoryStore
from tests.crashes.conftest import execute
from tests.runner.databases import asynchronous, eventually
from tests.stores.servers import server

numbers = itertools.count(1)
NOON = "0 12 * * *"


class Number(BaseModel):
    value: int


class Seen(BaseModel):
    at: datetime | None


@task
async def look(number: Number, *, ctx: TaskContext) -> Seen:
    return Seen(at=ctx.scheduled_for)


@task
async def idle(number: Number) -> Seen:
    await asyncio.sleep(60)
    return Seen(at=None)


looking, idling = Workflow("looking", look), Workflow("idling", idle)
ONE = Number(value=1)


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with server() as url:
        yield url


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """What a runner takes for a database that nobody has used."""
    if request.param == "memory":
        yield {"store": MemoryStore()}
    elif request.param == "sqlite":
        yield {"database": tmp_path / "runs.db"}
    else:
        url, name = request.getfixturevalue("postgres"), f"cloaca_schedules_{os.getpid()}_{next(numbers)}"
        asyncio.run(execute(url, f"CREATE DATABASE {name}"))
        yield {"database": re.sub(r"/\w+(?=\?|$)", f"/{name}", url, count=1)}
        asyncio.run(execute(url, f"DROP DATABASE {name} WITH (FORCE)"))


def runner(place: dict[str, Any], *workflows: Workflow[Any, Any, Any, Any], **options: Any) -> Runner:
    return Runner(**place, workflows=workflows or [looking, idling], **options)


async def settled(runner: Runner, name: str, count: int) -> None:
    """Wait until so many firings are handed over and their runs are done."""

    async def holds() -> bool:
        found = await runner.schedules.statistics(name)
        return found.succeeded + found.failed + found.cancelled >= count

    await eventually(holds)


@asynchronous
async def test_a_schedule_fires_and_its_tasks_know_for_when(place: dict[str, Any]) -> None:
    async with runner(place) as running:
        made = await running.schedule(looking, cron="* * * * * *", input=ONE, name="each second")
        assert (made.cron, made.timezone, made.workflow) == ("* * * * * *", "UTC", "looking")
        await settled(running, "each second", 2)
        await running.schedules.pause("each second")
        firings = await running.schedules.history("each second")
        assert [firing.state for firing in firings] == ["handed_over"] * len(firings)
        times = [firing.scheduled_for for firing in reversed(firings)]
        assert times[0] == made.next_at
        assert all(late - early >= timedelta(seconds=1) for early, late in itertools.pairwise(times))
        handle = await running.get(firings[-1].run_id or "")
        seen = (await handle.result()).unwrap()
        assert seen.at == times[0]
        forked = await handle.fork(before=look)
        assert (await forked.result()).unwrap() == seen  # for the same time, and no firing of its own
        assert len(await running.schedules.history("each second")) == len(firings)


@asynchronous
async def test_a_schedule_is_idempotent_by_name(place: dict[str, Any]) -> None:
    async with runner(place) as first, runner(place) as second:
        made = await first.schedule(looking, cron=NOON, input=ONE, name="noon", timezone="Asia/Tokyo")
        again = await second.schedule(looking, cron=" 0  12 * * * ", input=ONE, name="noon", timezone="Asia/Tokyo")
        assert made == again == await second.schedules.get("noon")
        assert made.next_at is not None
        assert made.next_at.hour == 3
        assert await second.schedules.list() == [made]
        moved = await second.schedule("looking", cron="0 6 * * *", input=ONE, name="noon", timezone="Asia/Tokyo")
        assert moved.next_at is not None
        assert moved.next_at.hour == 21
        assert len(await first.schedules.list()) == 1


@asynchronous
async def test_an_interval_counts_from_its_start(place: dict[str, Any]) -> None:
    async with runner(place, work=False) as running:
        start = datetime(2020, 1, 1, tzinfo=UTC)
        made = await running.schedule(looking, every=timedelta(hours=6), start=start, input=ONE, name="sixth")
        assert made.next_at is not None
        assert (made.next_at - start) % timedelta(hours=6) == timedelta(0)
        assert made.next_at > datetime.now(UTC)
        to_come = datetime.now(UTC).replace(microsecond=0) + timedelta(days=2)
        made = await running.schedule(looking, every=60, start=to_come, input=ONE, name="later")
        assert made.next_at == to_come


@asynchronous
async def test_a_time_fires_once(place: dict[str, Any]) -> None:
    async with runner(place) as running:
        at = datetime.now(UTC) + timedelta(seconds=0.3)
        await running.schedule(looking, at=at, input=ONE, name="once")
        await settled(running, "once", 1)
        assert (await running.schedules.get("once")).next_at is None
        assert [firing.scheduled_for for firing in await running.schedules.history("once")] == [at]
        again = await running.schedule(looking, at=at, input=ONE, name="once")  # as on the next start of the program
        assert again.next_at is None
        with pytest.raises(ValueError, match="is over"):
            await running.schedule(looking, at=at, input=ONE, name="twice")


@asynchronous
async def test_a_changed_schedule_never_fires_backwards(place: dict[str, Any]) -> None:
    async with runner(place, work=False) as running:
        await running.schedule(looking, cron=NOON, input=ONE, name="noon")
        changed = await running.schedules.update("noon", cron="* * * * *", catchup="all", jitter=0.5)
        assert changed.next_at is not None
        assert changed.next_at > datetime.now(UTC) - timedelta(seconds=1)
        assert (changed.catchup, changed.jitter_s) == ("all", 0.5)
        every = await running.schedules.update("noon", every=3600)
        assert (every.cron, every.every_s) == (None, 3600.0)
        with pytest.raises(TypeError, match="colour"):
            await running.schedules.update("noon", colour="red")
        with pytest.raises(InvalidCron):
            await running.schedules.update("noon", cron="noon")
        assert await running.schedules.get("noon") == every
        await running.schedules.update("noon", input=Number(value=2))
        with pytest.raises(ContractError, match="takes Number"):
            await running.schedules.update("noon", input=None)


@asynchronous
async def test_what_was_due_while_nobody_was_there_is_caught_up_after_a_deploy(place: dict[str, Any]) -> None:
    """The program that comes back schedules the same, with another input: what was missed still counts."""
    async with runner(place, work=False) as away:
        await away.schedule(looking, cron="* * * * * *", input=ONE, name="s", catchup="all")
        await asyncio.sleep(2.1)
    async with runner(place) as back:
        await back.schedule(looking, cron="* * * * * *", input=Number(value=2), name="s", catchup="all")
        await settled(back, "s", 2)
        await back.schedules.pause("s")
        times = [firing.scheduled_for for firing in await back.schedules.history("s")]
        assert all(late - early == timedelta(seconds=1) for late, early in itertools.pairwise(times))


@asynchronous
async def test_a_paused_schedule_fires_nothing_and_goes_on_from_now(place: dict[str, Any]) -> None:
    async with runner(place, work=False) as running:
        made = await running.schedule(looking, cron=NOON, input=ONE, name="noon")
        paused = await running.schedules.pause("noon")
        assert (paused.paused, paused.next_at) == (True, None)
        assert await running.schedules.pause("noon") == paused
        kept = await running.schedule(looking, cron="0 13 * * *", input=ONE, name="noon")
        assert (kept.paused, kept.next_at) == (True, None)
        await running.schedules.update("noon", cron=NOON)
        resumed = await running.schedules.resume("noon")
        assert resumed == made
        assert await running.schedules.resume("noon") == made


@asynchronous
async def test_a_deleted_schedule_is_unknown(place: dict[str, Any]) -> None:
    async with runner(place, work=False) as running:
        await running.schedule(looking, cron=NOON, input=ONE, name="noon")
        await running.schedules.delete("noon")
        at, of = datetime(2024, 1, 1), running.schedules
        for asked in (
            of.get("noon"), of.update("noon", cron=NOON), of.pause("noon"), of.resume("noon"), of.delete("noon"),
            of.history("noon"), of.statistics("noon"), of.backfill("noon", at, at), of.run_now("noon"),
        ):  # fmt: skip
            with pytest.raises(UnknownSchedule, match="'noon'"):
                await asked


@asynchronous
async def test_a_backfill_runs_each_instant_once(place: dict[str, Any]) -> None:
    async with runner(place) as running:
        await running.schedule(looking, cron=NOON, input=ONE, name="noon")
        start, end = datetime(2024, 2, 27, 12), datetime(2024, 3, 2, 12, tzinfo=UTC)
        assert await running.schedules.backfill("noon", start, end, concurrency=2) == 5
        assert await running.schedules.backfill("noon", start, end + timedelta(days=1)) == 1
        await settled(running, "noon", 6)
        history = await running.schedules.history("noon")
        assert [firing.scheduled_for.day for firing in history] == [3, 2, 1, 29, 28, 27]
        assert {firing.kind for firing in history} == {"backfill"}
        page = await running.schedules.history("noon", limit=2, before=history[1].scheduled_for)
        assert page == history[2:4]
        assert len(await running.runs(workflow=looking)) == 6
        found = await running.schedules.statistics("noon")
        assert (found.handed_over, found.succeeded, found.late, found.missed) == (6, 6, 0, 0)


@asynchronous
async def test_a_backfill_that_can_not_be_is_refused(place: dict[str, Any]) -> None:
    async with runner(place, work=False) as running:
        await running.schedule(looking, cron="* * * * *", input=ONE, name="m")
        start = datetime(2024, 1, 1)
        with pytest.raises(ValueError, match="start is after end"):
            await running.schedules.backfill("m", start, start - timedelta(days=1))
        with pytest.raises(ValueError, match="smaller range"):
            await running.schedules.backfill("m", start, start + timedelta(days=30))
        with pytest.raises(ValueError, match="not over yet"):
            await running.schedules.backfill("m", start, datetime.now(UTC) + timedelta(days=1))
        with pytest.raises(ValueError, match="concurrency=0"):
            await running.schedules.backfill("m", start, start, concurrency=0)
        assert await running.schedules.history("m") == []


@asynchronous
async def test_one_run_now(place: dict[str, Any]) -> None:
    async with runner(place, work=False) as asking, runner(place) as working:
        await asking.schedule(looking, cron=NOON, input=ONE, name="noon")
        first, second = await asking.schedules.run_now("noon"), await asking.schedules.run_now("noon")
        assert (first.kind, first.state) == ("now", "claimed")
        assert first.scheduled_for < second.scheduled_for
        await settled(working, "noon", 2)


@pytest.mark.parametrize(
    ("overlap", "states"), [("skip", ["handed_over", "skipped"]), ("queue", ["handed_over", "claimed"])]
)
@asynchronous
async def test_what_an_overlap_does(place: dict[str, Any], overlap: Any, states: list[str]) -> None:
    async with runner(place, grace_s=0) as running:
        await running.schedule(idling, cron="* * * * * *", input=ONE, name="s", overlap=overlap)

        async def twice() -> bool:
            return [firing.state for firing in await running.schedules.history("s")][-2:] == states[::-1]

        await eventually(twice)
        await running.schedules.pause("s")
        [run] = await running.runs(workflow=idling)
        if overlap == "queue":
            await (await running.get(run.id)).cancel()

            async def next_one_runs() -> bool:
                return len(await running.runs(workflow=idling)) > 1

            await eventually(next_one_runs)


@asynchronous
async def test_an_overlap_cancels_the_run_before(place: dict[str, Any]) -> None:
    async with runner(place, grace_s=0) as running:
        await running.schedule(idling, cron="* * * * * *", input=ONE, name="s", overlap="cancel")

        async def one_is_cancelled() -> bool:
            return bool(await running.runs(status="cancelled"))

        await eventually(one_is_cancelled)
        await running.schedules.pause("s")
        assert (await running.runs())[0].status != "cancelled"


@asynchronous
async def test_several_runners_fire_once(place: dict[str, Any]) -> None:
    first, second, third = (runner(place) for _ in range(3))
    async with first, second, third:
        for each in (first, second, third):
            await each.schedule(looking, cron="* * * * * *", input=ONE, name="s")
        await settled(second, "s", 3)
        await first.schedules.pause("s")
        found = await third.schedules.history("s")
        await settled(second, "s", len(found))
        assert len(await first.runs()) == len(found)


@asynchronous
async def test_a_change_wakes_who_sleeps_elsewhere(place: dict[str, Any]) -> None:
    """No runner looks often enough for that: it is told."""
    async with runner(place) as working, runner(place, work=False) as asking:
        await asking.schedule(looking, at=datetime.now(UTC) + timedelta(seconds=0.5), input=ONE, name="soon")
        await settled(working, "soon", 1)


@asynchronous
async def test_bad_input_is_refused_before_anything_is_stored(place: dict[str, Any]) -> None:
    refusals: list[tuple[type[Exception], dict[str, Any]]] = [
        (InvalidCron, {"cron": "nine o'clock"}),
        (InvalidCron, {"cron": "0 0 30 2 *"}),
        (InvalidTimezone, {"cron": NOON, "timezone": "Europe/Atlantis"}),
        (ValueError, {}),
        (ValueError, {"cron": NOON, "every": 5}),
        (ValueError, {"every": 0.5}),
        (ValueError, {"cron": NOON, "catchup": "some"}),
        (ValueError, {"cron": NOON, "catchup": 0}),
        (ValueError, {"cron": NOON, "catchup": True}),
        (ValueError, {"cron": NOON, "overlap": "maybe"}),
        (ValueError, {"cron": NOON, "jitter": -1}),
        (ValueError, {"cron": NOON, "jitter": float("nan")}),
        (ValueError, {"cron": NOON, "name": ""}),
        (ValueError, {"cron": NOON, "name": "x" * 129}),
        (ValueError, {"cron": NOON, "name": "a\0b"}),
        (ContractError, {"cron": NOON, "input": None}),
        (ValueError, {"cron": NOON, "name": "  "}),
        (TypeError, {"cron": NOON, "jitter": "5"}),
        (TypeError, {"every": "1h"}),
        (TypeError, {"every": True}),
        (ValueError, {"every": timedelta.max}),
        (TypeError, {"at": "tomorrow"}),
        (ValueError, {"at": datetime.max}),  # it would be rounded up to a year that nothing can show
        (ValueError, {"cron": NOON, "timezone": "Europe/Berlin", "start": datetime.min}),
        (ValueError, {"cron": NOON, "start": datetime(2030, 1, 2), "end": datetime(2030, 1, 1)}),
    ]
    async with runner(place, work=False) as running:
        for kind, given in refusals:
            with pytest.raises(kind):
                await running.schedule(looking, **{"name": "noon", "input": ONE, **given})
        with pytest.raises(UnknownWorkflow):
            await running.schedule("nobody", cron=NOON, name="noon")
        assert await running.schedules.list() == []


@asynchronous
async def test_a_schedule_that_one_process_does_not_understand_does_not_stop_the_others(place: dict[str, Any]) -> None:
    """The zone is known where the schedule was made, and not here."""
    async with runner(place, work=False) as made:
        for name in ("a", "b"):
            await made.schedule(looking, every=1, input=ONE, name=name)
        store: Store = made._engine.store
        row = await store.schedule("a")
        assert row is not None
        changed = row._replace(every_s=None, cron=NOON, timezone="Europe/Atlantis", due_at=1.0, next_at=1.0)
        assert await store.put_schedule(changed._replace(revision=1), 0)
    async with runner(place) as running:
        await settled(running, "b", 1)
        assert await running.schedules.history("a") == []


@asynchronous
async def test_a_schedule_that_is_changed_all_the_time_still_fires(
    place: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change between the look and the claim makes the claim void: the scheduler looks again at once, not later."""
    async with runner(place) as running:
        worker, claims = running._engine.worker, []
        assert worker is not None
        fire = worker.store.fire

        async def changed_before(session: int, moves: Any, at: float) -> Any:
            claims.append(worker.scheduler._not_before)
            if len(claims) == 1:
                await running.schedules.update("each second", input=Number(value=2))
            return await fire(session, moves, at)

        monkeypatch.setattr(worker.store, "fire", changed_before)
        await running.schedule(looking, every=1, input=ONE, name="each second")
        await settled(running, "each second", 1)
    assert claims[:2] == [0.0, 0.0]  # there was no pause between the two


def test_a_blocking_runner_has_the_same(tmp_path: Path) -> None:
    with BlockingRunner(tmp_path / "runs.db", workflows=[looking]) as running:
        made = running.schedule(looking, cron=NOON, input=ONE, name="noon")
        assert isinstance(made, Schedule)
        assert running.schedules.list() == [running.schedules.get("noon")] == [made]
        assert running.schedules.update("noon", catchup=3).catchup == 3
        assert running.schedules.pause("noon").paused
        assert not running.schedules.resume("noon").paused
        assert running.schedules.backfill("noon", datetime(2024, 1, 1), datetime(2024, 1, 2)) == 1
        assert running.schedules.run_now("noon").kind == "now"
        assert len(running.schedules.history("noon")) == 2
        assert running.schedules.statistics("noon").missed == 0
        assert running.triggers() == []
        running.schedules.delete("noon")
