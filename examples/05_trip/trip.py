"""A trip is a flight and a hotel, or neither: if one can't be had, what was booked is given back.

Bookings are made outside, at a peer that no transaction reaches, so that a body may book twice or be killed in between.
What makes that harmless is that each booking has a reference, and a cancellation takes away whatever is under it.
"""

from pydantic import BaseModel, Field
from returns.result import Failure, Result, Success

from cloaca import Retry, Workflow, task
from cloaca.testing import Ledger

BEDS = 3  # a hotel takes no larger party


class Wish(BaseModel):
    trip: str = Field(min_length=1, max_length=20)
    travellers: int = Field(ge=1, le=9)


class Flight(BaseModel):
    flight: str


class Hotel(BaseModel):
    hotel: str


class Itinerary(BaseModel):
    text: str = "at home"  # after a failure there is none, so that the output needs a default


class Booked(BaseModel):
    flight: str
    hotel: str


class FullyBooked(BaseModel):
    what: str


class Cancelled(BaseModel):
    given_back: int


class Agency:
    """The peer. It never forgets a booking, and books nothing twice under one reference."""

    def __init__(self) -> None:
        self.ledger = Ledger()

    def book(self, service: str, reference: str, price: int) -> None:
        self.ledger.post(service, price, key=f"{reference}:{service}")

    def cancel(self, service: str, reference: str) -> int:
        """Take a booking away, if there is one, and return what was paid for it."""
        paid = sum(entry.amount for entry in self.ledger if entry.key == f"{reference}:{service}")
        if paid:
            self.ledger.post(service, -paid, key=f"{reference}:{service}:cancelled")
        return int(paid)


agency = Agency()
patience = Retry(attempts=5, delay=1)


@task(retry=patience, timeout=30)
async def book_flight(wish: Wish) -> Flight:
    agency.book("flight", wish.trip, 200 * wish.travellers)
    return Flight(flight=f"{wish.travellers} seats")


@task(retry=patience, timeout=30)
async def book_hotel(wish: Wish) -> Result[Hotel, FullyBooked]:
    if wish.travellers > BEDS:
        return Failure(FullyBooked(what=f"{wish.travellers} beds"))
    agency.book("hotel", wish.trip, 90 * wish.travellers)
    return Success(Hotel(hotel=f"{wish.travellers} beds"))


@task
def confirm(booked: Booked) -> Itinerary:
    return Itinerary(text=f"{booked.flight}, {booked.hotel}")


@task(retry=Retry(attempts=20, delay=5))
def give_back(wish: Wish) -> Cancelled:
    """Cancel both. Which of them were booked is not known: a body that failed may have booked before it did."""
    return Cancelled(given_back=sum(agency.cancel(service, wish.trip) for service in ("hotel", "flight")))


trip = Workflow(
    "trip",
    [book_flight, book_hotel] >> confirm >> give_back.on("any_failed"),
    input=Wish,
    output=Itinerary,
)
