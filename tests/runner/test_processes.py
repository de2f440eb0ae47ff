"""Tasks in child processes: the same answers as on a thread, and an end when somebody asks for it."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from returns.result import Failure, Success

from cloaca import Retry, RunFailure, RunHandle, Runner, TaskFailure, TaskNotImportable, Workflow, task
from cloaca.executors.processes import ProcessExecutor, usable_cpus
from tests.runner import bodies
from tests.runner.bodies import Place, Seen
from tests.runner.databases import Database, asynchronous, eventually


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(tmp_path)


def traces(folder: str) -> list[tuple[int, str]]:
    file = Path(folder) / "traces"
    lines = file.read_text().splitlines() if file.exists() else []
    return [(int(pid), what) for pid, what in (line.split(" ", 1) for line in lines)]


def is_alive(pid: int) -> bool:
    """Whether a process goes on: a zombie does not, whoever has yet to take note of its end."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


async def spinning(folder: str, times: int = 1) -> int:
    """Wait until a body spins; return its process."""

    async def spins() -> bool:
        return [what for _, what in traces(folder)].count("spins") >= times

    await eventually(spins)
    return traces(folder)[-1][0]


async def gone(pid: int) -> None:
    async def is_gone() -> bool:
        return not is_alive(pid)

    await eventually(is_gone)


async def the_failures(handle: RunHandle[Any, Any]) -> list[TaskFailure]:
    match await handle.result():
        case Failure(RunFailure() as failed):
            return list(failed.failures)
        case other:
            pytest.fail(f"{other}")


@asynccontextmanager
async def started(database: Database, body: Any, place: Place, **options: Any) -> AsyncIterator[RunHandle[Any, Any]]:
    workflow = Workflow(body.name, body)
    async with database.runner(workflow, **options) as runner:
        yield await runner.start(workflow, place)


# Answers


@pytest.mark.parametrize("body", [bodies.where, bodies.where_async, bodies.where.with_options(timeout=60)])
@asynchronous
async def test_a_body_runs_in_another_process(database: Database, folder: str, body: Any) -> None:
    async with started(database, body, Place(folder=folder, word="ß\u2028'\"\\")) as handle:
        match await handle.result():
            case Success(Seen(pid=pid, word="SS\u2028'\"\\")):
                assert pid != os.getpid()
            case other:
                pytest.fail(f"{other}")


@asynchronous
async def test_what_runs_on_a_thread_can_run_in_a_process_at_another_place(database: Database, folder: str) -> None:
    elsewhere = bodies.where.with_options(executor="thread")
    async with started(database, elsewhere, Place(folder=folder)) as handle:
        assert Success(os.getpid()) == (await handle.result()).map(lambda seen: seen.pid)
    async with started(database, bodies.borrowed, Place(folder=folder, word="x")) as handle:
        match await handle.result():
            case Success(Seen(pid=pid, word="x")):
                assert pid != os.getpid()
            case other:
                pytest.fail(f"{other}")


@asynchronous
async def test_a_typed_error_arrives(database: Database, folder: str) -> None:
    async with started(database, bodies.decides, Place(folder=folder, word="no")) as handle:
        match await handle.result():
            case Failure(RunFailure(error=bodies.Declined(reason="no means no"))):
                pass
            case other:
                pytest.fail(f"{other}")


@pytest.mark.parametrize("body", [bodies.raises, bodies.raises_async])
@asynchronous
async def test_an_exception_arrives_as_its_words(database: Database, folder: str, body: Any) -> None:
    async with started(database, body, Place(folder=folder, word="fly")) as handle:
        [failure] = await the_failures(handle)
    assert (failure.exception_type, failure.message) == ("OwnError", "can't fly")
    lines = failure.traceback.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert f"in {body.name}" in lines[1]
    assert 'raise OwnError(f"can\'t {word}", threading.Lock())' in failure.traceback
    assert lines[-1].endswith("OwnError: can't fly")


