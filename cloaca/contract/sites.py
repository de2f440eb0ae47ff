"""The nodes of an elaborated graph, and the elaboration that they make up with the checker's steps.

It knows what a site is, not how a graph comes to have it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from cloaca.algebra.declarations import Parameter, Renames
from cloaca.contract.fanouts import Last, Resolved
from cloaca.contract.front_ends import Fanned, Model
from cloaca.contract.rescues import Handed
from cloaca.contract.steps import Step
from cloaca.errors import Violation

if TYPE_CHECKING:
    from cloaca.contract.building import Builder

Kind = Literal["task", "gate", "branch", "entry", "exit", "each", "sleep", "wait", "subflow", "end", "undo", "callback"]
# The kinds that users see and ask for by name, and whose writes stay.
SHOWN: Final[tuple[Kind, ...]] = ("task", "exit", "branch", "each", "sleep", "wait", "subflow")


@dataclass(slots=True)
class Site:
    """One node of the elaborated graph while it is being built; known by ``id``, unique and stable.

    ``task`` is the node's name in the user's words (a gate goes by its first task's), ``place`` the names that lead
    to it through sealed graphs, ``scope`` prefixes the keys of the sealed graph around it, ``guards`` are the ids of
    the gates that decide whether it runs, outermost first, ``otherwise`` those of them that must say no, ``awaited``
    the predecessors that its rule looks at. ``rescues`` is the id of the task that a handler stands in for, ``given``
    what it gets beside its parameters, by place. ``within`` prefixes the keys inside, of an entry or an exit.
    """

    id: str
    kind: Kind
    task: str
    scope: str
    place: tuple[str, ...] = ()
    preds: Collection[str] = ()
    guards: tuple[str, ...] = ()
    otherwise: frozenset[str] = frozenset()
    awaited: Collection[str] = ()
    rule: str = "none_failed"
    node: Any = None
    rescues: str | None = None
    given: tuple[tuple[int, Handed], ...] = ()
    predicate: Any = None
    parameters: tuple[Parameter, ...] = ()
    renames: Renames = ()
    writes: Renames = ()
    output: Model | None = None  # what a task writes, as a whole under the key ``whole`` if it has one
    whole: str | None = None
    sure: bool = True  # whether it surely writes once it has succeeded
    row: Model | None = None  # what an exit or the end collects, or an entry passes on
    undoes: str | None = None  # the site that a compensation compensates
    outcomes: tuple[str, ...] = ()  # how a run ends that a callback is called for
    within: str = ""
    fan: Fan | None = None

    @property
    def answers(self) -> Model | None:
        """The model of what it writes as a node: a task's output, a sealed graph's; None if it writes nothing."""
        return self.row if self.kind == "exit" else self.output


@dataclass(slots=True)
class Fan:
    """A fan-out: what it is made of, the graph inside as it is being built, and what that comes to at its place."""

    fanned: Fanned
    inside: Builder
    last: Last | None
    resolved: Resolved | None = None


@dataclass(frozen=True, slots=True)
class Elaboration:
    """Sites and the checker's steps for them, both in topological order.

    Ties are in the order of names; what decides for tasks comes as soon as it can, so that it doesn't change theirs.
    ``violations`` are those of the graphs inside fan-outs.
    """

    sites: tuple[Site, ...]
    steps: tuple[Step, ...]
    index: Mapping[str, int]
    key_names: Mapping[str, str]
    violations: tuple[Violation, ...] = ()
