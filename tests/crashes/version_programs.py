"""A shop whose code is edited between two processes, and the processes that run it.

The shop is a module in the folder of a test, which notes what its bodies do in a log there. ``charge`` waits for a
file.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from returns.result import Success

from cloaca import RunHandle, Runner, Workflow
from cloaca.interpreter.histories import RunInfo

SHOP = '''"""A shop."""
import asyncio
from pathlib import Path

from pydantic import BaseModel

from cloaca import Workflow, task

FOLDER = Path(__file__).parent


def note(text):
    with (FOLDER / "log").open("a") as log:
        log.write(text + "\\n")


class Ref(BaseModel):
    n: int

class Order(BaseModel):
    sku: str

class Pick(BaseModel):
    sku: str

class Paid(BaseModel):
    paid: int

class Sent(BaseModel):
    sent: str


@task
def fetch(ref: Ref) -> Order:
    note("fetch")
    return Order(sku=f"s{ref.n}")

@task
async def charge(ref: Ref) -> Paid:
    note("charge begins")
    while not (FOLDER / "open").exists():
        await asyncio.sleep(0.01)
    note("charge")
    return Paid(paid=ref.n)

@task
def ship(pick: Pick, paid: Paid) -> Sent:
    note("ship")
    return Sent(sent=f"{pick.sku}-{paid.paid}")

@task
def post(ref: Ref) -> None:
    return None

# more tasks

orders = Workflow("orders", fetch >> charge >> ship)
mail = Workflow("mail", post)
'''
LEASE_S = 1.0


def edited(*pairs: str) -> str:
    """Return the shop with other text in places of some."""
    source = SHOP
    for old, new in zip(pairs[::2], pairs[1::2], strict=True):
        assert old in source, old
        source = source.replace(old, new)
    return source


def write(folder: Path, source: str) -> None:
    """Deploy the shop."""
    (folder / "shop.py").write_text(source)


def load(folder: str) -> ModuleType:
    """Import the shop as it is now."""
    sys.dont_write_bytecode = True
    spec = importlib.util.spec_from_file_location("shop", Path(folder) / "shop.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["shop"] = module
    spec.loader.exec_module(module)
    return module


def workflows(shop: ModuleType) -> list[Workflow[Any, Any]]:
    return [value for value in vars(shop).values() if isinstance(value, Workflow)]


def start(folder: str, url: str, count: int) -> None:
    """Start runs, and work on them until killed."""

    async def main() -> None:
        shop = load(folder)
        async with Runner(url, workflows=workflows(shop), lease_s=LEASE_S) as runner:
            for number in range(count):
                handle = await runner.start(shop.orders, shop.Ref(n=number), key=f"order-{number}")
                (Path(folder) / f"run-{number}").write_text(handle.id)
            await asyncio.Event().wait()

    asyncio.run(main())


def work(folder: str, url: str, seen: str) -> None:
    """Work until every run has ended or is blocked; say in the file ``seen`` what became of them."""

    async def main() -> None:
        shop = load(folder)
        async with Runner(url, workflows=workflows(shop), lease_s=LEASE_S) as runner:
            while not all([await settled(runner, info, shop.orders.version) for info in await runner.runs()]):
                await asyncio.sleep(0.02)
            found = [await told(await runner.get(info.id)) for info in await runner.runs()]
        path = Path(folder) / seen
        path.with_suffix(".part").write_text(json.dumps(sorted(found, key=lambda each: str(each["id"]))))
        path.with_suffix(".part").rename(path)

    asyncio.run(main())


async def settled(runner: Runner, info: RunInfo, version: str) -> bool:
    """Whether a run has ended, or is blocked by what this code has said, too."""
    row = await runner._engine.store.run(int(info.id))
    assert row is not None
    refused = row.status == "blocked" and version in (row.refused or "")
    return refused or row.finished_at is not None


async def told(handle: RunHandle[Any, Any]) -> dict[str, Any]:
    """Return what is to be seen of a run."""
    status, waiting = await handle.status(), await handle.why()
    told: dict[str, Any] = {"id": handle.id, "status": status, "task": waiting.task, "why": waiting.field}
    if status == "succeeded":
        outcome = await handle.result()
        assert isinstance(outcome, Success)
        told["output"] = outcome.unwrap().model_dump()
        told["events"] = [event.kind async for event in handle.events()]
    return told


def stay(folder: str, url: str) -> None:
    """Work until killed."""

    async def main() -> None:
        async with Runner(url, workflows=workflows(load(folder)), lease_s=LEASE_S):
            (Path(folder) / "up").touch()
            await asyncio.Event().wait()

    asyncio.run(main())
