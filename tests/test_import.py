"""What `import cloaca` loads: a program that only describes workflows must not pay for a database."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import cloaca

SQL = {"aiosqlite", "asyncpg", "sqlalchemy", "sqlite3", "sqlmodel"}


def test_importing_cloaca_loads_no_sql() -> None:
    program = "import sys; from cloaca import Workflow, run, task; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert SQL.isdisjoint(loaded.split())


def test_importing_the_package_alone_loads_no_layer() -> None:
    program = "import sys, cloaca; print(*(name for name in sys.modules if name.startswith('cloaca')))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert loaded.split() == ["cloaca"]


def test_public_names_are_sorted_complete_and_loadable() -> None:
    assert cloaca.__all__ == sorted(cloaca.__all__)
    assert set(cloaca._HOME) == set(cloaca.__all__)
    for name in set(cloaca.__all__) - {"Outcome", "task"}:  # an alias and a decorator have no name of their own
        assert getattr(cloaca, name).__name__ == name


def test_what_type_checkers_see_is_what_is_loaded() -> None:
    tree = ast.parse(Path(cloaca.__file__).read_text())
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.name: node.module for node in guarded.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    for name, module in seen.items():
        assert getattr(importlib.import_module(str(module)), name) is getattr(cloaca, name)
    assert seen.keys() == set(cloaca.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'workflow'"):
        cloaca.workflow  # noqa: B018 - the access is what is tested
