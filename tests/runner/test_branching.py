"""Branches and handlers while they run: which arm, what the handler gets, and what controls make of both."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel
from returns.result import Failure, Result, Success

from cloaca import Graph, Retry, RunHandle, Runner, TaskContext, TaskFailure, Workflow, branch, task
from cloaca.algebra.graphs import RULES, Rule, overlaid
from tests.runner.controlled import database, postgres
from tests.runner.databases import Database, asynchronous

__all__ = ["database", "postgres"]


class Order(BaseModel):
    amount: int


class Paid(BaseModel):
    reference: str


class Invoice(BaseModel):
    reference: str
    days: int = 30


class Declined(BaseModel):
    reason: str


class Receipt(BaseModel):
    text: str


class Stage:
    """What happened, and what is to happen."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.fails: set[str] = set()
        self.declines = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.entered = asyncio.Event()

    def does(self, name: str) -> None:
        self.log.append(name)
        if name in self.fails:
            raise ConnectionError(f"{name} is down")

    def branching(self) -> Workflow[Order, Receipt]:
        def is_large(order: Order) -> bool:
            self.does("is_large")
            return order.amount > 100

        @task
        async def by_invoice(order: Order) -> Invoice:
            self.entered.set()
            await self.gate.wait()
            self.does("by_invoice")
            return Invoice(reference="invoice")

        @task
        def by_card(order: Order) -> Paid:
            self.does("by_card")
            return Paid(reference="card")

        @task
        def confirm(paid: Paid) -> Receipt:
            self.does("confirm")
            return Receipt(text=paid.reference)

        return Workflow("branching", branch(is_large, then=by_invoice, otherwise=by_card) >> confirm)

    def rescuing(self, *, typed: bool = False, attempts: int = 1) -> Workflow[Order, Receipt]:
        @task(retry=Retry(attempts=attempts, delay=0.01))
        def charge(order: Order) -> Result[Paid, Declined]:
            self.does("charge")
            return Failure(Declined(reason="no funds")) if self.declines else Success(Paid(reference="card"))

        @task(retry=Retry(attempts=2, delay=0.01))
        async def credit(failure: TaskFailure, order: Order, *, ctx: TaskContext) -> Invoice:
            self.entered.set()
            await self.gate.wait()
            self.does("credit")
            return Invoice(reference=f"{failure.task} {failure.attempt} {failure.exception_type} {failure.error}")

        @task
        def voucher(declined: Declined, order: Order) -> Paid:
            self.does("voucher")
            return Paid(reference=f"{declined.reason} for {order.amount}")

        @task
        def confirm(paid: Paid) -> Receipt:
            self.does("confirm")
            return Receipt(text=paid.reference)

        return Workflow("rescuing", charge.rescue(voucher if typed else credit) >> confirm)


async def standings(handle: RunHandle[Any, Any]) -> dict[str, str]:
    return {info.name: info.status for info in await handle.tasks()}


@pytest.mark.parametrize(("amount", "taken", "other"), [(200, "by_invoice", "by_card"), (1, "by_card", "by_invoice")])
@asynchronous
async def test_one_arm_runs(database: Database, amount: int, taken: str, other: str) -> None:
    stage = Stage()
    workflow = stage.branching()
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(amount=amount))
        assert await handle.result() == Success(Receipt(text=taken.removeprefix("by_")))
        assert stage.log == ["is_large", taken, "confirm"]
        infos = {info.name: info for info in await handle.tasks()}
        said = "yes" if amount > 100 else "no"
        assert (infos[other].status, infos[other].skipped_because) == ("skipped", f"branch:is_large said {said}")
        assert infos["branch:is_large"].status == "succeeded"
        assert await handle.output_of("branch:is_large") is None
        assert await handle.output_of(other) is None


@asynchronous
async def test_a_condition_that_raises_fails_the_run_and_is_asked_again_by_a_retry(database: Database) -> None:
    stage = Stage()
    stage.fails = {"is_large"}
    workflow = stage.branching()
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(amount=200))
        failed = await handle.result()
        assert isinstance(failed, Failure)
        assert failed.failure().task == "branch:is_large"
        assert await standings(handle) == {
            "branch:is_large": "failed", "by_card": "skipped", "by_invoice": "skipped", "confirm": "skipped",
        }  # fmt: skip
        stage.fails.clear()
        await handle.retry()
        assert await handle.result() == Success(Receipt(text="invoice"))


@asynchronous
async def test_a_condition_whose_answer_must_be_awaited_fails(database: Database) -> None:
    async def ask(order: Order) -> bool:
        return order.amount > 100

    def is_large(order: Order) -> bool:
        return ask(order)  # type: ignore[return-value]  # wrong on purpose

    @task
    async def note(order: Order) -> Receipt:
        return Receipt(text="noted")

    workflow = Workflow("asked", note.when(is_large), input=Order)
    async with database.runner(workflow) as runner:
        outcome = await runner.run(workflow, Order(amount=1))
        assert isinstance(outcome, Failure)
        assert "must be awaited" in outcome.failure().failures[0].message


