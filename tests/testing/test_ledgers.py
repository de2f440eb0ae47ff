"""A ledger forgets nothing, counts a repeated key once, and is as it was after a simulation that asked for that."""

from __future__ import annotations

from decimal import Decimal

import pytest

from cloaca.testing import Ledger
from cloaca.testing.ledgers import Entry


def test_posts_by_account() -> None:
    ledger = Ledger()
    assert ledger.post("card", 5)
    assert ledger.post("card", 7)
    assert ledger.post("shop", Decimal("-0.5"))
    assert (ledger.balance("card"), ledger.count("card")) == (12, 2)
    assert (ledger.balance(), ledger.count()) == (Decimal("11.5"), 3)
    assert (ledger.balance("none"), ledger.count("none")) == (0, 0)
    assert next(iter(ledger)) == Entry("card", 5, None)


def test_a_repeated_key_counts_once() -> None:
    ledger = Ledger()
    assert ledger.post("card", 5, key="a")
    assert not ledger.post("card", 5, key="a")
    assert ledger.post("card", 5, key="b")
    assert ledger.count("card") == 2
    ledger.clear()
    assert ledger.count() == 0
    assert ledger.post("card", 5, key="a")


def test_amounts_are_exact() -> None:
    with pytest.raises(TypeError, match="amounts are exact: int or Decimal"):
        Ledger().post("card", 0.1)  # type: ignore[arg-type]  # that is the point


def test_it_remembers() -> None:
    ledger = Ledger()
    ledger.post("card", 5, key="a")
    remembered = ledger.remembered()
    ledger.post("card", 6, key="b")
    ledger.restore(remembered)
    assert (ledger.balance(), ledger.post("card", 5, key="a"), ledger.post("card", 6, key="b")) == (5, False, True)
