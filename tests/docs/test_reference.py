"""Each public name has its entry in the reference: the site shows what has a docstring, and only that."""

from __future__ import annotations

import re
from pathlib import Path

import griffe
import pytest

import cloaca
import cloaca.testing

ROOT = Path(__file__).parents[2]
MODULES = {"cloaca": cloaca, "cloaca.testing": cloaca.testing}
NAMES = [(module, name) for module, loaded in MODULES.items() for name in loaded.__all__]


@pytest.fixture(scope="module")
def source() -> griffe.Module:
    """The package as the site reads it."""
    found = griffe.load("cloaca", search_paths=[str(ROOT)])
    assert isinstance(found, griffe.Module)
    return found


@pytest.mark.parametrize(("module", "name"), NAMES, ids=[f"{module}.{name}" for module, name in NAMES])
def test_a_public_name_has_an_entry(module: str, name: str, source: griffe.Module) -> None:
    path = f"{module}.{name}".removeprefix("cloaca.")
    entry = source[path]
    documented = entry.final_target if isinstance(entry, griffe.Alias) else entry
    assert documented.has_docstring


@pytest.mark.parametrize("module", MODULES)
def test_public_names_are_sorted_complete_and_there(module: str) -> None:
    loaded = MODULES[module]
    homes = getattr(loaded, "_HOME", None) or loaded._HOME_OF
    assert loaded.__all__ == sorted(loaded.__all__)
    assert set(loaded.__all__) == set(homes)
    for name in loaded.__all__:
        assert getattr(loaded, name) is not None


def test_the_reference_has_a_page_of_all_public_names() -> None:
    pages = [page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "reference").glob("*.md")]
    shown = {module for page in pages for module in re.findall(r"^::: (\S+)$", page, re.MULTILINE)}
    assert "cloaca" in shown


def test_every_term_of_the_glossary_stands_once_and_in_its_place() -> None:
    page = (ROOT / "docs" / "reference" / "glossary.md").read_text(encoding="utf-8")
    terms = re.findall(r"^\*\*(.+)\*\*$", page, re.MULTILINE)
    assert terms == sorted(set(terms))
    assert len(terms) == len(re.findall(r"^:   \S", page, re.MULTILINE))
