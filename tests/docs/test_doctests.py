"""Every public name and method has a doctest, or stands here with the page that shows it instead."""

from __future__ import annotations

import doctest
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import cloaca
import cloaca.testing
from tests.docs.code_blocks import blocks_of

DOCS = Path(__file__).parents[2] / "docs"
PUBLIC = {
    f"{module.__name__}.{name}": getattr(module, name) for module in (cloaca, cloaca.testing) for name in module.__all__
}
EXCEPTIONS = "reference/exceptions.md"  # one page makes each by the mistake that leads to it

# Names without a doctest: the page on which a block of code, or for what is rare a table, has them; and why.
ELSEWHERE: dict[str, tuple[str, str]] = {
    "cloaca.ElementInfo": ("how-to/fan-out.md", "it needs a list of models, which a doctest can't define"),
    "cloaca.Outcome": ("reference/glossary.md", "it is an alias, for annotations; RunFailure's doctest has both arms"),
    "cloaca.testing.BrokenPromise": ("reference/testing.md", "an engine that keeps its promises raises none"),
    "cloaca.testing.replay": ("tutorials/property-tests.md", "its text is what a failing test has printed"),
}
# What a method shows that the class's doctest does not: the same reasons.
METHODS_ELSEWHERE = {
    "BlockingRunHandle.elements": "how-to/fan-out.md",
    "BlockingRunHandle.send": "how-to/wait.md",
    "BlockingRunHandle.upgrade": "how-to/deploy-new-code.md",
}
CLASSES = [cloaca.BlockingRunner, cloaca.BlockingRunHandle, cloaca.Workflow, cloaca.Task, cloaca.Graph]
# Methods that the engine and the drawings call, and that the reference does not list.
INTERNAL = {"guarded", "identity", "picture", "shown_inside", "stand_in", "under"}


def examples(thing: object) -> str:
    """The code of the doctests of a docstring."""
    return "".join(example.source for example in doctest.DocTestParser().get_examples(inspect.getdoc(thing) or ""))


def executed(page: str) -> str:
    """The code of a page that tests execute."""
    return "".join(block.text for block in blocks_of(DOCS / page) if block.is_python or block.info[:1] == ("console",))


def is_error(thing: object) -> bool:
    return isinstance(thing, type) and issubclass(thing, cloaca.CloacaError)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_has_a_doctest(name: str) -> None:
    if name in ELSEWHERE or is_error(PUBLIC[name]):
        pytest.skip("shown on a page")
    assert examples(PUBLIC[name]), f"{name} has no doctest; give it one, or say in ELSEWHERE which page shows it"


@pytest.mark.parametrize("name", [name for name in PUBLIC if is_error(PUBLIC[name])])
def test_an_exception_stands_on_its_page(name: str) -> None:
    page = (DOCS / EXCEPTIONS).read_text(encoding="utf-8")
    assert re.search(rf"\b{name.removeprefix('cloaca.')}\b", page), f"docs/{EXCEPTIONS} does not say when it is raised"


@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_has_no_doctest_is_shown_on_a_page(name: str) -> None:
    page, reason = ELSEWHERE[name]
    assert reason
    assert not examples(PUBLIC[name])
    assert re.search(rf"\b{name.rpartition('.')[2]}\b", (DOCS / page).read_text(encoding="utf-8"))


def methods() -> Iterator[tuple[str, str]]:
    for owner in CLASSES:
        for name, _ in inspect.getmembers(owner, inspect.isfunction):
            if not name.startswith("_") and name not in INTERNAL:
                yield owner.__name__, name


@pytest.mark.parametrize(("owner", "method"), list(methods()))
def test_a_method_is_in_a_doctest(owner: str, method: str) -> None:
    """In its own, or in that of a public class: methods are shown together, as they are used."""
    call = re.compile(rf"\.{method}\(")
    page = METHODS_ELSEWHERE.get(f"{owner}.{method}")
    if page is not None:
        assert call.search(executed(page))
        return
    shown = examples(getattr(getattr(cloaca, owner), method)) + "".join(examples(thing) for thing in PUBLIC.values())
    assert call.search(shown)


@pytest.mark.parametrize(("owner", "twin"), [("Runner", "BlockingRunner"), ("RunHandle", "BlockingRunHandle")])
def test_an_asynchronous_method_is_shown_without_await(owner: str, twin: str) -> None:
    def names(of: str) -> set[str]:
        return {name for name in vars(getattr(cloaca, of)) if not name.startswith("_")}

    assert names(owner) == names(twin)
