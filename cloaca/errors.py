"""Every exception that cloaca raises, and the violation that a contract error carries.

This module knows nothing of graphs, runs or databases: it names what can go wrong, and each class's docstring says
whose fault it is and what to do next.

::

    CloacaError
    ├── ContractError            the graph, a task's signature or an input does not fit (``.violations``)
    ├── UnknownWorkflow          a name that no workflow of this runner has
    ├── UnknownQueue             a task names a queue that its runner does not declare
    ├── RunNotFound              no run has this id in this database
    ├── UnknownTask              a run's workflow has no task of this name
    ├── IncompatibleRun          a run's stored tasks don't fit the code that should go on with it (``.give_up``)
    ├── NotBlocked               a run to upgrade that is not blocked
    ├── NoSuchSignal             a signal that no ``wait_for`` of the run takes
    ├── NotRetryable             a run that has nothing to retry: it has succeeded, or is paused
    ├── KeyConflict              an idempotency key used again with another input
    ├── InvalidCron              a cron expression that can't be read, or never matches
    ├── InvalidTimezone          no IANA time zone that this machine knows
    ├── UnknownSchedule          no schedule has this name in this database
    ├── ScheduleConflict         a schedule that others change at the same time, again and again
    ├── InvalidTenant            a name that no tenant can have
    ├── UnknownTenant            no tenant has this name in this database
    ├── TenantInUse              a tenant that is not dropped, since a worker is alive or somebody needs what it has
    ├── CredentialsGiven         a tenant's password was given out before, and is not kept anywhere
    ├── NotIsolated              rights that everybody has here, and with them each tenant's role
    ├── RunnerClosed             a runner used before it was entered or after it was left
    ├── TaskNotImportable        a child process can't find a task's function by importing it
    ├── ProcessDied              the child process of a body was killed, or ended, before the body did
    ├── SessionMisused           a body ended its session's transaction itself, or used the session after its attempt
    ├── UnknownSecret            no value is known for a secret's name
    ├── AsyncSecrets             a body asks at once for a secret that only an async function has
    ├── CodecError               an encrypted payload can't be read
    │   ├── WrongKey             it was encrypted with a key that is not here, or was changed
    │   └── CodecNeeded          the database has encrypted payloads, and this runner has no codec
    ├── PayloadError             a value can't be stored as it is
    │   ├── PayloadTooLarge      more bytes than ``payload_limit``
    │   ├── SecretExposed        an output holds the value of a secret
    │   ├── UnstablePayload      its JSON can't be written, or reads back as something else
    │   └── WrongOutput          a body returned something else than it declares
    └── StoreError               the database
        ├── InvalidDatabaseUrl   not a URL of a database that cloaca runs on
        ├── StoreUnavailable     it can't be opened, read or written now
        ├── CorruptDatabase      the file is not a database, or is damaged
        ├── ForeignDatabase      tables with our names that are not ours
        ├── DatabaseTooNew       written by a newer release than this one
        ├── DatabaseTooOld       not upgraded yet, and who only looks upgrades nothing
        ├── UpgradeRefused       not now: workers of an older release are at work, or the tables are not as they were
        └── LeaseLost            this worker was taken for dead; its work has gone to another
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Violation:
    """One way in which a program breaks the context contract.

    ``code`` is one of the codes in the reference (``missing-field``, ``field-type`` ...), ``task`` the node it is
    about, ``field`` the context field (``""`` where none is meant), ``message`` the whole sentence for a person.

    >>> print(Violation("missing-field", "reserve", "sku", 'Task "reserve" requires field "sku"'))
    Task "reserve" requires field "sku"  [cloaca-missing-field]
    """

    code: str
    task: str
    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.message}  [cloaca-{self.code}]"


class CloacaError(Exception):
    """The root: ``except CloacaError`` catches everything that cloaca itself raises."""


class ContractError(CloacaError):
    """A graph, a task or an input does not fit; nothing was stored or run. ``violations`` has every reason at once.

    >>> error = ContractError([Violation("shared-task", "a", "", 'Both sides of ">>" contain task "a"')])
    >>> print(error)
    Both sides of ">>" contain task "a"  [cloaca-shared-task]
    """

    def __init__(self, violations: Iterable[Violation]) -> None:
        self.violations = tuple(violations)
        super().__init__("\n".join(str(violation) for violation in self.violations))


class UnknownWorkflow(CloacaError):
    """No workflow of this name is known here. List it in ``Runner(workflows=[...])``, or pass the workflow itself."""


class UnknownQueue(CloacaError):
    """A task names a queue that this runner does not declare. Add it to ``Runner(queues=[...])``, or mend the name."""


class RunNotFound(CloacaError):
    """No run has this id in this database. Check the database URL, and that retention has not removed the run."""


class UnknownTask(CloacaError):
    """The run's workflow has no task of this name."""


