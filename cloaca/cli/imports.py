"""Imports of the user's modules, by name or by file; and what they raise, with the user's part of the traceback.

It knows Python's import system, not what a module is wanted for.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType

from cloaca.cli.refusals import Exit, Refusal
from cloaca.cli.tracebacks import users_traceback
from cloaca.errors import CloacaError


def import_module(name: str) -> ModuleType | None:
    """Import a module by name, from the current directory too; None if there is none. Raises Refusal, CloacaError."""
    _look_in(Path.cwd())
    with user_code(f'importing "{name}"'):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name and f"{name}.".startswith(f"{error.name}."):
                return None
            raise


def import_file(path: Path, form: str) -> ModuleType:
    """Import a file as the module that it is. ``form`` says how a target is written. Raises as ``import_module``."""
    if not path.is_file():
        raise Refusal(f'there is no file "{path}"{_near_file(path)}', form)
    path = path.resolve()
    root, name = _home_of(path)
    _look_in(root)
    with user_code(f'importing "{path.name}"'):
        if all(part.isidentifier() for part in name.split(".")) and _is_found(name, path):
            return importlib.import_module(name)
        return _executed(path, f"{name}__file")


def _look_in(directory: Path) -> None:
    if str(directory) not in sys.path:
        sys.path.insert(0, str(directory))


def _home_of(path: Path) -> tuple[Path, str]:
    """Return the directory to import a file from, and its name there: the whole of it, if it is part of a package."""
    parts, home = [path.stem], path.parent
    while (home / "__init__.py").is_file():
        parts.insert(0, home.name)
        home = home.parent
    if parts[-1] == "__init__" and len(parts) > 1:
        parts.pop()
    return home, ".".join(parts)


def _is_found(name: str, path: Path) -> bool:
    """Whether Python would find this very file under ``name``: another module may have the name already."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return False
    return spec is not None and spec.origin is not None and Path(spec.origin).resolve() == path


def _executed(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # it ends with .py
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _near_file(path: Path) -> str:
    siblings = [p.name for p in path.parent.glob("*.py")] if path.parent.is_dir() else []
    close = get_close_matches(path.name, siblings, n=1)
    return f'; did you mean "{path.with_name(close[0])}"?' if close else ""


def loadable_names() -> list[str]:
    """Return the modules and packages of the current directory, and those loaded by now."""
    here = [path.stem for path in Path.cwd().glob("*.py")]
    packages = [path.parent.name for path in Path.cwd().glob("*/__init__.py")]
    inside = [f"{path.parent.name}.{path.stem}" for path in Path.cwd().glob("*/[!_]*.py")]
    return [*here, *packages, *inside]


@contextmanager
def user_code(doing: str, *known: type[Exception]) -> Iterator[None]:
    """Turn what the user's code raises into a refusal that shows their part of the traceback.

    Errors of cloaca's, and those that are ``known`` to the caller, pass.
    """
    try:
        yield
    except known:
        raise
    except (CloacaError, Refusal):
        raise
    except SystemExit as error:
        raise Refusal(f"{doing} ended the program: sys.exit({error.code!r})", _GUARD, code=Exit.FAILED) from error
    except Exception as error:
        raise Refusal(f"{doing} failed", users_traceback(error), code=Exit.FAILED) from error


_GUARD = 'Put what the module does as a program below `if __name__ == "__main__":`.'
