"""A picture in DOT, the language of Graphviz, for those who want another layout or another format.

It does not know how Graphviz lays a graph out; it only says what is in it, exactly: all shapes, all arrows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape

from cloaca.drawing.arrows import Arrow
from cloaca.drawing.lettering import legible
from cloaca.drawing.nesting import Level, annotation, nested, outlined
from cloaca.drawing.palette import PAGE, TAG, ink_of
from cloaca.drawing.pictures import Frame, Picture, Shape

__all__ = ["to_dot"]

_LOOKS = {
    "wait": "shape=oval, style=filled",
    "sleep": "shape=oval, style=filled",
    "each": "shape=box3d, style=filled",
    "branch": "shape=hexagon, style=filled",
    "subflow": "shape=component, style=filled",
    "sealed": "peripheries=2",
}


def to_dot(picture: Picture) -> str:
    """Write the picture in DOT.

    Every arrow is there; ``dot``'s companion ``tred`` can leave out those that follow from others. Names are the ids.
    Frames that nest are clusters; of two that overlap in part, the smaller one becomes a line in its shapes.

    >>> picture = Picture("p", (Shape("a", "a"), Shape("b", "b")), frozenset({("a", "b")}))
    >>> print(to_dot(picture))  # doctest: +ELLIPSIS
    digraph "p" {
        graph [...]
        node [...]
        edge [...]
        "a" [label="a", ...]
        "b" [label="b", ...]
        "a" -> "b"
    }
    """
    shapes = picture.sorted_shapes()
    frames, loose = nested(picture.frames)
    nodes = {shape.name: _node(shape, annotation(shape, loose), picture.states) for shape in shapes}
    place = {name: index for index, name in enumerate(nodes)}
    arrows = sorted(picture.arrows, key=lambda arrow: (place[arrow[0]], place[arrow[1]]))
    lines = [
        f"graph [rankdir=LR, label={_shown(picture.title)}, labelloc=t, labeljust=l, bgcolor=transparent,"
        f' fontname="Helvetica", fontcolor="{PAGE}"]',
        'node [shape=box, style="rounded,filled", fontname="Helvetica", fontsize=12]',
        f'edge [color="{PAGE}", arrowsize=0.7]',
        *_level(outlined(nodes, frames), nodes, frames),
        *(f"{_quoted(tail)} -> {_quoted(head)}{_arrow(picture, (tail, head))}" for tail, head in arrows),
    ]
    return "\n".join([f"digraph {_quoted(picture.title)} {{", *(f"    {line}" for line in lines), "}"])


def _arrow(picture: Picture, arrow: Arrow) -> str:
    label, is_backward = picture.labels.get(arrow), arrow in picture.backward
    look = [
        *(["dir=back"] if is_backward else ()),
        *(["style=dashed"] if is_backward or arrow in picture.dashed else ()),
        *([f'label={_shown(label)}, fontname="Helvetica", fontsize=10, fontcolor="{PAGE}"'] if label else ()),
    ]
    return f" [{', '.join(look)}]" if look else ""


def _node(shape: Shape, note: str, states: Mapping[str, str]) -> str:
    state = states.get(shape.name, "")
    ink = ink_of(shape.kind, state, stateful=bool(states))
    look = ", ".join(
        filter(
            None,
            (
                f'fillcolor="{ink.fill}", color="{ink.line}", fontcolor="{ink.text}"',
                _LOOKS.get(shape.kind, ""),
                f"tooltip={_shown(f'{shape.label}: {state}')}" if state else "",
            ),
        )
    )
    return f"{_quoted(shape.name)} [label={_label(shape, note)}, {look}]"


def _label(shape: Shape, note: str) -> str:
    small = [f'<br/><font point-size="9">{_marked_up(text)}</font>' for text in (shape.detail, note) if text]
    return f"<{_marked_up(shape.label or ' ')}{''.join(small)}>" if small else _shown(shape.label)


def _marked_up(text: str) -> str:
    # Graphviz feeds its XML parser in pieces, and a piece that ends with a bracket makes it fail.
    return escape(legible(text)).replace("]", "&#93;")


def _level(level: Level, nodes: Mapping[str, str], frames: Sequence[Frame]) -> Iterator[str]:
    yield from (nodes[name] for name in level.names)
    for index, inside in level.frames:
        yield f"subgraph cluster_{index} {{"
        yield (
            f'    graph [label={_shown(frames[index].label)}, style="rounded,dashed", color="{TAG.line}",'
            f' fontcolor="{TAG.line}", fontsize=10]'
        )
        yield from (f"    {line}" for line in _level(inside, nodes, frames))
        yield "}"


def _quoted(name: str) -> str:
    r"""Write an id; different names have different ids, whatever is in them.

    >>> print(_quoted('say "hi"\\ \n'))
    "say \"hi\"\\ \u{a}"
    """
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(letter if legible(letter) == letter else f"\\u{{{ord(letter):x}}}" for letter in escaped) + '"'


def _shown(text: str) -> str:
    """Write a text that Graphviz shows as it is: no escape and no entity in it counts."""
    safe = legible(text).replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;")
    return f'"{safe}"'
