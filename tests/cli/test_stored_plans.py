"""Stored plans: read back, they say of a run what the workflow's own plan says."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from cloaca import BlockingRunner, Workflow, each, task
from cloaca.cli.stored_plans import plan_of
from tests.cli.conftest import Command


class Number(BaseModel):
    n: int


@task
def a(number: Number) -> None: ...


@task
def tell(number: Number) -> None: ...


def is_large(number: Number) -> bool:
    return number.n > 5


GRAPHS = [
    a >> a.named("b"),
    a >> [a.named("b").when(is_large), a.named("c")] >> a.named("d").on("all_done"),
    a >> (a.named("b") >> a.named("c")).when(is_large) >> a.named("d"),
    a >> (a.named("b") >> a.named("c")).sealed(Number, None).when(is_large),
    a.compensate(tell.named("undo")) >> a.named("b"),
]


@pytest.mark.parametrize("graph", GRAPHS)
def test_what_is_stored_is_what_a_run_is_read_with(graph: object) -> None:
    plan = Workflow("w", graph, on_failure=tell).plan  # type: ignore[call-overload]  # graphs of several types in one list
    read = plan_of(plan.spec)
    fields = ("index", "name", "kind", "task", "preds", "succs", "awaited", "gates", "rule", "undoes", "outcomes")
    for ours, stored in zip(plan.nodes, read.nodes, strict=True):
        assert [getattr(ours, field) for field in fields] == [getattr(stored, field) for field in fields]


@pytest.mark.parametrize("spec", ["", "[]", '{"nodes": [{"name": "a"}]}', '{"nodes": [{"preds": [7]}]}'])
def test_what_is_no_plan_is_refused(spec: str) -> None:
    with pytest.raises(ValueError, match="stored plan"):
        plan_of(spec)


class Numbers(BaseModel):
    numbers: list[Number]


class Double(BaseModel):
    double: int


class Doubles(BaseModel):
    doubles: list[Double]


def test_a_run_with_a_fan_out_is_forked_by_what_is_stored(cloaca: Command, tmp_path: Path) -> None:
    doubled: list[int] = []

    @task
    def double(number: Number) -> Double:
        doubled.append(number.n)
        return Double(double=2 * number.n)

    @task
    def add(doubles: Doubles) -> Number:
        return Number(n=sum(each.double for each in doubles.doubles))

    sums = Workflow("sums", each(double, over="numbers", into="doubles") >> add, input=Numbers)
    url = f"sqlite:///{tmp_path}/sums.db"
    with BlockingRunner(url, workflows=[sums]) as runner:
        first = runner.start(sums, Numbers(numbers=[Number(n=1), Number(n=2)]))
        assert first.result().unwrap() == Number(n=6)
    answer = cloaca("runs", "fork", first.id, "--before", "add", "--database", url, "--json")
    assert answer.code == 0, answer.err
    with BlockingRunner(url, workflows=[sums]) as runner:
        assert runner.get(answer.document["id"]).result().unwrap() == Number(n=6)
    assert sorted(doubled) == [1, 2]
