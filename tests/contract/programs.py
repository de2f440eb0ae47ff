"""Programs as plain data, and the graphs that they describe: what random tests draw.

A program is an expression of the algebra over tasks with made-up rows, so that a naive reading of the specification can
judge it without looking at what cloaca makes of it.
"""

# mypy: disable-error-code=empty-body

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, TypeAlias, cast

from hypothesis import strategies as st
from pydantic import BaseModel, create_model

from cloaca.algebra.branches import branch
from cloaca.algebra.graphs import RULES, Graph, overlaid
from cloaca.algebra.models import Reduce
from cloaca.algebra.tasks import task
from cloaca.contract.workflows import Workflow

ADD = Reduce(operator.add)


@dataclass(frozen=True)
class Field:
    """One field of a row. ``required`` says nothing of a write: an output field is always written."""

    key: str
    type: type
    required: bool = True
    fold: bool = False


Row: TypeAlias = tuple[Field, ...]


@dataclass(frozen=True)
class Handler:
    """What stands in for a task; it writes at least what the task does."""

    name: str
    reads: Row
    writes: Row


@dataclass(frozen=True)
class Leaf:
    name: str
    reads: Row
    writes: Row
    rule: str = "none_failed"
    handler: Handler | None = None


@dataclass(frozen=True)
class Series:
    parts: tuple[Program, ...]


@dataclass(frozen=True)
class Overlay:
    parts: tuple[Program, ...]


@dataclass(frozen=True)
class When:
    part: Program
    reads: Row
    id: str


@dataclass(frozen=True)
class Sealed:
    part: Program
    name: str
    input: Row
    output: Row
    rule: str = "none_failed"


@dataclass(frozen=True)
class Branch:
    """``then`` or ``otherwise``, of which one may be empty."""

    then: Program | None
    otherwise: Program | None
    reads: Row
    id: str

    @property
    def name(self) -> str:
        return f"branch:{self.id}"

    @property
    def arms(self) -> list[Program]:
        return [arm for arm in (self.then, self.otherwise) if arm is not None]


Program: TypeAlias = Leaf | Series | Overlay | When | Sealed | Branch


@dataclass(frozen=True)
class Case:
    """A program to be closed: ``chains`` are more edges, ``output`` None for a workflow without ``output=``."""

    program: Program
    chains: tuple[tuple[str, str], ...]
    input: Row
    output: Row | None


@cache
def model_of(row: Row) -> type[BaseModel]:
    fields: dict[str, Any] = {}
    for field in row:
        annotation: Any = Annotated[field.type, ADD] if field.fold else field.type
        fields[field.key] = (annotation, ... if field.required else field.type())
    return create_model("Row_" + "_".join(f.key for f in row), **fields)


@cache
def task_of(reads: Row, writes: Row) -> Any:
    def body(row: Any) -> Any: ...

    def alone() -> Any: ...

    function = body if reads else alone
    function.__annotations__ = {"row": model_of(reads)} if reads else {}
    function.__annotations__["return"] = model_of(writes) if writes else None
    return task(function)


def predicate_of(reads: Row, id: str) -> Any:
    def holds(row: Any) -> bool: ...

    holds.__name__ = id
    holds.__annotations__ = {"row": model_of(reads), "return": bool}
    return holds


def graph_of(program: Program) -> Graph[Any, Any, Any]:
    """Return the graph that a program describes, put together with cloaca's own operators."""
    match program:
        case Leaf(name, reads, writes, rule, handler):
            node = task_of(reads, writes).named(name).on(rule)
            if handler is not None:
                node = node.rescue(task_of(handler.reads, handler.writes).named(handler.name))
            leaf: Graph[Any, Any, Any] = node
            return leaf
        case Branch(then, otherwise, reads, id):
            arms = [Graph() if arm is None else graph_of(arm) for arm in (then, otherwise)]
            return branch(predicate_of(reads, id), then=arms[0], otherwise=arms[1])
        case Series(parts):
            first, *rest = [graph_of(part) for part in parts]
            for part in rest:
                first = first >> part
            return first
        case Overlay(parts):
            return overlaid(*map(graph_of, parts))
        case When(part, reads, id):
            return graph_of(part).when(predicate_of(reads, id))
        case Sealed(part, name, input, output, rule):
            sealed = graph_of(part).sealed(model_of(input) if input else None, model_of(output) if output else None)
            return sealed.named(name).on(cast("Any", rule))  # drawn from the rules


