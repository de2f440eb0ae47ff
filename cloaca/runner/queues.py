"""What a runner says about queues: the ones that it declares, and those that its workflows name.

It stores limits and refuses unknown names; who gets a slot is none of its business.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from cloaca.algebra.queues import Queue
from cloaca.contract.workflows import Workflow
from cloaca.errors import UnknownQueue
from cloaca.ports import QueueRow, Store

logger = logging.getLogger("cloaca.worker")


class Declared:
    """The queues that a runner declares. Raises TypeError for what is no queue, ValueError for two of one name."""

    def __init__(self, queues: Iterable[Queue]) -> None:
        self._queues: dict[str, Queue] = {}
        for queue in queues:
            if not isinstance(queue, Queue):
                raise TypeError(f'Runner: {queue!r:.80} is no queue; write Queue("mail", concurrency=4)')
            if queue.name in self._queues:
                raise ValueError(f'Runner: two queues are named "{queue.name}"; say its limits once')
            self._queues[queue.name] = queue

    def check(self, workflow: Workflow[Any, Any, Any, Any]) -> None:
        """Raise UnknownQueue if a task names a queue that is not declared here."""
        for name, queue in workflow.plan.queue_of.items():
            if queue not in self._queues:
                known = ", ".join(f'"{name}"' for name in self._queues) or "none"
                task = f'task "{name}" of workflow "{workflow.name}"'
                raise UnknownQueue(
                    f'{task} is in queue "{queue}", which this runner does not declare (it declares {known}); add '
                    f'Queue("{queue}") to Runner(queues=[...]), or mend the name'
                )

    async def store(self, store: Store) -> None:
        """Set the limits of these queues in the database, for all who work on it."""
        rows = [QueueRow(each.name, each.concurrency, each.starts, each.window_s) for each in self._queues.values()]
        for before in await store.declare(rows):
            now = next(row for row in rows if row.name == before.name)
            logger.warning('Queue "%s" has other limits from now on: %s, was %s', now.name, _shown(now), _shown(before))


async def warn_of_unknown(store: Store, workflow: Workflow[Any, Any, Any, Any]) -> None:
    """Log the queues of a workflow that nobody has ever declared: they have no limit."""
    known = {row.name for row in await store.queues()}
    for queue in sorted(set(workflow.plan.queue_of.values()) - known):
        logger.warning(
            'Queue "%s" of workflow "%s" was never declared in this database, so it has no limit: declare it by '
            "Runner(queues=[...])",
            queue,
            workflow.name,
        )


def _shown(row: QueueRow) -> str:
    """Return limits for a log line.

    >>> _shown(QueueRow("mail", 4, 100, 60.0)), _shown(QueueRow("mail", None, None, None))
    ('4 at a time, 100 per 60 s', 'no limit')
    """
    limits = [] if row.concurrency is None else [f"{row.concurrency} at a time"]
    if row.starts is not None:
        limits.append(f"{row.starts} per {row.window_s:g} s")
    return ", ".join(limits) or "no limit"
