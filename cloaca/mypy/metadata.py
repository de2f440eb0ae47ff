"""What the annotations of a source file say that mypy drops: the metadata of ``Annotated``.

It reads sources by Python's own ``ast``, of a file only the statements that it is asked about. It does not know
classes, fields or rows; names it resolves by mypy's symbol tables, as far as they are filled. What it can't follow it
takes for a type that says by itself how it is dumped and read, so that nobody complains.
"""

from __future__ import annotations

import ast
import os
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

from mypy.nodes import MypyFile, PlaceholderNode, TypeInfo

from cloaca.algebra.survival import Mark
from cloaca.mypy.aliases import source_text


@dataclass(frozen=True, slots=True)
class Metadata:
    """What an annotation says beside its type.

    ``marks`` are those of its outermost ``Annotated``; ``excluded`` is None where nothing says whether the field is
    left out of dumps; ``reducer`` names the function of the last ``Reduce``, equal for the same function;
    ``healed``: something inside of the type says how it is dumped or read.
    """

    marks: tuple[Mark, ...] = ()
    excluded: bool | None = None
    reducer: str | None = None
    healed: bool = False

    def then(self, later: Metadata) -> Metadata:
        """Return both together; what ``later`` says counts."""
        return Metadata(
            self.marks + later.marks,
            self.excluded if later.excluded is None else later.excluded,
            later.reducer or self.reducer,
            self.healed or later.healed,
        )


NOTHING: Final = Metadata()
UNKNOWN: Final = Metadata(marks=(Mark.OWN,))
_HEALING: Final = frozenset({Mark.DUMPED, Mark.LOADED, Mark.OWN})
MARKS: Final[Mapping[str, Mark]] = {
    "ImportString": Mark.IMPORTED,
    "SkipValidation": Mark.UNVALIDATED,
    "GetPydanticSchema": Mark.OWN,
    **dict.fromkeys(("PlainSerializer", "WrapSerializer"), Mark.DUMPED),
    **dict.fromkeys(("BeforeValidator", "PlainValidator", "WrapValidator"), Mark.LOADED),
}
_TYPING: Final = frozenset({"typing", "typing_extensions"})
_QUALIFIERS: Final = frozenset({"Required", "NotRequired", "ReadOnly", "Final", "ClassVar"})
_INERT: Final = frozenset({"annotated_types", "builtins", "typing", "typing_extensions", "sqlmodel"})
_DEEPEST: Final = 20  # aliases of aliases
_LONGEST: Final = 100  # the lines of a statement
_REDUCE: Final = re.compile(r"cloaca\.(.+\.)?Reduce")


class Source:
    """The text of a module. Statements are parsed one by one, when they are asked for: whole files take long."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.lines = text.splitlines()
        self._values: dict[str, ast.expr | None] = {}

    def annotation(self, line: int, name: str) -> ast.expr | None:
        """Return the annotation of ``name`` in the statement that begins at ``line``."""
        for node in self._nodes(line):
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == name:
                return node.annotation
        return None

    def bases(self, line: int) -> list[ast.expr] | None:
        """Return the base classes of the class at ``line``."""
        for node in self._nodes(line, " pass"):
            if isinstance(node, ast.ClassDef):
                return node.bases
        return None

    def value(self, name: str) -> ast.expr | None:
        """Return what is assigned to ``name``: at the top level, or else where it is first."""
        if name not in self._values:
            self._values[name] = self._find(name)
        return self._values[name]

    def _find(self, name: str) -> ast.expr | None:
        found = list(re.finditer(rf"^([ \t]*)(?:type )?{re.escape(name)}\b[^\n=]*=(?!=)", self.text, re.MULTILINE))
        for match in sorted(found, key=lambda match: len(match[1]))[:1]:
            for node in self._nodes(self.text.count("\n", 0, match.start()) + 1):
                if type(node).__name__ in ("Assign", "AnnAssign", "TypeAlias"):
                    value: object = getattr(node, "value", None)
                    return value if isinstance(value, ast.expr) else None
        return None

    @cached_property
    def imports(self) -> dict[str, str]:
        """What is imported, by the names that it has here."""
        found: dict[str, str] = {}
        for match in re.finditer(r"^[ \t]*(?:from|import) ", self.text, re.MULTILINE):
            for node in self._nodes(self.text.count("\n", 0, match.start()) + 1):
                if isinstance(node, ast.ImportFrom | ast.Import):
                    module = f"{node.module}." if isinstance(node, ast.ImportFrom) and not node.level else ""
                    found |= {alias.asname or alias.name: f"{module}{alias.name}" for alias in node.names}
        return found

    def _nodes(self, line: int, end: str = "") -> Iterator[ast.AST]:
        """Parse the statement that begins at ``line``, with as many lines as it takes."""
        for last in range(line, min(line + _LONGEST, len(self.lines) + 1)):
            snippet = textwrap.dedent("\n".join(self.lines[line - 1 : last]))
            for text in (snippet, snippet + end) if end else (snippet,):
                try:
                    return ast.walk(ast.parse(text))
                except (SyntaxError, ValueError, RecursionError, MemoryError):
                    continue
        return iter(())


_parsed: Final[dict[str, tuple[tuple[int, int], Source | None]]] = {}


def read_source(path: str) -> Source | None:
    """Return the file at ``path``, None if it can't be read."""
    try:
        stat = os.stat(path)
    except (OSError, ValueError):
        return None
    version = (stat.st_mtime_ns, stat.st_size)
    known = _parsed.get(path)
    if known is None or known[0] != version:
        text = source_text(path)
        known = _parsed[path] = (version, None if text is None else Source(text))
    return known[1]


