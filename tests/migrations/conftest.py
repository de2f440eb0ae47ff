"""Databases of both kinds, and a release that comes after this one."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crashes.conftest import execute, numbers, url
from tests.migrations.releases import make_next
from tests.stores.conftest import postgres, quick_path, schema

__all__ = ["database", "next_release", "postgres", "quick_path", "schema", "url"]


@pytest.fixture
def database(quick_path: Path) -> Path:
    return quick_path / "runs.db"


@pytest.fixture
def url_of_postgres(postgres: str) -> Iterator[str]:
    """A database of its own on the server."""
    name = f"cloaca_migrations_{os.getpid()}_{next(numbers)}"
    asyncio.run(execute(postgres, f"CREATE DATABASE {name}"))
    yield re.sub(r"/\w+(?=\?|$)", f"/{name}", postgres, count=1)
    asyncio.run(execute(postgres, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture(scope="module")
def next_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What goes into ``PYTHONPATH`` for the next release."""
    return make_next(tmp_path_factory.mktemp("release"))
