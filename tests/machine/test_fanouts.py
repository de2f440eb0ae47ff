"""Windows over the elements of a fan-out: random walks against books of their own, and mutants that these notice."""

from __future__ import annotations

from random import Random
from typing import cast

import pytest

from cloaca.machine import fanouts
from cloaca.machine.fanouts import WINDOW_INVARIANTS, Window
from tests.machine.mutants import Mutant
from tests.machine.test_mutants import fails

WALKS = 60


def walk(seed: int) -> None:
    """Take a window to its end in some order, and compare it with sets of indexes after each step."""
    random = Random(seed)
    count, limit = random.randrange(9), random.randrange(1, 4)
    window = Window(count, limit)
    waiting, alive = list(range(count)), set[int]()
    succeeded, failed = set[int](), list[int]()
    closes_at = random.choice((None, random.randrange(count + 1)))
    while not window.over:
        if len(succeeded) == closes_at:
            window.close()
            waiting.clear()
        if random.random() < 0.6 or not alive:
            expected = waiting[0] if waiting and len(alive) < limit else None
            assert window.admit() == expected
            if expected is not None:
                alive.add(waiting.pop(0))
        else:
            index = random.choice(sorted(alive))
            alive.remove(index)
            good = random.random() < 0.8
            succeeded.add(index) if good else failed.append(index)
            window.settle(index, succeeded=good)
        assert [name for name, holds in WINDOW_INVARIANTS.items() if not holds(window)] == []
        assert window.alive == alive
        assert (window.succeeded, window.failed) == (len(succeeded), failed)
        assert window.over == (not alive and not waiting)
        if not alive and len(succeeded) + len(failed) > count:
            raise AssertionError("more elements are done than there are")
    assert window.admit() is None
    assert not alive
    assert not waiting
    assert window.complete == (len(succeeded) == count)


def test_windows_keep_their_books() -> None:
    for seed in range(1000):
        walk(seed)


@pytest.mark.parametrize("steps", [(0, 1), (3, 2)], ids=str)
def test_what_is_not_at_work_cannot_be_done(steps: tuple[int, int]) -> None:
    window = Window(*steps)
    with pytest.raises(AssertionError, match="element 0 is not at work"):
        window.settle(0, succeeded=True)
    with pytest.raises(AssertionError, match="a limit of 0"):
        Window(1, 0)


_ADMIT, _SETTLE = Window.admit, Window.settle
_OVER, _COMPLETE = (cast("property", vars(Window)[name]).fget for name in ("over", "complete"))
assert _OVER is not None
assert _COMPLETE is not None

MUTANTS = [
    Mutant("limit ignored", _ADMIT, "len(self.alive) >= self.limit", "False"),
    Mutant("limit one too small", _ADMIT, ">= self.limit", "+ 1 >= self.limit"),
    Mutant("element begun twice", _ADMIT, "self.begun += 1", "self.begun += index % 2"),
    Mutant("element skipped", _ADMIT, "self.begun += 1", "self.begun += 1 + (index == 2)"),
    Mutant("begins when closed", _ADMIT, "self.closed or ", ""),
    Mutant("begins beyond the end", _ADMIT, "self.begun == self.count", "self.begun > self.count"),
    Mutant("element never done", _SETTLE, "self.alive.remove(index)", "pass"),
    Mutant("failure counted as success", _SETTLE, "if succeeded:", "if True:"),
    Mutant("failure not listed", _SETTLE, "self.failed.append(index)", "pass"),
    Mutant("success not counted", _SETTLE, "self.succeeded += 1", "pass"),
    Mutant("over while elements are at work", _OVER, "not self.alive and ", ""),
    Mutant("never over when closed", _OVER, "self.closed or ", ""),
    Mutant("complete though one failed", _COMPLETE, "self.succeeded == self.count", "self.begun == self.count"),
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_is_killed(mutant: Mutant) -> None:
    with mutant.planted():
        assert any(fails(lambda seed=seed: walk(seed)) for seed in range(WALKS))  # type: ignore[misc]  # bound early


def test_the_mutants_are_of_this_module() -> None:
    assert {mutant.function.__module__ for mutant in MUTANTS} == {fanouts.__name__}
