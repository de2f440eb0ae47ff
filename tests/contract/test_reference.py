"""The checker against a naive reading of the specification, and both against every way in which a run can go."""

from __future__ import annotations

import os
from dataclasses import replace

from hypothesis import HealthCheck, assume, event, given, settings

from cloaca.contract.workflows import Workflow
from cloaca.errors import ContractError
from tests.contract.programs import Case, cases, repaired, workflow_of
from tests.contract.reference import Cyclic, Found, Model, conflicts, violations
from tests.contract.worlds import unsound

# More by hand: CLOACA_EXAMPLES=20000 pytest tests/contract/test_reference.py
EXAMPLES = int(os.environ.get("CLOACA_EXAMPLES", "200"))
examples = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))


def verdict(case: Case) -> tuple[Workflow[object, object] | None, set[Found]]:
    try:
        return workflow_of(case), set()
    except ContractError as error:
        return None, {Found(found.code, found.task, found.field) for found in error.violations}


@examples
@given(cases())
def test_the_checker_says_what_the_specification_says(case: Case) -> None:
    workflow, found = verdict(case)
    try:
        expected = violations(case)
    except Cyclic:
        assert {violation.code for violation in found} == {"graph-cycle"}
        return
    for code in sorted({violation.code for violation in expected}) or ["fine"]:
        event(code)
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


@examples
@given(cases(types=(int,)))
def test_no_run_of_an_accepted_program_lacks_a_field(case: Case) -> None:
    case = _repaired(case)
    model = Model(case)
    assert not conflicts(model)
    assert unsound(model, workflow_of(case).plan) is None
