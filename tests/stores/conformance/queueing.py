"""Slots of queues: who gets one, when it is free again, how a rate counts; and priorities of runs."""

from __future__ import annotations

import asyncio

import pytest

from cloaca.errors import LeaseLost
from cloaca.ports import Batch, Granted, QueueRow, Store
from tests.stores.conformance.suite import claimed, guarantee, history_of
from tests.stores.rows import AT, FAR, owned, session_of, slot, waiting

NONE = Granted(frozenset(), {})


def held(*tickets: int, **due_s: float) -> Granted:
    return Granted(frozenset(tickets), due_s)


@guarantee
async def a_declaration_tells_what_it_replaces(store: Store) -> None:
    mail, web = QueueRow("mail", 4, 100, 60.0), QueueRow("web", None, None, None)
    assert await store.declare([web, mail]) == []
    assert await store.declare([mail, web]) == []
    assert await store.declare([]) == []
    assert await store.declare([mail._replace(concurrency=5), web]) == [mail]
    assert await store.queues() == [mail._replace(concurrency=5), web]


@guarantee
async def no_more_slots_than_a_queue_has(store: Store) -> None:
    session = await session_of(store)
    await store.declare([QueueRow("mail", 2, None, None)])
    assert await store.acquire(session, [slot(n) for n in (1, 2, 3)], AT) == held(1, 2)
    assert await store.acquire(session, [], AT) == held(1, 2)
    await store.transact(Batch(session, freed=[1]))
    assert await store.acquire(session, [slot(4)], AT) == held(2, 3)
    await store.transact(Batch(session, freed=[2, 3]))
    assert await store.acquire(session, [], AT) == held(4)


@guarantee
async def queues_do_not_share_slots(store: Store) -> None:
    session = await session_of(store)
    await store.declare([QueueRow("mail", 1, None, None), QueueRow("web", 1, None, None)])
    wanted = [
        slot(1),
        slot(2),
        slot(3, queue="web"),
        slot(4, queue="web"),
        slot(5, queue="unknown"),
        slot(6, queue="b"),
    ]
    assert await store.acquire(session, wanted, AT) == held(1, 3, 5, 6)


@guarantee
async def a_ticket_is_wanted_once(store: Store) -> None:
    """The answer was lost, and the same is asked again."""
    session = await session_of(store)
    await store.declare([QueueRow("mail", 1, None, None)])
    assert await store.acquire(session, [slot(1), slot(2)], AT) == held(1)
    assert await store.acquire(session, [slot(1), slot(2)], AT) == held(1)
    await store.transact(Batch(session, freed=[1], replay=True))
    await store.transact(Batch(session, freed=[1], replay=True))
    assert await store.acquire(session, [], AT) == held(2)


@guarantee
async def tickets_are_the_session_s_own(store: Store) -> None:
    one, other = await session_of(store), await session_of(store)
    assert await store.acquire(one, [slot(1)], AT) == held(1)
    assert await store.acquire(other, [slot(1), slot(2)], AT) == held(1, 2)
    await store.transact(Batch(other, freed=[1]))
    assert await store.acquire(one, [], AT) == held(1)
    assert await store.acquire(other, [], AT) == held(2)


@guarantee
async def slots_go_to_the_highest_priority_and_then_to_the_oldest_run(store: Store) -> None:
    one, other = await session_of(store), await session_of(store)
    await store.declare([QueueRow("mail", 1, None, None)])
    assert await store.acquire(one, [slot(1, run=9)], AT) == held(1)
    await store.acquire(one, [slot(2, run=8), slot(3, run=3), slot(4, run=3)], AT)
    assert await store.acquire(other, [slot(1, run=7, priority=1), slot(2, run=2), slot(3, priority=-1)], AT) == NONE
    order = []
    for _ in range(7):
        mine, theirs = [(await store.acquire(session, [], AT)).held for session in (one, other)]
        order.append((sorted(mine), sorted(theirs)))
        await store.transact(Batch(one, freed=list(mine)))
        await store.transact(Batch(other, freed=list(theirs)))
    assert order == [([1], []), ([], [1]), ([], [2]), ([3], []), ([4], []), ([2], []), ([], [3])]


@guarantee
async def a_session_that_goes_leaves_its_slots(store: Store) -> None:
    leaving, dying, other = await session_of(store), await session_of(store, until=AT + 1), await session_of(store)
    await store.declare([QueueRow("mail", 2, None, None)])
    assert await store.acquire(leaving, [slot(1), slot(2, run=5)], AT) == held(1, 2)
    await store.transact(Batch(leaving, freed=[2]))
    assert await store.acquire(dying, [slot(1), slot(2, run=5)], AT) == held(1)
    assert await store.acquire(other, [slot(1), slot(2, run=6), slot(3, run=7)], AT) == NONE
    await store.close_session(leaving, at=AT)
    assert await store.acquire(other, [], AT + 2) == held(1)  # not to a session whose lease has run out
    await store.reap(AT + 2)
    assert await store.acquire(other, [], AT + 2) == held(1, 2)


