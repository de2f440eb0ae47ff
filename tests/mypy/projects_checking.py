"""A project in a folder, and mypy over it in every way: cold, with the cache of last time, in a daemon.

What the project needs of others (pydantic, returns, cloaca itself) is checked once for a list of plugins, and every
project begins with a copy of that cache. It compares nothing, and knows nothing of what mypy should say.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
OURS: Final = "cloaca.mypy"
PYDANTIC: Final = "pydantic.mypy"
RETURNS: Final = "returns.contrib.mypy.returns_plugin"
PLUGINS: Final = (PYDANTIC, RETURNS, OURS)
CRASHES: Final = ("INTERNAL ERROR", "Traceback", "could not check this")
_IMPORTED: Final = """
import abc, asyncio, collections.abc, contextlib, dataclasses, datetime, decimal, enum, functools, itertools, operator
import typing, typing_extensions, uuid
import pydantic
import returns.result
import cloaca
from cloaca import Graph, Reduce, Retry, Runner, Task, TaskContext, Workflow, WorkflowBuilder, run, task
"""
_ticks = itertools.count(1)


@dataclass(frozen=True)
class Answer:
    """What one run of mypy says. ``text`` is all of it, in mypy's order."""

    status: int
    text: str

    @property
    def by_file(self) -> list[str]:
        """The lines in their order within each file; which file comes first is a matter of chance in mypy itself."""
        return sorted(self.lines, key=lambda line: line.partition(":")[0])

    @property
    def lines(self) -> list[str]:
        """What it says without the line that counts the errors."""
        return [line for line in self.text.splitlines() if not line.startswith(("Found ", "Success: "))]


@dataclass
class Project:
    """A folder of modules. ``plugins`` and ``options`` are lines of its configuration."""

    folder: Path
    plugins: Sequence[str] = PLUGINS
    options: str = ""
    dependencies: Path | None = None
    _caches: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "mypy.ini").write_text(
            "[mypy]\npython_version = 3.11\nstrict = True\nwarn_unreachable = True\nlocal_partial_types = True\n"
            f"mypy_path = {ROOT / 'typings'}:{ROOT}\nplugins = {', '.join(self.plugins)}\n{self.options}"
        )

    def write(self, modules: Mapping[str, str]) -> None:
        """Write modules by their names, those that have changed at a time of their own: mypy looks at that first."""
        for name, text in modules.items():
            path = self.folder / f"{name}.py"
            if not path.exists() or path.read_text() != text:
                path.write_text(text)
                now = path.stat().st_mtime + next(_ticks)
                os.utime(path, (now, now))

    def cold(self, *targets: str) -> Answer:
        """Check as if nothing of the project was ever checked."""
        cache = self.folder / f".cold{len(self._caches)}"
        self._caches.append(cache)
        if self.dependencies is not None:
            shutil.copytree(self.dependencies, cache)
        try:
            return self._mypy(cache, targets)
        finally:
            shutil.rmtree(cache, ignore_errors=True)

    def warm(self, *targets: str) -> Answer:
        """Check with the cache of the last time."""
        cache = self.folder / ".warm"
        if self.dependencies is not None and not cache.exists():
            shutil.copytree(self.dependencies, cache)
        return self._mypy(cache, targets)

    def _mypy(self, cache: Path, targets: Sequence[str]) -> Answer:
        command = ["mypy", "--config-file", "mypy.ini", "--cache-dir", str(cache), *(targets or ["."])]
        return self._run(command)

    def daemon(self, *targets: str) -> Answer:
        """Check in a daemon, which is started if there is none yet."""
        options = ["--config-file", "mypy.ini", "--cache-dir", os.devnull, *(targets or ["."])]
        answer = self._run(["mypy.dmypy", "--status-file", "daemon.json", "run", "--timeout", "300", "--", *options])
        return Answer(answer.status, answer.text.removeprefix("Daemon started\n"))

    def stop(self) -> None:
        """Stop the daemon."""
        self._run(["mypy.dmypy", "--status-file", "daemon.json", "stop"])

    def _run(self, command: Sequence[str]) -> Answer:
        done = subprocess.run(
            [sys.executable, "-m", *command], cwd=self.folder, capture_output=True, text=True, check=False, timeout=300
        )
        return Answer(done.returncode, done.stdout + done.stderr)


def dependencies(factory: pytest.TempPathFactory, plugins: Sequence[str] = PLUGINS) -> Path:
    """Return a cache of what every project imports, made once for a session; the order of plugins is all one to it."""
    folder = factory.getbasetemp() / "-".join(["dependencies", *sorted(name.replace(".", "_") for name in plugins)])
    if not folder.exists():
        project = Project(folder, plugins)
        project.write({"imports": _IMPORTED})
        answer = project.warm("imports.py")
        assert answer.status == 0, answer.text
    return folder / ".warm"


def crashes(answer: Answer) -> list[str]:
    """Return the lines in which mypy crashed, or the plugin said that it would have."""
    return [line for line in answer.lines if any(mark in line for mark in CRASHES)]
