"""The protocols between the interpreter and the world: a store, a clock, an executor, a codec; and the rows they trade.

It knows no implementation. Each method says what an implementation guarantees; the conformance suite holds every one
of them to it. Times are seconds since the epoch, runs and sessions are known by integers, payloads are JSON text.
"""

from cloaca.ports.batches import Batch, Receipt, Submitted
from cloaca.ports.controls import GIVEN_UP, ControlStore
from cloaca.ports.executors import Executor, Processes
from cloaca.ports.findings import Arrivals, Cached, History, Poll
from cloaca.ports.payloads import SEALED, Codec, PayloadCodec, is_sealed
from cloaca.ports.queues import Granted, QueueRow, QueueStore, SlotRow
from cloaca.ports.rows import (
    TAKEN_OVER,
    AttemptRow,
    CacheRow,
    ClosingRow,
    EndRow,
    FailureRow,
    MoveRow,
    NewRun,
    NoteRow,
    PlanRow,
    RunRow,
    SignalRow,
    TaskRow,
    WaitRow,
)
from cloaca.ports.schedules import MOST_HANDOVERS, FiringCount, FiringRow, Move, ScheduleRow, ScheduleStore, Taken
from cloaca.ports.stores import FOLLOWED_S, NOTHING, SUSPECT_CRASHES, Store
from cloaca.ports.tenants import TenantStore
from cloaca.ports.transactions import Transaction
from cloaca.ports.world import Clock, Ports

__all__ = [
    "FOLLOWED_S",
    "GIVEN_UP",
    "MOST_HANDOVERS",
    "NOTHING",
    "SEALED",
    "SUSPECT_CRASHES",
    "TAKEN_OVER",
    "Arrivals",
    "AttemptRow",
    "Batch",
    "CacheRow",
    "Cached",
    "Clock",
    "ClosingRow",
    "Codec",
    "ControlStore",
    "EndRow",
    "Executor",
    "FailureRow",
    "FiringCount",
    "FiringRow",
    "Granted",
    "History",
    "Move",
    "MoveRow",
    "NewRun",
    "NoteRow",
    "PayloadCodec",
    "PlanRow",
    "Poll",
    "Ports",
    "Processes",
    "QueueRow",
    "QueueStore",
    "Receipt",
    "RunRow",
    "ScheduleRow",
    "ScheduleStore",
    "SignalRow",
    "SlotRow",
    "Store",
    "Submitted",
    "Taken",
    "TaskRow",
    "TenantStore",
    "Transaction",
    "WaitRow",
    "is_sealed",
]
