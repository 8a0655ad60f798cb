"""Kernels: TA-Lib's own C functions, called over many windows by one compiled loop.

An indicator's value depends on where its window begins (running sums, smoothing from the first bar on), so nothing is
carried from window to window: every window is computed afresh, by the very function that `talib` calls, and the values
are equal to the last bit. Without numba, or where the functions cannot be found, there are no kernels and each window
is computed when it is asked for.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import talib

from arbig.domain.arrays import Array
from arbig.domain.feeds import Call

REALS = {"STDDEV": (1,), "SAR": (0, 1)}
"""Which options are C doubles; all others are C ints."""
OUTPUTS = {"MACD": 3, "STOCH": 2, "AROON": 2}
"""How many arrays come out, where it is not one."""

FRESH = {"CCI", "MAX", "MIN"}
"""Their value is computed anew from the last n bars at every bar, so that the bars before need not be gone through.
CCI adds up in the order of a ring of n places: it begins whole rings before the end, where the order is the same."""


class Kernel:
    """One TA-Lib function with its options."""

    def __init__(self, call: Call) -> None:
        self.name, self.columns, options = call
        reals = REALS.get(self.name, ())
        self.options = tuple(float(one) if at in reals else int(one) for at, one in enumerate(options))
        self.outputs = OUTPUTS.get(self.name, 1)
        self.address = _address(f"TA_{self.name}")
        self.lookback = _lookback(self.name, self.options)

    def windows(self, columns: Sequence[Array], size: int, first: int, count: int) -> list[Array] | None:
        """Every output as a matrix: row i is the window of `size` values that ends with row `first + i`. None where
        TA-Lib refuses."""
        made = [np.empty((count, size)) for _ in range(self.outputs)]
        for matrix in made:
            matrix[:, : self.lookback] = np.nan
        if self.lookback >= size or self._call(columns, size, first, count, 0, made, 8 * self.lookback):
            return made
        return None

    def newest(self, columns: Sequence[Array], size: int, first: int, count: int) -> list[Array] | None:
        """Only the last value of each window."""
        if self.lookback >= size:
            return [np.full(count, np.nan) for _ in range(self.outputs)]
        begin = 0
        if self.name in FRESH:
            begin = size - 1 - (size - 1 - self.lookback) % (self.lookback + 1)
        made = [np.empty((count, size)) for _ in range(self.outputs)]
        if not self._call(columns, size, first, count, begin, made, 0):
            return None
        return [matrix[:, size - 1 - max(begin, self.lookback)] for matrix in made]

    def _call(
        self, columns: Sequence[Array], size: int, first: int, count: int, begin: int, made: list[Array], at: int
    ) -> bool:
        counts = np.zeros(2, np.int32)
        done = _loop()(
            self.address,
            tuple(columns[one].ctypes.data + 8 * (first - size + 1) for one in self.columns),
            self.options,
            begin,
            size,
            count,
            size - max(begin, self.lookback),
            counts,
            tuple(matrix.ctypes.data + at for matrix in made),
        )
        return bool(done == count)


def kernel(call: Call) -> Kernel | None:
    """None where this machine has none, or where the options are not what C expects: then talib itself is asked, and
    refuses them in its own words."""
    name, _, options = call
    reals = REALS.get(name, ())
    if any(type(one) is not int and at not in reals for at, one in enumerate(options)):
        return None
    return _kernel(call)


@cache
def _kernel(call: Call) -> Kernel | None:
    try:
        return Kernel(call) if available() else None
    except (AttributeError, OverflowError, TypeError, ValueError):
        return None


@cache
def available() -> bool:
    """Whether numba is there and the TA-Lib functions can be called by address."""
    try:
        _loop()
        _address("TA_SMA")
    except (ImportError, AttributeError, OSError):
        return False
    return True


@cache
def _library() -> ctypes.CDLL:
    """The C library that `talib` itself calls: looked up through its extension, so that settings are shared."""
    return ctypes.CDLL(talib._ta_lib.__file__)


def _address(name: str) -> int:
    found = ctypes.cast(getattr(_library(), name), ctypes.c_void_p).value
    assert found is not None
    return found


def _lookback(name: str, options: Sequence[float]) -> int:
    """How many values at the left of a window stay empty."""
    function = getattr(_library(), f"TA_{name}_Lookback")
    function.restype = ctypes.c_int
    function.argtypes = [ctypes.c_double if isinstance(one, float) else ctypes.c_int for one in options]
    found: int = function(*options)
    if found < 0:
        raise OverflowError(f"TA-Lib refuses {name}{tuple(options)}")
    return found


@cache
def _loop() -> Any:
    """The compiled loop; one specialisation for each shape of a C function, kept on disk by numba."""
    from arbig.backtest.compiled import call_windows

    return call_windows
