"""Write the views' columns into their reference page: ``python -m tests.docs.views``."""

from __future__ import annotations

from pathlib import Path

from cloaca.stores.sql.views import VIEWS

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "views.md"
BEGIN, END = "<!-- columns: written by tests.docs.views -->\n", "<!-- end of columns -->\n"


def table() -> str:
    """Return the part of the page that says what the columns are."""
    parts = [BEGIN]
    for view in VIEWS:
        rows = "".join(f"| `{name}` | {meaning} |\n" for name, meaning in view.columns.items())
        parts.append(f"## {view.name}\n\nA row is {view.row}.\n\n| column | what it is |\n|---|---|\n{rows}\n")
    return "".join(parts) + END


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    start, stop = text.index(BEGIN), text.index(END) + len(END)
    PAGE.write_text(text[:start] + table() + text[stop:], encoding="utf-8")
