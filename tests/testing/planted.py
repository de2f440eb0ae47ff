"""Planted bugs of the engine: each a small mistake in production code, for the kit to find.

A bug is sought on the workflow that has what it takes. Nobody tells the search where.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from random import Random
from typing import Any, Final, NamedTuple, cast

from pydantic import BaseModel

from cloaca import Queue, Workflow
from cloaca.interpreter import histories, transactions
from cloaca.interpreter.drives import Drive
from cloaca.interpreter.group_commit import GroupCommit
from cloaca.interpreter.histories import restoring
from cloaca.interpreter.queues import Queues
from cloaca.interpreter.slots import Slots
from cloaca.interpreter.waiting import Waits
from cloaca.interpreter.workers import Worker
from cloaca.machine import decisions, epilogues, states
from cloaca.runner.schedules import Schedules
from cloaca.schedules import decisions as schedule_decisions
from cloaca.stores.memory import MemoryStore
from cloaca.stores.memory_schedules import MemorySchedules
from cloaca.stores.memory_slots import MemorySlots
from cloaca.testing.bodies import staged
from cloaca.testing.deviations import SUBMIT, Deviation, Scenario, send
from cloaca.testing.efforts import EFFORT
from cloaca.testing.searches import Faults
from cloaca.testing.workflow_tests import Trial
from cloaca.testing.worlds import World
from tests.machine.mutants import Mutant
from tests.testing import firings
from tests.testing.bodies import Approval, Start, Veto, approved, books, queued, timed
from tests.testing.saga import Trip, balanced, saga
from tests.testing.shop import LEDGER, Order, shop

EDGES: Final = ((SUBMIT, 0.0), ("wait", 0.0), ("wait", 30.0), ("wait", 59.99), ("wait", 60.0), ("wait", 200_000.0))


class Case(NamedTuple):
    """A workflow on which bugs are sought: its inputs, its own property, the limits of its queues, what is sent."""

    workflow: Workflow[Any, Any, Any, Any]
    draw: Callable[[Random], object]
    check: Callable[[World], object]
    queues: tuple[Queue, ...] = ()
    signals: Callable[[Random], tuple[Deviation, ...]] = lambda chance: ()


def money(world: World) -> None:
    """The shop's own property."""
    assert LEDGER.count("card") <= 1, "charged twice"
    assert world.status != "succeeded" or LEDGER.balance() == 0, "money is missing"


def lines(world: World) -> None:
    """The books' own property: a line for each task that has succeeded."""
    rows = sorted(row["name"] for row in world.tables["kit_line"])
    assert rows == sorted(name for name in ("left", "right", "also") if world.commits(name)), f"the lines are {rows}"


def nothing(world: World) -> None:
    """What every execution must show is enough."""


def orders(chance: Random) -> Order:
    return Order(order_id=chance.randint(1, 9), amount=chance.randint(1, 100), gift=chance.random() < 0.5)


def starts(chance: Random) -> Start:
    return Start(n=chance.randint(0, 9))


def trips(chance: Random) -> Trip:
    return Trip(price=chance.randint(1, 9), solvent=chance.random() < 0.3)


def coming(chance: Random) -> tuple[Deviation, ...]:
    """Signals for ``approved``: enough approvals, and perhaps a veto, each at a time of its own."""
    approvals = [_sent(Approval(by=chance.randint(0, 9)), "wait_for:Approval", chance) for _ in range(2)]
    return (*approvals, *([_sent(Veto(reason=1), "wait_for:Veto", chance)] if chance.random() < 0.8 else []))


def _sent(signal: BaseModel, wait: str, chance: Random) -> Deviation:
    place, after = chance.choice(EDGES)
    return send(signal, wait if place == "wait" else place, after=after)


