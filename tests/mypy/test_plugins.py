"""The plugin beside others, and under mypy's own switches: any order of plugins, every way to silence an error.

The same programs are checked with the three plugins in each order, and without each of the other two; mypy's whole
output has to be the same. What is right or wrong in them is tested elsewhere.
"""

from __future__ import annotations

import re
from itertools import permutations
from pathlib import Path
from random import Random

import pytest

from tests.mypy.programs import program
from tests.mypy.projects_checking import OURS, PLUGINS, PYDANTIC, RETURNS, Answer, Project, crashes, dependencies
from tests.mypy.projects_edits import EDITS, MODULES, layouts
from tests.thoroughness import some

ORDERS = tuple(permutations(PLUGINS))
FEWER = ((RETURNS, OURS), (PYDANTIC, OURS), (OURS,))
PROGRAMS = 25
SHOWN = ("missing-field", "field-type", "maybe-missing", "write-conflict", "task-name", "task-model")


def modules() -> dict[str, str]:
    """Edited projects, and random programs."""
    found = {f"edited{number}": layouts(edit.applied())["one"] for number, edit in enumerate(EDITS[::8])}
    found["whole"] = layouts(MODULES)["one"]
    for number in range(PROGRAMS):
        drawn = program(Random(f"plugins/{number}"))
        found[f"drawn{number}/__init__"] = ""
        found[f"drawn{number}/program"] = drawn.text
        found |= {f"drawn{number}/parts": drawn.parts} if drawn.parts else {}
    return {name: text for name, text in found.items() if not _is_broken(text)}


def _is_broken(text: str) -> bool:
    try:
        compile(text, "module", "exec")
    except SyntaxError:
        return True
    return False


def checked(folder: Path, plugins: tuple[str, ...], factory: pytest.TempPathFactory) -> Answer:
    """Return what mypy says of all modules with these plugins."""
    project = Project(folder, plugins, dependencies=dependencies(factory, plugins))
    for name in modules():
        (folder / name).parent.mkdir(exist_ok=True)
    project.write(modules())
    return project.cold()


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Answer:
    answer = checked(tmp_path_factory.mktemp("usual"), PLUGINS, tmp_path_factory)
    assert crashes(answer) == []
    assert all(f"[cloaca-{code}]" in answer.text for code in SHOWN)
    return answer


def named(plugins: tuple[str, ...]) -> str:
    return ",".join(plugin.partition(".")[0] for plugin in plugins)


