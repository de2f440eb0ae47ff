"""Schedules and their ledger: what is due, who claims a firing, what becomes of it; one run per nominal instant."""

from __future__ import annotations

import pytest

from cloaca.errors import LeaseLost
from cloaca.ports import MOST_HANDOVERS, Batch, FiringCount, FiringRow, NewRun, ScheduleRow, Store, Taken
from tests.stores.conformance.suite import guarantee
from tests.stores.rows import AT, PLAN, end, firing_run, move, owned, schedule, session_of, status_of, waiting


async def ledger(store: Store, name: str = "daily") -> list[tuple[float, str]]:
    """Return the firings of a schedule in their order."""
    return [(row.scheduled_for, row.state) for row in reversed(await store.firings(name, before=None, limit=100))]


async def row_of(store: Store, name: str = "daily") -> ScheduleRow:
    row = await store.schedule(name)
    assert row is not None
    return row


async def hand_over(store: Store, session: int, *runs: NewRun) -> list[str | None]:
    return await store.hand_over(session, [PLAN], runs, AT)


async def fired(store: Store, session: int, *instants: float, **changes: object) -> None:
    """Claim firings of the schedule ``daily``."""
    seen = (await row_of(store)).revision
    new = await store.fire(session, [move(seen, *instants, **changes)], AT)
    assert new == [("daily", instant) for instant in instants]


@guarantee
async def a_schedule_is_stored_once_and_changed_as_seen(store: Store) -> None:
    row = schedule()
    assert await store.schedule("daily") is None
    assert not await store.put_schedule(row, 0)
    assert await store.put_schedule(row, None)
    assert not await store.put_schedule(row, None)
    changed = row._replace(paused=True, due_at=None, next_at=None, revision=1, input=None)
    assert not await store.put_schedule(changed, 7)
    assert await store.put_schedule(changed, 0)
    assert await store.schedule("daily") == changed


@guarantee
async def schedules_are_listed_by_name_in_pages(store: Store) -> None:
    rows = [schedule(name=name) for name in ("b", "Ä", "a", "B")]
    for row in rows:
        assert await store.put_schedule(row, None)
    assert [row.name for row in await store.schedules(after=None, limit=9)] == ["B", "a", "b", "Ä"]
    assert [row.name for row in await store.schedules(after="B", limit=2)] == ["a", "b"]
    assert await store.schedules(after="Ä", limit=9) == []


@guarantee
async def a_schedule_goes_with_its_firings_and_without_its_runs(store: Store) -> None:
    session = await session_of(store)
    await store.put_schedule(schedule(), None)
    await fired(store, session, 900.0, 950.0)
    assert await hand_over(store, session, firing_run(1, 900.0)) == ["handed_over"]
    assert await store.drop_schedule("daily")
    assert not await store.drop_schedule("daily")
    assert await ledger(store) == []
    assert await hand_over(store, session, firing_run(2, 950.0)) == [None]
    assert (await status_of(store, 1), await status_of(store, 2)) == ("pending", None)
    assert await store.take_firings(session, ["orders"], 9) == []


@guarantee
async def what_is_due_is_found_by_its_workflow_first_ones_first(store: Store) -> None:
    times = {"a": 990.0, "b": 980.0, "c": AT, "d": AT + 1, "e": 970.0, "f": None}
    for name, due_at in times.items():
        workflow = "mail" if name == "e" else "orders"
        await store.put_schedule(schedule(name=name, workflow=workflow, due_at=due_at), None)
    at, found = await store.due(["orders", "other"], AT, 9)
    assert (at, [row.name for row in found]) == (AT, ["b", "a", "c"])
    assert [row.name for row in (await store.due(["orders", "mail"], AT, 2))[1]] == ["e", "b"]
    assert (await store.due([], AT, 2))[1] == []


@guarantee
async def a_look_says_when_the_first_schedule_is_due(store: Store) -> None:
    session = await session_of(store)
    assert (await store.poll(session, ["orders"], AT)).due_s is None
    await store.put_schedule(schedule(name="a", due_at=AT + 60), None)
    await store.put_schedule(schedule(name="b", due_at=AT + 30), None)
    await store.put_schedule(schedule(name="c", due_at=AT - 5, workflow="mail"), None)
    assert (await store.poll(session, ["orders"], AT)).due_s == pytest.approx(30.0)
    assert (await store.poll(session, ["orders", "mail"], AT)).due_s == pytest.approx(-5.0)
    assert (await store.poll(session, ["other"], AT)).due_s is None


