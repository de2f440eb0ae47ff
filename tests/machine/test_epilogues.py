"""The epilogue of a run: what is undone, in which order, what is called; and that mistakes in it are noticed."""

from collections import Counter

import pytest

from cloaca.algebra.tasks import task
from cloaca.contract.workflows import Workflow
from cloaca.machine.epilogues import completion_order
from tests.machine.epilogue_walks import walk
from tests.machine.mutants import EPILOGUE_MUTANTS, MUTANTS, Mutant

WALKS = 600


@pytest.fixture(scope="module")
def marks() -> Counter[str]:
    """What happens in some hundred walks."""
    total: Counter[str] = Counter()
    for seed in range(WALKS):
        total += walk(seed)
    return total


@pytest.mark.parametrize(
    "mark",
    [
        "outcome succeeded",
        "outcome failed",
        "outcome cancelled",
        "restarted in the epilogue",
        "compensation failed",
        "epilogue abandoned",
        "several undone",
        "a handler undone",
        "a clock overruled",
        "retried after compensations",
        "resumed",
        "reused",
    ],
)
def test_what_is_rare_happens_too(mark: str, marks: Counter[str]) -> None:
    assert marks[mark] >= 3


@pytest.mark.parametrize("mutant", EPILOGUE_MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_is_killed(mutant: Mutant) -> None:
    with mutant.planted():
        assert any(fails(seed) for seed in range(WALKS))


def test_mutants_have_names_of_their_own() -> None:
    names = [mutant.name for mutant in (*MUTANTS, *EPILOGUE_MUTANTS)]
    assert len(set(names)) == len(names)


def fails(seed: int) -> bool:
    try:
        walk(seed)
    except Exception:  # noqa: BLE001 - an invariant, the books, a table, or an error of Python's
        return True
    return False


@task
def step() -> None: ...


def test_the_graph_overrules_a_clock_that_was_set_back() -> None:
    a, b, c, d = (step.named(name) for name in "abcd")
    plan = Workflow("w", a >> b >> c, d).plan
    index = plan.by_name
    times = {index["a"]: 50.0, index["b"]: 10.0, index["c"]: 20.0, index["d"]: 30.0}
    order = [plan.nodes[node].name for node in completion_order(plan, times)]
    assert order == ["d", "a", "b", "c"]  # b and c count as completed no earlier than a
