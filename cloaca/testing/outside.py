"""Signals in a simulation: who sends them from outside, and when.

What is sent goes the way that ``handle.send`` goes. It knows runs and their children, not what they do with a signal.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from typing import Any, Final

from pydantic import BaseModel

from cloaca.codecs import MEBIBYTE, JsonCodec
from cloaca.contract.plans import PlanNode
from cloaca.contract.subflows import family
from cloaca.contract.workflows import Workflow
from cloaca.errors import NoSuchSignal, StoreUnavailable
from cloaca.ports import Store
from cloaca.runner import controls
from cloaca.runner.engines import Engine
from cloaca.testing.deviations import SIGNALS, Deviation
from cloaca.testing.processes import Process
from cloaca.testing.scenes import Scene

AnyWorkflow = Workflow[Any, Any, Any, Any]
OUTSIDE: Final = "outside"
AGAIN_S: Final = 1.0
CODEC: Final = JsonCodec(16 * MEBIBYTE)


class Outside:
    """Whoever sends signals: a process that never dies, and tries again until the store takes or refuses them."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self.process = Process(OUTSIDE)
        self._plans = {name: each.plan for name, each in family(scene.workflow).items()}
        self.is_coming = scene.scenario.of_kinds(SIGNALS)
        self._signals = {each: signal_of(scene.workflow, each) for each in self.is_coming}
        self._engine: Engine

    def open(self, store: Store) -> None:
        """Reach the store by a door."""
        scene = self._scene
        self._engine = Engine(store, scene.codec, scene.clock, itertools.count(1), loop=scene.loop.as_loop)

    def hear(self, label: str, nth: int) -> None:
        """Something was committed: send what comes after it, in time."""
        for each in self._scene.taken("send", label, nth):
            self._scene.loop.in_process(self.process, self._begin, each, delay=each.seconds)

    def _begin(self, each: Deviation) -> None:
        self._scene.loop.create_task(self._sending(each))

    async def _sending(self, each: Deviation) -> None:
        signal, scene = self._signals[each], self._scene
        while True:
            try:
                await self._send(signal)
            except NoSuchSignal:
                scene.log(self.process, f"*** sends {signal!r}, which nobody waits for any more")
                return
            except StoreUnavailable:
                await asyncio.sleep(AGAIN_S)
            else:
                scene.log(self.process, f"sends {signal!r}")
                return

    async def _send(self, signal: BaseModel) -> None:
        """Send to the run, or to the first of its child runs that waits."""
        runs = [(self._scene.run_id, self._scene.workflow.name)]
        for run, workflow in runs:
            history = await self._engine.history(run)
            runs += [(row.id, row.workflow) for row in history.children]
            try:
                return await controls.send(self._engine, run, self._plans[workflow], signal)
            except NoSuchSignal:
                continue
        raise NoSuchSignal(OUTSIDE)


def waits_of(workflow: AnyWorkflow) -> Iterator[PlanNode]:
    """Yield the nodes of a workflow, and of those that it starts runs of, that wait for a signal."""
    return (node for each in family(workflow).values() for node in each.plan.nodes if node.signal is not None)


def signal_of(workflow: AnyWorkflow, deviation: Deviation) -> BaseModel:
    """Return what a deviation sends. Raises ValueError if the workflow waits for no such thing."""
    waits = list(waits_of(workflow))
    for name in deviation.model.split("/"):
        for node in waits:
            if node.output is not None and node.output.__name__ == name:
                return CODEC.decode(node.output, deviation.payload)
    known = ", ".join(dict.fromkeys(str(node.signal) for node in waits)) or "no signal at all"
    raise ValueError(
        f'send({deviation.model.split("/")[0]}(...)): workflow "{workflow.name}" waits for no such signal: '
        f"it waits for {known}"
    )