@guarantee
async def a_firing_is_claimed_as_its_schedule_moves_on(store: Store) -> None:
    session = await session_of(store)
    await store.put_schedule(schedule(), None)
    assert await store.fire(session, [move(0, 900.0, missed=2)], AT) == [("daily", 900.0)]
    row = await row_of(store)
    assert (row.next_at, row.due_at, row.last_at, row.missed, row.revision) == (2000.0, 2001.0, 900.0, 2, 1)
    assert await store.firings("daily", before=None, limit=9) == [
        FiringRow("daily", 900.0, "orders", "claimed", "schedule", None, session, 1, "allow", None, False, AT, None)
    ]


@guarantee
async def who_comes_second_claims_nothing(store: Store) -> None:
    first, second = await session_of(store), await session_of(store)
    await store.put_schedule(schedule(), None)
    assert await store.fire(first, [move(0, 900.0)], AT) == [("daily", 900.0)]
    assert await store.fire(second, [move(0, 900.0)], AT) == []
    assert await store.fire(second, [move(0, 910.0)], AT) == []
    assert await ledger(store) == [(900.0, "claimed")]
    assert (await row_of(store)).revision == 1


@guarantee
async def an_instant_that_is_in_the_ledger_never_fires_again(store: Store) -> None:
    session = await session_of(store)
    await store.put_schedule(schedule(), None)
    assert await store.add_firings("daily", [900.0], kind="backfill", at_most=2, at=AT) == 1
    assert await store.add_firings("daily", [900.0, 910.0], kind="backfill", at_most=2, at=AT) == 1
    assert await store.add_firings("weekly", [900.0], kind="backfill", at_most=2, at=AT) is None
    assert await store.fire(session, [move(0, 900.0, 920.0)], AT) == [("daily", 920.0)]


@guarantee
async def who_is_gone_can_neither_claim_nor_hand_over(store: Store) -> None:
    session = await session_of(store)
    await store.put_schedule(schedule(), None)
    await fired(store, session, 900.0)
    await store.close_session(session, at=AT)
    for asked in (
        store.fire(session, [move(1, 910.0)], AT),
        store.take_firings(session, ["orders"], 9),
        hand_over(store, session, firing_run(1, 900.0)),
    ):
        with pytest.raises(LeaseLost):
            await asked
    assert await ledger(store) == [(900.0, "claimed")]


@guarantee
async def a_firing_is_handed_over_with_its_run(store: Store) -> None:
    session = await session_of(store)
    await store.put_schedule(schedule(), None)
    await fired(store, session, 900.0, 910.0)
    runs = [firing_run(2, 910.0), firing_run(1, 900.0)]
    assert await hand_over(store, session, *runs) == ["handed_over", "handed_over"]
    assert await ledger(store) == [(900.0, "handed_over"), (910.0, "handed_over")]
    [latest, first] = await store.firings("daily", before=None, limit=9)
    assert (first.run, latest.run, first.handed_at, first.owner) == (1, 2, AT, None)
    assert [row.run for row in await store.firings("daily", before=910.0, limit=9)] == [1]
    row = await store.run(1)
    assert row is not None
    assert (row.schedule, row.scheduled_for, row.status, row.key) == ("daily", 900.0, "pending", "daily 900.0")


@guarantee
async def a_handover_that_is_said_again_changes_nothing(store: Store) -> None:
    session = await session_of(store)
    await store.put_schedule(schedule(), None)
    await fired(store, session, 900.0)
    assert await hand_over(store, session, firing_run(1, 900.0)) == ["handed_over"]
    assert await hand_over(store, session, firing_run(2, 900.0)) == ["handed_over"]
    assert await status_of(store, 2) is None


@guarantee
async def the_key_of_a_firing_makes_it_one_run(store: Store) -> None:
    """A schedule of the same name was deleted, its run is still there."""
    session = await session_of(store)
    await waiting(store, 1, key="daily 900.0", input="older")
    await store.put_schedule(schedule(), None)
    await fired(store, session, 900.0)
    assert await hand_over(store, session, firing_run(7, 900.0)) == ["handed_over"]
    assert [row.run for row in await store.firings("daily", before=None, limit=9)] == [1]
    assert await status_of(store, 7) is None


