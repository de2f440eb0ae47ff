"""Runs whose payloads are encrypted with a key that this worker does not have: it leaves them alone.

It knows rows, and nothing of keys. Such a run must not fail because of this worker: it is blocked, as one whose code is
not here, until a worker is opened that has the key.
"""

from __future__ import annotations

from typing import Final

from cloaca.errors import CodecNeeded
from cloaca.ports import History, is_sealed

SEALED_SIGNAL: Final = (
    "a signal to it is encrypted with a key that this worker does not have: open a worker with it, Runner(codec=...)"
)


def refuse_sealed(history: History) -> None:
    """Raise CodecNeeded if a payload of a run could not be opened."""
    payloads = [history.run.input, *(task.output for task in history.tasks)]
    payloads += [failure.error for failure in history.failures]
    payloads += [signal.payload for signal in history.signals]
    payloads += [child.input for child in history.children]
    if any(is_sealed(payload) for payload in payloads):
        raise CodecNeeded(
            "its payloads are encrypted with a key that this worker does not have: open a worker with it, "
            "Runner(codec=...) or $CLOACA_ENCRYPTION_KEYS"
        )
