"""What a signal's handler has raised is told from what a body raises, however the handler is written."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from functools import partial
from types import FrameType
from typing import Any

import pytest

from cloaca.interpreter.interrupts import is_interrupt

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")


class GracefulExit(SystemExit):
    """As some web servers have it."""


def leaves(number: int, frame: FrameType | None) -> None:
    sys.exit(1)


def leaves_with(error: BaseException, number: int, frame: FrameType | None) -> None:
    raise error


def leaves_by_another(number: int, frame: FrameType | None) -> None:
    leaves(number, frame)


class Leaver:
    def leave(self, number: int, frame: FrameType | None) -> None:
        sys.exit(1)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        sys.exit(1)


@pytest.fixture
def installed() -> Iterator[Callable[[Any], object]]:
    before = signal.getsignal(signal.SIGTERM)
    yield partial(signal.signal, signal.SIGTERM)
    signal.signal(signal.SIGTERM, before)


def struck() -> BaseException:
    """Return what comes out of a function that the signal strikes."""

    def body() -> None:
        signal.raise_signal(signal.SIGTERM)

    return raised_by(body)


def raised_by(body: Callable[[], object]) -> BaseException:
    try:
        body()
    except BaseException as error:  # noqa: BLE001 - whatever it is
        return error
    raise AssertionError("nothing was raised")


@pytest.mark.parametrize(
    "handler",
    [
        leaves,
        leaves_by_another,
        partial(leaves_with, KeyboardInterrupt()),
        partial(leaves_with, GracefulExit()),
        partial(partial(leaves_with), SystemExit(2)),
        Leaver().leave,
        Leaver(),
        lambda *_: sys.exit(),
        signal.default_int_handler,
    ],
    ids=["function", "another's", "interrupt", "graceful", "partial", "method", "object", "lambda", "Python's own"],
)
def test_what_a_handler_raises_is_an_interrupt(installed: Callable[[Any], object], handler: object) -> None:
    installed(handler)
    assert is_interrupt(struck())


def test_other_errors_of_a_handler_are_the_body_s(installed: Callable[[Any], object]) -> None:
    """Such as a limit of time by SIGALRM."""
    installed(partial(leaves_with, TimeoutError()))
    assert not is_interrupt(struck())


def test_what_a_body_raises_is_none(installed: Callable[[Any], object]) -> None:
    installed(leaves)

    def interrupts() -> None:
        raise KeyboardInterrupt

    assert not is_interrupt(raised_by(sys.exit))
    assert not is_interrupt(raised_by(interrupts))
    assert not is_interrupt(raised_by(partial(int, "x")))
    assert not is_interrupt(SystemExit())  # never raised


def test_an_interrupt_without_a_frame_is_nobody_s_where_python_s_own_handler_is_not_installed() -> None:
    """As what a library throws into a body from outside."""

    def body() -> Generator[None, None, None]:
        yield

    def thrown() -> None:
        stopped = body()
        next(stopped)
        stopped.throw(KeyboardInterrupt())

    before = signal.signal(signal.SIGINT, leaves)
    try:
        error = raised_by(thrown)
        assert not is_interrupt(error)
    finally:
        signal.signal(signal.SIGINT, before)


def test_handlers_are_looked_at_from_any_thread(installed: Callable[[Any], object]) -> None:
    installed(leaves)
    error, found = struck(), []
    thread = threading.Thread(target=lambda: found.append(is_interrupt(error)))
    thread.start()
    thread.join()
    assert found == [True]
