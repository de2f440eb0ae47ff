"""What mypy is told about a checked workflow: its input, its output, its context as a row, the errors that get out.

It reads what ``contract.closing`` found; it finds nothing itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations

from mypy.typeops import make_simplified_union
from mypy.types import AnyType, Instance, NoneType, Type, TypedDictType, TypeOfAny, UninhabitedType

from cloaca.algebra.guards import Arm
from cloaca.algebra.structures import Structure, closed
from cloaca.contract.certainty import Certainty
from cloaca.contract.closing import Closed, first_tasks
from cloaca.contract.sites import SHOWN
from cloaca.mypy import terms
from cloaca.mypy.nodes import StaticDecision, StaticEach, StaticNode, StaticSeal, StaticTask, StaticWait
from cloaca.mypy.sessions import Session

CONTEXT = f"{terms.SHAPES}.Context"


def workflow(
    made: Instance, structure: Structure[StaticNode], found: Closed, declared: Instance | None, session: Session
) -> Instance:
    """Return ``Workflow[In, Out, Context, Errors]``."""
    certainty = Certainty(found.elaboration.steps)
    context = _context(found, session, certainty)
    input = found.input if found.input is not None else NoneType()
    output = _output(structure, found, context, certainty) if declared is None else declared
    so_far = context.copy_modified(required_keys=set())  # a handle tells what is there at the moment
    return made.copy_modified(args=[input, output, so_far, _union(list(errors(structure)))])


def rows(structure: Structure[StaticNode], session: Session) -> tuple[Type, Type]:
    """Return In and Out of an open graph: what its first tasks read and its last task writes, if that is one model."""
    heads = _first(structure, session)
    read = {model: None for node in heads for model in _reads(node)}
    is_one = len(read) <= 1 and not any(isinstance(node, StaticEach) for node in heads)
    input = next(iter(read), NoneType()) if is_one else AnyType(TypeOfAny.special_form)
    last = [structure.nodes[name] for name in sorted(closed(structure).tails)]
    is_row = not any(isinstance(node, StaticEach) for node in last)
    if not is_row or not all(_exclusive(one, other) for one, other in combinations(last, 2)):
        return input, any_context(session)
    return input, _union([_writes(node) or NoneType() for node in last]) if last else NoneType()


def _first(structure: Structure[StaticNode], session: Session) -> list[StaticNode]:
    heads = sorted(structure.heads)
    if any(isinstance(structure.nodes[name], StaticDecision) for name in heads):
        heads = first_tasks(structure, session.nodes)
    return [structure.nodes[name] for name in heads]


def _exclusive(one: StaticNode, other: StaticNode) -> bool:
    """Whether two nodes are in both arms of one branch."""
    said = [{guard.predicate for guard in node.guards if isinstance(guard.predicate, Arm)} for node in (one, other)]
    return any(replace(arm, taken=not arm.taken) in said[1] for arm in said[0])


def any_context(session: Session) -> Instance:
    """Return the type of a context whose keys are not known."""
    api = session.api
    return api.named_generic_type("typing.Mapping", [api.named_type("builtins.str"), AnyType(TypeOfAny.explicit)])


def _reads(node: StaticNode) -> list[Instance]:
    if isinstance(node, StaticTask):
        return [parameter.model for parameter in node.signature.parameters]
    if isinstance(node, StaticDecision):
        return [node.condition.model] if node.condition and node.condition.model else []
    return [node.input] if isinstance(node, StaticSeal) and node.input is not None else []


def _writes(node: StaticNode) -> Instance | None:
    if isinstance(node, StaticTask):
        return node.signature.output
    return node.output if isinstance(node, StaticSeal) else None


def _output(structure: Structure[StaticNode], found: Closed, context: Type, certainty: Certainty) -> Type:
    """The last task's model, or None if it can be skipped; behind a branch one of several; else the context."""
    if not found.answering() or any(isinstance(structure.nodes[name], StaticEach) for name in found.last):
        return context
    models: list[Type] = [_writes(structure.nodes[name]) or NoneType() for name in found.last]
    last = [found.elaboration.index[name] for name in found.last]
    surely = certainty.one_runs(last) and all(found.elaboration.sites[index].sure for index in last)
    return _union(models if surely else [*models, NoneType()])


def _context(found: Closed, session: Session, certainty: Certainty) -> TypedDictType:
    """The final context: every key of the outermost scope, those that are sure to be there as required ones."""
    kinds: dict[str, list[Type]] = {}
    sure: set[str] = set()
    if found.input is not None:
        for key, field in session.hints.row(found.input).items():
            kinds[key] = [_type(field.type)]
            sure.update((key,) if field.required else ())
    for index, site in enumerate(found.elaboration.sites):
        if site.kind in SHOWN and not site.scope:
            surely = site.sure and not certainty.can_be_skipped(index)
            for write in found.elaboration.steps[index].writes:
                kinds[write.key] = [*kinds.get(write.key, ()), _type(write.type)] if not surely else [_type(write.type)]
                sure.update((write.key,) if surely and write.sure else ())
    fallback = Instance(terms.info(session.api, CONTEXT), [])
    return TypedDictType({key: _union(types) for key, types in sorted(kinds.items())}, sure, set(), fallback)


def _type(opaque: object) -> Type:
    assert isinstance(opaque, Type)
    return opaque


def errors(structure: Structure[StaticNode]) -> Iterator[Type]:
    """Yield the error models that the tasks of a graph answer with."""
    for node in structure.nodes.values():
        if isinstance(node, StaticTask) and node.is_opaque:
            yield AnyType(TypeOfAny.special_form)
        elif isinstance(node, StaticWait):
            yield from node.errors
        elif isinstance(node, StaticTask):
            known = (node.handler or node).signature.error  # to a handler all of a task's own errors go
            yield from () if known is None else (known,)
        elif isinstance(node, StaticSeal | StaticEach) and node.structure is not None:
            yield from errors(node.structure)


def _union(types: list[Type]) -> Type:
    return make_simplified_union(types) if types else UninhabitedType()
