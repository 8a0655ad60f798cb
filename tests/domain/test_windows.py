"""Windows: N minutes of trading, counted as architecture.md section 9 says."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from arbig.domain.messages import SHANGHAI, BarData, Exchange
from arbig.domain.sessions import Sessions, TradingCalendar
from arbig.domain.windows import Alignment, Length, WindowGenerator, windows_of
from arbig.runtime.calendar import table

CALENDAR = TradingCalendar(table())
GOLD = Sessions(time(2, 30), CALENDAR)
REBAR = Sessions(time(23, 0), CALENDAR)
DAY = date(2025, 10, 15)
NIGHT_60 = "21:00 22:00 23:00 00:00 01:00 02:00"


def minute_bars(day: date = DAY, sessions: Sessions = GOLD) -> list[BarData]:
    """Every minute of a trading day trades one lot; the price counts the minutes."""
    return [
        BarData(
            symbol="au2512",
            exchange=Exchange.SHFE,
            datetime=minute,
            interval="1m",
            open_price=900.0 + number,
            high_price=901.0 + number,
            low_price=899.0 + number,
            close_price=900.5 + number,
            volume=1,
            open_interest=number,
            turnover=900_000.0,
            trading_day=day,
            seq=number,
        )
        for number, minute in enumerate(windows_of(sessions, day, 1), 1)
    ]


def fed(generator: WindowGenerator, bars: list[BarData]) -> list[BarData]:
    return [window for bar in bars for window in generator.on_bar(bar)]


def starts(bars: list[BarData]) -> str:
    return " ".join(f"{bar.datetime:%H:%M}" for bar in bars)


@pytest.mark.parametrize(
    ("length", "alignment", "night", "day"),
    [
        (60, "session", NIGHT_60, "09:00 10:00 11:15 14:15"),
        (
            30,
            "session",
            "21:00 21:30 22:00 22:30 23:00 23:30 00:00 00:30 01:00 01:30 02:00",
            "09:00 09:30 10:00 10:45 11:15 13:45 14:15 14:45",
        ),
        (60, "clock", NIGHT_60, "09:00 10:00 11:00 13:30 14:00"),
        (
            30,
            "clock",
            "21:00 21:30 22:00 22:30 23:00 23:30 00:00 00:30 01:00 01:30 02:00",
            "09:00 09:30 10:00 10:30 11:00 13:30 14:00 14:30",
        ),
    ],
)
def test_the_windows_of_a_gold_day(length: int, alignment: Alignment, night: str, day: str) -> None:
    windows = fed(WindowGenerator(length, GOLD, alignment), minute_bars())
    assert starts(windows) == f"{night} {day}"
    assert sum(bar.volume for bar in windows) == 555


def test_only_a_sessions_last_window_is_short() -> None:
    windows = fed(WindowGenerator(60, GOLD), minute_bars())
    assert [bar.volume for bar in windows] == [60, 60, 60, 60, 60, 30, 60, 60, 60, 45]
    assert [bar.volume for bar in fed(WindowGenerator(30, GOLD), minute_bars())][-8:] == [30] * 7 + [15]


@pytest.mark.parametrize("length", [3, 5, 15, 30, 60])
def test_no_window_spans_night_and_day(length: int) -> None:
    windows = fed(WindowGenerator(length, REBAR), minute_bars(sessions=REBAR))
    assert "09:00" in starts(windows).split()
    assert all(bar.volume == length for bar in windows[:-1] if bar.datetime.hour != 22)
    assert [bar.seq for bar in windows] == list(range(1, len(windows) + 1))


def test_a_window_spans_its_minutes() -> None:
    window = fed(WindowGenerator(60, GOLD), minute_bars())[1]
    assert (window.interval, window.trading_day) == ("1h", DAY)
    assert (window.open_price, window.high_price, window.low_price, window.close_price) == (
        961.0,
        1021.0,
        960.0,
        1020.5,
    )
    assert (window.volume, window.turnover, window.open_interest) == (60, 60 * 900_000.0, 120)


def test_the_trading_day_as_one_bar() -> None:
    (bar,) = fed(WindowGenerator("day", GOLD), minute_bars())
    assert (bar.datetime, bar.interval) == (datetime(2025, 10, 15, tzinfo=SHANGHAI), "d")
    assert (bar.volume, bar.open_price, bar.close_price, bar.partial) == (555, 901.0, 1455.5, None)


def test_the_last_minute_finishes_the_window_at_once() -> None:
    bars = minute_bars()
    generator = WindowGenerator(5, GOLD)
    assert [len(generator.on_bar(bar)) for bar in bars[:10]] == [0, 0, 0, 0, 1] * 2


def test_a_minute_without_trade_at_the_end_is_closed_by_the_next_bar_or_the_timer() -> None:
    bars = minute_bars()
    by_bar = WindowGenerator(5, GOLD)
    assert starts(fed(by_bar, [*bars[:4], replace(bars[5], seq=5)])) == "21:00"
    by_timer = WindowGenerator(5, GOLD)
    fed(by_timer, bars[:4])
    assert by_timer.on_time(bars[5].datetime) == []
    assert starts(by_timer.on_time(bars[5].datetime + timedelta(seconds=15))) == "21:00"
    assert by_timer.on_time(bars[9].datetime) == []


def test_one_bar_may_finish_two_windows() -> None:
    bars = minute_bars()
    generator = WindowGenerator(3, GOLD)
    assert starts(fed(generator, [bars[0], replace(bars[5], seq=2)])) == "21:00 21:03"


def test_a_window_is_partial_when_a_bar_of_it_is_or_is_missing() -> None:
    bars = minute_bars()
    flawed = [replace(bars[0], partial=True), *bars[1:7], *bars[8:15]]
    assert [bar.partial for bar in fed(WindowGenerator(5, GOLD), flawed)] == [True, True, None]
    assert [bar.partial for bar in fed(WindowGenerator(5, GOLD), bars[2:10])] == [True, None]


def test_a_late_or_repeated_bar_never_gives_a_window_again() -> None:
    bars = minute_bars()
    generator = WindowGenerator(5, GOLD)
    assert len(fed(generator, [*bars[:5], bars[4], bars[0], bars[2]])) == 1
    assert fed(generator, [*bars[5:9], bars[5], bars[9]])[0].volume == 5


@pytest.mark.parametrize("length", [0, -5])
def test_a_window_of_no_minutes_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="expected minutes"):
        WindowGenerator(length, GOLD)


@given(
    st.sampled_from([2, 3, 5, 15, 30, 45, 60, 90, "day"]),
    st.sampled_from(["session", "clock"]),
    st.sets(st.integers(0, 554)),
)
@settings(max_examples=40, deadline=None)
def test_windows_conserve_volume_and_order(length: Length, alignment: Alignment, silent: set[int]) -> None:
    kept = [bar for number, bar in enumerate(minute_bars()) if number not in silent]
    bars = [replace(bar, seq=number) for number, bar in enumerate(kept, 1)]
    generator = WindowGenerator(length, GOLD, alignment)
    windows = fed(generator, bars) + generator.on_time(datetime(2025, 10, 15, 15, 1, tzinfo=SHANGHAI))
    assert sum(window.volume for window in windows) == len(bars)
    assert [window.datetime for window in windows] == sorted({window.datetime for window in windows})
    assert not any(window.partial for window in windows)
