"""Pictures to draw: written by hand in a line, or made up by Hypothesis with the nastiest names it can think of.

Nothing here knows how a picture is drawn.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise, product

from hypothesis import settings
from hypothesis import strategies as st

from cloaca.drawing import Frame, Picture, Shape

# No deadline: how long one example takes says more about the machine than about the code.
quickly = settings(max_examples=25)

KINDS = ("task", "wait", "sleep", "each", "branch", "subflow", "sealed", "of another kind")
STATES = ("pending", "ready", "running", "waiting", "succeeded", "failed", "skipped", "cancelled", "odd")


def stages(*stages: str) -> set[tuple[str, str]]:
    """Give the arrows of ``a >> [b, c] >> d``, written as ``"a", "b c", "d"``."""
    return {arrow for here, there in pairwise(stages) for arrow in product(here.split(), there.split())}


def picture(
    *arrows: Iterable[tuple[str, str]],
    names: str = "",
    title: str = "",
    notes: Mapping[str, str] | None = None,
    kinds: Mapping[str, str] | None = None,
    frames: Mapping[str, str] | None = None,
    states: Mapping[str, str] | None = None,
) -> Picture:
    """Make a picture of plain shapes from its arrows and the names of shapes that have none."""
    every = {arrow for some in arrows for arrow in some}
    known = {*names.split(), *(name for arrow in every for name in arrow)}
    return Picture(
        title=title,
        shapes=tuple(
            Shape(name, name, kind=(kinds or {}).get(name, "task"), note=(notes or {}).get(name, ""))
            for name in sorted(known)
        ),
        arrows=frozenset(every),
        frames=tuple(Frame(label, frozenset(members.split())) for label, members in (frames or {}).items()),
        states=states or {},
    )


WORDS = (
    "end", "class", "style a:b#c;", "graph", "node", "subgraph", "n1", "f0", "<b>&amp;</b>", "]]>", "-->", "#35;",
    "\\N", '"', "\\", "`**`", "%%{init: {}}%%", "\x1b[31m", "\x00", "\ud800", "\u202e", "\n",
    "取得", "e\u0301", "👩‍🚀", "",
)  # fmt: skip
letters = st.characters() | st.sampled_from("\"'<>&#;:{}[]()|\\/`*_-+= \n\t\x00\x1b\x85\ud800\udfff\ufffe\u2028")
hostile = st.sampled_from(WORDS) | st.text(letters, max_size=12)
plain = st.from_regex("[a-z][a-z0-9_]{0,11}", fullmatch=True)


@st.composite
def pictures(draw: st.DrawFn, names: st.SearchStrategy[str] = hostile, max_size: int = 12) -> Picture:
    """Any picture: an acyclic graph with frames that may nest or overlap, kinds, notes and statuses."""
    order = draw(st.lists(names, unique=True, min_size=draw(st.integers(0, max_size)), max_size=max_size))
    earlier = {head: order[:index] for index, head in enumerate(order) if index}
    tails = {head: draw(st.sets(st.sampled_from(before), max_size=3)) for head, before in earlier.items()}
    groups = draw(st.lists(st.sets(st.sampled_from(order)), max_size=4)) if order else []
    return Picture(
        title=draw(names),
        shapes=tuple(
            Shape(name, name, draw(st.just("") | names), draw(st.sampled_from(KINDS)), draw(st.just("") | names))
            for name in order
        ),
        arrows=frozenset((tail, head) for head, before in tails.items() for tail in before),
        frames=tuple(Frame(draw(names), frozenset(group)) for group in groups),
        states=draw(st.just({}) | st.dictionaries(st.sampled_from([*order, "other"]), st.sampled_from(STATES))),
    )


@st.composite
def graphs(draw: st.DrawFn, max_size: int = 9) -> Picture:
    """A plain graph: short names, nothing but shapes and arrows, as many lines as will make it hard to draw."""
    size = draw(st.integers(1, max_size))
    order = draw(st.permutations([f"t{index}" for index in range(size)]))
    pairs = [(tail, head) for index, tail in enumerate(order) for head in order[index + 1 :]]
    return picture(draw(st.sets(st.sampled_from(pairs), max_size=14)) if pairs else set(), names=" ".join(order))


@st.composite
def nestings(draw: st.DrawFn) -> Picture:
    """A graph written with ``>>`` and ``[]``: series and parallels, one inside of the other."""
    arrows: set[tuple[str, str]] = set()
    count = 0

    def single() -> tuple[list[str], list[str]]:
        nonlocal count
        count += 1
        return [f"t{count}"], [f"t{count}"]

    def part(depth: int) -> tuple[list[str], list[str]]:
        parts = [part(depth - 1) for _ in range(draw(st.integers(1, 3)))] if depth else [single()]
        if depth % 2:
            return [name for first, _ in parts for name in first], [name for _, last in parts for name in last]
        for (_, last), (first, _) in pairwise(parts):
            arrows.update(product(last, first))
        return parts[0][0], parts[-1][1]

    first, last = part(draw(st.integers(0, 4)))
    return picture(arrows, names=" ".join((*first, *last)))
