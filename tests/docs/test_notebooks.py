"""The how-to about notebooks is executed as a notebook does: cell by cell, where an event loop already runs."""

from __future__ import annotations

import ast
import asyncio
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.docs.code_blocks import Block, blocks_of

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "notebooks.md"


async def shown(cell: Block, notebook: ModuleType) -> Any:
    """Execute a cell, and return the value of its last line."""
    *before, last = ast.parse(cell.text).body
    assert isinstance(last, ast.Expr)
    parts: list[tuple[ast.Module | ast.Expression, str]] = [
        (ast.Module(before, []), "exec"),
        (ast.Expression(last.value), "eval"),
    ]
    value: Any = None
    for part, mode in parts:
        code = compile(part, str(notebook.__file__), mode, flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        value = eval(code, vars(notebook))
        if inspect.isawaitable(value):
            value = await value
    return value


def test_each_cell_shows_what_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CLOACA_DATABASE_URL", raising=False)
    notebook = ModuleType("notebook")
    notebook.__file__ = str(tmp_path / "notebook.py")
    monkeypatch.setitem(sys.modules, "notebook", notebook)
    cells = blocks_of(PAGE)
    (tmp_path / "notebook.py").write_text("\n".join(cell.text for cell in cells[::2]), encoding="utf-8")

    async def kernel() -> None:
        for cell, output in zip(cells[::2], cells[1::2], strict=True):
            assert (cell.info, output.info) == (("ipython",), ("text", "shown"))
            assert f"{await shown(cell, notebook)!r}\n" == output.text
        vars(notebook)["runner"].__exit__(None, None, None)

    asyncio.run(kernel())
