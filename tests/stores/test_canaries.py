"""Neither a secret's value nor, with a codec, any payload is in a row of a server."""

from __future__ import annotations

import asyncpg

from cloaca import Runner
from cloaca.encryption import Encryption
from cloaca.stores.sql.postgres import PostgresStore
from tests.runner import test_encryption as encrypted
from tests.runner import test_secrets as secrets
from tests.stores.asynchronous import asynchronous


async def dump(url: str, schema: str) -> str:
    """Return all rows of all tables of a schema, as text."""
    connection = await asyncpg.connect(url)
    quoted = '"' + schema.replace('"', '""') + '"'
    try:
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = $1", schema)
        rows = [row for (table,) in tables for row in await connection.fetch(f"SELECT * FROM {quoted}.{table}")]
        return "\n".join(str(tuple(row)) for row in rows)
    finally:
        await connection.close()


@asynchronous
async def test_no_row_has_a_secret(postgres: str, schema: str) -> None:
    store = PostgresStore(postgres, schema=schema)
    said, _ = await secrets.put_through(Runner(store=store, secrets={"MAIL_TOKEN": secrets.CANARY}))
    found = await dump(postgres, schema)
    assert "***MAIL_TOKEN***" in found
    assert secrets.CANARY not in found + "".join(said)


@asynchronous
async def test_no_row_has_an_encrypted_payload(postgres: str, schema: str) -> None:
    store = PostgresStore(postgres, schema=schema)
    await encrypted.use(lambda **options: Runner(store=store, **options), Encryption(Encryption.generate_key()))
    found = await dump(postgres, schema)
    assert "cloaca-sealed:" in found
    assert encrypted.CANARY not in found
    assert not any(fingerprint in found for fingerprint in encrypted.fingerprints())
