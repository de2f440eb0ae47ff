"""What processes on PostgreSQL tell each other about runs: only what somebody has asked for, and not for ever."""

from __future__ import annotations

import pytest

from cloaca.ports import FOLLOWED_S, Batch
from cloaca.stores.sql.postgres import PostgresStore
from cloaca.stores.sql.postgres_news import MOST_FOLLOWED, MOST_RUNS, News
from tests.stores.asynchronous import asynchronous
from tests.stores.rows import AT, end, note, owned, session_of, task, waiting
from tests.stores.test_postgres_listening import Waker


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        return self.at


def test_what_is_said_wakes_whom_it_concerns() -> None:
    news, woken = News(Clock()), []
    news.watch(lambda: woken.append("worker"))
    seven, eight = (lambda: woken.append("seven")), (lambda: woken.append("eight"))
    for wake, run in ((seven, 7), (seven, 7), (eight, 8)):
        news.follow(run, wake)
    for said, expected in (
        ("", ["worker", "seven", "eight"]),
        ("about 7", ["seven"]),
        ("about 8 9", ["eight"]),
        ("follow 7", []),
        ("about x", []),
        ("something of a newer release", ["worker", "seven", "eight"]),
    ):
        news.hear(said)
        assert woken == expected
        woken.clear()
    news.unfollow(7, seven)
    news.unfollow(7, seven)
    news.hear("about 7")
    news.hear("")
    assert woken == ["worker", "eight"]


def test_who_follows_says_so_in_time_and_is_told_for_a_while() -> None:
    clock = Clock()
    following, driving = News(clock), News(clock)
    assert driving.about([7]) is None
    request = following.follow(7, print)
    assert request == "follow 7"
    assert following.follow(7, print) is None
    driving.hear(request)
    assert driving.about([6, 7]) == "about 7"
    assert driving.about([6]) is None
    clock.at = FOLLOWED_S / 2
    assert following.follow(7, print) == request
    clock.at = FOLLOWED_S
    assert driving.about([7]) is None
    assert not driving.is_followed
    following.unfollow(7, print)
    assert following.follow(7, print) == request


def test_an_announcement_is_never_too_long() -> None:
    news = News(Clock())
    runs = [2**63 - 1 - number for number in range(MOST_RUNS * 2)]
    for run in runs:
        news.hear(f"follow {run}")
    announced = news.about(runs)
    assert announced is not None
    assert len(announced) < 8000  # what PostgreSQL takes


async def all_is_heard(*stores: PostgresStore) -> None:
    """Wait until the stores have heard what was announced until now: a listener hears it in order."""
    for run, store in enumerate(stores, 1000):
        heard = Waker()
        store._news.follow(run, heard)
        channel = store._names.channel
        await store._ask(lambda link, said=(channel, f"about {run}"): link.ask("SELECT pg_notify(?, ?)", *said))  # type: ignore[misc]  # binds it
        await heard.wait()
        store._news.unfollow(run, heard)


@asynchronous
async def test_a_commit_is_announced_to_who_follows_and_to_nobody_else(postgres: str, schema: str) -> None:
    driving, following = PostgresStore(postgres, schema=schema), PostgresStore(postgres, schema=schema)
    for store in (driving, following):
        await store.open()
    worker, other, waker = Waker(), Waker(), Waker()
    assert await driving.watch(worker)
    assert await following.watch(other)
    session = await session_of(driving)
    await owned(driving, session, 1, 2)
    await following.follow(1, waker)
    while not driving._news.is_followed:
        await waiting(following, worker.calls + 100)  # what is said later is heard later
        await worker.wait()
    await all_is_heard(driving, following)
    worker.calls = other.calls = waker.calls = 0
    waker.called.clear()
    await driving.transact(Batch(session, tasks=[task(2)]))
    batches = [
        Batch(session, tasks=[task(1)]),
        Batch(session, notes=[note(1)]),
        Batch(session, tasks=[task(1)], replay=True),
        Batch(session, ends=[end(1)]),
    ]
    for number, batch in enumerate(batches, 1):
        await driving.transact(batch)
        await waker.wait()
        assert waker.calls == number
    assert (worker.calls, other.calls) == (0, 0)
    await following.close()
    await driving.close()
    assert waker.calls == len(batches) + 1  # the store is closed


@pytest.mark.parametrize("driven", [False, True])
@asynchronous
async def test_what_users_do_is_told_to_who_can_do_something(postgres: str, schema: str, driven: bool) -> None:
    store, other = PostgresStore(postgres, schema=schema), PostgresStore(postgres, schema=schema)
    for each in (store, other):
        await each.open()
    worker, follower = Waker(), Waker()
    await other.watch(worker)
    await other.follow(1, follower)
    if driven:
        await owned(store, await session_of(store), 1)
    else:
        await waiting(store, 1)
    await store.pause(1, AT)
    await store.cancel(1, AT)
    await waiting(store, 2)  # the last announcement: all that were made before are heard
    expected = 4 if driven else 3  # that it listens, what was asked of its run, and what waits
    while worker.calls < expected:
        await worker.wait()
    assert (worker.calls, follower.calls) == (expected, 3 if driven else 4)
    await other.close()
    await store.close()


def test_whatever_is_heard_costs_little() -> None:
    """Any role of the database may announce anything."""
    news = News(Clock())
    news.hear("about " + "9" * 5000)
    news.hear(f"follow {'8' * 20} -1 1e9 \u0663")
    assert not news.is_followed
    for first in range(0, 2 * MOST_FOLLOWED, 100):
        news.hear("follow " + " ".join(map(str, range(first, first + 100))))
    assert len(news._followed) == MOST_FOLLOWED
    newest = 2 * MOST_FOLLOWED - 1
    assert news.about([0, newest]) == f"about {newest}"
