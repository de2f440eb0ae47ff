"""A picture that can't be drawn can't be made, and says why; the order of its parts does not matter."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloaca import Workflow, each, task
from cloaca.drawing import Frame, Picture, Shape, to_dot, to_mermaid, to_svg, to_text
from cloaca.drawing.arrows import in_order, needed
from cloaca.drawing.drafts import drafted
from tests.drawing.pictures import graphs, picture, pictures, quickly, stages

FORMATS = (to_mermaid, to_dot, to_svg, to_text)


def test_a_circle_is_refused_and_spelled_out() -> None:
    with pytest.raises(ValueError, match=r"^the arrows run in a circle: 'a' -> 'c' -> 'b' -> 'a'$"):
        picture({("a", "c"), ("c", "b"), ("b", "a"), ("x", "a"), ("b", "y")})
    with pytest.raises(ValueError, match=r"^the arrows run in a circle: 'a' -> 'a'$"):
        picture({("a", "a")})


def test_an_arrow_to_nowhere_is_refused_and_named() -> None:
    with pytest.raises(ValueError, match=r"^the arrow 'a' -> 'b' names an unknown shape: 'b'$"):
        Picture("p", (Shape("a", "a"),), frozenset({("a", "b")}))


def test_a_frame_around_nothing_known_is_refused_and_named() -> None:
    with pytest.raises(ValueError, match=r"^the frame 'when x' names an unknown shape: 'b'$"):
        Picture("p", (Shape("a", "a"),), frozenset(), (Frame("when x", frozenset("ab")),))


def test_two_shapes_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^2 shapes share the name 'a'$"):
        Picture("p", (Shape("a", "a"), Shape("a", "b")), frozenset())


def test_a_picture_is_a_value() -> None:
    one, other = (picture(stages("a", "b c", "d"), states={"a": "failed"}) for _ in "12")
    assert one == other
    assert hash(one) == hash(other)


@pytest.mark.parametrize("draw", FORMATS)
@quickly
@given(pictures(), st.randoms(use_true_random=False))
def test_order_does_not_matter(draw: Callable[[Picture], str], drawn: Picture, chance: random.Random) -> None:
    shapes, frames, states = list(drawn.shapes), list(drawn.frames), list(drawn.states.items())
    chance.shuffle(shapes)
    chance.shuffle(frames)
    chance.shuffle(states)
    arrows = frozenset(chance.sample(sorted(drawn.arrows), len(drawn.arrows)))
    assert draw(Picture(drawn.title, tuple(shapes), arrows, tuple(frames), dict(states))) == draw(drawn)


@pytest.mark.parametrize("draw", FORMATS)
@quickly
@given(pictures())
def test_output_can_be_encoded_and_ends_without_a_line_break(draw: Callable[[Picture], str], drawn: Picture) -> None:
    text = draw(drawn)
    assert text.encode("utf-8")[-1:] != b"\n"


@quickly
@given(graphs())
def test_shapes_are_sorted_topologically_ties_by_name(drawn: Picture) -> None:
    order = [shape.name for shape in drawn.sorted_shapes()]
    done: set[str] = set()
    for name in order:
        ready = {
            other
            for other in order
            if other not in done and all(tail in done for tail, head in drawn.arrows if head == other)
        }
        assert name == min(ready)
        done.add(name)


@quickly
@given(graphs(), st.sets(st.sampled_from([f"t{index}" for index in range(9)])))
def test_only_arrows_that_follow_are_left_out(drawn: Picture, telling: set[str]) -> None:
    order = in_order({shape.name for shape in drawn.shapes}, drawn.arrows)
    kept = needed(order, drawn.arrows, telling)

    def leads(tail: str, head: str) -> bool:
        further = (there for here, there in drawn.arrows if here == tail and there not in telling)
        return any(there == head or leads(there, head) for there in further)

    for tail, head in drawn.arrows:
        detours = (there for here, there in drawn.arrows if here == tail and there != head and there not in telling)
        follows = head not in telling and tail not in telling and any(leads(there, head) for there in detours)
        assert ((tail, head) in kept) is not follows


@task
def pay() -> None: ...


@task
def refund() -> None: ...


@task
def invoice() -> None: ...


@task
def withdraw() -> None: ...


@task
def ship() -> None: ...


@task
def tell() -> None: ...


UNDONE = pay.compensate(refund).rescue(invoice.compensate(withdraw)) >> ship


def test_compensations_and_callbacks_are_shapes() -> None:
    drawn = Workflow("w", UNDONE, on_failure=tell, on_cancel=tell).picture({"refund": "succeeded"})
    assert {(shape.name, shape.kind, shape.note) for shape in drawn.shapes} == {
        ("pay", "task", ""),
        ("refund", "undo", ""),
        ("invoice", "task", ""),
        ("withdraw", "undo", ""),
        ("ship", "task", ""),
        ("tell", "callback", "on_failure, on_cancel"),
    }
    assert drawn.backward == {("pay", "refund"), ("invoice", "withdraw")}
    assert drawn.dashed == {("pay", "invoice")}
    assert drawn.arrows == drawn.backward | drawn.dashed | {("pay", "ship")}


def test_an_arrow_to_a_compensation_points_back_and_is_dashed() -> None:
    drawn = Workflow("w", UNDONE)
    assert [line.strip() for line in drawn.to_mermaid().splitlines()[-6:]] == [
        'pay -.->|"rescue"| invoice',
        "pay ~~~ refund",
        'refund -.->|"undoes"| pay',
        "pay --> ship",
        "invoice ~~~ withdraw",
        'withdraw -.->|"undoes"| invoice',
    ]
    dot = drawn.to_dot()
    assert '"pay" -> "refund" [dir=back, style=dashed, label="undoes"' in dot
    assert '"pay" -> "invoice" [style=dashed, label="rescue"' in dot
    assert drawn.to_text().splitlines() == [
        "pay ─┬─ invoice (rescue) ───── withdraw (undoes invoice)",
        "     ├─ refund (undoes pay)",
        "     └─ ship",
    ]


def test_a_compensation_inside_of_a_graph_in_one_is_beside_what_it_undoes() -> None:
    drawn = (each(UNDONE, over="bills", into="paid").named("money") >> tell).picture()
    assert drawn.backward == {("money/pay", "money/refund"), ("money/invoice", "money/withdraw")}


def test_what_undoes_two_tasks_of_a_graph_is_drawn_once() -> None:
    drawn = (pay.compensate(refund) >> ship.compensate(refund)).picture()
    assert sorted(shape.name for shape in drawn.shapes) == ["pay", "refund", "ship"]
    assert drawn.backward == {("pay", "refund"), ("ship", "refund")}
    assert "refund (undoes pay, undoes ship)" in to_text(drawn)


def test_a_compensation_that_is_in_the_graph_too_is_a_note() -> None:
    drawn = (refund >> pay.compensate(refund)).picture()
    assert {shape.name: shape.note for shape in drawn.shapes} == {"refund": "", "pay": "undone by refund"}
    assert drawn.arrows == {("refund", "pay")}


def test_compensations_of_a_wide_fan_are_folded_with_it() -> None:
    fan = tuple(Shape(f"t{index}", f"t{index}") for index in range(50))
    arrows = frozenset((shape.name, "undo") for shape in fan)
    drawn = drafted(Picture("p", (*fan, Shape("undo", "undo")), arrows, backward=arrows), boxed=True)
    assert drawn.backward == {("t0", "undo")}
