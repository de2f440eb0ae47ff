"""Mermaid output: exactly the structure, ids that Mermaid can read, labels that it shows as they are."""

from __future__ import annotations

import re

from hypothesis import given

from cloaca.drawing import Picture, to_mermaid
from cloaca.drawing.lettering import legible
from cloaca.drawing.nesting import annotation, nested
from tests.drawing.pictures import picture, pictures, quickly, stages

NODE = re.compile(r'([A-Za-z][A-Za-z0-9_]*)(?:\[\[|\(\[|\{\{|\{|\[)"([^"]*)"(?:\]\]|\]\)|\}\}|\}|\])')
FRAME = re.compile(r'subgraph f[0-9]+\["[^"]*"\]')
ARROW = re.compile(r"(\w+) --> (\w+)")
ENTITY = re.compile(r"#([0-9]+);")
RESERVED = {"end", "class", "graph", "subgraph", "style", "default", "click", "flowchart"}


def lines_of(drawn: Picture) -> list[str]:
    return [line.strip() for line in to_mermaid(drawn).splitlines()]


def nodes_of(drawn: Picture) -> dict[str, str]:
    return {found[1]: found[2] for line in lines_of(drawn) if (found := NODE.fullmatch(line))}


def shown(text: str) -> str:
    """Undo the escaping, as Mermaid does, and collapse blanks, as HTML does."""
    return " ".join(ENTITY.sub(lambda entity: chr(int(entity[1])), text).split())


@quickly
@given(pictures())
def test_ids_are_unique_and_readable(drawn: Picture) -> None:
    nodes = nodes_of(drawn)
    assert len(nodes) == len(drawn.shapes)
    assert not RESERVED & {identifier.lower() for identifier in nodes}


@quickly
@given(pictures())
def test_labels_are_shown_as_they_are(drawn: Picture) -> None:
    _, loose = nested(drawn.frames)
    expected = [
        [" ".join(legible(part).split()) for part in (shape.label, shape.detail, annotation(shape, loose)) if part]
        for shape in drawn.shapes
    ]
    texts = [[shown(part) for part in text.split("<br/>")] for text in nodes_of(drawn).values()]
    assert sorted(texts) == sorted(
        parts if shape.label else ["", *parts] for parts, shape in zip(expected, drawn.shapes, strict=True)
    )


@quickly
@given(pictures())
def test_nothing_in_a_label_is_syntax(drawn: Picture) -> None:
    for text in nodes_of(drawn).values():
        assert not re.search(r"[<>&`*%{}\[\]|\\@$~]|#(?![0-9]+;)", text.replace("<br/>", ""))
        assert not re.search(r"style.*:\S*#.*;", text)


@quickly
@given(pictures())
def test_every_line_is_understood_and_every_arrow_is_there(drawn: Picture) -> None:
    first, *lines = lines_of(drawn)
    arrows = [found.groups() for line in lines if (found := ARROW.fullmatch(line))]
    frames = sum(bool(FRAME.fullmatch(line)) for line in lines)
    classes = sum(line.startswith(("classDef ", "class ")) for line in lines)
    assert first == "flowchart LR"
    assert len(set(arrows)) == len(arrows) == len(drawn.arrows)
    assert {end for arrow in arrows for end in arrow} <= nodes_of(drawn).keys()
    assert lines.count("end") == frames == len(nested(drawn.frames)[0])
    assert len(lines) == len(drawn.shapes) + len(arrows) + 2 * frames + classes


def test_names_become_ids_where_they_can() -> None:
    drawn = picture(stages("fetch", "wait_for:Approval each:pack each-pack end n1 取得"))
    assert list(nodes_of(drawn)) == ["fetch", "n1", "n2", "n3", "n4", "wait_for_Approval", "n6"]


def test_a_diamond_byte_by_byte() -> None:
    assert to_mermaid(picture(stages("fetch", "charge reserve", "ship"))) == (
        "flowchart LR\n"
        '    fetch["fetch"]\n'
        '    charge["charge"]\n'
        '    reserve["reserve"]\n'
        '    ship["ship"]\n'
        "    fetch --> charge\n"
        "    fetch --> reserve\n"
        "    charge --> ship\n"
        "    reserve --> ship"
    )


def test_frames_kinds_notes_and_states_byte_by_byte() -> None:
    drawn = picture(
        stages("a", "wait_for:Go", "c"),
        notes={"c": "on all_done"},
        kinds={"wait_for:Go": "wait"},
        frames={"when is_large": "wait_for:Go c"},
        states={"a": "succeeded", "wait_for:Go": "skipped", "c": "skipped"},
    )
    assert to_mermaid(drawn) == (
        "flowchart LR\n"
        '    a["a"]\n'
        '    subgraph f0["when is_large"]\n'
        '        wait_for_Go(["wait_for:Go"])\n'
        '        c["c<br/>on all_done"]\n'
        "    end\n"
        "    a --> wait_for_Go\n"
        "    wait_for_Go --> c\n"
        "    classDef succeeded fill:#e6f8ec,stroke:#22924e,color:#0f4526\n"
        "    class a succeeded\n"
        "    classDef skipped fill:#f6f7f9,stroke:#848f9f,color:#475059,stroke-dasharray:4 3\n"
        "    class wait_for_Go,c skipped"
    )


def test_arrows_that_follow_from_others_stay() -> None:
    assert "    a --> c" in to_mermaid(picture(stages("a", "b", "c"), stages("a", "c"))).splitlines()
