"""A folder for the log and the gates of the bodies, a database in it, and databases of every kind by their URLs."""

import asyncio
import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from tests.stores.servers import server

numbers = itertools.count(1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def database(folder: Path) -> Path:
    return folder / "runs.db"


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, database: Path) -> Iterator[str]:
    """The URL of a database that nobody has used."""
    if request.param == "sqlite":
        yield f"sqlite:///{database}"
        return
    postgres = request.getfixturevalue("postgres")
    name = f"cloaca_crashes_{os.getpid()}_{next(numbers)}"
    asyncio.run(execute(postgres, f"CREATE DATABASE {name}"))
    yield re.sub(r"/\w+(?=\?|$)", f"/{name}", postgres, count=1)
    asyncio.run(execute(postgres, f"DROP DATABASE {name} WITH (FORCE)"))


async def execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(statement)
    await connection.close()
