"""Eight threads ask for the same thing at once, as impatient customers do: it is one run, and it is done once.

It runs on a SQLite file, ``cloaca.db``, in the current directory; the threads might as well be processes.
"""

from concurrent.futures import ThreadPoolExecutor

from pydantic import BaseModel

from cloaca import BlockingRunner, KeyConflict, TaskContext, Workflow, task

bookings: list[str] = []


class Seat(BaseModel):
    number: int


class Ticket(BaseModel):
    text: str


@task
def book(seat: Seat, *, ctx: TaskContext) -> Ticket:
    bookings.append(ctx.idempotency_key)  # the same for every attempt of this task in this run
    return Ticket(text=f"seat {seat.number}")


tickets = Workflow("tickets", book)


def main() -> None:
    with BlockingRunner(workflows=[tickets]) as runner:

        def ask(_: int) -> str:
            return runner.start(tickets, Seat(number=12), key="cart-4711").id

        with ThreadPoolExecutor(8) as threads:
            ids = set(threads.map(ask, range(8)))
        print("runs:", len(ids))
        print(runner.get(ids.pop()).result().unwrap().text)
        print("bookings:", len(bookings))
        try:
            runner.start(tickets, Seat(number=13), key="cart-4711")
        except KeyConflict:
            print("the key stands for seat 12, so seat 13 is refused")


if __name__ == "__main__":
    main()
