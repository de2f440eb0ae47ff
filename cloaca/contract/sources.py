"""The code behind a function, as text that is the same wherever the same code runs: what fingerprints are made of.

It knows syntax trees, not tasks. Comments, docstrings, formatting and annotations' targets don't count; what a
function closes over and calls within its own package does: code, and constants that can't change. What it imports in
its body, the value of a list, a lock or a client don't count.
"""

from __future__ import annotations

import ast
import inspect
import json
import linecache
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import date, time, timedelta, tzinfo
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from functools import lru_cache, partial
from pathlib import PurePath
from re import Pattern
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any, Final

from cloaca.algebra.tasks import TaskDecorator

_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
_Key = tuple[str, int]  # a code object's name and first line


def code_of(function: Callable[..., Any]) -> str:
    """Return the code of ``function`` and of what it uses of its own package, as JSON.

    A function without source, such as one made by ``exec``, counts by its byte code, which differs between Pythons.
    """
    walk = _Walk(_package(inspect.unwrap(function.func if isinstance(function, partial) else function)))
    walk.visit("", function)
    return json.dumps([walk.codes[:1], sorted(walk.codes[1:])])


class _Walk:
    """Collects code and constants, each once, from a function outwards."""

    def __init__(self, package: str) -> None:
        self.package = package
        self.codes: list[list[str]] = []
        self.seen: set[int] = set()

    def visit(self, name: str, value: object) -> None:
        """Take in what ``name`` stands for, if it is code of the package or a constant."""
        if isinstance(value, FunctionType):
            self.visit_function(name, value)
        elif isinstance(value, type):
            self.visit_class(value)
        elif isinstance(value, partial):
            self.visit(name, value.func)
            self.visit(name, (value.args, tuple(sorted(value.keywords.items()))))
        elif isinstance(value, MethodType):
            self.visit(name, value.__func__)
        elif (inner := inspect.getattr_static(value, "__wrapped__", None)) is not None:
            self.visit(name, inner)  # a task, or a cached function
        elif (constant := _constant(value)) is not None:
            self.codes.append([name, constant])
        elif not isinstance(value, ModuleType):
            self.visit_class(type(value))

    def visit_function(self, name: str, function: FunctionType) -> None:
        if id(function) in self.seen or (self.codes and _package(function) != self.package):
            return
        self.seen.add(id(function))
        surroundings, code = _surroundings(function), function.__code__
        found = _tree_of_function(function)
        tree = _undecorated(found, surroundings) if found is not None else None
        self.codes.append([function.__qualname__, _compiled(code) if tree is None else _text(tree)])
        for value in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
            self.visit("", value)
        if hasattr(function, "__wrapped__"):
            self.visit("", function.__wrapped__)
        local = _locals(code)
        for path in _names(tree) if tree is not None else [(name,) for name in (*code.co_names, *code.co_freevars)]:
            if path[0] not in local and path[0] in surroundings:
                self.visit_path(path, surroundings[path[0]])

    def visit_class(self, cls: type) -> None:
        if id(cls) in self.seen or _package(cls) != self.package:
            return
        self.seen.add(id(cls))
        tree = _tree_of_class(cls)
        if tree is None:
            return
        self.codes.append([cls.__qualname__, _text(tree)])
        surroundings = vars(sys.modules[cls.__module__])
        for path in _names(tree):
            if path[0] in surroundings:
                self.visit_path(path, surroundings[path[0]])

    def visit_path(self, path: tuple[str, ...], value: object) -> None:
        """Follow a dotted name through modules."""
        for depth, name in enumerate(path[1:], 1):
            if not isinstance(value, ModuleType):
                return self.visit(path[depth - 1], value)
            if _root(value.__name__) != self.package or not hasattr(value, name):
                return None
            value = getattr(value, name)
        return self.visit(path[-1], value)


_CONSTANTS: Final = (int, float, complex, bool, bytes, Decimal, Fraction, date, time, timedelta, PurePath, tzinfo)


def _constant(value: object) -> str | None:
    """A value that can't change, as text; None for any other."""
    if value is None or value is Ellipsis:
        return str(value)
    if isinstance(value, Enum):
        return f"{type(value).__qualname__}.{value.name}"
    if isinstance(value, str):
        return ascii(value)
    if isinstance(value, _CONSTANTS) or type(value).__module__ == "uuid":  # by name: pure code imports no source of ids
        return f"{type(value).__qualname__} {value!s}"
    if isinstance(value, Pattern):
        return f"Pattern {value.pattern!a} {value.flags}"
    if isinstance(value, tuple | frozenset):
        items = [_constant(item) for item in value]
        known = [item for item in items if item is not None]
        return None if len(known) < len(items) else json.dumps(known if isinstance(value, tuple) else sorted(known))
    return None


def _package(value: object) -> str:
    return _root(getattr(value, "__module__", None) or "")


def _root(module: str) -> str:
    """The top-level package of a module; a module that is run is what it would be if it were imported."""
    if module == "__main__":
        spec = getattr(sys.modules["__main__"], "__spec__", None)
        module = spec.name if spec else module
    return module.partition(".")[0]


def _surroundings(function: FunctionType) -> Mapping[str, object]:
    """The globals and the closure of a function. A cell may still be empty."""
    found = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:
            continue
    return {**function.__globals__, **found}


def _locals(code: CodeType) -> set[str]:
    inner = [_locals(constant) for constant in code.co_consts if isinstance(constant, CodeType)]
    return {*code.co_varnames, *code.co_cellvars}.union(*inner)


