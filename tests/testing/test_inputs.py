"""``inputs`` draws valid models only, which the codec takes, and they shrink to the simplest."""

from __future__ import annotations

import pkgutil
from typing import Any

import pytest
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

import cloaca.testing
from cloaca import Workflow, task
from cloaca.codecs import MEBIBYTE, JsonCodec
from cloaca.testing import inputs, register
from cloaca.testing.instances import _REGISTERED
from tests.testing.models import FAMILIES, Aliased, Branch, Collections, Decimals, Discriminated, Even, Ints, Ordered

QUIET = settings(max_examples=60, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
REJECTING = [HealthCheck.too_slow, HealthCheck.filter_too_much]  # what has a rule across fields, which only it knows


@pytest.mark.parametrize("model", FAMILIES, ids=lambda model: model.__name__)
def test_what_is_drawn_is_valid_and_survives_the_codec(model: type[BaseModel]) -> None:
    codec, drawn = JsonCodec(MEBIBYTE), []

    @settings(QUIET, suppress_health_check=REJECTING if model is Ordered else [HealthCheck.too_slow])
    @given(inputs(model))
    def holds(value: Any) -> None:
        assert type(value) is model
        drawn.append(value)
        assert model.model_validate_json(value.model_dump_json(by_alias=True)) == value
        assert codec.decode(model, codec.encode(model, value)) == value

    holds()
    assert len(drawn) >= 60  # Hypothesis says where too much is rejected
    assert len({repr(each) for each in drawn}) > 20


@pytest.mark.parametrize(
    ("model", "fails", "simplest"),
    [
        (Ints, lambda v: v.a > 40, {"a": 41, "b": 105, "c": -6, "d": None}),
        (Collections, lambda v: len(v.a) > 1, {"a": [0, 0]}),
        (Discriminated, lambda v: v.pet.kind == "dog", {"pets": []}),
        (Branch, lambda v: v.left is not None, {"value": 0, "children": []}),
        (Even, lambda v: v.a > 10, {"a": 12, "b": ""}),
        (Ordered, lambda v: v.high > 3, {"low": 0, "high": 4}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_fails_is_made_simple(model: type[BaseModel], fails: Any, simplest: dict[str, Any]) -> None:
    found = find(inputs(model), fails, settings=settings(QUIET, max_examples=2000))
    assert {name: getattr(found, name) for name in simplest} == simplest


def test_a_workflow_says_what_its_input_is() -> None:
    @task
    def bill(given: Decimals) -> Aliased:
        return Aliased(A=1)

    @task
    def alone() -> Aliased:
        return Aliased(A=1)

    assert isinstance(find(inputs(Workflow("bills", bill)), lambda _: True), Decimals)
    assert find(inputs(Workflow("alone", alone)), lambda _: True) is None


def test_fields_of_ones_own() -> None:
    @QUIET
    @given(inputs(Ints, a=st.just(5), d=st.none()))
    def holds(value: Ints) -> None:
        assert (value.a, value.d) == (5, None)

    holds()
    with pytest.raises(TypeError, match="Ints has no such field"):
        inputs(Ints, z=st.just(1))


class Secret:
    """A type of a user's own."""


class Rule(BaseModel):
    model_config = {"arbitrary_types_allowed": True}
    first: int
    twice: int
    secret: Secret | None = None


def test_a_strategy_of_ones_own() -> None:
    rules = st.integers(0, 9).map(lambda n: Rule(first=n, twice=2 * n))

    class Holder(BaseModel):
        rules: list[Rule] = Field(min_length=1)

    with register(Rule, rules):

        @QUIET
        @given(inputs(Holder))
        def holds(value: Holder) -> None:
            assert all(each.twice == 2 * each.first for each in value.rules)

        holds()
    assert Rule not in _REGISTERED
    with register(Secret, st.builds(Secret)):
        with register(Secret, st.just(Secret())):
            pass
        assert isinstance(find(inputs(Rule), lambda rule: rule.secret is not None).secret, Secret)
    assert Secret not in _REGISTERED


def test_what_nothing_is_known_of() -> None:
    with pytest.raises(TypeError, match=r"nothing is known of Secret; .* register\(Secret, strategy\)"):
        inputs(Rule).example()
    with pytest.raises(TypeError, match="give a Hypothesis strategy"):
        register(Secret, Secret())  # type: ignore[arg-type]  # that is the point
    with pytest.raises(TypeError, match="give a workflow or a pydantic model"):
        inputs(int)  # type: ignore[arg-type]  # the same


class Impossible(BaseModel):
    a: int = Field(gt=3, lt=4)


def test_what_no_value_satisfies() -> None:
    with pytest.raises(TypeError, match="no value satisfies"):
        inputs(Impossible)


def test_no_module_has_the_name_of_what_is_exported() -> None:
    """Else, once the module is loaded, the package's attribute is the module."""
    names = {module.name for module in pkgutil.iter_modules(cloaca.testing.__path__)}
    assert not names & set(cloaca.testing.__all__)
