"""Arrays: the last bars a strategy was given, and the indicators it reads from them. Values are TA-Lib's, names are
vnpy's.

Every indicator returns its newest value, with `array=True` the whole window. A window that is not yet full (`inited`
is False) is padded with zeros on the left. What is read is never written again: an array that a strategy keeps stays
what it was, where vnpy's own would move on under it.

A backtest hands out bars from columns (`Feed`). As long as a manager is given the bars of one feed, one after the
other, it keeps nothing of its own: windows are views of the columns, and indicators are read from values computed for
many windows at once. Anything else (a bar left out, changed, or made by the strategy) goes to a window of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import talib
from numpy.typing import NDArray

from arbig.domain.feeds import Feed, Recipe, feed_of
from arbig.domain.messages import BarData

Array: TypeAlias = NDArray[np.float64]
OPEN, HIGH, LOW, CLOSE, VOLUME, TURNOVER, OPEN_INTEREST = range(7)


def _crosswise(down: Array, up: Array) -> tuple[Array, ...]:
    return up, down


def _channel(middle: Array, width: Array, dev: float) -> tuple[Array, ...]:
    return middle + width * dev, middle - width * dev


def _computed(recipe: Recipe, window: Sequence[Array]) -> tuple[Array, ...]:
    """The lines of one window, as TA-Lib computes them. Raises what TA-Lib raises."""
    lines: list[Array] = []
    for name, columns, options in recipe.calls:
        made = getattr(talib, name)(*(window[one] for one in columns), *options)
        lines += made if isinstance(made, tuple) else (made,)
    return recipe.combine(*lines)


def _one(name: str, *columns: int) -> Callable[..., Any]:
    """An indicator of one line over the last `n` bars."""

    def read(self: ArrayManager, n: int, array: bool = False) -> Any:
        known = self._known.get((name, n, array))
        if known is not None:
            try:
                return known[1][self._row - known[0]]
            except IndexError:
                pass  # its last row is behind us
        return self._read((name, n, array), Recipe(((name, columns, (n,)),)))

    read.__doc__ = f"TA-Lib {name} of the last `n` bars."
    return read


def _whole(name: str, *columns: int) -> Callable[..., Any]:
    """An indicator without a period."""

    def read(self: ArrayManager, array: bool = False) -> Any:
        return self._read((name, array), Recipe(((name, columns, ()),)))

    read.__doc__ = f"TA-Lib {name}."
    return read


def _oscillator(name: str) -> Callable[..., Any]:
    """The difference of a fast and a slow average of the close."""

    def read(self: ArrayManager, fast_period: int, slow_period: int, matype: int = 0, array: bool = False) -> Any:
        options = (fast_period, slow_period, matype)
        return self._read((name, *options, array), Recipe(((name, (CLOSE,), options),)))

    read.__doc__ = f"TA-Lib {name} of the close."
    return read


class ArrayManager:
    """The last `size` bars, column by column."""

    def __init__(self, size: int = 100) -> None:
        self.count = 0
        self.size = size
        self.inited = False
        self._feed: Feed | None = None
        self._row = -1
        self._known: dict[tuple[Any, ...], tuple[int, Array | list[Any]]] = {}
        self._own: Array = np.zeros((7, size))
        self._end = size

    def update_bar(self, bar: BarData) -> None:
        """Let the oldest bar fall out on the left, put this one on the right."""
        row = self._row + 1
        feed = self._feed
        if feed is not None and feed.bar is bar and feed.row == row:
            self._row = row
        elif not self._joins(bar):
            self._append(bar)
        self.count += 1
        if not self.inited:
            self.inited = self.count >= self.size

    def _joins(self, bar: BarData) -> bool:
        """Whether this is our first bar, and one that a feed has just handed out. One that was on a feed and is given
        another bar leaves it, with a window of its own."""
        if self._feed is not None:
            self._own, self._end = np.stack(self._window()), self.size
            self._feed = None
            self._known.clear()
        elif self.count == 0:
            self._feed = feed = feed_of(bar)
            if feed is not None:
                self._row = feed.row
                return True
        return False

    def _append(self, bar: BarData) -> None:
        own, end = self._own, self._end
        if end == own.shape[1]:
            kept = own[:, end - self.size + 1 :] if self.size > 1 else own[:, :0]
            end = kept.shape[1]
            own = self._own = np.empty((7, end + max(3 * self.size, 64)))
            own[:, :end] = kept
        own[:, end] = (
            bar.open_price,
            bar.high_price,
            bar.low_price,
            bar.close_price,
            bar.volume,
            0.0 if bar.turnover is None else bar.turnover,
            bar.open_interest,
        )
        self._end = end + 1

    def _column(self, name: int) -> Array:
        if self._feed is None:
            column = self._own[name, self._end - self.size : self._end]
            column.flags.writeable = False
            return column
        end = self._row + 1
        if self.inited:
            return self._feed.columns[name][end - self.size : end]
        padded = np.zeros(self.size)
        if self.count:
            padded[-self.count :] = self._feed.columns[name][end - self.count : end]
        padded.flags.writeable = False
        return padded

    def _window(self) -> list[Array]:
        return [self._column(name) for name in range(7)]

    def _ready(self, key: tuple[Any, ...]) -> Any:
        """What an indicator hands out at this bar, where it is known already. (Bars only go forward.)"""
        known = self._known.get(key)
        if known is not None:
            try:
                return known[1][self._row - known[0]]
            except IndexError:
                pass  # its last row is behind us
        return None

    def _read(self, key: tuple[Any, ...], recipe: Recipe) -> Any:
        """What an indicator hands out: its line, or a tuple of several. The key ends with `array`."""
        array: bool = key[-1]
        if self._feed is not None and self.inited:
            if (ready := self._ready(key)) is not None:
                return ready
            known = self._feed.stretch(recipe, self.size, self._row, array)
            if known is not None:
                start, lines = known
                handed = lines[0] if len(lines) == 1 else list(zip(*lines, strict=True))
                self._known[key] = start, handed
                return handed[self._row - start]
        lines = _computed(recipe, self._window())
        made = lines if array else tuple([line[-1] for line in lines])
        return made if len(made) > 1 else made[0]

    @property
    def open(self) -> Array:
        return self._column(OPEN)

    @property
    def high(self) -> Array:
        return self._column(HIGH)

    @property
    def low(self) -> Array:
        return self._column(LOW)

    @property
    def close(self) -> Array:
        return self._column(CLOSE)

    @property
    def volume(self) -> Array:
        return self._column(VOLUME)

    @property
    def turnover(self) -> Array:
        return self._column(TURNOVER)

    @property
    def open_interest(self) -> Array:
        return self._column(OPEN_INTEREST)

    open_array, high_array, low_array, close_array = open, high, low, close
    volume_array, turnover_array, open_interest_array = volume, turnover, open_interest

    sma = _one("SMA", CLOSE)
    ema = _one("EMA", CLOSE)
    kama = _one("KAMA", CLOSE)
    wma = _one("WMA", CLOSE)
    cmo = _one("CMO", CLOSE)
    mom = _one("MOM", CLOSE)
    roc = _one("ROC", CLOSE)
    rocr = _one("ROCR", CLOSE)
    rocp = _one("ROCP", CLOSE)
    rocr_100 = _one("ROCR100", CLOSE)
    trix = _one("TRIX", CLOSE)
    rsi = _one("RSI", CLOSE)
    cci = _one("CCI", HIGH, LOW, CLOSE)
    atr = _one("ATR", HIGH, LOW, CLOSE)
    natr = _one("NATR", HIGH, LOW, CLOSE)
    adx = _one("ADX", HIGH, LOW, CLOSE)
    adxr = _one("ADXR", HIGH, LOW, CLOSE)
    dx = _one("DX", HIGH, LOW, CLOSE)
    minus_di = _one("MINUS_DI", HIGH, LOW, CLOSE)
    plus_di = _one("PLUS_DI", HIGH, LOW, CLOSE)
    willr = _one("WILLR", HIGH, LOW, CLOSE)
    mfi = _one("MFI", HIGH, LOW, CLOSE, VOLUME)
    aroonosc = _one("AROONOSC", HIGH, LOW)
    minus_dm = _one("MINUS_DM", HIGH, LOW)
    plus_dm = _one("PLUS_DM", HIGH, LOW)

    obv = _whole("OBV", CLOSE, VOLUME)
    trange = _whole("TRANGE", HIGH, LOW, CLOSE)
    ad = _whole("AD", HIGH, LOW, CLOSE, VOLUME)
    bop = _whole("BOP", OPEN, HIGH, LOW, CLOSE)

    apo = _oscillator("APO")
    ppo = _oscillator("PPO")

    def std(self, n: int, nbdev: int = 1, array: bool = False) -> Any:
        """Standard deviation of the close."""
        return self._read(("std", n, nbdev, array), Recipe((("STDDEV", (CLOSE,), (n, nbdev)),)))

    def macd(self, fast_period: int, slow_period: int, signal_period: int, array: bool = False) -> Any:
        """MACD, its signal line and their difference."""
        periods = (fast_period, slow_period, signal_period)
        return self._read(("macd", *periods, array), Recipe((("MACD", (CLOSE,), periods),)))

    def ultosc(self, time_period1: int = 7, time_period2: int = 14, time_period3: int = 28, array: bool = False) -> Any:
        """Ultimate oscillator."""
        periods = (time_period1, time_period2, time_period3)
        return self._read(("ultosc", *periods, array), Recipe((("ULTOSC", (HIGH, LOW, CLOSE), periods),)))

    def boll(self, n: int, dev: float, array: bool = False) -> Any:
        """Bollinger channel: upper and lower line, `dev` standard deviations from the average."""
        key = ("boll", n, dev, array)
        calls = ("SMA", (CLOSE,), (n,)), ("STDDEV", (CLOSE,), (n, 1))
        return self._ready(key) or self._read(key, Recipe(calls, _channel, (dev,)))

    def keltner(self, n: int, dev: float, array: bool = False) -> Any:
        """Keltner channel: upper and lower line, `dev` average true ranges from the average."""
        key = ("keltner", n, dev, array)
        calls = ("SMA", (CLOSE,), (n,)), ("ATR", (HIGH, LOW, CLOSE), (n,))
        return self._ready(key) or self._read(key, Recipe(calls, _channel, (dev,)))

    def donchian(self, n: int, array: bool = False) -> Any:
        """Donchian channel: highest high and lowest low."""
        key = ("donchian", n, array)
        return self._ready(key) or self._read(key, Recipe((("MAX", (HIGH,), (n,)), ("MIN", (LOW,), (n,)))))

    def aroon(self, n: int, array: bool = False) -> Any:
        """Aroon up and down."""
        return self._read(("aroon", n, array), Recipe((("AROON", (HIGH, LOW), (n,)),), _crosswise))

    def adosc(self, fast_period: int, slow_period: int, array: bool = False) -> Any:
        """Chaikin accumulation / distribution oscillator."""
        periods = (fast_period, slow_period)
        return self._read(("adosc", *periods, array), Recipe((("ADOSC", (HIGH, LOW, CLOSE, VOLUME), periods),)))

    def stoch(
        self,
        fastk_period: int,
        slowk_period: int,
        slowk_matype: int,
        slowd_period: int,
        slowd_matype: int,
        array: bool = False,
    ) -> Any:
        """Stochastic: %K and %D."""
        periods = (fastk_period, slowk_period, slowk_matype, slowd_period, slowd_matype)
        return self._read(("stoch", *periods, array), Recipe((("STOCH", (HIGH, LOW, CLOSE), periods),)))

    def sar(self, acceleration: float, maximum: float, array: bool = False) -> Any:
        """Parabolic stop and reverse."""
        options = (acceleration, maximum)
        return self._read(("sar", *options, array), Recipe((("SAR", (HIGH, LOW), options),)))
