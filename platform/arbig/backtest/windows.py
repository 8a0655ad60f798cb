"""Windows: longer bars by vnpy's own counting, for matching `vnpy`.

What differs from `domain/windows.py`: N minutes end where (minute + 1) is a multiple of N by the wall clock, so that a
window runs on across a break whose last minute is none; hours are pushed by their 59th minute or by the first bar of
another hour; a day ends with the bar stamped `daily_end`, and needs one.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime as Time
from datetime import time
from functools import partial

import numpy as np
from numpy.typing import NDArray

from arbig.backtest.feeds import LongerBars, Rule, Store
from arbig.backtest.series import BarSeries
from arbig.domain.arrays import Array
from arbig.domain.messages import SHANGHAI, BarData, Interval, TickData
from arbig.domain.template import BarGenerator, Window
from arbig.domain.windows import interval_of


class Gathering:
    """A long bar that grows."""

    def __init__(self, first: BarData, stamp: Time) -> None:
        self.first = first
        self.stamp = stamp
        self.high, self.low = first.high_price, first.low_price
        self.last = first
        self.volume = first.volume
        self.turnover = first.turnover or 0.0

    def add(self, bar: BarData) -> None:
        self.high = max(self.high, bar.high_price)
        self.low = min(self.low, bar.low_price)
        self.last = bar
        self.volume += bar.volume
        self.turnover += bar.turnover or 0.0

    def whole(self, interval: str) -> BarData:
        first, last = self.first, self.last
        return BarData(
            symbol=first.symbol,
            exchange=first.exchange,
            datetime=self.stamp,
            interval=interval,
            open_price=first.open_price,
            high_price=self.high,
            low_price=self.low,
            close_price=last.close_price,
            volume=self.volume,
            open_interest=last.open_interest,
            turnover=self.turnover,
            trading_day=last.trading_day,
        )


class MinuteWindow:
    def __init__(self, minutes: int) -> None:
        self.minutes = minutes
        self.interval = interval_of(minutes)
        self._running: Gathering | None = None

    def on_bar(self, bar: BarData) -> Sequence[BarData]:
        if self._running is None:
            self._running = Gathering(bar, bar.datetime.replace(second=0, microsecond=0))
        else:
            self._running.add(bar)
        if (bar.datetime.minute + 1) % self.minutes:
            return ()
        whole = self._running.whole(self.interval)
        self._running = None
        return (whole,)


def vnpy_rule(generator: BarGenerator) -> Rule | None:
    """How the longer bars of a whole history are made at once."""
    if generator.interval is Interval.MINUTE and generator.window > 0:
        return ("vnpy", generator.window), partial(minutes_of, generator.window)
    return None


def minutes_of(minutes: int, store: Store, first: int) -> LongerBars:
    """What MinuteWindow makes of the rows from `first` on, in columns."""
    moments = store.datetime[first:]
    minute = moments.astype("datetime64[m]").astype(np.int64) % 60
    stops = np.flatnonzero((minute + 1) % minutes == 0) + 1
    starts = np.append(0, stops[:-1])[: len(stops)]
    open_, high, low, close, volume, turnover, interest = (one[first:] for one in store.columns)
    played = stops[-1] if len(stops) else 0
    longer = BarSeries(
        symbol=store.symbol,
        exchange=store.exchange,
        interval=interval_of(minutes),
        datetime=moments[starts].astype("datetime64[m]").astype("datetime64[s]"),
        trading_day=store.trading_day[first:][stops - 1],
        open=open_[starts],
        high=np.maximum.reduceat(high[:played], starts) if played else high[:0],
        low=np.minimum.reduceat(low[:played], starts) if played else low[:0],
        close=close[stops - 1],
        volume=_added(volume, starts, stops),
        turnover=_added(turnover, starts, stops),
        open_interest=interest[stops - 1],
    )
    return LongerBars(Store(longer), (stops - 1 + first).tolist())


def _added(values: Array, starts: NDArray[np.int64], stops: NDArray[np.int64]) -> Array:
    """The sum of each group, added up in order as a strategy's generator does: the last digit depends on it."""
    sums = np.zeros(len(starts))
    lengths = stops - starts
    for step in range(int(lengths.max(initial=0))):
        longer = lengths > step
        sums[longer] += values[starts[longer] + step]
    return sums


