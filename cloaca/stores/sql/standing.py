"""Where a database stands: empty, to be taken over, behind, or fit to work with; or why it is refused.

It decides from what was found, for both databases alike, and asks nothing itself.

``cloaca_version`` has the revision at which the tables are. ``schema_version`` in ``cloaca_meta`` is the number of the
oldest revision of which the code can still work with them: so a release works with tables that a newer one has added
to, until that one takes something away.
"""

from __future__ import annotations

import re
from collections.abc import Set
from enum import Enum
from typing import NamedTuple

from cloaca.errors import CorruptDatabase, DatabaseTooNew, DatabaseTooOld, ForeignDatabase, StoreUnavailable
from cloaca.stores.sql.revisions import FIRST, head, last
from cloaca.stores.sql.tables import Table

VERSION_TABLE = "cloaca_version"


class Found(NamedTuple):
    """What was found: tables and views with our prefix, the revision, and the oldest one whose code may work here."""

    names: Set[str]
    revision: str | None
    oldest: int | None


NOTHING = Found(frozenset(), None, None)


class Standing(Enum):
    """What is to be done with a database."""

    EMPTY = "nothing of cloaca's is there"
    UNVERSIONED = "tables of ours from before there were revisions"
    BEHIND = "tables that this release has to add to"
    CURRENT = "fit to work with"


def standing(found: Found, where: str) -> Standing:
    """Return where a database stands; ``where`` names it in messages. Raises if it is not ours, not whole, too new."""
    if not found.names:
        return Standing.EMPTY
    if found.oldest is None:
        strangers = ", ".join(sorted(found.names))
        raise ForeignDatabase(f"{where} has tables that cloaca did not make ({strangers}): choose another database")
    known = int(last())
    if found.oldest > known:
        raise DatabaseTooNew(
            f"{where} was written by a newer release of cloaca: it is at revision {found.revision or found.oldest}, "
            f"which code from revision {found.oldest:04} on can use, and this release knows revisions up to {last()}; "
            "upgrade cloaca here. Nothing was changed"
        )
    if found.revision is None:
        return Standing.UNVERSIONED
    if not re.fullmatch(r"\d{4}", found.revision) or found.revision < FIRST:
        raise CorruptDatabase(
            f"{where} is at revision {found.revision!r:.40}, which no release knows: restore the table {VERSION_TABLE} "
            "from a backup"
        )
    if found.revision < head():
        return Standing.BEHIND
    _refuse_holes(found, where)
    return Standing.CURRENT


def _refuse_holes(found: Found, where: str) -> None:
    absent = sorted(Table.metadata.tables.keys() - found.names)
    if absent:
        raise CorruptDatabase(f"{where} lacks the table {absent[0]}: restore it from a backup")


def refuse_unless_current(found: Found, where: str) -> None:
    """Refuse what who only looks can't use, because he makes and changes no tables."""
    now = standing(found, where)
    if now is Standing.EMPTY:
        raise StoreUnavailable(
            f"{where} has no tables of cloaca's: choose another database; who starts a run makes them"
        )
    if now is Standing.UNVERSIONED:
        raise DatabaseTooOld(
            f"{where} has tables of cloaca's without a revision: `cloaca db check` says whether they are those of a "
            "release, which `cloaca db upgrade` takes over"
        )
    if now is not Standing.CURRENT:
        raise DatabaseTooOld(
            f"{where} is at revision {found.revision}, and this release of cloaca works with {head()}: "
            "upgrade the database with `cloaca db upgrade`, or start a worker of this release, which does"
        )
