"""The plan: what an interpreter needs of a checked graph, compiled. Nodes by index, and for each input where its
fields come from.

It knows no run and no database. Data flow is compiled here, not merged at run time: the check knows who wrote each
field that each task reads, so that an input costs as much as the fields it reads.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from itertools import islice
from typing import Any, Final, NamedTuple, NewType

from pydantic import BaseModel

from cloaca.algebra.caching import check_cacheable
from cloaca.algebra.graphs import Rule
from cloaca.algebra.models import Reduce, model_name, row_of
from cloaca.algebra.retries import NO_RETRY, Retry
from cloaca.algebra.tasks import Task
from cloaca.algebra.waits import Subflow, Wait, WaitFor
from cloaca.contract.epilogues import EPILOGUE, check_home
from cloaca.contract.rescues import Handed
from cloaca.contract.sites import SHOWN, Elaboration, Kind, Site
from cloaca.contract.specs import spec_of
from cloaca.contract.steps import INPUT, Checked

WAITS: Final = frozenset({"sleep", "wait", "subflow"})

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
class FanOut:
    """What a fan-out does: ``plan`` for each element of the list that ``over`` has.

    An instance's input is an object: the element's ``fields``, and from the context around those of ``around``. Its
    output is that of the node ``output`` of ``plan``; ``type`` is the annotation of the list of them, whose context key
    is ``into``. ``limit`` is how many elements are at work at a time, None for as many as there is room for.
    """

    plan: Plan
    over: Source
    fields: tuple[str, ...]
    around: Mapping[str, Source]
    output: int
    into: str
    type: object
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class PlanNode:
    """One node of a plan.

    ``task`` is the name to show (a gate and an entry go by the task that they decide for), ``gates`` the nodes that
    decide whether it runs, outermost first, ``otherwise`` those among them that must have said no, ``awaited`` the
    predecessors that its rule looks at. ``body`` is the task to call, None for nodes that the interpreter does itself;
    ``wait`` the node that waits, if it is one, ``signal`` under which name the signals are stored that it takes.

    ``handler`` is the node that stands in for a task if it fails, ``rescues`` the task that a handler stands in for;
    ``given`` is what a handler gets beside its arguments, by place among all; ``stands_in`` makes of its output the one
    that the task would have written.

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
    otherwise: frozenset[int] = frozenset()
    arguments: tuple[Argument, ...] = ()
    output: type[BaseModel] | None = None
    body: Task[Any, Any, Any, Any, Any] | None = None
    predicate: Callable[[Any], bool] | None = None
    undoes: int | None = None
    outcomes: tuple[str, ...] = ()
    fan: FanOut | None = None
    wait: Wait[Any, Any] | None = None
    signal: str | None = None
    handler: int | None = None
    rescues: int | None = None
    given: tuple[tuple[int, Handed], ...] = ()
    stands_in: Argument | None = None

    @property
    def is_wait(self) -> bool:
        """Whether it waits for a timer, a signal or a child run, and no attempt of it is ever in flight."""
        return self.kind in WAITS

    @property
    def child(self) -> Any:
        """The workflow of which a ``subflow`` starts a run; None for any other node."""
        return self.wait.workflow if isinstance(self.wait, Subflow) else None

    @property
    def decides(self) -> bool:
        """Whether it says yes or no: a condition, or the decision of a branch."""
        return self.kind in ("gate", "branch")

    @property
    def is_plain(self) -> bool:
        """Whether it is a task on the event loop that asks for nothing but its inputs, and has no limit."""
        if self.body is None or self.given:
            return False
        options, signature = self.body.options, self.body.signature
        asks = (signature.context, signature.session, signature.run_failure)
        limits = (options.timeout_s, options.cache_s, options.executor, options.queue)
        return signature.is_async and all(each is None for each in (*asks, *limits))

    @property
    def needs_error(self) -> bool:
        """Whether it is a handler that takes a typed error, and nothing else will do."""
        return any(what == "error" for _, what in self.given)

    @property
    def retry(self) -> Retry:
        """The retry policy; nodes without a body are never retried."""
        return self.body.options.retry if self.body else NO_RETRY


