"""A release that comes after this one: the package, copied and changed as a developer would, with its own revisions.

It reads and writes new columns, and has another name for an old one. Processes of both releases run side by side.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import cloaca
from cloaca.stores.sql import revisions
from cloaca.stores.sql.revisions import Revision

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FILES = HERE / "next_release"
NEXT = (
    *revisions.REVISIONS,
    Revision("0002", "next"),
    Revision("0003", "next"),
    Revision("0004", "next", needs="0002"),
)
REVISIONS = 'REVISIONS: tuple[Revision, ...] = (Revision(FIRST, "0.1.0"),)\n'
MORE = """REVISIONS: tuple[Revision, ...] = (
    Revision(FIRST, "0.1.0"),
    Revision("0002", "next"),
    Revision("0003", "next"),
    Revision("0004", "next", needs="0002"),
)
"""
REGION = "    region: str | None = None\n"
AFTER_RUN_ROW, AFTER_RUN = "\n\nTAKEN_OVER", "\n\nclass Task(Table"
INDEX = '        Index("cloaca_run_by_plan", "plan"),\n'
CHANGES = {
    "stores/sql/revisions/__init__.py": [(REVISIONS, MORE)],
    "stores/sql/tables.py": [
        ("    lock_file: int | None = ", "    life: int | None = "),
        (AFTER_RUN, REGION + AFTER_RUN),
        (INDEX, INDEX + '        Index("cloaca_run_by_region", "region"),\n'),
    ],
    "stores/sql/ownership.py": [("SET lock_file = ?", "SET life = ?")],
    "stores/sql/queries.py": [
        ("expires_at, lock_file FROM", "expires_at, life FROM"),
        ("expires_at, lock_file))", "expires_at, life))"),
    ],
    "ports/rows.py": [(AFTER_RUN_ROW, REGION + AFTER_RUN_ROW)],
}


def make_next(folder: Path) -> Path:
    """Make the next release in a folder, and return what goes into ``PYTHONPATH`` to run it."""
    package = folder / "next" / "cloaca"
    shutil.copytree(Path(cloaca.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    for name, changes in CHANGES.items():
        text = (package / name).read_text(encoding="utf-8")
        for before, after in changes:
            assert text.count(before) == 1, f"{name} has {text.count(before)} times {before!r}: change it here, too"
            text = text.replace(before, after)
        (package / name).write_text(text, encoding="utf-8")
    for file in FILES.glob("r*.py"):
        shutil.copy(file, package / "stores/sql/revisions")
    return package.parent


def next_files(folder: Path) -> Path:
    """Put the files of the next release's revisions into a folder, and return it."""
    shutil.copytree(revisions.FOLDER, folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in FILES.glob("r*.py"):
        shutil.copy(file, folder)
    return folder


def environment(release: Path | None) -> dict[str, str]:
    """Return the environment of a process of a release, None for this one."""
    path = os.pathsep.join(map(str, [*([release] if release else []), ROOT]))
    return {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


def start(release: Path | None, program: str, *arguments: object, cwd: Path) -> subprocess.Popen[str]:
    """Start a program of ``tests.migrations.programs`` with a release's code."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.migrations.programs", program, *map(str, arguments)],
        cwd=cwd,
        env=environment(release),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process: subprocess.Popen[str]) -> str:
    """Let it go on, wait for its end, and return what it says."""
    said, complaints = process.communicate("\n", timeout=90)
    assert process.returncode == 0, complaints[-3000:]
    return said.strip()
