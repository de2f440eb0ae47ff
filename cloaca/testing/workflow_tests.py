"""``workflow_test``: a property of a workflow, for every input and in every scenario that the search finds.

Hypothesis draws and shrinks the input, ``searches`` the scenario. A scenario that fails is made smaller at once, and
tried first with every smaller input.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from random import Random
from typing import Any, TypeVar

import hypothesis
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st

from cloaca.algebra.queues import Queue
from cloaca.algebra.tasks import Task
from cloaca.codecs import JsonCodec
from cloaca.contract.workflows import Workflow
from cloaca.testing import replays, searches
from cloaca.testing.backends import backend_for
from cloaca.testing.bodies import staged
from cloaca.testing.deviations import Deviation, Scenario
from cloaca.testing.efforts import DATABASES, EFFORT
from cloaca.testing.instances import inputs
from cloaca.testing.observing import Invariant
from cloaca.testing.rules import differs
from cloaca.testing.searches import Faults
from cloaca.testing.simulations import AnyWorkflow, BrokenPromise, Simulation
from cloaca.testing.strategies import signals as signals_of
from cloaca.testing.worlds import World

T = TypeVar("T")
FEW = 5  # inputs, and scenarios for each, on a real database
Check = Callable[[World], object]
Fakes = Mapping[Any, Callable[..., Any]]
Drawn = tuple[st.SearchStrategy[Any] | None, st.SearchStrategy[tuple[Deviation, ...]] | None]  # inputs, signals


def workflow_test(
    workflow: AnyWorkflow,
    *,
    input: st.SearchStrategy[Any] | None = None,
    signals: st.SearchStrategy[tuple[Deviation, ...]] | None = None,
    faults: Faults | None = None,
    fakes: Fakes | None = None,
    reset: Callable[[], object] | None = None,
    invariants: Sequence[Invariant] = (),
    queues: Sequence[Queue] = (),
    examples: int | None = None,
    scenarios: int | None = None,
    sweep: bool | None = None,
    workers: tuple[int, int] = (1, 3),
) -> Callable[[Callable[..., T]], Callable[..., None]]:
    """Test a property of a workflow; the decorated function gets every finished ``World``.

    Without a line in it, each execution is checked: the run ends, none is lost, each output is committed once, never by
    a stale lease, no task before its predecessors, and the outcome is that of an execution that nothing disturbed.

    Args:
        workflow: as it is.
        input: where inputs come from; by default ``inputs(workflow)``, every valid one.
        signals: what is sent to the run, and when, each by ``send``; by default ``signals(workflow)``, one or two for
            each ``wait_for``.
        faults: what may go wrong; by default everything.
        fakes: by task, or by name, a plain function in its place.
        reset: called before each execution: what bodies have changed is as before.
        invariants: called with the world so far after every commit.
        queues: the limits of its tasks' queues, which have none otherwise.
        examples: inputs to try, where not as many as ``--cloaca-examples`` says.
        scenarios: scenarios of several deviations for each input, where not as many as ``--cloaca-scenarios`` says.
        sweep: whether every single deviation is tried once, where not as ``--cloaca-sweep`` says.
        workers: the fewest and the most workers that share the store.

    >>> from cloaca import task
    >>> @task
    ... def pay() -> None: ...
    >>> @workflow_test(Workflow("bills", pay), examples=1, scenarios=2, faults=Faults(failures=False))
    ... def test_it_succeeds(world: World) -> None:
    ...     assert world.status == "succeeded"
    >>> test_it_succeeds()
    """
    if not isinstance(workflow, Workflow):
        raise TypeError(f"workflow_test({workflow!r:.80}): give the workflow, as in @workflow_test(orders)")
    if not 1 <= workers[0] <= workers[1]:
        raise ValueError(f"workflow_test(workers={workers!r}): the fewest and the most, as in (1, 3)")
    if input is not None and not isinstance(input, st.SearchStrategy):
        raise TypeError(f"workflow_test(input={input!r:.80}): give a Hypothesis strategy, as in st.just(...)")
    if signals is not None and not isinstance(signals, st.SearchStrategy):
        raise TypeError(f"workflow_test(signals={signals!r:.80}): give a Hypothesis strategy of tuples of send(...)")
    if faults is not None and not isinstance(faults, Faults):
        raise TypeError(f"workflow_test(faults={faults!r:.80}): give Faults(...) or Faults.none")
    for name, count in (("examples", examples), ("scenarios", scenarios)):
        if count is not None and (type(count) is not int or count < (name == "examples")):
            raise ValueError(f"workflow_test({name}={count!r}): a whole number")

    def decorate(check: Callable[..., T]) -> Callable[..., None]:
        ready = staged(workflow, fakes or {})
        trial = Trial(ready, faults or Faults(), reset, invariants, queues, scenarios, sweep, workers)
        return _decorated(check, trial, (input, signals), examples)

    return decorate


@dataclass(slots=True)
class Trial:
    """What a test tries. ``corpus`` are scenarios that have failed; ``swept``: every single deviation was tried."""

    workflow: AnyWorkflow
    faults: Faults
    reset: Callable[[], object] | None
    invariants: Sequence[Invariant]
    queues: Sequence[Queue]
    scenarios: int | None
    sweep: bool | None
    workers: tuple[int, int]
    corpus: list[Scenario] = field(default_factory=list)
    swept: bool = False
    undisturbed: dict[Scenario, World] = field(default_factory=dict)  # of the input that is being tried

    def run(self, input: Any, signals: tuple[Deviation, ...], chance: Random, check: Check) -> None:
        """Try an input and what is sent to its run, in scenarios until one fails."""
        self.undisturbed.clear()

        def fails(scenario: Scenario) -> bool:
            return self._fails(input, scenario.and_(signals), check)

        if self.corpus:  # Hypothesis looks for a smaller input
            for scenario in self.corpus:
                self.execute(input, scenario.and_(signals), check)
            return
        undisturbed = self.execute(input, Scenario(*signals), check)
        for scenario in self.scenarios_of(undisturbed, chance):
            if fails(scenario):
                self.corpus.append(searches.smallest(scenario, fails))
                self.execute(input, self.corpus[-1].and_(signals), check)

    def scenarios_of(self, undisturbed: World, chance: Random) -> Iterator[Scenario]:
        """Yield the scenarios to try, given an execution that nothing disturbed: first every single deviation."""
        if self.faults == Faults.none:
            return
        timeouts = frozenset(_with_timeouts(self.workflow))
        sweep = EFFORT.sweep if self.sweep is None else self.sweep
        count = EFFORT.scenarios if self.scenarios is None else self.scenarios
        faults = self.faults
        if EFFORT.driver in DATABASES:  # which take their time: they are covered, not searched
            sweep, count = False, min(count, FEW)
        if EFFORT.driver == "postgres":  # leases end by the server's clock, which is not virtual
            faults = replace(faults, crashes=False, stalls=False)
        singles: Iterator[Scenario] = iter(())
        if sweep and not self.swept:
            self.swept = True
            singles = searches.sweep(faults, undisturbed, timeouts)
        several = searches.several(faults, undisturbed, timeouts, chance, self.workers)
        yield from chain(singles, islice(several, count))

    def _fails(self, input: Any, scenario: Scenario, check: Check) -> bool:
        try:
            self.execute(input, scenario, check)
        except hypothesis.errors.UnsatisfiedAssumption:
            raise
        except Exception:  # noqa: BLE001 - whatever a user's check raises
            return True
        return False

    def execute(self, input: Any, scenario: Scenario, check: Check) -> World:
        """Run once, and compare with the execution in which nothing disturbs the engine."""
        bodies = scenario.undisturbed
        if bodies == scenario:
            self.undisturbed[bodies] = self._checked(input, scenario, check, None)
            return self.undisturbed[bodies]
        if bodies not in self.undisturbed:
            simulation = self._simulation(input, bodies)
            self.undisturbed[bodies] = self._ran(simulation)
            simulation.performance.forget_effects()
        return self._checked(input, scenario, check, self.undisturbed[bodies])

    def _checked(self, input: Any, scenario: Scenario, check: Check, undisturbed: World | None) -> World:
        simulation = self._simulation(input, scenario)
        try:
            world = self._ran(simulation)
            if world.violations:
                raise BrokenPromise(world)
            if undisturbed is not None and (difference := differs(world, undisturbed)):
                raise BrokenPromise(world, f"same-outcome: {difference}")
            check(world)
        except Exception as error:
            if not isinstance(error, BrokenPromise):
                error.add_note(report(simulation.world))
            error.add_note(f'  replay      @replay("{replays.blob_of(simulation.payload, scenario)}")')
            raise
        finally:
            simulation.performance.forget_effects()
        return world

    def _simulation(self, input: Any, scenario: Scenario) -> Simulation:
        backend = backend_for(EFFORT.driver)
        return Simulation(
            self.workflow, input, scenario, invariants=self.invariants, queues=self.queues, backend=backend
        )

    def _ran(self, simulation: Simulation) -> World:
        if self.reset is not None:
            self.reset()
        EFFORT.executions += 1
        return simulation.run()

    def replayed(self, blob: str, check: Check) -> None:
        """Run what a failing test has printed."""
        self.undisturbed.clear()
        payload, scenario = replays.read_blob(blob)
        model = self.workflow.input
        input = None if model is None or payload is None else JsonCodec().decode(model, payload)
        self.execute(input, scenario, check)


def report(world: World) -> str:
    """Return the input, the scenario and the trace, for a person."""
    scenario = "\n              ".join(str(world.scenario).splitlines())
    return f"\n  input       {world.input!r}\n  scenario    {scenario}\n\n{world.trace}\n"


def _with_timeouts(workflow: AnyWorkflow) -> Iterator[str]:
    for node in workflow.plan.nodes:
        if isinstance(node.body, Task) and node.body.options.timeout_s is not None:
            yield node.task


def _decorated(check: Callable[..., Any], trial: Trial, drawn: Drawn, examples: int | None) -> Callable[..., None]:
    parameters = list(inspect.signature(check).parameters.values())
    if not parameters:
        raise TypeError(f"workflow_test: {check.__name__} takes the finished World, as in def test_orders(w: World)")
    name, *fixtures = parameters

    @functools.wraps(check)
    def test(**given: Any) -> None:
        looked = functools.partial(_called, check, name.name, given)
        trial.corpus.clear()
        trial.swept = False
        if EFFORT.replay is not None:
            trial.replayed(EFFORT.replay, looked)
            return
        for blob in [*getattr(check, replays.ATTRIBUTE, ()), *getattr(test, replays.ATTRIBUTE, ())]:
            trial.replayed(blob, looked)
        _explored(trial, looked, drawn, examples)

    vars(test).pop("__wrapped__", None)  # pytest would take the world for a fixture
    test.__signature__ = inspect.Signature(fixtures)  # type: ignore[attr-defined]
    return test


def _called(check: Callable[..., Any], name: str, given: Mapping[str, Any], world: World) -> None:
    check(**{name: world, **given})


def _explored(trial: Trial, check: Check, drawn: Drawn, examples: int | None) -> None:
    """Let Hypothesis draw inputs and signals, and a number from which all other chance follows."""

    def explore(drawn: Any, signals: tuple[Deviation, ...], number: int) -> None:
        trial.run(drawn, tuple(signals), Random(number), check)

    input, signals = drawn
    strategy = input if input is not None else inputs(trial.workflow)
    coming = signals if signals is not None else signals_of(trial.workflow)
    explore.__name__ = explore.__qualname__ = trial.workflow.name
    wanted = examples or EFFORT.examples
    settings = hypothesis.settings(
        max_examples=min(wanted, FEW) if EFFORT.driver in DATABASES else wanted,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    test = settings(hypothesis.given(strategy, coming, st.integers(0, 2**32 - 1))(explore))
    if EFFORT.seed is not None:
        test = hypothesis.seed(EFFORT.seed)(test)
    test()
