"""Ctrl-C while a run is driven: the first asks for an end in order, the second for one at once, the third kills.

It knows signals and one coroutine. Python's own way, a KeyboardInterrupt at whatever line happens to run, would be
taken for an error of that line.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Coroutine
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")

LAST_WARNING = 2


def run_interruptibly(work: Coroutine[Any, Any, T]) -> T:
    """Run ``work`` on an event loop of its own; each of the first two interrupts cancels it.

    Raises asyncio.CancelledError if it lets itself be cancelled. Where interrupts are ignored, as in a background job,
    or handled by the program around us, they stay so.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    if in_main_thread and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        return asyncio.run(_listening(work))
    return asyncio.run(work)


async def _listening(work: Coroutine[Any, Any, T]) -> T:
    presses = 0
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None  # a coroutine that runs is in a task

    def pressed(number: int, frame: FrameType | None) -> None:
        nonlocal presses
        presses += 1
        if presses == LAST_WARNING:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        loop.call_soon_threadsafe(task.cancel)

    before = signal.signal(signal.SIGINT, pressed)
    try:
        return await work
    finally:
        signal.signal(signal.SIGINT, before)
