"""The revisions are in what is installed."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

from cloaca.stores.sql import revisions

ROOT = Path(__file__).parents[2]


def test_the_wheel_has_every_revision(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    files = {f"cloaca/stores/sql/revisions/{path.name}" for path in revisions.FOLDER.glob("r*.py")}
    assert len(files) == len(revisions.REVISIONS)
    assert files | {"cloaca/stores/sql/revisions/__init__.py"} <= names
