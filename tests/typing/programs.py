"""Programs as modules in a folder: one mypy over all of them, and each of them executed.

It knows mypy's command line and ``ContractError``, and nothing of pages.
"""

from __future__ import annotations
import __future__

import ast
import importlib
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from cloaca import ContractError

ROOT = Path(__file__).parents[2]
PLUGINS = ("pydantic.mypy", "returns.contrib.mypy.returns_plugin", "cloaca.mypy")
_LINE = re.compile(r"(?P<file>[^:]+)\.py:(?P<rest>\d+(?::\d+)?: (?:error|note): .*)$")
_VIOLATION = re.compile(r"\[cloaca-(?!unchecked)[\w-]+\]$")


def write(folder: Path, modules: Mapping[str, str]) -> None:
    """Write modules by their names."""
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")


def mypy(
    folder: Path, cache: Path, plugins: Sequence[str] = PLUGINS, packages: Path | None = None
) -> dict[str, list[str]]:
    """Return what mypy, strict and with plugins, says of each module in a folder, with columns.

    ``packages`` is a directory with another mypy than the environment's.
    """
    config = folder / "mypy.ini"
    config.write_text(
        "[mypy]\npython_version = 3.11\nstrict = True\nwarn_unreachable = True\n"
        f"mypy_path = {ROOT}:{ROOT / 'typings'}\nplugins = {', '.join(plugins)}\n"
    )
    names = sorted(path.stem for path in folder.glob("*.py"))
    options = ("--config-file", str(config), "--cache-dir", str(cache), "--show-column-numbers")
    # From the folder itself: what mypy said last time is in the cache with the path that it was said of.
    command = [sys.executable, "-m", "mypy", *options, *(f"{name}.py" for name in names)]
    environment = {**os.environ, "PYTHONPATH": f"{packages}{os.pathsep}{ROOT}"} if packages else None
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    said: dict[str, list[str]] = {name: [] for name in names}
    for line in done.stdout.splitlines():
        match = _LINE.match(line)
        if match is not None and match["file"] in said:
            said[match["file"]].append(match["rest"])
    return said


def run(folder: Path, name: str) -> list[str]:
    """Execute a module of a folder, statement by statement; return the violations, as mypy words them.

    A statement that is refused binds nothing: what needs its names is dropped, and the rest goes on.
    """
    path = folder / f"{name}.py"
    text = path.read_text(encoding="utf-8")
    postponed = __future__.annotations.compiler_flag if "from __future__ import annotations" in text else 0
    raised: list[str] = []
    missing: set[str] = set()
    with _importing(folder, name) as module:
        module.__file__ = str(path)
        for statement in ast.parse(text).body:
            if missing & _names(statement):
                missing |= _bound(statement)
                continue
            try:
                code = compile(ast.Module([statement], []), str(path), "exec", flags=postponed, dont_inherit=True)
                exec(code, vars(module))
            except ContractError as error:
                raised += map(str, error.violations)
                missing |= _bound(statement)
    return raised


@contextmanager
def _importing(folder: Path, name: str) -> Iterator[ModuleType]:
    """Make an empty module that the import system knows, and forget it and what it imports from its folder."""
    module, before = ModuleType(name), set(sys.modules)
    sys.modules[name] = module
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield module
    finally:
        sys.path.remove(str(folder))
        for other in {path.stem for path in folder.glob("*.py")} - before:
            sys.modules.pop(other, None)


def _names(statement: ast.stmt) -> set[str]:
    return {node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}


def _bound(statement: ast.stmt) -> set[str]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    return {node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}


def violations(said: Iterable[str]) -> list[str]:
    """Return the violations of the contract among what mypy says, without their places."""
    errors = [line.partition(": error: ")[2] for line in said]
    return [error for error in errors if _VIOLATION.search(error)]
