"""Session windows in columns: the bars that a WindowGenerator collects, or none at all."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from few_bars import MONDAY, SYMBOL, TUESDAY, bars, house
from hypothesis import given, settings
from hypothesis import strategies as st

from arbig import BarData, BarGenerator, CtaTemplate, Interval
from arbig.backtest import realistic
from arbig.backtest.feeds import store_of
from arbig.backtest.plan import Plan, StrategyPlan
from arbig.backtest.series import BarSeries
from arbig.backtest.session_windows import windows
from arbig.domain.sessions import Sessions
from arbig.domain.windows import WindowGenerator

NATIONAL_DAY = date(2025, 10, 9)  # after the holiday: no night


def sessions() -> Sessions:
    book, calendar = house()
    return Sessions(book.get(SYMBOL).night_close, calendar)


def minutes(days: list[date], missing: set[int]) -> list[BarData]:
    rows = [bar for day in days for bar in whole_day(day)]
    return [bar for number, bar in enumerate(rows) if number not in missing]


def whole_day(day: date) -> list[BarData]:
    size = 225 if day == NATIONAL_DAY else 555
    prices: list[Any] = [(800 + n % 7, 802 + n % 11, 799 - n % 5, 800 + n % 3, n % 13 + 1) for n in range(size)]
    return bars(day, prices, 0)


def collected(rows: list[BarData], length: Any) -> list[tuple[Any, ...]]:
    generator = WindowGenerator(length, sessions())
    return [(number, *seen(bar)) for number, row in enumerate(rows) for bar in generator.on_bar(row)]


def seen(bar: BarData) -> tuple[Any, ...]:
    prices = (bar.open_price, bar.high_price, bar.low_price, bar.close_price)
    rest = (bar.volume, round(bar.turnover or 0, 1), bar.open_interest)
    return bar.datetime, bar.interval, *prices, *rest, bar.trading_day


lengths = st.sampled_from([1, 3, 5, 15, 30, 45, 60, 120, "day"])


@settings(max_examples=40, deadline=None)
@given(lengths, st.sets(st.integers(0, 1334), max_size=20))
def test_they_are_those_that_a_generator_collects(length: Any, missing: set[int]) -> None:
    """Over a holiday, nights and quiet minutes; where they could be others there are none."""
    rows = minutes([NATIONAL_DAY, date(2025, 10, 10), MONDAY], missing)
    found = windows(store_of(BarSeries.from_bars(rows)), sessions(), length, 0)
    if found is None:
        assert missing
        return
    longer = found.store.bars(0, len(found.store))
    assert [(row, *seen(bar)) for row, bar in zip(found.rows, longer, strict=True)] == collected(rows, length)


@pytest.mark.parametrize("length", [1, 3, 5, 15, 30, 60, 120, "day"])
def test_a_whole_history_always_has_them(length: Any) -> None:
    rows = minutes([NATIONAL_DAY, date(2025, 10, 10), MONDAY], set())
    assert windows(store_of(BarSeries.from_bars(rows)), sessions(), length, 0) is not None


def test_a_history_that_begins_inside_a_window_is_left_to_the_generator() -> None:
    rows = minutes([MONDAY], {0})
    assert windows(store_of(BarSeries.from_bars(rows)), sessions(), 5, 0) is None


@pytest.mark.parametrize("missing", [set(), {0}])
def test_a_strategy_sees_the_same_windows_either_way(missing: set[int]) -> None:
    """Warm-up and run; the first from columns, the second collected."""
    told: list[BarData] = []

    class Windows(CtaTemplate):
        def on_init(self) -> None:
            self.generator = BarGenerator(self.on_bar, 30, told.append, Interval.MINUTE)
            self.load_bar(1)

        def on_bar(self, bar: BarData) -> None:
            self.generator.update_bar(bar)

    rows = minutes([MONDAY, TUESDAY], missing)
    book, calendar = house()
    plan = Plan(
        (StrategyPlan(Windows, "windows", (SYMBOL,)),),
        {SYMBOL: BarSeries.from_bars(rows)},
        TUESDAY,
        TUESDAY,
        book,
        calendar,
    )
    assert not realistic.run(plan).failures
    expected = [found[1] for found in collected(rows, 30)]
    assert [bar.datetime for bar in told] == [moment for moment in expected if moment >= told[0].datetime]
    assert len(told) >= 19
