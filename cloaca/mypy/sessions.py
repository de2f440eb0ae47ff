"""What the plugin keeps while mypy checks one module: what was read of models, and what the module depends on.

It decides nothing; it is forgotten when the next module, or another pass of the daemon, begins.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Final

from mypy.checker import TypeChecker
from mypy.errorcodes import ErrorCode
from mypy.nodes import Context, Expression
from mypy.server.trigger import make_trigger, make_wildcard_trigger
from mypy.types import Instance, Type

from cloaca.errors import Violation
from cloaca.mypy.codes import CODES, UNCHECKED
from cloaca.mypy.declared import declared_places, is_generic, promised_places, rebound_places
from cloaca.mypy.hints import MypyHints
from cloaca.mypy.nodes import StaticNodes
from cloaca.mypy.structures import Structures
from cloaca.mypy.terms import SHAPES

_MARK: Final = "\u200b"  # around what tells names apart, and is not shown
_MARKED: Final = re.compile(f"{_MARK}[^{_MARK}]*{_MARK}")


def distinct(name: str, place: str) -> str:
    """Return a name that is shown as ``name``, and is another one for each place."""
    return f"{name}{_MARK}{place}{_MARK}"


@contextmanager
def unfiltered(api: TypeChecker) -> Iterator[None]:
    """Report past whoever collects errors to see whether an operator or an overload fits."""
    errors = api.errors
    watchers, errors._watchers = errors._watchers, []
    try:
        yield
    finally:
        errors._watchers = watchers


class Session:
    """One checker's pass over one module."""

    def __init__(self, api: TypeChecker) -> None:
        self.api = api
        self.structures = Structures()
        self.hints = MypyHints(api)
        self.nodes = StaticNodes(self.hints)
        self.reported = 0  # how often something was said
        self._depended: set[tuple[str, Instance]] = set()

    @cached_property
    def modules(self) -> frozenset[str]:
        """The names of all modules of the build."""
        return frozenset(self.api.modules)

    @cached_property
    def _declared(self) -> Mapping[Context, Expression | None]:
        return declared_places(self.api)

    def is_declared(self, context: Context) -> bool:
        """Return whether a type that is wanted of an expression is declared there, not inferred from itself."""
        callee = self._declared.get(context)
        return context in self._declared if callee is None else not is_generic(callee, self.api)

    @cached_property
    def _promised(self) -> Mapping[Context, list[Type]]:
        return promised_places(self.api, self._declared)

    def promised(self, context: Context) -> list[Type]:
        """Return the types that are declared where a variable stands to which this expression is assigned."""
        return self._promised.get(context, [])

    @cached_property
    def rebound(self) -> Container[Context]:
        """The expressions that are assigned to a variable which elsewhere is assigned another."""
        return rebound_places(self.api)

    def report(self, violation: Violation, context: Context) -> None:
        """Report a violation, also from where mypy only tries what fits: an operator, an overload."""
        self.say(violation.message, context, CODES[violation.code])

    def unchecked(self, text: str, context: Context) -> None:
        """Say, to whoever asked to hear it, that something was not checked."""
        self.say(text, context, UNCHECKED)

    def say(self, text: str, context: Context, code: ErrorCode) -> None:
        """Report an error under a code."""
        self.reported += 1
        if not self.api.current_node_deferred:
            with unfiltered(self.api):
                self.api.fail(_MARKED.sub("", text), context, code=code)

    def read(self, models: Iterable[Instance]) -> bool:
        """Return whether all fields of these models can be seen, and depend on them."""
        found = list(models)
        self.depend(found)
        return all(map(self.hints.is_known, found))

    def depend(self, models: Iterable[Instance]) -> None:
        """Have the module checked again when one of these models changes, or a class in its fields."""
        target = self.api.tscope.current_full_target()
        for model in models:
            if (target, model) in self._depended:
                continue
            self._depended.add((target, model))
            for name in self.hints.classes(model):
                # The class itself, if its bases change, and whatever it has.
                for trigger in (make_trigger(name), make_wildcard_trigger(name)):
                    self.api.tree.plugin_deps.setdefault(trigger, set()).add(target)
                self.api.module_refs.update(self._modules_of(name))

    def _modules_of(self, name: str) -> Iterable[str]:
        while "." in name:
            name = name.rpartition(".")[0]
            if name in self.modules:
                return (name,)
        return ()


_current: Session | None = None


def session(api: TypeChecker) -> Session:
    """Return the session of this pass. ``module_refs`` is emptied at the start of each, so that a mark shows it."""
    global _current  # noqa: PLW0603 - mypy checks one module at a time
    if _current is None or _current.api is not api or SHAPES not in api.module_refs:
        api.module_refs.add(SHAPES)
        _current = Session(api)
    return _current
