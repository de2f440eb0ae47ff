"""Stored plans: read back, they say of a run what the workflow's own plan says."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from cloaca import Workflow, task
from cloaca.cli.stored_plans import plan_of


class Number(BaseModel):
    n: int


@task
def a(number: Number) -> None: ...


def is_large(number: Number) -> bool:
    return number.n > 5


GRAPHS = [
    a >> a.named("b"),
    a >> [a.named("b").when(is_large), a.named("c")] >> a.named("d").on("all_done"),
    a >> (a.named("b") >> a.named("c")).when(is_large) >> a.named("d"),
    a >> (a.named("b") >> a.named("c")).sealed(Number, None).when(is_large),
]


@pytest.mark.parametrize("graph", GRAPHS)
def test_what_is_stored_is_what_a_run_is_read_with(graph: object) -> None:
    plan = Workflow("w", graph).plan  # type: ignore[call-overload]  # graphs of several types in one list
    read = plan_of(plan.spec)
    fields = ("index", "name", "kind", "task", "preds", "succs", "awaited", "gates", "rule")
    for ours, stored in zip(plan.nodes, read.nodes, strict=True):
        assert [getattr(ours, field) for field in fields] == [getattr(stored, field) for field in fields]


@pytest.mark.parametrize("spec", ["", "[]", '{"nodes": [{"name": "a"}]}', '{"nodes": [{"preds": [7]}]}'])
def test_what_is_no_plan_is_refused(spec: str) -> None:
    with pytest.raises(ValueError, match="stored plan"):
        plan_of(spec)
