"""What mypy is told about a checked workflow: its input, its output, its context as a row, the errors that get out.

It reads what ``contract.closing`` found; it finds nothing itself.
"""

from __future__ import annotations

from collections.abc import Iterator

from mypy.typeops import make_simplified_union
from mypy.types import AnyType, Instance, NoneType, Type, TypedDictType, TypeOfAny, UninhabitedType

from cloaca.algebra.structures import Structure
from cloaca.contract.certainty import Certainty
from cloaca.contract.closing import Closed
from cloaca.contract.elaboration import SHOWN
from cloaca.mypy import terms
from cloaca.mypy.nodes import StaticEach, StaticNode, StaticSeal, StaticTask, StaticWait
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
    heads = [structure.nodes[name] for name in sorted(structure.heads)]
    read = {model: None for node in heads for model in _reads(node)}
    is_one = len(read) <= 1 and not any(isinstance(node, StaticEach) for node in heads)
    input = next(iter(read), NoneType()) if is_one else AnyType(TypeOfAny.special_form)
    if len(structure.tails) != 1 or isinstance(structure.nodes[min(structure.tails)], StaticEach):
        return input, any_context(session)
    return input, _writes(structure.nodes[min(structure.tails)]) or NoneType()


def any_context(session: Session) -> Instance:
    """Return the type of a context whose keys are not known."""
    api = session.api
    return api.named_generic_type("typing.Mapping", [api.named_type("builtins.str"), AnyType(TypeOfAny.explicit)])


def _reads(node: StaticNode) -> list[Instance]:
    if isinstance(node, StaticTask):
        return [parameter.model for parameter in node.signature.parameters]
    return [node.input] if isinstance(node, StaticSeal) and node.input is not None else []


def _writes(node: StaticNode) -> Instance | None:
    if isinstance(node, StaticTask):
        return node.signature.output
    return node.output if isinstance(node, StaticSeal) else None


def _output(structure: Structure[StaticNode], found: Closed, context: Type, certainty: Certainty) -> Type:
    """The last task's model, or None if it can be skipped; of several last tasks the context."""
    if len(found.last) > 1 or isinstance(structure.nodes[found.last[0]], StaticEach):
        return context
    model, index = _writes(structure.nodes[found.last[0]]), found.elaboration.index[found.last[0]]
    if model is None:
        return NoneType()
    surely = found.elaboration.sites[index].sure and not certainty.can_be_skipped(index)
    return model if surely else _union([model, NoneType()])


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
        elif isinstance(node, StaticTask) and node.signature.error is not None:
            yield node.signature.error
        elif isinstance(node, StaticSeal | StaticEach) and node.structure is not None:
            yield from errors(node.structure)


def _union(types: list[Type]) -> Type:
    return make_simplified_union(types) if types else UninhabitedType()
