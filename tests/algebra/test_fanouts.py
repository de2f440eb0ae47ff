"""``each``: a graph as one node, a value like any other; and what is no fan-out."""

# mypy: disable-error-code=empty-body

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from cloaca import ContractError, Graph, each, task
from cloaca.algebra.fanouts import Each


class Page(BaseModel):
    url: str


class Text(BaseModel):
    text: str


@task
def fetch(page: Page) -> Text: ...
@task
def trim(text: Text) -> Text: ...
@task
def after() -> None: ...


def is_long(page: Page) -> bool:
    return len(page.url) > 9


FAN = each(fetch >> trim, over="pages", into="texts", limit=8)


def test_it_is_named_by_its_first_task() -> None:
    assert FAN.name == "each:fetch"
    assert FAN.named("reading").name == "reading"
    assert repr(FAN) == "<each each:fetch>"
    assert each([fetch, trim], over="pages", into="texts").name == "each:fetch"
    assert each(FAN >> after, over="chapters", into="books").name == "each:each:fetch"


def test_equal_expressions_are_equal_and_hash_equal() -> None:
    again = each(fetch >> trim, over="pages", into="texts", limit=8)
    assert again == FAN
    assert hash(FAN) == hash(again)
    assert FAN & again == FAN
    others = [
        each(fetch, over="pages", into="texts", limit=8),
        each(fetch >> trim, over="others", into="texts", limit=8),
        each(fetch >> trim, over="pages", into="others", limit=8),
        each(fetch >> trim, over="pages", into="texts", limit=9),
        each(fetch >> trim, over="pages", into="texts"),
        FAN.when(is_long),
        FAN.on("all_done"),
    ]
    for other in others:
        assert other != FAN
        with pytest.raises(ContractError, match='Two different tasks are both named "each:fetch"'):
            FAN & other


def test_it_composes_like_a_task() -> None:
    graph = fetch.named("first") >> FAN >> after
    assert graph.structure.edges == {("first", "each:fetch"), ("each:fetch", "after")}
    assert set(graph.structure.nodes) == {"first", "each:fetch", "after"}


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"over": 7}, TypeError, 'over=7: name a context field, as in over="pages"'),
        ({"into": None}, TypeError, "into=None: name a context field"),
        ({"over": "two words"}, ValueError, "over='two words': a context key is a Python identifier"),
        ({"into": ""}, ValueError, "into='': a context key is a Python identifier"),
        ({"limit": 0}, ValueError, "limit=0: at least one element must be at work at a time; None means no limit"),
        ({"limit": -3}, ValueError, "limit=-3: at least one"),
        ({"limit": 2.0}, TypeError, "limit=2.0: a limit is a whole number of elements"),
        ({"limit": True}, TypeError, "limit=True: a limit is a whole number"),
    ],
)
def test_what_is_no_fan_out(arguments: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        each(fetch, **{"over": "pages", "into": "texts", **arguments})


def test_what_is_no_graph() -> None:
    with pytest.raises(TypeError, match="is a plain function; decorate it with @task"):
        each(is_long, over="pages", into="texts")  # type: ignore[arg-type]  # that is what is tested
    with pytest.raises(TypeError, match=r"each\(7, \.\.\.\): 7 is no graph"):
        each(7, over="pages", into="texts")  # type: ignore[call-overload, arg-type, unused-ignore]  # likewise
    empties: list[Any] = [Graph(), []]
    for empty in empties:
        with pytest.raises(ContractError, match="there is nothing to do for an element") as raised:
            each(empty, over="pages", into="texts")
        assert raised.value.violations[0].code == "workflow-input"


def test_pictures_show_what_is_inside() -> None:
    picture = (fetch.named("first") >> FAN >> after).picture({"each:fetch": "running"})
    assert {shape.name for shape in picture.shapes} == {"first", "each:fetch/fetch", "each:fetch/trim", "after"}
    assert picture.arrows == {
        ("first", "each:fetch/fetch"),
        ("each:fetch/fetch", "each:fetch/trim"),
        ("each:fetch/trim", "after"),
    }
    assert [(frame.label, len(frame.members)) for frame in picture.frames] == [("each:fetch: pages -> texts", 2)]
    assert picture.states["each:fetch/trim"] == "running"
    (shape,) = each(fetch, over="pages", into="texts").picture().shapes
    assert (shape.name, shape.kind, shape.detail) == ("each:fetch", "each", "pages -> texts")
    nested = each(FAN >> trim.named("last"), over="chapters", into="books").when(is_long).picture()
    assert sorted(frame.label for frame in nested.frames) == [
        "each:each:fetch/each:fetch: pages -> texts",
        "each:each:fetch: chapters -> books, when is_long",
    ]


def test_a_seal_and_a_fan_out_go_into_each_other() -> None:
    sealed = FAN.sealed(Page, Text)
    assert isinstance(each(sealed, over="pages", into="texts"), Each)
    assert each(sealed, over="pages", into="texts").name == "each:sealed:each:fetch"
