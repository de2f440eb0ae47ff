"""What a simulation watches: each commit as it happens, each body as it begins, and what is stored in the end.

Rules about the whole are ``rules``; here are those that only who looks at every step can check.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from cloaca.errors import IncompatibleRun
from cloaca.interpreter import histories
from cloaca.machine.statuses import FINAL_RUN
from cloaca.ports import Batch, History, RunRow
from cloaca.testing.leases import Leases
from cloaca.testing.processes import Process
from cloaca.testing.rules import broken
from cloaca.testing.scenes import Scene
from cloaca.testing.worlds import START, World

Invariant = Callable[[World], object]


class Observer:
    """Writes the trace, and what is wrong, into the world."""

    def __init__(self, scene: Scene, leases: Leases, invariants: Sequence[Invariant]) -> None:
        self._scene, self._leases, self._invariants = scene, leases, invariants
        self._retry_at: dict[str, float] = {}
        self._waits: dict[str, float] = {}  # since when each wait lasts
        self._early: list[tuple[str, str]] = []  # bodies that began, and what before them was not committed yet

    # Commits

    def observe(self, process: Process, batch: Batch, disowned: frozenset[int]) -> None:
        """Look at what a batch has written: each of it once, by a lease that lives, into a run that has not ended."""
        scene = self._scene
        if batch.session not in self._leases and batch.touched():
            self._wrong(f"stale-lease: session {batch.session} is gone, but its commit was accepted")
        told = self._tasks(batch, disowned) if batch.tasks else []
        for row in batch.failures:
            if row.retry_at is not None:
                self._retry_at[row.name] = row.retry_at
                told.append(f"{row.name} failed attempt {row.attempt}")
        for wait in batch.waits:
            if wait.run == scene.run_id and self._waits.setdefault(wait.name, wait.began_at) != wait.began_at:
                self._wrong(f'timer-reset: "{wait.name}" begins to wait anew, though it had begun already')
        told += [f"run {end.status}" for end in batch.ends if end.run not in disowned]
        if disowned:
            scene.log(process, "is told that the run is another's")
        if any(end.run == scene.run_id and end.run not in disowned for end in batch.ends):
            scene.ended_at = scene.loop.now
            scene.loop.patience = 0  # no housekeeper has more to do
        if told:
            scene.loop.progress()
            scene.log(process, f"commits {', '.join(told)}")
            self._hold_invariants(process)

    def _tasks(self, batch: Batch, disowned: frozenset[int]) -> list[str]:
        world, told = self._scene.world, []
        history = self.history()
        known = {row.name: row for row in history.tasks} if history is not None else {}
        for row in batch.tasks:
            if row.run in disowned or row.run != self._scene.run_id:
                continue
            stored = known.get(row.name)
            owner = None if history is None else history.run.owner
            if owner not in (batch.session, None):
                self._wrong(f'not-its-run: "{row.name}" was committed by session {batch.session}, not {owner}')
            if stored is None or (stored.attempt, stored.session) != (row.attempt, row.session):
                self._wrong(f'committed-twice: "{row.name}" is stored as {stored}, and again as {row}')
            elif row.name in world.sequence and not batch.replay:
                self._wrong(f'committed-twice: "{row.name}" was committed already')
            if row.name not in world.sequence:
                world.sequence.append(row.name)
                world.committed[row.name] += row.status == "succeeded"
            told.append(f"{row.name} {row.status}")
        return told

    def _hold_invariants(self, process: Process) -> None:
        if not self._invariants:
            return
        self.look()
        for invariant in self._invariants:
            try:
                invariant(self._scene.world)
            except BaseException as error:  # noqa: BLE001 - the worker would take it for the store's
                self._scene.log(process, f"*** {getattr(invariant, '__name__', invariant)} does not hold")
                self._scene.loop.halt(error)
                return

    def tell(self, process: Process, name: str, result: Any) -> None:
        """Write of other operations."""
        if name == "submit":
            self._scene.log(process, "submits the run")
        elif name == "claim" and result:
            self._scene.log(process, "claims the run")
        elif name == "reap" and result:
            self._scene.log(process, "takes a worker for dead: its run is pending again")

    # Bodies

    def begins(self, process: Process, task: str, attempt: int) -> None:
        """No body begins before what is before it is durable, nor before its retry delay is over."""
        scene = self._scene
        scene.log(process, f"runs {task} (attempt {attempt})")
        node = next((node for node in scene.workflow.plan.nodes if node.task == task and node.body is not None), None)
        if node is None:
            return
        for pred in node.preds:
            name = scene.workflow.plan.nodes[pred].name
            if name not in scene.world.sequence:
                self._early.append((task, name))
        due = self._retry_at.get(node.name)
        if due is not None and scene.clock.now() < due - 0.001 and scene.clock.steady:
            self._wrong(f'retry-delay: "{task}" began {due - scene.clock.now():g} s too early')

    # The end

    def conclude(self, *, acknowledged: bool) -> None:
        """Look at the whole."""
        scene, world = self._scene, self._scene.world
        world.steps = scene.loop.steps
        history = self.history()
        if history is None:
            lost = "lost-run: the run was submitted, but it is not in the store"
            self._wrong(lost if acknowledged else "no-run: the run could never be submitted")
            return
        try:
            self.look(history)
        except IncompatibleRun as error:
            self._wrong(f"in-order: {error}")
            return
        for task, pred in self._early:
            if pred in world.sequence:
                self._wrong(f'durable-first: "{task}" began before "{pred}" was committed')
        if count := len(self._runs()) - 1:
            self._wrong(f"one-run: one submission has made {count + 1} runs")
        if problem := broken(scene.workflow.plan, history, world):
            self._wrong(problem)

    def look(self, history: History | None = None) -> None:
        """Put what is stored into the world."""
        scene, world, plan = self._scene, self._scene.world, self._scene.workflow.plan
        history = history or self.history()
        assert history is not None  # something of it was committed
        world.status = history.run.status
        world.now = START + timedelta(seconds=scene.loop.now if scene.ended_at is None else scene.ended_at)
        world.context = histories.outputs_of(plan, history).context(plan.context)
        world.signals = {each.taken_by: each.payload for each in history.signals if each.taken_by is not None}
        world.failures = histories.task_failures(plan, history, scene.codec)
        world.statuses = {info.name: info.status for info in histories.task_infos(plan, history)}
        if history.run.status in FINAL_RUN:
            world.outcome = histories.answer(plan, history, scene.codec)

    def history(self) -> History | None:
        """Return what is stored of the run."""
        return self._scene.backend.now(self._scene.backend.store.history(self._scene.run_id))

    def _runs(self) -> list[RunRow]:
        store = self._scene.backend.store
        found = store.runs(workflow=self._scene.workflow.name, status=None, before=None, limit=10)
        return self._scene.backend.now(found)

    def _wrong(self, what: str) -> None:
        self._scene.world.violations.append(what)
