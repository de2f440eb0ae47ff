"""Fixtures of the stores."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stores.clocked import drop, new_schema
from tests.stores.servers import server

MEMORY = Path("/dev/shm")


@pytest.fixture
def quick_path() -> Iterator[Path]:
    """A new directory, in memory if the system has one: for tests that commit much and pull no plug."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as directory:
        yield Path(directory)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL server: one for all tests of this process."""
    with server() as url:
        yield url


@pytest.fixture
def schema(postgres: str) -> Iterator[str]:
    """The name of a schema on that server that is not there yet, and is gone after the test."""
    name = new_schema()
    yield name
    asyncio.run(drop(postgres, name))
