"""Ids of runs to come: 63 bits, in the order of time, made without asking anybody."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

from cloaca.ports import Clock

EPOCH = 1_577_836_800  # 2020-01-01: the milliseconds since then fit in 41 bits until 2089


def run_ids(clock: Clock) -> Iterator[int]:
    """Yield run ids: 63 bits, ordered by time (milliseconds, then 22 bits that start at random and count)."""
    last = 0
    for count in itertools.count(random.getrandbits(21)):
        since = max(0, int((clock.now() - EPOCH) * 1000))
        last = max(last + 1, since << 22 | count & 0x3FFFFF)
        yield last
