"""Signals: values computed for a whole history at once, read by their moment while the strategy trades."""

from __future__ import annotations

from bisect import bisect_right
from collections import namedtuple
from collections.abc import Mapping
from datetime import datetime as Time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arbig.backtest.series import Times
from arbig.domain.messages import SHANGHAI


class Signals:
    """Rows of named values, each with its moment. A row holds what may be known when the bar of that stamp is over:
    nothing here can enforce that, `lookahead.check` proves it.

    `datetime`: n moments, naive Shanghai time, ascending; `columns`: name -> n values. Raises ValueError otherwise.
    """

    def __init__(self, datetime: Times, columns: Mapping[str, NDArray[Any]]) -> None:
        for name, values in columns.items():
            if len(values) != len(datetime):
                raise ValueError(f"signals: {name} has {len(values)} values, expected {len(datetime)}, one a moment")
        if len(datetime) > 1 and not bool((np.diff(datetime) > np.timedelta64(0)).all()):
            raise ValueError("signals: the moments do not ascend; sort them and drop doubles")
        self._row: Any = namedtuple("Row", list(columns))  # type: ignore[misc]
        self._moments: list[Time] = datetime.astype("datetime64[us]").tolist()
        self._columns = [values.tolist() for values in columns.values()]
        self._index = {moment: index for index, moment in enumerate(self._moments)}

    def __len__(self) -> int:
        return len(self._moments)

    def __repr__(self) -> str:
        return f"Signals({', '.join(self._row._fields)}: {len(self)} rows)"

    @property
    def moments(self) -> list[Time]:
        return self._moments

    def at(self, moment: Time) -> Any:
        """The row of exactly this moment (`row.fast`, `row.slow`), or None."""
        index = self._index.get(_naive(moment))
        return None if index is None else self._at(index)

    def last(self, moment: Time) -> Any:
        """The newest row stamped at that moment or before it, or None."""
        index = bisect_right(self._moments, _naive(moment)) - 1
        return None if index < 0 else self._at(index)

    def _at(self, index: int) -> Any:
        return self._row._make(column[index] for column in self._columns)


def _naive(moment: Time) -> Time:
    return moment if moment.tzinfo is None else moment.astimezone(SHANGHAI).replace(tzinfo=None)
