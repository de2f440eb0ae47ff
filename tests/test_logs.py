"""Log records say which attempt they come from, and no secret."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from cloaca.cli.logs import JsonLines
from cloaca.current import ATTEMPT, Place, RunName, Told
from cloaca.logs import AttemptFilter
from cloaca.secrets import remember

VALUE = "canary-in-the-logs"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """What a handler with the filter shows of a user's own logger."""
    remember("LOGGED", VALUE)
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(AttemptFilter())
    handler.setFormatter(JsonLines())
    logger = logging.getLogger("tests.shop")
    logger.addHandler(handler)
    token = ATTEMPT.set(Told(RunName(7, "orders"), "charge", 2, Place(3, "acme")))
    try:
        yield stream
    finally:
        ATTEMPT.reset(token)
        logger.removeHandler(handler)


def line(stream: io.StringIO) -> dict[str, object]:
    found: dict[str, object] = json.loads(stream.getvalue())
    return found


def test_a_users_own_record_says_which_attempt_it_is(stream: io.StringIO) -> None:
    logging.getLogger("tests.shop").warning("charged %s", 5)
    found = line(stream)
    assert found["message"] == "charged 5"
    who = {"run": "7", "task": "charge", "attempt": 2, "workflow": "orders", "worker": 3, "tenant": "acme"}
    assert {name: found[name] for name in who} == who


def test_what_a_record_says_itself_stays(stream: io.StringIO) -> None:
    logging.getLogger("tests.shop").warning("charged", extra={"task": "mine"})
    assert line(stream)["task"] == "mine"


def test_a_record_outside_of_attempts_says_nothing_of_them(stream: io.StringIO) -> None:
    ATTEMPT.set(None)
    logging.getLogger("tests.shop").warning("hello")
    assert "run" not in line(stream)


def test_secrets_are_masked_in_every_part_of_a_record(stream: io.StringIO) -> None:
    try:
        try:
            raise KeyError(VALUE)
        except KeyError as error:
            raise ValueError(f"no {VALUE}") from error
    except ValueError:
        logging.getLogger("tests.shop").exception(
            "%s failed", VALUE, extra={"url": f"https://x/?t={VALUE}"}, stack_info=True
        )
    assert VALUE not in stream.getvalue()
    found = line(stream)
    assert found["message"] == "***LOGGED*** failed"
    assert found["url"] == "https://x/?t=***LOGGED***"
    assert "KeyError: '***LOGGED***'" in str(found["traceback"])


def test_a_record_that_cannot_be_made_up_is_left_to_its_handler() -> None:
    record = logging.makeLogRecord({"msg": "%d", "args": ("no number",)})
    assert AttemptFilter().filter(record)
    assert record.args == ("no number",)
