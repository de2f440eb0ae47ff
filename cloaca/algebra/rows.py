"""A row: the fields of a model, their types, their defaults; and how a front end reads models as rows.

It does not know what a type is: at run time it is an annotation, in a type checker the checker's own type. Whoever
compares rows takes types as they come and hands them back to the front end that they came from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a row.

    ``type`` is what the front end has for the annotation, without the metadata of an outermost ``Annotated``;
    ``required`` says that the model gives it no default; ``reducer`` stands for the ``Reduce`` of its annotation:
    two fields whose reducers are equal fold alike. At run time it is the ``Reduce`` itself.
    """

    type: object
    required: bool
    reducer: object | None = None


Row = Mapping[str, Field]
"""A model's fields by their python names, never their aliases, in the order of declaration."""


@dataclass(frozen=True, slots=True)
class ModelProblem:
    """Why a model can't be part of the contract. ``field`` is ``""`` if it is about the model as a whole."""

    field: str
    message: str


class Models(Protocol):
    """How a front end reads models: at run time they are pydantic's classes, in a type checker its own types."""

    def is_model(self, hint: object) -> bool:
        """Return whether ``hint`` is a pydantic model other than ``BaseModel`` itself."""

    def name(self, model: Any) -> str:
        """Return what messages call ``model``: ``Order``, or ``Page[Order]`` for a generic one with arguments."""

    def row(self, model: Any) -> Row:
        """Return the fields of ``model``."""

    def problems(self, model: Any) -> Sequence[ModelProblem]:
        """Return why ``model`` can't be part of the contract; nothing for a model that can."""
