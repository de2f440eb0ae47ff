"""The page of the configuration has every variable of the environment that the package reads."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "configuration.md").read_text(encoding="utf-8")


def _texts(node: ast.AST) -> Iterator[str]:
    return (each.value for each in ast.walk(node) if isinstance(each, ast.Constant) and isinstance(each.value, str))


def variables(source: str) -> set[str]:
    """The names that a module asks the environment for: ``environ["X"]``, ``environ.get("X")``, ``getenv("X")``."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Attribute(attr="environ"), attr="get" | "pop"), args=[name, *_]):
                found |= set(_texts(name))
            case ast.Call(func=ast.Attribute(attr="getenv"), args=[name, *_]):
                found |= set(_texts(name))
            case ast.Subscript(value=ast.Attribute(attr="environ"), slice=name):
                found |= set(_texts(name))
    return found


def test_every_variable_is_on_the_page() -> None:
    modules = sorted((ROOT / "cloaca").rglob("*.py"))
    read = {name for module in modules for name in variables(module.read_text(encoding="utf-8"))}
    assert "CLOACA_DATABASE_URL" in read
    assert {name for name in read if f"`{name}" not in PAGE} == set()


def test_variables_are_found() -> None:
    source = 'import os\nos.environ["A"]\nos.environ.get("B", "b")\nos.getenv("C")\nos.environ.update({"D": "d"})\n'
    assert variables(source) >= {"A", "B", "C"}
