"""The sessions that bodies get: SQLModel's own, on a connection that is there at the first statement.

A body can do everything with them but end the transaction, which is the engine's. They know neither database nor rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NoReturn

from sqlalchemy import Connection, orm
from sqlalchemy.ext import asyncio as extension
from sqlalchemy.orm import SessionTransaction
from sqlmodel import Session
from sqlmodel.ext.asyncio.session import AsyncSession

from cloaca.errors import SessionMisused

BODY: Final = "cloaca_body"  # the savepoint below all that a body does: if it is gone, the body has ended too much


def refused(what: str) -> SessionMisused:
    """Return the error for who would end a transaction that is not his."""
    return SessionMisused(
        f"{what} is not for a task's body: what it writes is committed together with its output, once it has "
        "returned. Return to commit, raise to undo everything, and use `with session.begin_nested():` to undo a part"
    )


def ended_inside() -> SessionMisused:
    """Return the error for a body that has ended the transaction by a statement of its own."""
    return refused("ending the transaction (COMMIT, ROLLBACK or RELEASE as a statement)")


def over() -> SessionMisused:
    """Return the error for a body that goes on after its attempt."""
    return SessionMisused(
        "this session's attempt is over: it timed out, its run was cancelled, or its worker has left; nothing that the "
        "body wrote is kept"
    )


class BodySession(Session):
    """A ``Session`` that asks ``connect`` for its connection, whenever it needs one."""

    def __init__(self, bind: None = None, binds: None = None, *, connect: Callable[[], Connection]) -> None:
        super().__init__(bind, binds=binds)
        self._connect = connect

    def get_bind(self, *args: Any, **options: Any) -> Connection:
        """Return the connection of the attempt's transaction, which begins by that."""
        return self._connect()

    def begin(self, nested: bool = False) -> SessionTransaction:
        """Begin a savepoint; the transaction itself is begun already."""
        return super().begin(nested=True) if nested else _refuse("session.begin()")

    def commit(self) -> None:
        """Refuse."""
        _refuse("session.commit()")

    def prepare(self) -> None:
        """Refuse."""
        _refuse("session.prepare()")

    def rollback(self) -> None:
        """Refuse."""
        _refuse("session.rollback()")

    def close(self) -> None:
        """Refuse."""
        _refuse("session.close()")

    def reset(self) -> None:
        """Refuse."""
        _refuse("session.reset()")

    def invalidate(self) -> None:
        """Refuse."""
        _refuse("session.invalidate()")

    # SQLModel's own would warn whoever has asked for SQLAlchemy's Session, which has no ``exec``.
    execute = orm.Session.execute
    query = orm.Session.query

    def let_go(self) -> None:
        """Forget the objects and the connection, once the transaction is over."""
        super().close()


class AsyncBodySession(AsyncSession):
    """The same for async bodies."""

    sync_session_class = BodySession
    sync_session: BodySession
    execute = extension.AsyncSession.execute

    def __init__(self, *, connect: Callable[[], Connection]) -> None:
        super().__init__(connect=connect)


def _refuse(what: str) -> NoReturn:
    raise refused(what)
