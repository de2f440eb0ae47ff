"""The plan: what an interpreter needs of a checked graph, compiled. Nodes by index, and for each input where its
fields come from.

It knows no run and no database. Data flow is compiled here, not merged at run time: the check knows who wrote each
field that each task reads, so that an input costs as much as the fields it reads.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from itertools import islice
from typing import Any, NamedTuple, NewType

from pydantic import BaseModel

from cloaca.algebra.caching import check_cacheable
from cloaca.algebra.graphs import Rule
from cloaca.algebra.models import Reduce, row_of
from cloaca.algebra.retries import NO_RETRY, Retry
from cloaca.algebra.tasks import Task
from cloaca.contract.elaboration import Elaboration, Kind, Site
from cloaca.contract.epilogues import EPILOGUE, check_home
from cloaca.contract.steps import INPUT, Checked

NodeId = NewType("NodeId", int)


class Provider(NamedTuple):
    """Where a value may come from: the output of a node (``INPUT``: the run's input), and which field of it.

    ``field`` is None for the whole output, as ``into`` writes it; ``type`` is its annotation. ``replaces`` says that
    the write has no reducer, so that in a fold whatever was written before it no longer counts.
    """

    node: int
    field: str | None
    type: object
    replaces: bool = True


class Source(NamedTuple):
    """Where a field's value comes from: the first provider that ran, the latest write.

    With ``reduce`` it is the fold of all that ran, from the first one that ``replaces`` what was before.
    """

    providers: tuple[Provider, ...]
    reduce: Callable[[Any, Any], Any] | None = None


class Argument(NamedTuple):
    """One model to build: from which source each field comes. Fields without one keep their default.

    ``same_as`` is the node whose output is this very row, field by field, so that its JSON will do as it is.
    """

    model: type[BaseModel]
    sources: Mapping[str, Source]
    same_as: int | None = None


@dataclass(frozen=True, slots=True)
class PlanNode:
    """One node of a plan.

    ``task`` is the name to show (a gate and an entry go by the task that they decide for), ``gates`` the nodes that
    decide whether it runs, outermost first, ``awaited`` the predecessors that its rule looks at. ``body`` is the task
    to call, None for nodes that the interpreter does itself.

    A node of the epilogue has no predecessors: it is due once the run's outcome is known. ``undoes`` is the node that
    it compensates, ``outcomes`` are those that it is called for.
    """

    index: int
    name: str
    kind: Kind
    task: str
    preds: tuple[int, ...]
    succs: tuple[int, ...]
    awaited: tuple[int, ...]
    gates: tuple[int, ...]
    rule: Rule
    arguments: tuple[Argument, ...] = ()
    output: type[BaseModel] | None = None
    body: Task[Any, Any, Any, Any, Any] | None = None
    predicate: Callable[[Any], bool] | None = None
    undoes: int | None = None
    outcomes: tuple[str, ...] = ()

    @property
    def retry(self) -> Retry:
        """The retry policy; nodes without a body are never retried."""
        return self.body.options.retry if self.body else NO_RETRY


@dataclass(frozen=True, slots=True)
class Answer:
    """What a run answers with: the output of ``node``, or the row of ``argument``, or else the whole context.

    ``nothing`` marks a workflow whose last task writes nothing.
    """

    node: int | None = None
    argument: Argument | None = None
    nothing: bool = False


@dataclass(frozen=True, eq=False)
class Plan:
    """A checked graph, compiled: nodes in topological order, ties by name; behind them those of the epilogue."""

    nodes: tuple[PlanNode, ...]
    input: type[BaseModel] | None
    answer: Answer
    context: Mapping[str, Source] = field(repr=False)

    @cached_property
    def by_name(self) -> Mapping[str, int]:
        """Node indexes by unique name."""
        return {node.name: node.index for node in self.nodes}

    @cached_property
    def length(self) -> int:
        """How many nodes are the run's proper; the rest is its epilogue."""
        return sum(node.kind not in EPILOGUE for node in self.nodes)

    @property
    def has_epilogue(self) -> bool:
        """Whether something may be due once the outcome of a run is known."""
        return self.length < len(self.nodes)

    @cached_property
    def undos(self) -> Mapping[int, int]:
        """For each node that has a compensation, the node that undoes it."""
        return {node.undoes: node.index for node in self.nodes[self.length :] if node.undoes is not None}

    @cached_property
    def callbacks(self) -> Mapping[str, int]:
        """For each outcome that has a callback, its node."""
        return {outcome: node.index for node in self.nodes[self.length :] for outcome in node.outcomes}

    @cached_property
    def by_task(self) -> Mapping[str, int]:
        """The index of the node that stands for each task that a user sees."""
        return {node.task: node.index for node in self.nodes if node.kind in ("task", "exit", *EPILOGUE)}

    @cached_property
    def queues(self) -> Mapping[int, str]:
        """The queue of each node that has one."""
        queues = {node.index: node.body.options.queue for node in self.nodes if node.body is not None}
        return {index: queue for index, queue in queues.items() if queue is not None}

    @cached_property
    def spec(self) -> str:
        """The structure as canonical JSON: names, order, rules and rows; what is stored with a run."""
        return json.dumps(
            {
                "context": {key: _source_spec(source) for key, source in self.context.items()},
                "input": self.input.__name__ if self.input else None,
                "nodes": [_node_spec(node) for node in self.nodes],
                "output": _answer_spec(self.answer),
            },
            sort_keys=True,
            separators=(",", ":"),
        )

    @cached_property
    def digest(self) -> str:
        """A hash of ``spec``: two plans with one digest run each other's runs."""
        return sha256(self.spec.encode()).hexdigest()[:32]


def _node_spec(node: PlanNode) -> dict[str, object]:
    spec: dict[str, object] = {"name": node.name, "kind": node.kind, "preds": node.preds}
    if node.rule != "none_failed":
        spec["rule"] = node.rule
    if node.gates:
        spec["gates"] = node.gates
    if node.arguments:
        spec["reads"] = {name: _source_spec(source) for arg in node.arguments for name, source in arg.sources.items()}
    if node.output:
        spec["writes"] = sorted(row_of(node.output))
    if node.undoes is not None:
        spec["undoes"] = node.undoes
    if node.outcomes:
        spec["outcomes"] = node.outcomes
    return spec


def _source_spec(source: Source) -> list[object]:
    providers: list[object] = [[provider.node, provider.field] for provider in source.providers]
    return [*providers, "reduce"] if source.reduce else providers


def _answer_spec(answer: Answer) -> object:
    if answer.argument is not None:
        return {name: _source_spec(source) for name, source in answer.argument.sources.items()}
    return answer.node if answer.node is not None or answer.nothing else "context"


def compile_plan(
    elaboration: Elaboration, checked: Checked, input: type[BaseModel] | None, answer: Answer | None
) -> Plan:
    """Return the plan of a graph that the checker has passed. ``answer`` None stands for the row of the last step."""
    return _Compiler(elaboration, checked, input).plan(answer)


class _Compiler:
    """Turns sites and their providers into plan nodes."""

    def __init__(self, elaboration: Elaboration, checked: Checked, input: type[BaseModel] | None) -> None:
        self.elaboration, self.checked, self.input = elaboration, checked, input
        self.input_row = row_of(input) if input else {}
        self.provided: dict[int, Mapping[str, Provider]] = {
            INPUT: {key: Provider(INPUT, key, entry.type) for key, entry in self.input_row.items()}
        }
        self.sources: dict[tuple[tuple[int, ...], str], Source] = {}

    def plan(self, answer: Answer | None) -> Plan:
        sites = [site for site in self.elaboration.sites if site.kind != "end"]
        succs: list[list[int]] = [[] for _ in sites]
        for index in range(len(sites)):
            for pred in self.elaboration.steps[index].preds if sites[index].kind not in EPILOGUE else ():
                succs[pred].append(index)
        nodes = tuple(self.node(index, site, tuple(succs[index])) for index, site in enumerate(sites))
        if answer is None:
            last = len(self.elaboration.sites) - 1
            answer = Answer(argument=self.arguments(last, self.elaboration.sites[last])[0])
        return Plan(nodes, self.input, answer, self.context(sites))

    def node(self, index: int, site: Site, succs: tuple[int, ...]) -> PlanNode:
        step = self.elaboration.steps[index]
        gates = set(step.guards)
        body = site.node if isinstance(site.node, Task) and site.kind in ("task", *EPILOGUE) else None
        if body is not None:
            check_cacheable(body)
        if site.kind in EPILOGUE:
            return self.closing_node(index, site)
        return PlanNode(
            index=index,
            name=site.id,
            kind=site.kind,
            task=site.task,
            preds=step.preds,
            succs=succs,
            awaited=tuple(pred for pred in step.preds if pred not in gates),
            gates=step.guards,
            rule=site.rule,  # type: ignore[arg-type]  # a site's rule is a node's, or all_done
            arguments=self.arguments(index, site),
            output=body.signature.output if body else site.row,
            body=body,
            predicate=site.predicate.function if site.predicate else None,
        )

    def closing_node(self, index: int, site: Site) -> PlanNode:
        """A node of the epilogue: nothing comes before it, and nothing decides whether it runs but the outcome."""
        assert isinstance(site.node, Task)
        check_home(site.node)
        return PlanNode(
            index,
            site.id,
            site.kind,
            site.task,
            preds=(),
            succs=(),
            awaited=(),
            gates=(),
            rule="all_done",
            arguments=self.arguments(index, site),
            output=site.node.signature.output,
            body=site.node,
            undoes=None if site.undoes is None else self.elaboration.index[site.undoes],
            outcomes=site.outcomes,
        )

    def arguments(self, index: int, site: Site) -> tuple[Argument, ...]:
        models = [site.row] if site.kind in ("exit", "end") else [parameter.model for parameter in site.parameters]
        reads = iter(self.elaboration.steps[index].reads)
        built = []
        for model in models:
            if model is None:
                continue
            pairs = [(read.field, self.source(index, read.key)) for read in islice(reads, len(row_of(model)))]
            sources = {name: source for name, source in pairs if source.providers}
            built.append(Argument(model, sources, self.same_as(model, sources)))
        return tuple(built)

    def source(self, index: int, key: str) -> Source:
        return self.source_of(self.checked.providers.get(index, {}).get(key, ()), key)

    def source_of(self, writers: tuple[int, ...], key: str) -> Source:
        """The source of a key; its latest writer that folds says how. Many readers share one."""
        if (writers, key) not in self.sources:
            providers = tuple([self.providers(writer)[key] for writer in writers])
            reduce = next((self.reducer(p.node, key) for p in providers if not p.replaces), None)
            self.sources[writers, key] = Source(providers, reduce)
        return self.sources[writers, key]

    def reducer(self, node: int, key: str) -> Callable[[Any, Any], Any] | None:
        reducers = (write.reducer for write in self.elaboration.steps[node].writes if write.key == key)
        return next((reducer.function for reducer in reducers if isinstance(reducer, Reduce)), None)

    def providers(self, node: int) -> Mapping[str, Provider]:
        """What a node provides, by key: a row field by field, in its order, or a whole model."""
        if node not in self.provided:
            site, writes = self.elaboration.sites[node], self.elaboration.steps[node].writes
            whole = isinstance(site.node, Task) and site.node.whole is not None
            fields = [None] if whole else row_of(_output_of(site) or BaseModel)
            self.provided[node] = {
                write.key: Provider(node, name, write.type, write.reducer is None)
                for name, write in zip(fields, writes, strict=True)
            }
        return self.provided[node]

    def same_as(self, model: type[BaseModel], sources: Mapping[str, Source]) -> int | None:
        """The one node that provides each field under its own name, and writes nothing else."""
        row = row_of(model)
        single = {source.providers[0].node for source in sources.values() if len(source.providers) == 1}
        if len(single) != 1 or sources.keys() != row.keys() or any(source.reduce for source in sources.values()):
            return None
        if any(len(source.providers) != 1 or source.providers[0].field != name for name, source in sources.items()):
            return None
        node = single.pop()
        provided = self.input if node == INPUT else _output_of(self.elaboration.sites[node])
        if provided is None or provided.model_config.get("extra") == "allow" or provided.model_computed_fields:
            return None  # its JSON may have more than its row
        return node if row_of(provided).keys() == row.keys() else None

    def context(self, sites: list[Site]) -> Mapping[str, Source]:
        """For each key of the outermost scope: everybody who writes it, latest first, then the input."""
        writers: dict[str, list[int]] = {key: [] for key in self.input_row}
        for index, site in enumerate(sites):
            if not site.scope and site.kind in ("task", "exit"):
                for write in self.elaboration.steps[index].writes:
                    writers.setdefault(write.key, []).append(index)
        return {
            key: self.source_of((*reversed(indexes), *((INPUT,) if key in self.input_row else ())), key)
            for key, indexes in writers.items()
        }


def _output_of(site: Site) -> type[BaseModel] | None:
    return site.node.signature.output if site.kind == "task" and isinstance(site.node, Task) else site.row
