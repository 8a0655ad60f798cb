"""Feeds: a series handed out bar by bar, and everything that is known of it in columns.

A `Store` belongs to a series and outlives a run: indicators over all its windows, longer bars. A `Feed` is a run's
place in it. `ArrayManager` and `BarGenerator` that are given the feed's own bars in order read the store's columns.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from functools import cache, cached_property
from itertools import repeat
from typing import Any, ClassVar, NamedTuple, Protocol, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
from msgspec import defstruct

from arbig.backtest.kernels import Kernel, kernel
from arbig.backtest.late import Late
from arbig.backtest.series import BarSeries, Times
from arbig.domain.arrays import CLOSE, HIGH, LOW, OPEN, OPEN_INTEREST, TURNOVER, VOLUME, Array
from arbig.domain.feeds import Longer, Recipe, Stretch, feeds
from arbig.domain.messages import SHANGHAI, BarData, Exchange
from arbig.domain.template import BarGenerator

FIRST_ROWS, MOST_ROWS = 32, 2048
"""How many windows are computed at once: few for who asks once, many for who asks at every bar."""
MATRIX_ROWS = 512
"""A matrix of windows stays in the processor's cache."""
ALL = slice(None)
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
        self._longer: dict[tuple[Hashable, int], LongerBars] = {}

    def __len__(self) -> int:
        return len(self.datetime)

    @cached_property
    def finite(self) -> list[bool]:
        return [bool(np.isfinite(one).all()) for one in self.columns]

    def bars(self, start: int, stop: int) -> list[BarData]:
        """The rows [start, stop) as bars."""
        return Sheet(self, start, stop).bars()

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
        values = self._computed(recipe, kernels, size, row, count, array=True)
        if values is None:
            return None
        return row, tuple(map(_readonly, values))

    def _newest(self, recipe: Recipe, kernels: list[Kernel], size: int, row: int) -> Stretch | None:
        key = recipe, size
        kept = self._kept.get(key)
        if kept is not None and kept[0] <= row < kept[1]:
            self._kept.move_to_end(key)
            return _from(kept, row)
        start, stop, values = kept or (row, row, None)
        if not stop <= row < stop + FIRST_ROWS:
            start = stop = row
        count = min(self._count(recipe, size, row, False), len(self) - row) + row - stop
        for at in range(stop, stop + count, MATRIX_ROWS):
            upto = min(at + MATRIX_ROWS, stop + count)
            parts = self._computed(recipe, kernels, size, at, upto - at, array=False)
            if parts is None:
                return None
            if values is None:
                values = tuple(np.empty(len(self)) for _ in parts)
            for whole, part in zip(values, parts, strict=True):
                whole[at:upto] = part
        assert values is not None
        kept = self._kept[key] = start, stop + count, values
        self._kept.move_to_end(key)
        self._forget()
        return _from(kept, row)

    def _computed(
        self, recipe: Recipe, kernels: list[Kernel], size: int, row: int, count: int, array: bool
    ) -> tuple[Array, ...] | None:
        parts: list[Array] = []
        for one in kernels:
            compute = one.windows if array else one.newest
            made = compute(self.columns, size, row, count)
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

    def longer(self, rule: Rule, first: int) -> LongerBars | None:
        """The longer bars counted from row `first` on. None where a number is none: then each bar is looked at."""
        name, make = rule
        found = self._longer.get((name, first))
        if found is None and all(self.finite):
            found = self._longer[name, first] = make(self, first)
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


class LongerBars(NamedTuple):
    """Longer bars of a store, and the rows at whose bars they are whole."""

    store: Store
    rows: list[int]


Make: TypeAlias = Callable[[Store, int], LongerBars]
Rule: TypeAlias = tuple[Hashable, Make]
"""A name that tells one rule from another, and how longer bars are made from a row on."""
RuleOf: TypeAlias = Callable[[BarGenerator], Rule | None]


def _from(kept: Kept, row: int) -> Stretch:
    _, stop, values = kept
    return row, tuple(_readonly(one[row : min(stop, row + MOST_ROWS)]) for one in values)


def _readonly(values: Array) -> Array:
    seen = np.ascontiguousarray(values, np.float64).view()
    seen.flags.writeable = False
    return seen


class Dated(Protocol):
    """Rows with times: a store, or a series of ticks."""

    @property
    def datetime(self) -> Times: ...
    @property
    def trading_day(self) -> Times: ...


class Sheet:
    """Some rows as lists, each made when it is first read."""

    def __init__(self, store: Dated, start: int, stop: int) -> None:
        self.store = store
        self.start, self.stop = start, stop

    def has(self, name: str) -> bool:
        """Whether somebody read the column already."""
        return name in self.__dict__

    def __getattr__(self, name: str) -> list[Any]:
        if name not in SHEET:
            raise AttributeError(name)
        made = self.__dict__[name] = SHEET[name](self.store, slice(self.start, self.stop))
        return made

    def bars(self, place: slice = ALL, at_hand: tuple[str, ...] = ()) -> list[BarData]:
        columns = [getattr(self, name)[place] for name in at_hand]
        return list(map(bar_with(at_hand), repeat(self), range(self.stop - self.start)[place], *columns))

    def read(self) -> tuple[str, ...]:
        """Of `OFTEN_READ`, the columns that somebody read."""
        return tuple(name for name in OFTEN_READ if self.has(name))


def _moments(store: Dated, place: slice) -> list[Any]:
    """Aware datetimes: midnight of each date, and the time since then."""
    times = store.datetime[place]
    dates = times.astype("datetime64[D]")
    since = (times - dates).astype("timedelta64[ms]").astype(np.int64)
    found: list[Any] = []
    for begin, end in _runs(dates):
        midnight = datetime.combine(dates[begin].astype(date), time(), SHANGHAI)
        found += map(midnight.__add__, map(_since.__getitem__, since[begin:end].tolist()))
    return found


