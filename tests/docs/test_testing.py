"""The page about testing shows a property and an execution, and what they print."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.code_blocks import run_page
from tests.testing.planted import PLANTED

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "testing.md"


def test_the_page_does_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_page(PAGE, tmp_path)


def test_the_page_has_every_planted_bug() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert [bug.name for bug in PLANTED if f"\n{bug.name} " not in text] == []
