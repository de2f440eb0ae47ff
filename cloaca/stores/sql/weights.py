"""How much text a batch brings: to write much of it takes long on every disk.

It knows which rows may be long, not what writes them.
"""

from __future__ import annotations

from cloaca.ports import Batch

MOST_CHARACTERS = 500_000  # ten milliseconds or so


def is_heavy(batch: Batch) -> bool:
    """Whether the payloads and errors of a batch are too long for the event loop to wait until they are written."""
    characters = sum(len(task.output) for task in batch.tasks if task.output is not None)
    characters += sum(len(run.input) for runs in (batch.runs, batch.children) for run in runs if run.input is not None)
    characters += sum(len(f"{failed.message}{failed.traceback}{failed.error}") for failed in batch.failures)
    characters += sum(len(kept.output) for kept in batch.cached)
    characters += sum(len(plan.spec) for plan in batch.plans)
    return characters > MOST_CHARACTERS
