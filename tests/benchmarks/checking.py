"""What type-checking costs: a generated project, checked by mypy with pydantic's plugin, with and without ours.

Each module has workflows of ten tasks with models of their own: a fan after a first task, a join, a chain. It is CPU
time of mypy's process; the two configurations take turns, so that a busy machine slows both.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[2]
TASKS = 10
PLUGINS = {"pydantic.mypy": "pydantic.mypy", "and cloaca.mypy": "pydantic.mypy, cloaca.mypy"}
HEAD = """\
from pydantic import BaseModel
from returns.result import Result, Success

from cloaca import Workflow, task
"""


def project(folder: Path, modules: int, workflows: int) -> None:
    """Write a project of ``modules`` modules with ``workflows`` workflows of ten tasks each."""
    folder.mkdir()
    for number in range(modules):
        (folder / f"module{number}.py").write_text("\n".join([HEAD, *map(_workflow, range(workflows))]))


def _workflow(number: int) -> str:
    """Ten tasks: ``t0 >> [t1, t2, t3] >> t4 >> ... >> t9``; each reads what those before it wrote."""
    lines = [f"class In{number}(BaseModel):", "    key: int", ""]
    for place in range(TASKS):
        reads = ["key: int"] if place == 0 else [f"v{place - 1}_{number}: int"] if place < 2 else [f"v0_{number}: int"]
        if place >= 4:
            reads = [f"v{before}_{number}: int" for before in range(max(0, place - 3), place)]
        lines += _task(f"t{place}_{number}", place, number, reads)
    names = [f"t{place}_{number}" for place in range(TASKS)]
    expression = f"{names[0]} >> [{', '.join(names[1:4])}] >> {' >> '.join(names[4:])}"
    return "\n".join([*lines, f'w{number} = Workflow("w{number}", {expression}, input=In{number})', ""])


def _task(name: str, place: int, number: int, reads: list[str]) -> Iterator[str]:
    model = f"In{number}" if place == 0 else f"R{place}_{number}"
    if place:
        yield from (f"class {model}(BaseModel):", *(f"    {read}" for read in reads), "")
    yield from (f"class W{place}_{number}(BaseModel):", f"    v{place}_{number}: int", "", "@task")
    value = f"W{place}_{number}(v{place}_{number}=1)"
    if place % 3 == 0:
        yield from (
            f"async def {name}(given: {model}) -> Result[W{place}_{number}, In{number}]:",
            f"    return Success({value})",
            "",
        )
    else:
        yield from (f"def {name}(given: {model}) -> W{place}_{number}:", f"    return {value}", "")


def check(folder: Path, plugins: str, cache: Path) -> float:
    """Check a project and return the CPU seconds of it."""
    config = folder.parent / "mypy.ini"
    config.write_text(f"[mypy]\nstrict = True\nplugins = {plugins}\n")
    command = [sys.executable, "-m", "mypy", "--config-file", str(config), "--cache-dir", str(cache), str(folder)]
    before = os.times()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    after = os.times()
    assert done.returncode == 0, done.stdout + done.stderr
    return after.children_user + after.children_system - before.children_user - before.children_system


def report(folder: Path, modules: int = 100, workflows: int = 10, repeat: int = 3) -> None:
    """Print the CPU seconds of a cold check, of a warm one, and of one after an edit."""
    source = folder / "project"
    project(source, modules, workflows)
    tasks = modules * workflows * TASKS
    print(f"{f'mypy --strict, {tasks:,} tasks':<38} {'cold s':>10} {'warm s':>9} {'edited s':>10}")
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in PLUGINS}
    for _ in range(repeat):
        for name, plugins in PLUGINS.items():
            found[name].append(_measured(source, plugins, folder / "cache"))
    medians = {name: [median(column) for column in zip(*rows, strict=True)] for name, rows in found.items()}
    for name, row in medians.items():
        print(f"{name:<38} {row[0]:>10.2f} {row[1]:>9.2f} {row[2]:>10.2f}", flush=True)
    one, other = medians.values()
    print(f"{'ratio':<38} " + " ".join(f"{b / a:>9.2f}" for a, b in zip(one, other, strict=True)), flush=True)


def _measured(source: Path, plugins: str, cache: Path) -> tuple[float, float, float]:
    shutil.rmtree(cache, ignore_errors=True)
    cold = check(source, plugins, cache)
    warm = median(check(source, plugins, cache) for _ in range(5))  # so short that the clock's ticks count
    edited = source / "module0.py"
    text = edited.read_text()
    edited.write_text(text + "\nEDITED = True\n")
    try:
        return cold, warm, check(source, plugins, cache)
    finally:
        edited.write_text(text)
