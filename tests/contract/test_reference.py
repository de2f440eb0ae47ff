"""The checker against a naive reading of the specification, and both against every way in which a run can go."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from cloaca.contract.branching import Branching
from cloaca.contract.certainty import Certainty
from cloaca.contract.checker import Checker
from cloaca.contract.flows import Flow, Fold
from cloaca.contract.steps import Step
from cloaca.contract.workflows import Workflow
from cloaca.errors import ContractError
from tests.contract.programs import (
    Branch,
    Case,
    Field,
    Leaf,
    Overlay,
    Program,
    Row,
    Sealed,
    Series,
    When,
    cases,
    repaired,
    workflow_of,
)
from tests.contract.reference import Cyclic, Found, Model, conflicts, violations
from tests.contract.worlds import unsound

# More by hand: CLOACA_EXAMPLES=20000 pytest tests/contract/test_reference.py
EXAMPLES = int(os.environ.get("CLOACA_EXAMPLES", "200"))
Property: TypeAlias = Callable[[Case], None]
examples = settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))


def verdict(case: Case) -> tuple[Workflow[object, object] | None, set[Found]]:
    try:
        return workflow_of(case), set()
    except ContractError as error:
        return None, {Found(found.code, found.task, found.field) for found in error.violations}


def agrees(case: Case) -> None:
    """The checker says what the specification says."""
    workflow, found = verdict(case)
    try:
        expected = violations(case)
    except Cyclic:
        assert {violation.code for violation in found} == {"graph-cycle"}
        return
    assert (workflow is None) == bool(expected)
    assert _conflicts(found) <= _conflicts(expected)  # enough pairs to order them all, not every one
    assert {c.field for c in _conflicts(found)} == {c.field for c in _conflicts(expected)}
    disputed = {c.field for c in _conflicts(expected)}
    assert _others(found, disputed) == _others(expected, disputed)


def _conflicts(found: set[Found]) -> set[Found]:
    return {violation for violation in found if violation.code == "write-conflict"}


def _others(found: set[Found], disputed: set[str]) -> set[Found]:
    """All but conflicts, and but the types of a field whose latest writer is not decided."""
    unsure = {"field-type", "workflow-input"}
    return {
        violation
        for violation in found
        if violation.code != "write-conflict" and not (violation.code in unsure and violation.field in disputed)
    }


def _repaired(case: Case) -> Case:
    """A program that is accepted, made of one that may not be."""
    for _ in range(20):
        workflow, found = verdict(case)
        if workflow is not None:
            return case
        faults = frozenset((violation.code, violation.task, violation.field) for violation in found)
        assume(all(code != "graph-cycle" for code, _, _ in faults))
        lacking = {field for code, task, field in faults if (code, task) == ("workflow-input", "w")}
        output = case.output and tuple(field for field in case.output if field.key not in lacking)
        case = replace(case, program=repaired(case.program, faults), output=output or None)
    raise AssertionError(f"{case} can't be mended: {found}")


def lacks_nothing(case: Case) -> None:
    """However its tasks and conditions turn out, an accepted program has what it reads, from where the plan says."""
    case = _repaired(case)
    model = Model(case)
    assert not conflicts(model)
    assert unsound(model, workflow_of(case).plan) is None


PROPERTIES: dict[Property, st.SearchStrategy[Case]] = {
    agrees: cases(),
    lacks_nothing: cases(max_size=5, types=(int,)),
}


def check(property: Property, how: settings) -> None:
    how(given(PROPERTIES[property])(property))()


@pytest.mark.parametrize("property", PROPERTIES, ids=lambda property: property.__name__)
def test_property(property: Property) -> None:
    check(property, examples)


# Broken checkers


def sure_though_skipped(flow: Flow, index: int) -> list[int]:
    return flow._known(index)


def any_success_is_never_skipped(certainty: Certainty, index: int, step: Step) -> bool:
    return step.rule != "any_success" and CAN_SKIP(certainty, index, step)


def all_success_is_never_skipped(certainty: Certainty, index: int, step: Step) -> bool:
    return step.rule != "all_success" and CAN_SKIP(certainty, index, step)


def nothing_comes_through_a_seal(flow: Flow, index: int) -> list[int]:
    return []


def the_innermost_condition_decides(certainty: Certainty, pred: int, step: int) -> int | None:
    gates = [gate for gate in certainty.steps[pred].guards if gate not in certainty.steps[step].guards]
    return next((gate for gate in reversed(gates) if not certainty.steps[gate].entry), None)


def only_the_latest_counts(flow: Flow, index: int) -> list[int]:
    return list(CANDIDATES(flow, index))[:1]


def a_seal_reads_what_it_collects(checker: Checker, index: int, key: str) -> bool:
    return index in checker.readers.get(key, {})


def folds_are_not_ordered(fold: Fold) -> list[tuple[int, int]]:
    return []


def arms_conflict(flow: Branching) -> list[tuple[int, int]]:
    return list(zip(flow.order, flow.order[1:], strict=False))


def an_arm_is_sure(flow: Branching, index: int) -> bool:
    return bool(flow.case(index).sure)


def no_arm_is_sure(flow: Branching, index: int) -> bool:
    return any(not way for _, way in flow.case(index).sure)


def nothing_is_superseded(flow: Branching, writer: int, facts: object, said: object) -> bool:
    return False


CAN_SKIP, CANDIDATES = Certainty._can_skip, Flow.candidates


def row(*fields: str, type: type = int) -> Row:
    return tuple(Field(field, type) for field in fields)


def leaf(name: str, reads: Row = (), writes: Row = (), rule: str = "none_failed") -> Leaf:
    return Leaf(name, reads, writes, rule)


a, reader = leaf("a", writes=row("a")), leaf("z", row("a"))
both = Series((Branch(a, leaf("b", (), row("a")), (), "p"), reader))
text = leaf("b", row("a", type=str), row("a"))
OPTIONAL = Field("a", int, required=False)
update = leaf("b", row("a"), row("a"))
# Each with a program that the random ones come upon, too, but not at once.
MUTANTS: list[tuple[type, str, Callable[..., object], Program]] = [
    (
        Flow,
        "_known_though_skipped",
        sure_though_skipped,
        Series((When(a, (), "p"), leaf("b", rule="all_success"), reader)),
    ),
    (
        Certainty,
        "_can_skip",
        any_success_is_never_skipped,
        Series((When(leaf("b"), (), "p"), leaf("a", (), row("a"), "any_success"), reader)),
    ),
    (
        Certainty,
        "_can_skip",
        all_success_is_never_skipped,
        Series((When(leaf("b"), (), "p"), leaf("a", (), row("a"), "all_success"), reader)),
    ),
    (
        Flow,
        "_around",
        nothing_comes_through_a_seal,
        Series((a, Sealed(Series((leaf("b"), leaf("c", row("a"), (), "all_done"))), "s", row("a"), ()))),
    ),
    (
        Certainty,
        "decider",
        the_innermost_condition_decides,
        Series((When(Series((a, When(leaf("b"), (), "q"))), (), "p"), reader)),
    ),
    (
        Flow,
        "candidates",
        only_the_latest_counts,
        Series((leaf("a", (), row("a", type=str)), When(leaf("b", row("a", type=str), row("a")), (), "p"), reader)),
    ),
    (Checker, "reads_key", a_seal_reads_what_it_collects, Series((a, Sealed(update, "s", row("a"), row("a"))))),
    (Branching, "unordered", arms_conflict, both),
    (Branching, "is_sure", no_arm_is_sure, both),
    (Branching, "is_sure", an_arm_is_sure, Series((Branch(a, leaf("b"), (), "p"), reader))),
    (
        Branching,
        "_is_superseded",
        nothing_is_superseded,
        Series((Branch(Series((leaf("a", (), row("a", type=str)), text)), None, (), "p"), leaf("z", (OPTIONAL,)))),
    ),
    (
        Fold,
        "unordered",
        folds_are_not_ordered,
        Overlay((leaf("a", (), (Field("f", int, fold=True),)), leaf("b", (), row("f")))),
    ),
]


@pytest.mark.parametrize(("where", "name", "broken", "program"), MUTANTS, ids=[each[2].__name__ for each in MUTANTS])
def test_a_broken_checker_is_found_out(
    where: type, name: str, broken: Callable[..., object], program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = Case(program, (), row("x"), None)
    agrees(case)
    monkeypatch.setattr(where, name, broken)
    with pytest.raises(AssertionError):
        agrees(case)
