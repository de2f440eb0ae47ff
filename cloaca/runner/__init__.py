"""The facade: open a database, start workflows, follow their runs. Async, and the same without ``await``.

Importing it loads no SQL: the store of a database URL is loaded when a runner is made.
"""

from cloaca.runner.blocking import BlockingRunHandle, BlockingRunner, run
from cloaca.runner.databases import DEFAULT_DATABASE, open_store, open_upkeep, url_of
from cloaca.runner.handles import RunHandle
from cloaca.runner.runners import Runner

__all__ = [
    "DEFAULT_DATABASE",
    "BlockingRunHandle",
    "BlockingRunner",
    "RunHandle",
    "Runner",
    "open_store",
    "open_upkeep",
    "run",
    "url_of",
]