SHOP: Final = Case(shop, orders, money)
BOOKS: Final = Case(books, starts, lines)
QUEUED: Final = Case(queued, starts, nothing, (Queue("narrow", concurrency=1),))
PACED: Final = Case(queued, starts, nothing, (Queue("narrow", rate=(2, 60)),))
TIMED: Final = Case(timed, starts, nothing)
SAGA: Final = Case(saga, trips, balanced)
APPROVED: Final = Case(approved, starts, nothing, signals=coming)


class Weeks(NamedTuple):
    """A schedule, on which bugs of firings are sought."""

    search: Callable[[Random, int], tuple[int, str] | None] = firings.search


FIRED: Final = Weeks()


@dataclass(frozen=True)
class Bug:
    """A mistake, in one or several places, and the workflow on which it is sought."""

    name: str
    mutants: tuple[Mutant, ...]
    case: Case | Weeks = SHOP

    @contextmanager
    def planted(self) -> Iterator[None]:
        """Make the mistake, for the time of a ``with`` block."""
        with ExitStack() as stack:
            for mutant in self.mutants:
                stack.enter_context(mutant.planted())
            yield


def bug(name: str, *places: Any, case: Case | Weeks = SHOP) -> Bug:
    """Return a bug of places, three values each: a function, what is right in it, what is wrong."""
    triples = [places[start : start + 3] for start in range(0, len(places), 3)]
    return Bug(name, tuple(Mutant(name, *triple) for triple in triples), case)


# ruff: noqa: E501 - a line for each
_MOVE = textwrap.dedent(inspect.getsource(MemorySchedules._move))
_HOPELESS = cast("property", vars(Drive)["is_hopeless"]).fget

