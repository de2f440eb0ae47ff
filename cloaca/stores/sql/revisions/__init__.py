"""The revisions of the tables, oldest first: each is a file of this folder, which alembic runs.

A release brings revisions that only add, for before it is deployed, so that the release before works on; and after them
those that take away what only that one needs, for afterwards. Whoever opens a database runs the former by itself. It
knows their names and their order; importing it loads no alembic.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent
FIRST = "0001"


class Revision(NamedTuple):
    """A step from the revision before. ``release`` is the release of cloaca that brings it.

    ``needs`` is given if it takes something away: the first revision of which the code does without.
    """

    id: str
    release: str
    needs: str | None = None


REVISIONS: tuple[Revision, ...] = (Revision(FIRST, "0.1.0"),)


def head() -> str:
    """Return the revision that this release works with: the last before those that wait until it is deployed."""
    return next(revision.id for revision in reversed(REVISIONS) if revision.needs is None)


def last() -> str:
    """Return the newest revision that this release knows."""
    return REVISIONS[-1].id


def pending(found: str | None, goal: str) -> list[Revision]:
    """Return the steps from what was found, None if nothing was, to ``goal``; none if that lies behind.

    >>> [revision.id for revision in pending(None, FIRST)]
    ['0001']
    """
    return [revision for revision in REVISIONS if (found is None or revision.id > found) and revision.id <= goal]
