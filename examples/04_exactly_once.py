"""Seats are sold from a table of one's own: each sale and its task's output are one transaction, or none.

It runs on a SQLite file, ``seats.db``, in the current directory; the URL of a PostgreSQL does as well.
"""

from pydantic import BaseModel
from returns.result import Failure, Result, Success
from sqlmodel import Field, Session, SQLModel, col, create_engine, func, select

from cloaca import TaskContext, Workflow, run, task

DATABASE = "sqlite:///seats.db"


class Seat(SQLModel, table=True):
    number: int = Field(primary_key=True)
    buyer: str | None = None


class Attempt(SQLModel, table=True):
    id: int | None = Field(default=None, primary_key=True)
    buyer: str


class Wish(BaseModel):
    buyer: str
    seats: int


class Sold(BaseModel):
    numbers: list[int]


class SoldOut(BaseModel):
    left: int


class Ticket(BaseModel):
    text: str


@task
def sell(wish: Wish, *, session: Session) -> Result[Sold, SoldOut]:
    session.add(Attempt(buyer=wish.buyer))  # undone with all the rest if there are not enough seats
    free = session.exec(select(Seat).where(col(Seat.buyer).is_(None)).limit(wish.seats)).all()
    for seat in free:
        seat.buyer = wish.buyer
    if len(free) < wish.seats:
        return Failure(SoldOut(left=len(free)))
    return Success(Sold(numbers=[seat.number for seat in free]))


@task
def print_ticket(sold: Sold, *, ctx: TaskContext) -> Ticket:
    return Ticket(text=f"seats {', '.join(map(str, sold.numbers))} (attempt {ctx.attempt})")


box_office = Workflow("box_office", sell >> print_ticket)


def main() -> None:
    engine = create_engine(DATABASE)
    SQLModel.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([Seat(number=number) for number in range(1, 5)])
        session.commit()

    for wish in (Wish(buyer="Ada", seats=3), Wish(buyer="Bob", seats=2), Wish(buyer="Cy", seats=1)):
        match run(box_office, wish, DATABASE):
            case Success(ticket):
                print(f"{wish.buyer}: {ticket.text}")
            case Failure(failed):
                print(f"{wish.buyer}: {failed.error}")

    with Session(engine) as session:
        print("sold:", [(seat.number, seat.buyer) for seat in session.exec(select(Seat))])
        print("attempts that count:", session.exec(select(func.count()).select_from(Attempt)).one())
    engine.dispose()


if __name__ == "__main__":
    main()
