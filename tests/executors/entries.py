"""What the children of the tests do: a job is ``[verb, argument]``."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

ENTRY = "tests.executors.entries:perform"


def perform(job: list[Any], tell: Callable[[object], None]) -> object:
    """Do a job; each says first that it has begun, and in which process."""
    verb, argument = job
    tell(["begun", os.getpid()])
    return VERBS[verb](argument, tell)


def spin(_: object, tell: Callable[[object], None]) -> None:
    while True:
        pass


def die(name: str, tell: Callable[[object], None]) -> None:
    os.kill(os.getpid(), signal.Signals[name])


def chatter(count: int, tell: Callable[[object], None]) -> int:
    """Say something from many threads at once."""
    threads = [threading.Thread(target=tell, args=([number, "x" * 10_000],)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return count


def linger(_: object, tell: Callable[[object], None]) -> int:
    """Leave a thread that speaks on when the job is done, until nobody hears it."""

    def speak() -> None:
        for _ in range(1000):
            tell("late")

    threading.Thread(target=speak, daemon=True).start()
    return os.getpid()


def stay(_: object, tell: Callable[[object], None]) -> int:
    """Leave a thread that keeps the process from ending."""
    threading.Thread(target=threading.Event().wait).start()
    return os.getpid()


def outlive(_: object, tell: Callable[[object], None]) -> str:
    """Get what a service manager sends to every process of a service."""
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(os.getpid(), number)
    return "alive"


def stop_others(_: object, tell: Callable[[object], None]) -> list[int | None]:
    """Stop a program, and a process that is forked, as politely as their parents can."""
    program = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
    program.terminate()
    forked = multiprocessing.get_context("fork").Process(target=signal.pause)
    forked.start()
    forked.terminate()
    forked.join()
    return [program.wait(), forked.exitcode]


def surroundings(_: object, tell: Callable[[object], None]) -> dict[str, object]:
    return {
        "cwd": os.getcwd(), "path": sys.path, "argv": sys.argv, "own": os.environ.get("CLOACA_TEST"),
        "group": os.getpgrp() == os.getpid(), "threads": threading.active_count(), "stdin": sys.stdin.read(),
    }  # fmt: skip


VERBS: dict[str, Callable[[Any, Callable[[object], None]], object]] = {
    "echo": lambda argument, tell: argument,
    "pid": lambda argument, tell: os.getpid(),
    "spin": spin,
    "die": die,
    "exit": lambda argument, tell: os._exit(argument),
    "chatter": chatter,
    "linger": linger,
    "stay": stay,
    "surroundings": surroundings,
    "outlive": outlive,
    "stop others": stop_others,
    "files": lambda argument, tell: sorted(os.readlink(f"/proc/self/fd/{n.name}") for n in fds()),
    "fail": lambda argument, tell: 1 / argument,
}


def fds() -> list[Path]:
    return [entry for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink() and entry.exists()]
