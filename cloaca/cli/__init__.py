"""The command line. This file knows only whether its libraries are there; ``program`` has the commands.

typer and rich come with the extra ``cloaca[cli]``, which a program that embeds cloaca does not need.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

LIBRARIES = frozenset({"click", "rich", "typer"})
USAGE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code. ``arguments`` are the process's own by default."""
    try:
        from cloaca.cli.program import execute  # noqa: PLC0415 - its libraries are an extra
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in LIBRARIES:
            raise
        print('error: the command line needs an extra of cloaca: pip install "cloaca[cli]"', file=sys.stderr)
        return USAGE
    return execute(sys.argv[1:] if arguments is None else arguments)
