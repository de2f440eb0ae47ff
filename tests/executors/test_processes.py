"""Jobs in child processes: answers arrive, the death of a child is the end of one job, and nobody stays behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from cloaca.errors import ProcessDied
from cloaca.executors.births import Births, ForkServer, Spawner
from cloaca.executors.processes import Job, ProcessExecutor
from tests.executors.entries import ENTRY

WAYS: dict[str, Callable[[], Births]] = {"spawned": Spawner}
if sys.platform == "linux":
    WAYS["forked"] = lambda: ForkServer(ENTRY)
PATIENCE_S = 30.0

Scenario = Callable[[Callable[[], Births]], Coroutine[Any, Any, None]]


def each_way(test: Scenario) -> Callable[[str], None]:
    """Run a coroutine as a test, with children that are forked and with children that are spawned."""

    @pytest.mark.parametrize("way", WAYS)
    def runs(way: str) -> None:
        complaints: list[object] = []

        async def scenario() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
            await asyncio.wait_for(test(WAYS[way]), PATIENCE_S)

        asyncio.run(scenario())
        assert not complaints

    return runs


@asynccontextmanager
async def pool(births: Callable[[], Births], processes: int = 1) -> AsyncIterator[ProcessExecutor]:
    executor = ProcessExecutor(ENTRY, processes, births())
    try:
        yield executor
    finally:
        await executor.closed()


class Heard:
    """Keeps what a child says, and knows when it has begun."""

    def __init__(self) -> None:
        self.said: list[Any] = []
        self.begun: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def __call__(self, message: Any) -> None:
        if message[0] == "begun" and not self.begun.done():
            self.begun.set_result(message[1])
        else:
            self.said.append(message)


def ask(executor: ProcessExecutor, verb: str, argument: object = None) -> Job:
    return executor.submit([verb, argument], lambda _: None)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():
            await asyncio.sleep(0.005)


async def outcome(job: Awaitable[object]) -> object:
    try:
        return await job
    except Exception as error:  # noqa: BLE001 - which one is what is asked
        return error


@each_way
async def test_answers_arrive(births: Callable[[], Births]) -> None:
    odd = ["\ud800", "\0", "ß\u2028", 1.5, None, {"a": [True]}, "x" * 3_000_000]
    async with pool(births, 2) as executor:
        assert await ask(executor, "echo", odd) == odd
        numbers = await asyncio.gather(*(ask(executor, "echo", number) for number in range(300)))
        assert numbers == list(range(300))


@each_way
async def test_what_many_threads_say_is_heard_whole(births: Callable[[], Births]) -> None:
    async with pool(births) as executor:
        heard = Heard()
        assert await executor.submit(["chatter", 50], heard) == 50
        assert sorted(number for number, _ in heard.said) == list(range(50))


@each_way
async def test_what_is_said_of_a_job_that_is_done_is_not_heard(births: Callable[[], Births]) -> None:
    async with pool(births) as executor:
        await ask(executor, "linger")
        heard = Heard()
        await executor.submit(["echo", 1], heard)
        assert heard.said == []


@each_way
async def test_a_fault_of_the_entry_is_an_answer(births: Callable[[], Births]) -> None:
    async with pool(births) as executor:
        assert "ZeroDivisionError" in (await ask(executor, "fail", 0))["fault"]
        assert await ask(executor, "echo", 1) == 1


@each_way
async def test_a_child_is_like_its_parent(births: Callable[[], Births]) -> None:
    os.environ["CLOACA_TEST"] = "ä"
    try:
        async with pool(births) as executor:
            found = await ask(executor, "surroundings")
    finally:
        del os.environ["CLOACA_TEST"]
    assert found["cwd"] == os.getcwd()
    assert found["path"] == [os.path.abspath(entry) for entry in sys.path]
    assert found["argv"] == sys.argv
    assert found["own"] == "ä"
    assert found["group"]
    assert found["threads"] == 2  # one works, one listens
    assert found["stdin"] == ""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
@each_way
async def test_a_child_has_no_file_of_its_parent(births: Callable[[], Births]) -> None:
    with open(__file__) as file:
        os.set_inheritable(file.fileno(), True)
        async with pool(births, 2) as executor:
            first = ask(executor, "spin")
            files = await ask(executor, "files")
            first.cancel()
    assert __file__ not in files
    assert len([name for name in files if name.startswith("socket:")]) == 1


@each_way
async def test_a_child_leaves_signals_to_its_parent(births: Callable[[], Births]) -> None:
    """And what a body starts can be stopped by them as ever."""
    async with pool(births) as executor:
        assert await ask(executor, "outlive") == "alive"
        assert await ask(executor, "stop others") == [-signal.SIGTERM, -signal.SIGTERM]


@each_way
async def test_nothing_starts_before_the_first_job(births: Callable[[], Births]) -> None:
    async with pool(births) as executor:
        await asyncio.sleep(0)
        assert not executor._children
        assert not executor._work


@each_way
async def test_a_child_that_dies_ends_its_own_job_alone(births: Callable[[], Births]) -> None:
    async with pool(births, 2) as executor:
        heard = Heard()
        spinning = executor.submit(["spin", None], heard)
        await heard.begun
        assert "SIGKILL" in str(await outcome(ask(executor, "die", "SIGKILL")))
        assert "SIGSEGV" in str(await outcome(ask(executor, "die", "SIGSEGV")))
        assert "exit code 7" in str(await outcome(ask(executor, "exit", 7)))
        assert isinstance(await outcome(ask(executor, "exit", 0)), ProcessDied)
        assert await ask(executor, "echo", "next") == "next"
        assert not spinning.done()
        assert is_alive(await heard.begun)


@each_way
async def test_cancelling_kills_and_another_child_takes_over(births: Callable[[], Births]) -> None:
    async with pool(births) as executor:
        for _ in range(3):
            heard = Heard()
            job, waits = executor.submit(["spin", None], heard), ask(executor, "echo", "after")
            pid = await heard.begun
            job.cancel()
            assert await waits == "after"
            assert not is_alive(pid)


@each_way
async def test_a_job_that_is_cancelled_before_it_begins_never_does(births: Callable[[], Births]) -> None:
    async with pool(births) as executor:
        heard, never = Heard(), Heard()
        first, second = executor.submit(["spin", None], heard), executor.submit(["echo", 1], never)
        await heard.begun
        second.cancel()
        first.cancel()
        assert await ask(executor, "echo", "third") == "third"
        assert not never.begun.done()
        assert never.said == []


@each_way
async def test_a_job_does_not_suffer_from_a_child_that_died_in_its_sleep(births: Callable[[], Births]) -> None:
    """The child is dead, but nobody here knows that yet when it gets the job."""
    async with pool(births) as executor:
        pid = await ask(executor, "pid")
        os.kill(pid, signal.SIGKILL)
        assert await ask(executor, "pid") != pid


@each_way
async def test_closing_lets_jobs_end_that_have_begun(births: Callable[[], Births]) -> None:
    executor = ProcessExecutor(ENTRY, 1, births())
    heard = Heard()
    job, waits = executor.submit(["chatter", 20], heard), ask(executor, "echo", 1)
    await heard.begun
    executor.close()
    executor.close()
    assert await job == 20
    assert waits.cancelled()
    with pytest.raises(RuntimeError, match="closed"):
        ask(executor, "echo", 2)
    await executor.closed()


@each_way
async def test_no_child_is_left_behind(births: Callable[[], Births]) -> None:
    executor = ProcessExecutor(ENTRY, 3, births())
    spinning = [Heard() for _ in range(2)]
    jobs = [executor.submit(["spin", None], heard) for heard in spinning]
    idle = await ask(executor, "pid")
    busy = [await heard.begun for heard in spinning]
    await executor.closed()
    await executor.closed()
    assert not any(is_alive(pid) for pid in [idle, *busy])
    assert all(job.cancelled() for job in jobs)


@each_way
async def test_closing_before_a_child_is_born(births: Callable[[], Births]) -> None:
    executor = ProcessExecutor(ENTRY, 2, births())
    job = ask(executor, "echo")
    await asyncio.sleep(0)
    await executor.closed()
    assert job.cancelled()
    assert not executor._children


@each_way
async def test_a_child_that_will_not_end_is_killed(births: Callable[[], Births]) -> None:
    executor = ProcessExecutor(ENTRY, 1, births())
    pid = await ask(executor, "stay")
    await executor.closed()
    assert not is_alive(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="children are forked on Linux alone")
def test_a_nursery_that_dies_is_replaced() -> None:
    async def scenario() -> None:
        births = ForkServer(ENTRY)
        async with pool(lambda: births, 2) as executor:
            heard = Heard()
            job = executor.submit(["spin", None], heard)
            pid = await heard.begun
            server = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            assert server != os.getpid()
            os.kill(server, signal.SIGKILL)
            assert isinstance(await outcome(job), ProcessDied)
            await until(lambda: not is_alive(pid))
            assert await ask(executor, "echo", "again") == "again"

    asyncio.run(scenario())


class NoBirths:
    """A system that is full."""

    async def bear(self) -> Any:
        raise BlockingIOError("too many processes")

    async def close(self) -> None:
        pass


def test_where_no_child_can_be_born_each_job_fails() -> None:
    async def scenario() -> None:
        async with pool(NoBirths, 2) as executor:
            jobs = [ask(executor, "echo", number) for number in range(5)]
            assert [type(await outcome(job)) for job in jobs] == [BlockingIOError] * 5

    asyncio.run(scenario())


def test_an_entry_that_can_not_be_imported_does_not_go_round_for_ever(capfd: pytest.CaptureFixture[str]) -> None:
    async def scenario() -> None:
        executor = ProcessExecutor("tests.executors.no_such_module:perform", 1)
        assert isinstance(await outcome(ask(executor, "echo")), OSError | ProcessDied)
        await executor.closed()

    asyncio.run(asyncio.wait_for(scenario(), PATIENCE_S))
    assert "no_such_module" in capfd.readouterr().err
