"""Tasks: typed functions as graphs of one node, and the decorator that makes them.

It knows a function's signature and the options of its execution; it registers nothing and runs nothing.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf
from typing import Any, Concatenate, Final, Generic, Literal, Self, TypeAlias, TypedDict, Unpack, overload

from pydantic import BaseModel
from returns.result import Result
from typing_extensions import ParamSpec, TypeVar

from cloaca.algebra.caching import CacheAge, cache_age_s, check_cacheable
from cloaca.algebra.compensations import check_undo
from cloaca.algebra.declarations import Renames, Signature, renamed, renamed_writes, whole_key
from cloaca.algebra.graphs import Graph, Hidden, In, Node, Out
from cloaca.algebra.handlers import unfit_handler
from cloaca.algebra.models import row_of
from cloaca.algebra.queues import checked_queue
from cloaca.algebra.retries import NO_RETRY, Retry, Seconds, in_seconds
from cloaca.algebra.signatures import Model, Unresolved, local_names, read_signature, undefined
from cloaca.algebra.structures import checked_name
from cloaca.errors import ContractError

Params = ParamSpec("Params", default=...)
Returned = TypeVar("Returned", covariant=True, default=Any)
A = TypeVar("A", bound=BaseModel)
B = TypeVar("B", bound=BaseModel)
Written = TypeVar("Written", bound=BaseModel | None)
Err = TypeVar("Err", bound=BaseModel)
Rest = ParamSpec("Rest")
Async: TypeAlias = Coroutine[Any, Any, Written]
Answer: TypeAlias = Result[Written, Err]
AsyncAnswer: TypeAlias = Coroutine[Any, Any, Result[Written, Err]]
Whole = TypeVar("Whole", bound=BaseModel)

Executor = Literal["loop", "thread", "process"]
EXECUTORS: Final = ("loop", "thread", "process")


class TaskOptions(TypedDict, total=False):
    """What ``with_options`` takes."""

    retry: Retry | None
    timeout: Seconds | None
    queue: str | None
    executor: Executor | None
    cache: CacheAge | None
    tags: Sequence[str]


@dataclass(frozen=True, slots=True)
class Options:
    """How a task is executed at one place of a graph. ``timeout_s`` is in seconds, None for no limit.

    ``executor`` None leaves it to the function: a sync one runs on a thread, an async one on the event loop.
    ``queue`` names the ``Queue`` whose limits count, if any.
    ``cache_s`` is how old a result may be, in seconds, that another run has left for the same input; None for none.
    """

    retry: Retry = NO_RETRY
    timeout_s: float | None = None
    tags: tuple[str, ...] = ()
    executor: Executor | None = None
    queue: str | None = None
    cache_s: float | None = None

    def updated(self, given: Mapping[str, Any]) -> Options:
        """Return these options with those in ``given``, by the names that a decorator has for them, replaced."""
        unknown = given.keys() - {"retry", "timeout", "queue", "executor", "cache", "tags"}
        if unknown:
            known = "retry, timeout, queue, executor, cache and tags"
            raise TypeError(f"Unknown task option {', '.join(sorted(unknown))}; known are {known}")
        new = self
        if "retry" in given:
            new = replace(new, retry=_retry(given["retry"]))
        if "timeout" in given:
            new = replace(new, timeout_s=_timeout(given["timeout"]))
        if "executor" in given:
            new = replace(new, executor=_executor(given["executor"]))
        if "cache" in given:
            new = replace(new, cache_s=cache_age_s(given["cache"]))
        if "queue" in given:
            queue = given["queue"]
            new = replace(new, queue=None if queue is None else checked_queue(queue, f"queue={queue!r:.80}"))
        if "tags" in given:
            tags = given["tags"]
            new = replace(new, tags=(tags,) if isinstance(tags, str) else tuple(tags))
        return new


def _retry(retry: object) -> Retry:
    if retry is None:
        return NO_RETRY
    if not isinstance(retry, Retry):
        raise TypeError(f"retry={retry!r}: write retry=Retry(attempts=3)")
    return retry


def _executor(executor: Any) -> Executor | None:
    if executor is not None and executor not in EXECUTORS:
        raise ValueError(f'executor={executor!r}: choose "process", "thread" or "loop"')
    known: Executor | None = executor
    return known


def _check_executor(name: str, function: Callable[..., Any], executor: Executor | None) -> None:
    """A coroutine function needs an event loop, and any other body would block it; a child process takes both."""
    is_async = inspect.iscoroutinefunction(function)
    if executor == ("thread" if is_async else "loop"):
        kind, right = ("an async", "loop") if is_async else ("a sync", "thread")
        known = f'{kind} task runs on "{right}", which is its default, or on "process"'
        raise TypeError(f'Task "{name}": executor="{executor}", but {known}')


def _timeout(timeout: Seconds | None) -> float | None:
    if timeout is None:
        return None
    seconds = in_seconds(timeout)
    if not 0 < seconds < inf:
        raise ValueError(f"timeout={timeout!r}: a timeout is a finite number of seconds above 0; None means no limit")
    return seconds


@dataclass(frozen=True, eq=False, repr=False)
class Task(Node[In, Out, Hidden], Generic[In, Out, Hidden, Params, Returned]):
    """A typed function as a node. Made by ``@task``; calling it calls the plain function.

    ``reads`` and ``writes`` map a model's fields to other context keys; ``whole`` is the key that takes the whole
    output model (``.into``), if any; ``undo`` is the task that undoes it (``.compensate``), ``handler`` the one that
    stands in if this one fails (``.rescue``).

    >>> from pydantic import BaseModel
    >>> from cloaca import Workflow, task
    >>> class Order(BaseModel):
    ...     order_id: int
    >>> class Payment(BaseModel):
    ...     payment_id: str
    >>> @task
    ... def charge(order: Order) -> Payment:
    ...     return Payment(payment_id=f"pay-{order.order_id}")
    >>> charge(Order(order_id=7))  # the plain function, for a unit test
    Payment(payment_id='pay-7')
    >>> isinstance(charge, Task), charge.name
    (True, 'charge')
    >>> again = charge.named("again").reading(order_id="other_id").writing(payment_id="second").with_options(timeout=9)
    >>> again.name, again.options.timeout_s
    ('again', 9.0)
    >>> @task
    ... def refund(order: Order, payment: Payment) -> None: ...
    >>> @task
    ... def send_invoice(order: Order) -> Payment:
    ...     return Payment(payment_id=f"invoice-{order.order_id}")
    >>> print(Workflow("orders", charge.compensate(refund).rescue(send_invoice)).to_text())
    charge ─┬─ refund (undoes charge)
            └─ send_invoice (rescue)
    >>> def is_large(order: Order) -> bool:
    ...     return order.order_id > 100
    >>> print((charge.when(is_large).into("payment") >> refund.on("all_done")).to_text())
    charge (when is_large) ── refund (on all_done)
    """

    function: Callable[..., Any] = field(kw_only=True)
    options: Options = field(default=Options(), kw_only=True)
    reads: Renames = field(default=(), kw_only=True)
    writes: Renames = field(default=(), kw_only=True)
    whole: str | None = field(default=None, kw_only=True)
    undo: Task[Any, Any, Any, ..., Any] | None = field(default=None, kw_only=True)
    handler: Task[Any, Any, Any, Any, Any] | None = field(default=None, kw_only=True)
    names: Mapping[str, Any] = field(default_factory=dict, kw_only=True)

    def __post_init__(self) -> None:
        _check_executor(self.name, self.function, self.options.executor)
        # inspect.signature, doctest and documentation tools find the function behind the task by this.
        object.__setattr__(self, "__wrapped__", self.function)
        object.__setattr__(self, "__doc__", self.function.__doc__)
        object.__setattr__(self, "__module__", self.function.__module__)

    @overload
    def __call__(self, *args: Params.args, **kwargs: Params.kwargs) -> Returned: ...
    @overload
    def __call__(self, **kwargs: Any) -> Returned: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    @cached_property
    def signature(self) -> Signature[Model]:
        """What the function reads and writes.

        Raises:
            ContractError: ``task-model``.
            Unresolved: an annotation names something that is still not defined.
        """
        return read_signature(self.function, self.name, {**local_names(self.function), **self.names})

    @property
    def detail(self) -> str:
        """The models, as in ``Order -> Payment``."""
        try:
            signature = self.signature
        except Unresolved:
            return ""
        reads = ", ".join(parameter.model.__name__ for parameter in signature.parameters)
        return f"{reads or '()'} -> {signature.output.__name__ if signature.output else '()'}"

    @property
    def is_cached(self) -> bool:
        """Whether results that other runs have left may be used."""
        return self.options.cache_s is not None

    @property
    def stand_in(self) -> Task[Any, Any, Any, Any, Any] | None:
        """The handler."""
        return self.handler

    def identity(self) -> tuple[object, ...]:
        """The function, its options, its keys, what undoes it and what stands in for it count too."""
        keys = (self.reads, self.writes, self.whole)
        return (*super().identity(), self.function, self.options, *keys, self.undo, self.handler)

    def with_options(self, **options: Unpack[TaskOptions]) -> Self:
        """Return the same task with other options here, by the names that the decorator has for them."""
        updated = self.options.updated(options)
        _check_executor(self.name, self.function, updated.executor)
        other = self._changed(options=updated)
        with suppress(Unresolved):  # asked again when the graph is closed
            check_cacheable(other)
        return other

    def reading(self, **keys: str) -> Self:
        """Return the same task with model fields read from other context keys: ``t.reading(amount="total")``."""
        known = {name for parameter in self._resolved().parameters for name in row_of(parameter.model)}
        return self._changed(reads=renamed(self.reads, keys, known, f'Task "{self.name}" reads'))

    def writing(self, **keys: str) -> Self:
        """Return the same task with output fields written to other context keys: ``t.writing(total="amount")``.

        Raises:
            ContractError: ``task-model``: two fields would be written to one key.
        """
        output = self._resolved().output
        return self._changed(writes=renamed_writes(self.name, self.writes, keys, row_of(output) if output else ()))

    def into(self, key: str, /) -> Self:
        """Return the same task, writing its whole output model as the one field ``key``."""
        return self._changed(whole=whole_key(self.name, key, self._resolved().output))

    def compensate(self, undo: Task[Any, Any, Any, ..., Any], /) -> Self:
        """Return the same task with ``undo``, which runs if the run fails or is cancelled after it has succeeded.

        ``undo`` is a task with its own retries, timeout and executor. It reads what this task could read, and what it
        wrote; what ``undo`` writes is stored, but is not part of the context. The compensations of a run run one after
        another, in reverse order of completion; the run ends when they are done.

        Raises:
            TypeError: ``undo`` is no task, has a condition, a trigger rule, a cache or a compensation of its own, or
                this task is cached or has another compensation.
        """
        check_undo(self, undo)
        return self._changed(undo=undo)

    def rescue(self, handler: Task[Any, Any, Any, Any, Any], /) -> Self:
        """Return the same task with a handler: if the task finally fails, ``handler`` runs and stands in for it.

        The handler is a task of its own, with its own retries and timeout. It sees the context that this task has seen,
        and may also take, among its positional parameters, the ``TaskFailure``, or the error model of this task; one
        that takes the error model runs only after a ``Failure``, not after an exception. It must write what this task
        writes, under the same keys and with types that fit, which is checked when the graph is closed. Once it has
        succeeded, the run goes on as if this task had.

        Raises:
            TypeError: ``handler`` is no task.
            ValueError: this task has a handler already, or ``handler`` has a handler, a condition, a rule or a cache of
                its own.
        """
        if not isinstance(handler, Task):
            raise TypeError(f"rescue({handler!r}): a handler is a task; decorate the function with @task")
        if problem := unfit_handler(self, handler):
            raise ValueError(problem)
        return self._changed(handler=handler)

    def _resolved(self) -> Signature[Model]:
        """The signature, where there is no waiting for a definition further down."""
        try:
            return self.signature
        except Unresolved as error:
            raise ContractError([undefined(self.name, f'Task "{self.name}"', error)]) from error


@dataclass(frozen=True, slots=True)
class TaskDecorator:
    """Makes tasks of functions: ``@task``, or ``@task(retry=..., timeout=...)``.

    A task takes zero or more pydantic models and returns one, ``None`` or ``Result[Model, Error]``; it may be sync or
    async, and may ask for ``*, ctx: TaskContext``.

    Options:
        name: how graphs know the task; the function's name if left out.
        retry: a ``Retry``; by default a task is executed once.
        timeout: seconds or a ``timedelta`` for one attempt.
        queue: the name of the ``Queue`` whose limits count for its attempts; see ``docs/how-to/limit-concurrency.md``.
        executor: where the body runs: ``"thread"`` (sync bodies, unless it says otherwise), ``"loop"`` (async ones) or
            ``"process"``, a child process, for what keeps a CPU busy; see ``docs/how-to/cpu-bound-tasks.md``.
        cache: how old a result of the same code for the same input may be, from whatever run, to be reused: seconds, a
            ``timedelta``, or True for any age; see ``docs/how-to/cache-results.md``.
        tags: strings for people and tools.

    Raises:
        ContractError: ``task-model``: an annotation is missing, is not a model, or can't survive JSON.

    >>> from pydantic import BaseModel
    >>> class Name(BaseModel):
    ...     name: str
    >>> class Greeting(BaseModel):
    ...     text: str
    >>> @task
    ... def greet(who: Name) -> Greeting:
    ...     return Greeting(text=f"Hello, {who.name}")
    >>> greet(Name(name="Ada")).text
    'Hello, Ada'
    """

    name: str | None = None
    options: Options = Options()

    # The order matters: a Coroutine and a Result are also "any return", two models are also "one and the rest".
    @overload
    def __call__(
        self, function: Callable[Concatenate[A, B, Rest], AsyncAnswer[Written, Err]], /
    ) -> Task[Any, Written, object, Concatenate[A, B, Rest], AsyncAnswer[Written, Err]]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[A, Rest], AsyncAnswer[Written, Err]], /
    ) -> Task[A, Written, object, Concatenate[A, Rest], AsyncAnswer[Written, Err]]: ...
    @overload
    def __call__(
        self, function: Callable[Rest, AsyncAnswer[Written, Err]], /
    ) -> Task[None, Written, object, Rest, AsyncAnswer[Written, Err]]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[A, B, Rest], Answer[Written, Err]], /
    ) -> Task[Any, Written, object, Concatenate[A, B, Rest], Answer[Written, Err]]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[A, Rest], Answer[Written, Err]], /
    ) -> Task[A, Written, object, Concatenate[A, Rest], Answer[Written, Err]]: ...
    @overload
    def __call__(
        self, function: Callable[Rest, Answer[Written, Err]], /
    ) -> Task[None, Written, object, Rest, Answer[Written, Err]]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[A, B, Rest], Async[Written]], /
    ) -> Task[Any, Written, object, Concatenate[A, B, Rest], Async[Written]]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[A, Rest], Async[Written]], /
    ) -> Task[A, Written, object, Concatenate[A, Rest], Async[Written]]: ...
    @overload
    def __call__(
        self, function: Callable[Rest, Async[Written]], /
    ) -> Task[None, Written, object, Rest, Async[Written]]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[A, B, Rest], Written], /
    ) -> Task[Any, Written, object, Concatenate[A, B, Rest], Written]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[A, Rest], Written], /
    ) -> Task[A, Written, object, Concatenate[A, Rest], Written]: ...
    @overload
    def __call__(self, function: Callable[Rest, Written], /) -> Task[None, Written, object, Rest, Written]: ...
    @overload
    def __call__(
        self,
        *,
        name: str | None = None,
        retry: Retry | None = None,
        timeout: Seconds | None = None,
        queue: str | None = None,
        executor: Executor | None = None,
        cache: CacheAge | None = None,
        tags: tuple[str, ...] | list[str] = (),
    ) -> TaskDecorator: ...
    def __call__(self, function: Any = None, *, name: str | None = None, **options: Any) -> Any:
        name = self.name if name is None else checked_name(name)
        if function is None:
            return TaskDecorator(name, self.options.updated(options))
        if isinstance(function, Graph):
            raise TypeError(f"{function!r} is a task already")
        if not inspect.isroutine(function):
            raise TypeError(f"@task decorates functions, not {function!r}; wrap it in a def with annotations")
        named = name or function.__name__
        made: Task[Any, Any] = Task(named, function=function, options=self.options, names=local_names(function))
        with suppress(Unresolved):  # a model defined further down: whoever closes the graph asks again
            made.signature  # noqa: B018 - reads the annotations now, so that an error is reported at the decorator
            check_cacheable(made)
        return made


task: Final = TaskDecorator()
"""Make a task of a function: ``@task``, or ``@task(retry=..., timeout=...)``; see ``TaskDecorator``."""
