"""Targets: ``module:workflow``, ``module``, ``path/to/file.py:workflow``; and how they are found.

It imports the user's module, as ``python -m`` would, with the current directory on the path; it knows nothing of runs.
A function without parameters that returns a workflow is as good as the workflow.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, TypeAlias

from cloaca.algebra.graphs import Graph
from cloaca.algebra.triggers import Trigger
from cloaca.cli.imports import import_file, import_module, loadable_names, user_code
from cloaca.cli.refusals import Refusal
from cloaca.contract.workflows import Workflow

AnyWorkflow: TypeAlias = Workflow[Any, Any, Any, Any]

_FORM = "Write it as module:workflow or path/to/file.py:workflow."


@dataclass(frozen=True, slots=True)
class Target:
    """A module, by name or by file, and what to take of it: a name, or None for the only workflow.

    >>> Target.parse("shop.jobs:orders")
    Target(module='shop.jobs', name='orders')
    >>> Target.parse("./jobs.py")
    Target(module='./jobs.py', name=None)
    """

    module: str
    name: str | None

    @classmethod
    def parse(cls, text: str) -> Target:
        """Return the target that ``text`` says. Raises Refusal."""
        module, colon, name = text.rpartition(":")
        if not colon or "/" in name or "\\" in name:
            module, name = text, ""
        if not module or (colon and module != text and not name):
            raise Refusal(f'"{text}" is no target', _FORM)
        return cls(module, name or None)

    @property
    def is_file(self) -> bool:
        """Whether the module is given by its file."""
        return self.module.endswith(".py") or "/" in self.module or "\\" in self.module

    def __str__(self) -> str:
        return f"{self.module}:{self.name}" if self.name else self.module


def load_workflow(text: str) -> AnyWorkflow:
    """Import a target and return its workflow.

    Raises:
        Refusal: there is no such module or workflow, or its import raises.
        ContractError: the module has a workflow or a task that breaks the contract.
    """
    target = Target.parse(text)
    module = load_module(target)
    return named_workflow(module, target) if target.name else _only_workflow(module, target)


def load_module(target: Target) -> ModuleType:
    """Import the module of a target. Raises as ``load_workflow`` does."""
    if target.is_file:
        return import_file(Path(target.module), _FORM)
    if not all(part.isidentifier() for part in target.module.split(".")):
        raise Refusal(f'"{target.module}" is no module\'s name', _FORM)
    module = import_module(target.module)
    if module is None:
        near = near_miss(target.module, loadable_names())
        raise Refusal(f'no module "{target.module}" in {Path.cwd()} or where Python looks{near}', _FORM)
    return module


def workflows_of(module: ModuleType) -> dict[str, AnyWorkflow]:
    """Return the workflows that are values of a module, by the first name that each has."""
    found: dict[str, AnyWorkflow] = {}
    for name, value in vars(module).items():
        if isinstance(value, Workflow) and value not in found.values():
            found[name] = value
    return found


def triggers_of(module: ModuleType, target: Target) -> list[Trigger[Any]]:
    """Return the trigger that a target names, or, of a whole module, all that are values in it."""
    if target.name is None:
        found = [value for value in vars(module).values() if isinstance(value, Trigger)]
        return list({id(trigger): trigger for trigger in found}.values())
    try:
        value = _attribute(module, target.name)
    except AttributeError:
        return []
    return [value] if isinstance(value, Trigger) else []


def builders_of(module: ModuleType) -> list[str]:
    """Return the functions of a module that are declared to return a workflow and need no argument."""
    return [
        name
        for name, value in vars(module).items()
        if isinstance(value, FunctionType) and value.__module__ == module.__name__ and _builds(value)
    ]


def _builds(function: FunctionType) -> bool:
    returns = function.__annotations__.get("return")
    declared = returns if isinstance(returns, str) else getattr(returns, "__name__", "")
    return declared.partition("[")[0].rpartition(".")[2] == "Workflow" and not _needed(function)


def _needed(function: FunctionType) -> list[str]:
    parameters = inspect.signature(function).parameters.values()
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.default is inspect.Parameter.empty and p.kind not in optional]


def named_workflow(module: ModuleType, target: Target) -> AnyWorkflow:
    """Return the workflow of a module by its variable, or else by its own name. Raises as ``load_workflow`` does."""
    assert target.name is not None
    workflows = workflows_of(module)
    try:
        value = _attribute(module, target.name)
    except AttributeError:
        found = next((w for w in workflows.values() if w.name == target.name), None)
        if found is None:
            raise _no_workflow(module, target, workflows) from None
        return found
    if isinstance(value, FunctionType) and not _needed(value):
        with user_code(f"{target.name}()"):
            value = value()
    if not isinstance(value, Workflow):
        raise Refusal(_what_it_is(target, value), *_listed(workflows))
    return value


def _attribute(module: ModuleType, path: str) -> object:
    value: object = module
    for part in path.split("."):
        value = getattr(value, part)
    return value


def _only_workflow(module: ModuleType, target: Target) -> AnyWorkflow:
    workflows = workflows_of(module)
    if len(workflows) == 1:
        return next(iter(workflows.values()))
    if not workflows:
        raise Refusal(
            f'"{target}" has no workflow', 'Close a graph there: orders = Workflow("orders", fetch >> charge)'
        )
    raise Refusal(f'"{target}" has {len(workflows)} workflows; say which', *(f"{target}:{name}" for name in workflows))


def _no_workflow(module: ModuleType, target: Target, workflows: Mapping[str, AnyWorkflow]) -> Refusal:
    near = near_miss(str(target.name), [*workflows, *builders_of(module), *(w.name for w in workflows.values())])
    return Refusal(f'"{target.module}" has no workflow "{target.name}"{near}', *_listed(workflows))


def _what_it_is(target: Target, value: object) -> str:
    if isinstance(value, FunctionType):
        return f'"{target}" is a function that needs arguments, not a workflow'
    advice = f': close it with Workflow("{target.name}", {target.name})' if isinstance(value, Graph) else ""
    return f'"{target}" is a {type(value).__name__}, not a workflow{advice}'


def _listed(workflows: Iterable[str]) -> list[str]:
    names = ", ".join(workflows)
    return [f"Its workflows: {names}." if names else "It has no workflow at all."]


def near_miss(name: str, known: Iterable[str]) -> str:
    """Return ``; did you mean ...?`` if something known is written alike.

    >>> near_miss("order", ["orders", "refunds"])
    '; did you mean "orders"?'
    """
    close = get_close_matches(name, list(dict.fromkeys(known)), n=1)
    return f'; did you mean "{close[0]}"?' if close else ""
