"""``cloaca db prune``: delete the runs that ended long ago, now, whether workers are there or not."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

from cloaca.cli.databases import opened
from cloaca.cli.documents import moment, write_document
from cloaca.cli.refusals import Exit
from cloaca.cli.streams import data_stream
from cloaca.interpreter import histories
from cloaca.interpreter.retention import prune


def prune_database(older_than: timedelta, database: str | None, *, as_json: bool) -> Exit:
    """Delete runs and say how many. What is deleted when it is interrupted stays deleted. Raises CloacaError."""
    ended_before = time.time() - older_than.total_seconds()
    with data_stream() as out:
        count = asyncio.run(_pruned(ended_before, database))
        if as_json:
            write_document(out, {"deleted": count, "ended_before": moment(histories.moment(ended_before))})
        else:
            out.write(f"deleted {count} run{'' if count == 1 else 's'}\n")
    return Exit.DONE


async def _pruned(ended_before: float, database: str | None) -> int:
    async with opened(database) as store:
        return await prune(store, ended_before)
