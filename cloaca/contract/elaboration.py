"""From a graph to steps: sites are built, put in order, and become what the checker reads.

It decides nothing about the contract, which the checker does with its output, and nothing about execution, which the
plan does. Nodes and models are opaque: see ``front_ends``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

from cloaca.algebra.structures import Structure, cyclic, find_cycle, topological, two_tasks_one_name
from cloaca.contract.building import Builder
from cloaca.contract.epilogues import Callback
from cloaca.contract.fanouts import Given, Place, Resolved, resolved, visible
from cloaca.contract.front_ends import FrontEnd, Model
from cloaca.contract.scopes import Scope, last_of
from cloaca.contract.sites import Elaboration, Fan, Kind, Site
from cloaca.contract.steps import Step
from cloaca.errors import ContractError, Violation

END = "end:"
# What decides comes as soon as it can; the epilogue comes behind all tasks, and changes the place of none.
_RANKS: Final[Mapping[Kind, int]] = {"gate": 0, "branch": 0, "entry": 0, "undo": 2, "callback": 3, "end": 4}


def elaborate(
    structure: Structure[Any],
    output: Model | None,
    name: str,
    front_end: FrontEnd,
    given: Callable[[], Given] = dict,
    *,
    callbacks: Sequence[Callback] = (),
) -> Elaboration:
    """Return the steps of a graph, its epilogue behind them; with ``output``, a last step that reads that model.

    ``name`` is the workflow's; ``""`` for a graph whose rows are declared. ``given`` returns the row that comes into
    the graph; it is asked once the signatures are known to be right.

    Raises:
        ContractError: the signatures of tasks, predicates or rows break ``task-model``; all of them at once.
    """
    builder = Builder(front_end)
    scope = Scope(structure)
    builder.add_all(scope)
    for callback in callbacks:
        builder.add_callback(callback, scope, last_of(structure))
    if output is not None:
        last = last_of(structure)
        builder.add(Site(END, "end", name, "", preds=scope.with_handlers(last), awaited=last, row=output))
    if builder.violations:
        raise ContractError(builder.violations)
    return _finished(builder, given())


def _finished(builder: Builder, given: Given) -> Elaboration:
    known = builder.sites
    order = topological(known, _edges(known), lambda id: _rank(known[id]))
    if len(order) < len(known):
        # The builder's cycle, or a condition over nodes with others between them, which wait for it in turn.
        cycle = find_cycle(known, list(_edges(known)))
        raise ContractError([cyclic(list(dict.fromkeys(known[id].task for id in cycle)))])
    sites = tuple(known[id] for id in order)
    index = {site.id: position for position, site in enumerate(sites)}
    steps: list[Step] = []
    for site in sites:  # in order: what a fan-out goes over is written before it
        if site.fan is not None:
            preds = [index[pred] for pred in site.preds]
            site.fan.resolved = _resolved(builder, site, site.fan, visible(steps, preds, site.scope, given))
        steps.append(builder.accesses.step(site, index))
    fans = (site.fan.resolved for site in sites if site.fan is not None and site.fan.resolved is not None)
    inside = (*_odd_names(known), *(violation for fan in fans for violation in fan.violations))
    return Elaboration(sites, tuple(steps), index, builder.accesses.key_names, inside)


def _edges(sites: Mapping[str, Site]) -> Iterator[tuple[str, str]]:
    return ((pred, site.id) for site in sites.values() for pred in site.preds)


def _rank(site: Site) -> tuple[int, tuple[str, ...]]:
    return _RANKS.get(site.kind, 1), site.place


def _resolved(builder: Builder, site: Site, fan: Fan, around: Given) -> Resolved:
    place = Place(site.task, site.scope, around, fan.fanned, fan.last, partial(_finished, fan.inside))
    found = resolved(place, builder.front_end)
    for key in (*(read.key for read in found.reads), found.write.key):
        builder.accesses.key(site.scope, key.removeprefix(site.scope))
    return found


def _odd_names(sites: Mapping[str, Site]) -> list[Violation]:
    """Refuse names that look like those of an element's rows: the rows of both would be taken for each other's."""
    fans = [f"{site.id}/" for site in sites.values() if site.fan is not None]
    return [
        two_tasks_one_name(id)
        for fan in fans
        for id in sorted(sites)
        if id.startswith(fan) and id.removeprefix(fan).partition("/")[0].isdecimal()
    ]
