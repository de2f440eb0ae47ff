"""What a source file assigns at its top level that may be metadata: ``Total = Annotated[int, Reduce(operator.add)]``.

mypy asks for it at every start, of every module, so that this reads bytes first, and loads nothing.
"""

from __future__ import annotations

import re
import tokenize
from pathlib import Path
from typing import Final

_WORDS: Final = re.compile(r"Annotated|Reduce|Serializer|Validat|PydanticSchema|Field\(")
_BYTES: Final = re.compile(_WORDS.pattern.encode())
# From a name at the start of a line to the next line that begins with a name again.
_ASSIGNMENT: Final = re.compile(r"^[^\W\d]\w*[^\n=]*=(?!=).*(?:\n(?![^\W\d@]).*)*", re.MULTILINE)


def aliases_of(path: str) -> str | None:
    """Return what the file at ``path`` assigns at its top level that may be metadata, None if there is nothing.

    For ``Plugin.report_config_data``: mypy counts it as part of the module's interface, so that whoever follows an
    alias to another module is checked again when only the metadata changes there. Installed packages don't count.
    """
    if "site-packages" in path or "typeshed" in path or not _mentions(path):
        return None
    text = source_text(path) or ""
    found = [match[0] for match in _ASSIGNMENT.finditer(text) if _WORDS.search(match[0])]
    return "\n".join(found) or None


def _mentions(path: str) -> bool:
    try:
        return _BYTES.search(Path(path).read_bytes()) is not None
    except (OSError, ValueError):
        return False


def source_text(path: str) -> str | None:
    """Return the text of a source file, None if it can't be read."""
    try:
        with tokenize.open(path) as file:  # as Python reads it: the file may say its encoding
            return file.read()
    except (OSError, ValueError, SyntaxError):
        return None
