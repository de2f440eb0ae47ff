"""Tasks: what the decorator takes and refuses, and that a task is still the function that it was made of."""

# mypy: disable-error-code=empty-body

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field, SecretStr
from returns.result import Failure, Result, Success

from cloaca import ContractError, Retry, Task, TaskContext, Workflow, sleep, subflow, task, wait_for
from cloaca.algebra.declarations import Parameter
from cloaca.algebra.retries import NO_RETRY
from cloaca.algebra.signatures import Unresolved


class Order(BaseModel):
    sku: str
    amount: int = 0


class Customer(BaseModel):
    email: str
    sku: str


class Payment(BaseModel):
    payment_id: str


class Declined(BaseModel):
    reason: str


class Secret(BaseModel):
    token: SecretStr
    pin: str = Field(exclude=True)


class Clash(BaseModel):
    sku: int


# What a task is


@task
def charge(order: Order) -> Payment:
    """Charge the card."""
    return Payment(payment_id=order.sku)


def test_a_task_calls_its_function() -> None:
    order = Order(sku="s")
    assert charge(order) == charge(order=order) == Payment(payment_id="s")


def test_a_task_looks_like_its_function() -> None:
    assert list(inspect.signature(charge).parameters) == ["order"]
    assert charge.__doc__ == "Charge the card."
    assert charge.__module__ == __name__
    assert inspect.unwrap(charge) is charge.function
    assert inspect.getsource(charge).startswith("@task\ndef charge")


def test_copies_keep_the_function_and_its_signature() -> None:
    copy = charge.named("again").with_options(timeout=3)
    assert copy(Order(sku="s")) == Payment(payment_id="s")
    assert copy.__doc__ == charge.__doc__
    assert copy.signature is charge.signature


def test_an_async_task_gives_a_coroutine() -> None:
    @task
    async def fetch(order: Order) -> Payment:
        return Payment(payment_id=order.sku)

    coroutine = fetch(Order(sku="s"))
    with pytest.raises(StopIteration) as stop:
        coroutine.send(None)
    assert stop.value.value == Payment(payment_id="s")
    assert fetch.signature.is_async


def test_signatures() -> None:
    @task
    def nothing() -> None: ...
    @task
    def two(order: Order, customer: Customer) -> Result[Payment, Declined]:
        return Failure(Declined(reason=order.sku + customer.email))

    @task
    async def answers(order: Order, *, ctx: TaskContext) -> Result[None, Declined]:
        return Success(None)

    assert nothing.signature.parameters == ()
    assert nothing.signature.output is None
    assert two.signature.parameters == (Parameter("order", Order), Parameter("customer", Customer))
    assert (two.signature.output, two.signature.error, two.signature.answers) == (Payment, Declined, True)
    assert (answers.signature.output, answers.signature.error) == (None, Declined)
    assert (answers.signature.context, answers.signature.is_async) == ("ctx", True)
    assert [each.detail for each in (nothing, two, answers)] == [
        "() -> ()",
        "Order, Customer -> Payment",
        "Order -> ()",
    ]


# What the decorator refuses


def no_annotation(order) -> Payment: ...  # type: ignore[no-untyped-def]  # what is tested
def no_return(order: Order): ...  # type: ignore[no-untyped-def]  # what is tested
def not_a_model(order: int) -> Payment: ...
def a_union(order: Order | Customer) -> Payment: ...
def optional(order: Order) -> Payment | None: ...
def not_an_output(order: Order) -> dict[str, int]: ...
def any_model(order: BaseModel) -> Payment: ...
def not_an_error(order: Order) -> Result[Payment, ValueError]: ...
def bare_result(order: Order) -> Result: ...  # type: ignore[type-arg]  # what is tested
def variadic(*orders: Order) -> Payment: ...
def named_variadic(**orders: Order) -> Payment: ...
def keyword_only(*, order: Order) -> Payment: ...
def secret(order: Secret) -> Payment: ...
def secret_output(order: Order) -> Secret: ...
def clash(order: Order, clash: Clash) -> Payment: ...
def bad_text(order: "1 +") -> Payment: ...  # type: ignore[valid-type]  # noqa: F722 - what is tested
def everything_wrong(one, two: int, *three: Order) -> set[int]: ...  # type: ignore[no-untyped-def]  # what is tested


