"""An expense waits for a decision: while no program runs, past a restart, past a second click, and past its deadline.

It runs on a SQLite file, ``cloaca.db``, in the current directory. Each ``with`` is what would be a process of its own.
"""

from datetime import timedelta

from pydantic import BaseModel
from returns.result import Failure, Success

from cloaca import BlockingRunner, NoSuchSignal, RunFailure, Workflow, branch, task, wait_for


class Expense(BaseModel):
    expense_id: int
    cents: int


class Decision(BaseModel):
    approved: bool
    by: str


class Verdict(BaseModel):
    approved: bool


class Payout(BaseModel):
    cents: int
    by: str


class Rejected(BaseModel):
    expense_id: int
    by: str


class Letter(BaseModel):
    text: str


@task
def ask(expense: Expense) -> None:
    print(f"  mail to the office: expense {expense.expense_id} waits for you")


def is_approved(verdict: Verdict) -> bool:
    return verdict.approved


@task
def pay(payout: Payout) -> Letter:
    return Letter(text=f"{payout.cents} cents are on their way, says {payout.by}")


@task
def refuse(rejected: Rejected) -> Letter:
    return Letter(text=f"expense {rejected.expense_id} was refused by {rejected.by}")


@task
def tell_late(expense: Expense, *, failure: RunFailure) -> None:
    print(f"  mail to the sender: expense {expense.expense_id} has lapsed ({failure.failures[0].exception_type})")


decided = branch(is_approved, then=pay, otherwise=refuse)
expenses = Workflow(
    "expenses",
    ask >> wait_for(Decision, timeout=timedelta(days=14)) >> decided,
    input=Expense,
    on_failure=tell_late,
)
urgent = Workflow("urgent", ask >> wait_for(Decision, timeout=0.1) >> decided, input=Expense, on_failure=tell_late)


def submit() -> list[str]:
    """Start two runs, and leave: nobody waits with them."""
    with BlockingRunner(workflows=[expenses]) as runner:
        runs = []
        for number in (1, 2):
            handle = runner.start(expenses, Expense(expense_id=number, cents=1250), key=f"expense-{number}")
            next(event for event in handle.events() if event.kind == "wait_began")
            runs.append(handle.id)
        return runs


def decide(run_id: str, decision: Decision) -> None:
    """What a handler of a web form does. It needs no worker, and no workflow but the one that it decides about."""
    with BlockingRunner(workflows=[expenses], work=False) as runner:
        try:
            runner.get(run_id).send(decision)
        except NoSuchSignal:
            print(f"  {decision.by} comes too late")
        else:
            print(f"  {decision.by} has decided")


def look(run_id: str) -> None:
    with BlockingRunner(workflows=[expenses]) as runner:
        match runner.get(run_id).result():
            case Success(letter):
                print(f"  {letter.text}")
            case Failure(failed):
                print(f"  {failed}")


def main() -> None:
    print("two expenses are submitted")
    first, second = submit()

    print("decisions, while no worker runs")
    decide(first, Decision(approved=True, by="ada"))
    decide(second, Decision(approved=False, by="bob"))
    decide(second, Decision(approved=True, by="ada"))

    print("workers are back")
    look(first)
    look(second)

    print("one that nobody decides in time")
    with BlockingRunner(workflows=[urgent]) as runner:
        print(f"  failed at {runner.run(urgent, Expense(expense_id=3, cents=90)).failure().task}")

    print("the record")
    with BlockingRunner(workflows=[expenses]) as runner:
        for run_id in (first, second):
            print(f"  {runner.get(run_id).output_of('wait_for:Decision')}")


if __name__ == "__main__":
    main()
