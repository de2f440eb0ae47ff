"""The page about child processes shows a program that stands in ``examples/``, where it is executed."""

from __future__ import annotations

import re
from pathlib import Path

from tests.docs.code_blocks import Block, blocks_of

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-to" / "cpu-bound-tasks.md"


def shown() -> dict[str, str]:
    """The titled blocks of the page, by title."""
    return {title: block.text for block in blocks_of(PAGE) if (title := title_of(block))}


def title_of(block: Block) -> str | None:
    found = re.search(r'title="([^"]+)"', " ".join(block.info))
    return found[1] if found else None


def test_the_code_is_in_the_example() -> None:
    example = ROOT / "examples" / "03_cpu_bound.py"
    assert shown()["examples/03_cpu_bound.py"] in example.read_text(encoding="utf-8")


def test_the_output_is_the_example_s() -> None:
    output = ROOT / "examples" / "03_cpu_bound.out"
    assert shown()["examples/03_cpu_bound.out"] == output.read_text(encoding="utf-8")
