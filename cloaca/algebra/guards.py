"""What decides whether nodes run: one ``when`` or one arm of a ``branch``, and the nodes that it decides for.

It doesn't know what a condition is: at run time a ``Predicate``, in a type checker what stands for one.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any, Final, Generic

from typing_extensions import TypeVar

P = TypeVar("P", bound=Hashable, default=Any)
UNNAMED: Final = "condition"  # how a lambda is called


@dataclass(frozen=True, slots=True)
class Arm:
    """What stands for the condition of an arm: ``decision`` names the node that decides, ``taken`` what it must say."""

    decision: str
    taken: bool


@dataclass(frozen=True, slots=True)
class Guard(Generic[P]):
    """One ``when``, or one arm: its condition, the names of all nodes that it guards, and of those that come first."""

    predicate: P | Arm
    members: frozenset[str]
    heads: frozenset[str]

    def renamed(self, old: str, new: str) -> Guard[P]:
        """Return the same guard with one member renamed, or with the node renamed that decides for the arm."""
        predicate = self.predicate
        if isinstance(predicate, Arm) and predicate.decision == old:
            predicate = replace(predicate, decision=new)
        return replace(
            self,
            predicate=predicate,
            members=frozenset(new if name == old else name for name in self.members),
            heads=frozenset(new if name == old else name for name in self.heads),
        )


def the_condition(name: str, task: str) -> str:
    """Return the words for a condition of a task, as a sentence begins.

    >>> the_condition("is_large", "ship"), the_condition(UNNAMED, "ship")
    ('The condition is_large of task "ship"', 'The condition of task "ship"')
    """
    return f'The condition of task "{task}"' if name == UNNAMED else f'The condition {name} of task "{task}"'
