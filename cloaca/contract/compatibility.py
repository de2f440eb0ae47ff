"""Compatibility: whether a run that other code has begun can go on with a plan, judged by what it has stored.

It is given the stored plan, what is committed, and the new plan; it knows no database and no worker, and calls nothing
but the models' own validators. A run is compatible if

- every task that is committed is still there, as the same kind of node, under the same conditions, and what it has
  stored is a value of the row that it declares now;
- whatever is still to come finds the fields that it needs: in what is stored, or in what is still to be written;
- nothing that waits for the run is lost: a signal that was sent is still taken, a child run still has its node.

Bodies don't count, nor does the order: a task that is new and comes before one that has run is still to come.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import from_json

from cloaca.algebra.models import row_of
from cloaca.contract.epilogues import EPILOGUE
from cloaca.contract.plans import FanOut, Plan, PlanNode, Source
from cloaca.contract.schemas import FieldType, type_of, types_of
from cloaca.contract.steps import INPUT

_ELEMENT = re.compile(r"/(\d+)/")


class Misfit(NamedTuple):
    """Why a run can't go on: the task and the field to blame, each ``""`` where there is none.

    ``cure`` is the row whose task would have to run again, ``""`` where that is no help.
    """

    task: str
    field: str
    message: str
    cure: str = ""

    def __str__(self) -> str:
        return self.message


class Done(NamedTuple):
    """How a node has ended: ``succeeded`` or ``failed``, with its payload, or that of its typed error."""

    status: str
    output: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Committed:
    """What is stored about a run.

    ``done`` has the nodes that are final, by the names of their rows; ``signals`` the payloads that nobody has taken,
    by name; ``children`` the names of the nodes whose child runs have begun. ``closing`` says that the outcome is
    known, so that only the epilogue is to come.
    """

    input: str | None = None
    done: Mapping[str, Done] = field(default_factory=dict)
    signals: Mapping[str, Sequence[str]] = field(default_factory=dict)
    children: Collection[str] = ()
    closing: bool = False


def misfits(spec: Mapping[str, Any], committed: Committed, plan: Plan) -> tuple[Misfit, ...]:
    """Return why a run whose stored plan is ``spec`` can't go on with ``plan``; () if it can.

    Cost: the rows that are stored, and the plan.
    """
    stored = _Stored(spec["nodes"], spec.get("types", {}))
    scope = _Scope(stored, plan, committed.done, committed.closing)
    given = _payload(committed.input)
    found = [
        *scope.committed(),
        *scope.to_come(given, _input_problems(spec, stored, committed.input, plan)),
        *_arrivals(scope, committed),
    ]
    return tuple(dict.fromkeys(found))


@dataclass(frozen=True)
class _Stored:
    """The nodes of a stored plan."""

    nodes: Sequence[Mapping[str, Any]]
    types: Mapping[str, str]

    @cached_property
    def by_name(self) -> Mapping[str, Mapping[str, Any]]:
        return {node["name"]: node for node in self.nodes}

    def name(self, index: int | None) -> str | None:
        return None if index is None else self.nodes[index]["name"]

    def providers(self, source: Iterable[Any]) -> list[str]:
        """The names of the nodes that a source reads, the latest first."""
        found = (provider for provider in source if provider != "reduce")
        return ["" if index == INPUT else self.nodes[index]["name"] for index, _ in found]


@dataclass(frozen=True)
class _Scope:
    """A plan, or that of an element of a fan-out, against what is stored of it."""

    stored: _Stored
    plan: Plan
    done: Mapping[str, Done]
    closing: bool = False
    prefix: str = ""

    # What is committed

    def committed(self) -> Iterator[Misfit]:
        """Yield what is wrong with what is committed."""
        for name, done in self.done.items():
            if name in self.plan.by_name:
                yield from self.node(self.plan.nodes[self.plan.by_name[name]], done)
            elif not self.is_inside(name):
                gone = f'task "{_shown(self.stored, name)}" has run, but the workflow no longer has it'
                yield self.misfit(name, "", gone)
        for fan, elements in self.elements.items():
            yield from self.fan_out(fan, elements)

    def is_inside(self, name: str) -> bool:
        return any(name.startswith(f"{fan}/") for fan in self.elements)

    @cached_property
    def elements(self) -> Mapping[str, Mapping[int, Mapping[str, Done]]]:
        """What is done inside fan-outs that are not done, by their names and the elements' numbers."""
        found: dict[str, dict[int, dict[str, Done]]] = {}
        fans = {name for name, node in self.stored.by_name.items() if "each" in node} | self.plan.fans.keys()
        for name, done in self.done.items() if fans else ():
            for match in _ELEMENT.finditer(name):
                fan = name[: match.start()]
                if fan in fans and name not in self.plan.by_name:
                    inside = found.setdefault(fan, {}).setdefault(int(match[1]), {})
                    inside[name[match.end() :]] = done
                    break
        return found

    def fan_out(self, name: str, elements: Mapping[int, Mapping[str, Done]]) -> Iterator[Misfit]:
        """Yield what is wrong with the elements of a fan-out that have begun; once it is done, they don't count."""
        if name in self.done and self.done[name].status == "succeeded":
            return
        stored, node = self.stored.by_name.get(name), self.plan.fans.get(name)
        if stored is None or "each" not in stored or node is None or node.fan is None:
            yield self.misfit(name, "", f'"{_shown(self.stored, name)}" has begun, but the workflow no longer has it')
            return
        before, now = self.stored.providers(stored["each"]["over"]), self.providers(node.fan.over)
        if before != now:
            what = f'the elements of "{node.task}" were of another list: its "{node.fan.into}" is made of that of'
            yield self.misfit(name, "", f"{what} {_listed(now)} now, was {_listed(before)}")
            return
        inner = _Stored(stored["each"]["nodes"], self.stored.types)
        for index, rows in elements.items():
            element = _Scope(inner, node.fan.plan, rows, prefix=f"{self.prefix}{name}/{index}/")
            yield from element.committed()
            yield from element.to_come(None, {})

    def providers(self, source: Source) -> list[str]:
        return ["" if p.node == INPUT else self.plan.nodes[p.node].name for p in source.providers]

    def node(self, node: PlanNode, done: Done) -> Iterator[Misfit]:
        """Yield what is wrong with a node that is done."""
        stored = self.stored.by_name.get(node.name)
        if stored is not None and stored["kind"] != node.kind:
            was = f"was {_kind(stored['kind'])} when it ran, and is {_kind(node.kind)} now"
            yield self.misfit(node.name, "", f'"{node.task}" {was}')
            return
        yield from self.conditions(node)
        if stored is not None:
            rescued = self.stored.name(stored.get("rescues"))
            if rescued != self.name(node.rescues):
                stands = f'stood in for "{rescued}"' if rescued else "stood in for no task"
                yield self.misfit(node.name, "", f'task "{node.task}" {stands} when it ran, which has changed')
            child = node.child.name if node.child is not None else None
            if stored.get("workflow") != child:
                text = f'"{node.task}" was a run of "{stored.get("workflow")}", and is one of "{child}" now'
                yield self.misfit(node.name, "", text)
                return
        yield from self.payload(node, stored or {}, done)

    def conditions(self, node: PlanNode) -> Iterator[Misfit]:
        """Yield the conditions that would not have let a node run."""
        for gate in node.gates:
            decider = self.plan.nodes[gate]
            if not decider.decides:
                continue
            done = self.done.get(decider.name)
            if done is None:
                text = f'task "{node.task}" has run, but a condition comes before it now: {_condition(decider)}'
                yield self.misfit(node.name, "", text)
            elif done.status != "succeeded" or (done.output == "true") == (gate in node.otherwise):
                text = f'task "{node.task}" has run, but by what {_condition(decider)} has said it could not have'
                yield self.misfit(node.name, "", text)

    def payload(self, node: PlanNode, stored: Mapping[str, Any], done: Done) -> Iterator[Misfit]:
        """Yield the fields of what a node has stored that are not as it declares them now."""
        error = node.body.signature.error if node.body is not None else None
        if done.status == "failed":
            if error is not None and done.error is not None:
                was = stored.get("error", {})
                yield from self.row(node, f'the error of task "{node.task}"', was, error, done.error)
        elif node.fan is not None:
            yield from self.list_of(node, node.fan, stored.get("each", {}), done.output)
        elif node.output is not None and not (node.is_wait and done.output is None):
            was = stored.get("writes", {})
            yield from self.row(node, f'task "{node.task}"', was, node.output, done.output or "{}")

    def row(
        self, node: PlanNode, who: str, was: Mapping[str, str], model: type[BaseModel], payload: str
    ) -> Iterator[Misfit]:
        for name, why in _problems(was, model, payload).items():
            text = _told(who, name, model, why, _change(was, name, self.stored))
            yield self.misfit(node.name, name, text)

    def list_of(self, node: PlanNode, fan: FanOut, was: Mapping[str, Any], payload: str | None) -> Iterator[Misfit]:
        now = type_of(fan.type)
        if was.get("list") == now.id or payload is None:
            return
        adapter: TypeAdapter[Any] = TypeAdapter(fan.type)  # type: ignore[arg-type]  # an annotation, whatever it is
        for name, why in _errors(adapter, payload, None).items():
            text = f'"{node.task}" has stored its list as {self.stored.types.get(was.get("list", ""), "another type")}'
            where = f': field "{name}"' if name else ""
            yield self.misfit(node.name, name, f"{text}, and says {now.shown} now{where}: {why}")

    # What is to come

    def to_come(self, given: Any, input_problems: Mapping[str, str]) -> Iterator[Misfit]:
        """Yield the reads of what is to come that find nothing; ``given`` is the input, None inside of a fan-out."""
        written = {name: _payload(done.output) for name, done in self.done.items() if done.status == "succeeded"}
        for task, name, field_name, source in self.reads():
            lacking = [*self.lacking(source, given, written)]
            if len(lacking) == len(source.providers) and lacking:
                writers = [writer for writer in lacking if writer]
                text = f'task "{task}" needs field "{field_name}", which {_listed(lacking)} did not write when it ran'
                yield self.misfit(name, field_name, text, cure=self.prefix + writers[0] if writers else "")
            elif (bad := self.bad_input(source, written, input_problems)) is not None:
                text = f'task "{task}" needs field "{bad}" of the workflow\'s input: {input_problems[bad]}'
                yield self.misfit(name, bad, text, cure="")

    def reads(self) -> Iterator[tuple[str, str, str, Source]]:
        """Yield what is to come needs: the task, its name, the field, and where that comes from."""
        for node in self.plan.nodes:
            if node.name in self.done or (self.closing and node.kind not in EPILOGUE):
                continue
            for argument in node.arguments:
                row = row_of(argument.model)
                for name, source in argument.sources.items():
                    if row[name].required:
                        yield node.task, node.name, name, source
            if node.fan is not None:
                yield node.task, node.name, node.fan.into, node.fan.over
                yield from ((node.task, node.name, key, node.fan.around[key]) for key in _needed(node.fan))
        answer = self.plan.answer.argument
        if answer is not None and not self.closing:
            row = row_of(answer.model)
            yield from (("output", "", name, source) for name, source in answer.sources.items() if row[name].required)

    def lacking(self, source: Source, given: Any, written: Mapping[str, Any]) -> Iterator[str]:
        """Yield the providers that can't provide: they have run, and have not written it. ``""`` is the input.

        What needs one that has failed is skipped, or does not count on it.
        """
        for provider in source.providers:
            name = "" if provider.node == INPUT else self.plan.nodes[provider.node].name
            if not name:
                if given is not None and provider.field not in given:
                    yield name
            elif name in written and provider.field is not None and provider.field not in written[name]:
                yield name

    def bad_input(self, source: Source, written: Mapping[str, Any], problems: Mapping[str, str]) -> str | None:
        """Return the field of the input that a source would take, and that does not fit."""
        for provider in source.providers:
            name = "" if provider.node == INPUT else self.plan.nodes[provider.node].name
            if name in written and source.reduce is None:
                return None
            if not name:
                return provider.field if provider.field in problems else None
        return None

    def name(self, index: int | None) -> str | None:
        return None if index is None else self.plan.nodes[index].name

    def misfit(self, name: str, field_name: str, message: str, cure: str | None = None) -> Misfit:
        node = self.plan.by_name.get(name)
        task = self.plan.nodes[node].task if node is not None else _shown(self.stored, name)
        return Misfit(task, field_name, message, self.prefix + name if cure is None else cure)


