"""The elements of one fan-out: which are at work, which is next, when all are done.

It counts indexes. What an element's instance does is a run of its own in the machine's eyes (``states``), and what is
stored about it is read elsewhere. Cost of a step: constant.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping


class Window:
    """How far a fan-out has come. Elements begin in their order, ``limit`` of them are at work at a time.

    Attributes:
        count, limit: how many elements there are, and how many may be at work at a time, at least 1.
        begun: how many have begun: those before this index.
        alive: those that have begun and are not done.
        succeeded: how many have succeeded. ``failed``: which have failed, in the order in which they did.
        closed: whether no more begin, because what they would come to could not be kept.
    """

    __slots__ = ("alive", "begun", "closed", "count", "failed", "limit", "succeeded")

    def __init__(self, count: int, limit: int) -> None:
        assert count >= 0, f"{count} elements"
        assert limit >= 1, f"a limit of {limit}"
        self.count, self.limit = count, limit
        self.begun = self.succeeded = 0
        self.alive: set[int] = set()
        self.failed: list[int] = []
        self.closed = False

    @property
    def over(self) -> bool:
        """Whether nothing is at work and nothing will begin."""
        return not self.alive and (self.closed or self.begun == self.count)

    @property
    def complete(self) -> bool:
        """Whether every element has succeeded."""
        return self.succeeded == self.count

    def admit(self) -> int | None:
        """Begin the next element; None if there is none, or no room for it."""
        if self.closed or self.begun == self.count or len(self.alive) >= self.limit:
            return None
        index = self.begun
        self.begun += 1
        self.alive.add(index)
        return index

    def settle(self, index: int, *, succeeded: bool) -> None:
        """Count an element at work as done."""
        assert index in self.alive, f"element {index} is not at work"
        self.alive.remove(index)
        if succeeded:
            self.succeeded += 1
        else:
            self.failed.append(index)

    def close(self) -> None:
        """Begin no more elements."""
        self.closed = True


def the_limit_is_kept(window: Window) -> bool:
    """No more elements are at work than may be."""
    return len(window.alive) <= window.limit


def every_element_is_counted_once(window: Window) -> bool:
    """What has begun is at work, has succeeded or has failed."""
    failed = set(window.failed)
    counted = len(window.alive) + window.succeeded + len(failed) == window.begun <= window.count
    return counted and len(failed) == len(window.failed) and failed.isdisjoint(window.alive)


def elements_begin_in_order(window: Window) -> bool:
    """Nothing at work or failed is beyond what has begun."""
    return all(0 <= index < window.begun for index in (*window.alive, *window.failed))


def a_fan_out_goes_on(window: Window) -> bool:
    """While it is not over, something is at work or may begin: it neither hangs nor misses its end."""
    may_begin = not window.closed and window.begun < window.count
    return window.over != (bool(window.alive) or may_begin)


def it_is_complete_only_if_all_succeeded(window: Window) -> bool:
    """A fan-out is complete if every element has begun and none failed."""
    every = window.begun == window.count and not window.failed and not window.alive
    return window.complete == every


WINDOW_INVARIANTS: Mapping[str, Callable[[Window], bool]] = {
    invariant.__name__: invariant
    for invariant in (
        a_fan_out_goes_on,
        elements_begin_in_order,
        every_element_is_counted_once,
        it_is_complete_only_if_all_succeeded,
        the_limit_is_kept,
    )
}
