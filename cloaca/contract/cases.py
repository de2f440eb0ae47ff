"""Case analysis over the decisions of branches: what holds whichever way they go.

It knows decisions by number, and neither steps nor fields.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

# What must be decided for something to hold, outermost first: whoever has decided so has come to the next decision.
Way = tuple[tuple[int, bool], ...]


def inevitable(ways: Iterable[Way], said: Mapping[int, bool]) -> bool:
    """Return whether one of ``ways`` is taken, whatever is decided beyond what was ``said`` already.

    >>> inevitable([((1, True),), ((1, False), (2, True))], {})
    False
    >>> inevitable([((1, True),), ((1, False), (2, True)), ((2, False),)], {1: False})
    True
    """
    open_ = []
    for way in ways:
        left = tuple((gate, taken) for gate, taken in way if said.get(gate) != taken)
        if not left:
            return True
        if not any(gate in said for gate, _ in left):  # else it was said otherwise
            open_.append(left)
    if not open_:
        return False
    gate = open_[0][0][0]
    return all(inevitable(open_, {gate: taken}) for taken in (True, False))
