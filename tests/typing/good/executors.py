"""Where a body runs is an option, which a type checker knows."""

from pydantic import BaseModel

from cloaca import Graph, task
from cloaca.algebra.tasks import Executor


class Number(BaseModel):
    number: int


class Square(BaseModel):
    square: int


@task(executor="process")
def square(number: Number) -> Square:
    return Square(square=number.number**2)


@task(executor="process", timeout=3)
async def slowly(number: Number) -> Square:
    return Square(square=number.number**2)


def placed(where: Executor | None) -> Graph[Number, Square]:
    return square.with_options(executor=where)


assert square(Number(number=3)).square == 9
assert placed("thread") == square.with_options(executor="thread")
