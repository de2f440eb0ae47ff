"""The fenced blocks of a Markdown page: finding them, executing the Python, comparing what it prints.

It does not know cloaca, and it does not know which pages there are.

What the words after a fence mean:

| fence            | meaning                                                                               |
|------------------|---------------------------------------------------------------------------------------|
| `python`         | executed, in the namespace of the page's earlier blocks                               |
| `python no-run`  | compiled, not executed                                                                |
| `text output`    | what the `python` block before it prints; `...` stands for anything, as in a doctest  |
| `console output` | the same                                                                              |
| any other        | left alone                                                                            |

More words, such as `title="orders.py"`, are for the site and change nothing here.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import re
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType

FENCE = re.compile(r"(?P<indent>\s*)(?P<ticks>`{3,})(?P<info>[^`]*)$")

# Other spellings of Python would be shown like Python and never be executed, so they are refused.
MISSPELT = frozenset({"py", "py3", "pycon", "python3"})


class PageError(AssertionError):
    """A page is written so that its blocks can't be tested, or a block does not print what the page says."""


@dataclass(frozen=True)
class Block:
    """One fenced block: its page, the line (from 1) of its text, the words after the fence, the text."""

    page: Path
    line: int
    info: tuple[str, ...]
    text: str

    @property
    def is_python(self) -> bool:
        return self.info[:1] == ("python",)

    @property
    def is_run(self) -> bool:
        return self.is_python and "no-run" not in self.info

    @property
    def is_output(self) -> bool:
        return self.info[:1] in {("text",), ("console",)} and "output" in self.info

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    """Find the fenced blocks of a page, in order. One inside of a longer fence is text of the outer one."""
    return list(_fenced(page, page.read_text(encoding="utf-8").splitlines()))


def run_page(page: Path, scratch: Path) -> None:
    """Execute a page's Python blocks in order, in one namespace, and compare what they print with the page.

    `scratch` is a directory for the source of the blocks; the working directory is the caller's to choose.

    Raises what a block raises, with a note that says where the block is; `PageError` for a wrong output and
    for an output that belongs to no block; `SyntaxError` for Python that isn't, `no-run` or not.
    """
    blocks = blocks_of(page)
    _refuse_misspelt(blocks)
    _refuse_stray_outputs(blocks)
    with _module_for(page, blocks, scratch) as module:
        for block, following in zip(blocks, [*blocks[1:], None], strict=False):
            if not block.is_python:
                continue
            code = _compiled(block, module)
            if block.is_run:
                printed = _executed(block, code, module)
                if following is not None and following.is_output:
                    _compare(following, printed)


def _fenced(page: Path, lines: list[str]) -> Iterator[Block]:
    numbered = iter(enumerate(lines, start=1))
    for number, line in numbered:
        opening = FENCE.match(line)
        if opening is None:
            continue
        inside: list[str] = []
        for _, text in numbered:
            closing = FENCE.match(text)
            if closing and not closing["info"].strip() and len(closing["ticks"]) >= len(opening["ticks"]):
                break
            inside.append(text)
        else:
            raise PageError(f"{page}:{number}: this fence is never closed")
        info = tuple(opening["info"].split())
        yield Block(page, number + 1, info, textwrap.dedent("".join(f"{text}\n" for text in inside)))


def _refuse_misspelt(blocks: list[Block]) -> None:
    for block in blocks:
        if block.info and block.info[0] in MISSPELT:
            raise PageError(f"{block.place}: only `python` is executed, so write that, not `{block.info[0]}`")


def _refuse_stray_outputs(blocks: list[Block]) -> None:
    for before, block in zip([None, *blocks], blocks, strict=False):
        if block.is_output and (before is None or not before.is_run):
            raise PageError(f"{block.place}: an output must follow the Python block that prints it")


@contextlib.contextmanager
def _module_for(page: Path, blocks: list[Block], scratch: Path) -> Iterator[ModuleType]:
    """Make a module for the blocks of a page, known to `sys.modules`, where pydantic resolves annotations.

    Its file has each line of code at the page's own line number: `inspect.getsource` works on what a block
    defines, and the line numbers of a traceback are those of the page.
    """
    module = ModuleType(f"page_{re.sub(r'[^a-z0-9]+', '_', page.stem.lower())}")
    source = scratch / f"{module.__name__}.py"
    source.write_text(_at_their_lines(block for block in blocks if block.is_python), encoding="utf-8")
    module.__file__ = str(source)
    sys.modules[module.__name__] = module
    try:
        yield module
    finally:
        del sys.modules[module.__name__]


def _at_their_lines(blocks: Iterator[Block]) -> str:
    text = ""
    for block in blocks:
        text += "\n" * (block.line - 1 - text.count("\n")) + block.text
    return text


def _compiled(block: Block, module: ModuleType) -> CodeType:
    padded = "\n" * (block.line - 1) + block.text
    try:
        return compile(padded, str(module.__file__), "exec", dont_inherit=True)
    except SyntaxError as error:
        error.add_note(f"in the block at {block.place}")
        raise


def _executed(block: Block, code: CodeType, module: ModuleType) -> str:
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            exec(code, vars(module))
    except BaseException as error:
        error.add_note(f"in the block at {block.place}")
        raise
    return printed.getvalue()


def _compare(output: Block, printed: str) -> None:
    checker = doctest.OutputChecker()
    if not checker.check_output(output.text, printed, doctest.ELLIPSIS):
        expected = doctest.Example("", output.text)
        difference = checker.output_difference(expected, printed, doctest.REPORT_NDIFF)
        raise PageError(f"{output.place}: the block before prints something else\n{difference}")
