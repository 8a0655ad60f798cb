"""Sessions: when the exchange trades, and to which trading day a moment belongs.

SHFE and INE share one shape: an optional night from 21:00 to the product's night close, then 09:00-10:15,
10:30-11:30, 13:30-15:00. The night belongs to the next trading day, Friday night to Monday; no night precedes a
statutory holiday, and the first session after one opens with its auction at 08:55.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Set
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from typing import Literal

from arbig.domain.messages import SHANGHAI

ROLL = time(18, 0)  # from here on an evening belongs to the next trading day
NIGHT_OPEN = time(21, 0)
DAY_OPEN = time(9, 0)
DAY_SEGMENTS = ((DAY_OPEN, time(10, 15)), (time(10, 30), time(11, 30)), (time(13, 30), time(15, 0)))
AUCTION = timedelta(minutes=5)
AUCTION_MATCHING = timedelta(minutes=1)
ONE_DAY = timedelta(days=1)
MIDNIGHT = time(0, 0)


class CalendarError(LookupError):
    """A day the calendar knows nothing about: one line with the mend."""


class Phase(StrEnum):
    CLOSED = "CLOSED"
    AUCTION_ORDER = "AUCTION_ORDER"
    AUCTION_MATCH = "AUCTION_MATCH"
    CONTINUOUS = "CONTINUOUS"
    BREAK = "BREAK"

    @property
    def accepts_orders(self) -> bool:
        return self in (Phase.CONTINUOUS, Phase.AUCTION_ORDER)


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of one session, from `start` to just before `end`."""

    start: datetime
    end: datetime
    kind: Literal["auction", "continuous"]
    session: Literal["night", "day"]

    def __contains__(self, moment: datetime) -> bool:
        return self.start <= moment < self.end


class TradingCalendar:
    """The exchange's trading days, and the trading days whose night was suspended."""

    def __init__(self, days: Set[date], no_night: Set[date] = frozenset()) -> None:
        if not days:
            raise CalendarError("trading calendar: no days; regenerate it with `python -m arbig.runtime.calendar`")
        self.days = frozenset(days)
        self.no_night = frozenset(no_night)
        self._sorted = sorted(days)

    @property
    def first(self) -> date:
        return self._sorted[0]

    @property
    def last(self) -> date:
        return self._sorted[-1]

    def is_trading_day(self, day: date) -> bool:
        self._check(day)
        return day in self.days

    def next_day(self, day: date) -> date:
        """The first trading day after `day`."""
        return self._at(bisect_right(self._sorted, day), day)

    def day_from(self, day: date) -> date:
        """`day` itself when it trades, else the first trading day after it."""
        return self._at(bisect_left(self._sorted, day), day)

    def previous_day(self, day: date) -> date:
        """The last trading day before `day`."""
        return self._at(bisect_left(self._sorted, day) - 1, day)

    def days_between(self, start: date, end: date) -> tuple[date, ...]:
        """The trading days from `start` to `end`, both included."""
        self._check(start)
        self._check(end)
        return tuple(self._sorted[bisect_left(self._sorted, start) : bisect_right(self._sorted, end)])

    def has_night(self, trading_day: date) -> bool:
        """Whether the trading day begins with a night session: not when more than a weekend lies before it."""
        if not self.is_trading_day(trading_day) or trading_day in self.no_night or trading_day == self.first:
            return False
        evening = self.previous_day(trading_day)
        return trading_day - evening == ONE_DAY or (evening.weekday() == 4 and trading_day - evening == 3 * ONE_DAY)

    def trading_day_of(self, moment: datetime) -> date:
        """The trading day of any moment; closed hours count towards the session that follows them, from 18:00 on."""
        local = moment.astimezone(SHANGHAI)
        return self.next_day(local.date()) if local.time() >= ROLL else self.day_from(local.date())

    def _at(self, index: int, asked: date) -> date:
        if not 0 <= index < len(self._sorted):
            self._refuse(asked)
        self._check(asked)
        return self._sorted[index]

    def _check(self, day: date) -> None:
        if not self.first <= day <= self.last:
            self._refuse(day)

    def _refuse(self, day: date) -> None:
        year = self.last.year + 1 if day >= self.last else day.year
        raise CalendarError(
            f"trading calendar: found {day}, which needs days outside {self.first}..{self.last}; "
            f"add the year's holidays to config/holidays.yaml, e.g. years: {{{year}: [{year}-01-01]}}"
        )