@asynchronous
async def test_sys_exit_is_an_error_like_any_other(database: Database, folder: str) -> None:
    async with started(database, bodies.exits, Place(folder=folder, word="bye")) as handle:
        [failure] = await the_failures(handle)
    assert (failure.exception_type, failure.message) == ("SystemExit", "bye")


WRONG = [
    (bodies.wrong, "long", "WrongOutput", "Short.text fails its own model"),
    (bodies.wrong, "type", "WrongOutput", "expected Short, but got Place"),
    (bodies.odd, "tuple", "UnstablePayload", "reads back as [1, 2]"),
    (bodies.odd, "surrogate", "UnstablePayload", "can't be written as JSON"),
]


@pytest.mark.parametrize("case", WRONG, ids=lambda case: case[1])
@asynchronous
async def test_wrong_output_is_refused_as_on_a_thread(
    database: Database, folder: str, case: tuple[Any, str, str, str]
) -> None:
    body, word, kind, message = case
    found = []
    for executor in ("process", "thread"):
        there = body.with_options(executor=executor, retry=bodies.FAST)
        async with started(database, there, Place(folder=folder, word=word)) as handle:
            found.append([(failure.exception_type, failure.message) for failure in await the_failures(handle)])
    assert found[0] == found[1]
    [(found_kind, found_message)] = found[0]
    assert found_kind == kind
    assert message in found_message


@asynchronous
async def test_a_large_payload_and_one_that_is_too_large(database: Database, folder: str) -> None:
    word = "äb\0" * 400_000
    async with started(database, bodies.large, Place(folder=folder, word=word), payload_limit=10_000_000) as handle:
        match await handle.result():
            case Success(Seen(word=back)):
                assert back == word[::-1]
            case other:
                pytest.fail(f"{other!s:.500}")
    async with started(database, bodies.grows, Place(folder=folder)) as handle:
        assert [failure.exception_type for failure in await the_failures(handle)] == ["PayloadTooLarge"]


# Retries


@asynchronous
async def test_retries(database: Database, folder: str) -> None:
    async with started(database, bodies.third_time_lucky, Place(folder=folder)) as handle:
        match await handle.result():
            case Success(Seen(word=key)):
                assert key == f"{handle.id}:third_time_lucky"
            case other:
                pytest.fail(f"{other}")
        assert [failure.attempt for failure in await handle.failures()] == [1, 2]
    assert [what for _, what in traces(folder)] == ["attempt 1", "attempt 2", "attempt 3"]


POLICIES = [
    (bodies.judged_by_a_lambda, "again", 3),
    (bodies.judged_by_a_lambda, "no more", 1),
    (bodies.raises.with_options(retry=Retry(attempts=2, delay=0.01, on=bodies.OwnError)), "", 2),
    (bodies.raises.with_options(retry=Retry(attempts=2, delay=0.01, on=(OSError, Exception))), "", 2),
    (bodies.raises.with_options(retry=Retry(attempts=2, delay=0.01, on=OSError)), "", 1),
    (bodies.raises.with_options(retry=Retry(attempts=2, delay=0.01, on=bodies.own)), "", 2),
]


@pytest.mark.parametrize(("body", "word", "attempts"), POLICIES)
@asynchronous
async def test_a_policy_is_asked_about_the_error_itself(
    database: Database, folder: str, body: Any, word: str, attempts: int
) -> None:
    async with started(database, body, Place(folder=folder, word=word)) as handle:
        assert len(await the_failures(handle)) == attempts


# A child that dies


@pytest.mark.parametrize("death", bodies.DEATHS)
@asynchronous
async def test_a_child_that_dies_is_a_failed_attempt(database: Database, folder: str, death: str) -> None:
    async with started(database, bodies.dies, Place(folder=folder, word=death)) as handle:
        [failure] = await the_failures(handle)
    assert failure.exception_type == "ProcessDied"
    assert death in failure.message


