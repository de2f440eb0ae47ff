"""Plain typing, without a plugin of ours: right programs have no error, and what can be inferred is.

``good`` has programs without an error, which also run; in ``bad`` each line says what the checkers call its fault; in
``reveal.py`` each ``reveal_type`` is followed by what it reveals. The accepted programs of ``cases/``, which are the
plugin's, have no error without it either.
"""

from __future__ import annotations

import runpy
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

import pytest

from tests.typing import cases
from tests.typing.checkers import PLUGINS, Said, mypy, pyright

HERE = Path(__file__).parent
CHECKERS: dict[str, Callable[[Path], list[Said]]] = {
    "mypy": partial(mypy, plugins=()),
    "mypy with plugins": partial(mypy, plugins=PLUGINS),
    "pyright": pyright,
}


@pytest.fixture(scope="module", params=CHECKERS)
def said(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[Said]]:
    """What one checker says about a copy of all programs."""
    directory = tmp_path_factory.mktemp("programs")
    for path in (HERE / "reveal.py", *HERE.glob("good/*.py"), *HERE.glob("bad/*.py")):
        # This repository's own mypy leaves some of them alone.
        (directory / path.name).write_text(path.read_text().replace("# mypy: ignore-errors=True", "#"))
    for name, text in accepted().items():
        (directory / name).write_text(text.replace('# mypy: enable-error-code="cloaca-unchecked"', "#"))
    checker: str = request.param
    return checker, CHECKERS[checker](directory)


def accepted() -> dict[str, str]:
    """The accepted cases and what they import, by the names of their files."""
    found = [case for page in cases.pages() for case in page.cases if not case.refused and not case.needs_plugin]
    modules = {name: text for case in found for name, text in case.modules.items()}
    return {**modules, **{f"{case.module}.py": case.program for case in found}}


def errors_in(said: list[Said], folder: str) -> list[Said]:
    return errors_of(said, {path.name for path in HERE.glob(f"{folder}/*.py")})


def errors_of(said: list[Said], files: Collection[str]) -> list[Said]:
    return [each for each in said if each.file in files and each.code != "reveal"]


def test_good_programs_have_no_error(said: tuple[str, list[Said]]) -> None:
    assert errors_in(said[1], "good") == []


def test_cases_that_the_plugin_accepts_have_no_error(said: tuple[str, list[Said]]) -> None:
    found = [f"{each.file}:{each.line}: {each.text}  [{each.code}]" for each in errors_of(said[1], accepted())]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("path", sorted(HERE.glob("good/*.py")), ids=lambda path: path.stem)
def test_good_programs_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CLOACA_DATABASE_URL", raising=False)
    runpy.run_path(str(path), run_name="__main__")


def test_what_is_inferred(said: tuple[str, list[Said]]) -> None:
    lines = (HERE / "reveal.py").read_text().splitlines()
    expected = {
        number: lines[number].removeprefix("#: ") for number, line in enumerate(lines, 1) if "reveal_type(" in line
    }
    about = [each for each in said[1] if each.file == "reveal.py"]
    assert [each for each in about if each.code != "reveal"] == []
    assert {each.line: each.text for each in about} == expected


def test_bad_programs_have_these_errors(said: tuple[str, list[Said]]) -> None:
    checker, all_said = said
    expected = {
        (path.name, number, code)
        for path in HERE.glob("bad/*.py")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        for code in _expected(line, pyright=checker == "pyright")
    }
    assert {(each.file, each.line, each.code) for each in errors_in(all_said, "bad")} == expected


def _expected(line: str, *, pyright: bool) -> list[str]:
    """The codes after ``# E``: mypy's, a bar, pyright's; a code that both of them have stands alone."""
    _, marked, comment = line.partition("  # E ")
    if not marked:
        return []
    ours, bar, theirs = comment.partition(" | ")
    return [code for code in (theirs if pyright and bar else ours).split() if code != "-"]
