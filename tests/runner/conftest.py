"""Fixtures: every test of the runner is one of a file and one of memory, unless it says otherwise."""

from pathlib import Path

import pytest

from cloaca.stores.memory import MemoryStore
from tests.runner.databases import Database


@pytest.fixture(params=["memory", "sqlite"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """A database that nobody has used."""
    return Database(tmp_path / "runs.db", MemoryStore() if request.param == "memory" else None)


@pytest.fixture
def file(tmp_path: Path) -> Database:
    """A file that nobody has used."""
    return Database(tmp_path / "runs.db")
