"""Where a function lives: the module and the name by which another process finds it again.

A function never crosses to a child process, its home does: importing the home there must give the same function. The
parent asks ``home_of`` before it promises anything, the child ``found``. It knows modules, not what a body does.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.machinery import SourceFileLoader
from types import ModuleType
from typing import Any, NamedTuple

from cloaca.algebra.tasks import Task
from cloaca.errors import TaskNotImportable

MAIN = "__main__"
SCRIPT = "__mp_main__"  # what multiprocessing calls a script that is imported: its guard does not let it run


class Home(NamedTuple):
    """A module's name, and the name of something in it, dotted."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}:{self.name}"


def home_of(function: Callable[..., Any], who: str) -> Home:
    """Return where ``function`` is found by importing. Raises TaskNotImportable, beginning with ``who``."""
    home = Home(getattr(function, "__module__", None) or "", getattr(function, "__qualname__", None) or "")
    reason = _unreachable(function, home)
    if reason:
        raise TaskNotImportable(f"{who} runs in a child process, which has to import it by name, but {reason}")
    return home


def _unreachable(function: Callable[..., Any], home: Home) -> str | None:
    if "<lambda>" in home.name:
        return "a lambda has no name; write a def at the top level of a module"
    if "<locals>" in home.name:
        return f"{home.name.partition('.<locals>')[0]}() defines it; move it to the top level of a module"
    if home.module == MAIN and main_module() is None:
        return "it is defined in an interactive session, a notebook or a command; move it to a module"
    there = here(home)
    if there is None:
        return f"there is no {home}; give it the name that its def has, at the top level of a module"
    if function_of(there) is not function:
        return f"{home} is something else; give each function a name of its own"
    return None


def function_of(found: object) -> object:
    """Return the function behind a task; anything else is what it is."""
    return found.function if isinstance(found, Task) else found


def here(home: Home) -> object:
    """Return what is at ``home`` in this process, None if nothing is."""
    return _named(sys.modules.get(home.module), home.name)


def _named(found: object, name: str) -> object:
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def main_module() -> tuple[str, str] | None:
    """Return how another process can import what this one runs as ``__main__``, None if it can't."""
    main = sys.modules[MAIN]
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    if spec is not None and spec.name != MAIN:  # python -m package.module
        return "module", spec.name
    if file is not None and os.path.isfile(file):
        return "file", os.path.abspath(file)
    return None


# In the child


class _Importing:
    """What this process imports just now, because its parent has asked for something in it."""

    what: str | None = None


def refuse_while_importing() -> None:
    """Raise TaskNotImportable where a module that a child just imports would start a runner, again and again."""
    if _Importing.what is not None:
        raise TaskNotImportable(
            f"{_Importing.what} starts a runner while a child process imports it to find a task; put what only the "
            'program itself should do under `if __name__ == "__main__":`'
        )


def found(home: Home, main: tuple[str, str] | None) -> object:
    """Import ``home``; ``main`` says what ``__main__`` means. Raises TaskNotImportable."""
    try:
        with _importing(main[1] if home.module == MAIN and main else home.module):
            module = _script(main) if home.module == MAIN and main else importlib.import_module(home.module)
        there = _named(module, home.name)
    except BaseException as error:
        reason = str(error) if isinstance(error, TaskNotImportable) else f"{type(error).__name__}: {error}"
        raise TaskNotImportable(f"a child process can't import {home}: {reason}") from error
    if there is None:
        raise TaskNotImportable(f"a child process has imported {home.module}, but there is no {home.name} in it")
    return there


@contextmanager
def _importing(what: str) -> Iterator[None]:
    _Importing.what = what
    try:
        yield
    finally:
        _Importing.what = None


def _script(main: tuple[str, str]) -> ModuleType:
    """Import the parent's main module, once."""
    kind, where = main
    if kind == "module":
        return importlib.import_module(where)
    if SCRIPT in sys.modules:
        return sys.modules[SCRIPT]
    spec = importlib.util.spec_from_loader(SCRIPT, SourceFileLoader(SCRIPT, where))
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[SCRIPT] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[SCRIPT]
        raise
    return module


def known_as(kind: type, main: tuple[str, str] | None) -> str:
    """Return the home of a class in the words of the parent."""
    module = kind.__module__
    if main is not None and module in (SCRIPT if main[0] == "file" else main[1], MAIN):
        module = MAIN
    return f"{module}:{kind.__qualname__}"
