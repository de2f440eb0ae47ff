"""SVG elements as text: numbers kept short, attributes and contents escaped.

It knows the syntax of XML and nothing of what is drawn.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from cloaca.drawing.lettering import legible

__all__ = ["Attributes", "element", "number", "path", "written"]

Attributes = dict[str, str | float]


def number(value: float) -> str:
    """Write a number with at most one decimal.

    >>> number(12.0), number(0.25), number(-0.01)
    ('12', '0.2', '0')
    """
    return f"{round(value * 10) / 10:g}" if abs(value) >= 0.05 else "0"  # noqa: PLR2004  half of the last place


def element(tag: str, *contents: str, **attributes: str | float) -> str:
    """Write an element; ``stroke_width`` is the attribute ``stroke-width``. Contents are markup already.

    >>> element("rect", x=1.25, stroke_width=2, fill='"red"')
    '<rect x="1.2" stroke-width="2" fill="&quot;red&quot;"/>'
    """
    written_out = "".join(f' {name.replace("_", "-")}="{_value(value)}"' for name, value in attributes.items())
    return f"<{tag}{written_out}>{''.join(contents)}</{tag}>" if contents else f"<{tag}{written_out}/>"


def _value(value: str | float) -> str:
    return written(value) if isinstance(value, str) else number(value)


def written(text: str) -> str:
    """Escape a text for XML; what XML has no way to say is replaced.

    >>> written("a < b & \\x00")
    'a &lt; b &amp; �'
    """
    return escape(legible(text))


def path(*steps: str | float | Iterable[float]) -> str:
    """Join commands and coordinates to the data of a path.

    >>> path("M", (0, 1.5), "H", 20)
    'M0 1.5H20'
    """
    parts: list[str] = []
    for step in steps:
        if isinstance(step, str):
            parts.append(step)
        else:
            parts.append(" ".join(map(number, (step,) if isinstance(step, float | int) else step)))
    return "".join(parts)
