"""A real pgbouncer in transaction mode before a server of the tests, as people run it in production.

It remembers no prepared statements for its clients: older ones can't, and a store must not need it. It keeps few
connections to the server, so that the transactions of one client really meet different ones.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.stores.servers import PATIENCE_S, as_user, server_user

PLACES = "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin"
FIRST_WITH_STATEMENTS = (1, 21)
SOCKET = ".s.PGSQL.5432"
CONFIGURATION = """\
[databases]
* = host={server} port=5432

[pgbouncer]
listen_addr =
unix_socket_dir = {folder}
listen_port = 5432
auth_type = trust
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = {size}
max_client_conn = 500
server_round_robin = 1
{statements}
"""


def binary() -> str | None:
    """Return the path of pgbouncer, None if it is not on this machine."""
    return shutil.which("pgbouncer") or shutil.which("pgbouncer", path=PLACES)


@contextmanager
def pgbouncer(server: str, size: int = 4) -> Iterator[str]:
    """Yield the URL of a pgbouncer before ``server``, which listens on a socket and lets anyone in."""
    path = binary()
    assert path is not None, "ask binary() first"
    parts = urlsplit(server)
    folder = Path(tempfile.mkdtemp(prefix="cloaca-bouncer-"))
    try:
        statements = "max_prepared_statements = 0" if _version(path) >= FIRST_WITH_STATEMENTS else ""
        behind = parse_qs(parts.query)["host"][0]
        text = CONFIGURATION.format(server=behind, folder=folder, size=size, statements=statements)
        (folder / "pgbouncer.ini").write_text(text)
        (folder / "users").write_text(f'"{parts.username}" ""\n')
        _own(folder)
        yield from _started(path, folder, server.replace(behind, str(folder)))
    finally:
        shutil.rmtree(folder)


def _version(path: str) -> tuple[int, ...]:
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=True, timeout=PATIENCE_S).stdout
    found = re.search(r"(\d+)\.(\d+)", said)
    assert found, said
    return tuple(map(int, found.groups()))


def _own(folder: Path) -> None:
    """Give the files to whoever runs it: not root, which it refuses to be."""
    if (user := server_user()) is not None:
        for path in (folder, *folder.iterdir()):
            shutil.chown(path, user.pw_uid, user.pw_gid)


def _started(path: str, folder: Path, url: str) -> Iterator[str]:
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [path, str(folder / "pgbouncer.ini")], stdout=output, stderr=output, cwd=folder, **as_user()
        )
    try:
        end = time.monotonic() + PATIENCE_S
        while not (folder / SOCKET).exists():
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"pgbouncer does not start: {log.read_text()}")
            time.sleep(0.02)
        yield url
    finally:
        process.kill()
        process.wait(PATIENCE_S)
