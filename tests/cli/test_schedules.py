"""``cloaca schedules``: what a runner's schedules do, without a runner; what can't be is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Answer

Command = Callable[..., Answer]

SCHEDULED = """
from pydantic import BaseModel
from cloaca import Workflow, task

class Day(BaseModel):
    day: int = 1

@task
def report(day: Day) -> Day:
    return day

reports = Workflow("reports", report)
"""

ADD = ("schedules", "add", "reports.py:reports", "--name", "daily", "--cron", "0 9 * * *")


@pytest.fixture
def daily(cloaca: Command, here: Path) -> Command:
    """The command, in a directory with a schedule."""
    (here / "reports.py").write_text(SCHEDULED)
    answer = cloaca(*ADD, "--timezone", "Europe/Berlin", "--input", '{"day": 7}')
    assert answer.code == 0, answer.err
    assert answer.out.startswith("schedule daily fires next for ")
    return cloaca


def shown(daily: Command) -> dict[str, Any]:
    found: dict[str, Any] = daily("schedules", "show", "daily", "--json").document
    return found


def test_what_is_added_is_listed_and_shown(daily: Command) -> None:
    listed = daily("schedules", "list")
    assert listed.lines()[0].split() == ["NAME", "WORKFLOW", "WHEN", "NEXT"]
    assert "0 9 * * * (Europe/Berlin)" in listed.lines()[1]
    [found] = daily("schedules", "list", "--json").document
    assert (found["name"], found["workflow"], found["catchup"]) == ("daily", "reports", "latest")
    assert shown(daily)["statistics"]["handed_over"] == 0
    assert "timezone" in daily("schedules", "show", "daily").out


def test_the_same_again_changes_nothing_and_else_it_changes(daily: Command) -> None:
    before = shown(daily)
    assert daily(*ADD, "--timezone", "Europe/Berlin", "--input", '{"day": 7}').code == 0
    assert shown(daily) == before
    assert daily(*ADD, "--catchup", "3", "--overlap", "skip", "--jitter", "30s", "--end", "2099-01-01").code == 0
    after = shown(daily)
    assert (after["catchup"], after["overlap"], after["jitter_s"], after["timezone"]) == (3, "skip", 30.0, "UTC")
    assert after["end"] == "2099-01-01T00:00:00+00:00"


def test_pausing_resuming_and_deleting(daily: Command) -> None:
    assert daily("schedules", "pause", "daily").out == "schedule daily is paused\n"
    assert "paused" in daily("schedules", "list").out
    assert daily("schedules", "resume", "daily", "--json").document["paused"] is False
    assert daily("schedules", "delete", "daily").code == 0
    assert daily("schedules", "list").err.strip().endswith("no schedules")
    assert daily("schedules", "list", "--json").document == []


def test_firing_now_and_filling_back(daily: Command) -> None:
    assert daily("schedules", "run", "daily", "--json").document["kind"] == "now"
    filled = daily("schedules", "backfill", "daily", "2024-01-01", "2024-01-05", "--concurrency", "2")
    assert filled.out == "schedule daily: 4 firings are new, of which workers start the runs\n"
    assert daily("schedules", "backfill", "daily", "2024-01-01", "2024-01-06", "--json").document["firings"] == 1
    page = daily("schedules", "history", "daily", "--limit", "2", "--json")
    assert [firing["state"] for firing in page.document] == ["claimed", "claimed"]
    assert "there are more: --before 2024-01-05T08:00:00+00:00" in page.err
    rest = daily("schedules", "history", "daily", "--before", "2024-01-05T08:00:00+00:00")
    assert [line.split()[2] for line in rest.lines()[1:]] == ["claimed"] * 4
    assert daily("schedules", "run", "daily").code == 0


def test_intervals_and_single_times(daily: Command) -> None:
    add = ("schedules", "add", "reports.py", "--name")
    assert daily(*add, "often", "--every", "90s").code == 0
    assert daily(*add, "once", "--at", "2099-05-17T09:00").out == "schedule once fires next for 2099-05-17 09:00:00\n"
    lines = daily("schedules", "list").lines()
    assert [line.split()[0] for line in lines[1:]] == ["daily", "often", "once"]
    assert "there are more: --after daily" in daily("schedules", "list", "--limit", "1").err
    assert daily("schedules", "history", "once").err.strip().endswith("no firings")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("show", "weekly"), "no schedule is named 'weekly'"),
        (("pause", "weekly"), "cloaca schedules list"),
        (("history", "daily", "--before", "noon"), "--before 'noon' is no time"),
        (("backfill", "daily", "2024-01-02", "2024-01-01"), "start is after end"),
        (("add", "reports.py", "--name", "x", "--cron", "noon"), "no cron expression"),
        (("add", "reports.py", "--name", "x", "--cron", "0 9 * * *", "--timezone", "Mars"), "no time zone"),
        (("add", "reports.py", "--name", "x"), "say when it fires"),
        (("add", "reports.py", "--name", "x", "--cron", "0 9 * * *", "--overlap", "maybe"), "overlap='maybe'"),
        (("add", "reports.py", "--name", "x", "--at", "2020-01-01"), "is over"),
        (("add", "reports.py", "--name", "x", "--every", "soon"), "--every"),
        (("add", "reports.py", "--name", "x", "--every", "9s", "--input", '{"day": "x"}'), "day"),
        ((), "Usage"),
    ],
)
def test_what_can_not_be_is_refused(daily: Command, arguments: tuple[str, ...], said: str) -> None:
    answer = daily("schedules", *arguments)
    assert answer.code == 2
    assert said in answer.err
    assert [each["name"] for each in daily("schedules", "list", "--json").document] == ["daily"]
