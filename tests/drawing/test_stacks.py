"""A wide fan becomes one shape only if its shapes are alike, and the stack says the worst that is in it."""

from __future__ import annotations

from hypothesis import given

from cloaca.drawing import Picture
from cloaca.drawing.stacks import FOLD_ABOVE, folded
from tests.drawing.pictures import picture, pictures, quickly, stages

FAN = [f"f_{number}" for number in range(1, FOLD_ABOVE + 2)]


def names(drawn: Picture) -> set[str]:
    return {shape.name for shape in drawn.shapes}


def test_one_more_than_enough_are_folded() -> None:
    assert names(folded(picture(stages("a", " ".join(FAN), "z"))).picture) == {"a", "f_1", "z"}
    assert len(names(folded(picture(stages("a", " ".join(FAN[1:]), "z"))).picture)) == FOLD_ABOVE + 2


def test_those_that_lead_elsewhere_stay() -> None:
    drawn = folded(picture(stages("a", " ".join(FAN), "z"), stages("f_3", "other"))).picture
    assert len(names(drawn)) == len(FAN) + 3


def test_those_in_a_frame_of_their_own_stay() -> None:
    drawn = folded(picture(stages("a", " ".join([*FAN, "g"])), frames={"when x": "g"})).picture
    assert names(drawn) == {"a", "f_1", "g"}


def test_the_most_urgent_status_is_shown_and_all_are_counted() -> None:
    states = {**dict.fromkeys(FAN, "succeeded"), "f_9": "failed", "f_8": "running"}
    drawn = folded(picture(names=" ".join(FAN), states=states)).picture
    assert drawn.states == {"f_1": "failed"}
    assert drawn.shapes[0].detail == f"1 failed, 1 running, {len(FAN) - 2} succeeded"


@quickly
@given(pictures())
def test_every_shape_is_shown_or_in_a_stack(drawn: Picture) -> None:
    small = folded(drawn, above=1)
    inside = {name for stack in small.stacks.values() for name in stack}
    assert names(small.picture) | inside == names(drawn)
    assert small.stacks.keys() <= names(small.picture)
    assert not (inside - small.stacks.keys()) & names(small.picture)
