"""When a notebook is due, against a table typed by hand from the exchange's holiday notices of 2025 and 2026."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from pathlib import Path

import pytest

from arbig.domain.messages import SHANGHAI
from arbig.domain.schedules import (
    Rule,
    ScheduleError,
    cron,
    due_between,
    session_point,
    span,
    time_of_day,
    trading_time,
)
from arbig.domain.sessions import CalendarError, Sessions
from arbig.runtime.calendar import load_calendar
from arbig.runtime.settings import load_settings

ROOT = Path(__file__).parents[2]
GOLD = time(2, 30)
"""au trades until 02:30 in its nights."""

CLOSED = {
    "National Day and Mid-Autumn 2025": "10-01 10-02 10-03 10-06 10-07 10-08",
    "New Year 2026": "01-01 01-02",
    "Spring Festival 2026": "02-16 02-17 02-18 02-19 02-20 02-23",
    "Qingming 2026": "04-06",
    "Labour Day 2026": "05-01 05-04 05-05",
    "Dragon Boat 2026": "06-19",
    "Mid-Autumn 2026": "09-25",
    "National Day 2026": "10-01 10-02 10-05 10-06 10-07",
}
"""Weekdays on which the exchange is closed, as its notices say; weekends never trade, worked ones neither."""

NO_NIGHT = "2025-12-31 2026-02-13 2026-04-03 2026-04-30 2026-06-18 2026-09-24 2026-09-30 2026-12-31"
"""Evenings of trading days without a night session, from the same notices (the last one: the day before New Year)."""

BY_HAND = [
    # the National Day of 2025, and a Friday night
    ("before_night_open: 10m", "2025-09-29 00:00", "09-29 20:50:00 10-09 20:50:00 10-10 20:50:00 10-13 20:50:00"),
    ("after_day_close: 5m", "2025-09-29 00:00", "09-29 15:05:00 09-30 15:05:00 10-09 15:05:00 10-10 15:05:00"),
    ("before_day_open: 15m", "2025-09-30 00:00", "09-30 08:45:00 10-09 08:45:00 10-10 08:45:00 10-13 08:45:00"),
    ("after_night_close: 5m", "2025-09-30 00:00", "09-30 02:35:00 10-10 02:35:00 10-11 02:35:00 10-14 02:35:00"),
    ("after_night_open: 30s", "2025-09-30 00:00", "10-09 21:00:30 10-10 21:00:30 10-13 21:00:30"),
    ("at: 20:30", "2025-09-30 00:00", "10-09 20:30:00 10-10 20:30:00 10-13 20:30:00"),
    ("at: 02:00", "2025-09-30 00:00", "09-30 02:00:00 10-10 02:00:00 10-11 02:00:00 10-14 02:00:00"),
    ("at: 09:05:30", "2025-09-30 12:00", "10-09 09:05:30 10-10 09:05:30 10-13 09:05:30"),
    ("cron: 30 8 * * mon-fri", "2025-09-30 00:00", "09-30 08:30:00 10-09 08:30:00 10-10 08:30:00 10-13 08:30:00"),
    ("cron: 45 20 * * *", "2025-09-29 00:00", "09-29 20:45:00 10-09 20:45:00 10-10 20:45:00 10-13 20:45:00"),
    # New Year, Spring Festival
    ("before_night_open: 10m", "2025-12-30 12:00", "12-30 20:50:00 01-05 20:50:00 01-06 20:50:00"),
    ("after_day_close: 5m", "2025-12-30 12:00", "12-30 15:05:00 12-31 15:05:00 01-05 15:05:00"),
    ("before_night_open: 10m", "2026-02-12 12:00", "02-12 20:50:00 02-24 20:50:00 02-25 20:50:00"),
    ("before_day_close: 10m", "2026-02-12 12:00", "02-12 14:50:00 02-13 14:50:00 02-24 14:50:00"),
    ("before_night_close: 1h30m", "2026-02-12 00:30", "02-12 01:00:00 02-13 01:00:00 02-25 01:00:00"),
    # the short ones
    ("before_night_open: 10m", "2026-04-02 12:00", "04-02 20:50:00 04-07 20:50:00"),
    ("before_night_open: 10m", "2026-04-29 12:00", "04-29 20:50:00 05-06 20:50:00"),
    ("before_night_open: 10m", "2026-06-17 12:00", "06-17 20:50:00 06-22 20:50:00"),
    ("before_night_open: 10m", "2026-09-23 12:00", "09-23 20:50:00 09-28 20:50:00 09-29 20:50:00 10-08 20:50:00"),
    ("at: 01:15", "2026-09-24 12:00", "09-29 01:15:00 09-30 01:15:00 10-09 01:15:00 10-10 01:15:00"),
    # the first of a month where it trades, over fourteen months
    (
        "cron: 0 9 1 * *",
        "2025-10-01 00:00",
        "12-01 09:00:00 04-01 09:00:00 06-01 09:00:00 07-01 09:00:00 09-01 09:00:00 12-01 09:00:00",
    ),
    # every Saturday, whether or not it trades
    ("cron: 0 10 * * sat days: all", "2025-10-01 00:00", "10-04 10:00:00 10-11 10:00:00 10-18 10:00:00"),
]


@pytest.fixture(scope="module")
def gold() -> Sessions:
    return Sessions(GOLD, load_calendar(load_settings(root=ROOT)))


def rule_of(words: str) -> Rule:
    words, _, everywhere = words.partition(" days: ")
    name, _, value = words.partition(": ")
    return {"at": lambda: time_of_day(value), "cron": lambda: cron(value, everywhere == "all")}.get(
        name, lambda: session_point(name, value)
    )()


def moment(words: str) -> datetime:
    return datetime.fromisoformat(words).replace(tzinfo=SHANGHAI)


@pytest.mark.parametrize(("words", "after", "expected"), BY_HAND)
def test_a_rule_is_due_when_the_notices_say(gold: Sessions, words: str, after: str, expected: str) -> None:
    parts = expected.split()
    wanted = [f"{day} {clock}" for day, clock in zip(parts[::2], parts[1::2], strict=True)]
    found, at = [], moment(after)
    for _ in wanted:
        at = rule_of(words).after(at, gold).moment
        found.append(f"{at:%m-%d %H:%M:%S}")
    assert found == wanted


def trading_days() -> list[date]:
    """2025-10-01 to 2026-12-31 by the notices: weekdays that are not closed."""
    closed = {
        date(2025 if "2025" in name else 2026, *map(int, day.split("-")))
        for name, days in CLOSED.items()
        for day in days.split()
    }
    every = [date(2025, 10, 1) + timedelta(days=n) for n in range(457)]
    assert every[-1] == date(2026, 12, 31)
    return [day for day in every if day.weekday() < 5 and day not in closed]


@pytest.mark.parametrize(
    ("words", "clock", "is_night"),
    [
        ("before_night_open: 10m", time(20, 50), True),
        ("at: 20:30", time(20, 30), True),
        ("after_day_close: 5m", time(15, 5), False),
        ("before_day_open: 1h", time(8, 0), False),
        ("cron: 7 14 * * *", time(14, 7), False),
    ],
)
def test_fifteen_months_have_every_due_and_no_other(gold: Sessions, words: str, clock: time, is_night: bool) -> None:
    without = {date.fromisoformat(day) for day in NO_NIGHT.split()} if is_night else set()
    expected = [datetime.combine(day, clock, SHANGHAI) for day in trading_days() if day not in without]
    last = expected[-1]
    found = [due.moment for due in due_between(rule_of(words), moment("2025-10-01"), last - timedelta(seconds=1), gold)]
    assert [*found, rule_of(words).after(last - timedelta(seconds=1), gold).moment] == expected
    assert len(expected) == (294 if is_night else 302)  # 327 weekdays, 25 closed, 8 evenings without a night


def test_a_due_belongs_to_the_trading_day_of_its_session(gold: Sessions) -> None:
    night = rule_of("before_night_open: 10m").after(moment("2025-10-10 12:00"), gold)
    small = rule_of("at: 02:00").after(moment("2025-10-10 12:00"), gold)
    saturday = rule_of("cron: 0 10 * * sat days: all").after(moment("2025-10-10 12:00"), gold)
    assert {night.trading_day, small.trading_day, saturday.trading_day} == {date(2025, 10, 13)}


@pytest.mark.parametrize("words", ["before_night_open: 10m", "after_day_close: 5m", "at: 20:30", "cron: 0 9 * * *"])
def test_a_day_beyond_the_known_calendar_is_refused_with_its_line(gold: Sessions, words: str) -> None:
    with pytest.raises(CalendarError, match=r"outside 1999-01-04\.\.2026-12-31; add the year's holidays to config/"):
        rule_of(words).after(moment("2026-12-31 15:30"), gold)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("before_lunch: 10m", "found 'before_lunch', expected before_ or after_ and one of night_open, night_close"),
        ("before_night_open: soon", "found 'soon', expected a span of time; write e.g. 10m, 1h30m or 45s"),
        ("before_night_open: 7h", "found '7h', expected at most 6h"),
        ("at: 25:00", "at: found '25:00', expected a time of day in quotes; write e.g. at: \"20:30\""),
        ("cron: 0 10 * *", "expected minute, hour, day, month and weekday"),
        ("cron: 0 10 * * 1", "found weekday '1', which cron and APScheduler count apart"),
        ("cron: 99 10 * * sat", "cron: found '99 10 * * sat'"),
    ],
)
def test_a_rule_that_cannot_be_understood_is_one_line(words: str, line: str) -> None:
    with pytest.raises(ScheduleError) as refused:
        rule_of(words)
    assert line in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("start", "end", "minutes"),
    [
        ("2025-10-15 15:05", "2025-10-15 20:50", 0),  # the evening before the night
        ("2025-10-15 20:50", "2025-10-15 21:10", 10),
        ("2025-10-10 15:05", "2025-10-10 20:59", 0),  # a Friday
        ("2025-09-30 15:05", "2025-10-09 09:07", 7),  # over the National Day
        ("2025-10-15 10:10", "2025-10-15 10:35", 10),  # the break in between
        ("2025-10-15 10:10", "2025-10-15 10:10", 0),
        ("2025-10-15 10:10", "2025-10-15 09:00", 0),  # a clock that went back
    ],
)
def test_closed_hours_make_nothing_late(gold: Sessions, start: str, end: str, minutes: int) -> None:
    found = trading_time(moment(start), moment(end), gold, timedelta(hours=1))
    assert found == timedelta(minutes=minutes)


def test_spans_are_read_as_people_write_them() -> None:
    assert [span(words) for words in ("10m", "1h30m", "45s", "2h")] == [
        timedelta(minutes=10), timedelta(minutes=90), timedelta(seconds=45), timedelta(hours=2),
    ]  # fmt: skip