@asynchronous
async def test_a_retry_keeps_what_was_decided(database: Database) -> None:
    stage = Stage()
    stage.fails = {"by_invoice"}
    workflow = stage.branching()
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(amount=200))
        assert isinstance(await handle.result(), Failure)
        stage.fails.clear()
        await handle.retry()
        assert await handle.result() == Success(Receipt(text="invoice"))
        assert stage.log == ["is_large", "by_invoice", "by_invoice", "confirm"]


@asynchronous
async def test_a_fork_takes_the_decision_over_or_asks_again(database: Database) -> None:
    stage = Stage()
    workflow = stage.branching()
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(amount=200))
        await handle.result()
        stage.log.clear()
        other = await handle.fork(before="by_invoice")
        assert await other.result() == Success(Receipt(text="invoice"))
        assert stage.log == ["by_invoice", "confirm"]
        stage.log.clear()
        anew = await handle.fork(before="branch:is_large")
        await anew.result()
        assert stage.log == ["is_large", "by_invoice", "confirm"]


@asynchronous
async def test_a_paused_run_and_a_new_worker_go_on_in_the_same_arm(database: Database) -> None:
    stage = Stage()
    stage.gate.clear()
    workflow = stage.branching()
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(amount=200))
        await stage.entered.wait()
        await handle.pause()
        stage.gate.set()
        async with asyncio.timeout(10):
            while await handle.status() != "paused":
                await asyncio.sleep(0.01)
        run = handle.id
    async with database.runner(workflow) as runner:
        handle = await runner.get(run)
        await handle.resume()
        assert await handle.result() == Success(Receipt(text="invoice"))
    assert stage.log == ["is_large", "by_invoice", "confirm"]


@asynchronous
async def test_a_cancelled_branch_runs_no_arm(database: Database) -> None:
    stage = Stage()
    stage.gate.clear()
    workflow = stage.branching()
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(amount=200))
        await stage.entered.wait()
        await handle.cancel()
        assert await standings(handle) == {
            "branch:is_large": "succeeded", "by_card": "skipped", "by_invoice": "cancelled", "confirm": "cancelled",
        }  # fmt: skip


@asynchronous
async def test_a_handler_stands_in_after_the_last_attempt(database: Database) -> None:
    stage = Stage()
    stage.fails = {"charge"}
    workflow = stage.rescuing(attempts=3)
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(amount=1))
        assert await handle.result() == Success(Receipt(text="charge 3 ConnectionError None"))
        assert stage.log == ["charge", "charge", "charge", "credit", "confirm"]
        assert await standings(handle) == {"charge": "failed", "credit": "succeeded", "confirm": "succeeded"}
        assert [(failure.task, failure.attempt) for failure in await handle.failures()] == [
            ("charge", 1), ("charge", 2), ("charge", 3),
        ]  # fmt: skip
        assert (await handle.context())["reference"] == "charge 3 ConnectionError None"
        assert await handle.output_of("charge") is None


@asynchronous
async def test_a_handler_of_a_task_that_succeeds_is_skipped(database: Database) -> None:
    stage = Stage()
    workflow = stage.rescuing()
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(amount=1))
        assert await handle.result() == Success(Receipt(text="card"))
        infos = {info.name: info for info in await handle.tasks()}
        assert (infos["credit"].status, infos["credit"].skipped_because) == ("skipped", "charge succeeded")


@pytest.mark.parametrize("typed", [True, False])
@asynchronous
async def test_a_failure_reaches_the_handler_with_its_error(database: Database, typed: bool) -> None:
    stage = Stage()
    stage.declines = True
    workflow = stage.rescuing(typed=typed)
    async with database.runner(workflow) as runner:
        outcome = await runner.run(workflow, Order(amount=7))
        text = "no funds for 7" if typed else "charge 1 Failure reason='no funds'"
        assert outcome == Success(Receipt(text=text))


@asynchronous
async def test_a_handler_of_typed_errors_does_not_run_after_an_exception(database: Database) -> None:
    stage = Stage()
    stage.fails = {"charge"}
    workflow = stage.rescuing(typed=True)
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(amount=1))
        failed = await handle.result()
        assert isinstance(failed, Failure)
        assert (failed.failure().task, failed.failure().error) == ("charge", None)
        infos = {info.name: (info.status, info.skipped_because) for info in await handle.tasks()}
        assert infos == {
            "charge": ("failed", None),
            "voucher": ("skipped", "charge failed"),
            "confirm": ("skipped", "charge failed"),
        }  # fmt: skip


@asynchronous
async def test_a_run_whose_handler_failed_too_starts_both_anew(database: Database) -> None:
    stage = Stage()
    stage.fails = {"charge", "credit"}
    workflow = stage.rescuing()
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(amount=1))
        failed = await handle.result()
        assert isinstance(failed, Failure)
        assert (failed.failure().task, failed.failure().error) == ("credit", None)
        assert stage.log == ["charge", "credit", "credit"]
        stage.fails = {"charge"}
        await handle.retry()
        assert await handle.result() == Success(Receipt(text="charge 2 ConnectionError None"))
        assert stage.log == ["charge", "credit", "credit", "charge", "credit", "confirm"]


