"""What `import cloaca` loads: a program that only describes workflows must not pay for a database."""

from __future__ import annotations

import subprocess
import sys

SQL = {"aiosqlite", "asyncpg", "sqlalchemy", "sqlite3", "sqlmodel"}


def test_importing_cloaca_loads_no_sql() -> None:
    program = "import sys, cloaca; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    assert SQL.isdisjoint(loaded.split())
