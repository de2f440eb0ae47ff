"""The queues that ``cloaca worker`` is given: ``--queue mail=4,100/min`` as a value."""

from __future__ import annotations

import re
from collections.abc import Iterable

from cloaca.algebra.queues import Queue
from cloaca.cli.refusals import Refusal

FORM = re.compile(r"(?P<name>[^=]+)=(?:(?P<concurrency>[0-9]+)|(?P<rate>[^,]+/[^,]+))(?:,(?P<then>[^,]+/[^,]+))?")


def queues_of(options: Iterable[str]) -> list[Queue] | None:
    """Return the queues that options say, None if there are none, so that the limits in the database count.

    Raises Refusal.

    >>> queues_of(["mail=4,100/min", "web=5/s"])
    [Queue(name='mail', concurrency=4, rate=(100, 60.0)), Queue(name='web', concurrency=None, rate=(5, 1.0))]
    """
    return [_queue(option) for option in options] or None


def _queue(option: str) -> Queue:
    found = FORM.fullmatch(option.strip())
    if found is None or (found["rate"] and found["then"]):
        raise Refusal(
            f"--queue {option!r} is not understood",
            "Write its name and its limits: mail=4 (at a time), mail=100/min (a rate), or mail=4,100/min (both).",
        )
    concurrency = None if found["concurrency"] is None else int(found["concurrency"])
    try:
        return Queue(found["name"].strip(), concurrency=concurrency, rate=found["rate"] or found["then"])
    except ValueError as error:
        raise Refusal(f"--queue {option!r}: {error}") from None