class HourWindow:
    def __init__(self, hours: int) -> None:
        self.hours = hours
        self.interval = interval_of(60 * hours)
        self._hour: Gathering | None = None
        self._running: Gathering | None = None
        self._count = 0

    def on_bar(self, bar: BarData) -> Sequence[BarData]:
        hour = self._hour
        if hour is None:
            self._hour = self._begun(bar)
            return ()
        if bar.datetime.minute == 59:
            hour.add(bar)
            self._hour = None
        elif bar.datetime.hour != hour.stamp.hour:
            self._hour = self._begun(bar)
        else:
            hour.add(bar)
            return ()
        return self._on_hour(hour.whole(Interval.HOUR))

    def _on_hour(self, bar: BarData) -> Sequence[BarData]:
        if self.hours == 1:
            return (bar,)
        if self._running is None:
            self._running = Gathering(bar, bar.datetime)
        else:
            self._running.add(bar)
        self._count += 1
        if self._count % self.hours:
            return ()
        whole = self._running.whole(self.interval)
        self._running, self._count = None, 0
        return (whole,)

    @staticmethod
    def _begun(bar: BarData) -> Gathering:
        return Gathering(bar, bar.datetime.replace(minute=0, second=0, microsecond=0))


class DayWindow:
    def __init__(self, daily_end: time) -> None:
        self.daily_end = daily_end
        self._running: Gathering | None = None

    def on_bar(self, bar: BarData) -> Sequence[BarData]:
        if self._running is None:
            self._running = Gathering(bar, bar.datetime)
        else:
            self._running.add(bar)
        if bar.datetime.time() != self.daily_end:
            return ()
        self._running.stamp = bar.datetime.replace(hour=0, minute=0, second=0, microsecond=0)
        whole = self._running.whole(Interval.DAILY)
        self._running = None
        return (whole,)


class VnpyRules:
    """vnpy's BarGenerator: what one of ours does when the engine says so."""

    def __init__(self, generator: BarGenerator) -> None:
        self.generator = generator
        self._last: TickData | None = None
        self._running: Minute | None = None

    def window(self, symbol: str) -> Window:
        generator = self.generator
        if generator.interval is Interval.MINUTE:
            return MinuteWindow(generator.window)
        if generator.interval is Interval.HOUR:
            return HourWindow(generator.window)
        assert generator.daily_end is not None  # BarGenerator refuses a day without one
        return DayWindow(generator.daily_end)

    def on_tick(self, tick: TickData) -> BarData | None:
        if not tick.last_price:
            return None
        finished = None
        minute = self._running
        if minute is None or not minute.holds(tick.datetime):
            finished = minute.whole() if minute else None
            minute = self._running = Minute(tick)
        else:
            minute.add(tick)
        if self._last is not None:
            minute.absorb(tick, self._last)
        self._last = tick
        return finished

    def generate(self) -> BarData | None:
        minute, self._running = self._running, None
        return minute.whole() if minute else None


class Minute:
    """A one-minute bar made of ticks, which counts what happened since the tick before."""

    def __init__(self, tick: TickData) -> None:
        self.first = self.last = tick
        self.high = self.low = tick.last_price
        self.volume = 0
        self.turnover = 0.0

    def holds(self, moment: Time) -> bool:
        last = self.last.datetime
        return last.minute == moment.minute and last.hour == moment.hour

    def add(self, tick: TickData) -> None:
        self.high = max(self.high, tick.last_price)
        self.low = min(self.low, tick.last_price)
        self.last = tick

    def absorb(self, tick: TickData, before: TickData) -> None:
        """New extremes of the day, volume and turnover since the tick before."""
        if tick.high_price != 0 and tick.high_price > before.high_price:
            self.high = max(self.high, tick.high_price)
        if tick.low_price != 0 and tick.low_price < before.low_price:
            self.low = min(self.low, tick.low_price)
        self.volume += max(tick.volume - before.volume, 0)
        self.turnover += max((tick.turnover or 0.0) - (before.turnover or 0.0), 0.0)

    def whole(self) -> BarData:
        last = self.last
        return BarData(
            symbol=last.symbol,
            exchange=last.exchange,
            datetime=last.datetime.astimezone(SHANGHAI).replace(second=0, microsecond=0),
            interval=Interval.MINUTE,
            open_price=self.first.last_price,
            high_price=self.high,
            low_price=self.low,
            close_price=last.last_price,
            volume=self.volume,
            open_interest=last.open_interest,
            turnover=self.turnover,
            trading_day=last.trading_day,
        )
