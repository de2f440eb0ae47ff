"""How mypy reads models: the static twin of ``cloaca.algebra.models``, over mypy's types instead of annotations.

It knows neither tasks nor graphs, and no rules: the fields are ``fields``', the shapes of types ``kinds``', and what
survives a round trip is for ``cloaca.algebra.survival`` to say.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from mypy.types import (
    AnyType,
    CallableType,
    Instance,
    LiteralType,
    TupleType,
    Type,
    TypedDictType,
    TypeOfAny,
    TypeType,
    UnionType,
    get_proper_type,
)

from cloaca.algebra.rows import Field, ModelProblem, Row
from cloaca.algebra.survival import root_model_problem, survival_problems
from cloaca.mypy.facts import BASE_MODEL, facts_of
from cloaca.mypy.fields import INIT_VAR, is_model, members, model_fields
from cloaca.mypy.kinds import StaticTypes
from cloaca.mypy.spelling import shown

__all__ = ["StaticModels", "shown"]

ROOT_MODEL: Final = "pydantic.root_model.RootModel"
_TYPES: Final = StaticTypes()


class StaticModels:
    """Reads models for one run of the checker; each question is answered once.

    A daemon's next run may have other answers for the same types: it needs a new reader.
    """

    def __init__(self) -> None:
        self._rows: dict[Instance, Row] = {}
        self._problems: dict[Instance, tuple[ModelProblem, ...]] = {}
        self._classes: dict[Instance, frozenset[str]] = {}

    def is_model(self, hint: object) -> bool:
        """Return whether ``hint`` is a pydantic model other than ``BaseModel`` itself.

        So is, for all one knows, a class with a base class that mypy knows nothing about.
        """
        type_ = get_proper_type(hint) if isinstance(hint, Type) else None
        if not isinstance(type_, Instance) or type_.type.fullname == BASE_MODEL:
            return False
        return type_.type.fallback_to_any or is_model(type_.type)

    def is_known(self, model: Instance) -> bool:
        """Return whether all fields of ``model`` are visible; those of an unknown base or ``create_model`` are not."""
        infos = model.type.mro
        return not any(base.fallback_to_any or (is_model(base) and facts_of(base) is None) for base in infos)

    def name(self, model: Instance) -> str:
        """Return what messages call ``model``."""
        return shown(model)

    def row(self, model: Instance) -> Row:
        """Return the fields of ``model``, with mypy's types."""
        found = self._rows.get(model)
        if found is None:
            fields = model_fields(model).items()
            found = self._rows[model] = {
                name: Field(type_, fact.required, fact.reducer) for name, (fact, type_) in fields
            }
        return found

    def problems(self, model: Instance) -> tuple[ModelProblem, ...]:
        """Return why ``model`` can't be part of the contract; ``()`` for a model that can."""
        found = self._problems.get(model)
        if found is None:
            found = self._problems[model] = tuple(_model_problems(model))
        return found

    def classes(self, model: Instance) -> frozenset[str]:
        """Return the full names of the classes that the answers depend on."""
        found = self._classes.get(model)
        if found is None:
            names: set[str] = set()
            _collect(model, names, set())
            found = self._classes[model] = frozenset(names)
        return found


def _model_problems(model: Instance) -> Iterable[ModelProblem]:
    if any(base.fullname == ROOT_MODEL for base in model.type.mro):
        return (root_model_problem(shown(model)),)
    return survival_problems(model, members(model), _TYPES)


def _collect(type_: Type, names: set[str], seen: set[Type]) -> None:
    """Add the classes that ``type_`` names, their bases, and what the fields of those that have fields name."""
    if type_ in seen or type_ is INIT_VAR:
        return
    seen.add(type_)
    match get_proper_type(type_):
        case UnionType(items=items) | TupleType(items=items):
            _collect_all(items, names, seen)
        case TypeType(item=item):
            _collect(item, names, seen)
        case TypedDictType(items=entries, fallback=fallback):
            _collect_all((fallback, *entries.values()), names, seen)
        case LiteralType(fallback=fallback):
            _collect(fallback, names, seen)
        case CallableType(arg_types=args, ret_type=result):
            _collect_all((*args, result), names, seen)
        case Instance() as instance:
            names.update(base.fullname for base in instance.type.mro if base.fullname != "builtins.object")
            _collect_all(instance.args, names, seen)
            _collect_fields(instance, names, seen)


def _collect_fields(instance: Instance, names: set[str], seen: set[Type]) -> None:
    """Once for a class, whatever its arguments are: those of a recursive one may grow without end."""
    bare = Instance(instance.type, [AnyType(TypeOfAny.special_form)] * len(instance.args))
    if bare not in seen or not instance.args:
        seen.add(bare)
        _collect_all((member.type for member in members(bare).values()), names, seen)


def _collect_all(types: Iterable[Any], names: set[str], seen: set[Type]) -> None:
    for type_ in types:
        _collect(type_, names, seen)
