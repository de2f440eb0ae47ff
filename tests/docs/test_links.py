"""Every link of a page that is no page of the site, or that leads out of it, has something at its other end.

mkdocs looks after the links between the pages of the site. It does not know README.md, CHANGELOG.md and the examples,
which are read where the repository is. Links to other sites are not followed: they only have to be well formed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "examples").rglob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^\s*(`{3,})[^\n]*\n.*?^\s*\1`*\s*$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^()\s]+(?:\([^()\s]*\)[^()\s]*)*)\)")
HEADING = re.compile(r"^#{1,6} +(.*?)(?: *\{ *#([\w-]+) *\})?$", re.MULTILINE)
SCHEMES = {"http", "https", "mailto"}


def prose(text: str) -> str:
    """A page without its code, which may look like links."""
    return CODE.sub("", FENCE.sub("", text))


def links(page: Path) -> Iterator[str]:
    return (found[1] for found in LINK.finditer(prose(page.read_text(encoding="utf-8"))))


def anchors(text: str) -> set[str]:
    """What a heading is called in a link: its words in lower case with hyphens between them, or as it says itself."""
    headings = HEADING.finditer(FENCE.sub("", text))
    return {
        given or re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", title.lower()).strip())
        for title, given in (heading.groups() for heading in headings)
    }


def problem(page: Path, link: str) -> str | None:
    """Return what is wrong with a link, or None."""
    parts = urlsplit(link)
    if parts.scheme:
        good = parts.scheme in SCHEMES and (parts.netloc or parts.scheme == "mailto") and " " not in link
        return None if good else "no address of a page"
    target = page if not parts.path else (page.parent / parts.path).resolve()
    if not target.exists():
        return "leads nowhere"
    if not target.is_relative_to(ROOT):
        return "leads out of the repository"
    if parts.fragment and target.suffix == ".md" and ":::" not in (text := target.read_text(encoding="utf-8")):
        return None if parts.fragment in anchors(text) else "the page has no such heading"
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    assert [(link, wrong) for link in links(page) if (wrong := problem(page, link))] == []


def test_links_are_found() -> None:
    assert {"docs/tutorials/first-workflow.md", "LICENSE", "docs/assets/weather-killed.svg"} <= set(
        links(ROOT / "README.md")
    )


@pytest.mark.parametrize(
    ("link", "wrong"),
    [
        ("docs/nowhere.md", "leads nowhere"),
        ("../elsewhere", "leads nowhere"),
        ("../../no-such-folder", "leads nowhere"),
        ("README.md#no-such-heading", "the page has no such heading"),
        ("#no-such-heading", "the page has no such heading"),
        ("htp://example.org", "no address of a page"),
        ("https:example", "no address of a page"),
        ("README.md#install", None),
        ("https://example.org/a#b", None),
    ],
)
def test_a_wrong_link_is_found(link: str, wrong: str | None) -> None:
    assert problem(ROOT / "README.md", link) == wrong


def test_code_is_no_link() -> None:
    assert LINK.findall(prose("```text\n[a](b)\n```\n`[c](d)` and [e](f) and [`g`](h)\n")) == ["f", "h"]
