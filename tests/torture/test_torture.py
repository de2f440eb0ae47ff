"""A short torture: some rounds, some boundaries of statements, on each database. ``make torture`` is the long one."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.torture import crossings, disks, grounds, rounds, servers
from tests.torture.disturbances import (
    ON_A_SERVER,
    Disturbance,
    cut_the_line,
    fill_the_disk,
    freeze_a_worker,
    kill_a_worker,
    kill_all_workers,
    kill_the_submitter,
    lock_the_file,
    mute_the_line,
    pause_all_runs,
)

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="forks, and sends signals"),
    pytest.mark.timeout(110),
]

CROSSINGS, RUNS = 6, 24
SEED = 20261122


@pytest.fixture(scope="module")
def files() -> Iterator[grounds.Ground]:
    with grounds.on_files() as ground:
        yield ground


@pytest.fixture(scope="module")
def server() -> Iterator[grounds.Ground]:
    programs = servers.programs()
    if programs is None:
        pytest.skip("there is no PostgreSQL on this machine that could be stopped and started")
    with grounds.on_a_server(programs) as ground:
        yield ground


@pytest.fixture(params=["files", "server"])
def ground(request: pytest.FixtureRequest) -> grounds.Ground:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, grounds.Ground)
    return found


def test_killed_and_stopped_processes_change_nothing(ground: grounds.Ground, tmp_path: Path) -> None:
    befalls = (kill_a_worker, kill_all_workers, kill_the_submitter, freeze_a_worker)
    telling = rounds.play(SEED, tmp_path, ground, disturbances=befalls, times=3, runs=RUNS)
    assert not telling.wrong, (telling.happened, tmp_path, telling.wrong)
    assert telling.counts["attempts executed"] >= telling.counts["tasks committed"] > 0


def test_runs_that_are_paused_and_let_go_change_nothing(ground: grounds.Ground, tmp_path: Path) -> None:
    telling = rounds.play(SEED, tmp_path, ground, disturbances=(pause_all_runs, kill_a_worker), times=2, runs=RUNS)
    assert not telling.wrong, (telling.happened, tmp_path, telling.wrong)


def test_a_locked_file_and_a_full_disk_change_nothing(files: grounds.Ground, tmp_path: Path) -> None:
    if files.without is not None:
        pytest.skip(f"no disk can be filled here: {files.without}")
    telling = rounds.play(SEED, tmp_path, files, disturbances=(lock_the_file, fill_the_disk), times=2, runs=RUNS)
    assert not telling.wrong, (telling.happened, tmp_path, telling.wrong)


def test_a_locked_file_changes_nothing(files: grounds.Ground, tmp_path: Path) -> None:
    if files.without is None:
        pytest.skip("the test above does it, too, on a disk that is full at times")
    telling = rounds.play(SEED, tmp_path, files, disturbances=(lock_the_file,), times=2, runs=RUNS)
    assert not telling.wrong, (telling.happened, tmp_path, telling.wrong)


@pytest.mark.parametrize("befalls", [(cut_the_line, mute_the_line), ON_A_SERVER[-2:]], ids=["lines", "restarts"])
def test_lost_connections_and_servers_change_nothing(
    server: grounds.Ground, tmp_path: Path, befalls: tuple[Disturbance, ...]
) -> None:
    telling = rounds.play(SEED, tmp_path, server, disturbances=befalls, times=2, runs=RUNS)
    assert not telling.wrong, (telling.happened, tmp_path, telling.wrong)


def test_a_process_may_die_at_any_statement(ground: grounds.Ground, tmp_path: Path) -> None:
    (tmp_path / "count").mkdir()
    statements = crossings.count(ground.quick_place(), tmp_path / "count")
    some = crossings.sample(random.Random(SEED), statements, ground.sides, CROSSINGS)
    crossed = list(crossings.cross_all(some, ground.quick_place, tmp_path))
    assert [crossing for crossing in crossed if crossing.wrong] == []
    assert sum(crossing.died is not None for crossing in crossed) > CROSSINGS // 2


@pytest.mark.skipif(disks.reason_without() is not None, reason="a small disk needs root and Linux")
def test_a_small_disk_is_gone_afterwards(tmp_path: Path) -> None:
    with disks.small_disk(tmp_path) as disk:
        assert disk is None or disk.is_mount()
    assert not (tmp_path / "disk").is_mount()
