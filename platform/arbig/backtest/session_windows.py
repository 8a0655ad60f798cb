"""Session windows: the longer bars of a whole history at once, where `domain/windows.py` would collect them one by one.

A trading day has one of few shapes (with a night or without), so each minute's window is looked up in a table. Where
the collected bars could be others (a history that begins inside a window, rows outside the hours, a quiet minute that
makes two windows end at one bar) nothing is given, and the generator collects.
"""

from __future__ import annotations

from datetime import date
from typing import TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from arbig.backtest.feeds import Feed, LongerBars, Store
from arbig.backtest.series import BarSeries
from arbig.domain.feeds import Longer, feeds
from arbig.domain.messages import Interval
from arbig.domain.sessions import CalendarError, Sessions
from arbig.domain.template import BarGenerator
from arbig.domain.windows import Length, interval_of, windows_of

Integers = NDArray[np.int64]
DAY = 1440
FAR = 10_000
"""More windows than a day has."""


class SessionFeed(Feed):
    """A series' feed whose longer bars follow the contract's sessions."""

    __slots__ = ("sessions",)

    def __init__(self, store: Store, sessions: Sessions) -> None:
        super().__init__(store, lambda generator: None)
        self.sessions = sessions

    def longer(self, generator: BarGenerator) -> Longer | None:
        length = _length_of(generator)
        if self.store.interval != Interval.MINUTE or (length != "day" and length < 1) or not all(self.store.finite):
            return None
        found = _kept(self.store, self.sessions, length, self.row)
        if found is None:
            return None
        place = Feed(found.store, self.rule_of)
        feeds.get().append(place)
        return Longer(found.rows, place.play(0, len(found.store)))


def _length_of(generator: BarGenerator) -> Length:
    if generator.interval is Interval.DAILY:
        return "day"
    return generator.window * (60 if generator.interval is Interval.HOUR else 1)


Key: TypeAlias = tuple[object, ...]
_made: WeakKeyDictionary[Store, dict[Key, LongerBars | None]] = WeakKeyDictionary()
MOST_KEPT = 64


def _kept(store: Store, sessions: Sessions, length: Length, first: int) -> LongerBars | None:
    """Computed once for all runs on this history."""
    made = _made.setdefault(store, {})
    key = sessions.night_close, length, first
    if key not in made:
        if len(made) >= MOST_KEPT:
            made.clear()
        made[key] = windows(store, sessions, length, first)
    return made[key]


def windows(store: Store, sessions: Sessions, length: Length, first: int) -> LongerBars | None:
    """What a WindowGenerator makes of the rows from `first` on; None where it must be asked itself."""
    moments = store.datetime[first:].astype("datetime64[m]")
    minute = (moments.astype(np.int64) % DAY).astype(np.int64)
    days = store.trading_day[first:]
    edges = np.flatnonzero(np.diff(days, prepend=days[0] - np.timedelta64(1, "D")) != np.timedelta64(0))
    place = np.repeat(np.arange(len(edges)), np.diff(np.append(edges, len(days))))
    try:
        shapes = [_shape(sessions, day, length) for day in days[edges].tolist()]
    except CalendarError:
        return None
    number, since, until = (np.empty(len(minute), np.int64) for _ in range(3))
    kinds = np.array([_index_of(shapes, shape) for shape in shapes], np.int64)[place]
    for kind in np.unique(kinds):
        rows = kinds == kind
        number[rows], since[rows], until[rows] = shapes[kind][:, minute[rows]]
    if (number < 0).any() or since[0] != 0:
        return None
    return _cut(store, length, first, place * FAR + number, since, until)


def _index_of(shapes: list[Integers], shape: Integers) -> int:
    return next(index for index, one in enumerate(shapes) if one is shape)


def _cut(
    store: Store, length: Length, first: int, window: Integers, since: Integers, until: Integers
) -> LongerBars | None:
    starts = np.flatnonzero(np.diff(window, prepend=-1))
    stops = np.append(starts[1:], len(window))
    is_whole = until[stops - 1] == 0
    rows = np.where(is_whole, stops - 1, stops)
    kept = rows < len(window)
    starts, stops, rows = starts[kept], stops[kept], rows[kept]
    if not len(rows) or (np.diff(rows) <= 0).any():
        return None
    moments = store.datetime[first:].astype("datetime64[m]")
    open_, high, low, close, volume, turnover, interest = (one[first:] for one in store.columns)
    played = stops[-1]
    days = store.trading_day[first:][starts]
    stamps = (
        days.astype("datetime64[s]") if length == "day" else (moments[starts] - since[starts]).astype("datetime64[s]")
    )
    longer = BarSeries(
        symbol=store.symbol,
        exchange=store.exchange,
        interval=interval_of(length),
        datetime=stamps.astype("datetime64[s]"),
        trading_day=days,
        open=open_[starts],
        high=np.maximum.reduceat(high[:played], starts),
        low=np.minimum.reduceat(low[:played], starts),
        close=close[stops - 1],
        volume=np.add.reduceat(volume[:played], starts),
        turnover=np.add.reduceat(turnover[:played], starts).round(2),
        open_interest=interest[stops - 1],
    )
    return LongerBars(Store(longer), (rows + first).tolist())


_shapes: dict[Key, Integers] = {}


def _shape(sessions: Sessions, day: date, length: Length) -> Integers:
    """By minute of the clock: the number of its window in the trading day (-1: none), minutes since the window's start,
    minutes until its last one (0: it is the last)."""
    key = sessions.night_close, sessions.calendar.has_night(day), length
    known = _shapes.get(key)
    if known is None:
        known = np.full((3, DAY), -1, np.int64)
        numbers: dict[object, int] = {}
        for moment, window in windows_of(sessions, day, length).items():
            clock = moment.hour * 60 + moment.minute
            since = 0 if length == "day" else int((moment - window.start).total_seconds() // 60)
            known[:, clock] = (
                numbers.setdefault(window, len(numbers)),
                since if length != "day" else int((moment - window.first).total_seconds() // 60),
                int((window.end - moment).total_seconds() // 60) - 1,
            )
        _shapes[key] = known
    return known
