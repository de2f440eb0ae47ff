"""DBOS beside cloaca: as many steps, on the same machine, disk and server, in an environment that is made for it.

The environment is ``.venv-peers`` in the checkout. If it can't be made, that is said and nothing is compared.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import venv
from collections.abc import Callable
from pathlib import Path
from statistics import median

import asyncpg

from tests.benchmarks.floors import Ground, PostgresGround

ROOT = Path(__file__).parents[2]
HOME = ROOT / ".venv-peers"
PYTHON = HOME / "bin" / "python"
PROGRAM = Path(__file__).parent / "peers" / "dbos_program.py"
PACKAGES = ["dbos", "pysqlite3-binary"]
WAYS = (("threads", 8), ("threads", 16), ("tasks", 16), ("tasks", 100))  # of which the best is taken
TRIAL_RUNS = 30
DATABASE = "bench_dbos"
PATIENCE_S = 900


def available() -> str | None:
    """Return the peer's version once its environment is there; None, with a word, if it can't be made."""
    try:
        if not PYTHON.exists():
            venv.create(HOME, with_pip=True)
        ask = [str(PYTHON), "-c", "import importlib.metadata as m; print(m.version('dbos'))"]
        if subprocess.run(ask, capture_output=True, check=False).returncode:
            install = [str(PYTHON), "-m", "pip", "install", "--quiet", *PACKAGES]
            subprocess.run(install, check=True, capture_output=True, timeout=PATIENCE_S)
        return subprocess.run(ask, capture_output=True, check=True, text=True).stdout.strip()
    except (OSError, subprocess.SubprocessError) as error:
        print(f"{'DBOS':<38} can't be installed here, so nothing is compared: {error}")
        return None


def rates(ground: Ground, way: tuple[str, int], runs: int, repeat: int) -> list[float]:
    """Return the peer's steps per second, on a database of its own."""
    url = asyncio.run(_database(ground))
    command = [str(PYTHON), str(PROGRAM), url, way[0], str(way[1]), str(runs), str(repeat)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    if done.returncode:
        raise RuntimeError(f"DBOS failed: {done.stderr[-2000:]}")
    found: list[float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


async def _database(ground: Ground) -> str:
    if not isinstance(ground, PostgresGround):
        folder = Path(ground.url.removeprefix("sqlite:///")).parent
        for leftover in folder.glob(f"{DATABASE}.db*"):
            leftover.unlink()
        return f"sqlite:///{folder.absolute() / DATABASE}.db"
    connection = await asyncpg.connect(ground.url)
    try:
        await connection.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
        await connection.execute(f"CREATE DATABASE {DATABASE}")
    finally:
        await connection.close()
    return re.sub(r"/\w+(?=\?|$)", f"/{DATABASE}", ground.url, count=1)


def report(ground: Ground, ours: Callable[[], float], *, runs: int, repeat: int) -> None:
    """Print the peer's rate in its best way, and how many times as many steps ``ours`` does per second.

    Each measures as many runs, in turn, ours before and after the peer's: what else runs on the machine is in the way
    of both. The figures are medians of the rounds.
    """
    version = available()
    if version is None:
        return
    best = max(WAYS, key=lambda way: rates(ground, way, TRIAL_RUNS, 1)[0])
    rounds = [(ours(), rates(ground, best, runs, 1)[0], ours()) for _ in range(repeat)]
    theirs = median(rate for _, rate, _ in rounds)
    times = median((before + after) / 2 / rate for before, rate, after in rounds)
    label = f"DBOS {version}, {runs} runs, {best[0]} {best[1]}"
    print(f"{label:<38} {theirs:>10,.0f}   cloaca does {times:,.0f} times as many steps", flush=True)
