"""Planted bugs of the engine: each a small mistake in production code, for the kit to find."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Final

from cloaca.interpreter import histories
from cloaca.interpreter.drives import Drive
from cloaca.interpreter.group_commit import GroupCommit
from cloaca.interpreter.slots import Slots
from cloaca.interpreter.workers import Worker
from cloaca.machine import states
from cloaca.stores.memory import MemoryStore
from tests.machine.mutants import Mutant

# ruff: noqa: E501 - a line for each
PLANTED: Final = (
    Mutant("a dead session's commits count", MemoryStore._fence, "if session not in self.sessions:", "if False:"),
    Mutant("any session may write into any run", MemoryStore._owns, "return run in self._owned.get(session, ())", "return True"),
    Mutant("a dead worker's lease never ends", Worker._polled, "if not poll.expired or", "if True or"),
    Mutant("runs of the dead stay theirs", MemoryStore.reap, "sum(self._give_back(session, at, crash=1) for session in dead)", "len(dead)"),
    Mutant("runs of those who leave stay theirs", MemoryStore.close_session, "self._give_back(session, at)", "pass"),
    Mutant("a run can be claimed twice", MemoryStore._put, "self._waiting.discard(row.id)", "pass"),
    Mutant("attempts are forgotten at a crash", histories.restored, "for row in history.failures:", "for row in ():"),
    Mutant("outputs are forgotten at a crash", Drive.__init__, 'if row.status == "succeeded":', "if False:"),
    Mutant("retry delays are forgotten at a crash", histories._replay, "failure.at, failure.retry_at", "failure.at, 0.0"),
    Mutant("a retry is offered before its failure is durable", Drive.committed, "for event in events:\n        if isinstance(event, AttemptFailed):", "for event in ():\n        if isinstance(event, AttemptFailed):"),
    Mutant("what follows starts before it is durable", GroupCommit.then, "self._after.append(committed)", "committed()"),
    Mutant("a join is counted twice", states._settled, "state.open[succ] -= 1", "state.open[succ] -= 1 + (len(plan.nodes[succ].preds) > 2)"),
    Mutant("a skip is not propagated", states._settled, "if state.open[succ] == 0 and _resolve(plan.nodes[succ], state):", "if state.open[succ] == 0 and _resolve(plan.nodes[succ], state) and False:"),
    Mutant("the lease is not renewed", GroupCommit._address, "if batch.at >= self.renew_at:", "if False:"),
    Mutant("a doubt about claims is forgotten", GroupCommit._address, "self.held() if self.doubtful else None", "None"),
    Mutant("a lost claim is no doubt", Worker._claim, "commits.doubtful = True", "pass"),
    Mutant("a commit that failed is dropped", GroupCommit._commit, "await asyncio.sleep(pause)", "return None"),
    Mutant("one submission, two runs", MemoryStore._insert, "if run.key is not None and (older", "if False and (older"),
    Mutant("a wake-up is lost", Slots.offer, "self._schedule()", "pass"),
    Mutant("a run of another is driven on", Worker._session_lost, "drive.drop()", "pass"),
)  # fmt: skip


def planted(name: str) -> AbstractContextManager[None]:
    """Plant the bug of this name."""
    [found] = [mutant for mutant in PLANTED if mutant.name == name]
    return found.planted()