def _trading_days(store: Dated, place: slice) -> list[Any]:
    days = store.trading_day[place]
    found: list[Any] = []
    for begin, end in _runs(days):
        found += [days[begin].astype(date)] * (end - begin)
    return found


def _runs(values: Times) -> Iterator[tuple[int, int]]:
    """Where the same value stands, from and to."""
    ends = [*(np.flatnonzero(values[1:] != values[:-1]) + 1).tolist(), len(values)]
    return zip([0, *ends], ends, strict=False)


def _price(column: int) -> Callable[[Store, slice], list[Any]]:
    return lambda store, place: store.columns[column][place].tolist()


def _count(column: int) -> Callable[[Store, slice], list[Any]]:
    return lambda store, place: store.columns[column][place].astype(np.int64).tolist()


SHEET: dict[str, Callable[[Any, slice], list[Any]]] = {
    "datetime": _moments,
    "open_price": _price(OPEN),
    "high_price": _price(HIGH),
    "low_price": _price(LOW),
    "close_price": _price(CLOSE),
    "volume": _count(VOLUME),
    "open_interest": _count(OPEN_INTEREST),
    "turnover": _price(TURNOVER),
    "trading_day": _trading_days,
}


class _Since(dict[int, timedelta]):
    """Milliseconds since midnight -> how long that is, for the minutes of a day."""

    def __missing__(self, milliseconds: int) -> timedelta:
        found = timedelta(milliseconds=milliseconds)
        if not milliseconds % 60_000:
            self[milliseconds] = found
        return found


_since = _Since()


class LateBar(Late, frozen=True, eq=False, gc=False):
    """A bar that looks its values up: `isinstance` takes it for `arbig.BarData`, and so does whoever reads it."""

    sheet: Sheet
    at: int

    v: ClassVar[None] = None
    account_id: ClassVar[None] = None
    seq: ClassVar[None] = None
    partial: ClassVar[None] = None

    @property  # type: ignore[misc]
    def __class__(self) -> type[BarData]:  # type: ignore[override]
        return BarData

    @property
    def symbol(self) -> str:
        return self.sheet.store.symbol  # type: ignore[attr-defined, no-any-return]

    @property
    def exchange(self) -> Exchange:
        return self.sheet.store.exchange  # type: ignore[attr-defined, no-any-return]

    @property
    def interval(self) -> str:
        return self.sheet.store.interval  # type: ignore[attr-defined, no-any-return]

    @property
    def vt_symbol(self) -> str:
        return f"{self.symbol}.{self.exchange}"

    @property
    def datetime(self) -> Any:
        return self.sheet.datetime[self.at]

    @property
    def open_price(self) -> Any:
        return self.sheet.open_price[self.at]

    @property
    def high_price(self) -> Any:
        return self.sheet.high_price[self.at]

    @property
    def low_price(self) -> Any:
        return self.sheet.low_price[self.at]

    @property
    def close_price(self) -> Any:
        return self.sheet.close_price[self.at]

    @property
    def volume(self) -> Any:
        return self.sheet.volume[self.at]

    @property
    def open_interest(self) -> Any:
        return self.sheet.open_interest[self.at]

    @property
    def turnover(self) -> Any:
        return self.sheet.turnover[self.at]

    @property
    def trading_day(self) -> Any:
        return self.sheet.trading_day[self.at]

    def whole(self) -> BarData:
        names = ("symbol", "exchange", "interval", *SHEET)
        return BarData(**{name: getattr(self, name) for name in names})


OFTEN_READ = ("datetime", "open_price", "high_price", "low_price", "close_price")


@cache
def bar_with(at_hand: tuple[str, ...]) -> Callable[..., BarData]:
    """A bar with these values at hand: making it costs less than looking one of them up at every bar."""
    fields = [(name, Any) for name in at_hand]
    made: Any = defstruct("LateBar", fields, bases=(LateBar,), frozen=True, eq=False, gc=False) if fields else LateBar
    return made  # type: ignore[no-any-return]


_stores: WeakKeyDictionary[BarSeries, Store] = WeakKeyDictionary()


def store_of(series: BarSeries) -> Store:
    """What is known of a series, for as long as it lives."""
    found = _stores.get(series)
    if found is None:
        found = _stores[series] = Store(series)
    return found


class Feed:
    """A place in a series: the bar handed out last, and its row. `rule_of` says how longer bars are made."""

    __slots__ = ("bar", "bars", "columns", "row", "rule_of", "store", "stretch")

    def __init__(self, store: Store, rule_of: RuleOf) -> None:
        self.store = store
        self.rule_of = rule_of
        self.bar: BarData | None = None
        self.row = -1
        self.columns, self.stretch, self.bars = store.columns, store.stretch, store.bars

    def play(self, start: int, stop: int) -> Iterator[BarData]:
        """Hand out the rows [start, stop), one after the other."""
        for begin in range(start, stop, MOST_ROWS):
            for row, bar in enumerate(self.store.bars(begin, min(begin + MOST_ROWS, stop)), begin):
                self.bar, self.row = bar, row
                yield bar

    def longer(self, generator: BarGenerator) -> Longer | None:
        rule = self.rule_of(generator)
        found = self.store.longer(rule, self.row) if rule is not None else None
        if found is None:
            return None
        place = Feed(found.store, self.rule_of)
        feeds.get().append(place)
        return Longer(found.rows, place.play(0, len(found.store)))


@contextmanager
def playing(*opened: Feed) -> Iterator[None]:
    """While these feeds play, what strategies make finds them."""
    token = feeds.set(list(opened))
    try:
        yield
    finally:
        feeds.reset(token)
