"""The scheduler as a whole, in virtual time: one run per nominal instant, whatever happens and however many work."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloaca import Retry, Workflow, task
from cloaca.errors import ContractError, InvalidCron
from cloaca.schedules.decisions import Catchup
from cloaca.stores.memory import MemoryStore
from cloaca.testing import (
    BrokenPromise,
    Cron,
    Deviation,
    Scenario,
    World,
    clock_jump,
    crash_after_commit,
    crash_before_commit,
    fail,
    leave,
    override,
    simulate_schedules,
    store_error,
    zombie,
)
from tests.schedules.shop import RAN, REPORT, reports
from tests.schedules.transitions import SAMPLE

START = datetime(2030, 3, 20, tzinfo=UTC)
FIRING = "firing:daily"


def daily(catchup: Catchup = "latest", cron: str = "0 9 * * *", timezone: str = "Europe/Berlin") -> Cron:
    return Cron(reports, cron, timezone=timezone, input=REPORT, name="daily", catchup=catchup)


def simulated(cron: Cron, *deviations: Deviation, days: float = 20, **of: int) -> World:
    RAN.clear()
    until = START + timedelta(days=days)
    world = simulate_schedules([cron], start=START, until=until, scenario=Scenario(*deviations, **of))
    handed = [firing.scheduled_for for firing in world.firings("daily") if firing.state == "handed_over"]
    assert not {at for at, count in Counter(RAN).items() if count > 1} or deviations
    assert set(RAN) == set(handed)
    return world


def test_a_year_of_a_daily_schedule() -> None:
    world = simulated(daily(), days=365)
    firings = world.firings("daily")
    assert len(firings) == 365
    assert {firing.scheduled_for.hour for firing in firings} == {7, 8}
    assert {firing.attempts for firing in firings} == {1}
    assert world.commits("write") == 365
    assert world.steps < 20_000


DEVIATIONS = [
    crash_before_commit(FIRING, 2),  # the claim of the second firing
    crash_after_commit(FIRING, 2),  # between the phases
    crash_before_commit(FIRING, 3),  # the handover
    crash_after_commit(FIRING, 3),
    crash_after_commit("write", 2),
    crash_before_commit("claim", 2),
    store_error(FIRING, 2),
    store_error(FIRING, 3),
    store_error(FIRING, 2, lost=True),
    store_error(FIRING, 3, lost=True),
    zombie(FIRING, 2),
    zombie(FIRING, 3),
    leave(FIRING, 2),
    leave(FIRING, 3),
    clock_jump(3600 * 5, FIRING, 2),
    clock_jump(-3600 * 50, FIRING, 3),
    clock_jump(timedelta(hours=5)),
    store_error(at=1),
    store_error(at=5, lost=True),
]


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("deviation", DEVIATIONS, ids=str)
def test_whatever_happens_every_instant_runs_once(deviation: Deviation, workers: int) -> None:
    world = simulated(daily("all"), deviation, workers=workers)
    assert len(world.firings("daily")) == 20


def test_the_number_of_a_write_counts_firings_too() -> None:
    world = simulated(daily(), store_error(at=1), store_error(at=4))
    lost = [line.what for line in world.lines if "can't be written" in line.what]
    assert lost == ["*** the store can't be written, at firing:daily", "*** the store can't be written, at write"]


def test_a_crash_between_the_phases_leaves_a_claimed_firing_that_another_hands_over() -> None:
    world = simulated(daily(), crash_after_commit(FIRING, 2))
    assert [firing.attempts for firing in world.firings("daily")][:3] == [1, 2, 1]


@pytest.mark.parametrize(("catchup", "count"), [("all", 20), ("latest", 18), ("none", 17), (2, 19), (9, 20)])
def test_after_a_stop_catch_up_says_what_fires(catchup: Catchup, count: int) -> None:
    """Nobody is there from the third firing on, for three days."""
    stop = crash_after_commit(FIRING, 5, downtime=3.5 * 86_400)
    assert len(simulated(daily(catchup), stop).firings("daily")) == count


def test_a_clock_that_jumps_back_repeats_nothing() -> None:
    world = simulated(daily(), clock_jump(-2.5 * 86_400, FIRING, 4))
    assert len(world.firings("daily")) == 20


@given(
    st.sampled_from(SAMPLE),
    st.sampled_from(["0 9 * * *", "30 2 * * *", "0 */6 * * *", "15 1,2,3 * * 0", "0 0 1 * *", "*/45 2 * * *"]),
    st.sampled_from(["all", "latest", "none", 2]),
    st.lists(
        st.builds(crash_before_commit, st.just(FIRING), st.integers(0, 6), downtime=st.sampled_from([1.0, 90.0, 2e5]))
        | st.builds(crash_after_commit, st.just(FIRING), st.integers(0, 6), downtime=st.sampled_from([1.0, 2e5]))
        | st.builds(store_error, st.just(FIRING), st.integers(0, 6), lost=st.booleans())
        | st.builds(zombie, st.just(FIRING), st.integers(0, 6))
        | st.builds(leave, st.just(FIRING), st.integers(0, 6), downtime=st.sampled_from([1.0, 2e5]))
        | st.builds(clock_jump, st.sampled_from([-2e5, -60.0, 60.0, 2e5]), st.just(FIRING), st.integers(0, 6)),
        max_size=3,
        unique_by=lambda each: (each.kind, each.nth),
    ),
    st.integers(1, 3),
    st.none() | st.integers(0, 3),
)
def test_one_run_per_instant_for_every_zone_expression_and_mishap(  # noqa: PLR0917 - what Hypothesis draws
    zone: str, cron: str, catchup: Catchup, deviations: list[Deviation], workers: int, seed: int | None
) -> None:
    """The simulation checks: no instant twice, none out of order, none lost that catch-up does not give up."""
    scenario = Scenario(*deviations, workers=workers, seed=seed)
    until = START + timedelta(days=25)
    world = simulate_schedules([daily(catchup, cron, zone)], start=START, until=until, scenario=scenario)
    assert all(firing.state == "handed_over" for firing in world.firings("daily"))


def test_several_schedules_fire_at_once() -> None:
    crons = [Cron(reports, "0 * * * *", input=REPORT, name=f"r{number}") for number in range(30)]
    world = simulate_schedules(crons, start=START, until=START + timedelta(hours=5), scenario=Scenario(workers=3))
    assert [len(world.firings(f"r{number}")) for number in range(30)] == [5] * 30


def test_a_schedule_is_named_after_its_workflow() -> None:
    world = simulate_schedules([Cron(reports, "0 0 * * *", input=REPORT)], until=datetime(2030, 1, 3))
    assert [firing.scheduled_for.day for firing in world.firings("reports")] == [2, 3]
    with pytest.raises(KeyError):
        world.firings("daily")


def test_what_makes_no_sense_is_refused() -> None:
    until = START + timedelta(days=1)
    with pytest.raises(InvalidCron):
        Cron(reports, "nine", input=REPORT)
    with pytest.raises(ContractError, match="takes Report"):
        Cron(reports, "0 9 * * *")
    with pytest.raises(TypeError, match="close the graph"):
        Cron("reports", "0 9 * * *")  # type: ignore[arg-type]  # that is the point
    with pytest.raises(ValueError, match="what does this mean"):
        simulate_schedules([daily()], start=START, until=until, scenario=Scenario(fail("write")))
    with pytest.raises(ValueError, match="one name"):
        simulate_schedules([daily(), daily()], start=START, until=until)
    with pytest.raises(ValueError, match="start is after"):
        simulate_schedules([daily()], start=until, until=START)


def test_a_broken_scheduler_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulation would notice if a claimed firing were forgotten."""
    monkeypatch.setattr(MemoryStore, "_waits", lambda store, session, workflows: False)
    with pytest.raises(BrokenPromise, match="has no run"):
        simulated(daily(), crash_after_commit(FIRING, 2))


@task(retry=Retry(attempts=5, delay=8))
def pay() -> None: ...


def test_a_parked_run_goes_on_when_its_time_has_come() -> None:
    """Two workers have died of it, so it is parked wherever it waits: here for its retries."""
    calls = 0

    def declined() -> None:
        nonlocal calls
        calls += 1
        if calls < 5:
            raise ConnectionError

    scenario = Scenario(crash_before_commit("claim"), crash_after_commit("claim", 1), crash_after_commit("claim", 2))
    with override({pay: declined}):
        world = simulate_schedules(
            [Cron(Workflow("bills", pay), "0 9 1 * *")],
            start=START,
            until=START + timedelta(days=20),
            scenario=scenario,
        )
    assert (world.status, calls) == ("succeeded", 5)


def test_an_asynchronous_fake_stands_for_a_synchronous_task() -> None:
    async def later() -> None:
        await asyncio.sleep(60)

    with override({pay: later}):
        world = simulate_schedules(
            [Cron(Workflow("bills", pay), "0 9 * * *")], start=START, until=START + timedelta(days=3)
        )
    assert (world.status, world.commits("pay")) == ("succeeded", 3)
