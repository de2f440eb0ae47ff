"""A hook of mkdocs: the words after a fence that are for the tests are taken away before a page is rendered.

The site knows a language and a title there. With any other word, it shows the fence as text.
"""

from __future__ import annotations

import re

OPENING = re.compile(r"^(?P<fence>[ \t]*`{3,})(?P<language>\w+)(?P<words>[ \t][^`\n]*)$", re.MULTILINE)
TITLE = re.compile(r' title="[^"]*"')


def on_page_markdown(markdown: str, **_: object) -> str:
    """Return the text of a page with a language and a title after each fence, and nothing else."""
    return OPENING.sub(_opened, markdown)


def _opened(opening: re.Match[str]) -> str:
    title = TITLE.search(opening["words"])
    return f"{opening['fence']}{opening['language']}{title[0] if title else ''}"
