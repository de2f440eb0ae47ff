"""Random programs as text: how statements become a module, or two, with the imports that they need.

What the statements are is ``programs_drafts``' business. A program is its own bug report.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from random import Random

from tests.mypy.programs_drafts import Draft
from tests.mypy.programs_types import HELPERS, IMPORTS


@dataclass(frozen=True)
class Program:
    """A module, and the module ``parts`` beside it that it may import from (``""`` for none).

    ``unseen`` names the statements of which a type checker sees less than Python: ``lost`` (no structure at all),
    ``declared`` (a function ``-> Graph[In, Out]``), ``opaque`` (what is made of its result), ``sealed`` (both, but what
    is inside is sealed at run time, too).
    """

    text: str
    parts: str = ""
    unseen: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        notes = "".join(f"# not seen by type checkers, {why}: {name}\n" for name, why in self.unseen)
        return f"# parts.py\n{self.parts}\n# program.py\n{self.text}{notes}" if self.parts else self.text + notes


def program(random: Random, max_size: int = 5) -> Program:
    """Draw a program of one workflow, sometimes two, over up to ``max_size`` tasks."""
    draft = Draft(random)
    draft.workflow(random.choice((1, *range(2, max_size + 1), *range(3, max_size + 1))))
    if draft.commits("model"):
        draft.broken(draft.name("broken"))
    statements = _with_helpers(sorted(draft.statements, key=lambda each: each[0]))
    postponed = draft.chance(40)
    cut = random.randint(1, len(statements) - 1) if draft.chance(25) else 0
    parts, rest = statements[:cut], statements[cut:]
    text = _joined(rest)
    imports, text = _imported(draft, parts, text) if parts else ("", text)
    head = "from __future__ import annotations\n\n" if postponed else ""
    return Program(
        text=_module(head, imports, text),
        parts=_module(head, "", _joined(parts)) if parts else "",
        unseen=tuple(sorted(draft.unseen.items())),
    )


Statements = list[tuple[int, str, str]]


def _with_helpers(statements: Statements) -> Statements:
    text = "\n".join(text for _, _, text in statements)
    blocks = dict.fromkeys(block for name, needed in HELPERS.items() if _uses(text, name) for block in needed)
    if _uses(text, "T"):
        blocks = dict.fromkeys(('T = TypeVar("T")', *blocks))
    return [
        (0, block.removeprefix("class ").replace("(", " ").replace(":", " ").split()[0], block) for block in blocks
    ] + statements


def _uses(text: str, name: str) -> bool:
    return re.search(rf"(?<![\w.\"']){name}(?![\w\"'=])", text) is not None


def _joined(statements: Statements) -> str:
    """The statements, two empty lines around those of several lines."""
    text = "\n".join(f"\n\n{text}\n\n" if "\n" in text else text for _, _, text in statements)
    return re.sub(r"\n{4,}", "\n\n\n", text).strip("\n")


def _imported(draft: Draft, parts: Statements, text: str) -> tuple[str, str]:
    """The import of what ``text`` uses of ``parts``: by name, some of it under another, or as a module."""
    names = [name for _, name, _ in parts if _uses(text, name)]
    if names and draft.chance(20):
        for name in names:
            text = _replaced(text, name, f"parts.{name}")
        return "from . import parts", text
    lines = []
    for name in names:
        if name.islower() and draft.chance(25):
            text = _replaced(text, name, f"the_{name}")
            lines.append(f"{name} as the_{name}")
        else:
            lines.append(name)
    return (f"from .parts import {', '.join(lines)}" if lines else ""), text


def _replaced(text: str, name: str, other: str) -> str:
    return re.sub(rf"(?<![\w.\"']){name}(?![\w\"'=])", other, text)


def _module(head: str, imports: str, text: str) -> str:
    kept = []
    for line in IMPORTS.split("\n"):
        source, _, names = line.partition(" import ")
        used = [name for name in names.split(", ") if name and _uses(text, name)]
        if source.startswith("import "):
            kept += [line] if f"{source.removeprefix('import ')}." in text else []
        elif used:
            kept.append(f"{source} import {', '.join(used)}")
    return head + "\n".join(filter(None, [*kept, imports])) + f"\n\n\n{text}\n"
