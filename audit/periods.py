"""Ways into a long log by date, for the cost of two looks at an index.

Django’s own date hierarchy asks which days hold rows, and reads the whole table to know.
"""

from calendar import monthrange
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

Dates = dict[str, int]
"""Some of year, month and day, as the list’s URL names them."""


@dataclass(frozen=True, slots=True)
class Step:
    """A link: its words, and the dates it leads to."""

    title: str
    dates: Dates


@dataclass(frozen=True, slots=True)
class Periods:
    """Where one can go from here; ``back`` is the way out of the period shown."""

    back: Step | None
    choices: tuple[Step, ...]


def periods(first: date, last: date, shown: Mapping[str, int]) -> Periods:
    """What to offer for a log that reaches from one day to another, while a period is shown.

    Levels that offer no choice are left out: a log of one month begins with its days.
    """
    year = shown.get("year") or (first.year if first.year == last.year else None)
    if year is None:
        years = range(last.year, first.year - 1, -1)
        return Periods(None, tuple(Step(str(number), {"year": number}) for number in years))
    month = shown.get("month") or _only_month(first, last, year)
    back = Step("All dates", {}) if shown else None
    if month is None:
        return Periods(back, tuple(_months(first, last, year)))
    if "month" in shown and _only_month(first, last, year) is None:
        back = Step(str(year), {"year": year})
    if "month" in shown and "day" in shown:
        here = date(year, month, shown["day"])
        back = Step(f"{here:%B %Y}", {"year": year, "month": month})
        return Periods(back, (Step(f"{here:%B} {here.day}", {}),))
    return Periods(back, tuple(_days(first, last, year, month)))


def _only_month(first: date, last: date, year: int) -> int | None:
    same = (first.year, first.month) == (last.year, last.month) == (year, first.month)
    return first.month if same else None


def _months(first: date, last: date, year: int) -> list[Step]:
    return [
        Step(f"{date(year, month, 1):%B %Y}", {"year": year, "month": month})
        for month in range(1, 13)
        if (first.year, first.month) <= (year, month) <= (last.year, last.month)
    ]


def _days(first: date, last: date, year: int, month: int) -> list[Step]:
    return [
        Step(f"{date(year, month, day):%b} {day}", {"year": year, "month": month, "day": day})
        for day in range(1, monthrange(year, month)[1] + 1)
        if first <= date(year, month, day) <= last
    ]
