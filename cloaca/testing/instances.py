"""Inputs: a Hypothesis strategy for every valid instance of a pydantic model.

Values are drawn from each field's type and constraints, and pydantic itself validates what was drawn; a field that has
validators of its own is drawn again until they accept it, alone. Rules across fields need ``register``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeVar

from hypothesis import reject
from hypothesis import strategies as st
from pydantic import BaseModel, RootModel, ValidationError
from pydantic.fields import FieldInfo

from cloaca.contract.workflows import Workflow
from cloaca.testing.constraints import constraints_of
from cloaca.testing.values import DEEPEST, Builder

M = TypeVar("M", bound=BaseModel)
Strategy = st.SearchStrategy[Any]

_REGISTERED: Final[dict[object, Strategy]] = {}  # for the whole process, as are the strategies of ``from_type``


class Registration:
    """What ``register`` returns: leave it as a context manager, and what was known before is known again."""

    def __init__(self, type: object, before: Strategy | None) -> None:
        self._type, self._before = type, before

    def __enter__(self) -> None:
        """It is registered already."""

    def __exit__(self, *_: object) -> None:
        if self._before is None:
            _REGISTERED.pop(self._type, None)
        else:
            _REGISTERED[self._type] = self._before


def register(type: object, strategy: Strategy) -> Registration:
    """Draw every ``type``, wherever it occurs, from a strategy of yours: for rules across fields, or types of yours.

    It holds for the whole process, or, as ``with register(...):``, for a block.

    >>> class Range(BaseModel):
    ...     low: int
    ...     high: int
    >>> ordered = st.tuples(st.integers(), st.integers()).map(sorted).map(lambda two: Range(low=two[0], high=two[1]))
    >>> from hypothesis import given, settings
    >>> with register(Range, ordered):
    ...     @settings(max_examples=10)
    ...     @given(inputs(Range))
    ...     def ranges_are_ordered(drawn: Range) -> None:
    ...         assert drawn.low <= drawn.high
    ...     ranges_are_ordered()
    """
    if not isinstance(strategy, st.SearchStrategy):
        raise TypeError(f"register({type!r}, {strategy!r}): give a Hypothesis strategy")
    before = _REGISTERED.get(type)
    _REGISTERED[type] = strategy
    return Registration(type, before)


def inputs(of: Workflow[Any, Any, Any, Any] | type[BaseModel], /, **fields: Strategy) -> Strategy:
    """Return a strategy for the input of a workflow, or for instances of a model: valid ones only.

    ``fields`` are strategies for single fields, by name.

    Raises:
        TypeError: a type that nothing is known of; ``register`` a strategy for it.

    >>> from hypothesis import given, settings
    >>> from pydantic import Field
    >>> class Order(BaseModel):
    ...     sku: str
    ...     count: int = Field(gt=0)
    >>> @settings(max_examples=10)
    ... @given(inputs(Order, sku=st.sampled_from(["tea", "pot"])))
    ... def orders_are_valid(order: Order) -> None:
    ...     assert order.count > 0 and order.sku in ("tea", "pot")
    >>> orders_are_valid()
    """
    model = of.input if isinstance(of, Workflow) else of
    if model is None:
        return st.none()
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise TypeError(f"inputs({of!r}): give a workflow or a pydantic model")
    if unknown := sorted(fields.keys() - model.model_fields.keys()):
        raise TypeError(f"inputs({model.__name__}, {unknown[0]}=...): {model.__name__} has no such field")
    return _Models().model(model, 0, fields)


class _Models(Builder):
    """Draws models; ``Builder`` draws whatever their fields may hold."""

    def registered(self, type: object) -> Strategy | None:
        try:
            return _REGISTERED.get(type)
        except TypeError:  # an annotation that can't be hashed
            return None

    def model(self, model: type[BaseModel], depth: int, fields: Mapping[str, Strategy] | None = None) -> Strategy:
        if not fields and (found := self.registered(model)) is not None:
            return found
        if issubclass(model, RootModel):
            root = self.field(model, "root", model.model_fields["root"], depth)
            return st.builds(_validated, st.just(model), root)
        required, optional = {}, {}
        for name, info in model.model_fields.items():
            given = (fields or {}).get(name)
            strategy = given if given is not None else self.field(model, name, info, depth)
            key = _key(name, info)
            if info.is_required() or given is not None:
                required[key] = strategy
            elif depth < DEEPEST:
                optional[key] = strategy
        return st.builds(_validated, st.just(model), st.fixed_dictionaries(required, optional=optional))

    def field(self, model: type[BaseModel], name: str, info: FieldInfo, depth: int) -> Strategy:
        strategy = self.value(info.annotation, info.metadata, depth + 1)
        if _is_looked_at(model, name) or constraints_of(info.metadata).checks:
            key = _key(name, info)
            return strategy.filter(lambda value: _accepts(model, name, key, value))
        return strategy


def _key(name: str, info: FieldInfo) -> str:
    alias = info.validation_alias if isinstance(info.validation_alias, str) else info.alias
    return alias or name


def _validated(model: type[M], values: object) -> M:
    try:
        return model.model_validate(values)
    except ValidationError:
        reject()


def _is_looked_at(model: type[BaseModel], name: str) -> bool:
    decorators = model.__pydantic_decorators__
    known: Iterable[Any] = (*decorators.field_validators.values(), *decorators.validators.values())
    return any({name, "*"} & set(each.info.fields) for each in known)


def _accepts(model: type[BaseModel], name: str, key: str, value: object) -> bool:
    """Whether a field's own validators accept a value: other fields are missing, which is their own error."""
    if issubclass(model, RootModel):
        return True  # it is validated as a whole
    try:
        model.model_validate({key: value})
    except ValidationError as error:
        return not any(each["loc"] and each["loc"][0] in (name, key) for each in error.errors(include_url=False))
    except Exception:  # noqa: BLE001 - a model's validator that needs the other fields
        return True
    return True
