"""Four files of weather: fetched, cleaned, joined, summed up in parallel, reported. The workflow, not who runs it.

The question: was Seattle in 2012 to 2015 warmer than in the reference year of the data set, and when? The files come
with the package ``vega_datasets`` and are in the public domain (NOAA; ourairports.com for the airports).

A task is a plain function of models; a model's fields are what it reads from the context, the fields of the model that
it returns are what it writes. How the files' contents go from task to task, see ``references``.
"""

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from itertools import groupby, pairwise
from math import acos, degrees, radians, tan
from pathlib import Path
from statistics import fmean
from typing import Any

import chart
import page
from models import (
    Chart,
    Cities,
    City,
    Cold,
    ComparedDay,
    Day,
    Days,
    Desk,
    Extreme,
    Findings,
    Heat,
    Hour,
    Hours,
    Joined,
    Month,
    Months,
    Raw,
    Report,
    Skies,
    Sky,
    Source,
    Spell,
    Spells,
    Station,
    Stations,
    Survey,
    TooFewMatches,
    Year,
    Years,
)
from references import File, Table, read_csv, read_rows, write_file, write_rows
from returns.result import Failure, Result, Success

from cloaca import Retry, TaskContext, Workflow, task

WARM_C, COLD_C = 1.0, -1.0  # a year this far from the reference is worth a closer look
WET_MM = 1.0  # a day with this much rain is a wet day
FEWEST_MATCHES = 0.95
HOUR, DAY = timedelta(hours=1), timedelta(days=1)

# ---- Fetch and clean ------------------------------------------------------------------------------------------------


@task
async def fetch(source: Source, desk: Desk, *, ctx: TaskContext) -> File:
    """Copy a file to the desk. Async, as a download would be: it holds no thread while it waits."""
    await asyncio.to_thread(begin, desk, ctx)
    if ctx.task == "fetch_sf" and ctx.attempt == 1:
        # A disk doesn't fail on request. This stands in for a server that is away for a moment.
        raise ConnectionError("the server hung up")
    content = await asyncio.to_thread(Path(source.source).read_bytes)
    return write_file(Path(desk.directory, "raw", Path(source.source).name), content)


@task
def clean_hours(raw: Raw, desk: Desk, *, ctx: TaskContext) -> Table:
    """Give two files one shape: they differ in the order of the columns and in how they write the time."""
    begin(desk, ctx)
    rows = [Hour(at=_time(line["date"]), celsius=_celsius(line["temp"])) for line in read_csv(raw.raw)]
    rows.sort(key=lambda row: row.at)
    expected = (rows[-1].at - rows[0].at) // HOUR + 1
    return write_rows(_rows_of(desk, ctx), rows, gaps=expected - len(rows))


