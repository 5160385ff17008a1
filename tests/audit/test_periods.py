"""The way into a long log by date."""

from datetime import date

import pytest

from audit.periods import Step, periods

OCTOBER, NOVEMBER = date(2026, 10, 30), date(2026, 11, 2)


@pytest.mark.parametrize(
    ("first", "last", "shown", "back", "choices"),
    [
        pytest.param(
            date(2024, 12, 31), NOVEMBER, {}, None, ["2026", "2025", "2024"], id="several years: newest first"
        ),
        pytest.param(
            OCTOBER, NOVEMBER, {}, None, ["October 2026", "November 2026"], id="one year: its months"
        ),
        pytest.param(date(2026, 11, 1), NOVEMBER, {}, None, ["Nov 1", "Nov 2"], id="one month: its days"),
        pytest.param(NOVEMBER, NOVEMBER, {}, None, ["Nov 2"], id="one day"),
        pytest.param(
            date(2025, 11, 5),
            NOVEMBER,
            {"year": 2025},
            "All dates",
            ["November 2025", "December 2025"],
            id="a year: only months inside the log",
        ),
        pytest.param(
            OCTOBER,
            NOVEMBER,
            {"year": 2026, "month": 10},
            "2026",
            ["Oct 30", "Oct 31"],
            id="a month: its days",
        ),
        pytest.param(
            OCTOBER,
            NOVEMBER,
            {"year": 2026, "month": 10, "day": 31},
            "October 2026",
            ["October 31"],
            id="a day",
        ),
        pytest.param(OCTOBER, NOVEMBER, {"year": 2019}, "All dates", [], id="a year outside the log"),
        pytest.param(
            OCTOBER,
            NOVEMBER,
            {"year": 2026, "day": 31},
            "All dates",
            ["October 2026", "November 2026"],
            id="a day without a month",
        ),
    ],
)
def test_periods(
    first: date, last: date, shown: dict[str, int], back: str | None, choices: list[str]
) -> None:
    way = periods(first, last, shown)
    assert (way.back and way.back.title) == back
    assert [step.title for step in way.choices] == choices


def test_steps_lead_to_their_dates() -> None:
    assert periods(OCTOBER, NOVEMBER, {}).choices[1] == Step("November 2026", {"year": 2026, "month": 11})
    assert periods(OCTOBER, NOVEMBER, {"year": 2026, "month": 10}).choices[0].dates == {
        "year": 2026,
        "month": 10,
        "day": 30,
    }
    assert periods(OCTOBER, NOVEMBER, {"year": 2026, "month": 10}).back == Step("2026", {"year": 2026})
