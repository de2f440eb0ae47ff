"""Whether a stored run can go on with the code that is here: its rows, given to the contract's own judgement.

It reads rows and plans, and writes nothing. Workers ask it before they drive a run that other code has begun, and so do
``cloaca check --against`` and ``cloaca runs upgrade``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from cloaca.contract.compatibility import Committed, Done, Misfit, misfits
from cloaca.contract.plans import Plan
from cloaca.errors import IncompatibleRun
from cloaca.interpreter.histories import OutOfOrder, earlier_attempts, placed
from cloaca.interpreter.scopes import elements_in, fan_of, prefix_of
from cloaca.ports import History

MOST_MISFITS = 5  # that a reason lists


class Code(Protocol):
    """A workflow, as far as it says whether runs of other versions may go on with it."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def plan(self) -> Plan:
        """Its plan."""
        ...

    @property
    def version(self) -> str:
        """The hash of its structure and code."""
        ...

    @property
    def versioning(self) -> str:
        """``compatible`` or ``pinned``."""
        ...


@dataclass(frozen=True, slots=True)
class Verdict:
    """What keeps a run from going on with some code: nothing, or these misfits."""

    misfits: tuple[Misfit, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether the run can go on."""
        return not self.misfits

    @property
    def reason(self) -> str:
        """Why it can't, as text for people."""
        told = "; ".join(misfit.message for misfit in self.misfits[:MOST_MISFITS])
        more = len(self.misfits) - MOST_MISFITS
        return f"{told}; and {more} more" if more > 0 else told


FITS = Verdict()


def judge(code: Code, version: str, spec: Mapping[str, Any] | None, history: History) -> Verdict:
    """Return whether a run can go on with some code; ``version`` is the code's, ``spec`` the run's stored plan.

    Without ``spec``, whatever is stored is looked at as if all its types had changed. A run that is as the code has it
    is not looked at, and one that has ended is as it is.
    """
    row = history.run
    if code.versioning == "pinned" and row.version != version:
        text = f'workflow "{code.name}" is pinned: it goes on with version {row.version} alone, this code is {version}'
        return Verdict((Misfit("", "", text),))
    return FITS if row.plan == code.plan.digest else judge_rows(code.plan, spec, history)


def judge_rows(plan: Plan, spec: Mapping[str, Any] | None, history: History) -> Verdict:
    """Return whether what is stored about a run fits a plan, whatever its version is. ``spec`` is as for ``judge``."""
    found = misfits(spec or {"nodes": []}, committed_of(history), plan)
    return Verdict(found or tuple(_out_of_order(plan, history)))


def committed_of(history: History) -> Committed:
    """Return what is stored about a run, as far as it matters to other code."""
    signals: dict[str, list[str]] = {}
    for signal in history.signals:
        if signal.taken_by is None:
            signals.setdefault(signal.name, []).append(signal.payload)
    errors = {(failure.name, failure.attempt): failure.error for failure in history.failures}
    return Committed(
        input=history.run.input,
        done={row.name: Done(row.status, row.output, errors.get((row.name, row.attempt))) for row in history.tasks},
        signals=signals,
        children=frozenset(row.parent_task for row in history.children if row.parent_task is not None),
        closing=history.run.closing is not None,
    )


def parsed(spec: str | None) -> Mapping[str, Any] | None:
    """Return a stored plan as JSON values; None if there is none, or it can't be read."""
    try:
        found = json.loads(spec) if spec is not None else None
    except ValueError:
        return None
    return found if isinstance(found, dict) and isinstance(found.get("nodes"), list) else None


def _out_of_order(plan: Plan, history: History, prefix: str = "") -> Iterable[Misfit]:
    """Yield the tasks that have run, and would be skipped by what has become of others, inside of fan-outs too."""
    try:
        placed(plan, history)
    except OutOfOrder as error:
        yield Misfit(plan.nodes[plan.by_name[error.name]].task, "", str(error), prefix + error.name)
    except IncompatibleRun as error:
        yield Misfit("", "", str(error))
    done = {row.name for row in history.tasks}
    for fan, elements in elements_in(plan, history, earlier_attempts(history.run)).items():
        for index, rows in elements.items() if fan not in done else ():
            yield from _out_of_order(fan_of(plan, fan).plan, rows.history(history.run), prefix_of(prefix + fan, index))
