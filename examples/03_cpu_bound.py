"""Bodies that keep a CPU busy run in child processes: two at the same time, and one that has to be killed.

It runs on a SQLite file, ``cloaca.db``, in the current directory, and needs nothing else.
"""

import re

from pydantic import BaseModel
from returns.result import Failure, Success

from cloaca import Workflow, run, task


class Range(BaseModel):
    limit: int


class Low(BaseModel):
    low: int


class High(BaseModel):
    high: int


class Halves(BaseModel):
    low: int
    high: int


class Primes(BaseModel):
    primes: int


class Text(BaseModel):
    text: str


class Verdict(BaseModel):
    matches: bool


def count(start: int, stop: int) -> int:
    return sum(all(n % d for d in range(2, int(n**0.5) + 1)) for n in range(max(start, 2), stop))


@task(executor="process")
def count_low(range: Range) -> Low:
    return Low(low=count(0, range.limit // 2))


@task(executor="process")
def count_high(range: Range) -> High:
    return High(high=count(range.limit // 2, range.limit))


@task  # a thread will do: there is nothing to compute
def add(halves: Halves) -> Primes:
    return Primes(primes=halves.low + halves.high)


@task(executor="process", timeout=1)  # on a thread it could not be stopped, and would hold up the whole process
def check(text: Text) -> Verdict:
    return Verdict(matches=re.fullmatch(r"(a+)+b", text.text) is not None)


primes = Workflow("primes", [count_low, count_high] >> add, input=Range)
checking = Workflow("checking", check)

if __name__ == "__main__":  # a child process imports this file to find its tasks
    match run(primes, Range(limit=200_000)):
        case Success(found):
            print(f"{found.primes} primes")
        case Failure(failed):
            print(failed)
    for text in ("aab", "a" * 40):
        match run(checking, Text(text=text)):
            case Success(verdict):
                print(f"{text}: {verdict.matches}")
            case Failure(failed):
                print(f"{text}: {failed.failures[-1].exception_type}: {failed.failures[-1].message}")
