"""Every colour can be told from what is behind it, by the formula of WCAG 2."""

from __future__ import annotations

import pytest

from cloaca.drawing.palette import KINDS, PAGE, STATES, TAG, Ink


def luminance(color: str) -> float:
    channels = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("ink", [*KINDS.values(), *STATES.values(), TAG])
def test_texts_and_lines_stand_out_from_their_fill(ink: Ink) -> None:
    assert contrast(ink.text, ink.fill) >= 7
    assert contrast(ink.small, ink.fill) >= 7
    assert contrast(ink.line, ink.fill) >= 3
    assert contrast(ink.line, "#ffffff") >= 3


@pytest.mark.parametrize("page", ["#ffffff", "#1e1e1e", "#111827", "#0d1117", "#111111"])
def test_arrows_stand_out_from_light_and_dark_pages(page: str) -> None:
    assert contrast(PAGE, page) >= 4
