"""What ``cloaca.mypy`` loads into mypy's process: of this package what it needs, and nothing of what users run.

It measures modules, not time: which module is dear differs with the machine, that it isn't needed does not.
"""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Final

import cloaca.mypy

MYPYS: Final = "mypy.build, mypy.checker, mypy.plugin, mypy.server.trigger, mypy.server.update"
LAYERS: Final = {"algebra", "contract", "drawing", "errors", "mypy"}
UNNEEDED: Final = {
    "aiosqlite",
    "asyncio",
    "asyncpg",
    "pydantic",
    "pydantic_core",
    "returns",
    "sqlalchemy",
    "sqlite3",
    "sqlmodel",
}


@cache
def added() -> frozenset[str]:
    """The modules that are loaded with the plugin, after all of mypy that it may use."""
    parts = ", ".join(f"cloaca.mypy.{path.stem}" for path in Path(cloaca.mypy.__file__).parent.glob("[!_]*.py"))
    loads = f"import cloaca.mypy, {parts}"  # some of it may only be loaded when it is needed
    program = f"import sys, {MYPYS}; seen = set(sys.modules); {loads}; print(*set(sys.modules) - seen)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return frozenset(done.stdout.split())


def test_nothing_that_users_run_is_loaded() -> None:
    assert UNNEEDED.isdisjoint(name.partition(".")[0] for name in added())


def test_only_the_pure_layers_of_this_package_are_loaded() -> None:
    layers = {name.split(".")[1] for name in added() if name.startswith("cloaca.")}
    assert layers <= LAYERS
    assert {"algebra", "contract", "errors", "mypy"} <= layers


def test_nothing_else_is_loaded_but_the_standard_library_and_mypy() -> None:
    roots = {name.partition(".")[0] for name in added()}
    assert roots - sys.stdlib_module_names <= {"cloaca", "mypy"}
