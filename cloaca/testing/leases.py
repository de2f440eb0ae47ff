"""Leases in a simulation: until when each session's lasts, as far as the store was told, and what waiting does to them.

While nothing but heartbeats happens, time is skipped: the leases of the living last as much longer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import inf
from typing import Any

from cloaca.ports import Batch
from cloaca.testing.loops import NothingLeft
from cloaca.testing.scenes import LEASE_S, Scene
from cloaca.testing.worlds import START

FRESH_S = LEASE_S * 3 / 5  # what is left, at least, of the lease of a worker that renews it as it should


class Leases:
    """Until when the lease of each session lasts, in seconds since the epoch."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self.ends: dict[int, float] = {}
        self._seen: set[int] = set()  # over, and a living worker has looked since
        self._looked: dict[int, int] = {}  # at which step each session has looked for work
        self._written = 0  # at which step something was written, or could not be
        self._moments: set[float] = set()  # when parked runs go on, unless a worker has looked since

    def __contains__(self, session: int) -> bool:
        return session in self.ends

    def written(self) -> None:
        """Something was written, or could not be: whoever looks for work may find some."""
        self._written = self._scene.loop.steps

    def looked(self, session: int, at: float, renew_until: float | None) -> None:
        """A worker has looked for work, and for the dead, and has maybe renewed its own lease."""
        self._looked[session] = self._scene.loop.steps
        if renew_until is not None and session in self.ends:
            self.ends[session] = max(self.ends[session], renew_until)
        self._moments = {moment for moment in self._moments if moment > at}
        self._seen.update(other for other, end in self.ends.items() if end < at and other != session)

    def parked(self, moments: Iterable[float | None]) -> None:
        """Runs were given back to the store until some moment, None for ever."""
        self._moments.update(moment for moment in moments if moment is not None)

    def follow(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> None:
        """Know what an operation of the store has done to the leases."""
        match name:
            case "open_session":
                self.ends[result] = args[2]
            case "close_session":
                self.ends.pop(args[0], None)
            case "transact" | "commit" if args[0].renew_until is not None:
                self.ends[args[0].session] = args[0].renewed(self.ends.get(args[0].session, -inf))
            case "reap":
                spared = kwargs.get("sparing")
                self.ends = {s: end for s, end in self.ends.items() if end >= args[0] or s == spared}

    def extend(self, session: int, until: float) -> None:
        """Have a lease last until then."""
        scene = self._scene
        self.ends[session] = until
        scene.backend.now(scene.backend.store.transact(Batch(session, scene.clock.now(), renew_until=until)))

    def _may_renew(self, now: float) -> bool:
        """Whether a lease that runs short may still be renewed: one that is over is another's business."""
        return any(now <= end < now + FRESH_S for end in self.ends.values())

    def end(self, session: int) -> None:
        """Have a session taken for dead now."""
        scene = self._scene
        self.extend(session, scene.clock.now() - 1)
        scene.backend.now(scene.backend.store.reap(scene.clock.now()))
        self.ends.pop(session)

    def skip(self, until: float | None, living: Mapping[int, Any]) -> float:
        """Nothing but heartbeats happens until a time: return when something else does.

        The leases of ``living`` workers, by session, last as much longer. Raises NothingLeft if nothing ever happens:
        a lease that is over already, though a living worker has looked since, will never be noticed.
        """
        scene = self._scene
        others = {session: end for session, end in self.ends.items() if session not in living}
        expiries = {s: end - START.timestamp() - scene.clock.jumped_s + 0.001 for s, end in others.items()}
        unseen = any(end <= scene.loop.now for s, end in expiries.items() if s not in self._seen)
        now = scene.clock.now()
        if any(self.ends.get(session, now) - now < FRESH_S for session in living) and self._may_renew(now):
            return scene.loop.now  # the living renew their leases: not before that is seen are they spared to do it
        unaware = any(self._looked.get(session, 0) <= self._written for session in living)
        wakes = [at - START.timestamp() - scene.clock.jumped_s + 0.001 for at in self._moments if not scene.ended_at]
        overdue = any(at <= scene.loop.now for at in wakes)
        if living and scene.ended_at is None and (unseen or unaware or overdue):
            return scene.loop.now  # somebody may find something at the next look
        later = [at for at in (*expiries.values(), *wakes) if at > scene.loop.now]
        due = min([*later, *([] if until is None else [until])], default=None)
        if due is None:
            raise NothingLeft
        late = due - scene.loop.now
        for session, worker in living.items():
            if late > 0 and session in self.ends:
                self.extend(session, self.ends[session] + late)
                worker.commits.renew_at += late
        return due