@pytest.mark.parametrize("plugins", some(ORDERS[1:], 2), ids=named)
def test_the_order_of_plugins_is_all_one(
    usual: Answer, plugins: tuple[str, ...], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert checked(tmp_path, plugins, tmp_path_factory).by_file == usual.by_file


@pytest.mark.parametrize("plugins", FEWER, ids=named)
def test_neither_of_the_other_plugins_is_needed(
    usual: Answer, plugins: tuple[str, ...], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert checked(tmp_path, plugins, tmp_path_factory).by_file == usual.by_file


# mypy's own switches

PROGRAM = """\
from pydantic import BaseModel

from cloaca import Workflow, task


class A(BaseModel):
    a: int


class B(BaseModel):
    b: int


class C(BaseModel):
    c: int


@task
def first(row: A) -> B:
    raise NotImplementedError


@task
def last(row: C) -> C:
    raise NotImplementedError


workflow = Workflow("w", first >> last)
listed = [first, last]
other = Workflow("o", first >> listed)
"""
MISSING = "cloaca-missing-field"
UNCHECKED = "cloaca-unchecked"


def said(answer: Answer) -> list[tuple[str, str]]:
    """The file and the code of each error."""
    found = [re.fullmatch(r"(\w+)\.py:\d+: error: .*  \[([\w-]+)\]", line) for line in answer.lines]
    return [(match[1], match[2]) if match else ("?", "?") for match in found]


@pytest.fixture(scope="module")
def switched(tmp_path_factory: pytest.TempPathFactory) -> Answer:
    """What mypy says of copies of one program, each with its own way to silence or to ask."""
    options = (
        "enable_error_code = ignore-without-code\n"
        f"[mypy-by_section]\ndisable_error_code = {MISSING}\n[mypy-asked_section]\nenable_error_code = {UNCHECKED}\n"
    )
    project = Project(tmp_path_factory.mktemp("switched"), options=options, dependencies=dependencies(tmp_path_factory))
    project.write({name: text for name, (text, _) in SWITCHES.items()})
    return project.cold()


def _ignored(comment: str) -> str:
    return PROGRAM.replace("first >> last)", f"first >> last)  # type: ignore[{comment}]")


def _headed(comment: str) -> str:
    return f"# mypy: {comment}\n{PROGRAM}"


SWITCHES: dict[str, tuple[str, list[str]]] = {
    "plain": (PROGRAM, [MISSING]),
    "by_section": (PROGRAM, []),
    "asked_section": (PROGRAM, [MISSING, UNCHECKED]),
    "by_code": (_ignored(MISSING), []),
    "by_family": (_ignored("cloaca"), ["unused-ignore"]),  # mypy wants a narrower one, as for all families
    "by_two": (_ignored(f"{MISSING}, arg-type"), ["unused-ignore"]),
    "by_another": (_ignored("cloaca-field-type"), [MISSING, "unused-ignore"]),
    "by_head": (_headed(f'disable-error-code="{MISSING}"'), []),
    "by_head_of_another": (_headed('disable-error-code="cloaca-field-type"'), [MISSING]),
    "asked_by_head": (_headed(f'enable-error-code="{UNCHECKED}"'), [MISSING, UNCHECKED]),
    "by_head_of_all": (_headed("ignore-errors"), []),
    "in_vain": (
        PROGRAM.replace("listed = [first, last]", "listed = [first, last]  # type: ignore[cloaca]"),
        [MISSING, "unused-ignore"],
    ),
}


@pytest.mark.parametrize("name", SWITCHES)
def test_a_switch_of_mypys_does_what_it_says(switched: Answer, name: str) -> None:
    assert sorted(code for file, code in said(switched) if file == name) == sorted(SWITCHES[name][1])


@pytest.mark.parametrize(
    ("option", "codes"),
    [
        (f"disable_error_code = {MISSING}", []),
        ("disable_error_code = cloaca", []),
        (f"enable_error_code = {UNCHECKED}", [MISSING, UNCHECKED]),
        (f"disable_error_code = {MISSING}\nenable_error_code = {UNCHECKED}", [UNCHECKED]),
    ],
)
def test_a_code_in_mypys_own_section(
    option: str, codes: list[str], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    project = Project(tmp_path, options=f"{option}\n")
    project.write({"program": PROGRAM})
    assert [code for _, code in said(project.cold())] == codes


# What is lost

LOSSES = {
    "a_list_variable": "graph = Workflow('w', A1 >> xs)",
    "items_of_a_list": "ys: list[Graph[Any, Any]] = []\nWorkflow('w', ys[0] >> ys[1])",
    "a_ternary": "Workflow('w', A1 if word else B1)",
    "a_variable_of_a_ternary": "g = A1 >> B1 if word else B1 >> A1.named('C1')\nWorkflow('w', g)",
    "a_variable_that_grows": "g = A1 >> B1\nif word:\n    g = A1 & B1\nWorkflow('w', g)",
    "a_variable_that_grows_in_place": "g = Graph()\nfor x in (A1, B1):\n    g &= x\nWorkflow('w', g)",
    "a_loop": "g = Graph()\nfor x in (A1, B1):\n    g = g >> x\nWorkflow('w', g, input=A)",
    "a_loop_over_any": "g: Any = A1\nfor x in xs:\n    g = g >> x\nWorkflow('w', g)",
    "no_declared_return": "def made():  # type: ignore[no-untyped-def]\n    return A1 >> B1\nWorkflow('w', made())",
    "a_comprehension": "Workflow('w', A1 >> [x for x in xs])",
    "starred": "Workflow('w', *xs)",
    "options": "Workflow('w', A1.with_options(**options) >> B1)",
    "renames": "Workflow('w', A1.reading(**names) >> B1)",
    "a_name": "Workflow('w', A1.named(word) >> B1)",
    "a_rule": "Workflow('w', A1 >> B1.on(rule))",
    "a_condition": "Workflow('w', A1 >> B1.when(partial(holds, 1)))",
    "a_builder": "WorkflowBuilder('w', input=A).add(A1).add(B1, after=xs).build()",
    "a_protocol": "class P(Protocol):\n    g: Graph[Any, Any]\ndef f(p: P) -> None:\n    Workflow('w', p.g)",
    "a_type_variable": "T = TypeVar('T', bound=Graph[Any, Any])\ndef f(g: T) -> None:\n    Workflow('w', g)",
    "any": "g: Any = A1\nWorkflow('w', g)",
    "a_reduce": "Workflow('w', reduce(lambda x, y: x >> y, xs))",
}
LOSSES_HEAD = """
from functools import partial, reduce
from typing import Any, Literal, Protocol, TypeVar

from pydantic import BaseModel

from cloaca import Graph, Task, Workflow, WorkflowBuilder, task


class A(BaseModel):
    a: int


class B(BaseModel):
    b: int


class C(BaseModel):
    c: int


@task
def A1(row: A) -> B:
    raise NotImplementedError


@task
def B1(row: B) -> C:
    raise NotImplementedError


def holds(number: int, row: A) -> bool:
    raise NotImplementedError


xs = [A1, B1]
options: dict[str, Any] = {}
names: dict[str, str] = {}
word: str = str(1)
rule: Literal["all_done", "any_failed"] = "all_done"
row: type[A] = A
"""


@pytest.fixture(scope="module", params=[True, False], ids=["asked", "not asked"])
def lost(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[bool, Answer]:
    """What mypy says where structure is lost, whoever asked for it."""
    names = ",".join(LOSSES)
    options = f"[mypy-{names}]\nenable_error_code = {UNCHECKED}\n" if request.param else ""
    project = Project(tmp_path_factory.mktemp("lost"), options=options, dependencies=dependencies(tmp_path_factory))
    project.write({name: f"{LOSSES_HEAD}\n{text}\n" for name, text in LOSSES.items()})
    return request.param, project.cold()


@pytest.mark.parametrize("name", LOSSES)
def test_what_is_lost_is_said_to_who_asked(lost: tuple[bool, Answer], name: str) -> None:
    asked, answer = lost
    ours = [code for file, code in said(answer) if file == name and code.startswith("cloaca")]
    assert ours == ([UNCHECKED] if asked else [])