REFUSED: dict[Callable[..., Any], list[str]] = {
    no_annotation: ['input "order" has no annotation; annotate it with the pydantic model to read'],
    no_return: ["the return has no annotation; annotate it with a pydantic model, None or Result[Model, Error]"],
    not_a_model: ['input "order" must be a pydantic model, but it is int'],
    a_union: ['input "order" must be a pydantic model, but it is '],
    optional: ["the output must be a pydantic model, but it is "],
    not_an_output: ["the output must be a pydantic model, but it is dict[str, int]"],
    any_model: ['input "order" must be a pydantic model, but it is BaseModel'],
    not_an_error: ["the error must be a pydantic model, but it is ValueError"],
    bare_result: ["the output must be a pydantic model, but it is Result"],
    variadic: ['"*orders" can\'t be read from the context; name each input'],
    named_variadic: ['"**orders" can\'t be read from the context; name each input'],
    keyword_only: ['keyword-only parameter "order" can\'t be injected: only ctx: TaskContext and '],
    secret: ['field "token" is a SecretStr', 'field "pin" is left out of dumps'],
    secret_output: ['field "token" is a SecretStr', 'field "pin" is left out of dumps'],
    clash: ['inputs "order" and "clash" both read field "sku", as str and as int; give them one type'],
    bad_text: ["an annotation can't be read"],
    everything_wrong: [
        'input "one" has no annotation',
        'input "two" must be a pydantic model, but it is int',
        "can't be read from the context; name each input",
        "the output must be a pydantic model, but it is set[int]",
    ],
}


@pytest.mark.parametrize("function", REFUSED, ids=lambda function: function.__name__)
def test_the_decorator_refuses_with_every_reason(function: Callable[..., Any]) -> None:
    with pytest.raises(ContractError) as error:
        task(function)
    found = error.value.violations
    assert {(violation.code, violation.task) for violation in found} == {("task-model", function.__name__)}
    assert len(found) == len(REFUSED[function])
    for violation, expected in zip(found, REFUSED[function], strict=True):
        assert violation.message.startswith(f'Task "{function.__name__}": ')
        assert expected in violation.message


def test_refused_fields_are_named() -> None:
    with pytest.raises(ContractError) as error:
        task(secret)
    assert [violation.field for violation in error.value.violations] == ["token", "pin"]


@pytest.mark.parametrize("name", ["", 3])
def test_a_name_is_a_string(name: Any) -> None:
    with pytest.raises(ValueError, match="is no name"):
        task(name=name)


def test_parameters_agree_however_a_type_is_spelt() -> None:
    class Old(BaseModel):
        x: typing.Dict[str, typing.List[int]]  # noqa: UP006 - what is tested
        y: typing.Optional[int]  # noqa: UP045 - what is tested

    class New(BaseModel):
        x: dict[str, list[int]]
        y: int | None

    @task
    def both(old: Old, new: New) -> None: ...

    assert len(both.signature.parameters) == 2


@pytest.mark.parametrize("wrong", [3, "charge", Order, functools.partial(not_a_model), object()])
def test_only_functions_become_tasks(wrong: Any) -> None:
    with pytest.raises(TypeError, match="@task decorates functions"):
        task(wrong)


def test_a_task_is_a_task_already() -> None:
    with pytest.raises(TypeError, match="is a task already"):
        task(charge)


# Annotations


def test_annotated_parameters_count_by_their_base() -> None:
    @task
    def read(order: Annotated[Order, "the order"]) -> Payment: ...

    assert read.signature.parameters == (Parameter("order", Order),)


def test_models_local_to_a_function() -> None:
    class Local(BaseModel):
        x: int

    @task
    def read(order: Local) -> Result[Local, Local]: ...

    assert read.signature.output is Local


def test_models_local_to_a_function_and_defined_after_the_task() -> None:
    @task
    def read(order: Later) -> Payment: ...

    with pytest.raises(Unresolved):
        _ = read.signature

    class Later(BaseModel):
        x: int

    assert read.signature.parameters == (Parameter("order", Later),)


