"""``make mutants``: plant each bug, and print how many simulated executions the kit takes to find it.

A row has the median of five seeds, what was found, and how long the five took together.
"""

from __future__ import annotations

import sys
import time
from statistics import median

from tests.testing.planted import PLANTED, Bug, detection

SEEDS = range(5)


def row(bug: Bug) -> tuple[str, bool]:
    """Return a line of the table, and whether each seed has found the bug."""
    began = time.process_time()
    found = [detection(bug, seed) for seed in SEEDS]
    seconds = time.process_time() - began
    counts = sorted(each[0] for each in found if each is not None)
    if len(counts) < len(found):
        return f"{bug.name:52} {'survives':>8} in {len(found) - len(counts)} of {len(found)}", False
    by = found[0]
    assert by is not None  # else it survives
    return f"{bug.name:52} {median(counts):8.0f} {counts[-1]:6} {seconds:7.2f}  {by[1]:.70}", True


def main() -> int:
    """Print the table. Return 1 if a bug survives."""
    print(f"{'planted bug':52} {'median':>8} {'most':>6} {'seconds':>7}  found by")
    killed = True
    for bug in PLANTED:
        line, found = row(bug)
        print(line, flush=True)
        killed = killed and found
    return 0 if killed else 1


if __name__ == "__main__":
    sys.exit(main())
