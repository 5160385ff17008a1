"""Where the bars of a chart stand, and what they say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exhookadmin.console.chart import HEIGHT, LEAST, TOP, WIDTH, Amount, chart_of

AMOUNTS = st.lists(
    st.builds(Amount, st.just("12:00"), st.none() | st.integers(0, 10**9), st.booleans()), max_size=48
)


@pytest.mark.parametrize(
    ("values", "total", "highest"),
    [
        pytest.param([], "0", "0", id="nothing at all"),
        pytest.param([0, 0], "0", "0", id="nothing happened"),
        pytest.param([1, 2, 3000], "3,003", "3,000", id="counted"),
        pytest.param([None, 5], "5+", "5", id="an hour was not counted"),
        pytest.param([None, None], "0+", "0", id="none was counted"),
    ],
)
def test_what_is_said_of_all_bars(values: list[int | None], total: str, highest: str):
    chart = chart_of([Amount("", value) for value in values])
    assert (chart.total, chart.highest) == (total, highest)


def test_counting_that_stopped_is_said():
    chart = chart_of([Amount("", 10_000, more=True), Amount("", 4)])
    assert (chart.total, chart.highest) == ("10,004+", "10,000+")
    assert chart.bars[0].amount.text == "10,000+"


def test_a_single_event_among_thousands_is_seen():
    chart = chart_of([Amount("", 1), Amount("", 100_000), Amount("", 0)])
    assert chart.bars[0].height == LEAST
    assert chart.bars[2].height == 0


@given(AMOUNTS)
def test_bars_stay_inside_and_apart(amounts: list[Amount]):
    chart = chart_of(amounts)
    assert len(chart.bars) == len(amounts)
    for left, right in zip(chart.bars, chart.bars[1:], strict=False):
        assert left.x + left.width <= right.x + 0.01
    for bar in chart.bars:
        assert bar.x >= 0
        assert bar.x + bar.width <= WIDTH + 0.01
        assert bar.y >= TOP - 0.01
        assert bar.y + bar.height <= HEIGHT


@given(AMOUNTS)
def test_a_higher_bar_stands_for_more(amounts: list[Amount]):
    bars = chart_of(amounts).bars
    for one in bars:
        for other in bars:
            if one.height > other.height:
                assert (one.amount.value or 0) > (other.amount.value or 0)


def test_the_axis_names_first_middle_and_last():
    chart = chart_of([Amount(f"{hour:02}:00", hour) for hour in range(24)])
    assert [mark.text for mark in chart.marks] == ["00:00", "12:00", "23:00"]
