"""Bars of a whole day at once: what `BarGenerator` makes of a path's ticks, in columns (a test holds them together)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

import numpy as np
from msgspec.structs import replace

from arbig.backtest.prices import DayPath, Path
from arbig.backtest.series import BarSeries
from arbig.domain.messages import BarData, Exchange, Interval
from arbig.domain.sessions import Segment

MINUTE_MS = 60_000
MINUTE = timedelta(minutes=1)


def minute_bars(path: Path, segments: Sequence[Segment]) -> Iterator[BarData]:
    """One bar for every minute with a tick, stamped with its start. An auction belongs to its session's first
    minute, a segment's closing ticks to its last."""
    for seq, bar in enumerate(minute_series(path, segments).bars(), 1):
        yield replace(bar, seq=seq)


def minute_series(path: Path, segments: Sequence[Segment]) -> BarSeries:
    """The same bars as columns."""
    columns = path if isinstance(path, DayPath) else path.columns()
    minutes = _minutes(columns, segments)
    first = np.flatnonzero(np.diff(minutes, prepend=-1))
    last = np.append(first[1:], len(minutes)) - 1
    base = np.datetime64(columns.base.replace(tzinfo=None), "m")
    return BarSeries(
        symbol=path.instrument.symbol,
        exchange=Exchange(path.instrument.exchange),
        interval=Interval.MINUTE,
        datetime=(base + minutes[first]).astype("datetime64[s]"),
        trading_day=np.full(len(first), np.datetime64(path.trading_day, "D")),
        open=columns.last[first],
        high=np.maximum.reduceat(columns.last, first),
        low=np.minimum.reduceat(columns.last, first),
        close=columns.last[last],
        volume=np.diff(columns.volume[last], prepend=0).astype(np.float64),
        turnover=np.round(np.diff(columns.turnover[last], prepend=0.0), 2),
        open_interest=columns.open_interest[last].astype(np.float64),
    )


def _minutes(columns: DayPath, segments: Sequence[Segment]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """For every tick the minute of its bar, counted from the path's base."""
    starts = np.array([(segment.start - columns.base) // MINUTE for segment in segments], dtype=np.int64)
    ends = np.array([(segment.end - columns.base) // MINUTE for segment in segments], dtype=np.int64)
    minutes = columns.offset_ms // MINUTE_MS
    minutes = np.minimum(np.where(np.isin(minutes, ends), minutes - 1, minutes), ends[-1] - 1)
    found: np.ndarray[tuple[int], np.dtype[np.int64]] = np.maximum(
        minutes, starts[np.searchsorted(ends, minutes, side="right")]
    )
    return found