@dataclass(frozen=True, slots=True)
class Answer:
    """What a run answers with: the output of the first of ``nodes`` that has run, or the row of ``argument``, or else
    the whole context.

    There are several nodes behind a branch, and where the last task has a handler. ``nothing`` marks a workflow whose
    last task writes nothing, ``optional`` one whose last task may be skipped by decision, so that it may answer with
    None.
    """

    nodes: tuple[int, ...] = ()
    argument: Argument | None = None
    nothing: bool = False
    optional: bool = False


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

    @cached_property
    def degrees(self) -> tuple[int, ...]:
        """How many predecessors each node has."""
        return tuple(len(node.preds) for node in self.nodes)

    @cached_property
    def first(self) -> tuple[PlanNode, ...]:
        """The nodes of the run proper that nothing is before."""
        return tuple(node for node in self.nodes[: self.length] if not node.preds)

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
        return {node.task: node.index for node in self.nodes if node.kind in (*SHOWN, *EPILOGUE)}

    @cached_property
    def fans(self) -> Mapping[str, PlanNode]:
        """The fan-outs by unique name."""
        return {node.name: node for node in self.nodes if node.fan is not None}

    def everywhere(self) -> Iterator[PlanNode]:
        """Yield all nodes, those inside fan-outs too."""
        for node in self.nodes:
            yield node
            if node.fan is not None:
                yield from node.fan.plan.everywhere()

    @cached_property
    def channels(self) -> Mapping[int, str]:
        """For each node that waits for a signal, under which name its signals are stored."""
        return {node.index: node.signal for node in self.nodes if node.signal is not None}

    @cached_property
    def waits(self) -> tuple[int, ...]:
        """The nodes that wait, in topological order."""
        return tuple(node.index for node in self.nodes if node.is_wait)

    @cached_property
    def starts_runs(self) -> bool:
        """Whether a run of this plan may have child runs, those of its elements included."""
        return any(node.kind == "subflow" for node in self.everywhere())

    @cached_property
    def outputs(self) -> tuple[type[BaseModel], ...]:
        """The models of which one is the output, without None; a handler's is the task's for which it stands in."""
        if self.answer.argument is not None:
            return (self.answer.argument.model,)
        found = [self.nodes[node] for node in self.answer.nodes]
        own = (node.output for node in found if node.rescues is None)
        return tuple(dict.fromkeys(model for model in own if model is not None))

    @cached_property
    def queues(self) -> Mapping[int, str]:
        """The queue of each node that has one."""
        queues = {node.index: node.body.options.queue for node in self.nodes if node.body is not None}
        return {index: queue for index, queue in queues.items() if queue is not None}

    @cached_property
    def plain(self) -> Mapping[int, Callable[..., Any]]:
        """The functions of the tasks on the event loop that ask for nothing but their inputs, and no limit at all."""
        return {node.index: node.body.function for node in self.nodes if node.body is not None and node.is_plain}

    @cached_property
    def queue_of(self) -> Mapping[str, str]:
        """The queue of each task that has one, those inside fan-outs too."""
        queues = {node.task: node.body.options.queue for node in self.everywhere() if node.body is not None}
        return {task: queue for task, queue in queues.items() if queue is not None}

    @cached_property
    def spec(self) -> str:
        """The structure and the contract as canonical JSON: names, order, rules and rows; what is stored with a run."""
        return json.dumps(spec_of(self), sort_keys=True, separators=(",", ":"))

    @cached_property
    def digest(self) -> str:
        """A hash of ``spec``: two plans with one digest run each other's runs."""
        return sha256(self.spec.encode()).hexdigest()[:32]


def compile_plan(
    elaboration: Elaboration, checked: Checked, input: type[BaseModel] | None, answer: Answer | None
) -> Plan:
    """Return the plan of a graph that the checker has passed. ``answer`` None stands for the row of the last step."""
    given = {key: entry.type for key, entry in row_of(input).items()} if input else {}
    return _Compiler(elaboration, checked, input, given).plan(answer)


