"""What a user writes between tasks, and what comes of it."""

# mypy: disable-error-code=empty-body

from __future__ import annotations

import copy
import functools
import operator
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from cloaca import ContractError, Graph, Retry, task
from cloaca.algebra.graphs import RULES, Seal

Build = Callable[[], object]


class Order(BaseModel):
    sku: str
    amount: int = 0


class Payment(BaseModel):
    payment_id: str


@task
def a() -> None: ...
@task
def b() -> None: ...
@task
def c() -> None: ...
@task
def d() -> None: ...
@task
def e() -> None: ...
@task
def charge(order: Order) -> Payment: ...


def is_large(order: Order) -> bool:
    return order.amount > 100


def holds(_: Order) -> bool:
    return True


def edges(graph: Graph[Any, Any, Any]) -> set[str]:
    return {f"{before}{after}" for before, after in graph.structure.edges}


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        (a >> b >> c, "ab bc"),
        (a >> [b, c], "ab ac"),
        (a >> (b, c), "ab ac"),
        ([a, b] >> c, "ac bc"),
        ((a, b) >> c, "ac bc"),
        (a >> [b, c] >> d, "ab ac bd cd"),
        (a >> [b >> c, d], "ab bc ad"),
        (a >> [b >> c, d] >> e, "ab bc ad ce de"),
        (a >> [[b, c], d], "ab ac ad"),
        (a & b, ""),
        (a >> c & b >> d, "ac bd"),
        (a >> b & a >> c, "ab ac"),
        (a >> b & b >> c, "ab bc"),
        (a >> [], ""),
        ([] >> a, ""),
        (Graph() >> a >> Graph(), ""),
        (Graph() & (a >> b), "ab"),
    ],
)
def test_composition(graph: Graph[Any, Any, Any], expected: str) -> None:
    assert edges(graph) == set(expected.split())


def test_a_list_stands_for_its_overlay() -> None:
    assert a >> [b, c] == a >> (b & c) == a >> (c, b)


def test_a_graph_of_one_task_is_the_task() -> None:
    assert a >> Graph() == a
    assert a & a == a


def codes(error: pytest.ExceptionInfo[ContractError]) -> list[tuple[str, str]]:
    return [(violation.code, violation.task) for violation in error.value.violations]


def test_sharing_a_task_in_series_is_refused() -> None:
    builds: list[Build] = [lambda: a >> a, lambda: a >> b >> a, lambda: [a, b] >> a, lambda: a >> [b, a]]
    for build in builds:
        with pytest.raises(ContractError) as error:
            build()
        assert codes(error) == [("shared-task", "a")]


def test_both_shared_tasks_are_named() -> None:
    with pytest.raises(ContractError) as error:
        _ = (a >> b) >> (b >> a)
    assert codes(error) == [("shared-task", "a"), ("shared-task", "b")]
    assert str(error.value).startswith(
        'Both sides of ">>" contain task "a"; to run it twice give one a name of its own'
    )


@pytest.mark.parametrize(
    "other",
    [
        a.with_options(timeout=3),
        a.with_options(retry=Retry(attempts=2)),
        a.on("all_done"),
        b.named("a"),
        charge.named("a"),
        charge.named("a").when(is_large),
    ],
)
def test_one_name_for_two_tasks_is_refused(other: Graph[Any, Any, Any]) -> None:
    builds: list[Build] = [lambda: a >> other, lambda: a & other, lambda: c >> [a, other]]
    for build in builds:
        with pytest.raises(ContractError) as error:
            build()
        assert codes(error) == [("task-name", "a")]


def test_a_cycle_is_refused_by_the_overlay() -> None:
    with pytest.raises(ContractError) as error:
        _ = (a >> b >> c) & (c >> a)
    assert codes(error) == [("graph-cycle", "a")]
    assert "a >> b >> c >> a" in str(error.value)


@pytest.mark.parametrize("wrong", [lambda: None, "b", None, 3, [lambda: None], [a, "b"]])
def test_only_graphs_compose(wrong: Any) -> None:
    with pytest.raises(TypeError):
        _ = a >> wrong
    with pytest.raises(TypeError):
        _ = wrong >> a


def test_a_function_in_a_list_is_named() -> None:
    def plain() -> None: ...

    with pytest.raises(TypeError, match=r"plain.*with @task"):
        _ = a >> [b, plain]


def test_and_takes_graphs_only() -> None:
    with pytest.raises(TypeError):
        _ = a & [b]  # type: ignore[operator]  # what is tested


# Values


def test_equal_expressions_are_equal_and_hash_equal() -> None:
    one, other = a >> [b, c.when(holds)] >> d, a >> [c.when(holds), b] >> d
    assert one == other
    assert hash(one) == hash(other)
    assert len({one, other}) == 1


@pytest.mark.parametrize(
    "other",
    [
        a >> b,
        b >> a,
        a & c,
        a >> c.named("d"),
        a >> c.on("all_success"),
        (a >> c).when(holds),
        a >> c.when(holds),
        a.when(holds) >> c,
        a,
        Graph(),
    ],
)
def test_different_graphs_differ(other: Graph[Any, Any, Any]) -> None:
    assert a >> c != other


def test_a_graph_is_not_equal_to_anything_else() -> None:
    assert a != "a"
    assert a >> b != [("a", "b")]


