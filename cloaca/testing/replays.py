"""An input and a scenario as one line of text, to paste above a test that has failed."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from collections.abc import Callable
from dataclasses import astuple
from typing import TypeVar
from zlib import compress, decompress
from zlib import error as ZlibError

from cloaca.testing.deviations import KINDS, Deviation, Scenario

F = TypeVar("F", bound=Callable[..., object])
ATTRIBUTE = "cloaca_replays"


def blob_of(payload: str | None, scenario: Scenario) -> str:
    """Return an input's JSON and a scenario as a line of text."""
    parts = [payload, scenario.workers, scenario.seed, [list(astuple(each)) for each in scenario.deviations]]
    return urlsafe_b64encode(compress(json.dumps(parts, separators=(",", ":")).encode(), 9)).decode().rstrip("=")


def read_blob(blob: str) -> tuple[str | None, Scenario]:
    """Return the input's JSON and the scenario. Raises ValueError for any other text."""
    try:
        text = decompress(urlsafe_b64decode(blob + "=" * (-len(blob) % 4)))
        payload, workers, seed, deviations = json.loads(text)
        made = [Deviation(*each) for each in deviations]
        if any(each.kind not in KINDS for each in made):
            raise ValueError("an unknown deviation")
        return payload, Scenario(*made, workers=workers, seed=seed)
    except (ValueError, TypeError, Error, ZlibError, UnicodeError) as error:
        raise ValueError(f"replay({blob!r:.60}) is not what a failing workflow_test prints: {error}") from None


def replay(blob: str) -> Callable[[F], F]:
    """Run this input and scenario first, as a failing ``workflow_test`` printed it; keep it as a regression test."""
    read_blob(blob)

    def decorate(function: F) -> F:
        setattr(function, ATTRIBUTE, [*getattr(function, ATTRIBUTE, []), blob])
        return function

    return decorate