@guarantee
async def an_id_that_is_taken_does_not_keep_a_firing_from_its_run(store: Store) -> None:
    session = await session_of(store)
    await waiting(store, 1, 2, workflow="mail")
    await store.put_schedule(schedule(), None)
    await fired(store, session, 900.0)
    assert await hand_over(store, session, firing_run(1, 900.0)) == ["handed_over"]
    assert [row.run for row in await store.firings("daily", before=None, limit=9)] == [3]


@guarantee
async def nobody_hands_over_what_another_has_claimed(store: Store) -> None:
    first, second = await session_of(store), await session_of(store)
    await store.put_schedule(schedule(), None)
    await fired(store, first, 900.0)
    assert await hand_over(store, second, firing_run(1, 900.0), firing_run(2, 905.0)) == [None, None]
    assert await store.take_firings(second, ["orders"], 9) == []
    assert not (await store.poll(second, ["orders"], AT)).firings
    assert await ledger(store) == [(900.0, "claimed")]


@guarantee
async def what_a_dead_session_has_claimed_another_hands_over(store: Store) -> None:
    first, second = await session_of(store, AT), await session_of(store)
    await store.put_schedule(schedule(), None)
    await fired(store, first, 900.0, 910.0)
    await store.reap(AT + 1)
    assert (await store.poll(second, ["orders"], AT)).firings
    assert not (await store.poll(second, ["mail"], AT)).firings
    assert await store.take_firings(second, ["mail"], 9) == []
    assert await store.take_firings(second, ["orders"], 1) == [Taken("daily", 900.0, "orders", '{"n":1}')]
    assert await store.take_firings(second, ["orders"], 9) == [
        Taken("daily", 900.0, "orders", '{"n":1}'),  # it is its own, and it has not said that it knows
        Taken("daily", 910.0, "orders", '{"n":1}'),
    ]
    assert not (await store.poll(second, ["orders"], AT)).firings
    assert await hand_over(store, second, firing_run(1, 900.0)) == ["handed_over"]
    [waits, done] = await store.firings("daily", before=None, limit=9)
    assert (done.attempts, waits.attempts, waits.owner) == (2, 2, second)


@guarantee
async def a_firing_that_kills_is_given_up(store: Store) -> None:
    await store.put_schedule(schedule(), None)
    first = await session_of(store, AT)
    await fired(store, first, 900.0)
    for _ in range(MOST_HANDOVERS - 1):
        await store.reap(AT + 1)
        next_one = await store.open_session("host:2", AT, AT)
        assert len(await store.take_firings(next_one, ["orders"], 9)) == 1
    await store.reap(AT + 1)
    last = await session_of(store)
    assert not (await store.poll(last, ["orders"], AT)).firings
    assert await store.take_firings(last, ["orders"], 9) == []
    assert await ledger(store) == [(900.0, "claimed")]
    assert await store.add_firings("daily", [900.0], kind="backfill", at_most=None, at=AT) == 1
    assert len(await store.take_firings(last, ["orders"], 9)) == 1


@guarantee
async def a_firing_is_skipped_while_a_run_of_its_schedule_goes_on(store: Store) -> None:
    session = await session_of(store)
    await store.put_schedule(schedule(), None)
    await fired(store, session, 900.0, 910.0, overlap="skip")
    runs = [firing_run(1, 900.0), firing_run(2, 910.0)]
    assert await hand_over(store, session, *runs) == ["handed_over", "skipped"]
    assert await status_of(store, 2) is None
    await store.cancel(1, AT)
    await fired(store, session, 920.0, overlap="skip")
    assert await hand_over(store, session, firing_run(3, 920.0)) == ["handed_over"]


@guarantee
async def a_firing_cancels_the_runs_of_its_schedule(store: Store) -> None:
    session = await session_of(store)
    await store.put_schedule(schedule(), None)
    await fired(store, session, 900.0, 910.0, 920.0)
    assert await hand_over(store, session, firing_run(1, 900.0), firing_run(2, 910.0)) == ["handed_over"] * 2
    [claimed] = await store.claim(session, ["orders"], 1, AT, suspects=False)
    await fired(store, session, 930.0, overlap="cancel")
    assert await hand_over(store, session, firing_run(3, 930.0)) == ["handed_over"]
    assert (await status_of(store, 1), await status_of(store, 2)) == ("running", "cancelled")
    assert (await store.poll(session, ["orders"], AT)).cancelling == [claimed.run.id] == [1]