class Sessions:
    """The trading hours of one product: its night close (None: no night) on a calendar."""

    def __init__(self, night_close: time | None, calendar: TradingCalendar) -> None:
        self.night_close = night_close
        self.calendar = calendar
        self._segments: dict[date, tuple[Segment, ...]] = {}

    def trading_day_of(self, moment: datetime) -> date:
        return self.calendar.trading_day_of(moment)

    def segments(self, trading_day: date) -> tuple[Segment, ...]:
        """The trading day in order of time, auctions included. Raises CalendarError when it is no trading day."""
        known = self._segments.get(trading_day)
        if known is None:
            known = self._segments[trading_day] = self._build(trading_day)
        return known

    def continuous(self, trading_day: date) -> tuple[Segment, ...]:
        return tuple(segment for segment in self.segments(trading_day) if segment.kind == "continuous")

    def phase_at(self, moment: datetime) -> Phase:
        local = moment.astimezone(SHANGHAI)
        before: Segment | None = None
        for segment in self.segments(self.calendar.trading_day_of(local)):
            if local in segment:
                return _phase_in(segment, local)
            if local < segment.start:
                return Phase.BREAK if before is not None and before.session == segment.session else Phase.CLOSED
            before = segment
        return Phase.CLOSED

    def is_open(self, moment: datetime) -> bool:
        """Continuous trading at this moment."""
        return self.phase_at(moment) is Phase.CONTINUOUS

    def trades_between(self, start: datetime, end: datetime) -> bool:
        """Whether anything could have traded after `start` and before `end`: auction matching or continuous trading."""
        if end <= start:
            return False
        day, last = self.trading_day_of(start), self.trading_day_of(end)
        while True:
            if any(_first_trade(segment) < end and start < segment.end for segment in self.segments(day)):
                return True
            if day >= last:
                return False
            day = self.calendar.next_day(day)

    def _build(self, trading_day: date) -> tuple[Segment, ...]:
        if not self.calendar.is_trading_day(trading_day):
            raise CalendarError(
                f"sessions: found {trading_day}, expected a trading day; the next is "
                f"{self.calendar.day_from(trading_day)}"
            )
        segments: list[Segment] = []
        if self.night_close is not None and self.calendar.has_night(trading_day):
            evening = self.calendar.previous_day(trading_day)
            opening = _at(evening, NIGHT_OPEN)
            ends_on = evening if self.night_close > NIGHT_OPEN else evening + ONE_DAY
            segments.append(Segment(opening - AUCTION, opening, "auction", "night"))
            segments.append(Segment(opening, _at(ends_on, self.night_close), "continuous", "night"))
        else:
            opening = _at(trading_day, DAY_OPEN)
            segments.append(Segment(opening - AUCTION, opening, "auction", "day"))
        segments.extend(
            Segment(_at(trading_day, start), _at(trading_day, end), "continuous", "day") for start, end in DAY_SEGMENTS
        )
        return tuple(segments)


def _at(day: date, clock: time) -> datetime:
    return datetime.combine(day, clock, SHANGHAI)


def _first_trade(segment: Segment) -> datetime:
    return segment.end - AUCTION_MATCHING if segment.kind == "auction" else segment.start


def _phase_in(segment: Segment, moment: datetime) -> Phase:
    if segment.kind == "continuous":
        return Phase.CONTINUOUS
    return Phase.AUCTION_ORDER if moment < _first_trade(segment) else Phase.AUCTION_MATCH
