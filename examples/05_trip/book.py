"""Two trips: one that is had, and one that is given back."""

from returns.result import Failure, Success
from trip import Cancelled, Wish, agency, give_back, trip

from cloaca import BlockingRunner


def main() -> None:
    print(trip.to_text())
    with BlockingRunner("sqlite:///trips.db", workflows=[trip]) as runner:
        for wish in (Wish(trip="Rome", travellers=2), Wish(trip="Oslo", travellers=5)):
            handle = runner.start(trip, wish, key=wish.trip)
            match handle.result():
                case Success(itinerary):
                    print(f"{wish.trip}: {itinerary.text}")
                case Failure(failed):
                    cancelled = handle.output_of(give_back) or Cancelled(given_back=0)
                    print(f"{wish.trip}: {failed.task}: {failed.error}; {cancelled.given_back} given back")
    for entry in agency.ledger:
        print(f"{entry.amount:6} {entry.account:6} {entry.key}")


if __name__ == "__main__":
    main()