def test_a_wrong_model_defined_after_the_task_is_found_later() -> None:
    @task
    def read(order: Later) -> Payment: ...

    class Later:
        pass

    with pytest.raises(ContractError, match="must be a pydantic model, but it is Later"):
        _ = read.signature


def made_far_away() -> Task[Any, Any]:
    @task
    def read(order: Far) -> Payment: ...

    class Far(BaseModel):
        x: int

    return read


def test_a_local_model_out_of_sight_is_reported() -> None:
    with pytest.raises(Unresolved, match="name 'Far' is not defined"):
        _ = made_far_away().signature
    with pytest.raises(ContractError, match="name 'Far' is not defined; define it before the workflow") as error:
        made_far_away().reading(x="y")
    assert [violation.code for violation in error.value.violations] == ["task-model"]


def test_a_function_may_use_what_is_defined_after_it() -> None:
    @task
    def read(order: Order) -> Payment:
        return helper(order)

    def helper(order: Order) -> Payment:
        return Payment(payment_id=order.sku)

    assert read(Order(sku="s")).payment_id == "s"


class Flows:
    class Inner(BaseModel):
        x: int

    @task
    def step(order: Inner) -> Inner: ...


def test_tasks_in_a_class() -> None:
    assert Flows.step.signature.output is Flows.Inner
    assert Flows().step is Flows.step


def test_names_that_only_type_checkers_see() -> None:
    namespace: dict[str, Any] = {"Order": Order, "Payment": Payment}
    source = "def read(order: 'Order', *, ctx: 'TaskContext') -> 'Result[Payment, Payment]': ..."
    exec(source, namespace)
    assert task(namespace["read"]).signature.context == "ctx"


# Options


def test_options() -> None:
    policy = Retry(attempts=3)

    @task(name="pay", retry=policy, timeout=timedelta(minutes=1), tags=["slow", "money"])
    def charge(order: Order) -> Payment: ...

    assert charge.name == "pay"
    assert charge.options.retry is policy
    assert charge.options.timeout_s == 60.0
    assert charge.options.tags == ("slow", "money")


def test_options_are_replaced_one_by_one() -> None:
    timed = charge.with_options(timeout=5)
    both = timed.with_options(retry=Retry(attempts=2), tags="one")
    assert (both.options.timeout_s, both.options.retry.attempts, both.options.tags) == (5.0, 2, ("one",))
    assert both.with_options(timeout=None, retry=None).options.retry is NO_RETRY
    assert charge.options.timeout_s is None


def test_where_a_body_runs_is_an_option() -> None:
    @task(executor="process")
    def slow(order: Order) -> Payment:
        return Payment(payment_id="p")

    assert slow.options.executor == "process"
    assert slow.with_options(timeout=1).options.executor == "process"
    assert slow.with_options(executor=None).options.executor is None
    assert slow.with_options(executor="thread") != slow


def test_a_queue_is_an_option() -> None:
    @task(queue="mail")
    def send() -> None: ...

    assert send.options.queue == "mail"
    assert send.with_options(timeout=1).options.queue == "mail"
    assert send.with_options(queue=None).options.queue is None
    assert send.with_options(queue="web") != send


@pytest.mark.parametrize("queue", ["", "  ", "a\nb", "x" * 129, 1, b"mail"])
def test_a_name_that_no_queue_can_have_is_refused(queue: Any) -> None:
    with pytest.raises(ValueError, match="a queue's name is a printable string of 1 to 128 characters"):
        task(queue=queue)


@pytest.mark.parametrize("executor", ["fork", "Process", 1, True])
def test_an_unknown_executor_is_refused(executor: Any) -> None:
    with pytest.raises(ValueError, match='choose "process", "thread" or "loop"'):
        task(executor=executor)


def test_a_body_must_fit_its_executor() -> None:
    def sync(order: Order) -> None: ...
    async def asynchronous(order: Order) -> None: ...

    with pytest.raises(TypeError, match='Task "sync": executor="loop", but a sync task runs on "thread"'):
        task(executor="loop")(sync)
    with pytest.raises(TypeError, match='Task "asynchronous": executor="thread", but an async task runs on "loop"'):
        task(executor="thread")(asynchronous)
    with pytest.raises(TypeError, match="an async task"):
        task(asynchronous).with_options(executor="thread")
    assert task(executor="process")(asynchronous).options.executor == "process"


