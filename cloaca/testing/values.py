"""Values of every type that a field may have, drawn so that constraints hold by construction where they can.

It knows types and constraints; models are its subclass's business.
"""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from collections import abc, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import typing_extensions
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError

from cloaca.testing.constraints import Constraints, constraints_of
from cloaca.testing.scalars import ANYTHING, SCALARS, TEXT

Strategy = st.SearchStrategy[Any]

DEEPEST: Final = 3  # how far models are nested within themselves before what is optional is left out
LONGEST: Final = 4  # of a collection without a bound of its own
_LISTS: Final = (list, abc.Sequence, abc.MutableSequence, abc.Collection, abc.Iterable, deque)
_SETS: Final = (set, abc.Set, abc.MutableSet)
_DICTS: Final = (dict, abc.Mapping, abc.MutableMapping)
_EMPTY: Final[Mapping[Any, type]] = {
    frozenset: frozenset,
    **dict.fromkeys(_LISTS, list),
    **dict.fromkeys(_SETS, set),
    **dict.fromkeys(_DICTS, dict),
    deque: deque,
}


class Builder:
    """Builds strategies for annotations. ``depth`` counts the models around."""

    def model(self, model: type[BaseModel], depth: int) -> Strategy:
        """Return a strategy for a model."""
        raise TypeError(f"{model.__name__} is a model")

    def registered(self, type: object) -> Strategy | None:
        """Return the strategy that a user has given for a type."""
        return None

    def value(self, hint: Any, metadata: Iterable[object], depth: int) -> Strategy:
        """Return a strategy for values of an annotation, with the metadata around it."""
        metadata = list(metadata)
        if (found := self.registered(hint)) is not None:
            return found
        origin = get_origin(hint)
        if origin is Annotated:
            base, *inner = get_args(hint)
            return self.value(base, [*inner, *metadata], depth)
        if isinstance(hint, typing_extensions.TypeAliasType) or type(hint).__name__ == "TypeAliasType":
            return self.value(hint.__value__, metadata, depth)
        strategy = self._of(hint, origin, constraints_of(metadata), depth)
        if not constraints_of(metadata).checks:
            return strategy
        return strategy.filter(_accepted_by(Annotated[hint, *metadata]))

    def _of(self, hint: Any, origin: Any, wanted: Constraints, depth: int) -> Strategy:
        if isinstance(hint, typing.TypeVar):
            return self.value(hint.__bound__ or Any, (), depth)
        if hint is Any or hint is object:
            return ANYTHING
        if hint is None or hint is type(None):
            return st.none()
        if origin is Literal:
            return st.sampled_from(get_args(hint))
        if origin in (Union, types.UnionType):
            return self._union(get_args(hint), wanted, depth)
        if origin is not None or hint in (*_LISTS, *_SETS, *_DICTS, tuple, frozenset):
            return self._collection(hint, origin or hint, get_args(hint), wanted, depth)
        if isinstance(hint, type):
            return self._class(hint, wanted, depth)
        raise unknown(hint)

    def _union(self, members: Sequence[Any], wanted: Constraints, depth: int) -> Strategy:
        if depth > DEEPEST and type(None) in members:
            return st.none()
        plain = [each for each in members if each is type(None)]
        others = [each for each in members if each is not type(None)]
        metadata = [_Carried(wanted)] if wanted != Constraints() else []
        return st.one_of([*(st.none() for _ in plain), *(self.value(each, metadata, depth) for each in others)])

    def _collection(self, hint: Any, origin: Any, of: Sequence[Any], wanted: Constraints, depth: int) -> Strategy:
        least = wanted.min_length
        most = least + LONGEST if wanted.max_length is None else wanted.max_length
        if depth > DEEPEST and not least and origin in _EMPTY:
            return st.builds(_EMPTY[origin])
        if origin is tuple:
            return self._tuple(of, least, most, depth)
        items = [self.value(each, (), depth) for each in of] or [ANYTHING]
        if origin in _LISTS:
            lists = st.lists(items[0], min_size=least, max_size=min(most, least + LONGEST))
            return lists.map(deque) if origin is deque else lists
        if origin in (*_SETS, frozenset):
            sets = st.frozensets if origin is frozenset else st.sets
            return sets(items[0], min_size=least, max_size=min(most, least + LONGEST))
        if origin in _DICTS:
            keys, values = (items[0], items[1]) if len(items) > 1 else (st.text(TEXT, max_size=8), ANYTHING)
            return st.dictionaries(keys, values, min_size=least, max_size=min(most, least + LONGEST))
        if isinstance(origin, type):
            return self._class(hint if isinstance(hint, type) else origin, wanted, depth)
        raise unknown(hint)

    def _tuple(self, of: Sequence[Any], least: int, most: int, depth: int) -> Strategy:
        if len(of) == 2 and of[1] is Ellipsis:  # noqa: PLR2004 - tuple[int, ...]
            return st.lists(self.value(of[0], (), depth), min_size=least, max_size=min(most, LONGEST)).map(tuple)
        if not of:
            return st.lists(ANYTHING, min_size=least, max_size=most).map(tuple)
        return st.tuples(*(self.value(each, (), depth) for each in of if each != ()))

    def _class(self, hint: type, wanted: Constraints, depth: int) -> Strategy:
        if issubclass(hint, BaseModel):
            return self.model(hint, depth)
        if issubclass(hint, enum.Enum):
            return st.sampled_from(list(hint))
        for kind, make in SCALARS.items():
            if hint is kind:
                return make(wanted)
        if (fields := self._fields(hint, depth)) is not None:
            return fields
        for kind, make in SCALARS.items():
            if issubclass(hint, kind):
                return make(wanted).filter(_accepted_by(hint))
        raise unknown(hint)

    def _fields(self, hint: type, depth: int) -> Strategy | None:
        """A class with annotated fields: a dataclass, a TypedDict, a named tuple."""
        if not (typing_extensions.is_typeddict(hint) or dataclasses.is_dataclass(hint) or hasattr(hint, "_fields")):
            return None
        hints = typing_extensions.get_type_hints(hint, include_extras=True)
        values = {name: self.value(_bare(each), (), depth + 1) for name, each in hints.items()}
        if not typing_extensions.is_typeddict(hint):
            return st.builds(hint, **values)
        needed: frozenset[str] = getattr(hint, "__required_keys__", frozenset(values))
        required = {name: each for name, each in values.items() if name in needed}
        return st.fixed_dictionaries(required, optional={n: v for n, v in values.items() if n not in needed})


@dataclasses.dataclass(frozen=True)
class _Carried:
    """Constraints around a union, handed to each of its members."""

    wanted: Constraints

    def __post_init__(self) -> None:
        for name in ("gt", "ge", "lt", "le", "multiple_of", "min_length", "max_length", "pattern"):
            object.__setattr__(self, name, getattr(self.wanted, name))


def unknown(hint: object) -> TypeError:
    """Return the error for a type that nothing is known of."""
    name = getattr(hint, "__name__", repr(hint))
    return TypeError(f"inputs: nothing is known of {name}; say where its values come from: register({name}, strategy)")


def _bare(hint: Any) -> Any:
    while get_origin(hint) in (
        typing.Required, typing.NotRequired, typing_extensions.Required, typing_extensions.NotRequired,
        typing_extensions.ReadOnly,
    ):  # fmt: skip
        hint = get_args(hint)[0]
    return hint


def _accepted_by(hint: Any) -> Callable[[object], bool]:
    adapter: TypeAdapter[Any] = TypeAdapter(hint)

    def accepted(value: object) -> bool:
        try:
            adapter.validate_python(value)
        except ValidationError:
            return False
        return True

    return accepted
