"""Where the torture takes place: files on a small disk, or schemas on a server of its own behind a relay.

A ground says which disturbances there can be on it, and why others can't.
"""

from __future__ import annotations

import itertools
import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.torture import disks, servers
from tests.torture.boundaries import Side
from tests.torture.crews import Crew
from tests.torture.disturbances import ANYWHERE, ON_A_DISK, ON_A_FILE, ON_A_SERVER, Disturbance, Scene
from tests.torture.places import File, Place, Schema

numbers = itertools.count(1)

# Where a process can die at a statement: a file's is over before anything else can happen.
SIDES: dict[str, tuple[Side, ...]] = {"sqlite": ("before", "after"), "postgresql": ("before", "amid", "after")}


@dataclass(frozen=True)
class Ground:
    """New databases, and what can befall who works on them. ``without`` says why a disk can't be filled here."""

    place: Callable[[], Place]
    quick_place: Callable[[], Place]  # nothing stands in between
    scene: Callable[[Crew, random.Random], Scene]
    disturbances: tuple[Disturbance, ...]
    sides: tuple[Side, ...]
    without: str | None = None


@contextmanager
def on_files() -> Iterator[Ground]:
    """Files: on a disk that can be filled if one can be mounted, else in an ordinary folder."""
    reason = disks.reason_without()
    with tempfile.TemporaryDirectory(prefix="cloaca-ground-", dir=_memory()) as name:
        folder = Path(name)
        if reason is None:
            with disks.small_disk(folder) as disk:
                yield _files(folder, disk, None if disk else "this system does not let root mount a small disk")
        else:
            yield _files(folder, None, reason)


def _files(folder: Path, disk: Path | None, without: str | None) -> Ground:
    def on_disk() -> File:
        """One at a time, since there is little room."""
        for old in (disk or folder).glob("*.db*"):
            old.unlink()
        return File((disk or folder) / f"{next(numbers)}.db")

    def beside() -> File:
        return File(folder / f"beside-{next(numbers)}.sqlite")

    def scene(crew: Crew, chance: random.Random) -> Scene:
        return Scene(crew, chance, disk=disk)

    disturbances = ANYWHERE + ON_A_FILE + (ON_A_DISK if disk else ())
    return Ground(on_disk, beside, scene, disturbances, SIDES["sqlite"], without)


@contextmanager
def on_a_server(programs: Path) -> Iterator[Ground]:
    """Schemas on a server that can be stopped, behind a line that can be cut."""
    with servers.own_server(programs) as (server, relay):
        maintenance = Schema(server.url, server.url, "public")
        if maintenance.ask("SELECT 1 FROM pg_available_extensions WHERE name = 'amcheck'"):
            maintenance.ask("CREATE EXTENSION amcheck")

        def behind() -> Schema:
            return Schema(relay.url, server.url, f"torture_{next(numbers)}")

        def direct() -> Schema:
            return Schema(server.url, server.url, f"torture_{next(numbers)}")

        def scene(crew: Crew, chance: random.Random) -> Scene:
            return Scene(crew, chance, server=server, relay=relay)

        yield Ground(behind, direct, scene, ANYWHERE + ON_A_SERVER, SIDES["postgresql"])


def _memory() -> Path | None:
    memory = Path("/dev/shm")
    return memory if memory.is_dir() else None
