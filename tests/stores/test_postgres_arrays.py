"""Columns as PostgreSQL reads them: a column of texts is escaped all at once, and comes back as it was."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest

from cloaca.errors import StoreError
from cloaca.stores.sql.postgres_links import Link, Names, array, connect, hang_up
from tests.stores.asynchronous import asynchronous

ODD = ["", "a b", '"', "\\", '\\"', "\\\\", ",", "{}", "NULL", '","', "\n", "é", "\U0001f409"]
COLUMNS: list[list[Any]] = [[], [""], ['"'], ["\\"], ODD, [*ODD, None], [None], [None, None], ["a", None, "b"]]


async def echoed(link: Link, kind: str, values: list[Any]) -> list[Any]:
    [(back,)] = await link.connection.fetch(f"SELECT $1::text::{kind}[]", array(values))
    return list(back)


@asynchronous
async def test_texts_and_numbers_come_back_as_they_were(postgres: str) -> None:
    link = await connect(postgres, Names("cloaca"))
    try:
        for column in COLUMNS:
            assert await echoed(link, "text", column) == column
        for numbers in ([0, -1, 2**63 - 1], [7, None]):
            assert await echoed(link, "int8", numbers) == numbers
        for times in ([0.1, 1.7e9, 5e-324, float("inf")], [1, 0.5], [None, 0.1]):
            assert await echoed(link, "float8", times) == times
    finally:
        await hang_up(link)


@asynchronous
async def test_a_text_that_no_server_takes_is_refused_and_never_taken_for_two(postgres: str) -> None:
    link = await connect(postgres, Names("cloaca"))
    try:
        for column in (["a\0b"], ["a", "\0"], ["\0", "b", "c"]):
            with pytest.raises(asyncpg.CharacterNotInRepertoireError):
                await echoed(link, "text", column)
    finally:
        await hang_up(link)


def test_what_is_neither_text_nor_number_is_refused() -> None:
    with pytest.raises(StoreError, match="neither a text nor a number"):
        array([b"raw"])
