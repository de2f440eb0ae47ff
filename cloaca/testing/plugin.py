"""The pytest plugin: options that say how much to try, and how much was tried in the end.

pytest loads it into every session in which cloaca is installed, so it loads nothing else by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from cloaca.testing.ledgers import Ledger
    from cloaca.testing.simulations import Simulator

from cloaca.testing.efforts import DRIVERS, EFFORT, Effort, vars_of

COUNT = "cloaca_executions"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("cloaca", "cloaca: property-based tests of workflows")
    group.addoption("--cloaca-examples", type=_count, metavar="N", help="inputs for each workflow_test (default: 50)")
    group.addoption(
        "--cloaca-scenarios",
        type=_count,
        metavar="N",
        help="scenarios of several deviations for each input (default: 5)",
    )
    group.addoption(
        "--cloaca-sweep", type=int, choices=(0, 1), metavar="0|1", help="try every single deviation once (default: 1)"
    )
    group.addoption("--cloaca-seed", type=int, metavar="N", help="decide all that is left to chance")
    group.addoption("--cloaca-replay", metavar="TEXT", help="run only what a failing test printed as its replay")
    group.addoption(
        "--cloaca-driver",
        choices=DRIVERS,
        help="what the workers run on: the store in memory (step, the default, and loop), or a real database",
    )


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError("at least 0")
    return number


def pytest_configure(config: pytest.Config) -> None:
    """Hand the options to the tests of this session."""
    for name in ("examples", "scenarios", "seed", "replay", "driver"):
        given = config.getoption(f"--cloaca-{name}", None)
        if given is not None:
            setattr(EFFORT, name, given)
    if (sweep := config.getoption("--cloaca-sweep", None)) is not None:
        EFFORT.sweep = bool(sweep)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave no option behind: another session may run in this process."""
    for name, value in vars_of(Effort()).items():
        setattr(EFFORT, name, value)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of pytest-xdist hands over its count."""
    output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output[COUNT] = EFFORT.executions


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Add up the counts of the workers."""
    EFFORT.executions += getattr(node, "workeroutput", {}).get(COUNT, 0)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many executions there were."""
    if EFFORT.executions:
        terminalreporter.write_line(f"cloaca: {EFFORT.executions:,} simulated executions")


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    """A ledger of this test's own."""
    from cloaca.testing.ledgers import Ledger  # noqa: PLC0415 - pytest loads this file into every session

    made = Ledger()
    yield made
    made.clear()


@pytest.fixture
def simulation(request: pytest.FixtureRequest) -> Iterator[Simulator]:
    """``simulate``; if the test fails, the report has the trace of the last execution."""
    from cloaca.testing.simulations import Simulator  # noqa: PLC0415 - the same

    made = Simulator()
    yield made
    if made.worlds:
        request.node.add_report_section("teardown", "cloaca", made.worlds[-1].trace)