def test_renamed_tasks_are_equal_by_what_they_are() -> None:
    assert charge.named("x") == charge.named("y").named("x")
    assert charge.reading(sku="k") == charge.reading(sku="j").reading(sku="k")
    assert charge.when(is_large).named("x") == charge.named("x").when(is_large)
    assert charge.reading(sku="k") != charge
    assert charge.writing(payment_id="k") != charge.into("k")


@pytest.mark.parametrize("graph", [a, a >> b, Graph(), charge.sealed(Order, Payment)], ids=repr)
def test_graphs_are_immutable(graph: Graph[Any, Any, Any]) -> None:
    for name in ("structure", "name", "anything"):
        with pytest.raises(AttributeError):
            setattr(graph, name, "x")


def test_copies_are_equal() -> None:
    graph = a >> [b, c]
    assert copy.copy(graph) == graph
    assert copy.deepcopy(a >> b).structure.edges == (a >> b).structure.edges


def test_a_graph_is_true_and_iterates_over_its_tasks() -> None:
    assert Graph()
    assert [node.name for node in c >> [b, a]] == ["a", "b", "c"]
    assert list(Graph()) == []


def test_repr_shows_edges_and_lone_tasks() -> None:
    assert repr(a >> b & c) == "Graph(a >> b, c)"
    assert repr(Graph()) == "Graph()"
    assert repr(a) == "<task a>"


# Nodes


def test_named_makes_another_node_of_one_function() -> None:
    both = a >> a.named("again")
    assert edges(both) == {"aagain"}


@pytest.mark.parametrize("name", ["", None, 3])
def test_a_name_is_a_string(name: Any) -> None:
    with pytest.raises(ValueError, match="is no name"):
        a.named(name)


def test_rules() -> None:
    for rule in RULES:
        assert a.on(rule).rule == rule
    with pytest.raises(ValueError, match="choose one of none_failed"):
        a.on("sometimes")  # type: ignore[arg-type]  # what is tested


@pytest.mark.parametrize("wrong", [None, "is_large", 3, charge])
def test_a_condition_is_a_plain_function(wrong: Any) -> None:
    for graph in (charge, charge >> a):
        with pytest.raises(TypeError, match="a condition is a plain function"):
            graph.when(wrong)


def test_a_condition_over_a_graph_guards_each_of_its_tasks_together() -> None:
    guarded = (charge >> a).when(is_large)
    guards = {node.guards for node in guarded}
    assert len(guards) == 1
    (guard,) = guards.pop()
    assert (set(guard.members), set(guard.heads)) == ({"a", "charge"}, {"charge"})


def test_conditions_nest_outermost_first() -> None:
    inner = charge.when(holds)
    outer = (inner >> a).when(is_large)
    names = {node.name: [str(getattr(guard.predicate, "name", "")) for guard in node.guards] for node in outer}
    assert names == {"a": ["is_large"], "charge": ["is_large", "holds"]}


def test_composing_never_changes_an_operand() -> None:
    before = repr(charge.structure)
    charge.when(is_large).named("x").on("all_done").reading(sku="s").with_options(timeout=1)
    _ = a >> charge >> b
    assert repr(charge.structure) == before


def test_a_seal_is_one_node_named_after_its_first_task() -> None:
    sealed = (charge >> a).sealed(Order, Payment)
    assert isinstance(sealed, Seal)
    assert sealed.name == "sealed:charge"
    assert list((sealed >> b).structure.nodes) == ["sealed:charge", "b"]
    assert sealed.named("paying").name == "paying"
    assert sealed == (charge >> a).sealed(Order, Payment)
    assert sealed != (charge >> a).sealed(Order, None)


def test_equal_orders_seal_equal() -> None:
    assert (a >> b & b >> c).sealed(None, None) == (a >> b >> c).sealed(None, None)


def test_what_a_seal_takes() -> None:
    with pytest.raises(ContractError) as error:
        Graph().sealed(Order, None)
    assert codes(error) == [("workflow-input", "")]
    with pytest.raises(ContractError) as error:
        charge.sealed(int, Payment)  # type: ignore[type-var]  # what is tested
    assert codes(error) == [("workflow-input", "sealed:charge")]


def test_a_long_chain_is_composed_step_by_step() -> None:
    tasks = [a.named(f"t{number}") for number in range(500)]
    chain = functools.reduce(operator.rshift, tasks)
    assert len(chain.structure.edges) == 499
    assert (set(chain.structure.heads), set(chain.structure.tails)) == ({"t0"}, {"t499"})


def test_a_graph_draws_itself() -> None:
    graph = charge.when(is_large) >> (a >> b).when(holds) >> c.on("all_done")
    picture = graph.picture({"charge": "failed"})
    notes = {shape.name: (shape.kind, shape.detail, shape.note) for shape in picture.shapes}
    assert notes["charge"] == ("task", "Order -> Payment", "when is_large")
    assert notes["c"] == ("task", "() -> ()", "on all_done")
    assert [(frame.label, set(frame.members)) for frame in picture.frames] == [("when holds", {"a", "b"})]
    assert picture.arrows == {("charge", "a"), ("a", "b"), ("b", "c")}
    assert charge.sealed(Order, Payment).picture().shapes[0].kind == "sealed"
