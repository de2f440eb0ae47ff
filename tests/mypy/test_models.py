"""Models as mypy's plugin reads them, against what a running program reads from the same source."""

from __future__ import annotations

import importlib
import itertools
import json
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from cloaca.algebra.models import RuntimeModels
from cloaca.contract.notation import show
from tests.mypy.models_cases import CASES, NAMES, REQUIRED, SILENT, TYPES, Case

ROOT = Path(__file__).parents[2]
Told = Mapping[str, Mapping[str, Any]]


def reveals(case: Case, comment: str) -> str:
    calls = "".join(f"reveal_row({name})\n" for name in case.names)
    return f"# {comment}\nfrom models_reveal import reveal_row\nfrom case_{case.name} import *\n{calls}"


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with all cases as modules."""
    made = tmp_path_factory.mktemp("models")
    (made / "models_reveal.py").write_text("from typing import Any\ndef reveal_row(model: type[Any]) -> None: ...\n")
    for case in CASES:
        (made / f"case_{case.name}.py").write_text(case.text)
    return made


@pytest.fixture(scope="module")
def running(sources: Path) -> Iterator[Told]:
    """What a running program reads."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.syspath_prepend(str(sources))
        yield {case.name: {name: of_running(case, name) for name in case.names} for case in CASES}


def of_running(case: Case, expression: str) -> dict[str, Any]:
    made: type[BaseModel] = eval(expression, vars(importlib.import_module(f"case_{case.name}")))
    read = RuntimeModels()
    row = read.row(made)
    return {
        "name": read.name(made),
        "fields": {name: [show(field.type), field.required] for name, field in row.items()},
        "reducers": {name: field.reducer for name, field in row.items() if field.reducer is not None},
        "problems": [[problem.field, problem.message] for problem in read.problems(made)],
    }


def mypy(sources: Path, plugins: str, comment: str) -> list[str]:
    """Run mypy on the files that ask. ``comment`` changes them, and not those that they ask about."""
    for case in CASES:
        (sources / f"reveal_{case.name}.py").write_text(reveals(case, comment))
    (sources / "mypy.ini").write_text(f"[mypy]\nplugins = {plugins}\ncache_dir = .cache_{len(plugins)}\n")
    files = [f"reveal_{case.name}.py" for case in CASES]
    command = [sys.executable, "-m", "mypy", "--config-file=mypy.ini", "--no-error-summary", "--show-traceback", *files]
    environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
    done = subprocess.run(command, cwd=sources, capture_output=True, text=True, check=False, env=environment)
    assert not done.stderr
    return list(dict.fromkeys(done.stdout.splitlines()))


def told_by(lines: list[str]) -> Told:
    """What the plugin reads, by its notes."""
    told: dict[str, dict[str, Any]] = {}
    names = {case.name: case.names for case in CASES}
    for match in filter(None, map(NOTE.match, lines)):
        found = told.setdefault(match[1], {})
        found[names[match[1]][len(found)]] = json.loads(match[2])
    assert {name: tuple(found) for name, found in told.items()} == names, "\n".join(lines)
    return told


NOTE = re.compile(r"reveal_(\w+)\.py:\d+: note: (\{.*\})$")
OURS = f"{ROOT}/tests/mypy/models_plugin.py"
CONFIGURATIONS = {"alone": OURS, "with_pydantic": f"{OURS}, pydantic.mypy"}


@pytest.fixture(scope="module", params=[*CONFIGURATIONS])
def configuration(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def cold_lines(sources: Path, configuration: str) -> list[str]:
    return mypy(sources, CONFIGURATIONS[configuration], "cold")


@pytest.fixture(scope="module")
def cold(cold_lines: list[str]) -> Told:
    return told_by(cold_lines)


@pytest.fixture(scope="module")
def warm(sources: Path, configuration: str, cold: Told) -> Told:
    return told_by(mypy(sources, CONFIGURATIONS[configuration], "warm"))


QUESTIONS = [(case.name, name) for case in CASES for name in case.names]
asked = pytest.mark.parametrize(("case", "name"), QUESTIONS, ids=[f"{case}-{name}" for case, name in QUESTIONS])


@asked
def test_the_fields_are_the_same_in_the_same_order(running: Told, cold: Told, case: str, name: str) -> None:
    ours, theirs = running[case][name]["fields"], cold[case][name]["fields"]
    if cold[case][name]["is_known"]:
        assert list(theirs) == list(ours)
    for field, (_, _, required) in theirs.items():
        assert (required == ours[field][1]) is ((case, name, field) not in REQUIRED), field


@asked
def test_the_types_are_the_same(running: Told, cold: Told, case: str, name: str) -> None:
    ours = running[case][name]["fields"]
    for field, (shown, _, _) in cold[case][name]["fields"].items():
        assert (shown == ours[field][0]) is ((case, name, field) not in TYPES), field


@asked
def test_the_problems_are_the_same_in_the_same_words(running: Told, cold: Told, case: str, name: str) -> None:
    ours = [problem for problem in running[case][name]["problems"] if (case, name, problem[0]) not in SILENT]
    assert cold[case][name]["problems"] == ours


@asked
def test_the_name_is_the_same(running: Told, cold: Told, case: str, name: str) -> None:
    assert (cold[case][name]["name"] == running[case][name]["name"]) is ((case, name) not in NAMES)
    assert cold[case][name]["is_model"]
    assert cold[case][name]["is_known"] is (case != "created")


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_reducers_are_equal_where_they_are(running: Told, cold: Told, case: Case) -> None:
    ours, theirs = reducers(running, case), reducers(cold, case)
    assert list(ours) == list(theirs)
    for one, other in itertools.combinations(ours, 2):
        assert (theirs[one] == theirs[other]) is (ours[one] == ours[other]), (one, other)


def reducers(told: Told, case: Case) -> dict[tuple[str, str], object]:
    return {
        (name, field): reducer for name in case.names for field, reducer in told[case.name][name]["reducers"].items()
    }


@asked
def test_a_warm_cache_says_the_same(cold: Told, warm: Told, case: str, name: str) -> None:
    assert warm[case][name] == cold[case][name]
    assert list(warm[case][name]["fields"]) == list(cold[case][name]["fields"])


def test_what_is_remembered_makes_no_errors(sources: Path, configuration: str, cold_lines: list[str]) -> None:
    if configuration == "alone":  # pydantic's plugin has errors of its own
        without = mypy(sources, "", "without")
        assert [line for line in cold_lines if not NOTE.match(line)] == without


def test_known_differences_are_about_cases() -> None:
    asked_about = {(case.name, name) for case in CASES for name in case.names}
    assert {key[:2] for key in (*SILENT, *REQUIRED, *TYPES, *NAMES)} <= asked_about


def test_the_classes_that_an_answer_depends_on(cold: Told) -> None:
    found = cold["nested_problems"]["M"]["classes"]
    assert {"M", "Card", "Wallet"} <= {name.removeprefix("case_nested_problems.") for name in found}
    assert "pydantic.types.SecretStr" in found
    assert {"case_other_module.Child", "case_shared.Shared"} <= set(cold["other_module"]["Child"]["classes"])
    assert {"case_recursive.Node", "case_recursive.Partner"} <= set(cold["recursive"]["M"]["classes"])


def test_the_readers_import_no_models() -> None:
    program = "import sys, cloaca.mypy.models, cloaca.mypy.facts; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert {"pydantic", "pydantic_core", "returns", "sqlmodel"}.isdisjoint(loaded.split())
