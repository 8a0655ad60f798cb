"""Downsampling: hundreds of thousands of bars for one picture, few enough candles for what is in view.

A page carries every bar once, packed; `assets/candles.js` unpacks them and groups what is in view, so that zooming
needs neither a server nor more than a few hundred candles. `grouped` is the same grouping here, for the first sight.
"""

from __future__ import annotations

import zlib
from base64 import b64encode
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arbig.backtest.series import BarSeries, Floats, Series, TickSeries, Times

CANDLES = 480
"""The most candles drawn at once."""


@dataclass(frozen=True, eq=False)
class Candles:
    """Bars side by side, a value each: `start` the index of its first bar, `count` how many bars it joins."""

    start: NDArray[np.int64]
    count: NDArray[np.int64]
    time: Times
    day: Times
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats

    def __len__(self) -> int:
        return len(self.start)


def candles(series: Series) -> Candles:
    """One candle a bar; ticks become one-minute candles."""
    return _of_bars(series) if isinstance(series, BarSeries) else _of_ticks(series)


def _of_bars(bars: BarSeries) -> Candles:
    return Candles(
        start=np.arange(len(bars)),
        count=np.ones(len(bars), np.int64),
        time=bars.datetime.astype("datetime64[s]"),
        day=bars.trading_day.astype("datetime64[D]"),
        open=bars.open,
        high=bars.high,
        low=bars.low,
        close=bars.close,
        volume=bars.volume,
    )


def _of_ticks(ticks: Series) -> Candles:
    assert isinstance(ticks, TickSeries)
    minutes = ticks.datetime.astype("datetime64[m]")
    first = np.flatnonzero(np.diff(minutes.astype(np.int64), prepend=-1))
    last = np.append(first[1:], len(ticks)) - 1
    price, total = ticks.last_price, ticks.volume
    day = ticks.trading_day[first].astype("datetime64[D]")
    before = np.where(np.diff(day.astype(np.int64), prepend=-1) == 0, total[first - 1], 0.0)
    empty = not len(first)
    return Candles(
        start=np.arange(len(first)),
        count=np.ones(len(first), np.int64),
        time=minutes[first].astype("datetime64[s]"),
        day=day,
        open=price[first],
        high=price if empty else np.maximum.reduceat(price, first),
        low=price if empty else np.minimum.reduceat(price, first),
        close=price[last],
        volume=total[last] - before,
    )


def grouped(given: Candles, size: int) -> Candles:
    """Every `size` neighbours as one candle; groups begin at multiples of `size`, the last may be smaller."""
    if size == 1 or not len(given):
        return given
    first = np.arange(0, len(given), size)
    last = np.append(first[1:], len(given)) - 1
    return Candles(
        start=first,
        count=last - first + 1,
        time=given.time[first],
        day=given.day[first],
        open=given.open[first],
        high=np.maximum.reduceat(given.high, first),
        low=np.minimum.reduceat(given.low, first),
        close=given.close[last],
        volume=np.add.reduceat(given.volume, first),
    )


def group_size(bars: float, most: int = CANDLES) -> int:
    """The smallest power of two that draws this many bars with at most `most` candles."""
    size = 1
    while bars > most * size:
        size *= 2
    return size


@dataclass(frozen=True)
class Packed:
    """Bars as text: base64 of zlib of whole numbers (prices in `step`s), told apart by byte and told as differences."""

    count: int
    step: float
    first_time: int
    first_day: int
    bytes: str

    def as_words(self) -> dict[str, float | int | str]:
        """What `candles.js` is given."""
        return {
            "count": self.count,
            "step": self.step,
            "first_time": self.first_time,
            "first_day": self.first_day,
            "bytes": self.bytes,
        }


def packed(given: Candles, price_tick: float) -> Packed:
    """Every bar, to the price tick (to a thousandth of one where prices are between ticks, e.g. adjusted ones)."""
    if not len(given):
        return Packed(0, price_tick, 0, 0, "")
    step = price_tick if _on_ticks(given.close, price_tick) and _on_ticks(given.open, price_tick) else price_tick / 1000
    opens, highs, lows, closes = (
        np.rint(prices / step).astype(np.int64) for prices in (given.open, given.high, given.low, given.close)
    )
    times, days = given.time.astype(np.int64), given.day.astype(np.int64)
    columns = (
        np.diff(times, prepend=times[0]),
        np.diff(days, prepend=days[0]),
        np.diff(closes, prepend=0),
        opens - np.concatenate(([0], closes[:-1])),
        highs - np.maximum(opens, closes),
        np.minimum(opens, closes) - lows,
        np.rint(given.volume).astype(np.int64),
    )
    plain = b"".join(_planes(column) for column in columns)
    text = b64encode(zlib.compress(plain, 6)).decode()
    return Packed(len(given), step, int(times[0]), int(days[0]), text)


def _on_ticks(prices: Floats, price_tick: float) -> bool:
    ticks = prices / price_tick
    return bool(np.abs(ticks - np.rint(ticks)).max() < 1e-3)


def _planes(values: NDArray[np.int64]) -> bytes:
    """Small numbers of either sign as small ones of none (0, -1, 1, ...); all first bytes, then all second ones, ..."""
    folded = ((values << 1) ^ (values >> 63)).astype("<u4")
    return np.ascontiguousarray(folded.view(np.uint8).reshape(-1, 4).T).tobytes()
