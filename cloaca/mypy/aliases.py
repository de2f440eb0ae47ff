"""What a source file assigns at its top level that may be metadata: ``Total = Annotated[int, Reduce(operator.add)]``.

mypy asks for it at every start, of every module, so that this reads bytes first, and loads nothing.
"""

from __future__ import annotations

import re
import tokenize
from pathlib import Path
from typing import Final

_NAMES: Final = ("Annotated", "Reduce", "Serializer", "Validat", "PydanticSchema", "Field(")
_BYTES: Final = tuple(name.encode() for name in _NAMES)
_WORDS: Final = re.compile("|".join(map(re.escape, _NAMES)))
_OURS: Final = str(Path(__file__).parents[1])
# From a name at the start of a line to the next line that begins with a name again.
_ASSIGNMENT: Final = re.compile(r"^[^\W\d]\w*[^\n=]*=(?!=).*(?:\n(?![^\W\d@]).*)*", re.MULTILINE)


def aliases_of(path: str) -> str | None:
    """Return what the file at ``path`` assigns at its top level that may be metadata, None if there is nothing.

    For ``Plugin.report_config_data``: mypy counts it as part of the module's interface, so that whoever follows an
    alias to another module is checked again when only the metadata changes there. Installed packages don't count.
    """
    if "site-packages" in path or "typeshed" in path or path.startswith(_OURS) or not _mentions(path):
        return None
    text = source_text(path) or ""
    found = [match[0] for match in _ASSIGNMENT.finditer(text) if _WORDS.search(match[0])]
    return "\n".join(found) or None


def _mentions(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            text = file.read()
    except (OSError, ValueError):
        return False
    return any(name in text for name in _BYTES)


def source_text(path: str) -> str | None:
    """Return the text of a source file, None if it can't be read."""
    try:
        with tokenize.open(path) as file:  # as Python reads it: the file may say its encoding
            return file.read()
    except (OSError, ValueError, SyntaxError):
        return None
