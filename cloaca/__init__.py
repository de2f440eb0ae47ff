"""cloaca: durable workflows as typed values, run by an embedded interpreter on SQLite.

Importing it loads nothing but this file: each name is loaded when it is first used, so that a type checker's plugin
or a script that only builds graphs never pays for SQL.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cloaca.algebra.branches import branch
    from cloaca.algebra.context import TaskContext
    from cloaca.algebra.fanouts import each
    from cloaca.algebra.graphs import Graph
    from cloaca.algebra.models import Reduce
    from cloaca.algebra.outcomes import Outcome, RunFailure, TaskFailure
    from cloaca.algebra.queues import Queue
    from cloaca.algebra.retries import Retry
    from cloaca.algebra.tasks import Task, task
    from cloaca.algebra.triggers import Trigger
    from cloaca.algebra.waits import sleep, wait_for
    from cloaca.contract.subflows import subflow
    from cloaca.contract.workflows import Workflow, WorkflowBuilder
    from cloaca.errors import (
        AsyncSecrets,
        CloacaError,
        CodecError,
        CodecNeeded,
        ContractError,
        CorruptDatabase,
        CredentialsGiven,
        DatabaseTooNew,
        DatabaseTooOld,
        ForeignDatabase,
        IncompatibleRun,
        InvalidCron,
        InvalidDatabaseUrl,
        InvalidTenant,
        InvalidTimezone,
        KeyConflict,
        LeaseLost,
        NoSuchSignal,
        NotBlocked,
        NotIsolated,
        NotRetryable,
        PayloadError,
        PayloadTooLarge,
        ProcessDied,
        RunnerClosed,
        RunNotFound,
        ScheduleConflict,
        SecretExposed,
        SessionMisused,
        StoreError,
        StoreUnavailable,
        TaskNotImportable,
        TenantInUse,
        UnknownQueue,
        UnknownSchedule,
        UnknownSecret,
        UnknownTask,
        UnknownTenant,
        UnknownWorkflow,
        UnstablePayload,
        UpgradeRefused,
        Violation,
        WrongKey,
        WrongOutput,
    )
    from cloaca.interpreter.elements import ElementInfo
    from cloaca.interpreter.firings import Firing, Schedule, ScheduleStatistics
    from cloaca.interpreter.histories import RunEvent, RunInfo, TaskInfo, Waiting
    from cloaca.runner import BlockingRunHandle, BlockingRunner, RunHandle, Runner, run
    from cloaca.runner.handovers import HandedOver, handover
    from cloaca.runner.tenants import BlockingTenants, Credentials, Tenant, Tenants
    from cloaca.runner.triggers import TriggerInfo
    from cloaca.secrets import Secret

_HOMES = {
    "algebra.branches": ("branch",),
    "algebra.context": ("TaskContext",),
    "algebra.fanouts": ("each",),
    "algebra.graphs": ("Graph",),
    "algebra.models": ("Reduce",),
    "algebra.outcomes": ("Outcome", "RunFailure", "TaskFailure"),
    "algebra.queues": ("Queue",),
    "algebra.retries": ("Retry",),
    "algebra.tasks": ("Task", "task"),
    "algebra.triggers": ("Trigger",),
    "algebra.waits": ("sleep", "wait_for"),
    "contract.subflows": ("subflow",),
    "contract.workflows": ("Workflow", "WorkflowBuilder"),
    "errors": (
        "AsyncSecrets",
        "CloacaError",
        "CodecError",
        "CodecNeeded",
        "ContractError",
        "CorruptDatabase",
        "CredentialsGiven",
        "DatabaseTooNew",
        "DatabaseTooOld",
        "ForeignDatabase",
        "IncompatibleRun",
        "InvalidCron",
        "InvalidDatabaseUrl",
        "InvalidTenant",
        "InvalidTimezone",
        "KeyConflict",
        "LeaseLost",
        "NoSuchSignal",
        "NotBlocked",
        "NotIsolated",
        "NotRetryable",
        "PayloadError",
        "PayloadTooLarge",
        "ProcessDied",
        "RunNotFound",
        "RunnerClosed",
        "ScheduleConflict",
        "SecretExposed",
        "SessionMisused",
        "StoreError",
        "StoreUnavailable",
        "TaskNotImportable",
        "TenantInUse",
        "UnknownQueue",
        "UnknownSchedule",
        "UnknownSecret",
        "UnknownTask",
        "UnknownTenant",
        "UnknownWorkflow",
        "UnstablePayload",
        "UpgradeRefused",
        "Violation",
        "WrongKey",
        "WrongOutput",
    ),
    "interpreter.elements": ("ElementInfo",),
    "interpreter.firings": ("Firing", "Schedule", "ScheduleStatistics"),
    "interpreter.histories": ("RunEvent", "RunInfo", "TaskInfo", "Waiting"),
    "runner.handovers": ("HandedOver", "handover"),
    "runner.tenants": ("BlockingTenants", "Credentials", "Tenant", "Tenants"),
    "runner.triggers": ("TriggerInfo",),
    "secrets": ("Secret",),
    "runner": ("BlockingRunHandle", "BlockingRunner", "RunHandle", "Runner", "run"),
}
_HOME = {name: f"cloaca.{module}" for module, names in _HOMES.items() for name in names}

__all__ = [
    "AsyncSecrets",
    "BlockingRunHandle",
    "BlockingRunner",
    "BlockingTenants",
    "CloacaError",
    "CodecError",
    "CodecNeeded",
    "ContractError",
    "CorruptDatabase",
    "Credentials",
    "CredentialsGiven",
    "DatabaseTooNew",
    "DatabaseTooOld",
    "ElementInfo",
    "Firing",
    "ForeignDatabase",
    "Graph",
    "HandedOver",
    "IncompatibleRun",
    "InvalidCron",
    "InvalidDatabaseUrl",
    "InvalidTenant",
    "InvalidTimezone",
    "KeyConflict",
    "LeaseLost",
    "NoSuchSignal",
    "NotBlocked",
    "NotIsolated",
    "NotRetryable",
    "Outcome",
    "PayloadError",
    "PayloadTooLarge",
    "ProcessDied",
    "Queue",
    "Reduce",
    "Retry",
    "RunEvent",
    "RunFailure",
    "RunHandle",
    "RunInfo",
    "RunNotFound",
    "Runner",
    "RunnerClosed",
    "Schedule",
    "ScheduleConflict",
    "ScheduleStatistics",
    "Secret",
    "SecretExposed",
    "SessionMisused",
    "StoreError",
    "StoreUnavailable",
    "Task",
    "TaskContext",
    "TaskFailure",
    "TaskInfo",
    "TaskNotImportable",
    "Tenant",
    "TenantInUse",
    "Tenants",
    "Trigger",
    "TriggerInfo",
    "UnknownQueue",
    "UnknownSchedule",
    "UnknownSecret",
    "UnknownTask",
    "UnknownTenant",
    "UnknownWorkflow",
    "UnstablePayload",
    "UpgradeRefused",
    "Violation",
    "Waiting",
    "Workflow",
    "WorkflowBuilder",
    "WrongKey",
    "WrongOutput",
    "branch",
    "each",
    "handover",
    "run",
    "sleep",
    "subflow",
    "task",
    "wait_for",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'cloaca' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
