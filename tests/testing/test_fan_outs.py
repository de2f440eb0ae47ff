"""Fan-outs in a simulated world: their bodies can be faked, and crashes in the middle change nothing."""

from __future__ import annotations

import pytest
from returns.result import Success

from cloaca import Workflow, each
from cloaca.testing import Deviation, Scenario, crash_after_commit, crash_before_commit, simulate
from tests.typing.shelf import Book, Doc, Request, Text, bind, fetch, split, trim

books = Workflow("books", split >> each(fetch >> trim, over="pages", into="texts", limit=2) >> bind)
WHOLE = Book(book="Emma Emma/0 Emma Emma/1 Emma Emma/2")


@pytest.mark.parametrize(
    "deviations",
    [
        (),
        (crash_before_commit("each:fetch/1/trim"),),
        (crash_after_commit("each:fetch/0/fetch"),),
        (crash_after_commit("each:fetch"), crash_before_commit("bind")),
    ],
    ids=["none", "before a commit inside", "after a commit inside", "around"],
)
def test_crashes_change_nothing(deviations: tuple[Deviation, ...]) -> None:
    world = simulate(books, Doc(title="Emma", author="Jane"), Scenario(*deviations))
    assert world.outcome == Success(WHOLE)


def test_a_body_inside_is_faked() -> None:
    async def fake(request: Request) -> Text:
        return Text(text=request.url[-1])

    world = simulate(books, Doc(title="Emma", author="Jane"), Scenario(), fakes={fetch: fake})
    assert world.outcome == Success(Book(book="0 1 2"))
