"""Each mutant is noticed, with the same trials every time: else the tests here would prove little."""

from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.machine.mutants import MUTANTS, Mutant
from tests.machine.test_machine import BOUNDED, RunMachine
from tests.machine.trials import walk

WALKS = 600  # the slowest to be found takes about 400; test_tables has walked them all without a mutant
# Hypothesis draws on constants of the whole code base, so that how long a search takes changes with any edit.
SEARCH = settings(BOUNDED, max_examples=2000, derandomize=True, phases=[Phase.generate], report_multiple_bugs=False)

# Those that the state machine of Hypothesis must find too; it is a hundred times slower than a walk, but it shrinks.
SEARCHED = {
    "cancel leaves ready tasks",
    "fencing removed",
    "first skip not propagated",
    "gate ignored",
    "join counted twice",
    "nodes enabled in a pause",
    "one attempt too many",
    "retry count lost at adoption",
    "run ends early",
    "skip kind confused",
    "skip not propagated",
    "success behind a failure kept",
}


def fails(trial: Callable[[], object]) -> bool:
    """Tell whether a trial notices something; whatever a mutant breaks counts."""
    try:
        trial()
    except Exception:  # noqa: BLE001 - an invariant, the books, a table, or an error of Python's
        return True
    return False


def test_mutants_have_names_of_their_own() -> None:
    names = {mutant.name for mutant in MUTANTS}
    assert len(names) == len(MUTANTS)
    assert names >= SEARCHED


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_is_killed_by_walks(mutant: Mutant) -> None:
    with mutant.planted():
        assert any(fails(partial(walk, seed)) for seed in range(WALKS))


@pytest.mark.parametrize("mutant", [m for m in MUTANTS if m.name in SEARCHED], ids=lambda mutant: mutant.name)
def test_a_mutant_is_killed_by_the_state_machine(mutant: Mutant) -> None:
    with mutant.planted():
        assert fails(partial(run_state_machine_as_test, RunMachine, settings=SEARCH))


def test_a_mutant_leaves_no_trace() -> None:
    for mutant in MUTANTS:
        code = mutant.function.__code__
        with mutant.planted():
            assert mutant.function.__code__ is not code
        assert mutant.function.__code__ is code
