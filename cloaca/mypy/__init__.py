"""The mypy plugin: what ``Workflow(...)`` refuses when a program runs, mypy refuses when it is checked.

List it in mypy's configuration: ``plugins = pydantic.mypy, cloaca.mypy``, in any order.

This module is what mypy loads at every start, so that it loads little itself: ``hooks`` has the rest. A fault of the
plugin's own becomes a note that names it, never a crash of mypy's.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from mypy.plugin import (
    ClassDefContext,
    FunctionContext,
    FunctionSigContext,
    MethodContext,
    MethodSigContext,
    Plugin,
    ReportConfigContext,
)
from mypy.types import FunctionLike, Type

from cloaca.mypy import codes as codes  # mypy must know them before it reads which of them are wanted
from cloaca.mypy.aliases import aliases_of

OURS = "cloaca."


class CloacaPlugin(Plugin):
    """The hooks, by the full name of what is called: all of them are about names of ours."""

    def get_method_hook(self, fullname: str) -> Callable[[MethodContext], Type] | None:
        """Return the hook of an operator or a graph's method."""
        if not fullname.startswith(OURS):
            return None
        from cloaca.mypy import hooks  # noqa: PLC0415 - see above

        return hooks.METHODS.get(fullname)

    def get_function_hook(self, fullname: str) -> Callable[[FunctionContext], Type] | None:
        """Return the hook of ``Workflow(...)`` and ``Graph()``."""
        if not fullname.startswith(OURS):
            return None
        from cloaca.mypy import hooks  # noqa: PLC0415 - see above

        return hooks.FUNCTIONS.get(fullname)

    def get_method_signature_hook(self, fullname: str) -> Callable[[MethodSigContext], FunctionLike] | None:
        """Return the hook that narrows a method's signature, ``@task``'s among them."""
        if not fullname.startswith(OURS):
            return None
        from cloaca.mypy import hooks  # noqa: PLC0415 - see above

        return hooks.METHOD_SIGNATURES.get(fullname)

    def get_function_signature_hook(self, fullname: str) -> Callable[[FunctionSigContext], FunctionLike] | None:
        """Return the hook that narrows a function's signature."""
        if not fullname.startswith(OURS):
            return None
        from cloaca.mypy import hooks  # noqa: PLC0415 - see above

        return hooks.FUNCTION_SIGNATURES.get(fullname)

    def report_config_data(self, ctx: ReportConfigContext) -> Any:
        """Return what a module says in metadata, which mypy forgets: with it, its cache knows of a change."""
        return aliases_of(ctx.path)

    def get_customize_class_mro_hook(self, fullname: str) -> Callable[[ClassDefContext], None] | None:
        """Return the hook that notes of every class what mypy forgets."""
        from cloaca.mypy import hooks  # noqa: PLC0415 - see above

        return hooks.remember


def plugin(version: str) -> type[Plugin]:
    """Return the plugin; mypy calls this with its own version."""
    return CloacaPlugin


def _digest() -> str:
    """A hash of this package's sources: mypy drops its caches when it changes."""
    package = Path(__file__).parents[1]
    folders = (package / "mypy", package / "contract", package / "algebra")
    files = sorted(path for folder in folders for path in folder.glob("*.py"))
    return sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]


__version__ = _digest()
