"""The picture, drawn by plain code: each day as a stripe, each month as a bar, a year in two cities as two lines.

It knows dates, degrees and SVG; it knows neither cloaca nor where the numbers come from.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, timedelta
from html import escape
from itertools import pairwise
from statistics import fmean

WIDTH, HEIGHT = 960, 772
LEFT, RIGHT = 96.0, 864.0
INK, FAINT, RULE = "#1f2937", "#6b7280", "#e5e7eb"
WARM, COLD = "#c2410c", "#1d6fb8"
# From cold to warm, the middle almost white: after ColorBrewer's RdBu, which also the colour-blind can read.
SCALE = ("#0b3c6f", "#2f79b5", "#8fc1dd", "#f4f4f2", "#f6b48f", "#d6573f", "#7a0c22")
FULL_C = 8.0  # the departure with the strongest colour
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
LINES = (COLD, "#d97706")


def weather(
    days: Sequence[tuple[date, float]],
    months: Sequence[tuple[int, int, float]],
    years: Mapping[int, float],
    cities: Mapping[str, Sequence[float]],
) -> str:
    """Return the picture as SVG. Departures and temperatures are in degrees Celsius."""
    parts = [
        _text(LEFT, 44, "Four years in Seattle, and a reference year", size=22, weight=650),
        _text(LEFT, 68, "How much warmer or colder each day, each month and each year was", fill=FAINT),
        *_stripes(days, years, top=124),
        *_bars(months, top=312),
        *_lines(cities, top=552),
    ]
    font = 'font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'role="img" aria-label="Temperatures in Seattle from 2012 to 2015" {font}>'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>{"".join(parts)}</svg>\n'
    )


def _stripes(days: Sequence[tuple[date, float]], years: Mapping[int, float], top: float) -> Iterable[str]:
    """One row a year, one stripe a day."""
    step, height = (RIGHT - LEFT) / 366, 26.0
    yield _heading("Day by day", top - 14)
    for row, (year, mean_c) in enumerate(sorted(years.items())):
        y = top + row * (height + 4)
        yield _rect(LEFT, y, RIGHT - LEFT, height, "#f1f1ef")
        for on, departure_c in days:
            if on.year == year:
                # A day's place is that of the same date in a leap year. The overlap hides the seams between stripes.
                x = LEFT + (on.replace(year=2012) - date(2012, 1, 1)).days * step
                yield _rect(x, y, step + 0.3, height, _colour(departure_c))
        yield _text(LEFT - 12, y + 18, str(year), anchor="end", weight=600)
        yield _text(RIGHT + 12, y + 18, _signed(mean_c, ".2f"), weight=600, fill=_side(mean_c))
    yield _text(RIGHT + 12, top - 14, "mean, °C", size=11, fill=FAINT)
    yield from _month_names(top + len(years) * (height + 4) + 12)
    yield from _legend(top - 22)


def _legend(y: float) -> Iterable[str]:
    """The scale of colours, between the numbers of its ends."""
    width = 168.0
    x = RIGHT - 44 - width
    yield '<defs><linearGradient id="scale">'
    for index, colour in enumerate(SCALE):
        yield f'<stop offset="{index / (len(SCALE) - 1):.3f}" stop-color="{colour}"/>'
    yield "</linearGradient></defs>"
    yield _rect(x, y, width, 8, "url(#scale)", radius=2)
    yield _text(x - 8, y + 8, _signed(-FULL_C, "g"), size=11, fill=FAINT, anchor="end")
    yield _text(x + width + 8, y + 8, f"{_signed(FULL_C, 'g')} °C", size=11, fill=FAINT)


def _bars(months: Sequence[tuple[int, int, float]], top: float) -> Iterable[str]:
    """One bar a month, up or down from the reference."""
    height, low, high = 160.0, -3.0, 4.8
    step = (RIGHT - LEFT) / len(months)

    def y_of(celsius: float) -> float:
        return top + (high - celsius) / (high - low) * height

    yield _heading("Month by month", top - 14)
    yield from _grid({value: f"{_signed(value, 'g')} °C" for value in (-2, 0, 2, 4)}, y_of)
    extreme = max(months, key=lambda month: month[2])
    for index, (year, month, departure_c) in enumerate(months):
        x = LEFT + index * step
        up, down = y_of(max(departure_c, 0)), y_of(min(departure_c, 0))
        yield _rect(x + 2, up, step - 4, down - up, _side(departure_c), radius=1.5)
        if month == 1:
            yield _text(x + 6 * step, top + height + 14, str(year), anchor="middle", weight=600)
        if month == 1 and index:
            yield _line(x, top, x, top + height + 18, RULE)
        if (year, month, departure_c) == extreme:
            label = f"{MONTHS[month - 1]} {year}: {_signed(departure_c, '.1f')} °C"
            yield _text(x - 4, up + 10, label, size=12, anchor="end", weight=600, fill=WARM)
    yield _line(LEFT, y_of(0), RIGHT, y_of(0), FAINT)


def _lines(cities: Mapping[str, Sequence[float]], top: float) -> Iterable[str]:
    """One line a city: the means of the days of the reference year."""
    height, low, high = 180.0, 2.0, 22.0

    def y_of(celsius: float) -> float:
        return top + (high - celsius) / (high - low) * height

    def x_of(day: int) -> float:
        return LEFT + day / 365 * (RIGHT - LEFT)

    yield _heading("The reference year in two cities", top - 14)
    yield from _grid({value: f"{value} °C" for value in (5, 10, 15, 20)}, y_of)
    yield from _month_names(top + height + 14)
    solstice = x_of(date(2010, 6, 21).timetuple().tm_yday - 1)
    yield _line(solstice, top, solstice, top + height, FAINT, dashes="2 4")
    yield _text(solstice - 6, top + height - 8, "longest day", size=11, fill=FAINT, anchor="end")
    for (city, celsius), colour in zip(cities.items(), LINES, strict=True):
        points = " ".join(f"{x_of(day):.1f},{y_of(value):.1f}" for day, value in enumerate(celsius))
        yield f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2.5" stroke-linejoin="round"/>'
        peak = max(range(len(celsius)), key=celsius.__getitem__)
        on = date(2010, 1, 1) + timedelta(days=peak)
        yield (
            f'<circle cx="{x_of(peak):.1f}" cy="{y_of(celsius[peak]):.1f}" r="4.5" fill="{colour}" '
            'stroke="#ffffff" stroke-width="2"/>'
        )
        label = f"warmest on {MONTHS[on.month - 1]} {on.day}"
        yield _text(x_of(peak) + 8, y_of(celsius[peak]) - 10, label, size=12, weight=600, fill=colour)
        yield _text(LEFT + 8, y_of(fmean(celsius[20:60])) - 16, city, size=13, weight=600, fill=colour)


def _grid(labels: Mapping[int, str], y_of: Callable[[float], float]) -> Iterable[str]:
    for value, label in labels.items():
        yield _line(LEFT, y_of(value), RIGHT, y_of(value), RULE)
        yield _text(LEFT - 12, y_of(value) + 4, label, size=11, anchor="end", fill=FAINT)


def _month_names(y: float) -> Iterable[str]:
    starts = [(date(2012, month, 1) - date(2012, 1, 1)).days for month in range(1, 13)]
    for name, (start, end) in zip(MONTHS, pairwise([*starts, 366]), strict=True):
        yield _text(LEFT + (start + end) / 732 * (RIGHT - LEFT), y, name, size=11, anchor="middle", fill=FAINT)


def _colour(departure_c: float) -> str:
    """Mix the two neighbours on the scale."""
    place = (max(-FULL_C, min(FULL_C, departure_c)) / FULL_C + 1) / 2 * (len(SCALE) - 1)
    index = min(int(place), len(SCALE) - 2)
    low, high = (bytes.fromhex(colour[1:]) for colour in SCALE[index : index + 2])
    mixed = (round(a + (b - a) * (place - index)) for a, b in zip(low, high, strict=True))
    return "#" + bytes(mixed).hex()


def _signed(value: float, form: str) -> str:
    """A number with its sign, the minus as wide as the plus."""
    return f"{value:+{form}}".replace("-", "\N{MINUS SIGN}") if value else "0"


def _side(departure_c: float) -> str:
    return WARM if departure_c > 0 else COLD


def _heading(text: str, y: float) -> str:
    return _text(LEFT, y, text, size=14, weight=650)


def _text(
    x: float, y: float, text: str, *, size: int = 13, weight: int = 400, fill: str = INK, anchor: str = "start"
) -> str:
    where = f'x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" fill="{fill}" text-anchor="{anchor}"'
    return f"<text {where}>{escape(text)}</text>"


def _rect(x: float, y: float, width: float, height: float, fill: str, *, radius: float = 0) -> str:
    corner = f' rx="{radius:g}"' if radius else ""
    return f'<rect x="{x:.2f}" y="{y:.2f}" width="{width:.2f}" height="{height:.2f}"{corner} fill="{fill}"/>'


def _line(x1: float, y1: float, x2: float, y2: float, stroke: str, *, dashes: str = "") -> str:
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{stroke}"{dashed}/>'