def test_a_decorator_can_be_shared() -> None:
    flaky = task(retry=Retry(attempts=5))

    @flaky
    def one() -> None: ...
    @flaky(timeout=2)
    def two() -> None: ...

    assert [each.options.retry.attempts for each in (one, two)] == [5, 5]
    assert (one.options.timeout_s, two.options.timeout_s) == (None, 2.0)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"timeout": 0}, "finite number of seconds above 0"),
        ({"timeout": -1}, "finite number of seconds above 0"),
        ({"retry": 3}, "write retry=Retry"),
        ({"retires": Retry()}, "Unknown task option retires"),
    ],
)
def test_wrong_options(options: dict[str, Any], error: str) -> None:
    with pytest.raises((TypeError, ValueError), match=error):
        charge.with_options(**options)
    with pytest.raises((TypeError, ValueError), match=error):
        task(**options)


# Keys


def test_reading_and_writing_other_keys() -> None:
    renamed = charge.reading(sku="item").reading(amount="total").writing(payment_id="receipt")
    assert renamed.reads == (("amount", "total"), ("sku", "item"))
    assert renamed.writes == (("payment_id", "receipt"),)
    assert charge.reads == ()


def test_unknown_fields_are_named() -> None:
    with pytest.raises(TypeError, match="Task \"charge\" reads no field 'total'; it has amount, sku"):
        charge.reading(total="x")  # type: ignore[call-arg]  # wrong on purpose
    with pytest.raises(TypeError, match="Task \"charge\" writes no field 'sku'; it has payment_id"):
        charge.writing(sku="x")  # type: ignore[call-arg]  # wrong on purpose


@pytest.mark.parametrize("key", ["", "a b", "1a", 3, None])
def test_a_key_is_an_identifier(key: Any) -> None:
    for rename in (charge.reading, charge.writing):
        field = "sku" if rename == charge.reading else "payment_id"
        with pytest.raises(ValueError, match="a context key is a Python identifier"):
            rename(**{field: key})
    with pytest.raises(ValueError, match="a context key is a Python identifier"):
        charge.into(key)


@pytest.mark.parametrize("key", ["", "a b", "1a", 3, None])
def test_a_wait_is_given_keys_as_a_task_is(key: Any) -> None:
    wait = wait_for(Order)
    assert (wait.writing(sku="article").writes, wait.into("order").whole) == ((("sku", "article"),), "order")
    with pytest.raises(ValueError, match="a context key is a Python identifier"):
        wait.writing(sku=key)
    with pytest.raises(ValueError, match="a context key is a Python identifier"):
        wait.into(key)
    with pytest.raises(TypeError, match="Task \"wait_for:Order\" writes no field 'stock'; it has amount, sku"):
        wait.writing(stock="x")  # type: ignore[call-arg]  # wrong on purpose
    with pytest.raises(ContractError, match='would write its fields "amount" and "sku" to one key, "sku"'):
        wait.writing(amount="sku")
    with pytest.raises(TypeError, match="writes nothing, so there is nothing to write into"):
        subflow(Workflow("nothing", sleep(1))).into("order")


def test_into_needs_an_output() -> None:
    @task
    def nothing(order: Order) -> None: ...

    assert charge.into("payment").whole == "payment"
    with pytest.raises(TypeError, match="writes nothing"):
        nothing.into("x")


def test_two_fields_written_to_one_key_are_refused() -> None:
    @task
    def price(order: Order) -> Order: ...

    for keys in ({"sku": "amount"}, {"sku": "x", "amount": "x"}):
        with pytest.raises(ContractError) as error:
            price.writing(**keys)
        assert [violation.code for violation in error.value.violations] == ["task-model"]
    with pytest.raises(ContractError, match='would write its fields "amount" and "sku" to one key, "x"'):
        price.writing(sku="x", amount="x")
    assert price.writing(sku="amount", amount="sku").writes == (("amount", "sku"), ("sku", "amount"))


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), 10**400, "3", True], ids=lambda it: str(it)[:9])
def test_what_is_no_timeout(timeout: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="number of seconds"):
        charge.with_options(timeout=timeout)
