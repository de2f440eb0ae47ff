"""Log records that say which attempt they come from, and no secret: a filter for handlers and loggers.

It knows the current attempt and what is masked; it configures nothing by itself but what cloaca's own loggers say.
"""

from __future__ import annotations

import logging
from typing import Final

from cloaca.current import ATTEMPT, facts
from cloaca.secrets import masked

USUAL: Final = frozenset(logging.makeLogRecord({}).__dict__) - {"msg", "args", "exc_text", "stack_info"}


class AttemptFilter(logging.Filter):
    """Adds to each record of a body, whoever logs it, what attempt it comes from, and masks secrets in every record.

    Give it to a handler: ``handler.addFilter(AttemptFilter())``. A record that is logged inside of a task then has
    ``run``, ``task``, ``attempt``, ``workflow``, ``worker`` (its session) and ``tenant``, unless it says so itself by
    ``extra=``. It never drops a record. What it masks, it masks for the handlers that come after it, too.

    >>> record = logging.makeLogRecord({"msg": "hello"})
    >>> AttemptFilter().filter(record), hasattr(record, "run")
    (True, False)
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Complete a record and mask what it says; always True."""
        if (attempt := ATTEMPT.get()) is not None:
            known = record.__dict__
            for name, value in facts(attempt).items():
                known.setdefault(name, value)
        mask(record)
        return True


FILTER: Final = AttemptFilter()
_formatter: Final = logging.Formatter()


def logger_of(name: str) -> logging.Logger:
    """Return one of cloaca's loggers: its records are complete, and masked, whatever handler shows them."""
    logger = logging.getLogger(name)
    logger.addFilter(FILTER)  # once, however often it is added
    return logger


def mask(record: logging.LogRecord) -> None:
    """Mask the secrets in a record: its message, its traceback, and the texts that it was given by ``extra``."""
    try:
        message = record.getMessage()
    except Exception:  # noqa: BLE001 - a handler says what is wrong with a record that can't be made up
        return
    if (shown := masked(message)) != message:
        record.msg, record.args = shown, None
    if record.exc_info and record.exc_info[0] is not None and not record.exc_text:
        text = _formatter.formatException(record.exc_info)
        if (shown := masked(text)) != text:
            record.exc_text, record.exc_info = shown, None
    for name, value in list(record.__dict__.items()):
        if isinstance(value, str) and name not in USUAL:
            record.__dict__[name] = masked(value)