@dataclass(frozen=True, slots=True)
class Place:
    """Where an expression stands: in a module, as the value of a name that tells it from all others.

    ``trail`` are the names that were followed to here.
    """

    module: str
    name: str
    trail: frozenset[str] = frozenset()


class Reader:
    """Reads annotations; ``modules`` are mypy's. ``is_certain``: no name has been met that mypy doesn't know yet."""

    def __init__(self, modules: Mapping[str, MypyFile]) -> None:
        self.modules = modules
        self.is_certain = True

    def read(self, expr: ast.expr, place: Place) -> Metadata:
        """Return what the annotation ``expr`` says beside its type."""
        if len(place.trail) > _DEEPEST:
            return UNKNOWN
        match expr:
            case ast.Constant(value=str() as text):
                quoted = _quoted(text)
                return NOTHING if quoted is None else self.read(quoted, place)
            case ast.Name() | ast.Attribute():
                return self._named(expr, place)
            case ast.Subscript(value=value, slice=inner):
                args = list(inner.elts) if isinstance(inner, ast.Tuple) else [inner]
                return self._subscript(value, args, place)
            case ast.BinOp(left=left, right=right):
                return self._inside((left, right), place)
            case ast.Call(args=[_, aliased, *_]) if self._last(expr.func, place) in {"TypeAliasType", "NewType"}:
                return replace(self.read(aliased, place), excluded=None)
        return NOTHING

    def heals(self, exprs: Iterable[ast.expr], place: Place) -> bool:
        """Return whether something in these annotations says how it is dumped or read."""
        return self._inside(exprs, place).healed

    def _inside(self, exprs: Iterable[ast.expr], place: Place) -> Metadata:
        found = [self.read(expr, place) for expr in exprs]
        return Metadata(healed=any(one.healed or not _HEALING.isdisjoint(one.marks) for one in found))

    def _named(self, expr: ast.expr, place: Place) -> Metadata:
        full = self.full_name(place.module, _dotted(expr))
        root, last = full.partition(".")[0], full.rpartition(".")[2]
        if root == "pydantic":
            return Metadata(marks=(Mark.IMPORTED,)) if last == "ImportString" else NOTHING
        if root in _INERT:
            return NOTHING
        value = None if full in place.trail else self.value(full)  # an alias may be recursive
        return NOTHING if value is None else self.read(*self._at(value, full, place))

    def _subscript(self, value: ast.expr, args: list[ast.expr], place: Place) -> Metadata:
        full = self.full_name(place.module, _dotted(value))
        root, last = full.partition(".")[0], full.rpartition(".")[2]
        if not args:  # mypy says what is wrong with that
            return UNKNOWN
        if root in _TYPING and last == "Annotated":
            found = self.read(args[0], place)
            for item in args[1:]:
                found = found.then(self.item(item, place))
            return found
        if root in _TYPING and last in _QUALIFIERS:
            return self.read(args[0], place)
        if root in _TYPING and last == "Literal":
            return NOTHING
        if root == "pydantic" and last in MARKS:
            return self.read(args[0], place).then(Metadata(marks=(MARKS[last],)))
        return self._named(value, place).then(self._inside(args, place))

    def item(self, expr: ast.expr, place: Place) -> Metadata:
        """Return what one item of the metadata says."""
        match expr:
            case ast.Constant() | ast.List() | ast.Dict() | ast.Set() | ast.JoinedStr() | ast.Lambda():
                return NOTHING
            case ast.Call(func=function):
                return self._call(expr, self.full_name(place.module, _dotted(function)), place)
            case ast.Name() | ast.Attribute():
                full = self.full_name(place.module, _dotted(expr))
                foreign = full.partition(".")[0] in ("pydantic", *_INERT)
                value = None if foreign or full in place.trail else self.value(full)
                return self._class(full) if value is None else self.item(*self._at(value, full, place))
        return UNKNOWN

    def _call(self, call: ast.Call, full: str, place: Place) -> Metadata:
        if _REDUCE.fullmatch(full):
            return Metadata(reducer=self._function(call, place))
        root, last = full.partition(".")[0], full.rpartition(".")[2]
        if root in ("pydantic", "sqlmodel") and last == "Field":
            return Metadata(excluded=excluded((word.arg, word.value) for word in call.keywords))
        known = self._class(full)
        is_class = isinstance(self.node(full), TypeInfo)
        # What a function of the user's returns may be a Reduce, too.
        return known if is_class or known is not UNKNOWN else replace(UNKNOWN, reducer=place.name)

    def _class(self, full: str) -> Metadata:
        root, last = full.partition(".")[0], full.rpartition(".")[2]
        if root == "pydantic":
            return Metadata(marks=(MARKS[last],)) if last in MARKS else NOTHING
        return NOTHING if root in _INERT else UNKNOWN

    def _function(self, call: ast.Call, place: Place) -> str:
        """The name of the function that a ``Reduce`` folds by; where it has none, the name of the place."""
        functions = [*call.args, *(word.value for word in call.keywords)]
        expr, module = (functions[0] if functions else call), place.module
        name = place.name
        for _ in range(_DEEPEST):
            dotted = _dotted(expr)
            if not dotted:
                break
            name = self.full_name(module, dotted)
            value = self.value(name)
            if value is None:
                break
            expr, module = value, self.module_of(name)
        return name

    def full_name(self, module: str, dotted: str) -> str:
        """Return the full name of what ``dotted`` names in ``module``, where it is defined if mypy knows that."""
        first, _, rest = dotted.partition(".")
        tree = self.modules.get(module)
        symbol = tree.names.get(first) if tree is not None else None
        node = None if symbol is None else symbol.node
        if isinstance(node, MypyFile):
            return self.full_name(node.fullname, rest) if rest else node.fullname
        if node is None or isinstance(node, PlaceholderNode):
            return self._unknown_name(module, first, rest, placed=node is not None)
        if rest and isinstance(node, TypeInfo) and (member := node.get(rest)) is not None and member.node is not None:
            return member.node.fullname
        return f"{node.fullname}.{rest}" if rest else node.fullname

    def _unknown_name(self, module: str, first: str, rest: str, placed: bool) -> str:
        """What mypy has no symbol for, or one that is still a placeholder."""
        builtins = self.modules.get("builtins")
        if not placed and builtins is not None and first in builtins.names:
            name = f"builtins.{first}"
        elif f"{module}.{first}" in self.modules:
            return self.full_name(f"{module}.{first}", rest) if rest else f"{module}.{first}"
        else:
            self.is_certain = False
            name = self._imported(module, first) or f"{module}.{first}"
        return f"{name}.{rest}" if rest else name

    def _imported(self, module: str, name: str) -> str:
        source = self.source(module)
        full = "" if source is None else source.imports.get(name, "")
        owner, _, imported = full.rpartition(".")
        return self.full_name(owner, imported) if owner in self.modules and owner != module else full

    def value(self, full: str) -> ast.expr | None:
        """Return what is assigned to the name ``full`` in its module."""
        source = self.source(self.module_of(full))
        return None if source is None else source.value(full.rpartition(".")[2])

    def module_of(self, full: str) -> str:
        """Return the module that ``full`` is a name of, ``""`` for a name in a class or in no known module."""
        module = full.rpartition(".")[0]
        return module if module in self.modules else ""

    def source(self, module: str) -> Source | None:
        """Return the source of ``module``."""
        tree = self.modules.get(module)
        return read_source(tree.path) if tree is not None and tree.path else None

    def node(self, full: str) -> object:
        """Return what mypy knows by the full name of something in a module."""
        tree = self.modules.get(self.module_of(full))
        symbol = None if tree is None else tree.names.get(full.rpartition(".")[2])
        return None if symbol is None else symbol.node

    def _last(self, expr: ast.expr, place: Place) -> str:
        return self.full_name(place.module, _dotted(expr)).rpartition(".")[2]

    def _at(self, value: ast.expr, full: str, place: Place) -> tuple[ast.expr, Place]:
        return value, Place(self.module_of(full), full, place.trail | {full})


def excluded(arguments: Iterable[tuple[str | None, object]]) -> bool | None:
    """Return whether the keyword arguments of a ``Field`` leave it out of dumps; None if they don't say."""
    given = dict(arguments)
    if "exclude_if" in given and not _is(given["exclude_if"], None):
        return True
    if "exclude" not in given:
        return None
    return _is(given["exclude"], True)


def _is(expr: object, value: object) -> bool:
    return isinstance(expr, ast.Constant) and expr.value is value


def _quoted(text: str) -> ast.expr | None:
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _dotted(expr: ast.expr) -> str:
    """``a.b.c``, ``""`` for an expression that is no name."""
    names: list[str] = []
    while isinstance(expr, ast.Attribute):
        names.append(expr.attr)
        expr = expr.value
    return ".".join([expr.id, *reversed(names)]) if isinstance(expr, ast.Name) else ""
