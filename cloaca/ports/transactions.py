"""A transaction that a task's body shares with the engine. It knows no database; what a session is, a store says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from cloaca.errors import StoreUnavailable
from cloaca.ports.batches import Batch, Receipt


class Transaction(Protocol):
    """A transaction that one attempt shares with its completion; what else is stored goes on beside it.

    It begins with the first statement that the body executes through ``session``. Use it on the event loop, but for
    ``call``; ``end`` it, whatever happens.
    """

    @property
    def session(self) -> Any:
        """SQLModel's ``Session`` or ``AsyncSession``, with the body's alone to use; it can't end the transaction."""
        ...

    @property
    def broken(self) -> StoreUnavailable | None:
        """Why the database let the body down, if it did: whatever the body came to says nothing about the body then."""
        ...

    @property
    def refused(self) -> bool:
        """Whether the database did not even begin it, when the body asked: that is never the body's fault."""
        ...

    def call(self, body: Callable[[], Any]) -> Any:
        """Call a body that uses the session where it belongs, on a thread or on the event loop; return what it does."""
        ...

    async def commit(self, batch: Batch) -> Receipt:
        """Commit what the body wrote and a batch without new runs as one, fenced by the batch's session; once.

        If a run is not the session's any more, nothing is committed. Raises as ``Store.transact``; SessionMisused if
        the body has ended the transaction itself; StoreError, from the driver's error, if what the body wrote is
        refused. After StoreUnavailable, or a StoreError because of a task that is there already, only a look at the
        rows tells whether all was committed, perhaps by an earlier try. Cancelling it leaves the commit to ``end``.
        """
        ...

    async def end(self) -> None:
        """Undo what is not committed, and let the session do nothing any more, even if its body still runs. Idempotent.

        A commit that is under way is waited for.
        """
        ...
