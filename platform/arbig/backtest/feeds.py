"""Feeds: a series handed out bar by bar, and everything that is known of it in columns.

A `Store` belongs to a series and outlives a run: indicators over all its windows, longer bars. A `Feed` is a run's
place in it. `ArrayManager` and `BarGenerator` that are given the feed's own bars in order read the store's columns.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from datetime import datetime, time
from functools import cached_property
from itertools import repeat
from typing import NamedTuple, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np

from arbig.backtest.kernels import Kernel, kernel
from arbig.backtest.series import BarSeries
from arbig.domain.arrays import Array, Recipe, Stretch, feeds
from arbig.domain.messages import SHANGHAI, BarData

FIRST_ROWS, MOST_ROWS = 32, 2048
"""How many windows are computed at once: few for who asks once, many for who asks at every bar."""
MATRIX_ROWS = 256
"""A matrix of windows stays in the processor's cache."""
KEPT_LONGER = 64
KEPT_BYTES = 128 * 2**20
"""Newest values kept for later runs over the same series, at most."""

Kept: TypeAlias = tuple[int, int, tuple[Array, ...]]
"""From row, to row, values by row."""


class Store:
    """A series' columns, and what was computed of them."""

    def __init__(self, series: BarSeries) -> None:
        self.symbol, self.exchange, self.interval = series.symbol, series.exchange, series.interval
        self.datetime, self.trading_day = series.datetime, series.trading_day
        columns = (series.open, series.high, series.low, series.close, series.volume, series.turnover)
        self.columns = [_readonly(one) for one in (*columns, series.open_interest)]
        self._kept: OrderedDict[tuple[Recipe, int], Kept] = OrderedDict()
        self._asked: dict[tuple[Recipe, int, bool], tuple[int, int]] = {}
        self._longer: dict[tuple[object, int], Longer] = {}

    def __len__(self) -> int:
        return len(self.datetime)

    @cached_property
    def finite(self) -> list[bool]:
        return [bool(np.isfinite(one).all()) for one in self.columns]

    def bars(self, start: int, stop: int) -> list[BarData]:
        """The rows [start, stop) as messages, made all at once."""
        rows = slice(start, stop)
        moments = self.datetime[rows]
        dates = moments.astype("datetime64[D]")
        seconds = (moments - dates).astype("timedelta64[s]").astype(np.int64)
        open_, high, low, close, volume, turnover, interest = (one[rows] for one in self.columns)
        return list(
            map(
                BarData,
                repeat(self.symbol),
                repeat(self.exchange),
                map(datetime.combine, dates.tolist(), map(_clock.__getitem__, seconds.tolist())),
                repeat(self.interval),
                open_.tolist(),
                high.tolist(),
                low.tolist(),
                close.tolist(),
                volume.astype(np.int64).tolist(),
                interest.astype(np.int64).tolist(),
                turnover.tolist(),
                self.trading_day[rows].tolist(),
            )
        )

    def stretch(self, recipe: Recipe, size: int, row: int, array: bool) -> Stretch | None:
        """The indicator's values from `row` on, for windows of `size` bars; with `array` whole windows. None where
        there is no kernel for it."""
        kernels = [kernel(call) for call in recipe.calls]
        if any(one is None or not all(self.finite[column] for column in one.columns) for one in kernels):
            return None
        made = [one for one in kernels if one is not None]
        return self._rows(recipe, made, size, row) if array else self._newest(recipe, made, size, row)

    def _rows(self, recipe: Recipe, kernels: list[Kernel], size: int, row: int) -> Stretch | None:
        count = min(self._count(recipe, size, row, True), MATRIX_ROWS, len(self) - row)
        values = self._computed(recipe, kernels, size, row, count)
        if values is None:
            return None
        return row, row + count, tuple(map(_readonly, values))

    def _newest(self, recipe: Recipe, kernels: list[Kernel], size: int, row: int) -> Stretch | None:
        key = recipe, size
        kept = self._kept.get(key)
        if kept is not None and kept[0] <= row < kept[1]:
            self._kept.move_to_end(key)
            return _from(kept)
        start, stop, values = kept or (row, -1, None)
        if not stop <= row < stop + FIRST_ROWS:
            start = stop = row
        count = min(self._count(recipe, size, row, False), len(self) - row) + row - stop
        for at in range(stop, stop + count, MATRIX_ROWS):
            upto = min(at + MATRIX_ROWS, stop + count)
            parts = self._computed(recipe, kernels, size, at, upto - at)
            if parts is None:
                return None
            if values is None:
                values = tuple(np.empty(len(self)) for _ in parts)
            for whole, part in zip(values, parts, strict=True):
                whole[at:upto] = part[:, -1]
        assert values is not None
        kept = self._kept[key] = start, stop + count, values
        self._kept.move_to_end(key)
        self._forget()
        return _from(kept)

    def _computed(
        self, recipe: Recipe, kernels: list[Kernel], size: int, row: int, count: int
    ) -> tuple[Array, ...] | None:
        parts: list[Array] = []
        for one in kernels:
            made = one.windows(self.columns, size, row, count)
            if made is None:
                return None
            parts += made
        return recipe.combine(*parts)

    def _count(self, recipe: Recipe, size: int, row: int, array: bool) -> int:
        """How many rows at once: more each time the asking goes on where the last stretch ended."""
        key = recipe, size, array
        ended, count = self._asked.get(key, (-1, 0))
        count = min(max(4 * count, FIRST_ROWS), MOST_ROWS) if ended <= row < ended + FIRST_ROWS else FIRST_ROWS
        self._asked[key] = row + count, count
        return count

    def longer(self, rule: Hashable, first: int, make: Callable[[Store, int], Longer]) -> Longer:
        """The longer bars by a rule, counted from row `first` on."""
        found = self._longer.get((rule, first))
        if found is None:
            found = self._longer[rule, first] = make(self, first)
            while len(self._longer) > KEPT_LONGER:
                self._longer.pop(next(iter(self._longer)))
        return found

    def _forget(self) -> None:
        """The indicators longest unasked go first."""
        while len(self._kept) > 1 and sum(self._bytes(kept) for kept in self._kept.values()) > KEPT_BYTES:
            self._kept.popitem(last=False)

    @staticmethod
    def _bytes(kept: Kept) -> int:
        return sum(one.nbytes for one in kept[2])


