"""Branches and handlers under the contract, and in the plan: by example; ``test_reference`` has them at random."""

from __future__ import annotations

import operator
from typing import Annotated, Any

import pytest
from pydantic import BaseModel
from returns.result import Result

from cloaca import ContractError, Graph, Reduce, TaskFailure, Workflow, branch, task
from cloaca.contract.cases import inevitable
from cloaca.contract.checker import Checker
from cloaca.contract.steps import Checked


class Order(BaseModel):
    amount: int


class A(BaseModel):
    a: int


class MaybeA(BaseModel):
    a: int | None = None


class WideA(A):
    more: int = 0


class B(BaseModel):
    b: int


class Total(BaseModel):
    total: Annotated[int, Reduce(operator.add)]


class Declined(BaseModel):
    reason: str


def is_large(order: Order) -> bool:
    return order.amount > 100


def is_odd(order: Order) -> bool:
    return order.amount % 2 == 1


def is_a(row: A) -> bool:
    return row.a > 0


@task
def writes_a(order: Order) -> A: ...  # type: ignore[empty-body]


@task
def also_a(order: Order) -> WideA: ...  # type: ignore[empty-body]


@task
def writes_b(order: Order) -> B: ...  # type: ignore[empty-body]


@task
def reads_a(row: A) -> None: ...


@task
def rewrites_a(row: A) -> A: ...  # type: ignore[empty-body]


@task
def nothing(order: Order) -> None: ...


@task
def adds(order: Order) -> Total: ...  # type: ignore[empty-body]


@task
def reads_total(total: Total) -> None: ...


def found(*graphs: Any, **rows: Any) -> list[tuple[str, str, str]]:
    try:
        Workflow("w", *graphs, **{"input": Order, **rows})
    except ContractError as error:
        return [(each.code, each.task, each.field) for each in error.violations]
    return []


def providers(workflow: Workflow[Any, Any], task: str, field: str) -> list[str]:
    plan = workflow.plan
    source = plan.nodes[plan.by_name[task]].arguments[0].sources[field]
    return [plan.nodes[provider.node].name if provider.node >= 0 else "input" for provider in source.providers]


def test_what_both_arms_write_is_sure_and_does_not_conflict() -> None:
    made = Workflow("w", branch(is_large, then=writes_a, otherwise=also_a) >> reads_a)
    assert sorted(providers(made, "reads_a", "a")) == ["also_a", "writes_a"]


def test_what_one_arm_writes_may_be_missing() -> None:
    assert found(branch(is_large, then=writes_a, otherwise=writes_b) >> reads_a) == [("maybe-missing", "reads_a", "a")]
    assert found(branch(is_large, then=writes_a, otherwise=Graph()) >> reads_a) == [("maybe-missing", "reads_a", "a")]


def test_what_was_sure_before_stays_sure() -> None:
    made = Workflow("w", writes_a >> branch(is_large, then=rewrites_a, otherwise=nothing) >> reads_a, input=Order)
    assert providers(made, "reads_a", "a") == ["rewrites_a", "writes_a"]


def test_an_update_in_both_arms_replaces_what_was_before() -> None:
    both = branch(is_large, then=rewrites_a, otherwise=rewrites_a.named("other"))
    made = Workflow("w", writes_a >> both >> reads_a, input=Order)
    assert sorted(providers(made, "reads_a", "a")) == ["other", "rewrites_a"]


def test_an_update_in_an_arm_must_read_what_it_replaces() -> None:
    assert found(writes_a >> branch(is_large, then=also_a, otherwise=nothing)) == [("unread-rewrite", "also_a", "a")]


def test_arms_of_two_branches_do_conflict() -> None:
    one = branch(is_large, then=writes_a, otherwise=nothing)
    two = branch(is_odd, then=also_a, otherwise=nothing.named("other"))
    assert found(one & two) == [("write-conflict", "writes_a", "a")]


def test_a_branch_within_an_arm_is_sure_only_if_all_of_it_is() -> None:
    inner = branch(is_odd, then=writes_a, otherwise=also_a)
    assert found(branch(is_large, then=inner, otherwise=writes_a.named("third")) >> reads_a) == []
    half = branch(is_odd, then=writes_a, otherwise=nothing)
    missing = found(branch(is_large, then=half, otherwise=also_a) >> reads_a)
    assert missing == [("maybe-missing", "reads_a", "a")]


