"""``python -m tests.testing.speed``: what the kit costs, in seconds of CPU; the least of three tries."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, create_model

from cloaca import Workflow, sleep, task
from cloaca.algebra.graphs import Graph
from cloaca.testing import Cron, Ledger, World, simulate, simulate_schedules, workflow_test
from cloaca.testing.efforts import EFFORT
from tests.schedules.shop import REPORT, reports

TRIES = 3
MONTH_S = 30 * 86_400
LEDGER = Ledger()


class Start(BaseModel):
    n: int


def step(number: int, *reads: str) -> Graph[Any, Any, Any]:
    """Return a task that reads some fields, posts, and writes one of its own."""
    fields: dict[str, Any] = dict.fromkeys(reads, (int, ...))
    own: dict[str, Any] = {f"f{number}": (int, ...)}
    read, written = create_model(f"Read{number}", **fields), create_model(f"Written{number}", **own)

    def body(given: Any) -> Any:
        LEDGER.post("steps", 1)
        return written(**{f"f{number}": sum(dict(given).values()) % 1000})

    body.__name__ = body.__qualname__ = f"t{number}"
    body.__annotations__ = {"given": read, "return": written}
    plain: Any = body  # its annotations are set here, which no checker sees
    made: Graph[Any, Any, Any] = task(plain)
    return made


FIELDS = [("n",), ("f0",), ("f0",), ("f1",), ("f2",), ("f3", "f4"), ("f5",), ("f5",), ("f6", "f7"), ("f8",)]
T = [step(number, *reads) for number, reads in enumerate(FIELDS)]
ten = Workflow("ten", T[0] >> [T[1] >> T[3], T[2] >> T[4]] >> T[5] >> [T[6], T[7]] >> T[8] >> T[9], input=Start)
nap = Workflow("nap", T[0] >> sleep(MONTH_S) >> T[1], input=Start)


def one() -> None:
    """Run ten tasks a hundred times."""
    for number in range(100):
        LEDGER.clear()
        simulate(ten, Start(n=number))


def many() -> None:
    """Try 200 inputs."""

    @workflow_test(ten, reset=LEDGER.clear, examples=200)
    def test(world: World) -> None:
        assert world.status in ("succeeded", "failed")

    test()


def failing() -> None:
    """Find what breaks a property, and make it small."""

    @workflow_test(ten, reset=LEDGER.clear, sweep=False)
    def test(world: World) -> None:
        assert LEDGER.count("steps") <= len(FIELDS)

    try:
        test()
    except AssertionError:
        return
    raise RuntimeError("nothing was found")


def month() -> None:
    """Sleep for thirty days."""
    simulate(nap, Start(n=1))


def year() -> None:
    """Fire daily for a year."""
    world = simulate_schedules(
        [Cron(reports, "0 9 * * *", timezone="Europe/Berlin", input=REPORT)],
        start=datetime(2030, 1, 1, tzinfo=UTC),
        until=datetime(2031, 1, 1, tzinfo=UTC),
    )
    assert len(world.firings("reports")) == 365


MEASURED: list[tuple[str, Callable[[], None], float, float]] = [
    ("an execution of ten tasks, nothing goes wrong", one, 1 / 100, 0.025),
    ("200 examples of a workflow of ten tasks", many, 1, 5.0),
    ("a failing property of ten tasks, to the smallest", failing, 1, 1.0),
    ("thirty days of sleep", month, 1, 0.01),
    ("a year of a daily schedule", year, 1, 0.3),
]


def main() -> int:
    """Print the numbers. Return 1 if one is over its target."""
    EFFORT.seed, late = 1, False
    print(f"{'what':50} {'seconds':>9} {'target':>7} {'executions':>10}")
    for name, work, share, target in MEASURED:
        found, executions = [], EFFORT.executions
        for _ in range(TRIES):
            began = time.process_time()
            work()
            found.append((time.process_time() - began) * share)
        print(f"{name:50} {min(found):9.4f} {target:7.3f} {(EFFORT.executions - executions) // TRIES:10}", flush=True)
        late = late or min(found) > target
    return int(late)


if __name__ == "__main__":
    sys.exit(main())
