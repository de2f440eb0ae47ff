"""DOT output: exactly the structure, quoted so that no name is syntax; Graphviz agrees where it is installed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest
from hypothesis import example, given, settings

from cloaca.drawing import Picture, to_dot
from cloaca.drawing.nesting import nested
from tests.drawing.pictures import hostile, picture, pictures, plain, quickly, stages

QUOTED = re.compile(r'"(?:[^"\\\n]|\\.)*"')
MARKED_UP = re.compile(r"label=<.*?>, (?=fillcolor)")


def skeleton(text: str) -> str:
    """Take all strings and marked-up labels out: what is left must be the plainest syntax."""
    return QUOTED.sub("S", MARKED_UP.sub("label=S, ", text))


@quickly
@given(pictures())
def test_quotes_are_balanced_whatever_is_in_them(drawn: Picture) -> None:
    text = skeleton(to_dot(drawn))
    assert re.fullmatch(r"[\w\s={},;.\[\]>-]*", text, re.ASCII)
    assert text.count("[") == text.count("]")
    assert text.count("{") == text.count("}") == 1 + len(nested(drawn.frames)[0])


@quickly
@given(pictures())
def test_every_shape_and_every_arrow_is_there(drawn: Picture) -> None:
    lines = [line.strip() for line in skeleton(to_dot(drawn)).splitlines()]
    assert sum(line.startswith("S [") for line in lines) == len(drawn.shapes)
    assert lines.count("S -> S") == len(drawn.arrows)
    ids = {found[0] for line in to_dot(drawn).splitlines() if (found := QUOTED.match(line.strip()))}
    assert len(ids) == len(drawn.shapes)


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
@settings(max_examples=15)
@given(pictures(hostile | plain, max_size=6))
@example(picture(names="a", notes={"a": "]"}))
def test_graphviz_reads_the_same_graph(drawn: Picture) -> None:
    done = subprocess.run(["dot", "-Tdot_json"], input=to_dot(drawn).encode(), capture_output=True, check=True)
    assert b"rror" not in done.stderr
    read = json.loads(re.sub(rb"[\x00-\x1f]", b" ", done.stdout).decode("utf-8", "replace"))
    objects = read.get("objects", [])
    assert len([item for item in objects if "nodes" not in item and "fillcolor" in item]) == len(drawn.shapes)
    assert len(read.get("edges", [])) == len(drawn.arrows)


def test_a_frame_with_states_byte_by_byte() -> None:
    drawn = picture(
        stages("a", 'say_"b"'),
        title="orders",
        notes={"a": "on all_done"},
        frames={"when x": 'say_"b"'},
        states={"a": "failed"},
    )
    assert to_dot(drawn).splitlines() == [
        'digraph "orders" {',
        '    graph [rankdir=LR, label="orders", labelloc=t, labeljust=l, bgcolor=transparent, fontname="Helvetica",'
        ' fontcolor="#75808f"]',
        '    node [shape=box, style="rounded,filled", fontname="Helvetica", fontsize=12]',
        '    edge [color="#75808f", arrowsize=0.7]',
        '    "a" [label=<a<br/><font point-size="9">on all_done</font>>, fillcolor="#fdeaea", color="#d33131",'
        ' fontcolor="#7a1515", tooltip="a: failed"]',
        "    subgraph cluster_0 {",
        '        graph [label="when x", style="rounded,dashed", color="#c56a05", fontcolor="#c56a05", fontsize=10]',
        r'        "say_\"b\"" [label="say_\"b\"", fillcolor="#f8fafc", color="#7f8ea5", fontcolor="#334155"]',
        "    }",
        r'    "a" -> "say_\"b\""',
        "}",
    ]


def test_arrows_that_follow_from_others_stay() -> None:
    assert '    "a" -> "c"' in to_dot(picture(stages("a", "b", "c"), stages("a", "c"))).splitlines()
