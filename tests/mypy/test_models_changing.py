"""Facts about models after a change: a warm cache and the daemon know of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEADER = """
import operator
from typing import Annotated
from pydantic import BaseModel, Field, PlainSerializer, SecretStr, field_serializer
from cloaca import Reduce
"""
FILES = {
    "models_reveal": "from typing import Any\ndef write_row(model: type[Any]) -> None: ...\n",
    "aliases": HEADER + "Total = Annotated[int, Reduce(operator.add)]\n",
    "bases": HEADER + "class Base(BaseModel):\n    total: Annotated[int, Reduce(operator.add)]\n",
    "nested": HEADER + "class Card(BaseModel):\n    pin: SecretStr\n",
    "middle": "from aliases import Total\nfrom bases import Base\nfrom nested import Card\n"
    "class M(Base):\n    more: Total\n    card: Card\n    x: int = 3\n",
    "asks": "from middle import M\nfrom models_reveal import write_row\nwrite_row(M)\n",
}
CARD = HEADER + "class Card(BaseModel):\n    "
SECRET = "(at Card.pin) is a SecretStr"
EXCLUDED = "(at Card.pin) is left out of dumps"
CHANGES: list[tuple[str, str, str]] = [
    ("bases", FILES["bases"].replace("operator.add", "operator.mul"), '"total": "_operator.mul"'),
    ("bases", HEADER + "class Base(BaseModel):\n    total: Annotated[int, 'doc']\n", '"reducers": {"more":'),
    ("bases", HEADER + "class Base(BaseModel):\n    total: int = Field(3)\n", '"total": ["int", "int", false]'),
    ("bases", HEADER + "class Base(BaseModel):\n    total: int = Field()\n", '"total": ["int", "int", true]'),
    ("nested", CARD + "pin: Annotated[SecretStr, PlainSerializer(lambda s: 's')]\n", '"problems": []'),
    ("nested", FILES["nested"], SECRET),
    (
        "nested",
        CARD + "pin: SecretStr\n    @field_serializer('pin')\n    def dump(self, pin: SecretStr) -> str: return ''\n",
        '"problems": []',
    ),
    ("nested", CARD + "pin: int = Field(exclude=True)\n", EXCLUDED),
    ("nested", CARD + "pin: int = Field(exclude=False)\n", '"problems": []'),
]
IN_AN_ALIAS = ("aliases", FILES["aliases"].replace("operator.add", "operator.mul"), '"more": "_operator.mul"')
"""Not for the daemon: an alias is the same to it as long as its type is."""


def write(where: Path, module: str, text: str, count: int) -> None:
    """No two versions of a file have one size: mypy may take files of one time and size for the same."""
    (where / f"{module}.py").write_text(f"{text}#{'x' * 50 * count}\n")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for module, text in FILES.items():
        write(tmp_path, module, text, 0)
    (tmp_path / "mypy.ini").write_text(f"[mypy]\nplugins = {ROOT}/tests/mypy/models_plugin.py\n")
    return tmp_path


def ran(where: Path, *command: str) -> str:
    environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
    arguments = [sys.executable, "-m", *command]
    told = where / "told.json"
    told.unlink(missing_ok=True)
    done = subprocess.run(arguments, cwd=where, capture_output=True, text=True, check=False, env=environment)
    assert told.exists(), f"nobody looked at it again: {done.stdout}{done.stderr}"
    return told.read_text()


def follow(where: Path, changes: list[tuple[str, str, str]], ask: Callable[[], str]) -> None:
    """Make one change after the other; each must be seen at once."""
    before = ask()
    for count, (module, text, expected) in enumerate(changes, 1):
        assert expected not in before
        write(where, module, text, count)
        before = ask()
        assert expected in before


def test_a_warm_cache_knows_of_every_change(project: Path) -> None:
    follow(project, [*CHANGES, IN_AN_ALIAS], lambda: ran(project, "mypy", "asks.py"))


def test_the_daemon_knows_of_every_change(project: Path) -> None:
    try:
        follow(project, CHANGES, lambda: ran(project, "mypy.dmypy", "run", "--", "asks.py"))
    finally:
        subprocess.run([sys.executable, "-m", "mypy.dmypy", "stop"], cwd=project, capture_output=True, check=False)