def _arrivals(scope: _Scope, committed: Committed) -> Iterator[Misfit]:
    """Yield the signals and child runs that nothing in the plan takes any more."""
    stored = scope.stored
    for name, payloads in committed.signals.items():
        takers = [node for node in scope.plan.nodes if node.signal == name and node.name not in committed.done]
        waiting = (node["name"] for node in stored.nodes if node.get("signal") == name)
        losers = [waiter for waiter in waiting if waiter not in committed.done]
        if not takers and losers:
            task = _shown(stored, losers[0])
            yield Misfit(task, "", f'a signal "{name}" was sent to "{task}", and nothing waits for it any more')
        for node in takers:
            assert node.output is not None  # a signal's model
            was = stored.by_name.get(node.name, {}).get("writes", {})
            for payload in payloads:
                for field_name, why in _problems(was, node.output, payload).items():
                    who = f'a signal to "{node.task}"'
                    text = _told(who, field_name, node.output, why, _change(was, field_name, stored))
                    yield Misfit(node.task, field_name, text)
    for name in () if committed.closing else committed.children:
        if name in committed.done or any(name.startswith(f"{done}/") for done in committed.done):
            continue
        found, before = _inside(scope.plan, name), (_stored_inside(stored, name) or {}).get("workflow")
        task = name if found is None else found.task
        if found is None or found.child is None:
            yield Misfit(task, "", f'the child run of "{task}" has begun, but the workflow no longer has it')
        elif before is not None and found.child.name != before:
            now = found.child.name
            text = f'the child run of "{task}" has begun as one of "{before}", and would be one of "{now}" now'
            yield Misfit(task, "", text)


