"""Typing cases with the plugin: mypy says exactly what the pages in ``cases/`` say, and Python raises the same.

A page holds programs that are refused, with all that mypy says about them, and programs that are accepted; ``cases.py``
tells its form. All programs are checked by one run of mypy. What it says now is written into the pages by::

    CLOACA_TYPING_REWRITE=1 pytest tests/typing/test_cases.py

Then read the difference before you commit it. The accepted ones are also checked without the plugin, in
``test_typing.py``, and pages of the reference are made from some of them, in ``error_pages.py``, at once.
"""

from __future__ import annotations

import fcntl
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import unified_diff
from pathlib import Path

import pytest

from tests.typing import cases, error_pages, programs
from tests.typing.cases import Case

ROOT = Path(__file__).parents[2]
PAGES = cases.pages()
CASES = [case for page in PAGES for case in page.cases]
REWRITES = os.environ.get("CLOACA_TYPING_REWRITE") == "1"
# One cache for all sessions: mypy compares what it holds with the sources, and drops it when the plugin changes.
CACHE = ROOT / ".mypy_cache" / "typing-cases"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All programs as modules of one folder."""
    folder = tmp_path_factory.mktemp("cases")
    for case in CASES:
        programs.write(folder, {case.module: case.program})
        programs.write(folder, {name.removesuffix(".py"): text for name, text in case.modules.items()})
    return folder


@pytest.fixture(scope="module")
def said(folder: Path) -> dict[str, list[str]]:
    """What mypy says, by module."""
    found = _checked(folder, programs.PLUGINS)
    if REWRITES:
        cases.rewrite({case.module: _about(case, found) for case in CASES})
        error_pages.write()
    return found


def _checked(folder: Path, plugins: Sequence[str]) -> dict[str, list[str]]:
    with _locked(CACHE / "-".join(plugins)) as cache:
        return programs.mypy(folder, cache, plugins)


@contextmanager
def _locked(cache: Path) -> Iterator[Path]:
    """A cache that another worker of this session may want, too."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield cache


def _about(case: Case, said: dict[str, list[str]]) -> list[str]:
    """What mypy says about a case, its own module first; a line about another begins with its name."""
    others = [f"{name}:{line}" for name in case.modules for line in said[name.removesuffix(".py")]]
    return [*said[case.module], *others]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_mypy_says(case: Case, said: dict[str, list[str]]) -> None:
    if not REWRITES:
        _compare("the page", case.said or [], "mypy", _about(case, said))


@pytest.mark.parametrize("plugins", [programs.PLUGINS[::-1], programs.PLUGINS[-1:]], ids=["other order", "alone"])
def test_other_plugins_change_nothing(plugins: Sequence[str], folder: Path, said: dict[str, list[str]]) -> None:
    assert _checked(folder, plugins) == said


def test_the_oldest_mypy_says_the_same_about_workflows(folder: Path, said: dict[str, list[str]]) -> None:
    packages = Path(sys.prefix) / "oldest-mypy"
    if not packages.exists():
        pytest.skip("make installs it")
    with _locked(CACHE / "oldest") as cache:
        found = programs.mypy(folder, cache, packages=packages)
    assert {name: _ours(lines) for name, lines in found.items()} == {name: _ours(lines) for name, lines in said.items()}


def _ours(lines: list[str]) -> list[str]:
    return [line for line in lines if line.endswith("]") and "[cloaca-" in line]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_running_it_raises(case: Case, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CLOACA_DATABASE_URL", raising=False)
    expected = case.raised if case.raised is not None else programs.violations(case.said or [])
    _compare("the page", sorted(expected), "running it", sorted(programs.run(folder, case.module)))


def _compare(one: str, lines: Sequence[str], other: str, others: Sequence[str]) -> None:
    difference = list(unified_diff(lines, others, one, other, lineterm=""))
    assert not difference, "\n".join(["", *difference])


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_case_is_what_its_section_says(case: Case) -> None:
    assert any(": error: " in line for line in case.said or []) == case.refused
    assert case.raised is None or "At run time" in " ".join(case.prose)


def test_every_program_has_a_module_of_its_own() -> None:
    names = [name for case in CASES for name in (f"{case.module}.py", *case.modules)]
    assert [name for name, number in Counter(names).items() if number > 1] == []


@pytest.mark.parametrize("code", error_pages.CODES)
def test_every_code_has_cases(code: str) -> None:
    lines = [line for case in CASES for line in case.said or []]
    assert sum(line.endswith(f"[cloaca-{code}]") for line in lines) >= (2 if code == "unchecked" else 4)


def test_there_are_cases_of_both_kinds() -> None:
    number = Counter(case.refused for case in CASES)
    assert number[True] >= 60
    assert number[False] >= 60


def _lines(page: Path) -> Iterator[str]:
    return iter(page.read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path.stem)
def test_pages_are_about_something(page: cases.Page) -> None:
    assert page.about
    assert next(_lines(page.path)).startswith("# ")
