"""Whatever goes wrong, a trip is had as a whole or not at all; and mistakes in the giving back are found."""

import pytest
from trip import Cancelled, Itinerary, Wish, agency, book_flight, book_hotel, confirm, give_back, trip

from cloaca import Workflow
from cloaca.testing import World, workflow_test


def paid(service: str) -> bool:
    return agency.ledger.balance(service) > 0


def confirmed_is_booked(world: World) -> None:
    """At no moment is a trip confirmed that has no flight or no hotel."""
    if world.commits(confirm):
        assert paid("flight")
        assert paid("hotel")


def all_or_nothing(world: World) -> None:
    if world.status == "succeeded":
        assert paid("flight")
        assert paid("hotel")
    elif world.statuses["give_back"] != "failed":  # twenty attempts have failed: a person has to look
        assert agency.ledger.balance() == 0


@workflow_test(trip, reset=agency.ledger.clear, invariants=[confirmed_is_booked])
def test_all_or_nothing(world: World) -> None:
    all_or_nothing(world)


def forgetful(wish: Wish) -> Cancelled:
    """Give back the flight alone: after all, the hotel is booked last."""
    return Cancelled(given_back=agency.cancel("flight", wish.trip))


def test_a_forgetful_agent_is_found_out() -> None:
    found = workflow_test(trip, fakes={give_back: forgetful}, reset=agency.ledger.clear)(all_or_nothing)
    with pytest.raises(AssertionError) as caught:
        found()
    assert "book_flight" in "\n".join(caught.value.__notes__)


def test_giving_back_too_early_is_found_out() -> None:
    """The first draft of this example: what if the confirmation fails, when both are booked?"""
    bookings = [book_flight, book_hotel]
    draft = Workflow("draft", bookings >> confirm, bookings >> give_back.on("any_failed"), input=Wish, output=Itinerary)
    found = workflow_test(draft, reset=agency.ledger.clear)(all_or_nothing)
    with pytest.raises(AssertionError) as caught:
        found()
    assert "confirm fail" in "\n".join(caught.value.__notes__)


def test_a_task_is_a_function() -> None:
    agency.ledger.clear()
    wish = Wish(trip="Bonn", travellers=1)
    agency.book("flight", wish.trip, 200)
    assert give_back(wish) == Cancelled(given_back=200)
    assert give_back(wish) == Cancelled(given_back=200)
    assert agency.ledger.balance() == 0