def _inside(plan: Plan, name: str) -> PlanNode | None:
    """Return the node that a row is about, at any depth."""
    if name in plan.by_name:
        return plan.nodes[plan.by_name[name]]
    for match in _ELEMENT.finditer(name):
        fan = plan.fans.get(name[: match.start()])
        if fan is not None and fan.fan is not None:
            return _inside(fan.fan.plan, name[match.end() :])
    return None


def _stored_inside(stored: _Stored, name: str) -> Mapping[str, Any] | None:
    if name in stored.by_name:
        return stored.by_name[name]
    for match in _ELEMENT.finditer(name):
        fan = stored.by_name.get(name[: match.start()], {}).get("each")
        if fan is not None:
            return _stored_inside(_Stored(fan["nodes"], stored.types), name[match.end() :])
    return None


def _input_problems(spec: Mapping[str, Any], stored: _Stored, payload: str | None, plan: Plan) -> dict[str, str]:
    """Return what is wrong with the input that is stored, by field."""
    if plan.input is None or payload is None:
        return {}
    was: Mapping[str, str] = spec.get("given", {})
    found = _problems(was, plan.input, payload)
    now = types_of(plan.input)
    return {name: _changed(_change(was, name, stored), now.get(name), why) for name, why in found.items()}


def _needed(fan: FanOut) -> list[str]:
    """The fields from around that something inside a fan-out can't do without."""
    found = set()
    for node in fan.plan.nodes:
        for argument in node.arguments:
            row = row_of(argument.model)
            for name, source in argument.sources.items():
                if row[name].required and len(source.providers) == 1 and source.providers[0].node == INPUT:
                    found.add(source.providers[0].field)
    return [key for key in fan.around if key in found and key not in fan.fields]


