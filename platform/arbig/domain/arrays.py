"""Arrays: a sliding window of bars and the indicators a strategy reads from it. Values are TA-Lib's, names are vnpy's.

Every indicator returns its newest value, with `array=True` the whole window. A window that is not yet full (`inited`
is False) is padded with zeros on the left.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import talib
from numpy.typing import NDArray

from arbig.domain.messages import BarData

Array: TypeAlias = NDArray[np.float64]

OPEN, HIGH, LOW, CLOSE, VOLUME, TURNOVER, OPEN_INTEREST = range(7)


def _newest(values: Array, array: bool) -> Any:
    return values if array else values[-1]


def _windowed(name: str, *columns: int) -> Callable[..., Any]:
    """An indicator of the last `n` bars over some columns."""
    indicator = getattr(talib, name)

    def read(self: ArrayManager, n: int, array: bool = False) -> Any:
        return _newest(indicator(*self.columns(*columns), n), array)

    read.__doc__ = f"TA-Lib {name} of the last `n` bars."
    return read


def _whole(name: str, *columns: int) -> Callable[..., Any]:
    """An indicator without a period."""
    indicator = getattr(talib, name)

    def read(self: ArrayManager, array: bool = False) -> Any:
        return _newest(indicator(*self.columns(*columns)), array)

    read.__doc__ = f"TA-Lib {name}."
    return read


def _oscillator(name: str) -> Callable[..., Any]:
    """The difference of a fast and a slow average of the close."""
    indicator = getattr(talib, name)

    def read(self: ArrayManager, fast_period: int, slow_period: int, matype: int = 0, array: bool = False) -> Any:
        return _newest(indicator(self.close, fast_period, slow_period, matype), array)

    read.__doc__ = f"TA-Lib {name} of the close."
    return read


class ArrayManager:
    """The last `size` bars, column by column."""

    def __init__(self, size: int = 100) -> None:
        self.count = 0
        self.size = size
        self.inited = False
        self._window: Array = np.zeros((7, size))

    def update_bar(self, bar: BarData) -> None:
        """Let the oldest bar fall out on the left, put this one on the right."""
        self.count += 1
        self.inited = self.count >= self.size
        window = self._window
        window[:, :-1] = window[:, 1:]
        window[:, -1] = (
            bar.open_price,
            bar.high_price,
            bar.low_price,
            bar.close_price,
            bar.volume,
            0.0 if bar.turnover is None else bar.turnover,
            bar.open_interest,
        )

    def columns(self, *names: int) -> tuple[Array, ...]:
        return tuple(self._row(name) for name in names)

    def _row(self, name: int) -> Array:
        row: Array = self._window[name]
        return row

    @property
    def open(self) -> Array:
        return self._row(OPEN)

    @property
    def high(self) -> Array:
        return self._row(HIGH)

    @property
    def low(self) -> Array:
        return self._row(LOW)

    @property
    def close(self) -> Array:
        return self._row(CLOSE)

    @property
    def volume(self) -> Array:
        return self._row(VOLUME)

    @property
    def turnover(self) -> Array:
        return self._row(TURNOVER)

    @property
    def open_interest(self) -> Array:
        return self._row(OPEN_INTEREST)

    open_array, high_array, low_array, close_array = open, high, low, close
    volume_array, turnover_array, open_interest_array = volume, turnover, open_interest

    sma = _windowed("SMA", CLOSE)
    ema = _windowed("EMA", CLOSE)
    kama = _windowed("KAMA", CLOSE)
    wma = _windowed("WMA", CLOSE)
    cmo = _windowed("CMO", CLOSE)
    mom = _windowed("MOM", CLOSE)
    roc = _windowed("ROC", CLOSE)
    rocr = _windowed("ROCR", CLOSE)
    rocp = _windowed("ROCP", CLOSE)
    rocr_100 = _windowed("ROCR100", CLOSE)
    trix = _windowed("TRIX", CLOSE)
    rsi = _windowed("RSI", CLOSE)
    cci = _windowed("CCI", HIGH, LOW, CLOSE)
    atr = _windowed("ATR", HIGH, LOW, CLOSE)
    natr = _windowed("NATR", HIGH, LOW, CLOSE)
    adx = _windowed("ADX", HIGH, LOW, CLOSE)
    adxr = _windowed("ADXR", HIGH, LOW, CLOSE)
    dx = _windowed("DX", HIGH, LOW, CLOSE)
    minus_di = _windowed("MINUS_DI", HIGH, LOW, CLOSE)
    plus_di = _windowed("PLUS_DI", HIGH, LOW, CLOSE)
    willr = _windowed("WILLR", HIGH, LOW, CLOSE)
    mfi = _windowed("MFI", HIGH, LOW, CLOSE, VOLUME)
    aroonosc = _windowed("AROONOSC", HIGH, LOW)
    minus_dm = _windowed("MINUS_DM", HIGH, LOW)
    plus_dm = _windowed("PLUS_DM", HIGH, LOW)

    obv = _whole("OBV", CLOSE, VOLUME)
    trange = _whole("TRANGE", HIGH, LOW, CLOSE)
    ad = _whole("AD", HIGH, LOW, CLOSE, VOLUME)
    bop = _whole("BOP", OPEN, HIGH, LOW, CLOSE)

    apo = _oscillator("APO")
    ppo = _oscillator("PPO")

    def std(self, n: int, nbdev: int = 1, array: bool = False) -> Any:
        """Standard deviation of the close."""
        return _newest(talib.STDDEV(self.close, n, nbdev), array)

    def macd(self, fast_period: int, slow_period: int, signal_period: int, array: bool = False) -> Any:
        """MACD, its signal line and their difference."""
        lines = talib.MACD(self.close, fast_period, slow_period, signal_period)
        return tuple(_newest(line, array) for line in lines)

    def ultosc(self, time_period1: int = 7, time_period2: int = 14, time_period3: int = 28, array: bool = False) -> Any:
        """Ultimate oscillator."""
        high_low_close = self.columns(HIGH, LOW, CLOSE)
        return _newest(talib.ULTOSC(*high_low_close, time_period1, time_period2, time_period3), array)

    def boll(self, n: int, dev: float, array: bool = False) -> Any:
        """Bollinger channel: upper and lower line, `dev` standard deviations from the average."""
        return self._channel(talib.SMA(self.close, n), talib.STDDEV(self.close, n, 1), dev, array)

    def keltner(self, n: int, dev: float, array: bool = False) -> Any:
        """Keltner channel: upper and lower line, `dev` average true ranges from the average."""
        return self._channel(talib.SMA(self.close, n), talib.ATR(self.high, self.low, self.close, n), dev, array)

    def _channel(self, middle: Array, width: Array, dev: float, array: bool) -> Any:
        return _newest(middle + width * dev, array), _newest(middle - width * dev, array)

    def donchian(self, n: int, array: bool = False) -> Any:
        """Donchian channel: highest high and lowest low."""
        return _newest(talib.MAX(self.high, n), array), _newest(talib.MIN(self.low, n), array)

    def aroon(self, n: int, array: bool = False) -> Any:
        """Aroon up and down."""
        down, up = talib.AROON(self.high, self.low, n)
        return _newest(up, array), _newest(down, array)

    def adosc(self, fast_period: int, slow_period: int, array: bool = False) -> Any:
        """Chaikin accumulation / distribution oscillator."""
        columns = self.columns(HIGH, LOW, CLOSE, VOLUME)
        return _newest(talib.ADOSC(*columns, fast_period, slow_period), array)

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
        k, d = talib.STOCH(*self.columns(HIGH, LOW, CLOSE), *periods)
        return _newest(k, array), _newest(d, array)

    def sar(self, acceleration: float, maximum: float, array: bool = False) -> Any:
        """Parabolic stop and reverse."""
        return _newest(talib.SAR(self.high, self.low, acceleration, maximum), array)
