"""Looking after tables: at which revision they are, what they lack, what ails them; and upgrading them.

A database has places: the file and those of tenants on SQLite, schemas on PostgreSQL. Only ``upgrade`` changes
anything. What a database of a kind does for it is in ``sqlite_upkeep`` and ``postgres_upkeep``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from cloaca.errors import StoreError
from cloaca.stores.sql import revisions
from cloaca.stores.sql.standing import Found, Standing, standing


@dataclass(frozen=True, slots=True)
class State:
    """Where a place stands. ``pending`` are the revisions to come by themselves, ``later`` those after deployment.

    ``refusal`` is why this release can't use it, None if it can. ``is_unversioned`` is true of tables without a
    revision: whoever looks closely says whether they are those of a release.
    """

    place: str
    revision: str | None
    pending: tuple[str, ...]
    later: tuple[str, ...]
    refusal: StoreError | None = None
    is_unversioned: bool = False

    def unless(self, refusal: StoreError | None) -> State:
        """Return this state, or if there is a reason, that it is refused."""
        return self if refusal is None else replace(self, pending=(), later=(), refusal=refusal)

    @property
    def is_current(self) -> bool:
        """Whether this release can work there as it is."""
        return self.refusal is None and not self.pending

    @property
    def said(self) -> str:
        """The state in a few words."""
        if self.refusal is not None:
            return "refused"
        if self.revision is None:
            return "no revision" if self.is_unversioned else "no tables"
        if self.pending:
            return "to be upgraded"
        if self.revision > revisions.last():
            return "newer, and usable"
        return "to be upgraded after deployment" if self.later else "current"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a doctor has found. A ``problem`` hinders, an ``advice`` would be wise; ``remedy``: what to do."""

    check: str
    level: Literal["problem", "advice"]
    message: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Report:
    """What was found in a place; ``facts`` are figures of it, by name."""

    state: State
    findings: Sequence[Finding] = ()
    facts: dict[str, str | int | float | None] = field(default_factory=dict)


class Upkeep(Protocol):
    """Looks after one database. Everything may raise StoreError."""

    async def states(self) -> list[State]:
        """Return where each place stands."""
        ...

    async def upgrade(self, *, after_deployment: bool) -> list[tuple[str, list[str]]]:
        """Upgrade each place; return the revisions that were reached in each."""
        ...

    async def reports(self, *, thorough: bool) -> list[Report]:
        """Return how each place's structure differs; and, if thorough, whatever else may ail it."""
        ...


def state_of(place: str, found: Found, where: str) -> State:
    """Return where a place stands."""
    try:
        now = standing(found, where)
    except StoreError as error:
        return State(place, found.revision, (), (), error)
    is_unversioned = now is Standing.UNVERSIONED
    revision = revisions.FIRST if is_unversioned else found.revision
    pending = tuple(each.id for each in revisions.pending(revision, revisions.head()))
    later = tuple(each.id for each in revisions.pending(max(revision or "", revisions.head()), revisions.last()))
    if is_unversioned:
        pending = (revisions.FIRST, *pending)
    return State(place, found.revision, pending, later, is_unversioned=is_unversioned)
