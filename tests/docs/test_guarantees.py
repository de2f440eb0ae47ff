"""The page of the guarantees: each test and each invariant that it names is there, and no invariant is left out."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from cloaca.machine.invariants import INVARIANTS
from tests.torture import invariants

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "explanation" / "guarantees.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py(?:::\w+)?)`", PAGE)))
PROMISED = PAGE[PAGE.index("## Which test is for which promise") : PAGE.index("## What is not promised")]
LISTED = set(re.findall(r"^\| `([a-z-]+)` \|", PAGE, re.MULTILINE))


@pytest.mark.parametrize("name", NAMED)
def test_a_named_test_is_there(name: str) -> None:
    path, _, function = name.partition("::")
    defined = {
        node.name
        for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    if function:
        assert function in defined
    elif Path(path).name.startswith("test_"):
        assert any(each.startswith("test_") for each in defined)


def test_tests_are_named() -> None:
    assert len([name for name in NAMED if "::" in name]) >= 15


def test_every_promise_has_its_tests() -> None:
    """The numbered promises are those of the table, in which a row names at least one test."""
    promised = {int(number) for number in re.findall(r"^(\d+)\. \*\*", PAGE, re.MULTILINE)}
    told: set[int] = set()
    for row in PROMISED.splitlines():
        cells = row.split("|")
        if row.startswith("| ") and re.match(r" \d", cells[1]):
            assert "tests/" in cells[3], row
            told |= {int(number) for number in re.findall(r"\d+", cells[1].partition(":")[0])}
    by_words = {number for number in promised - told if "tests/" in _text_of(number)}
    assert promised - told - by_words == set()


def _text_of(number: int) -> str:
    found = re.search(rf"^{number}\. \*\*.*?(?=^\d+\. \*\*|^## )", PAGE, re.MULTILINE | re.DOTALL)
    return found[0] if found else ""


def test_the_invariants_of_the_torture_are_those_of_its_code() -> None:
    assert set(invariants.INVARIANTS) == LISTED


def test_every_invariant_that_a_promise_names_is_listed() -> None:
    named = set(re.findall(r"`([a-z]+(?:-[a-z]+)+)`", PROMISED))
    assert named
    assert named <= LISTED


def test_the_invariants_of_a_run_are_all_printed() -> None:
    assert {name for name in INVARIANTS if f"\n{name}: " not in PAGE} == set()
