"""``cloaca check --against``: which runs in flight the code that was checked could not finish.

It reads a database and writes nothing to it: no table, no session. The judgement is the one by which a worker blocks.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cloaca.cli.databases import opened
from cloaca.cli.documents import Json
from cloaca.cli.targets import AnyWorkflow
from cloaca.contract.compatibility import Misfit
from cloaca.contract.subflows import family
from cloaca.interpreter.sealed import refuse_sealed
from cloaca.interpreter.versions import Verdict, judge, parsed
from cloaca.ports import RunRow, Store

IN_FLIGHT = ("running", "pending", "paused", "blocked")
PAGE = 500


@dataclass(frozen=True, slots=True)
class Stranded:
    """A run in flight that the new code could not finish, and why."""

    row: RunRow
    verdict: Verdict

    def lines(self) -> list[str]:
        """Return why, as lines for people."""
        head = f"run {self.row.id} of {self.row.workflow} ({self.row.status}, version {self.row.version})"
        return [f"{head}: {' '.join(misfit.message.split())}" for misfit in self.verdict.misfits]

    def document(self) -> Json:
        """Return the run as ``check --json`` has it."""
        row = self.row
        misfits: list[Json] = [
            {"task": found.task or None, "field": found.field or None, "message": found.message}
            for found in self.verdict.misfits
        ]
        head = {"id": str(row.id), "workflow": row.workflow, "version": row.version, "status": row.status}
        return {**head, "misfits": misfits}


@dataclass(frozen=True, slots=True)
class Flight:
    """The runs in flight of a database: how many there are, and which of them are ``stranded``."""

    number: int
    stranded: list[Stranded]


async def in_flight(database: str, workflows: Iterable[AnyWorkflow]) -> Flight:
    """Judge every run in flight of a database. Cost: one statement for 500 runs, and more for each that other code has
    begun. Raises CloacaError."""
    known = {found.name: found for workflow in workflows for found in family(workflow).values()}
    number, stranded = 0, []
    async with opened(database) as store:
        specs: dict[str, Mapping[str, Any] | None] = {}
        async for row in _rows(store):
            number += 1
            verdict = await _verdict(store, row, known.get(row.workflow), specs)
            if not verdict.fits:
                stranded.append(Stranded(row, verdict))
    return Flight(number, sorted(stranded, key=lambda found: (found.row.workflow, found.row.id)))


async def _rows(store: Store) -> AsyncIterator[RunRow]:
    for status in IN_FLIGHT:
        before: int | None = None
        while page := await store.runs(workflow=None, status=status, before=before, limit=PAGE):
            for row in page:
                yield row
            before = page[-1].id


async def _verdict(
    store: Store, row: RunRow, workflow: AnyWorkflow | None, specs: dict[str, Mapping[str, Any] | None]
) -> Verdict:
    if workflow is None:
        text = f'no workflow is named "{row.workflow}" any more; name every module that the workers will have'
        return Verdict((Misfit("", "", text),))
    if row.plan == workflow.plan.digest and (workflow.versioning != "pinned" or row.version == workflow.version):
        return Verdict()
    history = await store.history(row.id)
    if history is None or history.run.finished_at is not None:
        return Verdict()
    refuse_sealed(history)
    digest = history.run.plan
    if digest not in specs:
        stored = await store.plan(digest)
        specs[digest] = parsed(stored.spec if stored is not None else None)
    return judge(workflow, workflow.version, specs[digest], history)
