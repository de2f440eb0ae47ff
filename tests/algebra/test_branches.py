"""``branch`` and ``rescue`` as expressions: names, equality, what is refused at once, and how they draw themselves."""

from __future__ import annotations

from typing import Any, cast

import pytest
from pydantic import BaseModel

from cloaca import ContractError, Graph, TaskFailure, Workflow, branch, task


class Order(BaseModel):
    amount: int


class Paid(BaseModel):
    reference: str


def is_large(order: Order) -> bool:
    return order.amount > 100


def is_odd(order: Order) -> bool:
    return order.amount % 2 == 1


@task
def one(order: Order) -> None: ...


@task
def other(order: Order) -> None: ...


@task
def third(order: Order) -> None: ...


@task
def pay(order: Order) -> Paid:
    return Paid(reference="p")


@task
def mend(order: Order, failure: TaskFailure) -> Paid:
    return Paid(reference=failure.task)


anything: Any = pay  # what a type checker would refuse, too


def codes(made: Any) -> list[str]:
    with pytest.raises(ContractError) as refused:
        made()
    return [violation.code for violation in refused.value.violations]


def edges(graph: Graph[Any, Any, Any]) -> set[tuple[str, str]]:
    return set(graph.structure.edges)


def test_a_branch_is_a_decision_before_both_arms() -> None:
    made = third >> branch(is_large, then=one, otherwise=[other, pay]) >> mend.named("last")
    assert edges(made) == {
        ("third", "branch:is_large"),
        ("branch:is_large", "one"),
        ("branch:is_large", "other"),
        ("branch:is_large", "pay"),
        ("one", "last"),
        ("other", "last"),
        ("pay", "last"),
    }


def test_of_an_empty_arm_the_decision_is_last() -> None:
    assert edges(branch(is_large, then=one, otherwise=Graph()) >> other) == {
        ("branch:is_large", "one"), ("branch:is_large", "other"), ("one", "other"),
    }  # fmt: skip
    assert [node.name for node in branch(is_large, then=Graph(), otherwise=Graph())] == ["branch:is_large"]


def test_equal_expressions_are_equal() -> None:
    made, same = (branch(is_large, then=one, otherwise=other) for _ in range(2))
    assert made == same
    assert hash(made) == hash(same)
    assert made & same == made
    assert made != branch(is_large, then=other, otherwise=one)
    assert made != branch(is_odd, then=one, otherwise=other)
    assert made.named("x") != made
    assert pay.rescue(mend) == pay.rescue(mend) != pay


def test_a_renamed_decision_is_known_to_both_arms() -> None:
    made = branch(is_large, then=one, otherwise=branch(is_odd, then=other, otherwise=Graph()).named("odd")).named(
        "size"
    )
    assert [node.name for node in made] == ["odd", "one", "other", "size"]
    assert made.when(is_odd).named("again").named("size") == made.when(is_odd)
    Workflow("w", made.on("all_done"))
    assert codes(lambda: made.named("one")) == ["task-name"]
    with pytest.raises(ValueError, match="is no name"):
        made.named(" ")


def test_two_branches_on_one_condition_share_the_decision_unless_it_is_named() -> None:
    made, more = branch(is_large, then=one, otherwise=Graph()), branch(is_large, then=Graph(), otherwise=other)
    assert edges(made & more) == edges(branch(is_large, then=one, otherwise=other))
    assert sorted(node.name for node in made & more.named("again")) == ["again", "branch:is_large", "one", "other"]
    assert codes(lambda: made >> more) == ["shared-task"]
    assert codes(lambda: made & more.on("all_done")) == ["task-name"]


def test_a_task_can_not_be_in_both_arms() -> None:
    assert codes(lambda: branch(is_large, then=one, otherwise=one >> other)) == ["task-name"]


def test_an_arm_without_its_decision_is_refused() -> None:
    made = branch(is_large, then=one >> third, otherwise=other)
    alone = next(node for node in made if node.name == "third")
    with pytest.raises(ContractError, match='"third" is in an arm of "branch:is_large", but that is not in the graph'):
        Workflow("w", alone)


def test_what_is_no_condition_or_no_graph_is_refused() -> None:
    with pytest.raises(TypeError, match="a condition is a plain function"):
        branch(cast("Any", one), then=one, otherwise=other)
    with pytest.raises(TypeError, match=r"then=3.*an arm is a task or a graph"):
        branch(is_large, then=3, otherwise=other)  # type: ignore[call-overload]  # no graph
    with pytest.raises(TypeError, match="is a plain function; decorate it with @task"):
        branch(is_large, then=is_odd, otherwise=other)  # type: ignore[call-overload]  # no graph


def test_a_condition_needs_an_annotation() -> None:
    made = branch(lambda order: True, then=one, otherwise=other)
    with pytest.raises(ContractError, match="annotate its parameter with the model to read"):
        Workflow("w", made)


@pytest.mark.parametrize(
    ("made", "kind", "text"),
    [
        (lambda: anything.rescue(is_large), TypeError, "a handler is a task"),
        (lambda: anything.rescue(mend).rescue(one), ValueError, "has a handler already"),
        (lambda: anything.rescue(one.rescue(other)), ValueError, "nothing rescues a rescue"),
        (lambda: anything.rescue(mend.when(is_large)), ValueError, "a condition or a rule of its own"),
        (lambda: anything.rescue(mend.on("all_done")), ValueError, "a condition or a rule of its own"),
        (lambda: anything.rescue(mend.with_options(cache=60)), ValueError, "not under how it failed"),
    ],
    ids=["no task", "twice", "rescued itself", "guarded", "ruled", "cached"],
)
def test_what_is_no_handler_is_refused(made: Any, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        made()


def test_a_handler_goes_with_its_task() -> None:
    rescued = pay.rescue(mend)
    for changed in (
        rescued.named("x"),
        rescued.when(is_large),
        rescued.on("all_done"),
        rescued.with_options(timeout=3),
    ):
        assert changed.handler == mend
    assert rescued(Order(amount=1)) == Paid(reference="p")


def test_a_handler_is_a_node_of_its_own() -> None:
    assert "task-name" in codes(lambda: Workflow("w", pay.rescue(mend) >> mend))
    assert codes(lambda: Workflow("w", pay.into("x").named("x").rescue(mend) >> pay.rescue(mend))) == ["task-name"]


def test_both_are_drawn() -> None:
    made = Workflow("w", branch(is_large, then=pay.rescue(mend), otherwise=one) >> other)
    mermaid = made.to_mermaid()
    assert 'branch_is_large{"branch:is_large<br/>Order"}' in mermaid
    for line in ('branch_is_large -->|"yes"| pay', 'branch_is_large -->|"no"| one', 'pay -.->|"rescue"| mend'):
        assert line in mermaid
    dot = made.to_dot()
    assert '"branch:is_large" -> "pay" [label="yes"' in dot
    assert '"pay" -> "mend" [style=dashed, label="rescue"' in dot
    assert all(word in made.to_text() for word in ("one (no)", "pay (yes)", "mend (rescue)"))
    svg = made.to_svg()
    assert all(f">{word}</text>" in svg for word in ("yes", "no", "rescue"))
