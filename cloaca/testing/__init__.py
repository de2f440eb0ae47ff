"""Tests of whole workflows: the engine's own machine and workers in a simulated world, on virtual time.

Importing it loads nothing but this file, since pytest loads its plugin from here into every session.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cloaca.testing.deviations import (
        Deviation,
        Scenario,
        clock_jump,
        crash_after_commit,
        crash_before_commit,
        crash_in_body,
        exhaust,
        fail,
        leave,
        lose_lease,
        pause,
        send,
        store_error,
        time_out,
        zombie,
    )
    from cloaca.testing.instances import inputs, register
    from cloaca.testing.ledgers import Ledger
    from cloaca.testing.overrides import override
    from cloaca.testing.replays import replay
    from cloaca.testing.schedules import Cron, simulate_schedules
    from cloaca.testing.searches import Faults
    from cloaca.testing.secrets import given_secrets
    from cloaca.testing.simulations import BrokenPromise, simulate
    from cloaca.testing.stages import SimulatedFault
    from cloaca.testing.strategies import graphs, scenarios, signals
    from cloaca.testing.workflow_tests import workflow_test
    from cloaca.testing.worlds import World

_HOMES = {
    "deviations": (
        "Deviation",
        "Scenario",
        "clock_jump",
        "crash_after_commit",
        "crash_before_commit",
        "crash_in_body",
        "exhaust",
        "fail",
        "leave",
        "lose_lease",
        "pause",
        "send",
        "store_error",
        "time_out",
        "zombie",
    ),
    "instances": (
        "inputs",
        "register",
    ),
    "ledgers": ("Ledger",),
    "overrides": ("override",),
    "replays": ("replay",),
    "secrets": ("given_secrets",),
    "schedules": ("Cron", "simulate_schedules"),
    "searches": ("Faults",),
    "simulations": (
        "BrokenPromise",
        "simulate",
    ),
    "stages": ("SimulatedFault",),
    "strategies": ("graphs", "scenarios", "signals"),
    "workflow_tests": ("workflow_test",),
    "worlds": ("World",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "BrokenPromise",
    "Cron",
    "Deviation",
    "Faults",
    "Ledger",
    "Scenario",
    "SimulatedFault",
    "World",
    "clock_jump",
    "crash_after_commit",
    "crash_before_commit",
    "crash_in_body",
    "exhaust",
    "fail",
    "given_secrets",
    "graphs",
    "inputs",
    "leave",
    "lose_lease",
    "override",
    "pause",
    "register",
    "replay",
    "scenarios",
    "send",
    "signals",
    "simulate",
    "simulate_schedules",
    "store_error",
    "time_out",
    "workflow_test",
    "zombie",
]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
