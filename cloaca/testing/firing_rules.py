"""What simulated schedules must amount to, whatever went wrong: named rules, at each claim and at the end.

They compare what fires with what the timing alone says. How a firing comes about, they don't know.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from cloaca.interpreter.firings import policy_of, window_of
from cloaca.machine.statuses import FINAL_RUN
from cloaca.ports import MOST_HANDOVERS, FiringRow, RunRow, ScheduleRow
from cloaca.schedules.decisions import ON_TIME_S, instants
from cloaca.schedules.timings import Window
from cloaca.testing.scenes import SimulatedClock
from cloaca.testing.worlds import World

MOST_LISTED: Final = 1_000_000
SAME_S: Final = 0.001


class FiringRules:
    """Writes what is wrong with the firings of schedules into the world."""

    def __init__(self, world: World, clock: SimulatedClock, schedules: Mapping[str, ScheduleRow], until: float) -> None:
        self._world, self._clock, self._schedules, self._until = world, clock, schedules, until
        self._windows: dict[str, Window] = {
            name: window_of(row._replace(created_at=clock.start, end_at=until)) for name, row in schedules.items()
        }
        self._last: dict[str, float] = {}  # the last nominal instant that was claimed, by schedule
        self._paused: set[str] = set()
        self._resumed: dict[str, float] = {}

    def pauses(self, name: str) -> None:
        """A schedule is paused from now on."""
        self._paused.add(name)

    def resumes(self, name: str) -> None:
        """And now it is no more."""
        self._paused.discard(name)
        self._resumed[name] = self._clock.now()

    def claimed(self, new: Iterable[tuple[str, float]], at: float) -> None:
        """Every schedule fires in order, each instant once, not while it is paused, and no more than it catches up."""
        for name, instant in new:
            if instant <= self._last.get(name, float("-inf")):
                self._wrong(f"increases: {name} fires for {shown(instant)} after a later instant")
            if name in self._paused:
                self._wrong(f"paused: {name} fires for {shown(instant)}, though it is paused")
            elif instant <= self._resumed.get(name, float("-inf")) and self._clock.steady:
                self._wrong(f"resumed: {name} fires for {shown(instant)}, when it was paused")
            elif not self._may_fire(name, instant, at):
                catchup = self._schedules[name].catchup
                self._wrong(f"catch-up: {name} fires for {shown(instant)} at {shown(at)}, with catchup={catchup}")
            self._last[name] = instant

    def _may_fire(self, name: str, instant: float, at: float) -> bool:
        """Whether catch-up allows that an instant fires so late: it is among the newest, or the next that has not."""
        policy, window = policy_of(self._schedules[name]), self._windows[name]
        if policy.jitter_s or at < instant:
            return at >= instant
        if policy.catchup == "all":
            return name not in self._last or window.after(self._last[name]) == instant or name in self._resumed
        if policy.catchup == "none":
            return at - instant <= ON_TIME_S + SAME_S
        newest: float | None = window.until(at)
        for _ in range(0 if policy.catchup == "latest" else policy.catchup - 1):
            if newest is None or newest <= instant:
                break
            newest = window.until(newest - SAME_S)
        return newest == instant

    # The end

    def conclude(self, rows: Sequence[FiringRow], runs: Sequence[RunRow]) -> None:
        """Look at the whole."""
        for row in rows:
            if row.state == "claimed" and row.attempts < MOST_HANDOVERS:
                self._wrong(f"handed-over: {row.schedule} for {shown(row.scheduled_for)} has no run")
        of = [(run.schedule, run.scheduled_for) for run in runs]
        if len(set(of)) < len(of):
            self._wrong("one-run: an instant has two runs")
        if any(run.status not in FINAL_RUN for run in runs):
            self._wrong("ends: a run never ends, and nobody has anything to do any more")
        for name, schedule in self._schedules.items():
            self._check_instants(name, schedule, [each.scheduled_for for each in rows if each.schedule == name])

    def _check_instants(self, name: str, schedule: ScheduleRow, got: Sequence[float]) -> None:
        """Nothing fires that is no nominal instant, and nothing is lost that catch-up does not give up."""
        wanted = instants(self._windows[name], self._clock.start + SAME_S, self._until, MOST_LISTED)
        if strange := set(got).difference(wanted):
            self._wrong(f"nominal: {name} fired for {shown(min(strange))}, which is no instant of it")
        scenario = self._world.scenario
        if scenario.of_kinds({"clock_jump", "pause"}):
            return
        quiet = not scenario.deviations
        lost = sorted(set(wanted).difference(got)) if quiet or schedule.catchup == "all" else []
        if not quiet and schedule.catchup != "none" and wanted:
            lost = lost or [instant for instant in wanted[-1:] if instant not in got]
        if lost:
            self._wrong(f"none-lost: {name} never fired for {shown(lost[0])}")

    def _wrong(self, what: str) -> None:
        self._world.violations.append(what)


def shown(instant: float | None) -> str:
    """Write an instant as a person does, in UTC."""
    assert instant is not None
    return f"{datetime.fromtimestamp(instant, UTC):%Y-%m-%d %H:%M:%S}"