@asynchronous
async def test_a_child_that_dies_is_replaced_and_the_attempt_retried(database: Database, folder: str) -> None:
    async with started(database, bodies.dies_twice, Place(folder=folder), processes=1) as handle:
        assert isinstance(await handle.result(), Success)
        kinds = [failure.exception_type for failure in await handle.failures()]
    assert kinds == ["ProcessDied", "ProcessDied"]
    assert len({pid for pid, _ in traces(folder)}) == 3


@asynchronous
async def test_the_death_of_a_child_harms_no_other(database: Database, folder: str) -> None:
    workflows = [Workflow("spins", bodies.spins), Workflow("meets", bodies.meets)]
    async with database.runner(*workflows, processes=2) as runner:
        victim = await runner.start(workflows[0], Place(folder=folder))
        pid = await spinning(folder)
        other = await runner.start(workflows[1], Place(folder=f"{folder}/", word="alive"))
        match await other.result():  # two processes have left traces
            case Success(Seen(word="alive", pid=survivor)):
                assert survivor != pid
            case wrong:
                pytest.fail(f"{wrong}")
        os.kill(pid, 9)
        [failure] = await the_failures(victim)
        assert "SIGKILL" in failure.message
        again = await runner.start(workflows[1], Place(folder=folder, word="still"))
        match await again.result():
            case Success(Seen(pid=same)):
                assert same == survivor
            case wrong:
                pytest.fail(f"{wrong}")


# Time, cancelling, leaving


@pytest.mark.parametrize(("body", "attempts"), [(bodies.too_slow, 2), (bodies.too_slow_async, 1)])
@asynchronous
async def test_a_timeout_kills_the_body(database: Database, folder: str, body: Any, attempts: int) -> None:
    async with started(database, body, Place(folder=folder), processes=1) as handle:
        failures = await the_failures(handle)
        pids = {pid for pid, _ in traces(folder)}
        for pid in pids:
            await gone(pid)
    assert [failure.exception_type for failure in failures] == ["TimeoutError"] * attempts
    assert failures[0].message == "the attempt took longer than 0.2 s"
    assert len(pids) == attempts


@asynchronous
async def test_the_time_begins_with_the_body(database: Database, folder: str) -> None:
    """A child that has to start, and a queue, take none of it."""
    quick = bodies.where.with_options(timeout=0.3)
    workflow = Workflow("queue", *[quick.named(f"q{number}").into(f"q{number}") for number in range(20)], input=Place)
    async with database.runner(workflow, processes=1) as runner:
        assert isinstance(await runner.run(workflow, Place(folder=folder)), Success)


@pytest.mark.parametrize("body", [bodies.spins, bodies.holds_the_lock])
@asynchronous
async def test_cancelling_kills_the_body(database: Database, folder: str, body: Any) -> None:
    async with started(database, body, Place(folder=folder)) as handle:
        pid = await spinning(folder)
        assert is_alive(pid)
        await handle.cancel()
        await gone(pid)
        notes = [event.detail async for event in handle.events() if event.kind == "attempt_ignored"]
        assert notes == ["the attempt was cancelled, and its process killed"]
        assert await handle.status() == "cancelled"


@asynchronous
async def test_what_a_body_has_started_ends_with_it(database: Database, folder: str) -> None:
    async with started(database, bodies.leaves_a_child, Place(folder=folder)) as handle:
        pid = await spinning(folder)
        (tool, _), _ = traces(folder)
        assert is_alive(tool)
        os.kill(pid, 9)
        await the_failures(handle)
        await gone(tool)


@asynchronous
async def test_leaving_gives_grace_then_kills(database: Database, folder: str) -> None:
    async with started(database, bodies.spins, Place(folder=folder), grace_s=0.1) as handle:
        pid = await spinning(folder)
    assert not is_alive(pid)
    async with database.runner(Workflow("spins", bodies.spins), work=False) as runner:
        assert await (await runner.get(handle.id)).status() == "pending"


