"""What the command line says when it can't go on: a refusal, its exit code, and what to do next.

It knows cloaca's errors and the words of the command line; it prints nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

from cloaca.cli.tracebacks import place_of
from cloaca.errors import (
    CloacaError,
    ContractError,
    CredentialsGiven,
    IncompatibleRun,
    InvalidDatabaseUrl,
    NotIsolated,
    RunNotFound,
    StoreError,
    TenantInUse,
    UnknownSchedule,
    UnknownTenant,
    UpgradeRefused,
)


class Exit(IntEnum):
    """The exit codes, which scripts rely on."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    BLOCKED = 3
    UNAVAILABLE = 4
    INTERRUPTED = 130


class Refusal(Exception):
    """The command can't be done: one sentence, further lines, and the exit code."""

    def __init__(self, message: str, *details: str, code: Exit = Exit.USAGE) -> None:
        super().__init__(message)
        self.message, self.details, self.code = message, details, code


# What a library's message can't know: the words of the command line.
ADVICE: Mapping[type[CloacaError], str] = {
    RunNotFound: "`cloaca runs list` shows the runs of a database.",
    UnknownSchedule: "`cloaca schedules list` shows the schedules of a database.",
    UnknownTenant: "`cloaca tenants list` shows the tenants of a database.",
    CredentialsGiven: "On the command line that is --rotate.",
    TenantInUse: "On the command line that is --force.",
    StoreError: "The database is the one of --database, else of $CLOACA_DATABASE_URL, else sqlite:///cloaca.db.",
}


def refused(error: CloacaError) -> Refusal:
    """Return an error of cloaca's as a refusal.

    >>> refused(RunNotFound("no run 1 in this database")).code
    <Exit.USAGE: 2>
    """
    if isinstance(error, ContractError):
        return _broken(error)
    advice = [text for kind, text in ADVICE.items() if isinstance(error, kind)]
    return Refusal(str(error), *advice[:1], code=_code(error))


def _broken(error: ContractError) -> Refusal:
    place = place_of(error)
    where = f"{place[0]}:{place[1]}: " if place else ""
    if len(error.violations) == 1:
        return Refusal(f"{where}{error}", code=Exit.FAILED)
    listed = (str(violation) for violation in error.violations)
    return Refusal(f"{where}{len(error.violations)} violations of the contract", *listed, code=Exit.FAILED)


def _code(error: CloacaError) -> Exit:
    match error:
        case InvalidDatabaseUrl():
            return Exit.USAGE
        case UpgradeRefused():
            return Exit.FAILED
        case StoreError():
            return Exit.UNAVAILABLE
        case IncompatibleRun() | CredentialsGiven() | NotIsolated() | TenantInUse():
            return Exit.FAILED
        case _:  # a PayloadError among them: the only payload that the command line itself stores is the input
            return Exit.USAGE