class _Compiler:
    """Turns sites and their providers into plan nodes. ``given`` are the types of the row that comes into the graph."""

    def __init__(
        self,
        elaboration: Elaboration,
        checked: Checked,
        input: type[BaseModel] | None,
        given: Mapping[str, object],
    ) -> None:
        self.elaboration, self.checked, self.input, self.given = elaboration, checked, input, given
        self.provided: dict[int, Mapping[str, Provider]] = {
            INPUT: {key: Provider(INPUT, key, type) for key, type in given.items()}
        }
        self.sources: dict[tuple[tuple[int, ...], str], Source] = {}
        self.signals: dict[str, type[BaseModel]] = {}

    def plan(self, answer: Answer | None) -> Plan:
        sites = [site for site in self.elaboration.sites if site.kind != "end"]
        succs: list[list[int]] = [[] for _ in sites]
        for index in range(len(sites)):
            for pred in self.preds(index) if sites[index].kind not in EPILOGUE else ():
                succs[pred].append(index)
        nodes = tuple(self.node(index, site, tuple(succs[index])) for index, site in enumerate(sites))
        if answer is None:
            last = len(self.elaboration.sites) - 1
            answer = Answer(argument=self.arguments(last, self.elaboration.sites[last])[0])
        return Plan(nodes, self.input, answer, self.context(sites))

    def preds(self, index: int) -> tuple[int, ...]:
        """What a node waits for; a handler also for the task that it stands in for."""
        step = self.elaboration.steps[index]
        return step.preds if step.rescues is None else (*step.preds, step.rescues)

    def node(self, index: int, site: Site, succs: tuple[int, ...]) -> PlanNode:
        step = self.elaboration.steps[index]
        body = site.node if site.kind in ("task", *EPILOGUE) and isinstance(site.node, Task) else None
        if body is not None:
            check_cacheable(body)
        if site.kind in EPILOGUE:
            return self.closing_node(index, site)
        return PlanNode(
            index=index,
            name=site.id,
            kind=site.kind,
            task=site.task,
            preds=self.preds(index),
            succs=succs,
            awaited=step.awaited,
            gates=step.guards,
            otherwise=step.otherwise,
            rule=site.rule,  # type: ignore[arg-type]  # a site's rule is a node's, or all_done
            arguments=self.arguments(index, site),
            output=_output_of(site),
            body=body,
            predicate=site.predicate.function if site.predicate else None,
            fan=self.fan(index, site),
            wait=site.node if site.kind in WAITS else None,
            signal=self.signal(site.node) if site.kind == "wait" else None,
            handler=self.handlers.get(index),
            rescues=step.rescues,
            given=site.given,
            stands_in=self.stands_in(index, step.rescues),
        )

    @cached_property
    def handlers(self) -> Mapping[int, int]:
        """The handler of each task that has one."""
        steps = enumerate(self.elaboration.steps)
        return {step.rescues: index for index, step in steps if step.rescues is not None}

    def stands_in(self, handler: int, rescued: int | None) -> Argument | None:
        """How the output of a task is made of what its handler has written; None where that will do as it is."""
        if rescued is None or (wanted := _output_of(self.elaboration.sites[rescued])) is None:
            return None
        found = _output_of(self.elaboration.sites[handler])
        if found is None or issubclass(found, wanted):
            return None
        providers, written = self.providers(handler), self.elaboration.steps[rescued].writes
        return Argument(wanted, {write.field: Source((providers[write.key],)) for write in written if write.field})

    def fan(self, index: int, site: Site) -> FanOut | None:
        """Compile what a fan-out does for each element: a plan of its own."""
        if site.fan is None or site.fan.resolved is None or site.fan.resolved.inner is None:
            return None
        fanned, inner = site.fan.fanned, site.fan.resolved.inner
        given = {key: write.type for key, write in inner.given.items()}
        compiler = _Compiler(inner.elaboration, inner.checked, None, given)
        around = {read.key.removeprefix(site.scope): self.source(index, read.key) for read in inner.reads}
        handler = compiler.handlers.get(inner.output)
        return FanOut(
            plan=compiler.plan(Answer((inner.output,) if handler is None else (inner.output, handler))),
            over=self.source(index, site.scope + fanned.over),
            fields=tuple(row_of(inner.element)),
            around={key: source for key, source in around.items() if source.providers},
            output=inner.output,
            into=fanned.into,
            type=site.fan.resolved.write.type,
            limit=fanned.limit,
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

    def signal(self, wait: WaitFor[Any, Any]) -> str:
        """The name of a signal is its model's. Where two models have one name, the second goes by its module, too."""
        assert wait.output is not None
        name = model_name(wait.output)
        known = self.signals.setdefault(name, wait.output)
        return name if known is wait.output else f"{wait.output.__module__}.{wait.output.__qualname__}"

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
            whole = site.fan is not None or site.whole is not None
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
        writers: dict[str, list[int]] = {key: [] for key in self.given}
        for index, site in enumerate(sites):
            if not site.scope and site.kind in SHOWN:
                for write in self.elaboration.steps[index].writes:
                    writers.setdefault(write.key, []).append(index)
        return {
            key: self.source_of((*reversed(indexes), *((INPUT,) if key in self.given else ())), key)
            for key, indexes in writers.items()
        }


def _output_of(site: Site) -> type[BaseModel] | None:
    return site.row if site.output is None else site.output
