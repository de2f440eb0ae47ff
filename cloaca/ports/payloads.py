"""How values become payloads, and payloads what is stored of them. It knows neither encoding."""

from __future__ import annotations

from typing import Protocol

from pydantic import BaseModel

SEALED = "cloaca-sealed:"  # with which every payload begins that a ``PayloadCodec`` has encoded


def is_sealed(payload: str | None) -> bool:
    """Whether a payload is encoded: no JSON begins so."""
    return payload is not None and payload.startswith(SEALED)


class Codec(Protocol):
    """Turns models into payloads and back."""

    @property
    def limit(self) -> int:
        """The largest payload, in bytes."""
        ...

    def encode(self, model: type[BaseModel], value: object) -> str:
        """Return ``value`` as JSON. Raises WrongOutput, UnstablePayload or PayloadTooLarge."""
        ...

    def decode(self, model: type[BaseModel], payload: str) -> BaseModel:
        """Return the model that a payload says. Raises pydantic's ValidationError."""
        ...


class PayloadCodec(Protocol):
    """Turns payloads into what is stored of them, and back: encryption at rest. What it makes is ASCII."""

    def encode(self, text: str) -> str:
        """Return what is stored of a text. It need not be the same twice."""
        ...

    def decode(self, text: str) -> str:
        """Return the text, whichever release or key has encoded it. Raises WrongKey, and never returns another text."""
        ...

    def digest(self, text: str) -> str:
        """Return at least 32 hexadecimal digits, the same for equal texts, that tell nothing to who lacks the key."""
        ...
