"""A process that does nothing but fork: it has loaded cloaca, no user code, has no thread, and so may fork safely.

It runs in a process of its own, on Linux. It knows one socket, on which it is asked for children and told to forget
dead ones; when that closes, its parent is gone, and it takes all children with it. See ``births`` for the other end.
"""

from __future__ import annotations

import importlib
import os
import select
import signal
import socket
from contextlib import suppress

from cloaca.executors.children import leave_signals_to_the_parent, serve

MOST_BYTES = 64


def main(number: int, entry: str) -> None:
    """Fork children until the parent is gone. In each of the children, serve."""
    leave_signals_to_the_parent()
    importlib.import_module(entry.partition(":")[0])
    line = Nursery(socket.socket(fileno=number)).run()
    if line is not None:
        with line:
            serve(line)


class Nursery:
    """Bears children and says how they have ended. Their process ids stay theirs until the parent says ``reap``."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._children: set[int] = set()
        self._wake, self._waker = socket.socketpair()
        self._wake.setblocking(False)
        self._waker.setblocking(False)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def run(self) -> socket.socket | None:
        """Return a line to the parent, in a child; None when the parent is gone."""
        while True:
            ready, _, _ = select.select([self._control, self._wake], [], [])
            if self._wake in ready:
                self._wake.recv(4096)
                self._report()
            if self._control not in ready:
                continue
            order, lines = self._order()
            if lines:
                if self._bear(lines[0]):
                    return socket.socket(fileno=lines[0])
            elif order:
                self._reap(int(order))
            else:
                self._leave()
                return None

    def _order(self) -> tuple[bytes, list[int]]:
        try:
            order, lines, _, _ = socket.recv_fds(self._control, MOST_BYTES, 1)
        except OSError:
            return b"", []
        return order, list(lines)

    def _bear(self, line: int) -> bool:
        """Fork; return whether this is the child, which has a process group of its own from the very beginning."""
        try:
            child = os.fork()
        except OSError as error:
            self._say(f"failed {error.errno}")
            os.close(line)
            return False
        if child == 0:
            self._forget()
            return True
        os.setpgid(child, child)
        os.close(line)
        self._children.add(child)
        self._say(f"born {child}")
        return False

    def _forget(self) -> None:
        """Be no nursery any more."""
        os.setpgid(0, 0)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._close()

    def _close(self) -> None:
        signal.set_wakeup_fd(-1)
        for end in (self._control, self._wake, self._waker):
            end.close()

    def _report(self) -> None:
        """Say which children have ended. What they have started ends with them."""
        for child in list(self._children):
            ended = os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is not None:
                kill_group(child)
                self._children.discard(child)
                by_signal = ended.si_code != os.CLD_EXITED
                self._say(f"ended {child} {-ended.si_status if by_signal else ended.si_status}")

    def _reap(self, child: int) -> None:
        os.waitpid(child, 0)

    def _leave(self) -> None:
        for child in self._children:
            kill_group(child)
        self._close()

    def _say(self, text: str) -> None:
        with suppress(OSError):  # the parent is gone, which the next look at the socket finds
            self._control.send(text.encode())


def kill_group(leader: int) -> None:
    """Kill a process that is or was not reaped by anybody, and the whole group that it leads."""
    with suppress(ProcessLookupError, PermissionError):  # macOS says the latter where only the dead are left
        os.killpg(leader, signal.SIGKILL)
