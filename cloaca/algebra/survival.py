"""What survives a JSON round trip, dumped by name and validated by name, and the words for what doesn't.

It does not know what a type is. A front end says of each type which of a few shapes it has: at run time from the
annotation, in a type checker from the checker's own type; here it is decided whether a value of that shape comes
back as it was. What no front end knows anything against is ``Plain``.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from enum import Enum
from typing import Any, Final, NamedTuple, Protocol

from cloaca.algebra.rows import ModelProblem


class Mark(Enum):
    """What one item of an ``Annotated``'s metadata does."""

    IMPORTED = "imported"  # ImportString
    UNVALIDATED = "unvalidated"  # SkipValidation
    DUMPED = "dumped"  # a serializer
    LOADED = "loaded"  # a validator that may read what a serializer dumps
    OWN = "own"  # it says by itself how a value is dumped and read; or a front end can't tell


class Member(NamedTuple):
    """A field of anything that has fields. ``dumps`` and ``loads``: its owner says how, by a decorator."""

    type: object
    marks: tuple[Mark, ...] = ()
    excluded: bool = False
    dumps: bool = False
    loads: bool = False


class Value(NamedTuple):
    """A value of a ``Literal`` or an enum, as Python prints it, and whether plain JSON gives it back."""

    shown: str
    returns: bool
    is_member: bool = False


class Key(NamedTuple):
    """One arm of a mapping's key: whether the text that JSON has for it comes back, and whether as a text."""

    shown: str
    returns: bool
    is_text: bool
    is_str: bool


class Plain(NamedTuple):
    """Nothing is known against it."""


class Marked(NamedTuple):
    """``Annotated``."""

    type: object
    marks: tuple[Mark, ...]


class Renamed(NamedTuple):
    """A ``NewType`` of ``type``."""

    type: object


class Alias(NamedTuple):
    """A named alias, which may be recursive: ``key`` is equal for one alias."""

    key: Hashable
    value: Callable[[], object]
    args: tuple[object, ...] = ()


class Inside(NamedTuple):
    """A union or a collection: a value of it holds values of ``types``."""

    types: tuple[object, ...]


class Keyed(NamedTuple):
    """A mapping: ``args`` are the type of its keys and that of its values, none where its annotation doesn't say."""

    args: tuple[object, ...]


class Literals(NamedTuple):
    """``Literal``."""

    values: tuple[Value, ...]


class Enumeration(NamedTuple):
    """An enum class with these members."""

    members: tuple[Value, ...]


class Owner(NamedTuple):
    """A model, dataclass, ``TypedDict`` or named tuple: ``key`` is equal for one of them.

    ``dumps`` and ``loads``: it says how the whole is dumped and read. ``args`` are those of a generic one that are
    not in the types of its members.
    """

    key: Hashable
    name: str
    members: Callable[[], Mapping[str, Member]]
    dumps: bool = False
    loads: bool = False
    args: tuple[object, ...] = ()


class Secret(NamedTuple):
    """pydantic's ``SecretStr`` and its like."""

    name: str


class Lost(Enum):
    """What is refused as it is."""

    ONE_PASS = "{shown}, which can be read only once: use list or Sequence"
    CODE = "{shown}, which JSON can't carry: pass a name, and look it up in the task"
    IMPORTED = "an ImportString, whose value JSON may not give back: use str, and import it in the task"
    BYTES_PATTERN = "a pattern of bytes, which JSON doesn't give back: use Pattern[str]"
    INIT_VAR = "an InitVar, which dumps leave out: make it a field"
    ARBITRARY = (
        "{shown}, which pydantic can't read from JSON: annotate it with a validator and a serializer, or use a model"
    )


Shape = Plain | Marked | Renamed | Alias | Inside | Keyed | Literals | Enumeration | Owner | Secret | Lost


class Types(Protocol):
    """How a front end reads its types."""

    def shape(self, type_: Any) -> Shape:
        """Return what ``type_`` is."""

    def keys(self, type_: Any) -> Iterable[Key]:
        """Return the arms of ``type_`` as the key of a mapping."""

    def is_json(self, type_: Any) -> bool:
        """Return whether a value of ``type_`` is what plain JSON gives back."""

    def shown(self, type_: Any) -> str:
        """Return ``type_`` as messages show it."""


def root_model_problem(name: str) -> ModelProblem:
    """Return why a ``RootModel`` can't be part of the contract."""
    return ModelProblem("", f"{name} is a RootModel, which has no fields; use a BaseModel")


def survival_problems(key: Hashable, members: Mapping[str, Member], types: Types) -> Iterator[ModelProblem]:
    """Yield what is lost of a model with these members; ``key`` is the model's as an ``Owner``."""
    for name, member in members.items():
        for finding in _Search(types, {key}).member(member):
            at = f" (at {finding.at})" if finding.at else ""
            verb = "holds" if finding.holds else "is"
            yield ModelProblem(name, f'field "{name}"{at} {verb} {finding.text}')


