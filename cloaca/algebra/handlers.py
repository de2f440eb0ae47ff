"""Which task may be the handler of which: a rule of the language, for every front end. It knows names and rules."""

from __future__ import annotations

from typing import Protocol


class Rescuable(Protocol):
    """What of a task counts when it is given a handler, or is one; a type checker has tasks of its own."""

    @property
    def name(self) -> str: ...
    @property
    def handler(self) -> object: ...
    @property
    def guards(self) -> tuple[object, ...]: ...
    @property
    def rule(self) -> str: ...
    @property
    def is_cached(self) -> bool: ...


def unfit_handler(task: Rescuable, handler: Rescuable) -> str | None:
    """Return why a task can't be the handler of another, None if it can."""
    who = f'The handler "{handler.name}" of task "{task.name}"'
    if task.handler is not None:
        return f'Task "{task.name}" has a handler already; let one handler do what both should'
    if handler.handler is not None:
        return f"{who} has a handler itself: nothing rescues a rescue; use retry="
    if handler.guards or handler.rule != "none_failed":
        return (
            f'{who} has a condition or a rule of its own, but it runs exactly if "{task.name}" has failed; '
            f'put it on "{task.name}"'
        )
    if handler.is_cached:
        return (
            f"{who} is cached, but a result is kept under what the task has read, and not under how it failed: "
            "drop cache="
        )
    return None
