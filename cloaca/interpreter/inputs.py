"""Inputs: from the outputs that a plan has bound to the models that a node reads.

It knows plans and payloads, not how a body is called. A context is never merged or copied: each field is taken from
the output of the node that wrote it. Every call builds new models, so that each attempt gets a pristine copy.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache, reduce
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic_core import from_json, to_json

from cloaca.contract.checker import INPUT
from cloaca.contract.plans import Argument, FanOut, Provider, Source
from cloaca.ports import Codec


class Outputs:
    """The payloads of one run: its input's, and those of the nodes that have succeeded, by index."""

    __slots__ = ("_parsed", "raw")

    def __init__(self, input: str | None) -> None:
        self.raw: dict[int, str | None] = {INPUT: input}
        self._parsed: dict[int, Any] = {}

    def lay(self, input: Mapping[str, Any]) -> None:
        """Take ``input``, plain JSON values by field, for the input: a field that it lacks has not been written."""
        self._parsed[INPUT] = input

    def element_inputs(self, fan: FanOut) -> tuple[list[Any], dict[str, Any]]:
        """Return what a fan-out's instances read, as plain JSON values: the elements, and what is the same for all."""
        sources = {name: (source, self.values(source)) for name, source in fan.around.items()}
        around = {name: _read(source, found) for name, (source, found) in sources.items() if found}
        return _read(fan.over, self.values(fan.over)), around

    def count(self, fan: FanOut) -> int | None:
        """Return how many elements a fan-out has; None as long as nobody has written the list."""
        found = self.values(fan.over)
        return len(_read(fan.over, found)) if found else None

    def parsed(self, node: int) -> Any:
        """Return a payload as plain JSON values; they are shared, so don't change them."""
        if node not in self._parsed:
            raw = self.raw[node]
            self._parsed[node] = {} if raw is None else from_json(raw)
        return self._parsed[node]

    def arguments(self, arguments: tuple[Argument, ...], codec: Codec) -> list[BaseModel]:
        """Build the models of ``arguments``. Raises pydantic's ValidationError."""
        models = []
        for argument in arguments:
            raw = None if argument.same_as is None else self.raw.get(argument.same_as)
            models.append(codec.decode(argument.model, self.text(argument) if raw is None else raw))
        return models

    def texts(self, arguments: tuple[Argument, ...]) -> list[str]:
        """Return what the models of ``arguments`` are built from, as JSON."""
        return [self.text(argument) for argument in arguments]

    def build(self, argument: Argument, codec: Codec) -> BaseModel:
        """Build one model; a field that nobody has written keeps its default."""
        return codec.decode(argument.model, self.text(argument))

    def text(self, argument: Argument) -> str:
        """Return the JSON of one model, without the fields that nobody has written."""
        if argument.same_as is not None:
            raw = self.raw.get(argument.same_as)
            if raw is not None:
                return raw
        values = {}
        for name, source in argument.sources.items():
            found = self.values(source)
            if found:
                values[name] = _read(source, found)
        return to_json(values, inf_nan_mode="constants").decode()

    def values(self, source: Source) -> list[tuple[Provider, Any]]:
        """Return the providers of a source that ran, with their payloads, latest first."""
        if source.reduce is None:
            for provider in source.providers:
                if self.has(provider):
                    return [(provider, self.parsed(provider.node))]
            return []
        return [(p, self.parsed(p.node)) for p in source.providers if self.has(p)]

    def has(self, provider: Provider) -> bool:
        """Whether a provider has written; an instance's input may lack what nobody around has written.

        What other code has written may lack a field that is new since: nobody has written that.
        """
        if provider.node not in self.raw:
            return False
        return provider.field is None or provider.field in self.parsed(provider.node)

    @staticmethod
    def value(found: tuple[Provider, Any]) -> Any:
        """Return the field that a provider provides, as plain JSON values."""
        provider, payload = found
        return payload if provider.field is None else payload[provider.field]

    def context(self, sources: Mapping[str, Source]) -> dict[str, Any]:
        """Return every field that somebody has written, as the Python value that its type says."""
        context = {}
        for key, source in sources.items():
            found = self.values(source)
            if found and source.reduce:
                context[key] = typed(source.providers[0].type, _folded(source, found))
            elif found:
                context[key] = typed(found[0][0].type, self.value(found[0]))
        return context


def _read(source: Source, found: list[tuple[Provider, Any]]) -> Any:
    return _folded(source, found) if source.reduce else Outputs.value(found[0])


def _folded(source: Source, found: list[tuple[Provider, Any]]) -> Any:
    """Fold in topological order, after the input's value: the providers come latest first, the input last."""
    assert source.reduce is not None
    values = [typed(provider.type, Outputs.value((provider, payload))) for provider, payload in reversed(found)]
    return _adapter(source.providers[0].type).dump_python(reduce(source.reduce, values), mode="json")


def typed(type: object, value: Any) -> Any:
    """Return plain JSON values as what an annotation says."""
    return _adapter(type).validate_json(to_json(value, inf_nan_mode="constants"), by_alias=False, by_name=True)


def _adapter(type: Any) -> TypeAdapter[Any]:
    try:
        return _cached_adapter(type)
    except TypeError:  # an annotation that can't be hashed
        return TypeAdapter(type)


@lru_cache(maxsize=1024)
def _cached_adapter(type: Any) -> TypeAdapter[Any]:
    return TypeAdapter(type)