def _problems(was: Mapping[str, str], model: type[BaseModel], payload: str) -> dict[str, str]:
    """Return what is wrong with a payload, by field, if it was written by a row of other types; ``""``: the whole.

    A field of which the type has changed must be of the new type without being converted. One that the payload lacks
    must have a default.
    """
    now = {name: found.id for name, found in types_of(model).items()}
    changed = {name for name, id in now.items() if was.get(name) != id}
    if not changed and was.keys() == now.keys():
        return {}
    return _errors(model.__pydantic_validator__, payload, changed)


def _errors(validator: Any, payload: str, strictly: Collection[str] | None) -> dict[str, str]:
    """Return the errors of a validation by field; strictly those of some fields, None for all."""
    found: dict[str, str] = {}
    for strict in (False, True):
        try:
            validator.validate_json(payload, strict=strict or None, by_alias=False, by_name=True)
        except ValidationError as error:
            for line in error.errors(include_url=False, include_input=False, include_context=False):
                name = next((str(part) for part in line["loc"] if isinstance(part, str)), "")
                if not strict or strictly is None or name in strictly:
                    found.setdefault(name, line["msg"])
    return found


def _change(was: Mapping[str, str], name: str, stored: _Stored) -> FieldType | None:
    """Return the type under which a field was stored, None if it was not."""
    return FieldType(was[name], stored.types.get(was[name], "another type")) if name in was else None


def _told(who: str, name: str, model: type[BaseModel], why: str, was: FieldType | None) -> str:
    if not name:
        return f"{who} has stored what {model.__name__} refuses: {why}"
    return f'{who}: field "{name}" {_changed(was, types_of(model).get(name), why)}'


def _changed(was: FieldType | None, now: FieldType | None, why: str) -> str:
    if now is None:
        return f"was stored, and is refused now: {why}"
    if was is None:
        return f"({now.shown}) is new and has no default, so that what is stored lacks it"
    how = f"{was.shown} with other parts or limits" if was.shown == now.shown else was.shown
    return f"was stored as {how}, and is {now.shown} now: {why}" if was.id != now.id else f"({now.shown}): {why}"


def _payload(text: str | None) -> Any:
    """Return a payload as JSON values. What has no fields is as good as empty."""
    value = None if text is None else from_json(text)
    return value if isinstance(value, dict) else {}


def _shown(stored: _Stored, name: str) -> str:
    """Return the name of a task as users know it: a condition goes by the task that it decides for."""
    node = stored.by_name.get(name)
    if node is not None and node["kind"] == "gate":
        return name.removeprefix("when:").rpartition(":")[0]
    return name.removeprefix("entry:") if node is not None and node["kind"] == "entry" else name


def _condition(node: PlanNode) -> str:
    name = getattr(node.predicate, "__name__", "condition")
    return f'"{"condition" if name == "<lambda>" else name}"'


def _kind(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' if name else "the workflow's input" for name in names) or "nobody"
