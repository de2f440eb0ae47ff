"""What a task may count on, for each trigger rule, with and without conditions: the paragraph "sure" as a table."""

# mypy: disable-error-code=empty-body

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel, create_model

from cloaca import ContractError, Graph, Task, Workflow, task
from cloaca.algebra.graphs import RULES


class Go(BaseModel):
    go: bool


def go(row: Go) -> bool:
    return row.go


def writer(key: str) -> Task[Any, Any]:
    """A task that writes the field of its name."""
    model = create_model(key, **{key: (int, ...)})  # type: ignore[call-overload]  # a field whose name is a variable

    def write() -> Any: ...

    write.__annotations__["return"] = model
    return task(name=key)(write)


a, b, c, d = map(writer, "abcd")


def counts_on(keys: str, build: Callable[[Task[Any, Any]], Graph[Any, Any, Any]]) -> str:
    """Return those of ``keys`` that the task handed to ``build`` may read without a default."""

    def accepted(key: str) -> bool:
        model = create_model(f"Reads{key}", **{key: (int, ...)})  # type: ignore[call-overload]  # as above

        def read(row: Any) -> None: ...

        read.__annotations__["row"] = model
        try:
            return bool(Workflow("w", build(task(read)), input=Go))
        except ContractError as error:
            return {violation.code for violation in error.violations} != {"maybe-missing"}

    return "".join(key for key in keys if accepted(key))


ITSELF = {
    # rule: what a task under it may count on, behind a >> b, and behind a >> b.when(go)
    "none_failed": ("ab", "a"),
    "all_success": ("ab", "ab"),
    "all_done": ("", ""),
    "any_success": ("", ""),
    "any_failed": ("", ""),
    "all_failed": ("", ""),
}

NEXT = {
    # rule: what the task after c, which is under it, may count on, behind a >> b >> c, and behind a >> b.when(go) >> c
    "none_failed": ("abc", "ac"),
    "all_success": ("abc", "a"),
    "all_done": ("c", "c"),
    "any_success": ("c", ""),
    "any_failed": ("", ""),
    "all_failed": ("", ""),
}


@pytest.mark.parametrize("rule", RULES)
def test_what_a_task_under_a_rule_may_count_on(rule: Any) -> None:
    plain, conditional = ITSELF[rule]
    assert counts_on("ab", lambda last: a >> b >> last.on(rule)) == plain
    assert counts_on("ab", lambda last: a >> b.when(go) >> last.on(rule)) == conditional
    assert counts_on("ab", lambda last: a >> b >> last.on(rule).when(go)) == plain
    assert counts_on("ab", lambda last: a >> b.when(go) >> last.on(rule).when(go)) == conditional


@pytest.mark.parametrize("rule", RULES)
def test_what_the_next_task_may_count_on(rule: Any) -> None:
    plain, conditional = NEXT[rule]
    assert counts_on("abc", lambda last: a >> b >> c.on(rule) >> last) == plain
    assert counts_on("abc", lambda last: a >> b.when(go) >> c.on(rule) >> last) == conditional


@pytest.mark.parametrize("rule", RULES)
def test_a_condition_over_the_task_takes_it_away(rule: Any) -> None:
    _, conditional = NEXT[rule]
    behind = counts_on("abc", lambda last: a >> b.when(go) >> c.on(rule).when(go) >> last)
    assert behind == conditional.replace("c", "")


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        # The specification's own example
        (lambda last: a >> b.on("all_done") >> last, "b"),
        # A condition over several tasks: inside each is sure of those before it, outside nobody is
        (lambda last: a >> (b >> c >> last).when(go), "abc"),
        (lambda last: a >> (b >> c).when(go) >> last, "a"),
        (lambda last: a >> (b >> c).when(go) >> last.on("all_success"), "abc"),
        (lambda last: (a >> b).when(go) >> c >> last, "c"),
        # A condition in a condition
        (lambda last: a >> (b >> c.when(go) >> last).when(go), "ab"),
        (lambda last: (a >> (b >> c).when(go) >> last).when(go), "a"),
        # One side is enough
        (lambda last: a >> [b, c.when(go)] >> last, "ab"),
        (lambda last: a >> [b.when(go), c.when(go)] >> last, "a"),
        # Success, somewhere between
        (lambda last: a.when(go) >> b.on("all_success") >> c >> last, "c"),
        (lambda last: a.when(go) >> b.on("all_success") >> c.on("all_success") >> last, ""),
        (lambda last: a.when(go) >> b.on("all_success") >> c.on("all_success") >> last.on("all_success"), "abc"),
        (lambda last: a >> b >> c.on("all_success") >> last, "abc"),
        # Any success of several: skipped by decision only if all of them are
        (lambda last: [a, b.when(go)] >> c.on("any_success") >> last, "c"),
        (lambda last: [a.when(go), b.when(go)] >> c.on("any_success") >> last, ""),
        # Two ways to one task
        (lambda last: a >> [b, c.on("all_done")] >> last, "abc"),
        (lambda last: a >> b.when(go) >> last & a >> c >> last, "ac"),
    ],
)
def test_mixed(build: Callable[[Task[Any, Any]], Graph[Any, Any, Any]], expected: str) -> None:
    written = "".join(sorted({"a", "b", "c"} & set(build(d).structure.nodes)))
    assert counts_on(written, build) == expected
