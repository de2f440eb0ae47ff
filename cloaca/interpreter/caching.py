"""Results that are reused: under which key, and asking the store for many keys at once.

A key is the task's fingerprint and its input, in a form in which equal inputs are equal texts. It knows the store, and
neither runs nor slots. A cache is never a reason to fail: what can't be asked is not there.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json

from cloaca.algebra.tasks import Task
from cloaca.contract.fingerprints import fingerprint
from cloaca.contract.plans import PlanNode
from cloaca.errors import StoreError
from cloaca.interpreter.inputs import Outputs
from cloaca.ports import Cached, Codec, Store

logger = logging.getLogger("cloaca.worker")

MOST_KEYS = 500  # of one look-up


class Cache:
    """The results that runs have left to others. Keys that are wanted while a look-up is under way share the next."""

    def __init__(self, store: Store, now: Callable[[], float], codec: Codec) -> None:
        self.store, self.now, self.codec = store, now, codec
        self._wanted: dict[str, asyncio.Future[Cached | None]] = {}
        self._asking: asyncio.Task[None] | None = None
        self._fingerprints: dict[Task[Any, Any, Any, ..., Any], str] = {}

    def key(self, node: PlanNode, outputs: Outputs) -> str | None:
        """Return the key of a cached task's result for this input; None if it is not cached, or has no input."""
        body = node.body
        if body is None or body.options.cache_s is None:
            return None
        try:
            inputs = [from_json(text) for text in outputs.texts(node.arguments)]
        except Exception:  # noqa: BLE001 - a user's reducer may raise anything: the attempt will say so
            return None
        if body not in self._fingerprints:
            self._fingerprints[body] = fingerprint(body)
        canonical = json.dumps([self._fingerprints[body], inputs], sort_keys=True, separators=(",", ":"))
        return sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()

    async def find(self, node: PlanNode, key: str) -> Cached | None:
        """Return the result under a key, if it is young enough and the task's model still takes it."""
        assert node.body is not None
        assert node.output is not None
        future = self._wanted.get(key)
        if future is None:
            future = self._wanted[key] = asyncio.get_running_loop().create_future()
            if self._asking is None or self._asking.done():
                self._asking = asyncio.get_running_loop().create_task(self._ask())
        found = await asyncio.shield(future)
        if found is None or found.age_s > (node.body.options.cache_s or 0.0):
            return None
        try:
            self.codec.decode(node.output, found.output)
        except ValidationError:
            return None
        return found

    async def _ask(self) -> None:
        """Look up what is wanted until nothing is."""
        while self._wanted:
            keys = list(self._wanted)[:MOST_KEYS]
            found = await self._looked_up(keys)
            for key in keys:
                future = self._wanted.pop(key)
                if not future.done():
                    future.set_result(found.get(key))

    async def _looked_up(self, keys: list[str]) -> dict[str, Cached]:
        try:
            return {row.key: row for row in await self.store.cached(keys, self.now())}
        except StoreError as error:
            logger.warning("Cached results could not be looked up, their tasks are executed: %s", error)
        except Exception:
            logger.exception("Cached results could not be looked up, their tasks are executed")
        return {}