def workflow_of(case: Case) -> Workflow[Any, Any]:
    graph = graph_of(case.program)
    nodes = {node.name: node for node in graph}
    chains = [nodes[before] >> nodes[after] for before, after in case.chains]
    declared: dict[str, Any] = {"input": model_of(case.input), "output": case.output and model_of(case.output)}
    return Workflow("w", graph, *chains, **declared)


KEYS = ("a", "b", "c")
TYPES = (int, float, str)
FOLDED = "f"  # the one key whose writes fold


def rows(keys: tuple[str, ...], types: tuple[type, ...], required: st.SearchStrategy[bool]) -> st.SearchStrategy[Row]:
    field = st.builds(Field, st.sampled_from(keys), st.sampled_from(types), required)
    return st.lists(field, max_size=2, unique_by=lambda field: field.key).map(_in_order)


def _in_order(fields: list[Field]) -> Row:
    return tuple(sorted(fields, key=lambda field: field.key))


def _with_fold(row: Row, fold: bool) -> Row:
    return (*row, Field(FOLDED, int, fold=True)) if fold else row


@st.composite
def programs(draw: st.DrawFn, size: int, *, seals: bool = True, types: tuple[type, ...] = TYPES) -> Program:
    """Draw an expression over ``size`` tasks."""
    names = iter(draw(st.permutations([f"t{n}" for n in range(size)])))
    inputs = rows((*KEYS, FOLDED), types, st.booleans())
    outputs = rows(KEYS, types, st.just(True))
    rules = st.sampled_from(("none_failed",) * 6 + RULES)
    ids = iter(range(100))

    def leaf() -> Program:
        writes = _with_fold(draw(outputs), draw(st.integers(0, 3)) == 0)
        name, reads, rule = next(names), draw(inputs), draw(rules)
        return Leaf(name, reads, writes, rule, handler(name, writes) if draw(st.integers(0, 5)) == 5 else None)

    def handler(name: str, writes: Row) -> Handler:
        keys = {field.key for field in writes}
        more = tuple(field for field in draw(outputs) if field.key not in keys)
        return Handler(f"{draw(st.sampled_from('az'))}{name}", draw(inputs), _in_order([*writes, *more]))

    def expression(size: int) -> Program:
        program = leaf() if size == 1 else composite(size)
        kind = draw(st.integers(0, 11))
        if kind <= 2:
            return When(program, draw(inputs), f"p{next(ids)}")
        if kind == 4:
            empty = draw(st.booleans())
            then, otherwise = (None, program) if empty else (program, None)
            return Branch(then, otherwise, draw(inputs), f"p{next(ids)}")
        if kind == 3 and seals:
            output = tuple(Field(f.key, f.type, f.required or f.key == FOLDED) for f in draw(inputs))
            return Sealed(program, f"s{next(ids)}", draw(inputs), output, draw(rules))
        return program

    def composite(size: int) -> Program:
        sizes: list[int] = []
        while size:
            sizes.append(draw(st.integers(1, size if sizes else size - 1)))
            size -= sizes[-1]
        parts = tuple(expression(part) for part in sizes)
        if len(parts) == 2 and draw(st.booleans()):
            return Branch(*parts, draw(inputs), f"p{next(ids)}")
        return Series(parts) if draw(st.booleans()) else Overlay(parts)

    return expression(size)