@asynchronous
async def test_bodies_that_wait_for_a_child_do_not_begin_when_a_runner_is_left(database: Database, folder: str) -> None:
    tasks = [bodies.spins.named(f"s{number}").into(f"s{number}") for number in range(5)]
    workflow = Workflow("many", *tasks, input=Place)
    async with database.runner(workflow, processes=2, grace_s=0.1) as runner:
        await runner.start(workflow, Place(folder=folder))
        await spinning(folder, 2)
    assert len(traces(folder)) == 2
    assert not any(is_alive(pid) for pid, _ in traces(folder))


# Many at a time


@asynchronous
async def test_bodies_run_at_the_same_time(database: Database, folder: str) -> None:
    tasks = [bodies.meets.named(name).into(name) for name in ("one", "two")]
    workflow = Workflow("meeting", *tasks, input=Place)
    async with database.runner(workflow, processes=2) as runner:
        match await runner.run(workflow, Place(folder=folder)):
            case Success():
                pass
            case other:
                pytest.fail(f"{other}")
    assert len({pid for pid, _ in traces(folder)}) == 2


@asynchronous
async def test_there_are_no_more_children_than_were_asked_for(database: Database, folder: str) -> None:
    tasks = [bodies.where.named(f"w{number}").into(f"w{number}") for number in range(12)]
    workflow = Workflow("crowd", *tasks, input=Place)
    async with database.runner(workflow, processes=2) as runner:
        handle = await runner.start(workflow, Place(folder=folder))
        assert isinstance(await handle.result(), Success)
        seen = [(await handle.context())[f"w{number}"].pid for number in range(12)]
    assert 1 <= len(set(seen)) <= 2


def test_by_default_there_is_one_child_for_each_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    assert usable_cpus() == len(os.sched_getaffinity(0)) if sys.platform == "linux" else usable_cpus() >= 1
    with pytest.raises(ValueError, match="processes=0: at least 1"):
        Runner(processes=0)


# The surroundings of a body


@asynchronous
async def test_a_context_in_a_child(database: Database, folder: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "cloaca.task.listens")
    async with started(database, bodies.listens, Place(folder=folder)) as handle:
        assert isinstance(await handle.result(), Success)
    [(_, what)] = traces(folder)
    assert what == f"listens 1 {handle.id} {handle.id}:listens None"
    records = [record for record in caplog.records if record.name == "cloaca.task.listens"]
    assert [record.getMessage() for record in records] == [f"in run {handle.id}", "it went wrong"]
    assert [record.levelname for record in records] == ["WARNING", "ERROR"]
    assert {(vars(record)["run"], vars(record)["attempt"]) for record in records} == {(handle.id, 1)}
    assert records[0].filename == "bodies.py"
    assert "OwnError: can't log" in str(records[1].exc_text)
    assert "OwnError: can't log" in caplog.text


@asynchronous
async def test_a_heartbeat_reaches_the_worker(database: Database, folder: str) -> None:
    beaten = asyncio.Event()

    def hear(message: list[object]) -> None:
        if message == ["beat"]:
            beaten.set()

    executor = ProcessExecutor("cloaca.runner.children:perform", 1)
    errand = {
        "home": ["tests.runner.bodies", "listens"],
        "main": None,
        "retries": {"own": True},
        "inputs": [Place(folder=folder).model_dump_json()],
        "context": {
            "run_id": "1", "task": "t", "attempt": 2, "idempotency_key": "k",
            "scheduled_for": "2026-11-22T10:00:00+00:00", "logger": "quiet", "level": 100,
        },
    }  # fmt: skip
    try:
        assert await executor.submit(errand, hear) == {"returned": None}
    finally:
        await executor.closed()
    assert beaten.is_set()
    assert traces(folder)[0][1] == "t 2 1 k 2026-11-22 10:00:00+00:00"


