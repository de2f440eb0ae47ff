"""The suite to which the guarantees of a store add themselves, and two ways to ask a store that most of them need."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from cloaca.ports import History, Store
from tests.stores.rows import AT

Check = Callable[[Store], Coroutine[Any, Any, None]]

CHECKS: dict[str, Check] = {}


def guarantee(check: Check) -> Check:
    """Add a check to the suite."""
    CHECKS[check.__name__] = check
    return check


async def history_of(store: Store, run: int) -> History:
    """Return the history of a run that is stored."""
    history = await store.history(run)
    assert history is not None
    return history


async def claimed(store: Store, session: int, limit: int = 100, **how: Any) -> list[int]:
    """Claim runs of ``orders`` and return their ids."""
    options = {"suspects": False, **how}
    return [history.run.id for history in await store.claim(session, ["orders"], limit, AT, **options)]
