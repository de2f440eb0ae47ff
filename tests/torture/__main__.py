"""``python -m tests.torture``: goes on with rounds and crossings until its time is over, and says what it did.

With ``--boundaries`` it first dies at each boundary of a statement, however long that takes. It exits with 1 if an
invariant did not hold, and leaves the journal, the logs and a copy of the rows where it says.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from tests.torture import crossings, grounds, rounds, servers
from tests.torture.boundaries import Fault
from tests.torture.invariants import INVARIANTS

CROSSINGS = 12  # after each round


class Session:
    """What is done and found in one call."""

    def __init__(self, folder: Path, database: str) -> None:
        self.folder, self.database = folder, database
        self.counts: Counter[str] = Counter()
        self.found: list[str] = []

    def round(self, ground: grounds.Ground, seed: int) -> None:
        """Play a round."""
        print(f"{self.database}: round with seed {seed}", flush=True)
        own = self._own(f"round-{seed}")
        telling = rounds.play(seed, own, ground, watch=lambda said: print(f"  {said}", flush=True))
        self.counts += telling.counts
        self._judge(f"--seed {seed} --database {self.database}", own, telling.wrong)

    def cross(self, ground: grounds.Ground, name: str, faults: list[Fault]) -> None:
        """Die at boundaries."""
        own = self._own(name)
        for crossing in crossings.cross_all(faults, ground.quick_place, own):
            self.counts["crossings"] += 1
            self.counts["crossings without a death"] += crossing.died is None
            fault = crossing.fault
            self._judge(f"{fault.side} statement {fault.number} ({crossing.died})", own, crossing.wrong)
        self._done(own)

    def count(self, ground: grounds.Ground) -> int:
        own = self._own("count")
        statements = crossings.count(ground.quick_place(), own)
        self._done(own)
        print(f"{self.database}: {statements} statements write", flush=True)
        return statements

    def _own(self, name: str) -> Path:
        own = self.folder / f"{self.database}-{name}"
        own.mkdir()
        return own

    def _done(self, own: Path) -> None:
        if not any(str(own) in found for found in self.found):
            shutil.rmtree(own)

    def _judge(self, what: str, own: Path, wrong: str) -> None:
        if wrong:
            self.found.append(f"{what}: see {own}\n{wrong}")
            print(self.found[-1], flush=True)
        elif what.startswith("--seed"):
            self._done(own)


def main() -> int:
    """Do as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="of the first round; the next has the next number")
    parser.add_argument("--minutes", type=float, default=1.0, help="in all; at least one round for each database")
    parser.add_argument("--database", choices=["sqlite", "postgresql", "both"], default="both")
    parser.add_argument("--boundaries", action="store_true", help="die at every statement, however long it takes")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="cloaca-torture-"))
    databases = ["sqlite", "postgresql"] if asked.database == "both" else [asked.database]
    sessions = [_torture(asked, database, folder, asked.minutes / len(databases)) for database in databases]
    found = [what for session in sessions for what in session.found]
    print(_table(sessions))
    print(f"{len(INVARIANTS)} invariants after each: {len(found)} did not hold" if found else "Every invariant held.")
    if not found:
        shutil.rmtree(folder)
    return bool(found)


def _torture(asked: argparse.Namespace, database: str, folder: Path, minutes: float) -> Session:
    session, end = Session(folder, database), time.monotonic() + minutes * 60
    with _ground(database) as ground:
        if ground.without:
            print(f"{database}: no full disk, {ground.without}")
        statements = session.count(ground)
        if asked.boundaries:
            session.cross(ground, "boundaries", crossings.faults(statements, ground.sides))
        for seed in _seeds(asked.seed, end):
            session.round(ground, seed)
            if time.monotonic() < end and not asked.boundaries:
                some = crossings.sample(random.Random(seed), statements, ground.sides, CROSSINGS)
                session.cross(ground, f"crossings-{seed}", some)
    return session


def _seeds(first: int, end: float) -> Iterator[int]:
    """At least one, and others while there is time."""
    yield first
    while time.monotonic() < end:
        first += 1
        yield first


def _ground(database: str) -> AbstractContextManager[grounds.Ground]:
    if database == "sqlite":
        return grounds.on_files()
    programs = servers.programs()
    if programs is None:
        sys.exit("there is no PostgreSQL on this machine that could be stopped and started: install its server")
    return grounds.on_a_server(programs)


def _table(sessions: list[Session]) -> str:
    names = sorted({name for session in sessions for name in session.counts})
    head = f"{'':40}" + "".join(f"{session.database:>12}" for session in sessions)
    rows = [f"{name.replace('_', ' '):40}" + "".join(f"{each.counts[name]:>12}" for each in sessions) for name in names]
    return "\n".join(["", head, *rows])


if __name__ == "__main__":
    sys.exit(main())
