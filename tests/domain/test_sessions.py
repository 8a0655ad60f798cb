"""Sessions: nights, holidays and trading days as the exchange keeps them."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbig.domain.messages import SHANGHAI
from arbig.domain.sessions import CalendarError, Phase, Sessions, TradingCalendar
from arbig.runtime.calendar import TABLE, generated, table

CALENDAR = TradingCalendar(table(), frozenset({date(2020, 2, 4)}))
GOLD = Sessions(time(2, 30), CALENDAR)
REBAR = Sessions(time(23, 0), CALENDAR)
FREIGHT = Sessions(None, CALENDAR)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=SHANGHAI)


def hours(sessions: Sessions, day: date) -> list[str]:
    return [f"{s.start:%d %H:%M}-{s.end:%d %H:%M} {s.kind} {s.session}" for s in sessions.segments(day)]


@pytest.mark.filterwarnings("ignore:Series.values")  # inside exchange_calendars
def test_the_stored_table_is_what_exchange_calendars_says() -> None:
    assert TABLE.read_text(encoding="ascii") == generated()


def test_a_gold_day_begins_with_the_night_before_and_its_auction() -> None:
    assert hours(GOLD, date(2025, 10, 15)) == [
        "14 20:55-14 21:00 auction night",
        "14 21:00-15 02:30 continuous night",
        "15 09:00-15 10:15 continuous day",
        "15 10:30-15 11:30 continuous day",
        "15 13:30-15 15:00 continuous day",
    ]


def test_mondays_night_is_traded_on_friday_evening() -> None:
    assert hours(GOLD, date(2025, 10, 20))[:2] == [
        "17 20:55-17 21:00 auction night",
        "17 21:00-18 02:30 continuous night",
    ]
    assert GOLD.trading_day_of(at("2025-10-17 21:00:01")) == date(2025, 10, 20)
    assert GOLD.trading_day_of(at("2025-10-18 02:29:59")) == date(2025, 10, 20)


def test_the_first_session_after_a_holiday_opens_with_its_auction_at_0855() -> None:
    assert hours(GOLD, date(2025, 10, 9))[:2] == ["09 08:55-09 09:00 auction day", "09 09:00-09 10:15 continuous day"]
    assert not CALENDAR.has_night(date(2025, 10, 9))


def test_no_night_session_before_a_holiday() -> None:
    assert GOLD.phase_at(at("2025-09-30 21:00:01")) is Phase.CLOSED
    assert GOLD.trading_day_of(at("2025-09-30 21:00:01")) == date(2025, 10, 9)
    assert CALENDAR.has_night(date(2025, 9, 30))


def test_a_one_day_holiday_on_monday_takes_fridays_night_away() -> None:
    # Tomb-sweeping day 2025: Friday 4 April closed; Thursday night not traded, Monday opens without a night.
    assert not CALENDAR.has_night(date(2025, 4, 7))
    assert CALENDAR.has_night(date(2025, 4, 3))


def test_nights_suspended_by_decree_open_at_0855() -> None:
    assert hours(GOLD, date(2020, 2, 4))[0] == "04 08:55-04 09:00 auction day"


def test_night_closes_before_midnight_and_after() -> None:
    assert REBAR.phase_at(at("2025-10-14 22:59:59")) is Phase.CONTINUOUS
    assert REBAR.phase_at(at("2025-10-14 23:00:00")) is Phase.CLOSED
    assert GOLD.phase_at(at("2025-10-15 02:29:59.999")) is Phase.CONTINUOUS
    assert GOLD.phase_at(at("2025-10-15 02:30:00")) is Phase.CLOSED


@pytest.mark.parametrize(
    ("moment", "phase"),
    [
        ("2025-10-14 20:54:59", Phase.CLOSED),
        ("2025-10-14 20:55:00", Phase.AUCTION_ORDER),
        ("2025-10-14 20:58:59", Phase.AUCTION_ORDER),
        ("2025-10-14 20:59:00", Phase.AUCTION_MATCH),
        ("2025-10-14 21:00:00", Phase.CONTINUOUS),
        ("2025-10-15 08:56:00", Phase.CLOSED),
        ("2025-10-15 09:00:00", Phase.CONTINUOUS),
        ("2025-10-15 10:15:00", Phase.BREAK),
        ("2025-10-15 10:30:00", Phase.CONTINUOUS),
        ("2025-10-15 12:00:00", Phase.BREAK),
        ("2025-10-15 15:00:00", Phase.CLOSED),
        ("2025-10-18 10:00:00", Phase.CLOSED),
    ],
)
def test_phases_of_the_day(moment: str, phase: Phase) -> None:
    assert GOLD.phase_at(at(moment)) is phase
    assert GOLD.is_open(at(moment)) == (phase is Phase.CONTINUOUS)


def test_a_product_without_a_night_opens_at_0855_every_day() -> None:
    assert hours(FREIGHT, date(2025, 10, 15))[0] == "15 08:55-15 09:00 auction day"
    assert FREIGHT.phase_at(at("2025-10-14 21:30:00")) is Phase.CLOSED


def test_beyond_the_calendar_is_one_clear_line() -> None:
    with pytest.raises(CalendarError) as refused:
        CALENDAR.next_day(date(2026, 12, 31))
    assert "\n" not in str(refused.value)
    assert "config/holidays.yaml" in str(refused.value)
    assert "2027: [2027-01-01]" in str(refused.value)
    with pytest.raises(CalendarError):
        GOLD.trading_day_of(at("2027-01-04 10:00:00"))
    with pytest.raises(CalendarError, match="expected a trading day; the next is 2025-10-20"):
        GOLD.segments(date(2025, 10, 18))


def test_trading_between_two_moments() -> None:
    assert not GOLD.trades_between(at("2025-10-15 10:15:00"), at("2025-10-15 10:30:00"))
    assert GOLD.trades_between(at("2025-10-15 10:15:00"), at("2025-10-15 10:30:01"))
    assert not GOLD.trades_between(at("2025-10-15 15:00:00"), at("2025-10-15 20:59:00"))
    assert GOLD.trades_between(at("2025-10-15 15:00:00"), at("2025-10-15 20:59:01"))
    assert not GOLD.trades_between(at("2025-09-30 15:00:00"), at("2025-10-09 08:59:00"))


MOMENTS = st.datetimes(datetime(2019, 1, 1), datetime(2026, 12, 20)).map(lambda naive: naive.replace(tzinfo=SHANGHAI))


@given(MOMENTS)
def test_an_open_moment_lies_in_its_own_trading_days_segments(moment: datetime) -> None:
    day = GOLD.trading_day_of(moment)
    assert CALENDAR.is_trading_day(day)
    inside = [segment for segment in GOLD.segments(day) if moment in segment]
    assert GOLD.is_open(moment) == any(segment.kind == "continuous" for segment in inside)
    assert len(inside) <= 1


@given(MOMENTS, st.timedeltas(timedelta(0), timedelta(days=12)))
def test_the_trading_day_never_runs_backwards(moment: datetime, later: timedelta) -> None:
    assert GOLD.trading_day_of(moment) <= GOLD.trading_day_of(moment + later)


@given(st.dates(date(2019, 1, 2), date(2026, 12, 30)).filter(CALENDAR.is_trading_day))
def test_a_night_exists_exactly_when_only_a_weekend_or_nothing_lies_before_it(day: date) -> None:
    evening = CALENDAR.previous_day(day)
    between = [evening + timedelta(days=n) for n in range(1, (day - evening).days)]
    expected = all(other.weekday() >= 5 for other in between) and (not between or len(between) == 2)
    assert CALENDAR.has_night(day) == (expected and day not in CALENDAR.no_night)
