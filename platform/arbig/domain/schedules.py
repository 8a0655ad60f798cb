"""Schedules: when something is due. A rule and the trading calendar go in, moments of session time come out.

A session point happens at most once a trading day: `before_night_open: 10m` has none on a day without a night. A time
of day follows the sessions too: from 18:00 on, and before 08:00, it belongs to the night of the trading day that
follows, and is left out where there is no night; the rest of the day belongs to its own date.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from arbig.domain.messages import SHANGHAI
from arbig.domain.sessions import ONE_DAY, ROLL, Segment, Sessions, TradingCalendar

if TYPE_CHECKING:
    from apscheduler.triggers.cron import CronTrigger  # type: ignore[import-untyped]

MORNING = time(8, 0)
LONGEST = timedelta(hours=6)
SPAN = re.compile(r"^(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?$")
POINTS = ("night_open", "night_close", "day_open", "day_close")
WEEKDAYS = "mon, tue, ... or mon-fri"


class ScheduleError(ValueError):
    """A rule that cannot be understood: what was found, what was expected, what to write."""


class Due(NamedTuple):
    """A moment of session time, and the trading day it belongs to."""

    moment: datetime
    trading_day: date


class Rule(Protocol):
    """When something is due; `words` are those of the configuration."""

    @property
    def words(self) -> str: ...

    def after(self, moment: datetime, sessions: Sessions) -> Due:
        """The first due after a moment. Raises CalendarError where it needs a day the calendar does not know."""


@dataclass(frozen=True)
class SessionPoint:
    """So long before or after a session opens or closes."""

    words: str
    point: Literal["night_open", "night_close", "day_open", "day_close"]
    offset: timedelta

    def after(self, moment: datetime, sessions: Sessions) -> Due:
        return next(due for due in _by_day(self.on, moment, sessions))

    def on(self, trading_day: date, sessions: Sessions) -> datetime | None:
        session, edge = self.point.split("_")
        held = [each for each in sessions.continuous(trading_day) if each.session == session]
        if not held:
            return None
        return (held[0].start if edge == "open" else held[-1].end) + self.offset


@dataclass(frozen=True)
class TimeOfDay:
    """At this time of each trading day."""

    words: str
    at: time

    def after(self, moment: datetime, sessions: Sessions) -> Due:
        return next(due for due in _by_day(self.on, moment, sessions))

    def on(self, trading_day: date, sessions: Sessions) -> datetime | None:
        calendar = sessions.calendar
        if MORNING <= self.at < ROLL:
            return datetime.combine(trading_day, self.at, SHANGHAI)
        if not calendar.has_night(trading_day):
            return None
        evening = calendar.previous_day(trading_day)
        return datetime.combine(evening if self.at >= ROLL else evening + ONE_DAY, self.at, SHANGHAI)


@dataclass(frozen=True)
class Cron:
    """As cron says it, in Shanghai; on trading days and in their nights only, unless `every_day`."""

    words: str
    trigger: CronTrigger
    every_day: bool

    def after(self, moment: datetime, sessions: Sessions) -> Due:
        calendar = sessions.calendar
        while True:
            found = self.trigger.get_next_fire_time(None, moment + timedelta(microseconds=1))
            if found is None:
                raise ScheduleError(f"{self.words}: is never due again")
            moment = found.astimezone(SHANGHAI)
            trading_day = calendar.trading_day_of(moment)
            if self.every_day or is_of_a_session(moment, calendar):
                return Due(moment, trading_day)


def is_of_a_session(moment: datetime, calendar: TradingCalendar) -> bool:
    """Whether a time of day belongs to a trading day or to the night before one."""
    local = moment.astimezone(SHANGHAI)
    if MORNING <= local.time() < ROLL:
        return calendar.is_trading_day(local.date())
    evening = local.date() if local.time() >= ROLL else local.date() - ONE_DAY
    return calendar.is_trading_day(evening) and calendar.has_night(calendar.next_day(evening))


def _by_day(on: Moment, after: datetime, sessions: Sessions) -> Iterator[Due]:
    """A rule that is due at most once a trading day, day by day."""
    local = after.astimezone(SHANGHAI)
    day = sessions.calendar.day_from(local.date())
    while True:
        moment = on(day, sessions)
        if moment is not None and moment > local:
            yield Due(moment, day)
        day = sessions.calendar.next_day(day)


class Moment(Protocol):
    def __call__(self, trading_day: date, sessions: Sessions, /) -> datetime | None: ...


def due_between(rule: Rule, after: datetime, until: datetime, sessions: Sessions) -> Iterator[Due]:
    """Every due after one moment, up to and with another. Raises CalendarError."""
    due = rule.after(after, sessions)
    while due.moment <= until:
        yield due
        due = rule.after(due.moment, sessions)


def trading_time(start: datetime, end: datetime, sessions: Sessions, enough: timedelta) -> timedelta:
    """How long the exchange has traded between two moments; no more is counted than `enough`. What was due in closed
    hours is not late before the next session."""
    total = timedelta(0)
    if end <= start:
        return total
    day, last = sessions.trading_day_of(start), sessions.trading_day_of(end)
    while True:
        total += sum((_shared(segment, start, end) for segment in sessions.continuous(day)), timedelta(0))
        if day >= last or total > enough:
            return total
        day = sessions.calendar.next_day(day)


def _shared(segment: Segment, start: datetime, end: datetime) -> timedelta:
    return max(timedelta(0), min(segment.end, end) - max(segment.start, start))


# ---- words


def span(words: str | int) -> timedelta:
    """`10m`, `1h30m`, `45s`. Raises ScheduleError."""
    found = SPAN.match(str(words).strip())
    if found is None or not any(found.groups()):
        raise ScheduleError(f"found {words!r}, expected a span of time; write e.g. 10m, 1h30m or 45s")
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return timedelta(hours=hours, minutes=minutes, seconds=seconds)


def session_point(name: str, words: str | int) -> SessionPoint:
    """`before_night_open`, `10m`. Raises ScheduleError."""
    side, _, point = name.partition("_")
    if side not in ("before", "after") or point not in POINTS:
        raise ScheduleError(f"found {name!r}, expected before_ or after_ and one of {', '.join(POINTS)}")
    offset = span(words)
    if offset > LONGEST:
        raise ScheduleError(f"{name}: found {words!r}, expected at most 6h; write e.g. {name}: 10m")
    return SessionPoint(f"{name}: {words}", point, -offset if side == "before" else offset)  # type: ignore[arg-type]


def time_of_day(words: str) -> TimeOfDay:
    """`20:30`, `09:05:30`. Raises ScheduleError."""
    try:
        at = time.fromisoformat(words)
    except (TypeError, ValueError):
        at = None
    if at is None or at.tzinfo is not None:
        raise ScheduleError(f'at: found {words!r}, expected a time of day in quotes; write e.g. at: "20:30"')
    return TimeOfDay(f"at: {words}", at)


def cron(words: str, every_day: bool) -> Cron:
    """`0 10 * * sat`: minute, hour, day, month, weekday. Raises ScheduleError."""
    from apscheduler.triggers.cron import CronTrigger

    fields = str(words).split()
    mend = 'write e.g. cron: "0 10 * * sat"'
    if len(fields) != 5:
        raise ScheduleError(f"cron: found {words!r}, expected minute, hour, day, month and weekday; {mend}")
    if re.search(r"\d", fields[4]):
        raise ScheduleError(f"cron: found weekday {fields[4]!r}, which cron and APScheduler count apart; {WEEKDAYS}")
    try:
        trigger = CronTrigger.from_crontab(words, timezone=SHANGHAI)
    except ValueError as error:
        raise ScheduleError(f"cron: found {words!r}: {error}; {mend}") from None
    return Cron(f"cron: {words}", trigger, every_day)