# Where a task lives


def test_where_a_body_runs_is_part_of_a_version() -> None:
    bodies_of = [bodies.in_time.with_options(executor=executor) for executor in ("process", "thread", None)]
    versions = {Workflow("w", body).version for body in bodies_of}
    assert len(versions) == 3


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (bodies.made_in_a_function(), r"made_in_a_function\(\) defines it; move it to the top level"),
        (bodies.shadowed_by_another(), "tests.runner.bodies:raises is something else"),
    ],
    ids=["local", "shadowed"],
)
@asynchronous
async def test_a_task_that_no_child_could_find_is_refused(database: Database, body: Any, reason: str) -> None:
    workflow = Workflow("nowhere", body)
    with pytest.raises(TaskNotImportable, match=reason):
        database.runner(workflow)
    async with database.runner(work=False) as runner:
        with pytest.raises(TaskNotImportable, match=reason):
            await runner.start(workflow, Place(folder=""))
        assert await runner.runs() == []


@asynchronous
async def test_a_predicate_that_no_child_could_find_is_refused(database: Database) -> None:
    body = bodies.where.with_options(retry=Retry(attempts=2, on=lambda error: True))
    with pytest.raises(TaskNotImportable, match=r'The retry predicate of task "where" .* a lambda has no name'):
        database.runner(Workflow("nowhere", body))


@pytest.fixture
def only_here(monkeypatch: pytest.MonkeyPatch) -> Workflow[Any, Any, Any, Any]:
    """A workflow whose task is in a module that this process has made itself."""
    module = ModuleType("only_here")
    monkeypatch.setitem(sys.modules, "only_here", module)
    monkeypatch.setattr(bodies.plain, "__module__", "only_here")
    module.plain = bodies.plain  # type: ignore[attr-defined]  # a module is made by hand
    return Workflow("only", task(executor="process", retry=bodies.FAST)(bodies.plain))


@asynchronous
async def test_what_only_this_process_has_is_refused_before_anything_is_stored(
    database: Database, only_here: Workflow[Any, Any, Any, Any]
) -> None:
    async with database.runner(only_here) as runner:
        with pytest.raises(TaskNotImportable, match="can't import only_here:plain: ModuleNotFoundError"):
            await runner.start(only_here, Place(folder=""))
        assert await runner.runs() == []


@asynchronous
async def test_a_run_of_another_process_fails_where_no_child_finds_its_task(
    database: Database, only_here: Workflow[Any, Any, Any, Any]
) -> None:
    async with database.runner(work=False) as submitter:
        handle = await submitter.start(only_here, Place(folder=""))
        async with database.runner(only_here) as runner:
            [failure] = await the_failures(await runner.get(handle.id))
    assert failure.exception_type == "TaskNotImportable"
    assert "can't import only_here:plain" in failure.message


# Handlers


@asynchronous
async def test_a_handler_in_a_child_gets_the_failure_and_its_error(database: Database, folder: str) -> None:
    workflow = Workflow("rescuing", bodies.decides.rescue(bodies.stands_in))
    async with database.runner(workflow) as runner:
        outcome = await runner.run(workflow, Place(folder=folder, word="no"))
        match outcome:
            case Success(Seen(pid=pid, word="decides 1 no means no no means no")):
                assert pid != os.getpid()
            case other:
                pytest.fail(f"{other}")


@asynchronous
async def test_a_handler_in_a_child_gets_an_exception_in_words(database: Database, folder: str) -> None:
    @task
    def broken(place: Place) -> Seen:
        raise ConnectionError(place.word)

    workflow = Workflow("rescuing", broken.rescue(bodies.told))
    async with database.runner(workflow) as runner:
        match await runner.run(workflow, Place(folder=folder, word="down")):
            case Success(Seen(word="ConnectionError None UTC")):
                pass
            case other:
                pytest.fail(f"{other}")
