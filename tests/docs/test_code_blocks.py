"""Every Python block of the documentation runs and prints what its page says.

The second half tests the tester: a page that is wrong must fail.
"""

from __future__ import annotations

import os
import textwrap
from pathlib import Path

import pytest

from tests.docs.code_blocks import PageError, blocks_of, run_page
from tests.providers import forget_providers

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_page(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CLOACA_DATABASE_URL", raising=False)
    before = dict(os.environ)
    try:
        run_page(page, tmp_path)
    finally:
        os.environ.clear()
        os.environ.update(before)
        forget_providers()


class Scratch:
    """Writes a page into a directory of its own, and runs it."""

    def __init__(self, directory: Path) -> None:
        self.page = directory / "a-page.md"

    def run(self, text: str) -> None:
        # Quotes stand for the fences, so that this file is not itself full of them.
        self.page.write_text(textwrap.dedent(text).replace("'''", "```"), encoding="utf-8")
        run_page(self.page, self.page.parent)


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    return Scratch(tmp_path)


def test_blocks_of_a_page_share_a_namespace_in_order(scratch: Scratch) -> None:
    scratch.run(
        """
        '''python
        seen = [1]
        '''
        Some words.

        - An item, and in it
          '''python title="orders.py"
          seen.append(2)
          print(seen)
          '''
          '''text output
          [1, 2]
          '''
        """
    )


def test_a_block_that_raises_fails_and_says_where(scratch: Scratch) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        scratch.run(
            """
            '''python
            one = 1
            one / 0
            '''
            """
        )
    assert caught.value.__notes__ == [f"in the block at {scratch.page}:3"]
    assert caught.traceback[-1].lineno == 3  # 0-based: the fourth line of the page


@pytest.mark.parametrize("language", ["text", "console"])
def test_another_output_fails(scratch: Scratch, language: str) -> None:
    with pytest.raises(PageError, match="prints something else"):
        scratch.run(
            f"""
            '''python
            print("one")
            '''
            '''{language} output
            two
            '''
            """
        )


def test_an_output_is_compared_line_by_line_with_dots_for_anything(scratch: Scratch) -> None:
    scratch.run(
        """
        '''python
        print("run 0123-4567")
        print("succeeded")
        '''
        '''console output
        run ...
        succeeded
        '''
        """
    )


def test_a_block_that_prints_nothing_fails_its_output(scratch: Scratch) -> None:
    with pytest.raises(PageError, match="prints something else"):
        scratch.run(
            """
            '''python
            one = 1
            '''
            '''text output
            1
            '''
            """
        )


@pytest.mark.parametrize("before", ["", "'''python no-run\nprint(1)\n'''\n", "'''console\nls\n'''\n"])
def test_an_output_of_no_block_fails(scratch: Scratch, before: str) -> None:
    with pytest.raises(PageError, match="must follow the Python block"):
        scratch.run(f"{before}'''text output\n1\n'''\n")


def test_a_block_that_opts_out_is_not_run(scratch: Scratch) -> None:
    scratch.run("'''python no-run\nraise AssertionError\n'''\n")


@pytest.mark.parametrize("info", ["python", "python no-run"])
def test_a_block_that_is_not_python_fails(scratch: Scratch, info: str) -> None:
    with pytest.raises(SyntaxError):
        scratch.run(f"'''{info}\n1 +\n'''\n")


@pytest.mark.parametrize("language", ["py", "pycon", "python3"])
def test_a_block_that_would_never_run_is_refused(scratch: Scratch, language: str) -> None:
    with pytest.raises(PageError, match="only `python` is executed"):
        scratch.run(f"'''{language}\n1\n'''\n")


def test_a_fence_that_is_never_closed_fails(scratch: Scratch) -> None:
    with pytest.raises(PageError, match="never closed"):
        scratch.run("'''python\n1\n")


def test_a_block_inside_of_a_longer_fence_is_text(scratch: Scratch) -> None:
    scratch.run("````markdown\n'''python\n1 / 0\n'''\n````\n")
    assert [block.info for block in blocks_of(scratch.page)] == [("markdown",)]


def test_what_a_block_defines_has_a_source(scratch: Scratch) -> None:
    scratch.run(
        """
        '''python
        import inspect

        class Order:
            sku: str
        '''
        '''python
        def fetch(order: Order) -> None: ...

        print(inspect.getsource(Order))
        print(inspect.getsource(fetch))
        '''
        '''text output
        class Order:
            sku: str
        <BLANKLINE>
        def fetch(order: Order) -> None: ...
        <BLANKLINE>
        '''
        """
    )


def test_the_pages_are_found() -> None:
    names = {page.relative_to(ROOT).as_posix() for page in PAGES}
    assert {"README.md", "docs/index.md"} <= names
