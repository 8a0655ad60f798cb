"""Series: the candles of one contract and interval. The newest may still grow; the past is put before it, piece by
piece, when somebody looks there.

A candle's place is its number: 0 is the first that was loaded, older ones count down from -1, so that what is drawn
keeps its place whatever comes on either side.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import numpy as np

from arbig.domain.arrays import Array
from arbig.domain.messages import BarData, TickData
from arbig.domain.sessions import CalendarError, Sessions
from arbig.domain.windows import Length, Window, windows_of

LENGTHS: Mapping[str, Length] = {"1m": 1, "3m": 3, "5m": 5, "15m": 15, "30m": 30, "60m": 60, "d": "day"}
HISTORY_BARS = 600
KEPT_CANDLES = 6000
KEPT_PAST = 20_000
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Candle:
    """One bar as drawn. The last one of a series may still be growing."""

    time: datetime
    open: float
    high: float
    low: float
    close: float
    volume: float
    open_interest: float = 0.0

    def after(self, tick: TickData, volume: float) -> Candle:
        price = tick.last_price
        return replace(
            self,
            high=max(self.high, price),
            low=min(self.low, price),
            close=price,
            volume=self.volume + volume,
            open_interest=tick.open_interest,
        )

    def joined(self, later: Candle) -> Candle:
        return replace(
            later,
            time=self.time,
            open=self.open,
            high=max(self.high, later.high),
            low=min(self.low, later.low),
            volume=self.volume + later.volume,
        )


def candle_of(bar: BarData) -> Candle:
    return Candle(
        bar.datetime,
        bar.open_price,
        bar.high_price,
        bar.low_price,
        bar.close_price,
        bar.volume,
        bar.open_interest,
    )


def _as_it_is(moment: datetime) -> datetime | None:
    return moment


@dataclass
class Series:
    """Oldest first. `start_of`: the time of the candle in which a moment lies, None outside trading: a night belongs to
    the candle of its trading day. `epoch` changes when they were loaded anew; `complete` when there is nothing older.
    """

    start_of: Callable[[datetime], datetime | None] = _as_it_is
    candles: list[Candle] = field(default_factory=list)
    past: list[Candle] = field(default_factory=list)
    epoch: int = 0
    revision: int = 0
    complete: bool = False
    asking: bool = False
    last_volume: int | None = None

    def load(self, candles: Iterable[Candle]) -> None:
        self.candles = list(candles)
        self.past = []
        self.complete = False
        self.epoch += 1
        self.revision += 1

    def put_before(self, candles: Sequence[Candle]) -> None:
        """Older ones; none of them means that there are none."""
        first = self.first
        older = [candle for candle in candles if first is None or candle.time < first.time]
        self.complete = not older or len(self.past) >= KEPT_PAST
        self.past = [*older, *self.past]
        self.revision += 1

    @property
    def first(self) -> Candle | None:
        return next(iter(self.past or self.candles), None)

    @property
    def first_place(self) -> int:
        return -len(self.past)

    def put(self, candle: Candle) -> None:
        """A finished bar: it replaces the growing one of its time, or one already drawn, or comes last."""
        times = [known.time for known in self.candles[-3:]]
        place = len(self.candles) - len(times) + bisect_left(times, candle.time)
        if place < len(self.candles) and self.candles[place].time == candle.time:
            self.candles[place] = candle
        elif place == len(self.candles):
            self._append(candle)
        self.revision += 1

    def grow(self, tick: TickData, start: datetime) -> None:
        """A tick moves the candle that starts at `start`, or begins it."""
        traded = max(0, tick.volume - self.last_volume) if self.last_volume is not None else 0
        self.last_volume = tick.volume
        if self.candles and self.candles[-1].time >= start:
            self.candles[-1] = self.candles[-1].after(tick, traded)
        else:
            price = tick.last_price
            self._append(Candle(start, price, price, price, price, traded, tick.open_interest))
        self.revision += 1

    def _append(self, candle: Candle) -> None:
        self.candles.append(candle)
        if len(self.candles) > KEPT_CANDLES:
            self.load(self.candles[-HISTORY_BARS:])

    def place_of(self, moment: datetime) -> int | None:
        """Of the candle in which something happened."""
        time = self.start_of(moment) or moment
        place = bisect_right(self.candles, time, key=lambda candle: candle.time) - 1
        if place >= 0:
            return place
        before = bisect_right(self.past, time, key=lambda candle: candle.time) - 1
        return before - len(self.past) if before >= 0 else None

    def columns(self) -> list[Array]:
        """Past and present as ArrayManager has them: open, high, low, close, volume, turnover, open interest."""
        rows = [(c.open, c.high, c.low, c.close, c.volume, 0.0, c.open_interest) for c in (*self.past, *self.candles)]
        return list(np.array(rows, np.float64).reshape(-1, 7).T.copy())


class Windows:
    """In which window of a contract's sessions a moment lies."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._known: dict[tuple[object, Length], dict[datetime, Window]] = {}

    def start_of(self, moment: datetime, interval: str, closing: bool = True) -> datetime | None:
        """None outside trading. `closing`: the tick at the end of a segment belongs to its last minute."""
        minute = moment.replace(second=0, microsecond=0)
        windows = self._windows(minute, LENGTHS[interval])
        window = windows.get(minute) or (windows.get(minute - MINUTE) if closing else None)
        return window.start if window else None

    def _windows(self, minute: datetime, length: Length) -> dict[datetime, Window]:
        try:
            day = self._sessions.trading_day_of(minute)
            if (day, length) not in self._known:
                self._known[day, length] = windows_of(self._sessions, day, length)
        except CalendarError:
            return {}
        return self._known[day, length]


def joined_windows(minutes: Iterable[Candle], windows: Windows, interval: str) -> list[Candle]:
    """One-minute candles as longer ones; the last may be unfinished."""
    made: list[Candle] = []
    for minute in minutes:
        start = windows.start_of(minute.time, interval)
        if start is None:
            continue
        if made and made[-1].time == start:
            made[-1] = made[-1].joined(minute)
        else:
            made.append(replace(minute, time=start))
    return made
