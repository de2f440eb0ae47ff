"""Real processes that are killed, stopped, cut off and starved, and what must be true of a database afterwards.

``workflows`` is what they run, ``journal`` what the bodies have left behind, ``programs`` what a process does,
``boundaries`` how one is killed at a statement, ``disturbances`` what else befalls them, ``invariants`` what must hold
all the same, and ``rounds`` puts them together. ``python -m tests.torture`` goes on for as long as it is told.
"""
