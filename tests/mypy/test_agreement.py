"""mypy and Python reach the same verdicts, in the same words, on random programs.

Each program is text. Python executes it, statement by statement, and the ``ContractError`` of each is its verdict;
mypy reads many programs at once, and its ``cloaca-...`` errors are the other. They have to be equal as multisets of
codes and texts. Where an operator or a decorator has raised already, Python has stopped short of what depends on it:
there mypy may say more, never less. Nor may mypy have an error of its own in a program, which would be our types'
fault; that is left open only where Python has stopped short.

What fails is cut down to the smallest program that still differs in the same way, at most one for each kind.

More by hand, 2,000 programs and 10,000 pairs of types from another seed::

    CLOACA_AGREEMENT=2000 CLOACA_AGREEMENT_SEED=7 pytest tests/mypy/test_agreement.py --timeout=0

Program ``n`` of seed ``s`` is ``program(Random(f"{s}/{n}"))``, whatever the number of them. They are drawn by numbers,
not by Hypothesis, because mypy has to read many at once: there is no example to run, shrink and run again.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from random import Random

import pytest

from tests.contract.test_annotations import TYPES
from tests.mypy.programs import Program, program
from tests.mypy.programs_pairs import is_field, pairs, program_of
from tests.mypy.programs_reduced import reduced
from tests.mypy.programs_types import TABLE, FieldType, readable_as, unreadable_as
from tests.mypy.verdicts import PLUGINS, Difference, Ran, compare, judge, run

PROGRAMS = int(os.environ.get("CLOACA_AGREEMENT", "60"))
PAIRS = 5 * PROGRAMS
SEED = os.environ.get("CLOACA_AGREEMENT_SEED", "0")
BATCH = 200
SHOWN = 2 if PROGRAMS <= 60 else 12  # kinds of differences: each takes seconds to cut down
CODES = (
    *("missing-field", "field-type", "maybe-missing", "write-conflict", "unread-rewrite"),
    *("graph-cycle", "shared-task", "task-name", "task-model", "workflow-input"),
)


# pydantic says of two TypedDicts in the table of types that it doesn't keep anybody from changing them.
pytestmark = pytest.mark.filterwarnings("ignore:.*`ReadOnly` qualifier:UserWarning")


class Court:
    """Hears programs: both verdicts, and where they differ. One cache of mypy's for all of them."""

    def __init__(self, folder: Path, plugins: tuple[str, ...] = PLUGINS) -> None:
        self.folder, self.plugins, self.batches = folder, plugins, count()

    def differences(self, programs: Sequence[Program]) -> list[Difference | None]:
        """Return where the two differ on each program."""
        found: list[Difference | None] = []
        for start in range(0, len(programs), BATCH):
            some, batch = programs[start : start + BATCH], f"b{next(self.batches)}"
            said = judge(some, self.folder, batch, self.plugins)
            found += [compare(each, run(each, f"{batch}_{number}"), said[number]) for number, each in enumerate(some)]
        return found

    def still_differs(self, kinds: frozenset[tuple[str, str]]) -> Callable[[Sequence[Program]], list[bool]]:
        """Return what says of programs whether they differ in one of these ways, and in no other."""

        def differs(programs: Sequence[Program]) -> list[bool]:
            runnable = [each for each in programs if _runs(each)]
            found = dict(zip(runnable, self.differences(runnable), strict=True))
            return [(each := found.get(one)) is not None and each.kinds == kinds for one in programs]

        return differs

    def report(self, differences: Sequence[Difference]) -> str:
        """Return the differences, the smallest of each kind, cut down."""
        kinds = Counter(difference.kinds for difference in differences)
        lines = [f"{len(differences)} programs differ"]
        for kind, number in kinds.most_common(SHOWN):
            one = min((each for each in differences if each.kinds == kind), key=lambda each: len(str(each)))
            small = self.differences([reduced(one.program, self.still_differs(kind))])[0]
            listed = ", ".join(
                f"{code} only {'at run time' if side == 'run time' else 'in mypy'}" for side, code in sorted(kind)
            )
            lines.append(f"\n{number} of them: {listed}. The smallest:\n\n{small or one}")
        return "\n".join(lines)


def _runs(program: Program) -> bool:
    """Whether a cut has left a program at all, and not one that fails for another reason."""
    try:
        run(program, "cut")
    except Exception:  # noqa: BLE001 - whatever the cut has broken
        return False
    return True


@pytest.fixture(scope="module")
def court(tmp_path_factory: pytest.TempPathFactory) -> Court:
    return Court(tmp_path_factory.mktemp("agreement"))


def drawn(number: int) -> list[Program]:
    return [program(Random(f"{SEED}/{n}")) for n in range(number)]


def test_random_programs(court: Court) -> None:
    found = [difference for difference in court.differences(drawn(PROGRAMS)) if difference]
    assert not found, court.report(found)


def test_pairs_of_types(court: Court) -> None:
    difference = court.differences([program_of(pairs(Random(SEED), PAIRS))])[0]
    if difference is not None:
        said = [f"only at run time: {finding}" for finding in difference.unsaid]
        said += [f"only in mypy: {finding}" for finding in difference.unfounded]
        pytest.fail("\n".join(said))


# What the test is worth

WRONG = """
from pydantic import BaseModel
from cloaca import Workflow, task

class Start(BaseModel):
    sku: str = "x"

class Pick(BaseModel):
    skus: str
    sku: str = "x"

@task
def first(row: Start) -> None:
    raise NotImplementedError

@task
def reserve(row: Pick) -> Start:
    raise NotImplementedError

part = reserve.with_options(timeout=3)
workflow = Workflow("orders", first >> part, input=Start)
"""


def test_without_the_plugin_the_two_differ_and_the_program_is_cut_down(tmp_path: Path) -> None:
    court = Court(tmp_path, PLUGINS[:2])
    difference = court.differences([Program(WRONG)])[0]
    assert difference is not None
    assert difference.kinds == {("run time", "cloaca-missing-field")}
    small = reduced(difference.program, court.still_differs(difference.kinds)).text
    assert "skus: str" in small
    assert not any(word in small for word in ("sku:", "Start", "timeout", "part"))


@pytest.fixture(scope="module")
def verdicts() -> list[Ran]:
    return [run(each, f"drawn_{number}") for number, each in enumerate(drawn(400))]


def test_most_programs_are_wrong_and_some_are_not(verdicts: list[Ran]) -> None:
    wrong = sum(bool(ran.found) for ran in verdicts)
    assert 0.6 * len(verdicts) < wrong < 0.85 * len(verdicts)
    assert sum(bool(ran.early) for ran in verdicts) < 0.2 * len(verdicts)


@pytest.mark.parametrize("code", CODES)
def test_every_code_is_hit_often(code: str, verdicts: list[Ran]) -> None:
    hit = [ran for ran in verdicts if any(f.code == f"cloaca-{code}" for found in ran.found.values() for f in found)]
    assert len(hit) >= 5


@pytest.mark.parametrize("each", TABLE, ids=lambda each: each.text)
def test_every_type_of_the_table_is_told_from_others(each: FieldType) -> None:
    assert each in readable_as(each)
    assert bool(unreadable_as(each)) == (each.text != "Any")


def test_pairs_cover_the_table() -> None:
    some = {text for pair in pairs(Random(SEED), 1500) for text in pair}
    assert {text for text in TYPES if is_field(text)} <= some
