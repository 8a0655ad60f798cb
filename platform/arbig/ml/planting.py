"""Planting: bars with a signal that is known to be there, to see whether a training finds it, and only where it is."""

from __future__ import annotations

from dataclasses import replace
from math import copysign

import numpy as np

from arbig.backtest.series import BarSeries

FAST, SLOW = 5, 60


def planted(series: BarSeries, strength: float, tick: float) -> BarSeries:
    """The bars with a drift of `strength` (basis points a minute) along the last five minutes' move where volume is
    above its hour's mean, and against it where it is below: no linear rule of the features sees it."""
    closes = np.log(series.close)
    moves = np.diff(closes, prepend=closes[0])
    volume = series.volume
    path = np.empty(len(moves))
    level = path[0] = closes[0]
    for row in range(1, len(moves)):
        if row > SLOW:
            busy = volume[row - FAST : row].mean() >= volume[row - SLOW - 1 : row].mean()
            went = path[row - 1] - path[row - 1 - FAST]
            if went:
                level += copysign(strength * 1e-4, went) * (1 if busy else -1)
        level += moves[row]
        path[row] = level
    factor = np.exp(path - closes)

    def shifted(column: np.ndarray, by: np.ndarray) -> np.ndarray:
        rounded: np.ndarray = np.round(column * by / tick) * tick
        return np.round(rounded, 6)

    before = np.concatenate([factor[:1], factor[:-1]])
    opened, closed = shifted(series.open, before), shifted(series.close, factor)
    high = np.maximum.reduce([shifted(series.high, factor), opened, closed])
    low = np.minimum.reduce([shifted(series.low, factor), opened, closed])
    return replace(series, open=opened, high=high, low=low, close=closed)
