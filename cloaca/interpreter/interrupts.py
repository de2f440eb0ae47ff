"""Interrupts: exceptions that a signal's handler has raised, told from those of the body that it struck.

Python runs the handlers of signals on the main thread, between any two instructions; what they raise comes out of
whatever happens to run there. ``sys.exit()`` in a handler of SIGTERM, or a second Ctrl-C, is meant for the process: the
body that it hits has not failed. It knows exceptions and handlers, not tasks.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from functools import partial
from opcode import opmap
from types import CodeType, TracebackType
from typing import Any

RAISE = opmap["RAISE_VARARGS"]


def interrupt_of(task: asyncio.Task[Any]) -> BaseException | None:
    """Return what has ended the event loop out of a task that is done, None if nothing has.

    asyncio would log it as an exception that nobody has looked at. Any other is a fault, and logged as such.
    """
    error = None if task.cancelled() else task.exception()
    if error is None or isinstance(error, SystemExit | KeyboardInterrupt):
        return error
    task.get_loop().call_exception_handler({"message": "a fault of cloaca's", "exception": error, "task": task})
    return None


def stay_unlogged() -> None:
    """Have asyncio log nothing about the current task, which an interrupt ends: it comes out of the event loop."""
    current = asyncio.current_task()
    assert current is not None
    current.add_done_callback(interrupt_of)


def is_interrupt(error: BaseException) -> bool:
    """Whether a signal's handler has raised ``error`` to end the process; what else handlers raise is the body's.

    >>> def body():
    ...     raise SystemExit("a word of my own")
    >>> try:
    ...     body()
    ... except SystemExit as error:
    ...     is_interrupt(error)
    False
    """
    if not isinstance(error, SystemExit | KeyboardInterrupt):
        return False
    entries, handlers = list(_entries(error.__traceback__)), list(_handlers())
    codes = set(map(_code_of, handlers))
    if any(entry.tb_frame.f_code in codes for entry in entries):
        return True
    # Python's own handler has no frame: what it raises comes out of an instruction that raises nothing by itself.
    is_own = type(error) is KeyboardInterrupt and signal.default_int_handler in handlers
    return is_own and bool(entries) and not _raises(entries[-1])


def _entries(trace: TracebackType | None) -> Iterator[TracebackType]:
    while trace is not None:
        yield trace
        trace = trace.tb_next


def _raises(entry: TracebackType) -> bool:
    return entry.tb_frame.f_code.co_code[entry.tb_lasti] == RAISE


def _handlers() -> Iterator[Callable[..., object]]:
    for number in signal.valid_signals():
        handler: object = signal.getsignal(number)
        while isinstance(handler, partial):
            handler = handler.func
        if callable(handler):
            yield handler


def _code_of(handler: Callable[..., object]) -> CodeType | None:
    """Return the code of a function, of a method, or of an object that can be called; None if it has none."""
    function = handler if hasattr(handler, "__code__") else type(handler).__call__
    return getattr(function, "__code__", None)
