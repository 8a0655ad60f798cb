"""Windows: one-minute bars go in, bars of N minutes or of the trading day come out.

`alignment="session"` counts trading minutes inside one session (the night, or the day across its breaks), so that a
window is always N minutes of trading and only a session's last one may be short: au day, 30 minutes: 09:00 09:30 10:00
10:45 11:15 13:45 14:15 14:45. `alignment="clock"` cuts at the wall clock's multiples of N instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import chain, groupby
from typing import Literal

from msgspec.structs import replace

from arbig.domain.bars import MINUTE, SEGMENT_GRACE
from arbig.domain.messages import SHANGHAI, BarData, Interval
from arbig.domain.sessions import Sessions

Length = int | Literal["day"]
Alignment = Literal["session", "clock"]
WINDOW_GRACE = SEGMENT_GRACE + timedelta(seconds=10)  # after the one-minute timer has had its say


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of one trading day: stamped `start`, its minutes run from `first` to before `end`."""

    start: datetime
    first: datetime
    end: datetime


class WindowGenerator:
    """Bars of one window length, of one symbol. A window is finished by its last minute, by the first bar of a later
    one, or by `on_time`; once finished it is never given again. It is partial when a bar of it is, when bars of it
    were missed by their numbers, or when the generator began in its middle."""

    def __init__(self, length: Length, sessions: Sessions, alignment: Alignment = "session") -> None:
        if length != "day" and length < 1:
            raise ValueError(f"window: found {length}, expected minutes (1 or more) or 'day'")
        self.length = length
        self.sessions = sessions
        self.alignment = alignment
        self.interval = interval_of(length)
        self._day: date | None = None
        self._windows: dict[datetime, Window] = {}
        self._window: Window | None = None
        self._running: BarData | None = None
        self._seen: BarData | None = None
        self._closed_until: datetime | None = None
        self._count = 0

    def on_bar(self, bar: BarData) -> list[BarData]:
        """The windows this one-minute bar finishes, oldest first."""
        if self._is_late(bar):
            return []
        finished: list[BarData] = []
        day = bar.trading_day or self.sessions.trading_day_of(bar.datetime)
        if day != self._day:
            finished += self._close()
            self._day, self._count = day, 0
            self._windows = windows_of(self.sessions, day, self.length, self.alignment)
        window = self._windows.get(bar.datetime)
        if window is None:
            return finished
        if window != self._window:
            finished += self._close()
        self._add(bar, window)
        if bar.datetime + MINUTE >= window.end:
            finished += self._close()
        return finished

    def on_time(self, session_time: datetime) -> list[BarData]:
        """The timer, for windows whose last minute never traded. Give it a time up to which every one-minute bar has
        arrived."""
        if self._window is None or session_time < self._window.end + WINDOW_GRACE:
            return []
        return self._close()

    def _is_late(self, bar: BarData) -> bool:
        if self._closed_until is not None and bar.datetime < self._closed_until:
            return True
        return self._seen is not None and bar.datetime <= self._seen.datetime

    def _add(self, bar: BarData, window: Window) -> None:
        begun = self._running
        joined = _first(bar, window, self.interval, self._day) if begun is None else _joined(begun, bar)
        partial = bar.partial or (begun is not None and begun.partial) or self._misses(bar, window)
        self._running = replace(joined, partial=True if partial else None)
        self._window, self._seen = window, bar

    def _misses(self, bar: BarData, window: Window) -> bool:
        """Whether bars of this window were missed before this one, by the bars' numbers where they have them."""
        seen = self._seen
        if bar.seq is None or (seen is not None and seen.seq is None):
            return seen is None and bar.datetime > window.first
        if seen is None or seen.seq is None:
            return bar.seq > 1 and bar.datetime > window.first
        return bar.seq > (seen.seq + 1 if seen.trading_day == bar.trading_day else 1)

    def _close(self) -> list[BarData]:
        if self._running is None or self._window is None:
            return []
        self._count += 1
        finished = replace(self._running, seq=self._count)
        self._closed_until = self._window.end
        self._running = self._window = None
        return [finished]


def interval_of(length: Length) -> str:
    """The name of a window length: 5m, 1h, d."""
    if length == "day":
        return Interval.DAILY
    return Interval.HOUR if length == 60 else f"{length}m"


def windows_of(
    sessions: Sessions, trading_day: date, length: Length, alignment: Alignment = "session"
) -> dict[datetime, Window]:
    """Every minute of the trading day with its window."""
    found: dict[datetime, Window] = {}
    for minutes in _cut(list(_minutes(sessions, trading_day)), length, alignment):
        start = datetime.combine(trading_day, time(), SHANGHAI) if length == "day" else minutes[0]
        window = Window(start, minutes[0], minutes[-1] + MINUTE)
        found.update(dict.fromkeys(minutes, window))
    return found


def _minutes(sessions: Sessions, trading_day: date) -> Iterator[list[datetime]]:
    """The minutes of each session, the breaks left out."""
    for _, segments in groupby(sessions.continuous(trading_day), lambda segment: segment.session):
        yield [
            segment.start + minute * MINUTE
            for segment in segments
            for minute in range((segment.end - segment.start) // MINUTE)
        ]


def _cut(sessions: list[list[datetime]], length: Length, alignment: Alignment) -> Iterator[list[datetime]]:
    if length == "day":
        yield list(chain.from_iterable(sessions))
        return
    for minutes in sessions:
        if alignment == "session":
            yield from (minutes[begin : begin + length] for begin in range(0, len(minutes), length))
        else:
            yield from (list(same) for _, same in groupby(minutes, lambda minute: _clock_window(minute, length)))


def _clock_window(minute: datetime, length: int) -> tuple[date, int]:
    return minute.date(), (minute.hour * 60 + minute.minute) // length


def _first(bar: BarData, window: Window, interval: str, trading_day: date | None) -> BarData:
    return replace(bar, datetime=window.start, interval=interval, trading_day=trading_day)


def _joined(begun: BarData, bar: BarData) -> BarData:
    both = begun.turnover is not None and bar.turnover is not None
    return replace(
        begun,
        high_price=max(begun.high_price, bar.high_price),
        low_price=min(begun.low_price, bar.low_price),
        close_price=bar.close_price,
        volume=begun.volume + bar.volume,
        open_interest=bar.open_interest,
        turnover=round((begun.turnover or 0.0) + (bar.turnover or 0.0), 2) if both else None,
    )
