"""Ledgers: an outside world that forgets nothing, for bodies to have effects on, and for tests to look at.

A post is an effect: in a simulation the process may be killed right before it. It knows accounts and amounts; what runs
the bodies, it asks ``effects``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from cloaca.testing import effects

Amount = int | Decimal


@dataclass(frozen=True, slots=True)
class Entry:
    """One post. ``key`` is the idempotency key that it came with, if any."""

    account: str
    amount: Amount
    key: str | None


class Ledger:
    """Posts by account.

    >>> ledger = Ledger()
    >>> ledger.post("card", 5, key="run-1:charge")
    True
    >>> ledger.post("card", 5, key="run-1:charge")  # the same key: it counts once
    False
    >>> ledger.balance("card"), ledger.count("card"), ledger.count("shop")
    (5, 1, 0)
    """

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._keys: set[str] = set()

    def post(self, account: str, amount: Amount, key: str | None = None) -> bool:
        """Post an amount to an account; return whether it counts, which a repeated ``key`` does not."""
        if isinstance(amount, float):
            raise TypeError(f"Ledger.post({account!r}, {amount!r}): amounts are exact: int or Decimal")
        effects.about_to_happen(self)
        if key is not None and key in self._keys:
            return False
        if key is not None:
            self._keys.add(key)
        self._entries.append(Entry(account, amount, key))
        return True

    def balance(self, account: str | None = None) -> Amount:
        """Return the sum of an account, or of all."""
        return sum((entry.amount for entry in self._of(account)), 0)

    def count(self, account: str | None = None) -> int:
        """Return how many posts count, to an account or to all."""
        return sum(1 for _ in self._of(account))

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self._keys.clear()

    def __iter__(self) -> Iterator[Entry]:
        """Iterate over the posts that count, in order."""
        return iter(list(self._entries))

    def _of(self, account: str | None) -> Iterator[Entry]:
        return (entry for entry in self._entries if account in (None, entry.account))

    # For simulations

    def remembered(self) -> object:
        """Return all that it holds, for ``restore``."""
        return (list(self._entries), set(self._keys))

    def restore(self, remembered: object) -> None:
        """Hold again what it held then."""
        assert isinstance(remembered, tuple)
        self._entries, self._keys = list(remembered[0]), set(remembered[1])