@guarantee
async def who_was_taken_for_dead_gets_no_slot(store: Store) -> None:
    dead = await session_of(store, until=AT)
    await store.reap(AT + 1)
    for wanted in ([slot(1)], []):
        with pytest.raises(LeaseLost):
            await store.acquire(dead, wanted, AT + 1)
    await store.declare([QueueRow("mail", 1, None, None)])
    assert await store.acquire(await session_of(store), [slot(1)], AT + 1) == held(1)


@guarantee
async def many_at_once_get_no_more_than_there_are(store: Store) -> None:
    sessions = [await session_of(store) for _ in range(6)]
    await store.declare([QueueRow("mail", 5, None, None), QueueRow("web", 3, 7, 60.0)])
    wanted = [
        slot(n, queue=queue, run=n) for queue, first in (("mail", 1), ("web", 5)) for n in range(first, first + 4)
    ]
    await asyncio.gather(*(store.acquire(session, wanted, AT) for session in sessions * 2))
    found = [(await store.acquire(session, [], AT)).held for session in sessions]
    assert sum(ticket < 5 for tickets in found for ticket in tickets) == 5
    assert sum(ticket >= 5 for tickets in found for ticket in tickets) == 3


@guarantee
async def a_rate_counts_starts_in_any_window(store: Store) -> None:
    session = await session_of(store)
    await store.declare([QueueRow("mail", None, 3, 60.0)])
    assert await store.acquire(session, [slot(1)], AT) == held(1)
    assert await store.acquire(session, [slot(n) for n in (2, 3, 4, 5)], AT + 20) == held(1, 2, 3, mail=40.0)
    await store.transact(Batch(session, freed=[1, 2, 3]))
    assert await store.acquire(session, [], AT + 59) == held(mail=1.0)
    assert await store.acquire(session, [], AT + 60) == held(4, mail=20.0)
    assert await store.acquire(session, [slot(6), slot(7)], AT + 80) == held(4, 5, 6, mail=40.0)
    assert await store.acquire(session, [], AT + 500) == held(4, 5, 6, 7)


@guarantee
async def a_rate_knows_what_has_started_under_sessions_that_are_gone(store: Store) -> None:
    first, second = await session_of(store), await session_of(store)
    await store.declare([QueueRow("mail", 5, 2, 60.0)])
    assert await store.acquire(first, [slot(1), slot(2)], AT) == held(1, 2)
    await store.close_session(first, at=AT)
    assert await store.acquire(second, [slot(1)], AT + 1) == held(mail=59.0)
    assert await store.acquire(second, [], AT + 61) == held(1)


@guarantee
async def a_clock_that_is_set_back_stops_no_queue(store: Store) -> None:
    session = await session_of(store)
    await store.declare([QueueRow("mail", None, 2, 60.0)])
    assert await store.acquire(session, [slot(1), slot(2)], AT + 600) == held(1, 2)
    assert await store.acquire(session, [slot(3)], AT) == held(1, 2, mail=60.0)
    assert await store.acquire(session, [], AT + 61) == held(1, 2, 3)


@guarantee
async def a_limit_that_is_declared_anew_counts_at_once(store: Store) -> None:
    session = await session_of(store)
    await store.declare([QueueRow("mail", 3, 9, 60.0)])
    assert await store.acquire(session, [slot(n) for n in range(1, 9)], AT) == held(1, 2, 3)
    await store.declare([QueueRow("mail", 1, 9, 60.0)])
    assert await store.acquire(session, [], AT) == held(1, 2, 3)
    await store.declare([QueueRow("mail", None, 4, 60.0)])
    assert await store.acquire(session, [], AT) == held(1, 2, 3, 4, mail=60.0)
    await store.declare([QueueRow("mail", None, None, None)])
    assert await store.acquire(session, [], AT) == held(*range(1, 9))


@guarantee
async def a_slot_may_outlast_its_run(store: Store) -> None:
    """A body that can't be stopped works on after its run was cancelled."""
    session = await session_of(store)
    await store.declare([QueueRow("mail", 1, None, None)])
    await owned(store, session, 1)
    assert await store.acquire(session, [slot(1, run=1)], AT) == held(1)
    await store.transact(Batch(session, released=[1]))
    await store.cancel(1, AT)
    assert await store.prune(FAR, 5) == 1
    assert await store.acquire(session, [slot(2)], AT) == held(1)


# Priorities of runs


@guarantee
async def runs_of_a_higher_priority_are_claimed_first(store: Store) -> None:
    session = await session_of(store)
    await waiting(store, 1, 4)
    await waiting(store, 2, 5, priority=7)
    await waiting(store, 3, priority=-2)
    await waiting(store, 6, priority=3, workflow="mail")
    found = await store.claim(session, ["orders", "mail"], 4, AT, suspects=False)
    assert [(history.run.id, history.run.priority) for history in found] == [(2, 7), (5, 7), (6, 3), (1, 0)]
    assert await claimed(store, session) == [4, 3]


@guarantee
async def a_run_keeps_its_priority(store: Store) -> None:
    session = await session_of(store)
    await owned(store, session, 1, priority=7)
    await waiting(store, 2, priority=5)
    await store.close_session(session, at=AT)
    assert [(await history_of(store, run)).run.priority for run in (1, 2)] == [7, 5]
    assert [row.priority for row in await store.runs(workflow=None, status=None, before=None, limit=5)] == [5, 7]
