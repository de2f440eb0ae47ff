"""The engine's own property: in any world, on any graph, a run ends as an evaluator says that knows no engine.

CLOACA_EXAMPLES=500 tries more of them.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from returns.result import Success

from cloaca import Workflow
from cloaca.testing import Faults, Scenario, graphs, scenarios
from cloaca.testing.backends import backend_for
from cloaca.testing.bodies import staged
from cloaca.testing.rules import differs
from cloaca.testing.simulations import BrokenPromise, Simulation, simulate
from cloaca.testing.strategies import Start
from tests.interpreter.programs import Input, Program, blocks, workflow_of
from tests.interpreter.programs import graphs as programs
from tests.interpreter.reference import Reference
from tests.stores.servers import server
from tests.testing.shop import shop

EXAMPLES = int(os.environ.get("CLOACA_EXAMPLES", "60"))
QUIET = settings(
    max_examples=EXAMPLES,
    derandomize=EXAMPLES <= 60,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
ENGINE = Faults(failures=False)  # what bodies do, the programs say


def check(program: Program, scenario: Scenario, driver: str = "step") -> None:
    """Run a program in a world, and compare what it comes to with what the specification says."""
    workflow = staged(workflow_of(program, "program"), {})
    input = Input(seed=program.seed, trace=("input",))
    world = Simulation(workflow, input, scenario, backend=backend_for(driver)).run()
    if world.violations:
        raise BrokenPromise(world)
    expected = Reference(program)
    assert dict(world.statuses) == expected.statuses(), world.trace
    assert dict(world.context) == expected.context(), world.trace
    failures = Counter((each.task, each.attempt, each.exception_type) for each in world.failures)
    assert failures == Counter(expected.failures), world.trace
    assert isinstance(world.outcome, Success) is not expected.has_failed


@QUIET
@given(st.data(), programs() | blocks())
def test_a_disturbed_run_ends_as_the_specification_says(data: Any, program: Program) -> None:
    check(program, data.draw(scenarios(workflow_of(program, "program"), ENGINE)))


@settings(QUIET, max_examples=6)
@given(st.data(), programs())
def test_and_on_sqlite(data: Any, program: Program) -> None:
    check(program, data.draw(scenarios(workflow_of(program, "program"), ENGINE, workers=(1, 2))), "sqlite")


def test_and_on_postgres(monkeypatch: pytest.MonkeyPatch) -> None:
    leaving = Faults(failures=False, crashes=False, stalls=False)  # leases end by the server's clock

    @settings(QUIET, max_examples=4)
    @given(st.data(), programs())
    def disturbed(data: Any, program: Program) -> None:
        check(program, data.draw(scenarios(workflow_of(program, "program"), leaving, workers=(1, 2))), "postgres")

    with server() as url:
        monkeypatch.setenv("CLOACA_TEST_POSTGRES", url)
        disturbed()


@QUIET
@given(st.data(), graphs())
def test_graphs_that_the_kit_draws_run_undisturbed_or_not(data: Any, graph: Any) -> None:
    workflow = Workflow("drawn", graph)
    scenario = data.draw(scenarios(workflow))
    world = simulate(workflow, Start(start=1), scenario)
    assert differs(world, simulate(workflow, Start(start=1), scenario.undisturbed)) is None, world.trace


def test_graphs_are_of_many_shapes() -> None:
    shapes: set[Any] = set()
    asynchronous: set[bool] = set()
    retried: set[int] = set()

    @settings(QUIET, max_examples=100)
    @given(graphs(max_tasks=4))
    def look(graph: Any) -> None:
        plan = Workflow("drawn", graph).plan
        tasks = [node for node in plan.nodes if node.body is not None]
        assert 1 <= len(tasks) <= 4
        shapes.add(tuple(node.preds for node in plan.nodes))
        asynchronous.update(node.body.signature.is_async for node in tasks if node.body)
        retried.update(node.retry.attempts for node in tasks)

    look()
    assert len(shapes) > 10
    assert (asynchronous, retried) == ({True, False}, {1, 3})


def test_scenarios_are_of_every_kind() -> None:
    kinds: set[str] = set()
    workers: set[int] = set()
    seeded: set[bool] = set()

    @settings(QUIET, max_examples=300)
    @given(scenarios(shop))
    def look(scenario: Scenario) -> None:
        kinds.update(each.kind for each in scenario.deviations)
        workers.add(scenario.workers)
        seeded.add(scenario.seed is None)
        assert len(scenario.deviations) <= 3

    look()
    assert workers == {1, 2, 3}
    assert seeded == {True, False}
    assert kinds >= {
        "fail",
        "exhaust",
        "time_out",
        "crash_before_commit",
        "zombie",
        "lose_lease",
        "leave",
        "clock_jump",
    }


def test_the_simplest_scenario_is_none() -> None:
    from hypothesis import find  # noqa: PLC0415

    assert find(scenarios(shop), lambda _: True) == Scenario()
    assert find(scenarios(shop, Faults.none), lambda _: True) == Scenario()