@asynchronous
async def test_a_retry_keeps_what_was_rescued(database: Database) -> None:
    stage = Stage()
    stage.fails = {"charge", "confirm"}
    workflow = stage.rescuing()
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(amount=1))
        failed = await handle.result()
        assert isinstance(failed, Failure)
        assert failed.failure().task == "confirm"
        stage.fails.clear()
        await handle.retry()
        assert await handle.result() == Success(Receipt(text="charge 1 ConnectionError None"))
        assert stage.log == ["charge", "credit", "confirm", "confirm"]


@asynchronous
async def test_a_fork_runs_what_had_failed_again(database: Database) -> None:
    stage = Stage()
    stage.fails = {"charge"}
    workflow = stage.rescuing()
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(amount=1))
        await handle.result()
        stage.fails.clear()
        other = await handle.fork(before="confirm")
        assert await other.result() == Success(Receipt(text="card"))


@asynchronous
async def test_another_worker_gives_the_handler_the_same_failure(database: Database) -> None:
    stage = Stage()
    stage.fails = {"charge"}
    stage.gate.clear()
    workflow = stage.rescuing()
    async with database.runner(workflow, grace_s=0.01) as runner:
        handle = await runner.start(workflow, Order(amount=1))
        await stage.entered.wait()
        run = handle.id
    stage.gate.set()
    async with database.runner(workflow) as runner:
        handle = await runner.get(run)
        assert await handle.result() == Success(Receipt(text="charge 1 ConnectionError None"))
    assert stage.log == ["charge", "credit", "confirm"]


# Answers


@asynchronous
async def test_the_answer_of_a_last_branch_is_that_of_the_arm_that_ran(database: Database) -> None:
    def is_large(order: Order) -> bool:
        return order.amount > 100

    @task
    def by_invoice(order: Order) -> Invoice:
        return Invoice(reference="invoice")

    @task
    def by_card(order: Order) -> Paid:
        return Paid(reference="card")

    both: Workflow[Order, Invoice | Paid] = Workflow("both", branch(is_large, then=by_invoice, otherwise=by_card))
    one: Workflow[Order, Paid | None] = Workflow("one", branch(is_large, then=Graph(), otherwise=by_card))
    async with database.runner(both, one) as runner:
        assert await runner.run(both, Order(amount=200)) == Success(Invoice(reference="invoice"))
        assert await runner.run(both, Order(amount=1)) == Success(Paid(reference="card"))
        assert await runner.run(one, Order(amount=200)) == Success(None)
        assert await runner.run(one, Order(amount=1)) == Success(Paid(reference="card"))


@asynchronous
async def test_the_answer_of_a_rescued_last_task_is_of_its_model(database: Database) -> None:
    class Credit(BaseModel):
        reference: str
        note: str = "credit"

    @task
    def charge(order: Order) -> Paid:
        raise ConnectionError("down")

    @task
    def credit() -> Credit:
        return Credit(reference="credit")

    last: Workflow[Order, Paid] = Workflow("last", charge.rescue(credit))
    async with database.runner(last) as runner:
        assert await runner.run(last, Order(amount=1)) == Success(Paid(reference="credit"))


RUNS = {
    # What stands before: rescued, skipped (an arm not taken), failed; and which rules then let a task run.
    ("rescued",): {"none_failed", "all_success", "all_done", "any_success"},
    ("skipped",): {"none_failed", "all_done"},
    ("failed",): {"all_done", "any_failed", "all_failed"},
    ("rescued", "skipped"): {"none_failed", "all_done", "any_success"},
    ("rescued", "failed"): {"all_done", "any_success", "any_failed"},
    ("skipped", "failed"): {"all_done", "any_failed"},
    ("rescued", "skipped", "failed"): {"all_done", "any_success", "any_failed"},
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("before", RUNS, ids="+".join)
def test_every_rule_over_rescued_skipped_and_failed(before: tuple[str, ...], rule: Rule) -> None:
    def never(order: Order) -> bool:
        return False

    @task(retry=Retry(attempts=2, delay=0))
    def broken(order: Order) -> None:
        raise ConnectionError("down")

    @task
    def mends() -> None: ...

    @task
    def behind() -> None: ...

    last = behind.on(rule)
    choice = branch(never, then=broken.named("skipped"), otherwise=Graph())
    arm = next(node for node in choice if node.name == "skipped")  # the decision itself is before what follows, too
    graphs: dict[str, list[Graph[Any, Any]]] = {
        "rescued": [broken.named("rescued").rescue(mends) >> last],
        "skipped": [choice, arm >> last],
        "failed": [broken.named("failed") >> last],
    }
    parts = [graph for name in before for graph in graphs[name]]
    workflow: Workflow[Order, Any] = Workflow("w", overlaid(*parts), input=Order)

    async def main() -> None:
        async with Runner("memory://", workflows=[workflow]) as runner:
            handle = await runner.start(workflow, Order(amount=1))
            await handle.result()
            standing = {info.name: info.status for info in await handle.tasks()}
            assert (standing["behind"] == "succeeded") == (rule in RUNS[before]), standing
            assert await handle.status() == ("failed" if "failed" in before else "succeeded")

    asyncio.run(main())
