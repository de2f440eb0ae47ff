"""The runner and its handles without ``await``, on an event loop of their own; and ``run``, for one run.

Each method does what the async one of the same name does; nothing is decided here.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection, Coroutine, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, Unpack, overload

from pydantic import BaseModel
from typing_extensions import TypeVar

from cloaca.algebra.drawings import Drawable
from cloaca.algebra.fanouts import Each
from cloaca.algebra.graphs import Node
from cloaca.algebra.outcomes import Outcome, TaskFailure
from cloaca.algebra.retries import Seconds
from cloaca.algebra.tasks import Task
from cloaca.contract.workflows import Workflow
from cloaca.errors import RunnerClosed
from cloaca.interpreter.elements import ElementInfo
from cloaca.interpreter.firings import Schedule
from cloaca.interpreter.histories import RunEvent, RunInfo, TaskInfo, Waiting
from cloaca.runner.blocking_schedules import BlockingSchedules
from cloaca.runner.handles import RunHandle
from cloaca.runner.runners import Runner, RunnerOptions
from cloaca.runner.schedules import ScheduleOptions
from cloaca.runner.triggers import TriggerInfo

Out = TypeVar("Out", covariant=True)
Errors = TypeVar("Errors", covariant=True)
Context = TypeVar("Context", covariant=True, default=Mapping[str, Any])
T = TypeVar("T")
Input = TypeVar("Input", bound=BaseModel)


LEAVE_S = 1.0


class LoopThread:
    """An event loop on a thread of its own, for callers that have none, or have one that must not be blocked."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._closing = False
        self._thread = threading.Thread(target=self._serve, name="cloaca-loop", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while not self._closing:  # a body may stop the loop that it runs on; nobody else may be left waiting for it
            self._loop.run_forever()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        if threading.current_thread() is self._thread:
            work.close()
            raise RuntimeError(
                "a BlockingRunner was called on its own event loop, where waiting would block itself: call it from a "
                "synchronous task, or use Runner in async code"
            )
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        self.call(self._leave())
        self._closing = True
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _leave(self) -> None:
        """Cancel what still runs, as ``asyncio.run`` does; a body that ignores that is left behind."""
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        if rest:
            await asyncio.wait(rest, timeout=LEAVE_S)
        await self._loop.shutdown_asyncgens()


class BlockingRunner:
    """``Runner`` without ``await``: for threads, Django, Flask, notebooks. Takes the same arguments.

    It drives its runs on an event loop of its own, so that it also works where one runs already.

    >>> from cloaca import BlockingRunner, Workflow, task
    >>> @task
    ... def greet() -> None:
    ...     print("hello")
    >>> greetings = Workflow("greetings", greet)
    >>> with BlockingRunner("memory://", workflows=[greetings]) as runner:
    ...     handle = runner.start(greetings, key="first")
    ...     _ = handle.result()
    ...     _ = runner.run("greetings")  # by name, and to its end
    ...     print(runner.get(handle.id).status(), len(runner.runs(workflow=greetings)), runner.triggers())
    ...     _ = runner.schedule(greetings, name="hourly", cron="@hourly")
    ...     print(*(schedule.name for schedule in runner.schedules.list()))
    hello
    hello
    succeeded 2 []
    hourly
    """

    def __init__(self, database: str | Path | None = None, **options: Unpack[RunnerOptions]) -> None:
        self._runner = Runner(database, **options)
        self._loop: LoopThread | None = None

    def __enter__(self) -> Self:
        if self._loop is not None:
            raise RunnerClosed("a runner is entered once; make another: with BlockingRunner(...)")
        self._loop = LoopThread()
        try:
            self._loop.call(self._runner.__aenter__())
        except BaseException:
            self._loop.close()
            self._loop = None
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._loop is None:
            return
        try:
            self._loop.call(self._runner.__aexit__(kind, error, trace))
        finally:
            self._loop.close()
            self._loop = None

    @overload
    def start(
        self,
        workflow: Workflow[None, Out, Context, Errors],
        input: None = None,
        *,
        key: str | None = None,
        priority: int = 0,
    ) -> BlockingRunHandle[Out, Errors, Context]: ...
    @overload
    def start(
        self,
        workflow: Workflow[Input, Out, Context, Errors],
        input: Input,
        *,
        key: str | None = None,
        priority: int = 0,
    ) -> BlockingRunHandle[Out, Errors, Context]: ...
    @overload
    def start(
        self, workflow: str, input: BaseModel | None = None, *, key: str | None = None, priority: int = 0
    ) -> BlockingRunHandle[Any, Any, Any]: ...
    def start(
        self, workflow: Any, input: Any = None, *, key: str | None = None, priority: int = 0
    ) -> BlockingRunHandle[Any, Any, Any]:
        """As ``Runner.start``."""
        return BlockingRunHandle(self, self._call(self._runner.start(workflow, input, key=key, priority=priority)))

    @overload
    def run(
        self,
        workflow: Workflow[None, Out, Any, Errors],
        input: None = None,
        *,
        key: str | None = None,
        priority: int = 0,
    ) -> Outcome[Out, Errors]: ...
    @overload
    def run(
        self, workflow: Workflow[Input, Out, Any, Errors], input: Input, *, key: str | None = None, priority: int = 0
    ) -> Outcome[Out, Errors]: ...
    @overload
    def run(
        self, workflow: str, input: BaseModel | None = None, *, key: str | None = None, priority: int = 0
    ) -> Outcome[Any, Any]: ...
    def run(self, workflow: Any, input: Any = None, *, key: str | None = None, priority: int = 0) -> Outcome[Any, Any]:
        """As ``Runner.run``."""
        return self._call(self._runner.run(workflow, input, key=key, priority=priority))

    def get(self, run_id: str) -> BlockingRunHandle[Any, Any, Any]:
        """As ``Runner.get``."""
        return BlockingRunHandle(self, self._call(self._runner.get(run_id)))

    def runs(
        self,
        *,
        workflow: Workflow[Any, Any, Any, Any] | str | None = None,
        status: str | None = None,
        limit: int = 50,
        before: str | None = None,
    ) -> list[RunInfo]:
        """As ``Runner.runs``."""
        return self._call(self._runner.runs(workflow=workflow, status=status, limit=limit, before=before))

    @overload
    def schedule(
        self,
        workflow: Workflow[None, Any, Any, Any],
        *,
        name: str,
        input: None = None,
        **options: Unpack[ScheduleOptions],
    ) -> Schedule: ...
    @overload
    def schedule(
        self,
        workflow: Workflow[Input, Any, Any, Any],
        *,
        name: str,
        input: Input,
        **options: Unpack[ScheduleOptions],
    ) -> Schedule: ...
    @overload
    def schedule(
        self, workflow: str, *, name: str, input: BaseModel | None = None, **options: Unpack[ScheduleOptions]
    ) -> Schedule: ...
    def schedule(self, workflow: Any, *, name: str, input: Any = None, **options: Unpack[ScheduleOptions]) -> Schedule:
        """As ``Runner.schedule``."""
        return self._call(self._runner.schedule(workflow, name=name, input=input, **options))

    def triggers(self) -> list[TriggerInfo]:
        """As ``Runner.triggers``."""
        return self._runner.triggers()

    @property
    def schedules(self) -> BlockingSchedules:
        """As ``Runner.schedules``."""
        return BlockingSchedules(self._runner.schedules, self._call)

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        if self._loop is None:
            work.close()
            raise RunnerClosed("the runner is not open: use it inside `with BlockingRunner(...) as runner`")
        return self._loop.call(work)


class BlockingRunHandle(Generic[Out, Errors, Context]):
    """``RunHandle`` without ``await``.

    >>> from cloaca import BlockingRunner, Workflow, task
    >>> broken = True
    >>> class Bill(BaseModel):
    ...     cents: int
    >>> class Payment(BaseModel):
    ...     paid: int
    >>> class Receipt(BaseModel):
    ...     text: str
    >>> @task
    ... def pay(bill: Bill) -> Payment:
    ...     return Payment(paid=bill.cents)
    >>> @task
    ... def thank(payment: Payment) -> Receipt:
    ...     if broken:
    ...         raise ConnectionError("no mail today")
    ...     return Receipt(text=f"thank you for {payment.paid}")
    >>> bills = Workflow("bills", pay >> thank)
    >>> with BlockingRunner("memory://", workflows=[bills]) as runner:
    ...     handle = runner.start(bills, Bill(cents=5))
    ...     print(handle.result(timeout=60).failure().task, handle.failures()[0].message)
    ...     print(handle.output_of(pay), [(info.name, info.status) for info in handle.tasks()])
    ...     broken = False
    ...     handle.retry()  # the same run, from what has failed on
    ...     print(handle.result().unwrap(), handle.context())
    ...     print(handle.why().kind, handle.children(), handle.picture().to_text())
    ...     other = handle.fork(before=thank)  # another run, which reuses what was paid
    ...     other.pause()
    ...     other.resume()
    ...     other.cancel()
    ...     print(other.status() in ("cancelled", "succeeded"), next(other.events()).kind)
    thank no mail today
    paid=5 [('pay', 'succeeded'), ('thank', 'failed')]
    text='thank you for 5' {'cents': 5, 'paid': 5, 'text': 'thank you for 5'}
    nothing [] ✔ pay ── ✔ thank
    True run_started
    """

    def __init__(self, runner: BlockingRunner, handle: RunHandle[Out, Errors, Context]) -> None:
        self._runner, self._handle = runner, handle
        self.id, self.workflow = handle.id, handle.workflow

    def __repr__(self) -> str:
        return repr(self._handle)

    def result(self, timeout: Seconds | None = None) -> Outcome[Out, Errors]:
        """As ``RunHandle.result``."""
        return self._runner._call(self._handle.result(timeout))

    def status(self) -> str:
        """As ``RunHandle.status``."""
        return self._runner._call(self._handle.status())

    def context(self) -> Context:
        """As ``RunHandle.context``."""
        return self._runner._call(self._handle.context())

    @overload
    def output_of(self, task: Task[Any, T, Any, ..., Any]) -> T | None: ...
    @overload
    def output_of(self, task: Each[Any, Any, Any]) -> list[Any] | None: ...
    @overload
    def output_of(self, task: str) -> BaseModel | list[Any] | None: ...
    def output_of(self, task: Node[Any, Any, Any] | str) -> Any:
        """As ``RunHandle.output_of``."""
        return self._runner._call(self._handle.output_of(task if isinstance(task, str) else task.name))

    def failures(self) -> list[TaskFailure]:
        """As ``RunHandle.failures``."""
        return self._runner._call(self._handle.failures())

    def tasks(self) -> list[TaskInfo]:
        """As ``RunHandle.tasks``."""
        return self._runner._call(self._handle.tasks())

    def picture(self) -> Drawable:
        """As ``RunHandle.picture``."""
        return self._runner._call(self._handle.picture())

    def elements(
        self, task: Node[Any, Any, Any] | str, *, status: str | None = None, after: int = -1, limit: int = 100
    ) -> list[ElementInfo]:
        """As ``RunHandle.elements``."""
        return self._runner._call(self._handle.elements(task, status=status, after=after, limit=limit))

    def why(self) -> Waiting:
        """As ``RunHandle.why``."""
        return self._runner._call(self._handle.why())

    def events(self) -> Iterator[RunEvent]:
        """As ``RunHandle.events``."""
        events = self._handle.events()
        try:
            while True:
                try:
                    yield self._runner._call(anext(events))
                except StopAsyncIteration:
                    return
        finally:
            self._runner._call(events.aclose())

    def send(self, signal: BaseModel) -> None:
        """As ``RunHandle.send``."""
        self._runner._call(self._handle.send(signal))

    def children(self) -> list[RunInfo]:
        """As ``RunHandle.children``."""
        return self._runner._call(self._handle.children())

    def cancel(self) -> None:
        """As ``RunHandle.cancel``."""
        self._runner._call(self._handle.cancel())

    def pause(self) -> None:
        """As ``RunHandle.pause``."""
        self._runner._call(self._handle.pause())

    def resume(self) -> None:
        """As ``RunHandle.resume``."""
        self._runner._call(self._handle.resume())

    def retry(self) -> None:
        """As ``RunHandle.retry``."""
        self._runner._call(self._handle.retry())

    def upgrade(self, give_up: Collection[Node[Any, Any, Any] | str] = ()) -> tuple[str, ...]:
        """As ``RunHandle.upgrade``."""
        return self._runner._call(self._handle.upgrade(give_up))

    def fork(self, before: Node[Any, Any, Any] | str) -> BlockingRunHandle[Out, Errors, Context]:
        """As ``RunHandle.fork``."""
        return BlockingRunHandle(self._runner, self._runner._call(self._handle.fork(before)))


@overload
def run(
    workflow: Workflow[None, Out, Any, Errors], input: None = None, database: str | Path | None = None
) -> Outcome[Out, Errors]: ...
@overload
def run(
    workflow: Workflow[Input, Out, Any, Errors], input: Input, database: str | Path | None = None
) -> Outcome[Out, Errors]: ...
def run(workflow: Any, input: Any = None, database: str | Path | None = None) -> Outcome[Any, Any]:
    """Run a workflow to its end, in this process, and return ``Success(output)`` or ``Failure(RunFailure)``.

    The database is ``database``, else ``$CLOACA_DATABASE_URL``, else ``sqlite:///cloaca.db``. Raises as
    ``Runner.start`` does. For more than one run, use a ``BlockingRunner`` or a ``Runner``.

    >>> from cloaca import Workflow, run, task
    >>> class Name(BaseModel):
    ...     name: str
    >>> class Greeting(BaseModel):
    ...     text: str
    >>> @task
    ... def greet(name: Name) -> Greeting:
    ...     return Greeting(text=f"hello {name.name}")
    >>> run(Workflow("greetings", greet), Name(name="Ada"), database="memory://").unwrap()
    Greeting(text='hello Ada')
    """
    with BlockingRunner(database, workflows=[workflow]) as runner:
        return runner.run(workflow, input)
