"""Typing cases as Markdown: finding them on a page, and writing new outputs into it.

It knows the form of a page, and neither a type checker nor what cases are about. A page of ``cases/`` is read so:

* what comes before ``## Refused`` says what the page is about;
* each ``###`` below ``## Refused`` is a program with errors, each below ``## Accepted`` one without;
* a ``python`` fence is the program, a ``python name.py`` fence a module that it imports;
* a ``text mypy`` fence is all that mypy says about it, as ``line:column: severity: message  [code]``;
* a ``text run`` fence is what running it raises, where that is not what mypy says. The words around say why, after
  ``At run time``;
* the words ``Only with the plugin`` are in a case whose program has errors without it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).parent / "cases"
REFUSED, ACCEPTED = "Refused", "Accepted"
_FENCE = re.compile(r"```(?P<info>.*)$")


@dataclass
class Case:
    """One program. ``said`` is what mypy says, ``raised`` what running it raises where that differs."""

    page: Path
    title: str
    refused: bool
    prose: list[str] = field(default_factory=list)
    program: str = ""
    modules: dict[str, str] = field(default_factory=dict)
    said: list[str] | None = None
    raised: list[str] | None = None
    said_lines: range = range(0)  # where on the page the output is, from 0

    @property
    def module(self) -> str:
        """A name for the program as a module: no other case has it."""
        return re.sub(r"\W+", "_", f"{self.page.stem} {self.title.lower()}").strip("_")

    @property
    def needs_plugin(self) -> bool:
        return any(line.startswith("Only with the plugin") for line in self.prose)

    def __str__(self) -> str:
        return f"{self.page.stem}: {self.title}"


@dataclass(frozen=True)
class Page:
    """A page of cases: what it is about, and the cases in order."""

    path: Path
    about: str
    cases: tuple[Case, ...]

    def first(self, *, refused: bool) -> Case:
        """Return the first case of a kind, which is the page's example."""
        return next(case for case in self.cases if case.refused == refused)


def pages() -> list[Page]:
    """Return all pages, by name."""
    return [read(path) for path in sorted(FOLDER.glob("*.md"))]


def read(path: Path) -> Page:
    """Read a page of cases."""
    about: list[str] = []
    cases: list[Case] = []
    kind = ""
    lines = path.read_text(encoding="utf-8").splitlines()
    numbered = iter(enumerate(lines))
    for number, line in numbered:
        if line.startswith("### "):
            cases.append(Case(path, line.removeprefix("### "), kind == REFUSED))
        elif line.startswith("## "):
            kind = line.removeprefix("## ")
            assert kind in (REFUSED, ACCEPTED), f"{path}:{number + 1}: {kind}?"
        elif (fence := _FENCE.match(line)) is not None:
            _take(cases[-1], fence["info"].split(), number + 1, list(_inside(numbered)))
        elif cases:
            cases[-1].prose.append(line)
        elif not line.startswith("# "):
            about.append(line)
    return Page(path, "\n".join(about).strip(), tuple(cases))


def _inside(numbered: Iterator[tuple[int, str]]) -> Iterator[str]:
    for _, line in numbered:
        if line == "```":
            return
        yield line


def _take(case: Case, info: list[str], start: int, lines: list[str]) -> None:
    text = "".join(f"{line}\n" for line in lines)
    match info:
        case ["python"]:
            assert not case.program, f"{case}: a second program"
            case.program = text
        case ["python", name]:
            case.modules[name] = text
        case ["text", "mypy"]:
            case.said, case.said_lines = lines, range(start, start + len(lines))
        case ["text", "run"]:
            case.raised = lines
        case _:
            raise AssertionError(f"{case}: what is a fence of {info}?")


def rewrite(said: Mapping[str, list[str]]) -> None:
    """Write what mypy says, by module, into the ``text mypy`` fences of all pages."""
    for page in pages():
        lines = page.path.read_text(encoding="utf-8").splitlines()
        for case in reversed(page.cases):
            if case.said is not None:
                lines[case.said_lines.start : case.said_lines.stop] = said[case.module]
        page.path.write_text("\n".join(lines) + "\n", encoding="utf-8")
