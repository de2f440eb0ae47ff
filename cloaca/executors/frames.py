"""Messages between a process and its children: plain JSON values, each after its length, over a stream.

It knows bytes, not what a message means. Nothing is ever unpickled: what comes from a child is data.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

LENGTH = struct.Struct("!Q")
CHUNK = 1 << 16


def packed(message: object) -> bytes:
    """Return a message as bytes. Text that no encoding can carry, such as an odd file name, survives.

    >>> list(Frames().fed(packed(["done", 1]) + packed("next")))
    [['done', 1], 'next']
    """
    body = json.dumps(message, separators=(",", ":")).encode("ascii")
    return LENGTH.pack(len(body)) + body


class Frames:
    """Cuts a stream into messages."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def fed(self, data: bytes) -> Iterator[Any]:
        """Yield the messages that ``data`` completes."""
        self._bytes += data
        while len(self._bytes) >= LENGTH.size:
            (length,) = LENGTH.unpack_from(self._bytes)
            end = LENGTH.size + length
            if len(self._bytes) < end:
                return
            message = json.loads(bytes(self._bytes[LENGTH.size : end]))
            del self._bytes[:end]
            yield message
