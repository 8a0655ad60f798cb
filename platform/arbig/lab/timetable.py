"""Timetable: the minutes in which a contract trades, day by day, for many rows at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time

import numpy as np
from numpy.typing import NDArray

from arbig.backtest.series import Times
from arbig.domain.instruments import InstrumentBook
from arbig.domain.sessions import AUCTION, ROLL, Sessions, TradingCalendar

Integers = NDArray[np.int64]
MINUTE = np.timedelta64(60, "s")
NOWHERE = -1


@dataclass(frozen=True, eq=False)
class Timetable:
    """The continuous segments of some trading days, in order: columns of the same length. Times are Shanghai's."""

    start: Times
    end: Times
    trading_day: Times
    has_auction: NDArray[np.bool_]

    def minutes(self) -> Times:
        """Every minute of every segment, by its start."""
        pieces = [np.arange(a, b, MINUTE) for a, b in zip(self.start, self.end, strict=True)]
        return np.concatenate(pieces) if pieces else np.array([], "datetime64[s]")

    def segment_of(self, moments: Times) -> Integers:
        """The segment in which each moment lies, or -1."""
        found = np.searchsorted(self.start, moments, side="right") - 1
        inside = (found >= 0) & (moments < self.end[np.maximum(found, 0)])
        return np.where(inside, found, NOWHERE).astype(np.int64)

    def minute_of(self, moments: Times) -> Times:
        """The minute whose bar each row belongs to: an auction's is its session's first, a closing tick's the last of
        its segment. Not-a-time where nothing trades."""
        minutes = moments.astype("datetime64[m]").astype("datetime64[s]")
        inside = self.segment_of(moments) >= 0
        before = np.clip(np.searchsorted(self.start, moments, side="right") - 1, 0, None)
        closing = ~inside & (minutes == self.end[before])
        after = np.clip(before + (moments >= self.start[before]), 0, len(self.start) - 1)
        lead = np.timedelta64(int(AUCTION.total_seconds()), "s")
        auction = ~inside & ~closing & self.has_auction[after]
        auction &= (moments >= self.start[after] - lead) & (moments < self.start[after])
        found = np.where(inside, minutes, np.datetime64("NaT"))
        found = np.where(closing, self.end[before] - MINUTE, found)
        placed: Times = np.where(auction, self.start[after], found)
        return placed


def timetable(book: InstrumentBook, calendar: TradingCalendar, symbol: str, days: Sequence[date]) -> Timetable:
    """The segments of a contract on these trading days, with the hours its product had then."""
    sessions: dict[time | None, Sessions] = {}
    rows: list[tuple[datetime, datetime, date, bool]] = []
    for day in days:
        close = book.get(symbol, day).night_close
        hours = sessions.setdefault(close, Sessions(close, calendar))
        auctions = {segment.end for segment in hours.segments(day) if segment.kind == "auction"}
        rows += [(part.start, part.end, day, part.start in auctions) for part in hours.continuous(day)]
    return Timetable(
        start=np.array([row[0].replace(tzinfo=None) for row in rows], "datetime64[s]"),
        end=np.array([row[1].replace(tzinfo=None) for row in rows], "datetime64[s]"),
        trading_day=np.array([row[2] for row in rows], "datetime64[D]"),
        has_auction=np.array([row[3] for row in rows], np.bool_),
    )


def trading_days_of(moments: Times, calendar: TradingCalendar) -> Times:
    """The trading day of each moment: an evening belongs to the next trading day, Saturday's small hours to Monday.
    Raises CalendarError beyond the calendar."""
    days = moments.astype("datetime64[D]")
    evening = (moments - days) >= np.timedelta64(ROLL.hour, "h")
    found: Times = np.empty(len(moments), "datetime64[D]")
    for late, following in ((False, calendar.day_from), (True, calendar.next_day)):
        chosen = evening == late
        unique, back = np.unique(days[chosen], return_inverse=True)
        known = np.array([following(day.astype(date)) for day in unique], "datetime64[D]")
        found[chosen] = known[back] if len(known) else found[chosen]
    return found
