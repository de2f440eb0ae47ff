"""The kit finds every planted bug, soon and from any seed: else its silence would say little."""

from __future__ import annotations

import pytest

from tests.testing.planted import PLANTED, Bug, detection

MOST = 600  # executions; the table of `make mutants` has how many it takes


def test_there_are_enough_and_each_has_a_name_of_its_own() -> None:
    assert len(PLANTED) >= 25
    assert len({bug.name for bug in PLANTED}) == len(PLANTED)


@pytest.mark.parametrize("bug", PLANTED, ids=lambda bug: bug.name)
def test_a_planted_bug_is_found(bug: Bug) -> None:
    assert detection(bug, seed=1, most=MOST) is not None


def test_without_one_nothing_is_found() -> None:
    for case in {bug.case for bug in PLANTED}:
        assert detection(Bug("none", (), case), seed=1, most=150) is None
