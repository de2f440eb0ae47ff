"""Printing a list that may be longer than what was asked for: a table of 80 columns, or JSON, and how to see more.

It knows neither what is listed nor where it is found.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TextIO, TypeVar

from cloaca.cli.documents import Json, write_document
from cloaca.cli.refusals import Exit
from cloaca.cli.streams import data_stream, remark

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Form(Generic[T]):
    """How a kind of things is listed.

    ``empty`` is said if there are none; ``further`` returns the option that asks for what comes after the last one.
    """

    document: Callable[[T], Json]
    table: Callable[[list[T], TextIO], None]
    empty: str
    further: Callable[[T], str]


def print_list(form: Form[T], find: Callable[[int], list[T]], *, limit: int, as_json: bool) -> Exit:
    """Print ``limit`` things at most. ``find`` is asked for one more than that, which says whether there are more."""
    with data_stream() as out:
        found = find(limit + 1)
        shown = found[:limit]
        if as_json:
            write_document(out, [form.document(each) for each in shown])
        elif shown:
            form.table(shown, out)
        if not shown:
            remark(form.empty)
        elif len(found) > limit:
            remark(f"there are more: {form.further(shown[-1])}")
    return Exit.DONE
