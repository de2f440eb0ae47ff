"""A folder for the log and the gates of the bodies, and a database in it."""

from pathlib import Path

import pytest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def database(folder: Path) -> Path:
    return folder / "runs.db"
