"""Pages of the reference, one for each error code, made from the first cases of the page of its name.

Each has a minimal program that is refused, what mypy says of it, and the program put right: both are cases, so both are
checked and run. ``python -m tests.typing.error_pages`` writes the pages; a test compares them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.typing import cases
from tests.typing.cases import Case, Page
from tests.typing.programs import violations

FOLDER = Path(__file__).parents[2] / "docs" / "reference" / "errors"
MADE = "<!-- Made from tests/typing/cases by `python -m tests.typing.error_pages`; edit the cases. -->"
CODES = (
    *("missing-field", "field-type", "maybe-missing", "write-conflict", "unread-rewrite"),
    *("graph-cycle", "shared-task", "task-name", "task-model", "workflow-input", "unchecked"),
)
ABOUT = """
Each violation of the [context contract](../../explanation/context-contract.md) has a code. mypy reports it as
`cloaca-<code>` where the graph is written; running the same program raises a `ContractError`, whose `violations` have
the same codes and messages. How to have mypy do so is told in [Check workflows in CI](../../how-to/check-in-ci.md).

One line is silenced by `# type: ignore[cloaca-missing-field]`; by `# type: ignore[cloaca]` whatever the code, but then
mypy, if it is strict, asks for the code itself. A module or a project is silenced by `disable_error_code` in mypy's
configuration. At run time nothing silences a violation: a workflow that is not sound does not close.
"""
HEADINGS = """
| code | when |
|---|---|
"""


def made() -> dict[str, str]:
    """Return the text of every page, by the name of its file."""
    found = {page.path.stem: page for page in cases.pages()}
    pages = [found[code] for code in CODES]
    return {"index.md": _index(pages), **{page.path.name: _text(page) for page in pages}}


def write() -> None:
    """Write all pages."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in made().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


def _index(pages: list[Page]) -> str:
    rows = [f"| [`{page.path.stem}`]({page.path.name}) | {_first_sentence(page.about)} |" for page in pages]
    return "\n\n".join([MADE, "# Error codes", ABOUT.strip(), HEADINGS.strip() + "\n" + "\n".join(rows)]) + "\n"


def _first_sentence(about: str) -> str:
    return " ".join(about.split()).partition(". ")[0].rstrip(".")


def _text(page: Page) -> str:
    refused, accepted = page.first(refused=True), page.first(refused=False)
    parts = [MADE, f"# {page.path.stem}", page.about, "## An example", *_example(refused), "## Put right"]
    return "\n\n".join([*parts, *_prose(accepted), *_programs(accepted, "")]) + "\n"


def _example(case: Case) -> Iterator[str]:
    yield from _programs(case, " no-run")
    yield "mypy says:"
    yield _fence("text", "\n".join(_output(case)))
    if violations(case.said or []):
        yield "Running it raises a `ContractError` with the same words."
    yield from _prose(case)


def _programs(case: Case, run: str) -> Iterator[str]:
    for name, text in case.modules.items():
        yield _fence(f'python{run} title="{name}"', text.rstrip())
    yield _fence(f'python{run} title="orders.py"', case.program.rstrip())


def _output(case: Case) -> Iterator[str]:
    """What mypy says as it prints it by default, with lines and without columns."""
    for line in case.said or []:
        number, _, rest = line.partition(":")
        yield f"orders.py:{number}: {rest.partition(': ')[2]}"


def _prose(case: Case) -> list[str]:
    text = "\n".join(case.prose).strip()
    return [text] if text else []


def _fence(info: str, text: str) -> str:
    return f"```{info}\n{text}\n```"


if __name__ == "__main__":
    write()
