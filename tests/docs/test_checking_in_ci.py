"""What the how-to about CI shows is what happens: its files are written to a project, its commands are executed there.

The framework of the hooks is not installed; the commands in its configuration are executed as it would.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # it comes with mkdocs, and without stubs

from tests.docs.code_blocks import blocks_of

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-to" / "check-in-ci.md"
TEXTS = {" ".join(block.info).partition('title="')[2].rstrip('"'): block.text for block in blocks_of(PAGE)}


class Project:
    """A folder with the page's program, and the environment in which its commands are found."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder = folder
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment = {**os.environ, "PATH": path, "MYPY_CACHE_DIR": str(cache), "COLUMNS": "300"}
        self.write("orders.py", TEXTS["orders.py"])
        self.write("mypy.ini", TEXTS["mypy.ini"])

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text, encoding="utf-8")

    def repair(self) -> None:
        self.write("orders.py", TEXTS["orders.py"].replace("skus", "sku"))

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def project(tmp_path: Path, cache: Path) -> Project:
    return Project(tmp_path, cache)


def said(shown: str) -> tuple[list[str], str]:
    """A console block: its command, and what the command prints."""
    command, _, output = shown.partition("\n")
    return shlex.split(command.removeprefix("$ ")), output


@pytest.mark.parametrize("title", ["mypy", "cloaca check"])
def test_a_mistake_is_found(project: Project, title: str) -> None:
    command, output = said(TEXTS[title])
    done = project.run(*command)
    assert (done.returncode, done.stdout) == (1, output), done.stderr


@pytest.mark.parametrize("title", ["mypy", "cloaca check"])
def test_a_program_without_mistakes_passes(project: Project, title: str) -> None:
    project.repair()
    done = project.run(*said(TEXTS[title])[0])
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_not_seen_is_said(project: Project) -> None:
    project.write("mypy.ini", f"{TEXTS['mypy.ini']}\n{TEXTS['mypy.ini, further down']}")
    command, output = said(TEXTS["mypy, once more"])
    assert project.run(*command).stdout == output
    project.repair()
    text = (project.folder / "orders.py").read_text(encoding="utf-8")
    project.write("orders.py", text.replace("builder.build()", "builder.build()  # type: ignore[cloaca-unchecked]"))
    done = project.run(*command)
    assert done.returncode == 0, done.stdout + done.stderr


def test_codes_are_switched_off_for_a_while(project: Project) -> None:
    project.write("mypy.ini", f"{TEXTS['mypy.ini']}\n{TEXTS['mypy.ini, for a while']}")
    done = project.run("mypy")
    assert done.returncode == 0, done.stdout + done.stderr


def hooks() -> list[dict[str, Any]]:
    (local,) = yaml.safe_load(TEXTS[".pre-commit-config.yaml"])["repos"]
    assert local["repo"] == "local"
    found: list[dict[str, Any]] = local["hooks"]
    return found


@pytest.mark.parametrize("hook", hooks(), ids=lambda hook: hook["id"])
def test_the_hooks(project: Project, hook: dict[str, Any]) -> None:
    assert {"id", "name", "language", "entry", "types", "pass_filenames"} == hook.keys()
    assert (hook["language"], hook["pass_filenames"]) == ("system", False)
    assert project.run(*shlex.split(hook["entry"])).returncode == 1
    project.repair()
    assert project.run(*shlex.split(hook["entry"])).returncode == 0


def test_the_step(project: Project) -> None:
    project.write("check.sh", TEXTS["check.sh"])
    assert project.run("sh", "check.sh").returncode == 1
    project.repair()
    done = project.run("sh", "check.sh")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_page_names_no_host() -> None:
    assert not re.search(r"https?://", PAGE.read_text(encoding="utf-8"))
