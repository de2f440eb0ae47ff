"""What every store guarantees, as functions of a store that is open and empty, each named after its guarantee.

A new store passes all of ``CHECKS``. They know the port, and nothing of any implementation.
"""

from tests.stores.conformance import (
    closing,
    controlling,
    owning,
    pruning,
    queueing,
    reading,
    refusing,
    scheduling,
    starting,
    transacting,
    waiting,
    writing,
)
from tests.stores.conformance.suite import CHECKS

__all__ = [
    "CHECKS",
    "closing",
    "controlling",
    "owning",
    "pruning",
    "queueing",
    "reading",
    "refusing",
    "scheduling",
    "starting",
    "transacting",
    "waiting",
    "writing",
]