def test_arms_that_meet_further_on_count_together() -> None:
    arms = branch(is_large, then=writes_a >> nothing, otherwise=also_a >> nothing.named("other"))
    ends = {node.name: node for node in arms if node.name in ("nothing", "other")}
    apart = [ends["nothing"] >> writes_b.named("c") >> reads_a, ends["other"] >> nothing.named("d") >> reads_a]
    assert found(arms, *apart) == []


def test_a_branch_on_a_condition_may_not_run_at_all() -> None:
    guarded = branch(is_large, then=writes_a, otherwise=also_a).when(is_odd)
    assert found(guarded >> reads_a) == [("maybe-missing", "reads_a", "a")]
    assert found(branch(is_large, then=writes_a, otherwise=also_a).sealed(Order, A) >> reads_a) == []


def test_the_condition_of_a_branch_reads_like_a_task() -> None:
    assert found(branch(is_a, then=nothing, otherwise=Graph())) == [("missing-field", "branch:is_a", "a")]
    assert found(writes_a >> branch(is_a, then=nothing, otherwise=Graph())) == []


def test_what_waits_for_any_arm_has_what_it_writes_itself() -> None:
    joined = branch(is_large, then=nothing, otherwise=nothing.named("other")) >> writes_a.on("any_success") >> reads_a
    assert found(joined) == []
    half = nothing.when(is_large) >> writes_a.on("any_success") >> reads_a
    assert found(half) == [("maybe-missing", "reads_a", "a")]


def test_folds_in_arms() -> None:
    made = Workflow("w", branch(is_large, then=adds, otherwise=adds.named("other")) >> reads_total)
    assert sorted(providers(made, "reads_total", "total")) == ["adds", "other"]
    assert found(branch(is_large, then=adds, otherwise=nothing) >> reads_total) == [
        ("maybe-missing", "reads_total", "total")
    ]


# Input and output


def test_the_input_is_that_of_the_first_tasks_in_the_arms() -> None:
    class Size(BaseModel):
        amount: int

    def by_size(size: Size) -> bool:
        return size.amount > 1

    assert Workflow("w", branch(by_size, then=writes_a, otherwise=nothing)).input is Order
    assert Workflow("w", branch(by_size, then=Graph(), otherwise=Graph())).input is Size
    with pytest.raises(ContractError, match="several models"):
        Workflow("w", branch(by_size, then=writes_a, otherwise=reads_a))


def test_the_output_is_one_of_the_arms() -> None:
    both = Workflow("w", branch(is_large, then=writes_a, otherwise=writes_b))
    assert (both.outputs, both.output, repr(both)) == ((A, B), None, "<workflow w: Order -> A | B>")
    same = Workflow("w", branch(is_large, then=writes_a, otherwise=writes_a.named("other")))
    assert (same.outputs, same.output) == ((A,), A)
    half = Workflow("w", branch(is_large, then=writes_a, otherwise=nothing))
    assert half.output is A
    assert Workflow("w", branch(is_large, then=nothing, otherwise=Graph())).plan.answer.nothing
    several = Workflow("w", branch(is_large, then=[writes_a, writes_b], otherwise=nothing))
    assert repr(several) == "<workflow w: Order -> dict>"


def test_a_plan_says_what_makes_two_branches_differ() -> None:
    made = Workflow("w", branch(is_large, then=writes_a, otherwise=writes_b))
    turned = Workflow("w", branch(is_large, then=writes_b, otherwise=writes_a))
    other = Workflow("w", branch(is_odd, then=writes_a, otherwise=writes_b).named("branch:is_large"))
    assert len({made.plan.digest, turned.plan.digest, other.plan.digest}) == 3
    assert len({made.version, turned.version, other.version}) == 3


# Handlers


@task
def charge(order: Order) -> Result[A, Declined]: ...  # type: ignore[empty-body]


@task
def mends(order: Order, failure: TaskFailure) -> WideA: ...  # type: ignore[empty-body]


@task
def mends_typed(declined: Declined) -> A: ...  # type: ignore[empty-body]


