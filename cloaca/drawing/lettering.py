"""How wide a text is, and how it is made to fit.

It knows characters, not pictures: neither shapes nor output formats appear here.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

__all__ = ["columns", "legible", "pixels", "shortened"]

ELLIPSIS = "…"
NON_CHARACTER = 0xFFFE  # the last two of every 65,536 code points are none
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

# Overrides of the writing direction would reorder the text around a label, not only the label itself.
_DIRECTION = frozenset("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

# Advance widths in thousandths of the font size, after Helvetica; other letters count as _AVERAGE.
_AVERAGE = 556
_ADVANCES = {
    "'": 191, "ijl|": 222, "! ,./:;\\[]ftI": 278, "()-`r\"{}": 340, "*^": 469,
    "Jckszvxy": 500, "_abdeghnopqu0123456789": 556, "FTZL+<=>~?": 611,
    "ABEKPSVXY&": 667, "CDHNRUw": 722, "GOQ": 778, "mM": 833, "%@W": 1000,
}  # fmt: skip
_ADVANCE = {letter: advance for letters, advance in _ADVANCES.items() for letter in letters}


def legible(text: str) -> str:
    """Give the text as one line that is safe to show: in XML, in a terminal, in a sentence.

    Line breaks and tabs become spaces. Control characters (so also terminal escapes), lone surrogates,
    non-characters and overrides of the writing direction become U+FFFD.

    >>> legible("two\\nlines, one \\x1b[31mescape")
    'two lines, one �[31mescape'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_shown, text))


def _shown(letter: str) -> str:
    if letter in "\t\n\r\v\f\x85\u2028\u2029":
        return " "
    bad = unicodedata.category(letter) in ("Cc", "Cs") or letter in _DIRECTION
    return REPLACEMENT if bad or ord(letter) & NON_CHARACTER == NON_CHARACTER else letter


def columns(text: str) -> int:
    """Count the columns the text takes in a terminal.

    >>> columns("fetch"), columns("取得"), columns("e\\u0301")
    (5, 4, 1)
    """
    return len(text) if text.isascii() else sum(map(_cells, text))


def _cells(letter: str) -> int:
    if unicodedata.category(letter) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def pixels(text: str, size: float) -> float:
    """Estimate the width of the text in a sans-serif font of that size.

    The estimate errs a few percent to the wide side: the font that the reader has is not known.

    >>> pixels("ill", 13) < pixels("mow", 13) < pixels("取得者", 13)
    True
    """
    return sum(map(_advance, text)) * size * 1.08 / 1000


def _advance(letter: str) -> int:
    known = _ADVANCE.get(letter)
    return known if known is not None else (0, _AVERAGE, 1000)[_cells(letter)]


def shortened(text: str, room: float, measure: Callable[[str], float] = columns) -> str:
    """Cut the text, with an ellipsis, so that it measures at most ``room``.

    >>> shortened("reserve_stock", 8), shortened("ship", 8), shortened("ship", 0)
    ('reserve…', 'ship', '')
    """
    if measure(text) <= room:
        return text
    kept, used = [], measure(ELLIPSIS)
    if used > room:
        return ""
    for letter in text:
        used += measure(letter)
        if used > room:
            break
        kept.append(letter)
    return "".join(kept).rstrip() + ELLIPSIS
