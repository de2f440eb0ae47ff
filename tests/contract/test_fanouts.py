"""What a plan and a version say about fan-outs; where a list comes from that several tasks may have written."""

# mypy: disable-error-code=empty-body

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import BaseModel, RootModel

from cloaca import ContractError, Retry, Workflow, each, task


class Doc(BaseModel):
    title: str
    large: bool


class Page(BaseModel):
    url: str


class Leaf(Page):
    leaf: int


class Other(BaseModel):
    other: str


class Pages(BaseModel):
    pages: list[Page]


class Leaves(BaseModel):
    pages: list[Leaf]


class Others(BaseModel):
    pages: list[Other] = []


class Seen(BaseModel):
    pages: Sequence[Page]


class Text(BaseModel):
    text: str


@task
def split(doc: Doc) -> Pages: ...
@task
def fetch(page: Page) -> Text: ...
@task
def grow(seen: Seen) -> Leaves: ...
@task
def swap(seen: Seen) -> Others: ...


def is_large(doc: Doc) -> bool:
    return doc.large


def plan(*graphs: Any) -> Any:
    return Workflow("w", *graphs, input=Doc).plan


def test_the_plan_of_an_element_is_a_plan() -> None:
    made = plan(split >> each(fetch, over="pages", into="texts", limit=3))
    fan = made.fans["each:fetch"].fan
    assert (fan.fields, fan.limit, fan.into, fan.type) == (("url",), 3, "texts", list[Text])
    assert [node.name for node in fan.plan.nodes] == ["fetch"]
    assert [node.task for node in made.everywhere()] == ["split", "each:fetch", "each:fetch/fetch"]
    assert made.by_task.keys() == {"split", "each:fetch"}


def test_what_makes_runs_incompatible_is_in_the_spec() -> None:
    one = plan(split >> each(fetch, over="pages", into="texts", limit=3))
    assert one.digest == plan(split >> each(fetch, over="pages", into="texts")).digest
    others = [
        plan(split >> each(fetch, over="pages", into="others").named("each:fetch")),
        plan(split >> each(fetch.named("load"), over="pages", into="texts").named("each:fetch")),
        plan(split >> each(fetch.into("text"), over="pages", into="texts") & split.named("more").into("more")),
    ]
    assert len({one.digest, *(other.digest for other in others)}) == 4


def test_what_is_inside_counts_for_the_version() -> None:
    def version(graph: Any) -> str:
        return Workflow("w", split >> graph, input=Doc).version

    made = [
        version(each(fetch, over="pages", into="texts")),
        version(each(fetch, over="pages", into="texts", limit=2)),
        version(each(fetch.with_options(retry=Retry(attempts=2)), over="pages", into="texts")),
        version(each(fetch.when(lambda page: page.url != ""), over="pages", into="texts")),
    ]
    assert len(set(made)) == 4
    assert version(each(fetch, over="pages", into="texts")) == made[0]


def test_the_latest_list_says_what_an_element_is_and_the_others_must_fit() -> None:
    fan = each(fetch, over="pages", into="texts")
    assert plan(split >> grow >> fan).fans["each:fetch"].fan.fields == ("url", "leaf")
    with pytest.raises(ContractError) as raised:
        plan(split >> grow.when(is_large) >> fan)
    assert [(v.code, v.task, v.field) for v in raised.value.violations] == [("field-type", "each:fetch", "pages")]
    with pytest.raises(ContractError) as raised:
        plan(split >> swap >> fan)
    assert [(v.code, v.task, v.field) for v in raised.value.violations] == [
        ("missing-field", "each:fetch/fetch", "url")
    ]


def test_a_list_that_may_be_absent() -> None:
    class Maybe(BaseModel):
        pages: list[Page] = []

    with pytest.raises(ContractError) as raised:
        Workflow("w", each(fetch, over="pages", into="texts"), input=Maybe)
    assert [(v.code, v.task, v.field) for v in raised.value.violations] == [("maybe-missing", "each:fetch", "pages")]


def test_what_is_read_of_a_task_around_that_may_not_have_run() -> None:
    class Titled(BaseModel):
        url: str
        text: str

    @task
    def show(titled: Titled) -> Text: ...

    @task
    def head(doc: Doc) -> Text: ...

    with pytest.raises(ContractError) as raised:
        plan([split, head.when(is_large)] >> each(show, over="pages", into="texts"))
    (violation,) = raised.value.violations
    assert (violation.code, violation.task, violation.field) == ("maybe-missing", "each:show/show", "text")
    assert 'only "head" provides it, and it may not have run' in violation.message


def test_elements_that_are_no_rows() -> None:
    class Names(RootModel[list[str]]): ...

    class Listed(BaseModel):
        names: list[Names]

    with pytest.raises(ContractError) as raised:
        Workflow("w", each(fetch, over="names", into="texts"), input=Listed)
    assert {violation.code for violation in raised.value.violations} == {"task-model"}


@pytest.mark.parametrize("kind", [list[int], list[Page | None], dict[str, Page], set[str], list[Any], str, Page])
def test_what_is_no_list_of_models(kind: Any) -> None:
    listed = type("Listed", (BaseModel,), {"__annotations__": {"pages": kind}, "__module__": __name__})
    with pytest.raises(ContractError) as raised:
        Workflow("w", each(fetch, over="pages", into="texts"), input=listed)
    assert [(v.code, v.task, v.field) for v in raised.value.violations] == [("workflow-input", "each:fetch", "pages")]


def test_conditions_and_seals_around_and_inside() -> None:
    class Texts(BaseModel):
        texts: list[Text] = []

    @task
    def bind(texts: Texts) -> Text: ...

    inner = (split >> each(fetch, over="pages", into="texts") >> bind).sealed(Doc, Text)
    made = plan(inner)
    assert [node.name for node in made.nodes] == [
        "entry:sealed:split",
        "sealed:split/split",
        "sealed:split/each:fetch",
        "sealed:split/bind",
        "sealed:split",
    ]
    assert made.fans["sealed:split/each:fetch"].fan.plan.nodes[0].task == "sealed:split/each:fetch/fetch"
    unsure = Workflow("w", split >> each(fetch, over="pages", into="texts").when(is_large) >> bind, input=Doc)
    assert unsure.output is Text


def test_a_name_that_looks_like_an_elements_is_refused() -> None:
    odd = fetch.named("each:fetch/0/fetch").reading(url="title")
    with pytest.raises(ContractError, match="Two different tasks are both named"):
        plan([split, odd.into("odd")] >> each(fetch, over="pages", into="texts"))
