"""Every store keeps every guarantee of the port."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloaca.encryption import Encryption
from cloaca.ports import Store
from cloaca.runner.sealing import sealing
from cloaca.stores.memory import MemoryStore
from cloaca.stores.sql.sqlite import SqliteStore
from tests.stores.asynchronous import asynchronous
from tests.stores.clocked import ClockedStore
from tests.stores.conformance import CHECKS


@pytest.fixture(params=["memory", "sqlite", "postgres", "sealed"])
def store(request: pytest.FixtureRequest, quick_path: Path) -> Store:
    """A store that nobody has used, not opened yet."""
    if request.param == "memory":
        return MemoryStore()
    if request.param == "sealed":
        return sealing(MemoryStore(), Encryption(Encryption.generate_key()))
    if request.param == "sqlite":
        return SqliteStore(quick_path / "runs.db")
    return ClockedStore(request.getfixturevalue("postgres"), schema=request.getfixturevalue("schema"))


@pytest.mark.parametrize("check", CHECKS)
@asynchronous
async def test_a_store_keeps_its_word(store: Store, check: str) -> None:
    await store.open()
    try:
        await CHECKS[check](store)
    finally:
        await store.close()
