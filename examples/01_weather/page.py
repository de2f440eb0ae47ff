"""The report: one HTML page that needs nothing else, made of plain text and a picture."""

from collections.abc import Iterable, Sequence
from datetime import date
from html import escape

from models import Extreme, Findings, Spell
from references import read_file

STYLE = """
body { margin: 0 auto; max-width: 60rem; padding: 2.5rem 1rem; background: #fafaf9; color: #1f2937;
       font: 16px/1.6 system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .5rem } h2 { font-size: 1.15rem; margin: 2.5rem 0 .5rem }
figure { margin: 2rem 0; border: 1px solid #e5e7eb; border-radius: 12px; overflow: hidden; background: #fff }
figure svg { display: block; width: 100%; height: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums } .lead, footer { color: #6b7280 }
th, td { padding: .3rem 1.4rem .3rem 0; text-align: right; border-bottom: 1px solid #e5e7eb }
th:first-child, td:first-child { text-align: left } th { font-weight: 600 }
footer { margin-top: 3rem; font-size: .85rem }
"""


def html(headline: str, findings: Findings) -> str:
    """Return the page."""
    parts = [
        f"<h1>{escape(headline)}</h1>",
        f'<p class="lead">{findings.joined.rows:,} days at {escape(findings.seattle.name)}, each beside the same '
        f"day of the reference year; without a partner: {_days(findings.unmatched)}.</p>",
        f"<figure>{read_file(findings.chart).decode()}</figure>",
        "<h2>The years</h2>",
        _table(
            ("", "departure, °C", "rain, mm", "wet days"),
            [(str(y.year), f"{y.departure_c:+.2f}", f"{y.rain_mm:,.0f}", str(y.wet_days)) for y in findings.years],
        ),
        f"<p>The longest time without a wet day: {_spell(findings.longest_dry)}. "
        f"The longest of wet days only: {_spell(findings.longest_wet)}.</p>",
        *_extremes("The warmest days for their time of year", findings.hottest),
        *_extremes("The coldest days for their time of year", findings.coldest),
        "<h2>The sky</h2>",
        _table(
            ("", "days", "mean high, °C", "rain, mm"),
            [(s.sky, str(s.days), f"{s.mean_high_c:.1f}", f"{s.rain_mm:,.0f}") for s in findings.skies],
        ),
        *_cities(findings),
        _footer(),
    ]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(headline)}</title>'
        f"<style>{STYLE}</style>{''.join(parts)}</html>\n"
    )


def _cities(findings: Findings) -> Iterable[str]:
    seattle, other = findings.seattle_year, findings.sf_year
    yield "<h2>Two cities</h2>"
    yield (
        f"<p>On June 21st the sun is up for {seattle.longest_day_h} hours in Seattle and for {other.longest_day_h} in "
        f"San Francisco. Seattle's warmest day comes {seattle.lag_days} days later, San Francisco's {other.lag_days}: "
        "the sea takes its time.</p>"
    )


def _extremes(title: str, days: Sequence[Extreme]) -> Iterable[str]:
    """A section that is there only if its task was not skipped."""
    if days:
        yield f"<h2>{title}</h2>"
        rows = [(_day(day.on), f"{day.departure_c:+.1f}", f"{day.high_c:.1f}") for day in days]
        yield _table(("", "departure, °C", "high, °C"), rows)


def _footer() -> str:
    return (
        "<footer>Data: seattle-weather, seattle-temps, sf-temps (NOAA) and airports (ourairports.com), as they come "
        "with vega_datasets; all in the public domain. The reference year is the hourly file of 2010. It is smooth "
        "like a mean of many years; the data set does not say whether it is one. Departure: the middle between a "
        "day's high and low, against the middle between the highest and the lowest hour of the reference "
        "day.</footer>"
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return f"<table>{_row('th', head)}{''.join(_row('td', row) for row in rows)}</table>"


def _row(tag: str, cells: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"


def _spell(spell: Spell) -> str:
    return f"{spell.days} days, from {_day(spell.first)} to {_day(spell.last)}"


def _days(days: Sequence[date]) -> str:
    return ", ".join(map(_day, days)) or "none"


def _day(day: date) -> str:
    return f"{day:%B} {day.day}, {day.year}"
