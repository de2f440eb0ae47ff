"""Pictures of directed acyclic graphs as text: Mermaid, DOT, SVG, and lines for a terminal.

This package knows names, arrows and statuses; it knows neither tasks nor workflows, and nothing else of cloaca.
Equal pictures give equal texts, byte by byte; no text ends with a line break, as ``print`` adds one.
"""

from cloaca.drawing.dot import to_dot
from cloaca.drawing.mermaid import to_mermaid
from cloaca.drawing.pictures import Frame, Picture, Shape
from cloaca.drawing.svg import to_svg
from cloaca.drawing.text import to_text

__all__ = ["Frame", "Picture", "Shape", "to_dot", "to_mermaid", "to_svg", "to_text"]
