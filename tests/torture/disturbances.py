"""What befalls the processes of a crew, and the database that they share.

Each is a function that does it, lets it pass, and says what it was. ``DEADLY`` are those after which a run may have
been charged with a crash: a round has few of them, since a run that loses its worker five times ends as failed.
"""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.torture.crews import Crew
from tests.torture.places import File, Schema
from tests.torture.servers import FAST, IMMEDIATE, Relay, Server

LONGEST_LOCK_S = 2.0
BLOCK = b"\0" * 4096


@dataclass(frozen=True)
class Scene:
    """A crew and what is around it: the server and its relay, or the disk; and the chance that decides."""

    crew: Crew
    chance: random.Random
    server: Server | None = None
    relay: Relay | None = None
    disk: Path | None = None

    @property
    def past_the_lease_s(self) -> float:
        return self.crew.orders.lease_s * 1.5


Disturbance = Callable[[Scene], str]


def kill_a_worker(scene: Scene) -> str:
    """kill -9."""
    return f"killed {scene.crew.kill(scene.chance.choice(scene.crew.workers))}"


def kill_all_workers(scene: Scene) -> str:
    """A power cut, as far as processes feel it."""
    return f"killed all, {[scene.crew.kill(number) for number in scene.crew.workers]}"


def kill_the_submitter(scene: Scene) -> str:
    """Whoever only starts runs is killed, and starts what has a key again."""
    return f"killed the submitter, {scene.crew.kill(len(scene.crew.lives) - 1)}"


def freeze_a_worker(scene: Scene) -> str:
    """SIGSTOP past the lease, then SIGCONT: it goes on as if nothing had happened."""
    number = scene.chance.choice(scene.crew.workers)
    pid = scene.crew.freeze(number)
    time.sleep(scene.past_the_lease_s)
    scene.crew.thaw(number)
    return f"stopped {pid} for {scene.past_the_lease_s:g} s"


def kill_a_frozen_worker(scene: Scene) -> str:
    """Stopped past its lease, then killed without a chance to find out."""
    number = scene.chance.choice(scene.crew.workers)
    scene.crew.freeze(number)
    time.sleep(scene.past_the_lease_s)
    return f"stopped {scene.crew.kill(number)} for {scene.past_the_lease_s:g} s, then killed it"


def pause_all_runs(scene: Scene) -> str:
    """Another process pauses every run, and may be killed before it has let them go on."""
    for_s = scene.chance.choice((0.4, 1.0, 20.0))
    was_killed = scene.crew.hold_up(for_s)
    return "paused all runs" + (f", and killed who did it after {for_s} s" if was_killed else "")


# A file


def lock_the_file(scene: Scene) -> str:
    """Another program holds SQLite's write lock."""
    assert isinstance(scene.crew.place, File)
    for_s = scene.chance.uniform(0.2, LONGEST_LOCK_S)
    with closing(sqlite3.connect(scene.crew.place.path, timeout=20, isolation_level=None)) as foreign:
        foreign.execute("BEGIN IMMEDIATE")
        time.sleep(for_s)
        foreign.execute("ROLLBACK")
    return f"held the write lock for {for_s:.1f} s"


def fill_the_disk(scene: Scene) -> str:
    """Not a byte is left, for a while."""
    assert scene.disk is not None
    ballast, for_s = scene.disk / "ballast", scene.chance.uniform(0.3, scene.past_the_lease_s)
    end = time.monotonic() + for_s
    try:
        with ballast.open("wb", buffering=0) as file:
            while time.monotonic() < end:  # what is freed meanwhile is taken, too
                with suppress(OSError):
                    while True:
                        file.write(BLOCK)
                time.sleep(0.01)
    finally:
        ballast.unlink()
    return f"filled the disk for {for_s:.1f} s"


# A server


def end_the_connections(scene: Scene) -> str:
    """The server ends every connection, as an administrator does."""
    assert isinstance(scene.crew.place, Schema)
    found = scene.crew.place.ask(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
        "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
    )
    return f"ended {found[0][0]} connections"


def cut_the_line(scene: Scene) -> str:
    """Connections end in the middle of whatever is said, several times in a row."""
    assert scene.relay is not None
    times = [scene.relay.cut()]
    for _ in range(3):
        time.sleep(scene.chance.uniform(0.02, 0.15))
        times.append(scene.relay.cut())
    return f"cut {sum(times)} connections"


def mute_the_line(scene: Scene) -> str:
    """Nothing gets through for longer than a lease, then everything at once; or nothing ever, if it is cut."""
    assert scene.relay is not None
    scene.relay.mute()
    time.sleep(scene.past_the_lease_s)
    is_cut = scene.chance.random() < 0.5
    if is_cut:
        scene.relay.cut()
    scene.relay.unmute()
    return f"nothing got through for {scene.past_the_lease_s:g} s" + (", nor later" if is_cut else "")


def restart_the_server(scene: Scene) -> str:
    """The server is stopped as by its service script, and started again."""
    return _restart(scene, "restarted the server", immediate=False)


def crash_the_server(scene: Scene) -> str:
    """The server is stopped without a checkpoint, and recovers from its log."""
    return _restart(scene, "crashed the server", immediate=True)


def _restart(scene: Scene, what: str, *, immediate: bool) -> str:
    assert scene.server is not None
    scene.crew.look()
    down_s = scene.chance.uniform(0.0, scene.past_the_lease_s)
    scene.server.stop(IMMEDIATE if immediate else FAST)
    time.sleep(down_s)
    scene.server.start()
    scene.crew.look()
    return f"{what}, which was down for {down_s:.1f} s"


ANYWHERE = (
    kill_a_worker,
    kill_all_workers,
    kill_the_submitter,
    freeze_a_worker,
    kill_a_frozen_worker,
    pause_all_runs,
)
ON_A_FILE = (lock_the_file,)
ON_A_DISK = (fill_the_disk,)
ON_A_SERVER = (end_the_connections, cut_the_line, mute_the_line, restart_the_server, crash_the_server)
DEADLY = frozenset(ANYWHERE + ON_A_DISK + ON_A_SERVER) - {
    kill_the_submitter,
    pause_all_runs,
    end_the_connections,
    cut_the_line,
}
