"""Runs from start to outcome: what each kind of graph answers with, on a file and in memory."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Coroutine
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any

import pytest
from pydantic import BaseModel
from returns.result import Failure, Result, Success

from cloaca import Outcome, Reduce, Retry, RunFailure, Runner, RunnerClosed, Workflow, WorkflowBuilder, run, task
from tests.runner.databases import Database, asynchronous
from tests.runner.shop import (
    AB,
    A,
    B,
    C,
    D,
    Declined,
    Item,
    Order,
    Parcel,
    Payment,
    Shipment,
    charge,
    fetch,
    seed,
    shop,
)


async def outcome_of(
    database: Database, workflow: Workflow[Any, Any, Any, Any], input: Any = None
) -> Outcome[Any, Any]:
    async with database.runner(workflow) as runner:
        return await runner.run(workflow, input)


@asynchronous
async def test_a_run_answers_with_the_last_tasks_model(database: Database) -> None:
    async with database.runner(shop) as runner:
        match await runner.run(shop, Order(order=7)):
            case Success(Shipment() as shipment):
                assert shipment == Shipment(tracking="paid-7-10/sku-7")
            case other:
                pytest.fail(f"{other}")


@asynchronous
async def test_a_typed_failure_is_typed_all_the_way(database: Database) -> None:
    async with database.runner(shop) as runner:
        handle = await runner.start(shop, Order(order=-1))
        match await handle.result():
            case Failure(RunFailure(task="charge", error=Declined(reason="no order -1")) as failed):
                assert failed.status == "failed"
                assert failed.run_id == handle.id
                [failure] = failed.failures
                assert (failure.task, failure.attempt, failure.exception_type) == ("charge", 1, "Failure")
                assert failure.error == Declined(reason="no order -1")
                assert failure.traceback == ""
                assert 'at task "charge"' in str(failed)
            case other:
                pytest.fail(f"{other}")


@asynchronous
async def test_an_exception_is_no_typed_error(database: Database) -> None:
    @task
    def breaks(order: Order) -> Result[Item, Declined]:
        raise ConnectionError("the line is dead")

    match await outcome_of(database, Workflow("broken", breaks), Order(order=1)):
        case Failure(RunFailure(task="breaks", error=None, failures=(failure,))):
            assert (failure.exception_type, failure.message) == ("ConnectionError", "the line is dead")
            assert "in breaks" in failure.traceback
            assert failure.at.tzinfo is not None
        case other:
            pytest.fail(f"{other}")


@asynchronous
async def test_the_outcome_is_the_same_read_by_another_runner(database: Database) -> None:
    async with database.runner(shop) as runner, database.runner(shop, work=False) as other:
        for order in (7, -7):
            handle = await runner.start(shop, Order(order=order))
            mine = await handle.result()
            theirs = await (await other.get(handle.id)).result()
            assert repr(mine) == repr(theirs)
            assert type(mine) is type(theirs)


@asynchronous
async def test_a_workflow_without_input(database: Database) -> None:
    @task
    async def begin() -> A:
        return A(a=1)

    assert await outcome_of(database, Workflow("alone", begin)) == Success(A(a=1))


@asynchronous
async def test_a_last_task_that_writes_nothing_answers_none(database: Database) -> None:
    @task
    def end(order: Order) -> None: ...

    assert await outcome_of(database, Workflow("quiet", end), Order(order=1)) == Success(None)


@asynchronous
async def test_a_result_of_none(database: Database) -> None:
    @task
    def end(order: Order) -> Result[None, Declined]:
        return Success(None) if order.order else Failure(Declined(reason="zero"))

    workflow = Workflow("quiet", end)
    async with database.runner(workflow) as runner:
        assert await runner.run(workflow, Order(order=1)) == Success(None)
        match await runner.run(workflow, Order(order=0)):
            case Failure(RunFailure(error=Declined(reason="zero"))):
                pass
            case other:
                pytest.fail(f"{other}")


@asynchronous
async def test_a_declared_output_is_collected_from_the_context(database: Database) -> None:
    workflow = Workflow("collected", fetch, charge, input=Order, output=Parcel)
    assert await outcome_of(database, workflow, Order(order=3)) == Success(Parcel(payment="paid-3-10", sku="sku-3"))


@asynchronous
async def test_several_last_tasks_answer_with_the_context(database: Database) -> None:
    workflow = Workflow("forked", fetch, charge, input=Order)
    expected = {"order": 3, "sku": "sku-3", "payment": "paid-3-10"}
    assert await outcome_of(database, workflow, Order(order=3)) == Success(expected)


@asynchronous
async def test_the_context_holds_python_values(database: Database) -> None:
    class Prices(BaseModel):
        prices: dict[str, Decimal]
        lasting: timedelta

    @task
    def quote(order: Order) -> Prices:
        return Prices(prices={"net": Decimal("1.10")}, lasting=timedelta(days=1))

    workflow = Workflow("quoted", quote, fetch)
    match await outcome_of(database, workflow, Order(order=1)):
        case Success(context):
            assert context["prices"] == {"net": Decimal("1.10")}
            assert context["lasting"] == timedelta(days=1)
        case other:
            pytest.fail(f"{other}")


@asynchronous
async def test_an_optional_read_keeps_its_default_until_somebody_writes_it(database: Database) -> None:
    class Amount(BaseModel):
        amount: int

    @task
    def price(order: Order) -> Amount:
        return Amount(amount=99)

    assert await outcome_of(database, Workflow("cheap", charge, input=Order), Order(order=1)) == Success(
        Payment(payment="paid-1-10")
    )
    assert await outcome_of(database, Workflow("dear", price >> charge), Order(order=1)) == Success(
        Payment(payment="paid-1-99")
    )


# Conditions


def is_large(order: Order) -> bool:
    return order.order > 10


@asynchronous
async def test_a_skipped_last_task_answers_none(database: Database) -> None:
    workflow = Workflow("maybe", fetch.when(is_large), input=Order)
    async with database.runner(workflow) as runner:
        assert await runner.run(workflow, Order(order=11)) == Success(Item(sku="sku-11"))
        handle = await runner.start(workflow, Order(order=1))
        assert await handle.result() == Success(None)
        assert await handle.status() == "succeeded"
        assert [(info.status, info.skipped_because) for info in await handle.tasks()] == [("skipped", "when is_large")]


@asynchronous
async def test_what_follows_a_condition_runs_either_way(database: Database) -> None:
    ran: list[str] = []

    @task
    def middle(order: Order) -> None:
        ran.append("middle")

    @task
    def end(order: Order) -> B:
        ran.append("end")
        return B(b=order.order)

    workflow = Workflow("around", seed >> middle.when(lambda order: order.order > 10) >> end, input=Order)
    async with database.runner(workflow) as runner:
        assert await runner.run(workflow, Order(order=1)) == Success(B(b=1))
        assert ran == ["end"]
        assert await runner.run(workflow, Order(order=11)) == Success(B(b=11))
        assert ran == ["end", "middle", "end"]


@asynchronous
async def test_a_group_is_decided_once_and_skipped_together(database: Database) -> None:
    asked: list[int] = []

    def wanted(order: Order) -> bool:
        asked.append(order.order)
        return order.order > 10

    @task
    def last(order: Order) -> D:
        return D(d=order.order)

    workflow = Workflow("group", seed >> (fetch >> charge).when(wanted) >> last, input=Order)
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(order=1))
        assert await handle.result() == Success(D(d=1))
        assert {info.name: info.status for info in await handle.tasks()} == {
            "seed": "succeeded",
            "fetch": "skipped",
            "charge": "skipped",
            "last": "succeeded",
        }
        assert asked == [1]
        handle = await runner.start(workflow, Order(order=11))
        assert await handle.result() == Success(D(d=11))
        assert {info.status for info in await handle.tasks()} == {"succeeded"}
        assert asked == [1, 11]


@pytest.mark.parametrize(("order", "asked", "skipped"), [
    (1, ["outer"], {"fetch": "when outer", "charge": "when outer"}),
    (11, ["outer", "inner"], {"charge": "when inner"}),
    (101, ["outer", "inner"], {}),
])  # fmt: skip
@asynchronous
async def test_nested_conditions(database: Database, order: int, asked: list[str], skipped: dict[str, str]) -> None:
    heard: list[str] = []

    def outer(order: Order) -> bool:
        heard.append("outer")
        return order.order > 10

    def inner(order: Order) -> bool:
        heard.append("inner")
        return order.order > 100

    workflow = Workflow("nested", (fetch >> charge.when(inner)).when(outer), input=Order)
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(order=order))
        assert isinstance(await handle.result(), Success)
        assert {info.name: info.skipped_because for info in await handle.tasks() if info.skipped_because} == skipped
    assert heard == asked


@asynchronous
async def test_a_predicate_reads_what_tasks_have_written(database: Database) -> None:
    def even(a: A) -> bool:
        return a.a % 2 == 0

    workflow = Workflow("even", seed >> fetch.when(even), input=Order)
    async with database.runner(workflow) as runner:
        assert await runner.run(workflow, Order(order=2)) == Success(Item(sku="sku-2"))
        assert await runner.run(workflow, Order(order=3)) == Success(None)


@asynchronous
async def test_a_predicate_that_raises_fails_its_task(database: Database) -> None:
    ran: list[str] = []

    def odd(order: Order) -> bool:
        raise LookupError("no idea")

    @task
    def beside(order: Order) -> B:
        ran.append("beside")
        return B(b=1)

    @task
    def behind(item: Item) -> None:
        ran.append("behind")

    workflow = Workflow("unsure", seed >> fetch.when(odd), beside, input=Order)
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(order=1))
        match await handle.result():
            case Failure(RunFailure(task="fetch", error=None, failures=(failure,))):
                assert (failure.task, failure.exception_type, failure.message) == ("fetch", "LookupError", "no idea")
                assert "in odd" in failure.traceback
            case other:
                pytest.fail(f"{other}")
        assert await handle.status() == "failed"
        assert {info.name: info.status for info in await handle.tasks()} == {
            "seed": "succeeded",
            "fetch": "failed",
            "beside": "succeeded",
        }
        assert await handle.output_of("seed") == A(a=1)
        assert ran == ["beside"]
        # The worker goes on.
        assert isinstance(await runner.run(shop, Order(order=1)), Success)


@pytest.mark.parametrize("odd", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError(), GeneratorExit()])
@asynchronous
async def test_a_predicate_that_exits_fails_its_task(database: Database, odd: BaseException) -> None:
    def exits(order: Order) -> bool:
        raise odd

    async with database.runner() as runner:
        match await runner.run(Workflow("exits", fetch.when(exits)), Order(order=1)):
            case Failure(RunFailure(task="fetch", failures=(failure,))):
                assert failure.exception_type == type(odd).__name__
            case other:
                pytest.fail(f"{other}")
        assert isinstance(await runner.run(shop, Order(order=1)), Success)


# Sealed graphs, and tasks on other keys


@asynchronous
async def test_a_sealed_graph_sees_its_row_and_writes_its_row(database: Database) -> None:
    seen: list[str] = []

    @task
    def inner(item: Item) -> A:
        seen.append(item.sku)
        return A(a=len(item.sku))

    @task
    def more(a: A) -> B:
        return B(b=a.a * 2)

    @task
    def outside(order: Order) -> A:
        return A(a=1000)

    @task
    def close(ab: AB) -> C:
        return C(c=ab.a + ab.b)

    workflow = Workflow("sealed", fetch >> [(inner >> more).sealed(Item, B).named("box"), outside] >> close)
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(order=1))
        assert await handle.result() == Success(C(c=1010))
        assert seen == ["sku-1"]
        assert await handle.output_of("box") == B(b=10)
        assert await handle.output_of("box/inner") == A(a=5)
        assert (await handle.context())["a"] == 1000


@asynchronous
async def test_a_sealed_graph_on_a_condition_that_fails_inside(database: Database) -> None:
    @task
    def inner(item: Item) -> A:
        raise ValueError("inside")

    @task
    def after(order: Order) -> B:
        return B(b=1)

    box = inner.sealed(Item, A).named("box")
    workflow = Workflow("sealed", fetch >> box.when(is_large) >> after, input=Order)
    async with database.runner(workflow) as runner:
        assert await runner.run(workflow, Order(order=1)) == Success(B(b=1))
        handle = await runner.start(workflow, Order(order=11))
        match await handle.result():
            case Failure(RunFailure(task="box/inner")):
                pass
            case other:
                pytest.fail(f"{other}")
        assert {info.name: info.status for info in await handle.tasks()} == {
            "fetch": "succeeded",
            "box/inner": "failed",
            "box": "skipped",
            "after": "skipped",
        }


@asynchronous
async def test_tasks_on_other_keys(database: Database) -> None:
    class Total(BaseModel):
        total: int

    class Receipt(BaseModel):
        receipt: Payment

    @task
    def price(order: Order) -> Total:
        return Total(total=order.order * 2)

    @task
    def keep(receipt: Receipt) -> Shipment:
        return Shipment(tracking=receipt.receipt.payment)

    graph = price.writing(total="cents") >> charge.reading(amount="cents").into("receipt") >> keep
    workflow = Workflow("keys", graph)
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(order=4))
        assert await handle.result() == Success(Shipment(tracking="paid-4-8"))
        assert await handle.output_of("price") == Total(total=8)
        context = await handle.context()
        assert context == {
            "order": 4,
            "cents": 8,
            "receipt": Payment(payment="paid-4-8"),
            "tracking": "paid-4-8",
        }


@asynchronous
async def test_one_function_at_two_places(database: Database) -> None:
    @task
    def double(a: A) -> A:
        return A(a=a.a * 2)

    workflow = Workflow("doubled", seed >> double >> double.named("again"))
    assert await outcome_of(database, workflow, Order(order=3)) == Success(A(a=12))


@asynchronous
async def test_the_latest_ancestor_wins_and_never_a_sibling(database: Database) -> None:
    @task
    async def add(a: A) -> A:
        return A(a=a.a + 1)

    @task
    async def look(a: A) -> B:
        return B(b=a.a)

    # ``look`` runs beside ``add``, however late it is; it must see the seed's value.
    late = asyncio.Event()

    @task
    async def wait(a: A) -> None:
        await late.wait()

    @task
    async def opens(a: A) -> D:
        late.set()
        return D(d=a.a)

    workflow = Workflow("siblings", seed >> [add >> opens, wait >> look])
    match await outcome_of(database, workflow, Order(order=1)):
        case Success(context):
            assert context == {"order": 1, "a": 2, "d": 2, "b": 1}
        case other:
            pytest.fail(f"{other}")


# Reducers


def _join(old: tuple[str, ...], new: tuple[str, ...]) -> tuple[str, ...]:
    return old + new


class Trail(BaseModel):
    trail: Annotated[tuple[str, ...], Reduce(_join)]


class Summary(BaseModel):
    summary: tuple[str, ...]


@pytest.mark.parametrize("order", list(itertools.permutations("xyz"))[::2])
@asynchronous
async def test_a_reducer_folds_in_the_order_of_the_graph(database: Database, order: tuple[str, ...]) -> None:
    turns = {name: asyncio.Event() for name in order}
    turns[order[0]].set()

    async def in_turn(name: str) -> Trail:
        await turns[name].wait()
        place = order.index(name)
        if place + 1 < len(order):
            turns[order[place + 1]].set()
        return Trail(trail=(name,))

    @task
    async def x(trail: Trail) -> Trail:
        assert trail.trail == ("input",)
        return await in_turn("x")

    @task
    async def y(trail: Trail) -> Trail:
        return await in_turn("y")

    @task
    async def z(trail: Trail) -> Trail:
        return await in_turn("z")

    @task
    async def end(trail: Trail) -> Summary:
        return Summary(summary=trail.trail)

    workflow = Workflow("trail", [z, x, y] >> end, input=Trail)
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Trail(trail=("input",)))
        assert await handle.result() == Success(Summary(summary=("input", "x", "y", "z")))
        assert (await handle.context())["trail"] == ("input", "x", "y", "z")


@asynchronous
async def test_a_reducer_that_raises_fails_the_task_that_reads(database: Database) -> None:
    def refuse(old: int, new: int) -> int:
        raise ArithmeticError("can't add")

    class Sum(BaseModel):
        sum: Annotated[int, Reduce(refuse)]

    @task
    def one() -> Sum:
        return Sum(sum=1)

    @task
    def read(sum: Sum) -> None: ...

    workflow = Workflow("sums", [one, one.named("two")] >> read)
    match await outcome_of(database, workflow):
        case Failure(RunFailure(task="read", failures=(failure,))):
            assert (failure.exception_type, failure.message) == ("ArithmeticError", "can't add")
        case other:
            pytest.fail(f"{other}")


# Trigger rules


@pytest.mark.parametrize(("rule", "one", "two", "expected"), [
    ("none_failed", "ok", "ok", "succeeded"),
    ("none_failed", "ok", "skip", "succeeded"),
    ("none_failed", "ok", "bad", "skipped"),
    ("all_success", "ok", "ok", "succeeded"),
    ("all_success", "ok", "skip", "skipped"),
    ("all_success", "ok", "bad", "skipped"),
    ("all_done", "bad", "skip", "succeeded"),
    ("any_success", "bad", "ok", "succeeded"),
    ("any_success", "bad", "skip", "skipped"),
    ("any_success", "skip", "skip", "skipped"),
    ("any_failed", "ok", "ok", "skipped"),
    ("any_failed", "bad", "ok", "succeeded"),
    ("all_failed", "bad", "bad", "succeeded"),
    ("all_failed", "bad", "skip", "skipped"),
    ("all_failed", "bad", "ok", "skipped"),
])  # fmt: skip
@asynchronous
async def test_trigger_rules(database: Database, rule: Any, one: str, two: str, expected: str) -> None:
    @task
    def ok(order: Order) -> None: ...

    @task
    def bad(order: Order) -> None:
        raise ValueError("bad")

    @task
    def end(order: Order) -> D:
        return D(d=1)

    def never(order: Order) -> bool:
        return False

    def node(kind: str, name: str) -> Any:
        named = (bad if kind == "bad" else ok).named(name)
        return named.when(never) if kind == "skip" else named

    workflow = Workflow("ruled", [node(one, "one"), node(two, "two")] >> end.on(rule), input=Order)
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(order=1))
        outcome = await handle.result()
        statuses = {info.name: info.status for info in await handle.tasks()}
        assert statuses["end"] == expected
        failed = "bad" in (one, two)
        assert await handle.status() == ("failed" if failed else "succeeded")
        if not failed:
            assert outcome == Success(D(d=1) if expected == "succeeded" else None)
        assert (await handle.output_of(end)) == (D(d=1) if expected == "succeeded" else None)


@asynchronous
async def test_a_run_whose_rules_skip_every_task_ends(database: Database) -> None:
    workflow = Workflow("nothing", fetch.on("any_success"), input=Order)
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(order=1))
        assert await handle.result(timeout=5) == Success(None)
        assert await handle.status() == "succeeded"
        assert [info.skipped_because for info in await handle.tasks()] == ["on any_success"]


# Failure


@asynchronous
async def test_what_depends_on_a_failure_is_skipped_and_the_rest_runs(database: Database) -> None:
    gate = asyncio.Event()

    @task
    async def breaks(order: Order) -> A:
        gate.set()
        raise ValueError("broken")

    @task
    async def slow(order: Order) -> B:
        await gate.wait()
        return B(b=1)

    @task
    async def after_slow(b: B) -> C:
        return C(c=b.b)

    @task
    async def after_broken(a: A) -> D:
        raise AssertionError("never runs")

    workflow = Workflow("partly", breaks >> after_broken, slow >> after_slow, input=Order)
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(order=1))
        match await handle.result():
            case Failure(RunFailure(task="breaks")):
                pass
            case other:
                pytest.fail(f"{other}")
        infos = {info.name: info for info in await handle.tasks()}
        assert {name: info.status for name, info in infos.items()} == {
            "breaks": "failed",
            "after_broken": "skipped",
            "slow": "succeeded",
            "after_slow": "succeeded",
        }
        assert infos["after_broken"].skipped_because == "breaks failed"
        assert await handle.context() == {"order": 1, "b": 1, "c": 1}


@asynchronous
async def test_the_run_failure_names_the_first_task_that_failed_for_good(database: Database) -> None:
    second = asyncio.Event()

    @task(retry=Retry(attempts=2, delay=0))
    async def tries_again(order: Order) -> A:
        if not second.is_set():
            second.set()
        else:
            await done.wait()
        raise ValueError("again")

    done = asyncio.Event()

    @task
    async def gives_up(order: Order) -> Result[B, Declined]:
        await second.wait()
        return Failure(Declined(reason="given up"))

    @task
    async def watch(order: Order) -> None:
        while not any(f.task == "gives_up" for f in await handle.failures()):
            await asyncio.sleep(0.005)
        done.set()

    workflow = Workflow("both", tries_again, gives_up, watch, input=Order)
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(order=1))
        match await handle.result():
            case Failure(RunFailure(task="gives_up", error=Declined(reason="given up")) as failed):
                assert [(f.task, f.attempt) for f in failed.failures] == [
                    ("tries_again", 1),
                    ("gives_up", 1),
                    ("tries_again", 2),
                ]
                assert list(failed.failures) == await handle.failures()
                assert [f.at for f in failed.failures] == sorted(f.at for f in failed.failures)
            case other:
                pytest.fail(f"{other}")


@asynchronous
async def test_a_rule_that_cleans_up_does_not_save_the_run(database: Database) -> None:
    cleaned: list[int] = []

    @task
    def breaks(order: Order) -> A:
        raise ValueError("broken")

    @task
    def clean(order: Order) -> B:
        cleaned.append(order.order)
        return B(b=1)

    workflow = Workflow("cleaned", breaks >> clean.on("any_failed"))
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(order=5))
        match await handle.result():
            case Failure(RunFailure(task="breaks")):
                pass
            case other:
                pytest.fail(f"{other}")
        assert cleaned == [5]
        assert await handle.output_of(clean) == B(b=1)


# Size and shape


@asynchronous
async def test_a_wide_and_a_long_graph(database: Database) -> None:
    builder = WorkflowBuilder("wide", input=Order)
    for index in range(200):
        builder.add(fetch.named(f"f{index}").into(f"item{index}"))
        builder.add(seed.named(f"s{index}").into(f"a{index}"), after=[f"f{index}"])
    workflow = builder.build()
    async with database.runner(workflow) as runner:
        match await runner.run(workflow, Order(order=1)):
            case Success(context):
                assert len(context) == 401
            case other:
                pytest.fail(f"{other}")


@asynchronous
async def test_many_runs_at_once(database: Database) -> None:
    async with database.runner(shop) as runner:
        outcomes = await asyncio.gather(*(runner.run(shop, Order(order=order)) for order in range(300)))
    assert [outcome.unwrap().tracking for outcome in outcomes] == [f"paid-{n}-10/sku-{n}" for n in range(300)]


@asynchronous
async def test_more_runs_than_a_worker_keeps_in_memory(database: Database) -> None:
    count = 1300  # a worker keeps 1000
    release = asyncio.Event()

    @task
    async def hold(order: Order) -> A:
        await release.wait()
        return A(a=order.order)

    workflow = Workflow("many", hold)
    async with database.runner(workflow) as runner:
        handles = await asyncio.gather(*(runner.start(workflow, Order(order=order)) for order in range(count)))
        release.set()
        outcomes = await asyncio.gather(*(handle.result() for handle in handles))
    assert [outcome.unwrap().a for outcome in outcomes] == list(range(count))


# The runner's own life


def test_the_one_shot(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CLOACA_DATABASE_URL", raising=False)
    assert run(shop, Order(order=1)) == Success(Shipment(tracking="paid-1-10/sku-1"))
    assert (tmp_path / "cloaca.db").exists()
    monkeypatch.setenv("CLOACA_DATABASE_URL", "sqlite:///other.db")
    assert run(shop, Order(order=2)) == Success(Shipment(tracking="paid-2-10/sku-2"))
    assert (tmp_path / "other.db").exists()
    assert run(shop, Order(order=3), tmp_path / "third.db") == Success(Shipment(tracking="paid-3-10/sku-3"))
    assert (tmp_path / "third.db").exists()
    assert run(shop, Order(order=4), "sqlite:///third.db") == Success(Shipment(tracking="paid-4-10/sku-4"))


@asynchronous
async def test_the_one_shot_inside_a_running_loop(tmp_path: Any) -> None:
    assert run(shop, Order(order=1), tmp_path / "runs.db") == Success(Shipment(tracking="paid-1-10/sku-1"))


@asynchronous
async def test_a_runner_is_closed_before_and_after(database: Database) -> None:
    runner = database.runner(shop)
    with pytest.raises(RunnerClosed, match="async with"):
        await runner.start(shop, Order(order=1))
    async with runner:
        handle = await runner.start(shop, Order(order=1))
        await handle.result()
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: runner.start(shop, Order(order=1)),
        lambda: runner.run(shop, Order(order=1)),
        lambda: runner.get(handle.id),
        runner.runs,
        handle.status,
        handle.tasks,
        handle.context,
        handle.failures,
        handle.why,
        handle.cancel,
        lambda: handle.output_of("ship"),
        lambda: anext(handle.events()),
    ]
    for call in calls:
        with pytest.raises(RunnerClosed):
            await call()


@asynchronous
async def test_a_runner_belongs_to_its_event_loop(database: Database) -> None:
    async with database.runner(shop) as runner:
        handle = await runner.start(shop, Order(order=1))

        def elsewhere() -> None:
            calls: list[Callable[[], Coroutine[Any, Any, object]]] = [
                lambda: runner.start(shop, Order(order=2)),
                lambda: runner.get(handle.id),
                handle.result,
                handle.cancel,
                handle.tasks,
            ]
            for call in calls:
                with pytest.raises(RunnerClosed, match=r"open on another event loop.*BlockingRunner"):
                    asyncio.run(call())

        await asyncio.to_thread(elsewhere)
        assert isinstance(await handle.result(), Success)
        assert len(await runner.runs()) == 1


@asynchronous
async def test_a_result_that_was_waited_for_when_the_runner_closed(database: Database) -> None:
    begun = asyncio.Event()

    @task
    async def forever(order: Order) -> None:
        begun.set()
        await asyncio.Event().wait()

    workflow = Workflow("forever", forever)
    runner = database.runner(workflow, grace_s=0)
    async with runner:
        handle = await runner.start(workflow, Order(order=1))
        await begun.wait()
        waiting = asyncio.create_task(handle.result())
        await asyncio.sleep(0)
    with pytest.raises(RunnerClosed):
        await waiting


@asynchronous
async def test_a_run_outlives_its_runner(database: Database) -> None:
    begun = asyncio.Event()
    lives = 0

    @task
    async def patient(order: Order) -> A:
        nonlocal lives
        lives += 1
        begun.set()
        if lives == 1:
            await asyncio.Event().wait()
        return A(a=lives)

    workflow = Workflow("patient", patient)
    async with database.runner(workflow, grace_s=0) as runner:
        handle = await runner.start(workflow, Order(order=1))
        await begun.wait()
    async with database.runner(workflow) as runner:
        assert await (await runner.get(handle.id)).result() == Success(A(a=2))


@asynchronous
async def test_a_runner_is_entered_once(database: Database) -> None:
    runner = database.runner(shop)
    async with runner:
        with pytest.raises(RunnerClosed, match="entered once; make another"):
            await runner.__aenter__()
        assert isinstance(await runner.run(shop, Order(order=3)), Success)
    with pytest.raises(RunnerClosed, match="entered once; make another"):
        await runner.__aenter__()


@pytest.mark.parametrize("options", [
    {"concurrency": 0}, {"lease_s": 0}, {"grace_s": -1}, {"payload_limit": 0},
])  # fmt: skip
def test_options_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="more than 0"):
        Runner("memory://", **options)


@asynchronous
async def test_concurrency_bounds_the_attempts(database: Database) -> None:
    running = most = 0

    @task
    async def count(order: Order) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1

    workflow = Workflow("counted", *(count.named(f"c{n}") for n in range(12)), input=Order)
    async with database.runner(workflow, concurrency=3) as runner:
        assert isinstance(await runner.run(workflow, Order(order=1)), Success)
    assert most == 3