PLANTED: Final = (
    # Leases
    bug("fencing removed", MemoryStore._fence, "if session not in self.sessions:", "if False:"),
    bug("fencing removed, of runs as well", MemoryStore._fence, "if session not in self.sessions:", "if False:", MemoryStore._owns, "return run in self._owned.get(session, ())", "return True"),
    bug("a dead worker's lease never ends", Worker._polled, "if not poll.expired or", "if True or"),
    bug("runs of the dead stay theirs", MemoryStore.reap, "sum(self._give_back(session, at, crash=1) for session in dead)", "len(dead)"),
    bug("runs of those who leave stay theirs", MemoryStore.close_session, "self._give_back(session, at)", "pass"),
    bug("a run can be claimed twice", MemoryStore._put, "self._waiting.discard(row.id)", "pass"),
    bug("the lease is never renewed", Worker._asked, "renew_until = at + lease_s if at >= commits.renew_at else None", "renew_until = None", GroupCommit._address, "if batch.at >= self.renew_at:", "if False:"),
    bug("a lease lost is nobody's business", Worker._session_lost, "self.spawn(self._again(0.0 if isinstance(error, LeaseLost) else FIRST_PAUSE_S))", "pass"),
    bug("a run of another is driven on", Worker._session_lost, "for drive in list(self.drives.values()):\n        drive.drop()\n    self.drives.clear()", "pass"),
    bug("crashes are never taken back", Worker._session_lost, "self._lapsed.extend(self.drives)", "pass", _HOPELESS, "FATAL_CRASHES", "1"),
    # Compensations
    bug("compensations run in the order of completion", epilogues.due, "reversed(completion_order(plan, state.completed))", "completion_order(plan, state.completed)", case=SAGA),
    bug("a compensation runs twice", restoring.placed, "for node in (*map(plan.nodes.__getitem__, order), *plan.nodes[plan.length :]):", "for node in ():", case=SAGA),
    bug("what was completed is forgotten at a crash", restoring._replay, "TaskSucceeded(node.index, done.attempt, done.finished_at, verdict, reused)", "TaskSucceeded(node.index, done.attempt, done.finished_at, verdict, True)", case=SAGA),
    # Recovery
    bug("attempts are forgotten at a crash", restoring.placed, "for row in history.failures:", "for row in ():"),
    bug("outputs are forgotten at a crash", histories.outputs_of, 'if row.status == "succeeded" else None', "if False else None"),
    bug("retry delays are forgotten at a crash", restoring._replay, "failure.at, failure.retry_at", "failure.at, 0.0"),
    bug("what is done is done again at a crash", restoring.placed, "_replay(belated.plan, state, node, done.get(node.name)", "_replay(belated.plan, state, node, None if len(done) == 2 else done.get(node.name)"),
    # Durable first
    bug("a retry is offered before its failure is durable", Drive.committed, "for event in events:\n        if isinstance(event, AttemptFailed):", "for event in ():\n        if isinstance(event, AttemptFailed):"),
    bug("what follows starts before it is durable", GroupCommit.then, "self._after.append(committed)", "committed()"),
    bug("a commit that failed is dropped", GroupCommit._commit, "await asyncio.sleep(pause)", "return None"),
    bug("an answer that was lost is no replay", GroupCommit._failed, "batch.replay = True", "pass"),
    bug("a doubt about claims is forgotten", GroupCommit._address, "self.held() if self.doubtful else None", "None"),
    bug("a lost claim is no doubt", Worker._claim_by, "commits.doubtful = True", "pass"),
    bug("one submission, two runs", MemoryStore._insert, "if run.key is not None and (older", "if False and (older"),
    # Signals
    bug("a signal that came before the wait is lost", Waits.begun, "self.take_signals()", "pass", case=APPROVED),
    bug("a signal that came before the crash is lost", Waits.__init__, "if signal.taken_by is None]", "if False]", case=APPROVED),
    bug("nobody is told of a signal", MemoryStore.send, "self._rouse(run)", "pass", case=APPROVED),
    bug("a signal is taken twice", Waits.end, "self.signals.remove(signal)", "pass", case=APPROVED),
    bug("a signal is taken again after a crash", Waits.__init__, "if signal.taken_by is None]", "]", case=APPROVED),
    bug("that a signal was taken is not written down", Waits.end, "batch.taken.append((drive.id, signal.id, name))", "pass", case=APPROVED),
    bug("the wrong wait takes a signal", Waits.take_signals, "if signal.name == channels[node]", "if True", case=APPROVED),
    bug("a wait times out though a signal is there", Waits.settle, "self.take_signals()", "pass", case=APPROVED),
    bug("a wait begins anew at a crash", restoring._still_waits, "return fits and", "return False and", case=APPROVED),
    # Firings
    bug("a firing is skipped", schedule_decisions.step, "following = window.after(fired[-1] if fired else newest)", "following = window.after(window.after(newest) or newest)", case=FIRED),
    bug("a firing is doubled by a second worker", MemorySchedules._move, _MOVE, _MOVE.replace(" or row.revision != move.revision", "").replace(" not in self.ledger]", "]"), case=FIRED),
    bug("a firing is forgotten when its worker dies", MemorySchedules._waits, "return any(", "return False and any(", case=FIRED),
    bug("a firing is recovered twice", MemorySchedules._hand_over, 'self._put_firing(firing._replace(state="handed_over", run=made, owner=None, handed_at=at))', "pass", MemoryStore._insert, "if run.key is not None and (older", "if False and (older", case=FIRED),
    bug("a schedule is moved on, but its firing is not claimed", MemorySchedules._move, "for schedule, instant in new:", "for schedule, instant in new[1:]:", case=FIRED),
    bug("two are caught up instead of the latest", schedule_decisions._wanted, "return 1", "return 2", case=FIRED),
    bug("the oldest are caught up, not the newest", schedule_decisions.step, "_backward(window, next_at, newest,", "_forward(window, next_at, newest,", case=FIRED),
    bug("what was missed fires though nothing is to be caught up", schedule_decisions._wanted, "return int(now", "return 1 or int(now", case=FIRED),
    bug("a paused schedule fires", Schedules.pause, "row._replace(paused=True, next_at=None, due_at=None)", "row._replace(paused=True)", case=FIRED),
    bug("a schedule that is resumed catches up", Schedules._begun, "max(now, row.last_at or now)", "row.last_at or now", case=FIRED),
    # The machine
    bug("a join is counted twice", states._settled, "state.open[succ] -= 1", "state.open[succ] -= 1 + (len(plan.nodes[succ].preds) > 2)"),
    bug("a join does not wait", states._settled, "state.open[succ] == 0 and", "True and"),
    bug("a skip is not propagated", states._settled, "if state.open[succ] == 0 and _resolve(plan, plan.nodes[succ], state):", "if state.open[succ] == 0 and _resolve(plan, plan.nodes[succ], state) and False:"),
    bug("one attempt too many", decisions._failure, "tried < ", "tried <= "),
    bug("a failed run succeeds", decisions.conclusion, "if state.failed", "if len(state.failed) > 1"),
    bug("the delay is not awaited", Worker.offer_at, "max(0.0, due - self.now())", "0.0", Worker._due, "if self.now() < due:", "if False:", decisions._beginning, " and state.retry_at[command.node] <= command.at", ""),
    bug("a retry delay ignores its policy", decisions._failure, "delay_s(tried,", "delay_s(tried + 1,"),
    # Attempts
    bug("a wake-up is lost", Slots.offer, "self._schedule()", "pass"),
    bug("a slot is never given back", Queues._give_back, "if not self._commits.closed:", "if False:", case=QUEUED),
    bug("a queue gives out a slot too many", MemorySlots._serve, "limits.concurrency - taken", "limits.concurrency + 1 - taken", case=QUEUED),
    bug("a queue counts those alone that wait", MemorySlots._serve, "taken = sum(row.queue == queue for row in self.held.values())", "taken = 0", case=QUEUED),
    bug("a rate is exceeded", MemorySlots._serve, "limits.starts - len(counted))", "limits.starts - len(counted) // 2)", case=PACED),
    bug("a rate forgets its window", MemorySlots._serve, "if start > at - limits.window_s)", "if start > at - 1)", case=PACED),
    bug("a retry starts beside a body that still runs", Drive.held_up, "if body is None or body.done():", "if True:", case=TIMED),
    bug("a body goes on after its lease is lost", Drive.stop_attempts, "running.serving.cancel()", "pass"),
    bug("a worker that leaves takes its attempts along", Worker._see_out, "while running := self._attempts():", "while False:", Worker._release, "self._leave_session()", "asyncio.sleep(0)"),
    bug("a transaction that failed is not tried again", transactions.in_transaction, "case _Try.AGAIN:", "case _Try.NO_MORE:", case=BOOKS),
    bug("a transaction's end is told before it is durable", transactions._tried, "receipt = await transaction.commit(done.batch)", "drive.completed(done, report); receipt = await transaction.commit(done.batch)", case=BOOKS),
)  # fmt: skip


def planted(name: str) -> AbstractContextManager[None]:
    """Plant the bug of this name."""
    [found] = [each for each in PLANTED if each.name == name]
    return found.planted()


def detection(bug: Bug, seed: int, most: int = 3000) -> tuple[int, str] | None:
    """Return after how many executions a bug is found, and by what; None if ``most`` are not enough."""
    case = bug.case
    if isinstance(case, Weeks):
        with bug.planted():
            return case.search(Random(seed), most)
    trial = Trial(staged(case.workflow, {}), Faults(), LEDGER.clear, (), case.queues, 20, True, (1, 3))
    chance = Random(seed)
    before = EFFORT.executions
    with bug.planted():
        while EFFORT.executions - before < most:
            trial.undisturbed.clear()
            try:
                input, signals = case.draw(chance), case.signals(chance)
                undisturbed = trial.execute(input, Scenario(*signals), case.check)
                for scenario in trial.scenarios_of(undisturbed, chance):
                    trial.execute(input, scenario.and_(signals), case.check)
            except Exception as error:  # noqa: BLE001 - whatever a bug breaks counts
                return EFFORT.executions - before, str(error).splitlines()[0]
    return None
