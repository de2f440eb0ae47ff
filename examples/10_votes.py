"""Districts are counted side by side and written to the same field: a reducer says how the numbers come together.

Without the reducer two tasks that write one field would be a ``write-conflict``, in mypy and when the graph is closed.
It runs on a SQLite file, ``cloaca.db``, in the current directory.
"""

import operator
from typing import Annotated

from pydantic import BaseModel
from returns.result import Failure, Success

from cloaca import Reduce, Workflow, run, task


class Ballots(BaseModel):
    north: list[str]
    south: list[str]
    harbour: list[str]


class North(BaseModel):
    north: list[str]


class South(BaseModel):
    south: list[str]


class Harbour(BaseModel):
    harbour: list[str]


class Count(BaseModel):
    votes: Annotated[int, Reduce(operator.add)]
    districts: Annotated[list[str], Reduce(operator.add)]


class Result(BaseModel):
    text: str


def counted(district: str, ballots: list[str]) -> Count:
    return Count(votes=ballots.count("yes"), districts=[district])


@task
def count_north(ballots: North) -> Count:
    return counted("north", ballots.north)


@task
def count_south(ballots: South) -> Count:
    return counted("south", ballots.south)


@task
def count_harbour(ballots: Harbour) -> Count:
    return counted("harbour", ballots.harbour)


@task
def announce(count: Count) -> Result:
    return Result(text=f"{count.votes} yes, in {', '.join(count.districts)}")


votes = Workflow("votes", [count_south, count_north, count_harbour] >> announce, input=Ballots)

if __name__ == "__main__":
    print(votes.to_text())
    match run(votes, Ballots(north=["yes", "no"], south=["yes", "yes"], harbour=["no"])):
        case Success(result):
            print(result.text)  # folded in the order of the tasks' names, in every run
        case Failure(failed):
            print(failed)
