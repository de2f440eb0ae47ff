"""Bad input of every kind: an error with a name that says what to do, a run in a defined state, nothing lost.

After each of them the same runner still runs the next workflow.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import BaseModel, field_serializer, field_validator
from returns.result import Failure, Result, Success

from cloaca import (
    CloacaError,
    ContractError,
    CorruptDatabase,
    DatabaseTooNew,
    ForeignDatabase,
    InvalidDatabaseUrl,
    PayloadTooLarge,
    Retry,
    RunFailure,
    RunHandle,
    Runner,
    StoreUnavailable,
    TaskFailure,
    UnknownWorkflow,
    UnstablePayload,
    Workflow,
    WrongOutput,
    run,
    task,
)
from tests.runner.databases import Database, asynchronous
from tests.runner.shop import A, B, Declined, Item, Order, Shipment, fetch, seed, shop

GOOD = Success(Shipment(tracking="paid-1-10/sku-1"))


# What is refused before anything is stored


class Larger(Order):
    extra: int = 0


@pytest.mark.parametrize(("input", "described"), [
    (Item(sku="a"), "an Item"),
    ({"order": 1}, "a dict"),
    (1, "an int"),
    (None, "nothing"),
    (Order, "the class Order"),
])  # fmt: skip
@asynchronous
async def test_an_input_of_the_wrong_model(database: Database, input: Any, described: str) -> None:
    async with database.runner(shop) as runner:
        with pytest.raises(ContractError) as refused:
            await runner.start(shop, input)
        [violation] = refused.value.violations
        assert (violation.code, violation.task) == ("workflow-input", "shop")
        assert violation.message == f'Workflow "shop" takes Order, but was given {described}; pass Order(...)'
        assert await runner.runs() == []
        assert await runner.run(shop, Order(order=1)) == GOOD


@asynchronous
async def test_an_input_where_none_is_taken(database: Database) -> None:
    @task
    def begin() -> A:
        return A(a=1)

    workflow = Workflow("alone", begin)
    async with database.runner(workflow) as runner:
        with pytest.raises(ContractError, match='Workflow "alone" takes no input, but was given an Order'):
            await runner.start(workflow, Order(order=1))  # type: ignore[arg-type]  # wrong on purpose
        assert await runner.run(workflow) == Success(A(a=1))


@asynchronous
async def test_a_subclass_is_as_good_as_its_model(database: Database) -> None:
    async with database.runner(shop) as runner:
        handle = await runner.start(shop, Larger(order=1, extra=7))
        assert await handle.result() == GOOD
        assert "extra" not in await handle.context()


@asynchronous
async def test_an_input_that_fails_its_own_model(database: Database) -> None:
    broken = Order(order=1)
    broken.order = "one"  # type: ignore[assignment]  # pydantic lets it pass
    async with database.runner(shop) as runner:
        with pytest.raises(WrongOutput, match=r"Order\.order fails its own model"):
            await runner.start(shop, broken)
        assert await runner.runs() == []
        assert await runner.run(shop, Order(order=1)) == GOOD


@asynchronous
async def test_an_oversized_input(database: Database) -> None:
    workflow = Workflow("items", wrap)
    async with database.runner(workflow, payload_limit=1000) as runner:
        with pytest.raises(
            PayloadTooLarge, match=r"Item takes 2,010 bytes.*payload_limit=1,000.*Item\.sku.*pass a reference"
        ):
            await runner.start(workflow, Item(sku="x" * 2000))
        assert await runner.runs() == []
        assert await runner.run(workflow, Item(sku="x" * 900)) == Success(A(a=900))


@task
def wrap(item: Item) -> A:
    return A(a=len(item.sku))


@asynchronous
async def test_an_unknown_workflow(database: Database) -> None:
    async with database.runner(shop) as runner:
        with pytest.raises(UnknownWorkflow, match=r'"shpo" here \(known: shop\); list it in Runner\(workflows='):
            await runner.start("shpo", Order(order=1))
        for odd in (fetch, fetch >> seed.into("x"), None, 7):
            with pytest.raises(TypeError, match=r"is no workflow; close the graph: Workflow\(name, graph\)"):
                await runner.start(odd, Order(order=1))  # type: ignore[call-overload]  # odd on purpose
        assert await runner.runs() == []
    with pytest.raises(TypeError, match="is no workflow"):
        Runner("memory://", workflows=[fetch])  # type: ignore[list-item]  # odd on purpose
    with pytest.raises(ValueError, match='two different workflows are both named "shop"'):
        Runner("memory://", workflows=[shop, Workflow("shop", fetch)])


@pytest.mark.parametrize("name", ["a\x00b", "\ud800", "a\nb"])
def test_names_that_cannot_be_stored(name: str) -> None:
    with pytest.raises(ValueError, match="a task or workflow is named by printable text"):
        Runner("memory://", workflows=[Workflow("named", fetch.named(name))])
    with pytest.raises((ValueError, ContractError)):
        Runner("memory://", workflows=[Workflow(name, fetch)])
    Runner("memory://", workflows=[Workflow("Bestellungen für 名前 🐈", fetch.named('hol\' "es"'))])


# Databases that can't be used


@pytest.mark.parametrize("url", [
    "orders.db", "sqlite", "sqlite:", "sqlite:/", "sqlite://", "sqlite:///", "sqlite://orders.db", "sqlite:///:memory:",
    "postgres//x", "mysql://localhost/x", "http://localhost", "file:orders.db", " ", "sqlite:///a\x00b.db",
    "memory", "memory://x", "SQLITE:///x.db", 7, b"sqlite:///x.db",
])  # fmt: skip
def test_broken_database_urls(url: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidDatabaseUrl, match=r"sqlite:///orders\.db"):
        Runner(url)
    with pytest.raises(InvalidDatabaseUrl):
        run(shop, Order(order=1), url)
    assert list(tmp_path.iterdir()) == []


def test_a_broken_url_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOACA_DATABASE_URL", "nonsense")
    with pytest.raises(InvalidDatabaseUrl, match="'nonsense'"):
        Runner()


async def refuse(path: Path, error: type[CloacaError], text: str) -> None:
    """The database is refused, by its name; what is there is as it was, and no file is left open."""
    before = path.read_bytes() if path.is_file() else None
    for work in (True, False):
        with pytest.raises(error, match=text) as refused:
            async with Runner(path, workflows=[shop], work=work):
                pytest.fail("opened")
        assert path.parent.name in str(refused.value)
    assert (path.read_bytes() if path.is_file() else None) == before


@asynchronous
async def test_paths_that_cannot_be_opened(tmp_path: Path) -> None:
    await refuse(tmp_path / "absent" / "runs.db", StoreUnavailable, "absent is no directory")
    await refuse(tmp_path, StoreUnavailable, "is a directory")
    (tmp_path / "file").write_text("")
    await refuse(tmp_path / "file" / "runs.db", StoreUnavailable, "is no directory")
    await refuse(Path("/proc/runs.db"), StoreUnavailable, "can't be opened for writing")


@asynchronous
async def test_files_that_are_no_database(tmp_path: Path) -> None:
    for name, content in (
        ("text.db", b"this is not a database, however long it may be. " * 100),
        ("zeros.db", bytes(8192)),
        ("header.db", b"SQLite format 3\x00" + b"\xff" * 4000),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        await refuse(path, CorruptDatabase, "damaged.*restore it from a backup")


@asynchronous
async def test_a_database_that_was_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    async with Runner(path, workflows=[shop]) as runner:
        await runner.run(shop, Order(order=1))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(CorruptDatabase, match="restore it from a backup"):
        async with Runner(path, workflows=[shop]) as runner:
            await runner.run(shop, Order(order=1))


@asynchronous
async def test_databases_of_others(tmp_path: Path) -> None:
    for name, statement in (
        ("run.db", "CREATE TABLE cloaca_run (x)"),
        ("meta.db", "CREATE TABLE cloaca_meta (x)"),
        ("rows.db", "CREATE TABLE cloaca_meta (id INTEGER, schema_version TEXT)"),
    ):
        path = tmp_path / name
        with sqlite3.connect(path) as connection:
            connection.execute(statement)
        connection.close()
        await refuse(path, ForeignDatabase, "that cloaca did not make")


@asynchronous
async def test_a_database_beside_the_tables_of_a_program(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE orders (x)")
        connection.execute("INSERT INTO orders VALUES (7)")
    connection.close()
    async with Runner(path, workflows=[shop]) as runner:
        assert await runner.run(shop, Order(order=1)) == GOOD
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT x FROM orders").fetchall() == [(7,)]
    connection.close()


@asynchronous
async def test_a_database_of_a_newer_release(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    async with Runner(path, workflows=[shop]) as runner:
        await runner.run(shop, Order(order=1))
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE cloaca_meta SET schema_version = 999")
    connection.close()
    await refuse(path, DatabaseTooNew, "newer release.*999.*upgrade cloaca here")


# Bodies that answer with the wrong thing


class Stubborn(BaseModel):
    """Its JSON reads back as something else."""

    number: int

    @field_serializer("number")
    def one_more(self, number: int) -> int:
        return number + 1


class Unwritable(BaseModel):
    number: int

    @field_serializer("number")
    def refuse(self, number: int) -> int:
        raise RuntimeError("no JSON today")


class Moody(BaseModel):
    number: int

    @field_validator("number")
    @classmethod
    def small(cls, number: int) -> int:
        if number > 10:
            raise ValueError("too much")
        return number


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("I won't say")


class Mute:
    def __repr__(self) -> str:
        raise RuntimeError("I won't say")


def spoiled(model: BaseModel, **values: object) -> Any:
    for name, value in values.items():
        object.__setattr__(model, name, value)
        model.__dict__[name] = value
    return model


@asynccontextmanager
async def failed(
    database: Database, workflow: Workflow[Any, Any, Any, Any], **options: Any
) -> AsyncIterator[tuple[RunHandle[Any, Any], TaskFailure]]:
    """Run a workflow whose one failure is given to the test; check that everything else is in order."""
    async with asyncio.timeout(25), database.runner(workflow, **options) as runner:
        handle = await runner.start(workflow, Order(order=1))
        match await handle.result():
            case Failure(RunFailure(status="failed", task=task, failures=(failure,))):
                assert failure.task == task
                assert await handle.status() == "failed"
                assert await handle.failures() == [failure]
                assert {info.name: info.status for info in await handle.tasks()}[failure.task] == "failed"
                yield handle, failure
            case other:
                pytest.fail(f"{other}")
        assert await runner.run(shop, Order(order=1)) == GOOD


WRONG: list[tuple[Callable[[], Any], str, str]] = [
    (lambda: None, "WrongOutput", "expected A, but got None"),
    (lambda: B(b=1), "WrongOutput", "expected A, but got B: B(b=1)"),
    (lambda: {"a": 1}, "WrongOutput", "expected A, but got dict"),
    (lambda: A, "WrongOutput", "expected A, but got ModelMetaclass"),
    (Mute, "WrongOutput", "expected A, but got Mute"),
    (lambda: Success(A(a=1)), "WrongOutput", "annotate it with -> Result[A, ...]"),
    (lambda: Failure(Declined(reason="no")), "WrongOutput", "annotate it with -> Result[A, ...]"),
    (lambda: spoiled(A(a=1), a="x"), "WrongOutput", "A.a fails its own model"),
    (lambda: spoiled(A(a=1), a=object()), "UnstablePayload", "A.a can't be written as JSON"),
    (lambda: cast(Any, A).model_construct(), "WrongOutput", "A.a"),
]


@pytest.mark.parametrize(("answer", "kind", "text"), WRONG)
@pytest.mark.parametrize("is_async", [False, True])
@asynchronous
async def test_wrong_outputs(
    database: Database, answer: Callable[[], Any], kind: str, text: str, is_async: bool
) -> None:
    calls: list[int] = []

    @task(name="body", retry=Retry(attempts=3, delay=0, on=BaseException))
    def sync_body(order: Order) -> A:
        calls.append(1)
        return answer()  # type: ignore[no-any-return]  # wrong on purpose

    @task(name="body", retry=Retry(attempts=3, delay=0, on=BaseException))
    async def async_body(order: Order) -> A:
        calls.append(1)
        return answer()  # type: ignore[no-any-return]  # wrong on purpose

    async with failed(database, Workflow("wrong", async_body if is_async else sync_body)) as (handle, failure):
        assert failure.exception_type == kind
        assert text in failure.message
        assert calls == [1]  # it is never tried again
        assert await handle.output_of("body") is None


@pytest.mark.parametrize(("answer", "text"), [
    (lambda: A(a=1), "expected a Result, Success(...) or Failure(...), but got A: A(a=1)"),
    (lambda: None, "expected a Result, Success(...) or Failure(...), but got None"),
    (lambda: Success(B(b=1)), "expected A, but got B"),
    (lambda: Failure(B(b=1)), "expected Declined, but got B"),
    (lambda: Failure("no"), "expected Declined, but got str: 'no'"),
    (lambda: Failure(ValueError("no")), "expected Declined, but got ValueError"),
    (lambda: Failure(None), "expected Declined, but got None"),
    (lambda: Success(Success(A(a=1))), "expected A, but got Success"),
])  # fmt: skip
@asynchronous
async def test_wrong_answers(database: Database, answer: Callable[[], Any], text: str) -> None:
    @task
    def body(order: Order) -> Result[A, Declined]:
        return answer()  # type: ignore[no-any-return]  # wrong on purpose

    async with failed(database, Workflow("wrong", body)) as (_, failure):
        assert failure.exception_type == "WrongOutput"
        assert text in failure.message
        assert failure.error is None


@pytest.mark.parametrize("answer", [lambda: A(a=1), lambda: 0, lambda: False, lambda: Success(None)])
@asynchronous
async def test_an_output_where_none_is_declared(database: Database, answer: Callable[[], Any]) -> None:
    @task
    def body(order: Order) -> None:
        return answer()  # type: ignore[no-any-return]  # wrong on purpose

    async with failed(database, Workflow("wrong", body)) as (_, failure):
        assert failure.exception_type == "WrongOutput"
        assert "expected None" in failure.message or "does not declare it" in failure.message


@asynchronous
async def test_models_whose_json_does_not_survive(database: Database) -> None:
    @task
    def stubborn(order: Order) -> Stubborn:
        return Stubborn(number=1)

    @task
    def unwritable(order: Order) -> Unwritable:
        return Unwritable(number=1)

    @task
    def moody(order: Order) -> Moody:
        return spoiled(Moody(number=1), number=11)  # type: ignore[no-any-return]  # wrong on purpose

    async with failed(database, Workflow("one", stubborn)) as (_, failure):
        assert failure.exception_type == UnstablePayload.__name__
        assert "Stubborn.number was 1 and reads back as 2" in failure.message
        assert "give the model a serializer and a validator that agree" in failure.message
    async with failed(database, Workflow("two", unwritable)) as (_, failure):
        assert failure.exception_type == UnstablePayload.__name__
        assert "no JSON today" in failure.message
    async with failed(database, Workflow("three", moody)) as (_, failure):
        assert failure.exception_type == WrongOutput.__name__
        assert "Moody.number fails its own model" in failure.message
        assert "too much" in failure.message


@asynchronous
async def test_oversized_payloads(database: Database) -> None:
    @task
    def output(order: Order) -> Item:
        return Item(sku="x" * 2000)

    @task
    def declines(order: Order) -> Result[A, Declined]:
        return Failure(Declined(reason="x" * 2000))

    for body, model, field in ((output, "Item", "sku"), (declines, "Declined", "reason")):
        async with failed(database, Workflow(model, body), payload_limit=1000) as (_, failure):
            assert failure.exception_type == PayloadTooLarge.__name__
            assert f"{model} takes 2,0" in failure.message
            assert "payload_limit=1,000" in failure.message
            assert f"{model}.{field} with 2,002 bytes" in failure.message
            assert len(failure.message) < 1000


@asynchronous
async def test_characters_that_a_database_might_not_like(database: Database) -> None:
    """NUL, quotes, every plane: they come back as they were. Lone surrogates are refused, with the field."""
    odd = "a\x00b'\"\\\n\u2028\U0001f408\ufeff\uffff\x7f\x1b[0m"

    @task
    def output(order: Order) -> Item:
        return Item(sku=odd)

    @task
    def surrogate(order: Order) -> Item:
        return Item(sku="a\ud800b")

    workflow = Workflow("odd", output)
    async with database.runner(workflow) as runner:
        assert await runner.run(workflow, Order(order=1)) == Success(Item(sku=odd))
    items = Workflow("items", wrap)
    async with database.runner(items) as runner:
        assert await runner.run(items, Item(sku=odd)) == Success(A(a=len(odd)))
        with pytest.raises(UnstablePayload, match=r"Item\.sku can't be written as JSON"):
            await runner.start(items, Item(sku="a\ud800b"))
    async with failed(database, Workflow("lone", surrogate)) as (_, failure):
        assert failure.exception_type == "UnstablePayload"
        assert "Item" in failure.message


# Bodies that end in odd ways


@pytest.mark.parametrize("odd", [SystemExit, KeyboardInterrupt, asyncio.CancelledError, GeneratorExit, StopIteration,
                                 StopAsyncIteration, MemoryError, RecursionError, asyncio.InvalidStateError,
                                 BaseException, BaseExceptionGroup])  # fmt: skip
@pytest.mark.parametrize("kind", ["sync", "async", "sync with timeout", "async with timeout"])
@asynchronous
async def test_bodies_that_raise_what_nobody_should(database: Database, odd: type[BaseException], kind: str) -> None:
    def throw() -> None:
        if odd is BaseExceptionGroup:
            raise BaseExceptionGroup("several", [SystemExit(1), ValueError("two")])
        raise odd("odd one")

    @task(name="body")
    def sync_body(order: Order) -> A:
        throw()
        return A(a=1)

    @task(name="body")
    async def async_body(order: Order) -> A:
        await asyncio.sleep(0)
        throw()
        return A(a=1)

    @task
    def beside(order: Order) -> B:
        return B(b=1)

    body = async_body if kind.startswith("async") else sync_body
    timed = body.with_options(timeout=20) if kind.endswith("timeout") else body
    async with failed(database, Workflow("odd", timed, beside, input=Order)) as (handle, failure):
        assert failure.task == "body"
        if odd is StopIteration and kind.startswith("async"):
            assert failure.exception_type == "RuntimeError"  # so says Python of a coroutine
        else:
            assert failure.exception_type == odd.__name__
            assert ("several" if odd is BaseExceptionGroup else "odd one") in failure.message
        assert "in throw" in failure.traceback
        assert "cloaca" + os.sep + "interpreter" not in failure.traceback
        assert await handle.output_of("beside") == B(b=1)


@asynchronous
async def test_an_exception_that_cannot_be_shown(database: Database) -> None:
    @task
    def body(order: Order) -> A:
        raise Unspeakable

    async with failed(database, Workflow("mute", body)) as (_, failure):
        assert failure.exception_type == "Unspeakable"
        assert failure.message == "<its message can't be shown: RuntimeError>"
        assert "in body" in failure.traceback


@asynchronous
async def test_messages_with_nul_and_lone_surrogates(database: Database) -> None:
    @task
    def body(order: Order) -> A:
        raise ValueError("a\x00b\ud800c")

    async with failed(database, Workflow("odd", body)) as (_, failure):
        assert failure.message == "a\\x00b\\ud800c"
        assert "a\\x00b\\ud800c" in failure.traceback


@asynchronous
async def test_a_huge_message(database: Database) -> None:
    @task
    def body(order: Order) -> A:
        raise ValueError("start" + "x" * 10_000_000 + "end")

    async with failed(database, Workflow("huge", body)) as (_, failure):
        assert len(failure.message) < 100_000
        assert len(failure.traceback) < 100_000
        assert failure.message.startswith("startx")
        assert failure.message.endswith("xend")
        assert "characters are left out" in failure.message
        assert "in body" in failure.traceback


@asynchronous
async def test_a_huge_traceback(database: Database) -> None:
    def one(depth: int) -> None:
        two(depth + 1)

    def two(depth: int) -> None:
        one(depth + 1)

    @task
    def body(order: Order) -> A:
        one(0)
        return A(a=1)

    async with failed(database, Workflow("deep", body)) as (_, failure):
        assert failure.exception_type == "RecursionError"
        assert len(failure.traceback) < 100_000
        assert "in body" in failure.traceback
        assert "RecursionError" in failure.traceback


@asynchronous
async def test_an_async_body_that_never_awaits(database: Database) -> None:
    @task
    async def body(order: Order) -> A:
        return A(a=1)

    workflow = Workflow("hasty", body.named("one").into("x") >> body.named("two").into("y"), input=Order, output=Order)
    async with database.runner(workflow) as runner:
        assert await runner.run(workflow, Order(order=1)) == Success(Order(order=1))


@pytest.mark.parametrize("answers", [False, True])
@asynchronous
async def test_a_sync_body_that_returns_a_coroutine(database: Database, answers: bool) -> None:
    async def later() -> A:
        return A(a=1)

    @task(name="body")
    def plain(order: Order) -> A:
        return later()  # type: ignore[return-value]  # wrong on purpose

    @task(name="body")
    def answering(order: Order) -> Result[A, Declined]:
        return later()  # type: ignore[return-value]  # wrong on purpose

    async with failed(database, Workflow("later", answering if answers else plain)) as (_, failure):
        assert failure.exception_type == "WrongOutput"
        assert failure.message == "the body returned a coroutine that nobody awaits: declare the task with async def"


@asynchronous
async def test_a_body_that_leaves_tasks_behind(database: Database) -> None:
    left: list[asyncio.Task[None]] = []

    @task
    async def body(order: Order) -> A:
        left.append(asyncio.create_task(asyncio.sleep(60)))
        return A(a=1)

    workflow = Workflow("messy", body)
    async with database.runner(workflow) as runner:
        assert await runner.run(workflow, Order(order=1)) == Success(A(a=1))
    left[0].cancel()


@asynchronous
async def test_a_body_that_raises_its_input_model_error(database: Database) -> None:
    """A context value that fails the reader's own constraint is that reader's failure, not a crash."""

    class Small(BaseModel):
        order: int

        @field_validator("order")
        @classmethod
        def small(cls, order: int) -> int:
            if order == 1:
                raise ValueError("too small")
            if order == 2:
                raise ZeroDivisionError("not a validation error")
            return order

    @task
    def reads(small: Small) -> A:
        raise AssertionError("never called")

    workflow = Workflow("reads", seed >> reads.into("x"), input=Order)
    async with failed(database, workflow) as (handle, failure):
        assert (failure.task, failure.exception_type) == ("reads", "ValidationError")
        assert "too small" in failure.message
        assert await handle.output_of(seed) == A(a=1)
    async with database.runner(workflow) as runner:
        match await runner.run(workflow, Order(order=2)):
            case Failure(RunFailure(task="reads", failures=(failure,))):
                assert failure.exception_type == "ZeroDivisionError"
            case other:
                pytest.fail(f"{other}")


@asynchronous
async def test_a_declared_output_that_fails_its_own_model(database: Database) -> None:
    """The types fit, the values don't: the caller is told, by name, and each time."""

    class Picky(BaseModel):
        a: int

        @field_validator("a")
        @classmethod
        def large(cls, a: int) -> int:
            if a < 10:
                raise ValueError("too small")
            return a

    workflow = Workflow("picky", seed, input=Order, output=Picky)
    async with database.runner(workflow) as runner:
        assert await runner.run(workflow, Order(order=11)) == Success(Picky(a=11))
        handle = await runner.start(workflow, Order(order=1))
        for _ in range(2):
            with pytest.raises(WrongOutput, match=r'output Picky of workflow "picky" fails its own model.*too small'):
                await handle.result()
        assert await handle.context() == {"order": 1, "a": 1}
        assert await runner.run(shop, Order(order=1)) == GOOD