class Longer(NamedTuple):
    """Longer bars of a store: the row at whose bar each is whole, then -1."""

    store: Store
    rows: list[int]


def _from(kept: Kept) -> Stretch:
    start, stop, values = kept
    return start, stop, tuple(_readonly(one[start:stop]) for one in values)


def _readonly(values: Array) -> Array:
    seen = np.ascontiguousarray(values, np.float64).view()
    seen.flags.writeable = False
    return seen


class _Clock(dict[int, time]):
    """Second of the day -> the time in Shanghai."""

    def __missing__(self, second: int) -> time:
        found = self[second] = time(second // 3600, second // 60 % 60, second % 60, tzinfo=SHANGHAI)
        return found


_clock = _Clock()
_stores: WeakKeyDictionary[BarSeries, Store] = WeakKeyDictionary()


def store_of(series: BarSeries) -> Store:
    """What is known of a series, for as long as it lives."""
    found = _stores.get(series)
    if found is None:
        found = _stores[series] = Store(series)
    return found


class Feed:
    """A place in a series: the bar handed out last, and its row."""

    __slots__ = ("bar", "row", "store")

    def __init__(self, store: Store) -> None:
        self.store = store
        self.bar: BarData | None = None
        self.row = -1

    def play(self, start: int, stop: int) -> Iterator[BarData]:
        """Hand out the rows [start, stop), one after the other."""
        for begin in range(start, stop, MOST_ROWS):
            for row, bar in enumerate(self.store.bars(begin, min(begin + MOST_ROWS, stop)), begin):
                self.bar, self.row = bar, row
                yield bar


def feed_of(bar: BarData) -> Feed | None:
    """The feed that has just handed out this bar."""
    for feed in feeds.get(()):
        if feed.bar is bar and isinstance(feed, Feed):
            return feed
    return None


@contextmanager
def playing(*opened: Feed) -> Iterator[None]:
    """While these feeds play, what strategies make finds them."""
    token = feeds.set(list(opened))
    try:
        yield
    finally:
        feeds.reset(token)
