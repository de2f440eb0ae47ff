"""The life of a child process: take a job, call the entry with it, answer, until the parent is gone.

It runs in the child. It knows messages and one function, the entry, which it calls on the main thread; what a job
means is the entry's. A thread listens meanwhile: when the parent dies, a child that is busy dies with all that it has
started, and one that is idle ends in order.
"""

from __future__ import annotations

import importlib
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Final

from cloaca.executors.frames import CHUNK, Frames, packed

ORDINARY: Final[Mapping[int, Any]] = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
Tell = Callable[[object], None]
Entry = Callable[[Any, Tell], object]


def main(number: int | None) -> None:
    """Begin a child that is an interpreter of its own, on the socket with this number, or as standard input says."""
    with socket.socket(fileno=number) if number is not None else _shared() as line:
        serve(line)


def _shared() -> socket.socket:
    """Take over the socket that the parent shares with this very process, as Windows does it."""
    shared = bytes.fromhex(sys.stdin.readline())
    return socket.fromshare(shared)  # type: ignore[attr-defined,no-any-return]  # exists on Windows only


def serve(line: socket.socket) -> None:
    """Do the jobs that come over ``line``, one after the other, until the parent closes it."""
    leave_signals_to_the_parent()
    line.setblocking(True)
    line.set_inheritable(False)
    messages = _messages(line)
    setup = next(messages, None)
    if setup is None:
        return
    entry = _prepared(setup)
    jobs: SimpleQueue[tuple[int, Any] | None] = SimpleQueue()
    busy = threading.Event()
    threading.Thread(target=_listen, args=(messages, jobs, busy), name="cloaca-line", daemon=True).start()
    voice = _Voice(line)
    while (job := jobs.get()) is not None:
        answer = _answer(entry, job, voice)
        _flush()
        busy.clear()
        voice.say(["done", job[0], answer])


def leave_signals_to_the_parent() -> None:
    """Outlive what a terminal or a service manager sends to all processes alike: the parent says when this one ends.

    Not by ignoring: that would be inherited by programs that a body starts, and then stops by such a signal. Processes
    that a body forks are ordinary, too; a signal that comes while they are made waits until they are.
    """
    for number in ORDINARY:
        signal.signal(number, lambda *_: None)
    if sys.platform != "win32":
        os.register_at_fork(before=_hold_signals, after_in_parent=_let_signals, after_in_child=_be_ordinary)


def _hold_signals() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, ORDINARY)


def _let_signals() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ORDINARY)


def _be_ordinary() -> None:
    for number, handler in ORDINARY.items():
        signal.signal(number, handler)
    _let_signals()


def _messages(line: socket.socket) -> Iterator[Any]:
    frames = Frames()
    while data := _received(line):
        yield from frames.fed(data)


def _received(line: socket.socket) -> bytes:
    try:
        return line.recv(CHUNK)
    except OSError:
        return b""


def _listen(messages: Iterator[Any], jobs: SimpleQueue[tuple[int, Any] | None], busy: threading.Event) -> None:
    for number, job in messages:
        busy.set()
        jobs.put((number, job))
    if busy.is_set():  # nobody waits for the body any more
        die()
    jobs.put(None)


def die() -> None:
    """End this process at once, with all that its bodies have started."""
    if sys.platform != "win32" and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _prepared(setup: dict[str, Any]) -> Entry:
    """Become like the parent: its paths, its arguments, its environment. Return the function that does the jobs."""
    os.environ.clear()
    os.environ.update(setup["environ"])
    with suppress(OSError):  # a directory that is gone
        os.chdir(setup["cwd"])
    sys.path[:] = setup["path"]
    sys.argv[:] = setup["argv"]
    module, _, name = setup["entry"].partition(":")
    entry: Entry = getattr(importlib.import_module(module), name)
    return entry


def _answer(entry: Entry, job: tuple[int, Any], voice: _Voice) -> object:
    number, text = job
    try:
        return entry(text, lambda message: voice.say(["said", number, message]))
    except BaseException:  # noqa: BLE001 - the entry takes care of what a body raises; this is for its own faults
        return {"fault": traceback.format_exc()}


def _flush() -> None:
    """Hand on what a body has printed: the next one may be killed before the buffer is full."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # closed by the body, or nobody reads any more
            stream.flush()


class _Voice:
    """Speaks to the parent, from any thread, message by message."""

    def __init__(self, line: socket.socket) -> None:
        self._line, self._lock = line, threading.Lock()

    def say(self, message: object) -> None:
        with self._lock, suppress(OSError):  # the parent is gone, which the listening thread notices
            self._line.sendall(packed(message))
