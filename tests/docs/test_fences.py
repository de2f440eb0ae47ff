"""The site renders every block as one: with the words for the tests after it, a fence would be shown as text."""

from __future__ import annotations

import re
from pathlib import Path

import markdown  # type: ignore[import-untyped]  # it comes with mkdocs, and without stubs
import pytest
import yaml  # type: ignore[import-untyped]  # it comes with mkdocs, and without stubs

from tests.docs.code_blocks import blocks_of
from tests.docs.fences import on_page_markdown

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))


@pytest.fixture(scope="module")
def site() -> markdown.Markdown:
    """What renders pages, as the site's configuration says, without colours."""
    configured = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    assert configured["hooks"] == ["tests/docs/fences.py"]
    names = [next(iter(each)) if isinstance(each, dict) else each for each in configured["markdown_extensions"]]
    return markdown.Markdown(extensions=names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_block_of_a_page_is_rendered_as_one(page: Path, site: markdown.Markdown) -> None:
    rendered = site.reset().convert(on_page_markdown(page.read_text(encoding="utf-8")))
    blocks = blocks_of(page)
    assert rendered.count('<div class="highlight') == len(blocks)
    titled = [info for block in blocks for info in [" ".join(block.info)] if "title=" in info]
    assert rendered.count('class="filename"') == len(titled)
    assert not re.search(r"<p>(<code>)?`*(python|text|console)\b", rendered)


def test_only_a_language_and_a_title_are_left() -> None:
    page = '```python no-run changes title="a b.py"\nx = 1\n```\n\n  ````text output\n```\n````\n`no-run` in words\n'
    assert on_page_markdown(page) == (
        '```python title="a b.py"\nx = 1\n```\n\n  ````text\n```\n````\n`no-run` in words\n'
    )
