"""Where something is to go wrong must exist: what never comes about would let every test pass."""

from __future__ import annotations

import pytest

from cloaca import Retry, Workflow, each, subflow, task
from cloaca.testing import (
    Scenario,
    clock_jump,
    crash_after_commit,
    crash_before_commit,
    exhaust,
    fail,
    simulate,
    store_error,
)
from tests.runner.books import Page, Pages, Text
from tests.testing.shop import Order, shop

ORDER = Order(order_id=1, amount=5, gift=True)


@task(retry=Retry(attempts=2))
def read(page: Page) -> Text:
    return Text(text=f"{page.number}")


@task
def rest() -> None: ...


books = Workflow("books", each(read, over="pages", into="texts"), input=Pages)
outer = Workflow("outer", subflow(Workflow("inner", rest)))
PAGES = Pages(pages=[Page(number=1), Page(number=2)])


def test_a_name_that_is_nearly_a_task() -> None:
    with pytest.raises(ValueError, match=r'workflow "shop" has no "chrage"; did you mean "charge"\?'):
        simulate(shop, ORDER, Scenario(crash_before_commit("chrage")))


def test_a_task_of_another_workflow() -> None:
    with pytest.raises(ValueError, match=r'workflow "shop" has no "rest"$'):
        simulate(shop, ORDER, Scenario(fail(rest)))


def test_the_elements_of_a_fan_out_have_places_of_their_own() -> None:
    with pytest.raises(ValueError, match='has its own, as in "each:read/0/read"'):
        simulate(books, PAGES, Scenario(exhaust(read)))
    with pytest.raises(ValueError, match='has its own, as in "each:read/0/read"'):
        simulate(books, PAGES, Scenario(exhaust("each/1/read")))
    assert simulate(books, PAGES, Scenario(fail("each:read/1/read"))).attempts("each:read/1/read") == 2


def test_places_that_are_no_tasks() -> None:
    scenario = Scenario(crash_after_commit("submit"), crash_before_commit("claim"), store_error(at=1), clock_jump(60))
    assert simulate(shop, ORDER, scenario).status == "succeeded"


def test_a_task_of_a_child_run() -> None:
    world = simulate(outer, None, Scenario(crash_before_commit(rest)))
    assert (world.status, world.attempts(rest)) == ("succeeded", 2)
