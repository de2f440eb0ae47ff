"""What a type checker's plugin knows of a graph and of a context: names for the hidden type arguments.

Nothing here exists at run time. ``Graph[In, Out]`` has a third argument, ``object`` where a user declared the type;
``cloaca.mypy`` fills it with the expression that made the graph, as a type, so that it travels through variables,
imports, tuples and class attributes.
"""

from __future__ import annotations

from typing import Generic, TypedDict, TypeVar

Spec = TypeVar("Spec")
Left = TypeVar("Left")
Right = TypeVar("Right")


class Term(Generic[Spec, Left, Right]):
    """An operator and its operands, or a leaf: ``Term[Literal["series"], a, b]``."""


class Shape(TypedDict):
    """A graph whose structure is known. A type checker shows nothing but this name."""

    term: object


class Context(TypedDict):
    """The final context of a workflow, whose keys a type checker knows."""