def test_either_may_have_written_what_follows_reads() -> None:
    made = Workflow("w", charge.rescue(mends) >> reads_a)
    assert sorted(providers(made, "reads_a", "a")) == ["charge", "mends"]
    (handler,) = (node for node in made.plan.nodes if node.name == "mends")
    assert (handler.rescues, handler.given, handler.needs_error) == (
        made.plan.by_name["charge"],
        ((1, "failure"),),
        False,
    )
    typed = Workflow("w", charge.rescue(mends_typed) >> reads_a)
    (handler,) = (node for node in typed.plan.nodes if node.name == "mends_typed")
    assert (handler.arguments, handler.given, handler.needs_error) == ((), ((0, "error"),), True)
    assert len({made.plan.digest, typed.plan.digest, Workflow("w", charge >> reads_a).plan.digest}) == 3


def test_what_a_handler_alone_writes_may_be_missing() -> None:
    class More(BaseModel):
        more: int

    @task
    def reads_more(row: More) -> None: ...

    assert found(charge.rescue(mends) >> reads_more) == [("maybe-missing", "reads_more", "more")]


def test_a_handler_sees_what_its_task_has_seen_and_not_what_it_writes() -> None:
    @task
    def reads(row: A) -> A: ...  # type: ignore[empty-body]

    assert found(charge.rescue(reads)) == [("missing-field", "reads", "a")]
    assert found(writes_a >> rewrites_a.rescue(reads)) == []


def test_a_handler_must_read_what_it_replaces() -> None:
    assert found(writes_a >> rewrites_a.rescue(mends)) == [("unread-rewrite", "mends", "a")]


@pytest.mark.parametrize(
    ("handler", "text"),
    [
        (writes_b, 'does not write field "a" \\(int\\), as "charge" does'),
        (nothing, "does not write field"),
        (writes_a.writing(a="b"), "does not write field"),
        (writes_a.into("a"), 'writes field "a" as A, but "charge" as int'),
    ],
    ids=["another field", "nothing", "elsewhere", "as a whole"],
)
def test_a_handler_that_does_not_fit_is_refused(handler: Any, text: str) -> None:
    with pytest.raises(ContractError, match=text) as refused:
        Workflow("w", charge.rescue(handler))
    assert [(each.code, each.task) for each in refused.value.violations] == [("workflow-input", "charge")]


def test_a_handler_writes_where_its_task_would_have() -> None:
    class Whole(BaseModel):
        whole: A

    class C(BaseModel):
        c: int

    @task
    def reads_whole(row: Whole) -> None: ...

    @task
    def reads_c(row: C) -> None: ...

    assert found(charge.into("whole").rescue(mends) >> reads_whole) == []
    assert found(charge.writing(a="c").rescue(mends) >> reads_c) == []
    assert found(charge.writing(a="c").rescue(writes_b.writing(b="c")) >> reads_c) == []


def test_after_a_rescue_all_have_succeeded() -> None:
    assert found(charge.rescue(mends) >> writes_b.on("all_success") >> reads_a) == []


def test_a_rescue_in_an_arm_and_in_a_seal() -> None:
    assert found(branch(is_large, then=charge.rescue(mends), otherwise=writes_a) >> reads_a) == []
    assert found(charge.rescue(mends).when(is_large) >> reads_a) == [("maybe-missing", "reads_a", "a")]
    assert found((nothing >> charge.rescue(mends)).sealed(Order, A) >> reads_a) == []


def visits(size: int, monkeypatch: pytest.MonkeyPatch) -> int:
    seen: list[Checker] = []
    run = Checker.run
    graph: Graph[Any, Any] = writes_a
    for n in range(size):
        arms = (rewrites_a.named(f"then{n}"), rewrites_a.named(f"else{n}"))
        graph = graph >> branch(is_large, then=arms[0], otherwise=arms[1]).named(f"b{n}")

    def watched(self: Checker) -> Checked:
        seen.append(self)
        return run(self)

    with monkeypatch.context() as patched:
        patched.setattr(Checker, "run", watched)
        Workflow("w", graph >> reads_a, input=Order)
    return seen[0].visits


def test_the_cost_of_branches_is_that_of_the_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    assert visits(200, monkeypatch) < 4.5 * visits(50, monkeypatch)


def test_cases() -> None:
    assert inevitable([((1, True),), ((1, False), (2, True)), ((1, False), (2, False))], {})
    assert not inevitable([], {})
    assert not inevitable([((1, True), (2, True)), ((1, False),)], {1: True})
