"""The part of a traceback that is the user's.

It knows which files are ours: frames of cloaca and of the import machinery stand between the user and the line that
they want to see.
"""

from __future__ import annotations

import importlib
import re
import traceback
from pathlib import Path

OURS = str(Path(__file__).resolve().parent.parent)
IMPORTS = str(Path(importlib.__file__).parent)
LONGEST = 20

_FRAME = re.compile(r'\s*File "(?P<file>[^"]*)", line \d+')


def users_traceback(error: BaseException) -> str:
    """Return the traceback of ``error`` without the frames that led into the user's code."""
    trace = error.__traceback__
    while trace is not None and _is_ours(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    lines = traceback.format_exception(type(error), error, trace)
    return "".join(lines).rstrip("\n")


def place_of(error: BaseException) -> tuple[str, int] | None:
    """Return the file, relative if it is here, and the line at which the user's code raised ``error``; None if none."""
    places = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    for file, line in reversed(places):
        if not _is_ours(file):
            here = Path(file).is_relative_to(Path.cwd())
            return str(Path(file).relative_to(Path.cwd())) if here else file, line
    return None


def _is_ours(file: str) -> bool:
    return file.startswith(("<frozen importlib", IMPORTS, OURS))


def tail_of(text: str, longest: int = LONGEST) -> str:
    """Return the end of a stored traceback: without our frames, ``longest`` lines at most.

    >>> print(tail_of(f'''Traceback (most recent call last):
    ...   File "{OURS}/attempts.py", line 1, in attempt
    ...     await body()
    ...   File "jobs.py", line 2, in charge
    ...     pay()
    ... ValueError: no'''))
    Traceback (most recent call last):
      File "jobs.py", line 2, in charge
        pay()
    ValueError: no
    """
    kept: list[str] = []
    skipping = False
    for line in text.rstrip("\n").splitlines():
        frame = _FRAME.match(line)
        if frame is not None:
            skipping = _is_ours(frame["file"])
        elif not line.startswith("    "):
            skipping = False
        if not skipping:
            kept.append(line)
    return "\n".join(kept if len(kept) <= longest else ["...", *kept[-longest:]])
