"""Signals that end a worker: the first asks for an end in order, the second for one at once, the third kills.

It knows signals and one coroutine. Once a signal has come, the process ends soon whatever hangs: a body on a thread, an
async body that blocks the event loop, a database that does not answer. All of that is safe, as being killed is.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)
KILLED = 128  # a shell adds the signal's number
LAST_S = 2.0  # for giving leases back and closing the database


def run_until_stopped(work: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> int:
    """Run ``work(stop)`` on an event loop of its own; the first signal sets ``stop``, the second cancels.

    Returns the exit code: 0, or 128 and the signal's number if the second has come.
    """
    return asyncio.run(_listening(work))


async def _listening(work: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> int:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    working = loop.create_task(work(stop))
    received: list[int] = []

    def receive(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if len(received) == 1:
            loop.call_soon_threadsafe(stop.set)
            return
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        _end_within(LAST_S, KILLED + number)
        loop.call_soon_threadsafe(working.cancel)

    with _handling(receive):
        try:
            await working
        except asyncio.CancelledError:
            if len(received) < 2:  # noqa: PLR2004 - not by us
                raise
            return KILLED + received[1]
        if received:
            _end_within(LAST_S, 0)
        return 0


@contextmanager
def _handling(receive: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Hand signals to ``receive``; those that are ignored stay so, as SIGINT in a shell's background job."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread gets signals
        return
    taken = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, receive) for number in taken}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_within(seconds: float, code: int) -> None:
    """End the process after a while, if it has not ended by itself."""
    timer = threading.Timer(seconds, _end, [code])
    timer.daemon = True
    timer.start()


def _end(code: int) -> None:
    try:
        sys.stderr.flush()
        sys.stdout.flush()
    finally:
        os._exit(code)