class IncompatibleRun(CloacaError):
    """What a run has committed does not fit this code's workflow. Go on with code that it fits, or upgrade the run.

    ``give_up`` names the tasks whose results an upgrade would have to give up, () where that is no help.
    """

    def __init__(self, message: str, *, give_up: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.give_up = tuple(give_up)


class NotBlocked(CloacaError):
    """The run is not blocked, so that there is nothing to upgrade it for."""


class NoSuchSignal(CloacaError):
    """No ``wait_for`` of the run takes the signal: none waits for its model, or each has its answer or will not run."""


class NotRetryable(CloacaError):
    """The run has nothing to retry: it has succeeded, or it is paused. Fork it, or resume it."""


class KeyConflict(CloacaError):
    """This idempotency key has started a run with another input. Use another key, or the same input."""


class InvalidCron(CloacaError, ValueError):
    """The cron expression can't be read, or never matches. Write, say, ``0 9 * * MON-FRI``; nothing was stored."""


class InvalidTimezone(CloacaError, ValueError):
    """No time zone has this name here. Write an IANA name such as ``Europe/Berlin``; nothing was stored."""


class UnknownSchedule(CloacaError):
    """No schedule has this name in this database. Check the name and the database URL."""


class ScheduleConflict(CloacaError):
    """Others change this schedule at the same time, again and again. Nothing was changed; try again."""


class InvalidTenant(CloacaError, ValueError):
    """A tenant can't have this name. The message says which names there are; nothing was made."""


class UnknownTenant(CloacaError):
    """No tenant has this name in this database. ``Tenants(url).list()`` returns those there are."""


class TenantInUse(CloacaError):
    """The tenant was not dropped: a worker of its is alive, or somebody else needs what it has. Nothing was changed."""


class CredentialsGiven(CloacaError):
    """A tenant's password is shown once. Take it from where it was put, or have a new one made: ``rotate=True``."""


class NotIsolated(CloacaError):
    """Everybody has rights in this database, and so would a tenant's role. The message says how to take them away."""


class RunnerClosed(CloacaError):
    """The runner is not open. Use it inside ``async with Runner(...)`` or ``with BlockingRunner(...)``."""


class TaskNotImportable(CloacaError):
    """A task with ``executor="process"`` can't be found by importing its module. Define it at a module's top level."""


class ProcessDied(CloacaError):
    """The child process of a body was killed (by a signal, for want of memory), or ended, before the body did."""


class SessionMisused(CloacaError):
    """A body can't commit, roll back or close its session: what it wrote is committed together with its output.

    Return from the body to commit, raise to undo everything, use ``session.begin_nested()`` to undo a part. Nothing can
    be done through a session whose attempt is over (it timed out, or its run was cancelled).
    """


class UnknownSecret(CloacaError):
    """No value is known for a secret's name. Set the environment variable, or give ``Runner(secrets=...)``."""


class AsyncSecrets(CloacaError):
    """``Runner(secrets=...)`` is an async function, so ``reveal()`` can't wait for it. Await ``reveal_async()``."""


class CodecError(CloacaError):
    """An encrypted payload can't be read. Nothing is lost: give the runner the codec that it was written with."""


class WrongKey(CodecError):
    """A payload was encrypted with a key that this runner's codec does not have, or was changed. Add the key."""


class CodecNeeded(CodecError):
    """The database has encrypted payloads, and this runner has no codec. Give it: ``Runner(codec=...)``."""


class PayloadError(CloacaError):
    """A value can't be stored as it is; it is never retried, since the next attempt would end the same way."""


class PayloadTooLarge(PayloadError):
    """A payload is larger than ``payload_limit``. Store the bulk elsewhere and pass a reference, or raise the limit."""


class SecretExposed(PayloadError):
    """An output, or a typed error, holds the value of a secret, and would be stored. Return the ``Secret`` instead."""


class UnstablePayload(PayloadError):
    """A model's JSON can't be written, or reads back as something else. The message has the path of the field."""


class WrongOutput(PayloadError):
    """A body returned something else than the model that it declares, or a value that fails that model."""


class StoreError(CloacaError):
    """Something about the database."""


class InvalidDatabaseUrl(StoreError):
    """The database URL can't be used.

    Examples: ``sqlite:///orders.db`` (relative), ``sqlite:////var/lib/orders.db``, ``postgresql://user@host/orders``.
    """


class StoreUnavailable(StoreError):
    """The database can't be opened, read or written now: permissions, a full disk, an absent server or driver."""


class CorruptDatabase(StoreError):
    """The database is damaged, or the file is not a SQLite database. Restore it from a backup, or choose another."""


class ForeignDatabase(StoreError):
    """The database has tables with cloaca's names that cloaca did not make. Choose another."""


class DatabaseTooNew(StoreError):
    """A newer release of cloaca wrote this database. Upgrade cloaca here; the database was not touched."""


class DatabaseTooOld(StoreError):
    """The tables are those of an older release. Run ``cloaca db upgrade``, or start a worker of this release."""


class UpgradeRefused(StoreError):
    """The tables can't be upgraded now; nothing was changed. The message says what is in the way."""


class LeaseLost(StoreError):
    """This worker was silent for longer than its lease, so its runs have gone to another. Nothing was written."""
