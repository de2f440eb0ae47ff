"""Standard output for data and nothing else; consoles for people.

It knows file descriptors and terminals. What a user's module or task prints, also from a child process, goes to
standard error while data is being made, so that ``cloaca run ... | jq`` always works.
"""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from textwrap import indent
from typing import TextIO

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.text import Text

from cloaca.cli.refusals import Exit, Refusal

INDENT, LEAST_WIDTH = 2, 80


@contextmanager
def data_stream() -> Iterator[TextIO]:
    """Yield standard output; whatever else is printed meanwhile goes to standard error.

    Raises Refusal if the data can't be written.
    """
    try:
        descriptor = sys.stdout.fileno()
        inside = _swapped(descriptor)
    except (AttributeError, OSError, ValueError):  # closed, or not a file: a test or a program that embeds us
        inside = _replaced()
    with inside as out:
        yield out


@contextmanager
def _swapped(descriptor: int) -> Iterator[TextIO]:
    sys.stdout.flush()
    saved = os.dup(descriptor)
    out = os.fdopen(saved, "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors)
    os.dup2(sys.stderr.fileno(), descriptor)
    by_line = bool(sys.stdout.line_buffering)
    _buffer_lines(True)
    try:
        yield out
        _flushed(out)
    finally:
        sys.stdout.flush()
        os.dup2(saved, descriptor)
        _buffer_lines(by_line)
        _closed(out)


def _buffer_lines(by_line: bool) -> None:
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(line_buffering=by_line)


def _flushed(out: TextIO) -> None:
    try:
        out.flush()
    except BrokenPipeError:
        raise  # whoever read has left, and knows it
    except OSError as error:
        raise Refusal(f"standard output can't be written: {error.strerror}", code=Exit.FAILED) from error


def _closed(out: TextIO) -> None:
    with suppress(OSError):  # what could not be written was reported by the flush before
        out.close()


@contextmanager
def _replaced() -> Iterator[TextIO]:
    if sys.stdout is None:
        with open(os.devnull, "w", encoding="utf-8") as nowhere:
            yield nowhere
        return
    out = sys.stdout
    with redirect_stdout(sys.stderr):
        yield out


def error_console() -> Console:
    """Return the console on standard error: colours and wrapping for a terminal, lines as they are for a log.

    rich knows ``NO_COLOR`` and what the terminal can show.
    """
    return Console(stderr=True, highlight=False, soft_wrap=not is_terminal(sys.stderr))


def width_of(out: TextIO) -> int:
    """Return the columns to print in: the terminal's, ``COLUMNS``, but at least 80, which an id is worth."""
    return max(LEAST_WIDTH, Console(file=out).width)


def print_data(out: TextIO, *blocks: RenderableType) -> None:
    """Print tables and text on ``out``, in colour on a terminal, without trailing spaces elsewhere."""
    console = Console(file=out, highlight=False, width=width_of(out))
    with console.capture() as capture:
        for block in blocks:
            console.print(block, soft_wrap=isinstance(block, Text))
    text = capture.get()
    out.write(text if console.is_terminal else "".join(f"{line.rstrip()}\n" for line in text.splitlines()))


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a person looks at ``stream``, on a terminal that can move its cursor."""
    return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"


def complain(message: str, *details: str) -> None:
    """Print an error as one block: ``error:`` and a sentence, then indented lines."""
    console = error_console()
    console.print(Text.assemble(("error: ", "bold red"), (printable(message), "bold")))
    for detail in details:
        if console.soft_wrap:
            console.print(Text(indent(printable(detail), " " * INDENT)))
        else:
            console.print(Padding(Text(printable(detail)), (0, 0, 0, INDENT)))


def remark(message: str, console: Console | None = None) -> None:
    """Print a note for people; on ``console`` if something else is drawn there."""
    (console or error_console()).print(Text.assemble(("note: ", "cyan"), printable(message)))


def printable(text: str) -> str:
    r"""Return ``text`` without what would steer a terminal: other people's messages are shown, never obeyed.

    >>> printable("red: \x1b[31m, next\nline")
    'red: \\x1b[31m, next\nline'
    """
    return "".join(char if char in "\n\t" or _is_harmless(char) else _escaped(char) for char in text)


def in_one_line(text: str) -> str:
    r"""Return ``text`` for a cell of a table.

    >>> in_one_line("a\nb")
    'a\\nb'
    """
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def _is_harmless(char: str) -> bool:
    return char.isprintable() or unicodedata.category(char) == "Zs" or char in _JOINERS


_JOINERS = "\u200c\u200d"  # they make one sign of several, in emoji and in Persian


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
