"""Versions and fingerprints: what changes them, what doesn't, and that every machine and Python has the same."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from cloaca.contract.fingerprints import fingerprint
from cloaca.contract.sources import code_of
from tests.contract import syntax

BASE = '''
from pydantic import BaseModel, Field
from cloaca import Retry, Workflow, task

RATE = 2
SEEN = []

class Order(BaseModel):
    """An order."""
    sku: str
    amount: int = Field(ge=0)

class Price(BaseModel):
    amount: int

def price_of(order):
    """The price."""
    return rounded(order.amount * RATE)

def rounded(amount):
    return round(amount)

class Books:
    def enter(self, amount):
        return amount

books = Books()

@task(timeout=30)
def price(order: Order) -> Price:
    """Find the price."""
    # in whole units
    SEEN.append(order)
    return Price(amount=books.enter(price_of(order)))

def is_large(order: Order) -> bool:
    return order.amount > 10

@task
def note(paid: Price) -> None:
    return None

workflow = Workflow("pricing", price.when(is_large) >> note, input=Order)
'''


def load(source: str, directory: Path) -> ModuleType:
    """Import ``source`` as a module of its own, always under one name."""
    path = directory / f"flow_{sha256(source.encode()).hexdigest()[:8]}.py"
    path.write_text(source)
    spec = importlib.util.spec_from_file_location("flow_under_test", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["flow_under_test"] = module
    spec.loader.exec_module(module)
    return module


def version(source: str, directory: Path) -> str:
    found: str = load(source, directory).workflow.version
    return found


def replaced(*pairs: str) -> str:
    source = BASE
    for old, new in zip(pairs[::2], pairs[1::2], strict=True):
        assert old in source
        source = source.replace(old, new)
    return source


SAME = {
    "a comment": replaced("# in whole units", "# in units, whole ones"),
    "no comment": replaced("    # in whole units\n", ""),
    "a task's docstring": replaced('"""Find the price."""', '"""Find it."""'),
    "no docstring": replaced('    """Find the price."""\n', ""),
    "a model's docstring": replaced('"""An order."""', '"""The order."""'),
    "a helper's docstring": replaced('    """The price."""\n', ""),
    "formatting": replaced("price_of(order)))", "price_of(\n        order,\n    )\n))"),
    "quotes": replaced('"pricing"', "'pricing'"),
    "lines before": "\n\n\n" + BASE,
    "the value of a list": replaced("SEEN = []", "SEEN = [1]"),
    "another function": BASE + "\n\ndef unrelated():\n    return 1\n",
    "a parenthesis": replaced("round(amount)", "(round(amount))"),
    "seconds as a timedelta": replaced("timeout=30", "timeout=__import__('datetime').timedelta(seconds=30)"),
    "the decorator under another name": replaced(
        "import Retry, Workflow, task",
        "import Retry, Workflow, task, task as step",
        "@task(timeout=30)",
        "@step(timeout=30)",
    ),
    "a description of a field": replaced("Field(ge=0)", "Field(ge=0, description='in cents')"),
}

CHANGED = {
    "a task's body": replaced("books.enter(price_of(order))", "books.enter(price_of(order) + 1)"),
    "what it calls": replaced("order.amount * RATE", "order.amount + RATE"),
    "what that calls": replaced("round(amount)", "int(amount)"),
    "a constant": replaced("RATE = 2", "RATE = 3"),
    "a method of what it uses": replaced("        return amount\n", "        return amount + 0\n"),
    "a condition": replaced("order.amount > 10", "order.amount > 11"),
    "a model's field": replaced("    sku: str\n", "    sku: str\n    weight: int = 0\n"),
    "a model's type": replaced("    sku: str\n", "    sku: int\n"),
    "a model's default": replaced("    sku: str\n", '    sku: str = "x"\n'),
    "a model's constraint": replaced("Field(ge=0)", "Field(ge=1)"),
    "an option": replaced("timeout=30", "timeout=31"),
    "a queue": replaced("timeout=30", "timeout=30, queue='mail'"),
    "a queue named as an executor": replaced("timeout=30", "timeout=30, queue='process'"),
    "a retry": replaced("timeout=30", "timeout=30, retry=Retry(attempts=2)"),
    "what is retried": replaced("timeout=30", "timeout=30, retry=Retry(on=(OSError,))"),
    "the structure": replaced("price.when(is_large) >> note", "price >> note"),
    "a rule": replaced(">> note", '>> note.on("all_success")'),
    "a name": replaced(">> note", '>> note.named("memo")'),
    "a key": replaced(">> note", '>> note.reading(amount="x")', "price.when(is_large)", 'price.writing(amount="x")'),
    "the output": replaced("input=Order)", "input=Order, output=Order)"),
    "a field of the input": replaced(
        "input=Order)", "input=Wide)", "workflow =", "class Wide(Order):\n    more: int\n\nworkflow ="
    ),
}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("flows")


@pytest.mark.parametrize("source", SAME.values(), ids=SAME)
def test_what_does_not_change_the_version(source: str, directory: Path) -> None:
    assert version(source, directory) == version(BASE, directory)


@pytest.mark.parametrize("source", CHANGED.values(), ids=CHANGED)
def test_what_changes_the_version(source: str, directory: Path) -> None:
    assert version(source, directory) != version(BASE, directory)


def test_all_changes_differ_from_each_other(directory: Path) -> None:
    versions = {version(source, directory) for source in CHANGED.values()}
    assert len(versions) == len(CHANGED)


def test_a_workflows_name_is_no_part_of_its_version(directory: Path) -> None:
    assert version(replaced('"pricing"', '"prices"'), directory) == version(BASE, directory)


def test_a_fingerprint_is_the_same_under_every_name(directory: Path) -> None:
    module = load(BASE, directory)
    assert fingerprint(module.price.named("x")) == fingerprint(module.price)
    assert fingerprint(module.price.into("x")) != fingerprint(module.price)


PROGRAM = "import sys; sys.path.insert(0, {directory!r}); from flow import workflow; print(workflow.version)"


def run(program: list[str], seed: str, directory: Path) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, *program], env=environment, cwd=directory, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_processes_agree_whether_they_import_or_run_it(directory: Path) -> None:
    (directory / "flow.py").write_text(BASE + '\nif __name__ == "__main__":\n    print(workflow.version)\n')
    imported = run(["-c", PROGRAM.format(directory=str(directory))], "1", directory)
    assert imported == run(["flow.py"], "2", directory) == version(BASE, directory)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (syntax.exotic, "8492c5a693db40e5"),
        (syntax.rounded, "166d350690801ecb"),
        (syntax.squared, "cfa41f3098411cbf"),
        (syntax.halved, "69c0da24e78c8009"),
    ],
)
def test_every_python_reads_the_same_code(function: Callable[..., Any], expected: str) -> None:
    """Pinned: the test runs on each Python, and each has to find this very hash."""
    assert sha256(code_of(function).encode()).hexdigest()[:16] == expected


def test_lambdas_on_one_line_are_told_apart() -> None:
    first, second = (lambda x: x + 1), (lambda x: x + 2)
    assert code_of(first) != code_of(second)
    assert code_of(first) == code_of(lambda x: x + 1)


def made_with(limit: int) -> Callable[[int], bool]:
    def within(x: int) -> bool:
        return x < limit

    return within


def test_what_a_function_closes_over_counts() -> None:
    assert code_of(made_with(1)) == code_of(made_with(1))
    assert code_of(made_with(1)) != code_of(made_with(2))


def test_defaults_count() -> None:
    functions = [lambda x, limit=limit: x < limit for limit in (1, 2)]
    assert code_of(functions[0]) != code_of(functions[1])


def test_code_without_source_counts_by_its_byte_code() -> None:
    def made(body: str) -> Any:
        namespace: dict[str, Any] = {}
        exec(f"def made(x):\n    return {body}", namespace)
        return namespace["made"]

    assert code_of(made("x + 1")) == code_of(made("x + 1"))
    assert code_of(made("x + 1")) != code_of(made("x - 1"))
    assert code_of(made("x.a")) != code_of(made("x.b"))


def test_functions_that_call_each_other() -> None:
    def even(x: int) -> bool:
        return x == 0 or odd(x - 1)

    def odd(x: int) -> bool:
        return x != 0 and even(x - 1)

    assert code_of(even) == code_of(even)
    assert "odd" in code_of(even)
