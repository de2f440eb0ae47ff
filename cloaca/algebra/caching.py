"""``cache=`` on a task, as a value: how old a result may be that is used instead of running the body.

It knows no results and no clock.
"""

from __future__ import annotations

from datetime import timedelta
from math import inf, isnan
from typing import TYPE_CHECKING, Any, TypeAlias

from cloaca.algebra.retries import Seconds, in_seconds

if TYPE_CHECKING:
    from cloaca.algebra.declarations import Signature
    from cloaca.algebra.tasks import Task

CacheAge: TypeAlias = Seconds | bool
"""Seconds or a ``timedelta``; True for any age."""


def cache_age_s(cache: object) -> float | None:
    """Return the age in seconds that ``cache=`` stands for: infinity for any, None for no cache.

    Raises ValueError for what is not above 0, TypeError for what is no age.

    >>> cache_age_s(timedelta(hours=1)), cache_age_s(True), cache_age_s(None)
    (3600.0, inf, None)
    """
    if cache is None or cache is False:
        return None
    if cache is True:
        return inf
    if not isinstance(cache, int | float | timedelta):
        raise TypeError(f"cache={cache!r}: write cache=timedelta(hours=1), a number of seconds, or True for any age")
    age_s = in_seconds(cache)
    if isnan(age_s) or age_s <= 0:
        raise ValueError(f"cache={cache!r}: results are reused up to an age above 0; None means never")
    return age_s


def check_cacheable(task: Task[Any, Any, Any, ..., Any]) -> None:
    """Raise TypeError if a task is cached that can't be."""
    if task.is_cached and (problem := uncacheable(task.name, task.signature, task.undo)):
        raise TypeError(problem)


def uncacheable(name: str, signature: Signature[Any], undo: object) -> str | None:
    """Return why there is nothing to reuse of a task, or why reusing it would undo another run's work; None if neither.

    ``undo`` is what undoes it, if anything.
    """
    if signature.output is None:
        return f'Task "{name}" writes nothing, so there is no result to cache: drop cache='
    if signature.session is not None:
        return f'Task "{name}" writes to a session, which no cache can do in its place: drop cache='
    if undo is not None:
        return (
            f'Task "{name}" has a compensation and a cache, but what a run takes from the cache another run has '
            "done, and this one can't undo it: drop one of the two"
        )
    return None
