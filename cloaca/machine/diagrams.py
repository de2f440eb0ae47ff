"""The lifecycle diagrams of the documentation, as Mermaid text, from the tables of transitions.

It knows a table, not which one: ``to_state_diagram(TASK_TRANSITIONS)`` can't say anything that ``evolve`` forbids.
"""

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import TypeVar

S = TypeVar("S", bound=StrEnum)


def to_state_diagram(table: Mapping[S, Collection[S]], final: Collection[S]) -> str:
    """Return a Mermaid state diagram of a table from statuses to those that may follow.

    The first status of the table is the initial one; something may follow ``final`` ones too, but need not. Arrows keep
    the order of the table, so that equal tables give equal text.

    >>> class Light(StrEnum):
    ...     RED = "red"
    ...     GREEN = "green"
    ...     BROKEN = "broken"
    >>> table = {Light.RED: {Light.GREEN, Light.BROKEN}, Light.GREEN: {Light.RED}, Light.BROKEN: {Light.RED}}
    >>> print(to_state_diagram(table, {Light.BROKEN}))
    stateDiagram-v2
        [*] --> red
        red --> green
        red --> broken
        green --> red
        broken --> red
        broken --> [*]
    """
    order = list(table)
    arrows = [("[*]", str(status)) for status in order[:1]]
    for status, following in table.items():
        arrows += [(status, target) for target in sorted(following, key=order.index)]
        arrows += [(status, "[*]")] if status in final else []
    return "\n".join(["stateDiagram-v2", *(f"    {source} --> {target}" for source, target in arrows)])
