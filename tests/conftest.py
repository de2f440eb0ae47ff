"""A second try for tests of real processes, servers and clocks, and for no others; and no test that times itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

# How long an example takes says more of the machine than of what is tested.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

HERE = Path(__file__).parent
# What waits for something real is late now and then on a busy machine. What only computes gets no second try.
REAL = {"benchmarks", "cli", "crashes", "docs", "examples", "executors", "interpreter", "runner", "stores", "torture"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Try a failed test of something real once more; the summary names each that needed it (``-rR``)."""
    for item in items:
        if item.path.is_relative_to(HERE) and item.path.relative_to(HERE).parts[0] in REAL:
            item.add_marker(pytest.mark.flaky(reruns=1, reruns_delay=1))