@st.composite
def cases(draw: st.DrawFn, max_size: int = 6, *, seals: bool = True, types: tuple[type, ...] = TYPES) -> Case:
    """Draw a program, a few more edges between its outermost tasks, an input and perhaps an output."""
    program = draw(programs(draw(st.integers(1, max_size)), seals=seals, types=types))
    names = sorted(names_of(program))
    pairs = st.tuples(st.sampled_from(names), st.sampled_from(names)).filter(lambda pair: pair[0] != pair[1])
    chains = draw(st.lists(pairs, max_size=2, unique=True)) if len(names) > 1 else []
    every = rows((*KEYS, FOLDED), types, st.booleans())
    return Case(program, tuple(chains), draw(every), draw(st.none() | every.filter(bool)))


def names_of(program: Program) -> Iterator[str]:
    """The names of the outermost nodes."""
    match program:
        case Leaf(name) | Sealed(_, name):
            yield name
        case Series(parts) | Overlay(parts):
            for part in parts:
                yield from names_of(part)
        case When(part):
            yield from names_of(part)
        case Branch():
            yield program.name
            for part in program.arms:
                yield from names_of(part)


def repaired(program: Program, faults: frozenset[tuple[str, str, str]]) -> Program:
    """Return the program without these faults, each a code, a task and a field: reads made optional, writes dropped.

    Random programs are nearly always wrong; mended ones are right, and only just.
    """
    match program:
        case Leaf(name, reads, writes, rule, handler):
            reads = _reading(reads, writes, name, faults)
            writes = tuple(f for f in writes if ("write-conflict", name, f.key) not in faults)
            if handler is not None:
                dropped = {f for code, task, f in faults if code == "write-conflict" and task in (name, handler.name)}
                kept = tuple(f for f in handler.writes if f in writes or f.key not in dropped)
                handler = Handler(handler.name, _reading(handler.reads, handler.writes, handler.name, faults), kept)
            return Leaf(name, reads, writes, rule, handler)
        case Branch(then, otherwise, reads, id):
            one, other = (None if arm is None else repaired(arm, faults) for arm in (then, otherwise))
            return Branch(one, other, _mended(reads, program.name, faults), id)
        case Sealed(part, name, input, output, rule):
            writes = tuple(
                f for f in output if not {("write-conflict", name, f.key), ("unread-rewrite", name, f.key)} & faults
            )
            inner = frozenset((c, t.removeprefix(f"{name}/"), f) for c, t, f in faults if t.startswith(f"{name}/"))
            writes = tuple(_optional(f) if ("workflow-input", name, f.key) in faults else f for f in writes)
            return Sealed(repaired(part, inner), name, _mended(input, name, faults), writes, rule)
        case When(part, reads, id):
            first = min(_heads_of(part))
            return When(repaired(part, faults), _mended(reads, first, faults), id)
        case Series(parts):
            return Series(tuple(repaired(part, faults) for part in parts))
        case Overlay(parts):
            return Overlay(tuple(repaired(part, faults) for part in parts))


def _reading(reads: Row, writes: Row, name: str, faults: frozenset[tuple[str, str, str]]) -> Row:
    """What is read, and what would be replaced unread."""
    keys = {field.key for field in reads}
    added = tuple(f for f in writes if ("unread-rewrite", name, f.key) in faults and f.key not in keys)
    return _in_order([*_mended(reads, name, faults), *(Field(f.key, f.type, required=False) for f in added)])


def _mended(reads: Row, name: str, faults: frozenset[tuple[str, str, str]]) -> Row:
    lacking = {field for code, task, field in faults if task == name and code in ("missing-field", "maybe-missing")}
    return tuple(_optional(field) if field.key in lacking else field for field in reads)


def _optional(field: Field) -> Field:
    return Field(field.key, field.type, required=False, fold=field.fold)


def _heads_of(program: Program) -> Iterator[str]:
    match program:
        case Series(parts):
            yield from _heads_of(parts[0])
        case Overlay(parts):
            for part in parts:
                yield from _heads_of(part)
        case When(part):
            yield from _heads_of(part)
        case Branch():
            yield program.name
        case _:
            yield from names_of(program)