class _Finding(NamedTuple):
    """One thing that doesn't survive: ``field "x" (at Card.pin) is <text>``, or ``holds`` what is inside."""

    text: str
    holds: bool = False
    at: str = ""
    dump_only: bool = False  # a serializer alone heals it


_Findings = Iterator[_Finding]
_EXCLUDED: Final = "left out of dumps, so it would be lost: drop exclude=, or use a private attribute"


class _Search:
    """Looks into one field. ``seen``: the owners and aliases looked into, as they may be recursive."""

    def __init__(self, types: Types, seen: set[Hashable]) -> None:
        self.types, self.seen = types, seen

    def member(self, member: Member) -> _Findings:
        if member.excluded:
            yield _Finding(_EXCLUDED)
            return
        yield from _distrusted(self.marked(member.type, member.marks), member.dumps, member.loads)

    def marked(self, base: object, marks: tuple[Mark, ...]) -> _Findings:
        dumps = loads = False
        for mark in marks:
            if mark is Mark.IMPORTED:
                yield _Finding(Lost.IMPORTED.value)
                return
            if mark is Mark.UNVALIDATED and not self.types.is_json(base):
                shown = self.types.shown(base)
                yield _Finding(f"{shown} without validation, which comes back as JSON: drop SkipValidation")
                return
            dumps |= mark in (Mark.DUMPED, Mark.OWN)
            loads |= mark in (Mark.LOADED, Mark.OWN)
        yield from _distrusted(self.type(base), dumps, loads)

    def type(self, type_: object) -> _Findings:
        match self.types.shape(type_):
            case Plain():
                pass
            case Marked(base, marks):
                yield from self.marked(base, marks)
            case Renamed(base):
                yield from self.type(base)
            case Alias() as alias:
                yield from self.alias(alias)
            case Inside(types):
                yield from self.inside(types)
            case Keyed(args):
                yield from self.mapping(args, type_)
            case Literals(values):
                yield from _literal_findings(values)
            case Enumeration(members):
                yield from _enum_findings(self.types.shown(type_), members)
            case Owner() as owner:
                yield from self.owner(owner)
            case Secret(name):
                text = f"a {name}, which JSON can't carry: it is dumped as asterisks; use cloaca.Secret, a name"
                yield _Finding(text, dump_only=True)
            case Lost() as lost:
                yield _Finding(lost.value.format(shown=self.types.shown(type_)))

    def inside(self, types: Iterable[object]) -> _Findings:
        for type_ in types:
            for finding in self.type(type_):
                yield finding if finding.at else finding._replace(holds=True)

    def alias(self, alias: Alias) -> _Findings:
        if alias.key not in self.seen:
            self.seen.add(alias.key)
            yield from self.type(alias.value())
        yield from self.inside(alias.args)

    def mapping(self, args: tuple[object, ...], type_: object) -> _Findings:
        """The findings in the values, and in the keys; what the keys lose is said once."""
        lost = _lost_key(list(self.types.keys(args[0]))) if args else ""
        if lost:
            yield _Finding(f"{self.types.shown(type_)}, whose {lost}")
        yield from self.inside(args[1:] if lost else args)

    def owner(self, owner: Owner) -> _Findings:
        """The findings in a nested model, at its fields. It is looked into once."""
        if owner.key not in self.seen:
            self.seen.add(owner.key)
            for name, member in owner.members().items():
                for finding in _distrusted(self.member(member), owner.dumps, owner.loads):
                    yield finding if finding.at else finding._replace(at=f"{owner.name}.{name}")
        yield from self.inside(owner.args)


def _distrusted(findings: _Findings, dumps: bool, loads: bool) -> _Findings:
    return (finding for finding in findings if not (dumps and (loads or finding.dump_only)))


def _literal_findings(values: tuple[Value, ...]) -> _Findings:
    odd = next((value for value in values if not value.returns), None)
    if odd is not None:
        cure = "mix str into the enum" if odd.is_member else "use str"
        yield _Finding(f"Literal[{odd.shown}], which JSON doesn't give back: {cure}")


def _enum_findings(name: str, members: tuple[Value, ...]) -> _Findings:
    odd = next((member for member in members if not member.returns), None)
    if odd is not None:
        yield _Finding(f"{name}, whose {odd.shown} JSON doesn't give back: give its members str values")
    elif not members:
        yield _Finding(f"{name}, which JSON doesn't give back: name the enum that is meant")


def _lost_key(keys: list[Key]) -> str:
    """The one thing, if any, that keys lose: JSON has only text for them, and pydantic reads back what it can."""
    lost = next((key for key in keys if not key.returns), None)
    if lost is not None:
        return f"{lost.shown} keys become text that doesn't come back: use str keys, or a list of pairs"
    if any(key.is_str for key in keys) and not all(key.is_text for key in keys):
        return "keys would all come back as str: use keys of one type"
    return ""