def _names(tree: ast.AST) -> list[tuple[str, ...]]:
    """The dotted names that code uses, sorted; annotations are the contract's, and models count by their schemas."""
    return sorted(set(_used(tree)))


def _used(node: ast.AST) -> Iterator[tuple[str, ...]]:
    path = _path(node)
    if path:
        yield path
        return
    for name, value in ast.iter_fields(node):
        if name not in ("annotation", "returns"):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from _used(child)


def _path(node: ast.AST) -> tuple[str, ...]:
    if isinstance(node, ast.Name):
        return (node.id,)
    if isinstance(node, ast.Attribute) and (base := _path(node.value)):
        return (*base, node.attr)
    return ()


def _tree_of_function(function: FunctionType) -> ast.AST | None:
    code = function.__code__
    lines = linecache.getlines(code.co_filename, function.__globals__)
    found = _definitions("".join(lines)).get((code.co_name, code.co_firstlineno), ())
    if len(found) < 2:  # noqa: PLR2004 - else several lambdas on one line, told apart by their columns
        return found[0] if found else None
    places = {(line, column) for line, _, column, _ in code.co_positions()}
    return max(found, key=lambda node: _agreement(node, places))


def _agreement(node: ast.AST, places: set[tuple[int | None, int | None]]) -> tuple[int, int]:
    """How well a lambda's body agrees with the places in a code object; the smaller the body, the better."""
    assert isinstance(node, ast.Lambda)  # a def has its line for itself
    body = {(child.lineno, child.col_offset) for child in ast.walk(node.body) if isinstance(child, ast.expr)}
    return len(body & places), -len(body)


def _tree_of_class(cls: type) -> ast.AST | None:
    module = sys.modules.get(cls.__module__)
    file = getattr(module, "__file__", None)
    if module is None or file is None:
        return None
    return _classes("".join(linecache.getlines(file, vars(module)))).get(cls.__qualname__)


@lru_cache(maxsize=64)
def _definitions(source: str) -> Mapping[_Key, tuple[ast.AST, ...]]:
    """The functions and lambdas of a module, by what their code objects say about them."""
    found: dict[_Key, tuple[ast.AST, ...]] = {}
    for node in ast.walk(_parsed(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            key = (node.name, min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)]))
            found[key] = (*found.get(key, ()), node)
        elif isinstance(node, ast.Lambda):
            key = ("<lambda>", node.lineno)
            found[key] = (*found.get(key, ()), node)
    return found


@lru_cache(maxsize=64)
def _classes(source: str) -> Mapping[str, ast.ClassDef]:
    """The classes of a module by qualified name."""
    found: dict[str, ast.ClassDef] = {}
    stack: list[tuple[str, ast.AST]] = [("", _parsed(source))]
    while stack:
        prefix, node = stack.pop()
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef):
                found[prefix + child.name] = child
                stack.append((f"{prefix}{child.name}.", child))
            elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                stack.append((f"{prefix}{child.name}.<locals>.", child))
            else:
                stack.append((prefix, child))
    return found


@lru_cache(maxsize=64)
def _parsed(source: str) -> ast.Module:
    try:
        return ast.parse(source)
    except SyntaxError:
        return ast.Module([], [])


def _undecorated(tree: ast.AST, surroundings: Mapping[str, object]) -> ast.AST:
    """Leave out the decorators that make tasks: options are hashed as values."""
    if not isinstance(tree, _Definition):
        return tree
    kept = [decorator for decorator in tree.decorator_list if not _makes_tasks(decorator, surroundings)]
    fields = {**dict(ast.iter_fields(tree)), "decorator_list": kept}
    return type(tree)(**fields)


def _makes_tasks(decorator: ast.expr, surroundings: Mapping[str, object]) -> bool:
    while isinstance(decorator, ast.Call):
        decorator = decorator.func
    path = _path(decorator)
    value = surroundings.get(path[0]) if path else None
    for name in path[1:]:
        value = getattr(value, name, None)
    return isinstance(value, TaskDecorator)


def _text(tree: ast.AST) -> str:
    return json.dumps(_plain(tree), separators=(",", ":"))


def _plain(node: object) -> object:
    """A syntax tree as lists: without positions, without what is empty (which Pythons print differently)."""
    if isinstance(node, ast.AST):
        fields = [(name, _plain(value)) for name, value in _fields(node) if name not in ("ctx", "kind", "type_comment")]
        return [type(node).__name__, *([name, value] for name, value in fields if value not in (None, []))]
    if isinstance(node, list):
        return [_plain(item) for item in node]
    return node if node is None or isinstance(node, str) else [type(node).__name__, ascii(node)]


def _fields(node: ast.AST) -> Iterator[tuple[str, object]]:
    for name, value in ast.iter_fields(node):
        if name == "body" and isinstance(node, _Definition) and ast.get_docstring(node, clean=False) is not None:
            yield name, node.body[1:] or [ast.Pass()]
        elif name == "values" and isinstance(node, ast.JoinedStr):  # Python 3.12 has empty strings between its values
            yield name, [part for part in value if not (isinstance(part, ast.Constant) and part.value == "")]
        else:
            yield name, value


def _compiled(code: CodeType) -> str:
    constants = [_compiled(item) if isinstance(item, CodeType) else _constant(item) for item in code.co_consts]
    return json.dumps([code.co_name, code.co_code.hex(), list(code.co_names), constants])
