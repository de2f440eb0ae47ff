"""The crew of a simulation: its workers, each a process of its own, that are killed, fall silent, leave and come back.

A worker is production's, with simulated ports. What it does with them is no business of this module.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from cloaca.contract.plans import Plan
from cloaca.contract.subflows import family
from cloaca.interpreter.workers import Settings, Worker
from cloaca.ports import Ports, Store
from cloaca.testing.bodies import NoProcesses
from cloaca.testing.leases import Leases
from cloaca.testing.processes import Process
from cloaca.testing.scenes import CLIENT, LEASE_S, Scene
from cloaca.testing.threads import SimulatedThreads

VERSION: Final = "simulated"  # of the workflow: its code does not change, and to hash it takes longer than to run it


def simulated_codes(plan: Plan) -> Mapping[int, str]:
    """Return no fingerprints."""
    return {}


class Crew:
    """Workers, and the client that hands in the work.

    Args:
        door: makes a process's way to the store.
        submit: is what the client does; it is started again when its process was killed.
    """

    def __init__(
        self, scene: Scene, leases: Leases, door: Callable[[Process], Store], submit: Callable[[Process], None]
    ) -> None:
        self._scene, self._leases, self._door, self._submit = scene, leases, door, submit
        self.workers: dict[Process, Worker] = {}
        self.watchers: dict[Process, Callable[[], None]] = {}
        self.transactions: dict[Process, set[Any]] = {}  # that are open
        self._threads: list[SimulatedThreads] = []
        self._child_ids = itertools.count(1_000)

    def begin(self, workers: int) -> None:
        """Start so many workers and a client."""
        for number in range(workers):
            self.start(f"w{number}")
        self.start(CLIENT)

    def start(self, name: str) -> None:
        """Start a process."""
        loop, process = self._scene.loop, Process(name)
        if name == CLIENT:
            loop.in_process(process, self._submit, process)
        else:
            loop.in_process(process, lambda: loop.create_task(self._work(process)))

    async def _work(self, process: Process) -> None:
        scene, threads = self._scene, SimulatedThreads()
        self._threads.append(threads)
        ports = Ports(self._door(process), scene.clock, threads, scene.codec, NoProcesses())
        worker = Worker(ports, Settings(lease_s=LEASE_S, retention_s=None), family(scene.workflow), self._child_ids)
        worker.chance = scene.chance.random if scene.chance else _half
        worker.codes = simulated_codes
        worker.version_of = lambda workflow: VERSION if workflow is scene.workflow else workflow.version
        self.workers[process] = worker
        scene.log(process, "starts")
        await worker.open()

    def kill(self, process: Process, why: str, downtime_s: float) -> None:
        """Kill a process as by SIGKILL; another takes its place after a while."""
        self._scene.log(process, f"*** killed {why}")
        self._gone(process, downtime_s)

    def freeze(self, process: Process, seconds: float) -> None:
        """Have a process do nothing for so long."""
        loop = self._scene.loop
        self._scene.log(process, f"*** silent for {seconds:g} s")
        process.frozen_until = max(process.frozen_until, loop.now + seconds)

    async def leave(self, process: Process, downtime_s: float) -> None:
        """Have a worker leave in order; another takes its place after a while."""
        self._scene.log(process, "*** leaves in order")
        await self.workers[process].close()
        self._scene.log(process, "has left")
        if self.workers[process].session in self._leases:
            self._scene.world.violations.append(f"left: {process.name} has left in order, but its lease lasts on")
        self._gone(process, downtime_s)

    def _gone(self, process: Process, downtime_s: float) -> None:
        loop = self._scene.loop
        process.alive = False
        self.watchers.pop(process, None)
        for transaction in self.transactions.pop(process, ()):
            self._scene.backend.disconnect(transaction)
        loop.in_process(loop.main, self.start, process.name, delay=downtime_s)

    def take_for_dead(self, process: Process) -> None:
        """End a worker's session, though it lives."""
        session = self.workers[process].session
        if session in self._leases:
            self._scene.log(process, "*** is taken for dead, though it lives")
            self._leases.end(session)
            for other, wake in list(self.watchers.items()):
                self._scene.loop.in_process(other, wake)

    def mourn(self, sessions: Collection[int]) -> None:
        """Sessions were taken for dead: no worker may be that lives, was never silent, and whose clock went right."""
        for process, worker in self.workers.items():
            was_well = process.alive and not process.frozen_until and self._scene.clock.steady
            if was_well and worker.session in sessions:
                self._scene.world.violations.append(f"lease-kept: {process.name} lives, but was taken for dead")

    def wake_others(self, process: Process) -> None:
        """Tell the other workers that something is to be done, as stores do."""
        for other, wake in list(self.watchers.items()):
            if other is not process and other.alive:
                self._scene.loop.in_process(other, wake)

    def skip(self, until: float | None) -> float:
        """Pass over a time in which nothing but heartbeats happens; see ``Leases.skip``."""
        now = self._scene.loop.now
        beating = {p: worker for p, worker in self.workers.items() if p.alive and p.frozen_until <= now}
        return self._leases.skip(until, {worker.session: worker for worker in beating.values()})

    def bury(self) -> None:
        """End the bodies that still run, when nothing happens any more."""
        for transactions in self.transactions.values():
            for transaction in transactions:
                self._scene.backend.disconnect(transaction)
        for threads in self._threads:
            threads.bury()


def _half() -> float:
    return 0.5