@guarantee
async def a_firing_waits_for_its_turn(store: Store) -> None:
    first, second = await session_of(store), await session_of(store)
    await store.put_schedule(schedule(), None)
    await fired(store, first, 900.0, 910.0, 920.0, overlap="queue")
    runs = [firing_run(3, 920.0), firing_run(1, 900.0), firing_run(2, 910.0)]
    assert await hand_over(store, first, *runs) == ["claimed", "handed_over", "claimed"]
    assert (await store.poll(second, ["orders"], AT)).firings
    assert await store.take_firings(second, ["orders"], 9) == []
    await store.cancel(1, AT)
    assert await store.take_firings(second, ["orders"], 9) == [Taken("daily", 910.0, "orders", '{"n":1}')]
    assert await hand_over(store, second, firing_run(4, 910.0)) == ["handed_over"]
    rows = await store.firings("daily", before=None, limit=9)
    assert [(row.state, row.parked, row.attempts) for row in rows] == [
        ("claimed", True, 0),
        ("handed_over", False, 1),
        ("handed_over", False, 1),
    ]


@guarantee
async def no_more_runs_of_a_backfill_than_it_says(store: Store) -> None:
    session = await session_of(store)
    await store.put_schedule(schedule(), None)
    instants = [float(number) for number in range(100, 160, 10)]
    assert await store.add_firings("daily", instants, kind="backfill", at_most=3, at=AT) == 6
    taken = await store.take_firings(session, ["orders"], 9)
    assert [each.scheduled_for for each in taken] == [100.0, 110.0, 120.0]
    runs = [firing_run(number, each.scheduled_for) for number, each in enumerate(taken, 1)]
    assert await hand_over(store, session, *runs) == ["handed_over"] * 3
    assert await store.take_firings(session, ["orders"], 9) == []
    await store.cancel(2, AT)
    assert [each.scheduled_for for each in await store.take_firings(session, ["orders"], 9)] == [130.0]


@guarantee
async def one_run_now_asks_nobody(store: Store) -> None:
    session = await session_of(store)
    await store.put_schedule(schedule(), None)
    assert await store.add_firings("daily", [AT], kind="now", at_most=None, at=AT) == 1
    assert (await store.poll(session, ["orders"], AT)).firings
    assert await store.take_firings(session, ["orders"], 9) == [Taken("daily", AT, "orders", '{"n":1}')]


@guarantee
async def firings_are_counted_by_what_became_of_them(store: Store) -> None:
    session = await session_of(store)
    await store.put_schedule(schedule(), None)
    await fired(store, session, 900.0, 990.0, 995.0)
    await store.add_firings("daily", [500.0], kind="backfill", at_most=None, at=AT)
    await store.take_firings(session, ["orders"], 9)
    runs = [firing_run(1, 900.0), firing_run(2, 990.0), firing_run(3, 500.0)]
    await hand_over(store, session, *runs)
    await store.cancel(2, AT)
    assert await store.firing_counts("daily", 20.0) == [
        FiringCount("claimed", None, 1, 0),
        FiringCount("handed_over", "cancelled", 1, 0),
        FiringCount("handed_over", "pending", 2, 1),
    ]
    assert await store.firing_counts("weekly", 20.0) == []


@guarantee
async def a_firing_is_deleted_with_its_run(store: Store) -> None:
    session = await session_of(store)
    await store.put_schedule(schedule(), None)
    await fired(store, session, 900.0, 910.0, overlap="skip")
    await hand_over(store, session, firing_run(1, 900.0), firing_run(2, 910.0))
    await store.cancel(1, AT)
    await owned(store, session, 5)
    await store.transact(Batch(session, ends=[end(5)]))
    assert await store.prune(AT + 1, 9) == 1
    assert await ledger(store) == [(910.0, "skipped")]
    assert await store.prune(AT, 9) == 0
    assert await ledger(store) == [(910.0, "skipped")]
    assert await store.prune(AT + 1, 9) == 0
    assert await ledger(store) == []
