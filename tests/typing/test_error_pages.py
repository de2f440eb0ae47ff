"""The reference has one page for each error code, and each is what the cases say now.

They are written by ``python -m tests.typing.error_pages``; that they run is tested with the other pages.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from cloaca.mypy.codes import CODES, UNCHECKED
from tests.typing import error_pages

ROOT = Path(__file__).parents[2]
MADE = error_pages.made()


def test_every_code_has_a_page() -> None:
    codes = {code.code.removeprefix("cloaca-") for code in (*CODES.values(), UNCHECKED)}
    assert set(error_pages.CODES) == codes


@pytest.mark.parametrize("name", MADE)
def test_a_page_is_what_the_cases_say(name: str) -> None:
    assert (error_pages.FOLDER / name).read_text(encoding="utf-8") == MADE[name]


def test_there_is_no_other_page() -> None:
    assert {path.name for path in error_pages.FOLDER.iterdir()} == MADE.keys()


@pytest.mark.parametrize("code", error_pages.CODES)
def test_a_page_shows_its_code(code: str) -> None:
    assert f"[cloaca-{code}]" in MADE[f"{code}.md"]


def test_all_pages_are_in_the_navigation() -> None:
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2]
    assert [name for name in MADE if f"reference/errors/{name}" not in nav] == []
