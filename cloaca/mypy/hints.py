"""What mypy's types are, in answer to the contract: models, hints in words, and what may be read as what.

It decides nothing about graphs.
"""

from __future__ import annotations

from typing import Any, Final

from mypy.checker import TypeChecker
from mypy.messages import format_type_bare
from mypy.subtypes import is_same_type, is_subtype
from mypy.types import (
    AnyType,
    Instance,
    NoneType,
    TupleType,
    Type,
    TypeAliasType,
    TypeOfAny,
    UnionType,
    flatten_nested_unions,
)
from mypy.types import get_proper_type as proper

from cloaca.contract.steps import Types
from cloaca.mypy.models import StaticModels
from cloaca.mypy.spelling import shown

TASK_CONTEXT: Final = "cloaca.algebra.context.TaskContext"
LISTS: Final = ("builtins.list", "builtins.tuple", "typing.Sequence")
RUN_FAILURE: Final = "cloaca.algebra.outcomes.RunFailure"
TASK_FAILURE: Final = "cloaca.algebra.outcomes.TaskFailure"


class UnknownElement(Exception):
    """A list's elements are of a class that mypy can't see, so that a fan-out over it can't be checked."""


class MypyHints(StaticModels):
    """What mypy's types are."""

    def __init__(self, api: TypeChecker) -> None:
        super().__init__()
        self._options = api.options
        self._fits: dict[tuple[Type, Type], bool] = {}
        self._api = api
        self.types = Types(self.assignable, self.in_mypys_words, self.element, self.list_of)

    def shown(self, hint: Any) -> str:
        """Return a type as Python prints the annotation."""
        return shown(hint)

    def in_mypys_words(self, hint: Any) -> str:
        """Return a type as mypy's messages have it, a union with all its members."""
        return format_type_bare(_flat(hint), self._options)

    def same(self, one: Any, other: Any) -> bool:
        """Return whether two types are one."""
        return is_same_type(one, other)

    def is_context(self, hint: Any) -> bool:
        """Return whether a type is ``TaskContext``."""
        known = proper(hint) if isinstance(hint, Type) else None
        return isinstance(known, Instance) and known.type.has_base(TASK_CONTEXT)

    def is_run_failure(self, hint: Any) -> bool:
        """Return whether a type is ``RunFailure``."""
        known = proper(hint) if isinstance(hint, Type) else None
        return isinstance(known, Instance) and known.type.fullname == RUN_FAILURE

    def is_failure(self, hint: Any) -> bool:
        """Return whether a type is ``TaskFailure``."""
        known = proper(hint) if isinstance(hint, Type) else None
        return isinstance(known, Instance) and known.type.fullname == TASK_FAILURE

    def element(self, hint: Any) -> Instance | None:
        """Return the model of which a type is a list. Raises UnknownElement if it is a class that mypy can't see."""
        known = proper(hint)
        if not isinstance(known, Instance) or known.type.fullname not in LISTS:
            return None
        element = proper(known.args[0])
        if isinstance(element, AnyType) and element.type_of_any is not TypeOfAny.explicit:
            raise UnknownElement
        if not isinstance(element, Instance) or not self.is_model(element):
            return None
        if not self.is_known(element):
            raise UnknownElement
        return element

    def list_of(self, model: Any, optional: bool) -> Type:
        """Return the type of a list of a model, or of anything."""
        item = AnyType(TypeOfAny.explicit) if model is None else model
        item = UnionType([item, NoneType()]) if optional else item
        return self._api.named_generic_type("builtins.list", [item])

    def session_class(self, hint: Any) -> str | None:
        """Return the full name of a class."""
        known = proper(hint) if isinstance(hint, Type) else None
        return known.type.fullname if isinstance(known, Instance) else None

    def assignable(self, provided: Any, wanted: Any) -> bool:
        """Return whether a value of one type may be read as another. A structural type takes everything."""
        known = self._fits.get((provided, wanted))
        if known is None:
            known = self._fits[provided, wanted] = is_subtype(provided, wanted) or _is_structural(proper(wanted))
        return known


def _flat(type: Type) -> Type:
    """A type whose unions have all their members, those of aliases too; a recursive alias stays as it is."""
    if isinstance(type, TypeAliasType) and type.is_recursive:
        return type
    known = proper(type)
    if isinstance(known, UnionType):
        items = dict.fromkeys(map(_flat, flatten_nested_unions(known.items, handle_recursive=False)))
        return UnionType(list(items))
    if isinstance(known, Instance) and known.args and known.last_known_value is None:
        return known.copy_modified(args=[_flat(arg) for arg in known.args])
    if isinstance(known, TupleType):
        return known.copy_modified(items=[_flat(item) for item in known.items])
    return type


def _is_structural(wanted: Type) -> bool:
    """At run time nobody knows whether a value has the methods of a protocol."""
    if isinstance(wanted, UnionType):
        return any(_is_structural(proper(item)) for item in wanted.items)
    return isinstance(wanted, Instance) and wanted.type.is_protocol
