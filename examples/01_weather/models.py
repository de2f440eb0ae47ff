"""What goes through the weather workflow's context, and what its files have, row by row."""

from datetime import date, datetime

from pydantic import BaseModel
from references import File, Table

# ---- What goes through the context ----------------------------------------------------------------------------------


class Desk(BaseModel):
    """Where to work, and how slowly: the work itself takes milliseconds, and a demonstration is to be watched."""

    directory: str
    pace_s: float = 0.0


class Survey(Desk):
    """The input of the workflow."""

    airports_csv: str
    seattle_hours_csv: str
    sf_hours_csv: str
    seattle_days_csv: str


class Source(BaseModel):
    source: str


class Raw(BaseModel):
    raw: File


class Hours(BaseModel):
    seattle_hours: Table
    sf_hours: Table


class Days(BaseModel):
    seattle_days: Table


class Station(BaseModel):
    name: str
    latitude: float
    longitude: float


class Stations(BaseModel):
    seattle: Station
    sf: Station


class Joined(BaseModel):
    joined: Table
    unmatched: list[date]


class TooFewMatches(BaseModel):
    """A typed error: the files don't cover the same days, so that every number below would be wrong."""

    matched: int
    days: int


class Month(BaseModel):
    year: int
    month: int
    departure_c: float
    rain_mm: float


class Months(BaseModel):
    months: list[Month]


class Year(BaseModel):
    year: int
    departure_c: float
    rain_mm: float
    wet_days: int


class Years(BaseModel):
    years: list[Year]


class Sky(BaseModel):
    sky: str
    days: int
    mean_high_c: float
    rain_mm: float


class Skies(BaseModel):
    skies: list[Sky]


class Spell(BaseModel):
    first: date
    last: date
    days: int


class Spells(BaseModel):
    longest_dry: Spell
    longest_wet: Spell


class City(BaseModel):
    """A city's reference year: daily means, and how long after the longest day the warmest one comes."""

    daily_c: list[float]
    warmest: date
    coldest: date
    lag_days: int
    longest_day_h: float


class Cities(BaseModel):
    seattle_year: City
    sf_year: City


class Extreme(BaseModel):
    on: date
    departure_c: float
    high_c: float


class Heat(BaseModel):
    hottest: list[Extreme]


class Cold(BaseModel):
    coldest: list[Extreme]


class Chart(BaseModel):
    chart: File


class Findings(Months, Years, Skies, Spells, Cities, Stations, Joined, Chart):
    """What the report reads. A field with a default is an optional read: the task that writes it may be skipped."""

    hottest: list[Extreme] = []
    coldest: list[Extreme] = []


class Report(BaseModel):
    """The output of the workflow."""

    page: File
    chart: File
    headline: str


# ---- What the files have, row by row --------------------------------------------------------------------------------


class Hour(BaseModel):
    at: datetime
    celsius: float


class Day(BaseModel):
    on: date
    low_c: float
    high_c: float
    rain_mm: float
    sky: str


class ComparedDay(Day):
    departure_c: float  # of the middle between low and high, from that of the same day in the reference year
