"""A strategy's process starts without pandas, and loses nothing by that."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
from arbig.runtime.talib_light import import_talib
import_talib()
from arbig import ArrayManager
import talib
assert "pandas" not in sys.modules
import numpy
assert talib.SMA(numpy.arange(4.0), 2)[-1] == 2.5
import pandas
series = talib.SMA(pandas.Series([1.0, 2.0, 3.0], index=[7, 8, 9]), 2)
assert isinstance(series, pandas.Series) and list(series.index) == [7, 8, 9]
from talib import abstract
frame = abstract.Function("SMA")(pandas.DataFrame({"close": [1.0, 2.0, 3.0]}), 2)
assert frame.iloc[-1] == 2.5
"""


def test_talib_comes_without_pandas_and_still_takes_its_series():
    subprocess.run([sys.executable, "-c", PROGRAM], check=True)
