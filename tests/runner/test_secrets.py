"""Secrets are revealed where a body runs, and are in no row, log, event or text afterwards."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from returns.result import Failure, Result, Success

from cloaca import Retry, RunFailure, Runner, Secret, TaskContext, Workflow, each, run, task
from cloaca.secrets import Provider
from cloaca.testing import Scenario, fail, given_secrets, simulate
from tests.runner.databases import Database, asynchronous

CANARY = "canary-4711-b3c9e2"


class Mail(BaseModel):
    """An input that names a secret."""

    token: Secret


class Length(BaseModel):
    """What may be said of one."""

    length: int


class Text(BaseModel):
    """What may hold one."""

    text: str


class Hosts(BaseModel):
    """Elements that name secrets."""

    hosts: list[Mail]


class Lengths(BaseModel):
    """What came of them."""

    lengths: list[Length]


@task
def on_a_thread(mail: Mail) -> Length:
    """Reveal on a thread."""
    return Length(length=len(mail.token.reveal()))


@task
async def on_the_loop(mail: Mail) -> Length:
    """Reveal in a coroutine."""
    return Length(length=len(await mail.token.reveal_async()))


@task(executor="process")
def in_a_child(mail: Mail) -> Length:
    """Reveal in a child process."""
    return Length(length=len(mail.token.reveal()))


@task(executor="process")
def unnamed_in_a_child(mail: Mail) -> Length:
    """Reveal what no input names."""
    return Length(length=len(Secret("NOT_NAMED").reveal()))


@task(retry=Retry(attempts=2, delay=0))
def fails(mail: Mail, *, ctx: TaskContext) -> Length:
    """Say it wherever one can say something, and fail."""
    value = mail.token.reveal()
    ctx.logger.warning("token %s", value, extra={"url": f"https://mail/?t={value}"})
    try:
        raise KeyError(value)
    except KeyError as error:
        ctx.logger.exception("lost %r", value)
        raise ConnectionError(f"401 for {value}") from error


@task(executor="process")
def fails_in_a_child(mail: Mail, *, ctx: TaskContext) -> Length:
    """The same in a child process."""
    value = mail.token.reveal()
    ctx.logger.warning("token %s", value)
    raise ConnectionError(f"401 for {value}")


@task
def tells(mail: Mail) -> Text:
    """Return it."""
    return Text(text=f"Bearer {mail.token.reveal()}")


@task
def declines(mail: Mail) -> Result[Length, Text]:
    """Answer with it."""
    return Failure(Text(text=mail.token.reveal()))


@task
def misfits(mail: Mail) -> Length:
    """Give it to a model that takes no text."""
    return Length.model_validate({"length": mail.token.reveal() * 3})


async def vault(name: str) -> str:
    """Find secrets elsewhere."""
    return {"MAIL_TOKEN": CANARY}[name]


def function(name: str) -> str | None:
    """Find secrets by a function."""
    return CANARY if name == "MAIL_TOKEN" else None


MAIL = Mail(token=Secret("MAIL_TOKEN"))
BAD: list[Any] = [fails, fails_in_a_child, tells, declines, misfits]


@pytest.mark.parametrize(
    "provider", [{"MAIL_TOKEN": CANARY}, function, vault, None], ids=["map", "def", "async", "env"]
)
@pytest.mark.parametrize("body", [on_a_thread, on_the_loop, in_a_child], ids=lambda body: body.name)
@asynchronous
async def test_a_body_reveals_it(
    database: Database, body: Any, provider: Provider | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if provider is None:
        monkeypatch.setenv("MAIL_TOKEN", CANARY)
    async with database.runner(secrets=provider) as runner:
        assert await runner.run(Workflow("w", body), MAIL) == Success(Length(length=len(CANARY)))


@asynchronous
async def test_an_element_reveals_it(database: Database) -> None:
    lengths = Workflow("w", each(on_a_thread, over="hosts", into="lengths"), input=Hosts, output=Lengths)
    async with database.runner(secrets={"MAIL_TOKEN": CANARY}) as runner:
        outcome = await runner.run(lengths, Hosts(hosts=[MAIL, MAIL]))
    assert outcome == Success(Lengths(lengths=[Length(length=len(CANARY))] * 2))


@pytest.mark.parametrize("body", [on_a_thread, on_the_loop, in_a_child], ids=lambda body: body.name)
@asynchronous
async def test_an_unknown_one_fails_the_task_by_name(database: Database, body: Any) -> None:
    async with database.runner(secrets={}) as runner:
        failed = (await runner.run(Workflow("w", body), MAIL)).failure()
    assert isinstance(failed, RunFailure)
    assert failed.failures[0].exception_type == "UnknownSecret"
    assert 'secret "MAIL_TOKEN" is unknown' in failed.failures[0].message


@asynchronous
async def test_a_child_process_knows_what_its_inputs_name(database: Database) -> None:
    async with database.runner(secrets={"MAIL_TOKEN": CANARY, "NOT_NAMED": "x" * 9}) as runner:
        failed = (await runner.run(Workflow("w", unnamed_in_a_child), MAIL)).failure()
    assert "no input of the task names it" in failed.failures[0].message


def test_what_is_no_provider_is_refused() -> None:
    with pytest.raises(TypeError, match="a mapping of names to values, or a function"):
        Runner("memory://", secrets=7)  # type: ignore[arg-type]  # that is the point


def test_a_simulated_body_reveals_what_the_test_gives(tmp_path: Path) -> None:
    wf = Workflow("w", on_a_thread)
    with given_secrets(lambda name: name * 3):
        world = simulate(wf, MAIL, Scenario(fail("on_a_thread")))
        assert run(wf, MAIL, database=f"sqlite:///{tmp_path}/runs.db") == Success(Length(length=30))
    assert isinstance(simulate(wf, MAIL).outcome, Failure)
    assert world.attempts("on_a_thread") == 1


@pytest.mark.parametrize(
    ("body", "said"), [(tells, "SecretExposed"), (declines, "SecretExposed"), (misfits, "ValidationError")]
)
@asynchronous
async def test_a_payload_that_holds_it_is_refused(database: Database, body: Any, said: str) -> None:
    async with database.runner(secrets={"MAIL_TOKEN": CANARY}) as runner:
        failed = (await runner.run(Workflow("w", body), MAIL)).failure()
    assert failed.failures[0].exception_type == said
    assert CANARY not in str(failed.failures)
    assert failed.error is None


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """All that cloaca's loggers hand to a handler that knows nothing of secrets."""
    lines: list[str] = []

    class Listening(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(f"{self.format(record)} {record.__dict__}")

    handler = Listening()
    logger, level = logging.getLogger("cloaca"), logging.getLogger("cloaca").level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield lines
    logger.removeHandler(handler)
    logger.setLevel(level)


async def put_through(runner: Runner, folder: Path | None = None) -> tuple[list[str], dict[str, bytes]]:
    """Run every bad task; return all that the runner says of them, and the files as they are while it is open."""
    said: list[str] = []
    async with runner:
        for body in BAD:
            handle = await runner.start(Workflow(body.name, body), MAIL)
            events = [event async for event in handle.events()]
            said += [str(await handle.result()), str(events), str(await handle.failures()), str(await handle.tasks())]
            said += [str(await handle.context()), Workflow(body.name, body).to_svg(), repr(handle)]
        files = {file.name: file.read_bytes() for file in folder.iterdir()} if folder else {}
    return said, files


@asynchronous
async def test_no_file_no_log_no_text_has_it(
    tmp_path: Path, logged: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    said, files = await put_through(Runner(tmp_path / "runs.db", secrets={"MAIL_TOKEN": CANARY}), tmp_path)
    files |= {f"{file.name} afterwards": file.read_bytes() for file in tmp_path.iterdir()}
    assert {"runs.db", "runs.db-wal", "runs.db-shm"} <= files.keys()
    assert b"***MAIL_TOKEN***" in files["runs.db-wal"]
    captured = capfd.readouterr()
    assert any("***MAIL_TOKEN***" in text for text in logged)
    for text in [*said, *logged, captured.out, captured.err]:
        assert CANARY not in text
    for name, content in files.items():
        assert CANARY.encode() not in content, name
