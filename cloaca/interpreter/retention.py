"""Retention: runs that ended long ago are deleted in the background, a few at a time, while a worker works.

It knows the store, the time and chance. Nothing depends on it: whoever is killed in the middle has deleted what it has,
and several workers that do the same at once only share the work.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable

from cloaca.errors import StoreError
from cloaca.ports import Store

logger = logging.getLogger("cloaca.worker")

MOST_RUNS = 500  # in one transaction: whoever commits meanwhile waits for it
MOST_RESULTS = 2000
PAUSE_S = 0.1  # between two transactions, for the others
FIRST_S, EVERY_S = 60.0, 3600.0  # on average: each worker at times of its own


async def keep_pruning(store: Store, now: Callable[[], float], chance: Callable[[], float], age_s: float) -> None:
    """Delete runs that ended more than ``age_s`` ago, now and then, until cancelled."""
    mean_s = FIRST_S
    while True:
        await asyncio.sleep(mean_s * (0.5 + chance()))
        mean_s = EVERY_S
        try:
            count = await prune(store, now() - age_s)
        except StoreError as error:
            logger.warning("Old runs could not be deleted, will try again: %s", error)
        except Exception:
            logger.exception("Old runs could not be deleted, will try again")
        else:
            if count:
                logger.info("Deleted %d old runs", count, extra={"deleted": count})


async def prune(store: Store, ended_before: float) -> int:
    """Delete all runs that ended before a time, the plans that no run has any more, and results as old as that.

    Return how many runs.
    """
    count = sum([count async for count in batches(store, ended_before)])
    while await store.prune_cache(ended_before, MOST_RESULTS):
        await asyncio.sleep(PAUSE_S)
    return count


async def batches(store: Store, ended_before: float) -> AsyncIterator[int]:
    """Delete runs a few at a time, and yield how many they were each time. Raises StoreError."""
    while count := await store.prune(ended_before, MOST_RUNS):
        yield count
        await asyncio.sleep(PAUSE_S)
