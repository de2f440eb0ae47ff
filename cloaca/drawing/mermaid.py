"""A picture as a Mermaid flowchart, which GitHub, GitLab and many wikis draw by themselves.

It does not know how Mermaid lays a graph out; it only says what is in it, exactly: all shapes, all arrows.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from cloaca.drawing.arrows import Arrow
from cloaca.drawing.lettering import legible
from cloaca.drawing.nesting import Level, annotation, nested, outlined
from cloaca.drawing.palette import STATES
from cloaca.drawing.pictures import Frame, Picture, Shape

__all__ = ["to_mermaid"]

ID_LENGTH_MAX = 60

_BRACKETS = {
    "wait": ("([", "])"),
    "sleep": ("([", "])"),
    "each": ("{{", "}}"),
    "branch": ("{", "}"),
    "subflow": ("[[", "]]"),
    "sealed": ("[[", "]]"),
}
_FOREIGN = re.compile("[^A-Za-z0-9_]+")
_NUMBERED = re.compile("[nf][0-9]+")
_RESERVED = frozenset({
    "acc_descr", "acc_title", "accdescr", "acctitle", "bt", "call", "class", "classdef", "click", "default",
    "direction", "end", "flowchart", "graph", "href", "interpolate", "linkstyle", "lr", "rl", "style",
    "subgraph", "tb", "td", "v",
})  # fmt: skip
_JOINING = "_.-:"  # plain between letters and digits, Markdown or syntax elsewhere
_INNOCENT = " ,/="


def to_mermaid(picture: Picture) -> str:
    """Write the picture as a Mermaid flowchart.

    Every arrow is there: the text is a record of the structure too, and gets compared. Shapes keep their names as ids
    where Mermaid can read them, so that a change of one task changes few lines; the others are numbered. Frames that
    nest are subgraphs; of two that overlap in part, the smaller one becomes a line in its shapes.

    >>> picture = Picture("p", (Shape("fetch", "fetch"), Shape("end", "the end")), frozenset({("fetch", "end")}))
    >>> print(to_mermaid(picture))
    flowchart LR
        fetch["fetch"]
        n1["the end"]
        fetch --> n1
    """
    shapes = picture.sorted_shapes()
    frames, loose = nested(picture.frames)
    ids = _ids([shape.name for shape in shapes])
    nodes = {shape.name: _node(ids[shape.name], shape, annotation(shape, loose)) for shape in shapes}
    place = {shape.name: index for index, shape in enumerate(shapes)}
    arrows = sorted(picture.arrows, key=lambda arrow: (place[arrow[0]], place[arrow[1]]))
    lines = [
        *_level(outlined(nodes, frames), nodes, frames),
        *(line for arrow in arrows for line in _arrow(picture, arrow, ids)),
        *_classes(shapes, ids, picture.states),
    ]
    return "\n".join(["flowchart LR", *(f"    {line}" for line in lines)])


def _arrow(picture: Picture, arrow: Arrow, ids: Mapping[str, str]) -> Iterator[str]:
    """Write an arrow. One that points backward goes after a link that is not seen, so that its ends stand in order."""
    tail, head = (ids[end] for end in arrow)
    is_backward, label = arrow in picture.backward, picture.labels.get(arrow)
    line = "-.->" if is_backward or arrow in picture.dashed else "-->"
    labelled = f'{line}|"{_escaped(label)}"|' if label else line
    if is_backward:
        yield f"{tail} ~~~ {head}"
        tail, head = head, tail
    yield f"{tail} {labelled} {head}"


def _ids(names: Sequence[str]) -> dict[str, str]:
    """Give each name an id of its own that Mermaid can read: a legible one if there is one, else a number."""
    readable = {name: _FOREIGN.sub("_", name).strip("_") for name in names}
    wanted = Counter(readable.values())
    return {
        name: identifier if _is_id(identifier) and (identifier == name or wanted[identifier] == 1) else f"n{index}"
        for index, (name, identifier) in enumerate(readable.items())
    }


def _is_id(text: str) -> bool:
    fits = text[:1].isalpha() and len(text) <= ID_LENGTH_MAX
    return fits and not _NUMBERED.fullmatch(text) and text.lower() not in _RESERVED


def _node(identifier: str, shape: Shape, note: str) -> str:
    opening, closing = _BRACKETS.get(shape.kind, ("[", "]"))
    text = "<br/>".join(map(_escaped, filter(None, (shape.label or " ", shape.detail, note))))
    return f'{identifier}{opening}"{text}"{closing}'


def _level(level: Level, nodes: Mapping[str, str], frames: Sequence[Frame]) -> Iterator[str]:
    yield from (nodes[name] for name in level.names)
    for index, inside in level.frames:
        yield f'subgraph f{index}["{_escaped(frames[index].label)}"]'
        yield from (f"    {line}" for line in _level(inside, nodes, frames))
        yield "end"


def _classes(shapes: Sequence[Shape], ids: Mapping[str, str], states: Mapping[str, str]) -> Iterator[str]:
    for state, ink in STATES.items():
        members = [ids[shape.name] for shape in shapes if states.get(shape.name) == state]
        if members:
            dashes = ",stroke-dasharray:4 3" if state == "skipped" else ""
            yield f"classDef {state} fill:{ink.fill},stroke:{ink.line},color:{ink.text}{dashes}"
            yield f"class {','.join(members)} {state}"


def _escaped(text: str) -> str:
    """Write a text so that Mermaid shows it as it is: neither quotes nor HTML, entities or Markdown in it count.

    Mermaid cuts a character off what looks to it like ``style …:#…;`` in any line, so where there are entities there
    is no bare colon.
    """
    letters = legible(text).strip() or "\N{NO-BREAK SPACE}"
    plain = [_is_plain(letters, at) for at in range(len(letters))]
    if not all(plain):
        plain = [fine and letter != ":" for fine, letter in zip(plain, letters, strict=True)]
    return "".join(letter if fine else f"#{ord(letter)};" for fine, letter in zip(plain, letters, strict=True))


def _is_plain(text: str, at: int) -> bool:
    letter = text[at]
    if letter in _JOINING:
        return text[at - 1 : at].isalnum() and text[at + 1 : at + 2].isalnum()
    return letter.isalnum() or not letter.isascii() or letter in _INNOCENT
