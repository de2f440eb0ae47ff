"""How wide the columns of a table are, so that it fits a terminal.

It knows numbers of columns and nothing of what stands in them.
"""

from __future__ import annotations

from collections.abc import Sequence

LEAST_COLUMN = 8


def shares(widths: Sequence[int], room: int) -> list[int]:
    """Return widths that fit into ``room`` together: the widest give way first, none to below 8 columns.

    >>> shares([5, 60, 31], 55)
    [5, 25, 25]
    >>> shares([5, 20, 30], 55)
    [5, 20, 30]
    >>> shares([40, 40], 10)
    [8, 8]
    """
    fitting = list(widths)
    while sum(fitting) > room and (widest := max(fitting)) > LEAST_COLUMN:
        fitting[len(fitting) - 1 - fitting[::-1].index(widest)] -= 1
    return fitting