@task
def clean_days(raw: Raw, desk: Desk, *, ctx: TaskContext) -> Table:
    """Give the daily file's columns their types; it is in degrees Celsius already."""
    begin(desk, ctx)
    rows = [
        Day(
            on=datetime.strptime(line["date"], "%Y/%m/%d").date(),
            low_c=float(line["temp_min"]),
            high_c=float(line["temp_max"]),
            rain_mm=float(line["precipitation"]),
            sky=line["weather"],
        )
        for line in read_csv(raw.raw)
    ]
    rows.sort(key=lambda row: row.on)
    return write_rows(_rows_of(desk, ctx), rows, gaps=(rows[-1].on - rows[0].on) // DAY + 1 - len(rows))


@task
def find_stations(raw: Raw, desk: Desk, *, ctx: TaskContext) -> Stations:
    """Find the two cities' airports among all of the United States."""
    begin(desk, ctx)
    lines = {line["iata"]: line for line in read_csv(raw.raw)}

    def station(code: str) -> Station:
        line = lines[code]
        return Station(name=line["name"], latitude=float(line["latitude"]), longitude=float(line["longitude"]))

    return Stations(seattle=station("SEA"), sf=station("SFO"))


def hours_are_missing(hours: Hours) -> bool:
    """Whether to fill gaps. In both files one hour is missing: the one that the change to summer time jumps over."""
    return hours.seattle_hours.gaps + hours.sf_hours.gaps > 0


@task
def fill_hours(hours: Hours, desk: Desk, *, ctx: TaskContext) -> Hours:
    """Put a straight line through each gap. A task may write anew what it has read."""
    begin(desk, ctx)

    def filled(table: Table) -> Table:
        path = Path(table.path)
        return write_rows(path.with_name(f"{path.stem}_filled.jsonl"), _filled(read_rows(table, Hour)))

    return Hours(seattle_hours=filled(hours.seattle_hours), sf_hours=filled(hours.sf_hours))


# ---- Join -----------------------------------------------------------------------------------------------------------


@task
def join(days: Days, hours: Hours, desk: Desk, *, ctx: TaskContext) -> Result[Joined, TooFewMatches]:
    """Put each day beside the same day of the reference year. Too few pairs are an answer, and no fault."""
    begin(desk, ctx)
    reference = {
        (day.month, day.day): _middle([hour.celsius for hour in of_day])
        for day, of_day in groupby(read_rows(hours.seattle_hours, Hour), key=lambda hour: hour.at.date())
    }
    matched: list[ComparedDay] = []
    unmatched: list[date] = []
    for day in read_rows(days.seattle_days, Day):
        expected_c = reference.get((day.on.month, day.on.day))
        if expected_c is None:
            unmatched.append(day.on)  # February 29th
        else:
            departure_c = round(_middle([day.low_c, day.high_c]) - expected_c, 3)
            matched.append(ComparedDay(**dict(day), departure_c=departure_c))
    if len(matched) < FEWEST_MATCHES * days.seattle_days.rows:
        return Failure(TooFewMatches(matched=len(matched), days=days.seattle_days.rows))
    return Success(Joined(joined=write_rows(_rows_of(desk, ctx), matched), unmatched=unmatched))


# ---- Sum up ---------------------------------------------------------------------------------------------------------


@task
def by_month(joined: Joined, desk: Desk, *, ctx: TaskContext) -> Months:
    """Sum up each month."""
    begin(desk, ctx)
    return Months(
        months=[
            Month(year=year, month=month, departure_c=_mean_departure(days), rain_mm=_rain(days))
            for (year, month), days in _grouped(joined, lambda day: (day.on.year, day.on.month))
        ]
    )


@task
def by_year(joined: Joined, desk: Desk, *, ctx: TaskContext) -> Years:
    """Sum up each year."""
    begin(desk, ctx, effort=3)
    return Years(
        years=[
            Year(
                year=year,
                departure_c=_mean_departure(days),
                rain_mm=_rain(days),
                wet_days=sum(day.rain_mm >= WET_MM for day in days),
            )
            for year, days in _grouped(joined, lambda day: day.on.year)
        ]
    )


@task
def by_sky(joined: Joined, desk: Desk, *, ctx: TaskContext) -> Skies:
    """Sum up the days of each kind of weather."""
    begin(desk, ctx, effort=3)
    return Skies(
        skies=[
            Sky(
                sky=sky,
                days=len(days),
                mean_high_c=round(fmean(day.high_c for day in days), 1),
                rain_mm=_rain(days),
            )
            for sky, days in _grouped(joined, lambda day: day.sky)
        ]
    )


@task
def find_spells(joined: Joined, desk: Desk, *, ctx: TaskContext) -> Spells:
    """Find the longest time without a wet day, and the longest of wet days only."""
    begin(desk, ctx, effort=4)
    spells: dict[bool, list[Spell]] = {False: [], True: []}
    for wet, group in groupby(read_rows(joined.joined, ComparedDay), key=lambda day: day.rain_mm >= WET_MM):
        days = list(group)
        spells[wet].append(Spell(first=days[0].on, last=days[-1].on, days=len(days)))
    dry, rainy = (max(spells[wet], key=lambda spell: spell.days) for wet in (False, True))
    return Spells(longest_dry=dry, longest_wet=rainy)


@task
def compare_cities(hours: Hours, stations: Stations, desk: Desk, *, ctx: TaskContext) -> Cities:
    """Compare the reference years of the two cities: the sea makes San Francisco late."""
    begin(desk, ctx, effort=4)
    return Cities(
        seattle_year=_city(read_rows(hours.seattle_hours, Hour), stations.seattle),
        sf_year=_city(read_rows(hours.sf_hours, Hour), stations.sf),
    )


def a_year_was_warm(years: Years) -> bool:
    """Whether to look for hot days: two of the years were warm."""
    return any(year.departure_c >= WARM_C for year in years.years)


def a_year_was_cold(years: Years) -> bool:
    """Whether to look for cold days: no year was cold, so this task is skipped."""
    return any(year.departure_c <= COLD_C for year in years.years)


@task
def find_heat(joined: Joined, desk: Desk, *, ctx: TaskContext) -> Heat:
    """List the days that were the warmest for their time of year."""
    begin(desk, ctx)
    return Heat(hottest=_extremes(joined, sign=-1))


@task
def find_cold(joined: Joined, desk: Desk, *, ctx: TaskContext) -> Cold:
    """List the days that were the coldest for their time of year."""
    begin(desk, ctx)
    return Cold(coldest=_extremes(joined, sign=1))


# ---- Report ---------------------------------------------------------------------------------------------------------


@task
def draw_chart(months: Months, years: Years, cities: Cities, joined: Joined, desk: Desk, *, ctx: TaskContext) -> Chart:
    """Draw the picture: SVG, by plain code."""
    begin(desk, ctx)
    svg = chart.weather(
        [(day.on, day.departure_c) for day in read_rows(joined.joined, ComparedDay)],
        [(month.year, month.month, month.departure_c) for month in months.months],
        {year.year: year.departure_c for year in years.years},
        {"Seattle": cities.seattle_year.daily_c, "San Francisco": cities.sf_year.daily_c},
    )
    return Chart(chart=write_file(Path(desk.directory, "chart.svg"), svg.encode()))


@task
def write_report(findings: Findings, desk: Desk, *, ctx: TaskContext) -> Report:
    """Write the page."""
    begin(desk, ctx)
    warmest = max(findings.years, key=lambda year: year.departure_c)
    headline = f"{warmest.year} was {warmest.departure_c:+.2f} °C from the reference year, the warmest of the four"
    html = page.html(headline, findings)
    return Report(
        page=write_file(Path(desk.directory, "report.html"), html.encode()), chart=findings.chart, headline=headline
    )


# ---- The workflow ---------------------------------------------------------------------------------------------------
# One task can have several places, each with a name of its own, the keys that it reads and the key that it writes.

fetch_airports = fetch.named("fetch_airports").reading(source="airports_csv").into("airports")
fetch_seattle = fetch.named("fetch_seattle").reading(source="seattle_hours_csv").into("seattle_raw")
fetch_sf = (
    fetch.named("fetch_sf")
    .reading(source="sf_hours_csv")
    .into("sf_raw")
    .with_options(retry=Retry(attempts=3, delay=0.2, on=(ConnectionError,)))
)
fetch_days = fetch.named("fetch_days").reading(source="seattle_days_csv").into("days_raw")

clean_seattle = clean_hours.named("clean_seattle").reading(raw="seattle_raw").into("seattle_hours")
clean_sf = clean_hours.named("clean_sf").reading(raw="sf_raw").into("sf_hours")

hours = [fetch_seattle >> clean_seattle, fetch_sf >> clean_sf] >> fill_hours.when(hours_are_missing)
days = fetch_days >> clean_days.reading(raw="days_raw").into("seattle_days")
stations = fetch_airports >> find_stations.reading(raw="airports")
closer_look = by_year >> [find_heat.when(a_year_was_warm), find_cold.when(a_year_was_cold)]

weather = Workflow(
    "weather",
    [hours, days, stations]
    >> join
    >> [by_month, closer_look, by_sky, find_spells, compare_cities]
    >> draw_chart
    >> write_report,
    input=Survey,
    output=Report,
)

# ---- What the tasks share -------------------------------------------------------------------------------------------


def begin(desk: Desk, ctx: TaskContext, effort: float = 1) -> None:
    """Note in a file that the body is executed, outside of the database, and take the time that it is to take."""
    line = {"pid": os.getpid(), "task": ctx.task, "attempt": ctx.attempt, "at": time.time()}
    log = os.open(Path(desk.directory, "executions.log"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(log, f"{json.dumps(line)}\n".encode())
    os.close(log)
    time.sleep(desk.pace_s * effort)


def _rows_of(desk: Desk, ctx: TaskContext) -> Path:
    return Path(desk.directory, "rows", f"{ctx.task}.jsonl")


def _time(text: str) -> datetime:
    return datetime.strptime(text[:16], "%Y/%m/%d %H:%M")


def _celsius(fahrenheit: str) -> float:
    return round((float(fahrenheit) - 32) / 1.8, 2)


def _filled(rows: list[Hour]) -> Iterator[Hour]:
    for before, after in pairwise(rows):
        yield before
        steps = (after.at - before.at) // HOUR
        for step in range(1, steps):
            between_c = before.celsius + (after.celsius - before.celsius) * step / steps
            yield Hour(at=before.at + step * HOUR, celsius=round(between_c, 2))
    yield rows[-1]


def _middle(values: list[float]) -> float:
    return (min(values) + max(values)) / 2


def _mean_departure(days: list[ComparedDay]) -> float:
    return round(fmean(day.departure_c for day in days), 2)


def _rain(days: list[ComparedDay]) -> float:
    return round(sum(day.rain_mm for day in days), 1)


def _grouped(joined: Joined, key: Callable[[ComparedDay], Any]) -> Iterator[tuple[Any, list[ComparedDay]]]:
    rows = sorted(read_rows(joined.joined, ComparedDay), key=key)
    return ((value, list(group)) for value, group in groupby(rows, key=key))


def _extremes(joined: Joined, sign: int) -> list[Extreme]:
    rows = sorted(read_rows(joined.joined, ComparedDay), key=lambda day: sign * day.departure_c)
    return [Extreme(on=day.on, departure_c=round(day.departure_c, 1), high_c=day.high_c) for day in rows[:5]]


def _city(rows: list[Hour], station: Station) -> City:
    daily = {
        day: round(fmean(hour.celsius for hour in of_day), 2)
        for day, of_day in groupby(rows, key=lambda hour: hour.at.date())
    }
    warmest, coldest = max(daily, key=daily.__getitem__), min(daily, key=daily.__getitem__)
    return City(
        daily_c=list(daily.values()),
        warmest=warmest,
        coldest=coldest,
        lag_days=(warmest - date(warmest.year, 6, 21)).days,
        longest_day_h=_longest_day_h(station.latitude),
    )


def _longest_day_h(latitude: float) -> float:
    """From sunrise to sunset on June 21st, by the sunrise equation, for a sun without width or refraction."""
    return round(2 / 15 * degrees(acos(-tan(radians(latitude)) * tan(radians(23.44)))), 1)
