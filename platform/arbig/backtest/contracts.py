"""Contracts: what a backtest knows of each contract's trading days: settlement, price limits, when orders are taken.

A bar series says none of it, so it is derived as the counter derives it: the settlement price is the day's average
weighted by volume, the limits are a share of the last one, and the hours are the calendar's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from datetime import datetime as Time
from math import ceil, floor, inf, isfinite

import numpy as np

from arbig.backtest.series import BarSeries, Floats, Series, TickSeries
from arbig.domain.instruments import Instrument
from arbig.domain.messages import SHANGHAI
from arbig.domain.sessions import CalendarError, Sessions, TradingCalendar
from arbig.domain.template import round_to

EPSILON = 1e-9
EDGE = 0.499999
"""Nearer than this to the middle between two ticks, decimal arithmetic decides."""
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class TradingDay:
    """The rows [start, stop) of a series. `settled` is the settlement price of the day before, None where the series
    has no day before; the limits are then without bound."""

    day: date
    start: int
    stop: int
    settlement: float
    settled: float | None
    limit_up: float
    limit_down: float


class Grid:
    """Prices on a contract's tick: the nearest multiple, without binary dust, as `round_to` finds it but sooner."""

    def __init__(self, tick: float) -> None:
        self.tick = tick
        steps = round(1 / tick) if tick < 1 else round(tick)
        self._parts = steps if tick < 1 and steps * tick == 1 else 0
        self._whole = steps if tick >= 1 and steps == tick else 0

    def nearest(self, price: float) -> float:
        count = float(price) / self.tick
        whole = (count + 0.5) // 1.0
        if -EDGE < count - whole < EDGE:
            if self._parts:
                return whole / self._parts
            if self._whole:
                return whole * self._whole
        return round_to(price, self.tick)

    def below(self, price: float) -> float:
        return self.nearest(floor(price / self.tick + 1e-6) * self.tick)

    def above(self, price: float) -> float:
        return self.nearest(ceil(price / self.tick - 1e-6) * self.tick)


def trading_days(
    series: Series, instrument: Instrument, price_limit: float, first: date, last: date
) -> list[TradingDay]:
    """The trading days from `first` to `last` that have rows, in order."""
    grid = Grid(instrument.price_tick)
    found: list[TradingDay] = []
    settled: float | None = None
    for day, start, stop in rows_by_day(series):
        if day > last:
            break
        settlement = settlement_of(series, start, stop, instrument, grid)
        if day >= first:
            up = inf if settled is None else grid.below(settled * (1 + price_limit))
            down = 0.0 if settled is None else grid.above(settled * (1 - price_limit))
            found.append(TradingDay(day, start, stop, settlement, settled, up, down))
        settled = settlement
    return found


def rows_by_day(series: Series) -> Iterator[tuple[date, int, int]]:
    """(trading day, first row, row after the last) of each day."""
    if not len(series):
        return
    starts = np.flatnonzero(np.diff(series.trading_day) != np.timedelta64(0)) + 1
    edges = [0, *starts.tolist(), len(series)]
    days: list[date] = series.trading_day[edges[:-1]].tolist()
    yield from zip(days, edges[:-1], edges[1:], strict=True)


def settlement_of(series: Series, start: int, stop: int, instrument: Instrument, grid: Grid) -> float:
    """The day's average weighted by volume, on the tick. Where turnover is missing or in another unit (the average then
    lies outside the day's range), of the bars' closes; without volume the last price."""
    if isinstance(series, TickSeries):
        last = stop - 1
        low, high = _range(series.last_price[start:stop])
        average = _ratio(float(series.turnover[last]), float(series.volume[last]) * instrument.size)
        return grid.nearest(average if low <= average <= high else float(series.last_price[last]))
    assert isinstance(series, BarSeries)
    rows = slice(start, stop)
    low, high = float(series.low[rows].min()), float(series.high[rows].max())
    volume = float(series.volume[rows].sum())
    average = _ratio(float(series.turnover[rows].sum()), volume * instrument.size)
    if not low <= average <= high:
        average = _ratio(float((series.close[rows] * series.volume[rows]).sum()), volume)
    return grid.nearest(average if low <= average <= high else float(series.close[stop - 1]))


def _ratio(amount: float, parts: float) -> float:
    return amount / parts if parts > 0 and isfinite(amount) else -1.0


def _range(prices: Floats) -> tuple[float, float]:
    return float(prices.min()), float(prices.max())


def covering(calendar: TradingCalendar, series: Iterable[Series]) -> tuple[TradingCalendar, tuple[str, ...]]:
    """The calendar with every day on which the data trades, and a line for each contract that made it grow."""
    added: set[date] = set()
    lines: list[str] = []
    for one in series:
        strange = sorted(set(np.unique(one.trading_day).tolist()) - calendar.days)
        if strange:
            known = f"{calendar.first}..{calendar.last}"
            lines.append(
                f"{one.vt_symbol}: {len(strange)} trading days from {strange[0]} on are not in the trading calendar "
                f"({known}); its hours are taken as usual"
            )
            added |= set(strange)
    return (TradingCalendar(calendar.days | added, calendar.no_night) if added else calendar), tuple(lines)


def close_of(sessions: Sessions, day: date) -> Time | None:
    """The end of the trading day; None where the calendar does not know it."""
    try:
        return sessions.segments(day)[-1].end
    except CalendarError:
        return None


def _naive(moment: Time) -> np.datetime64:
    return np.datetime64(moment.replace(tzinfo=None))


def missing_history(
    series: BarSeries, since: Time, until: Time, calendar: TradingCalendar, sessions: Sessions
) -> str | None:
    """What is not there between two moments, in words: days without a bar, and stretches of half an hour or more."""
    start, stop = series.before(since), series.before(until)
    there = set(np.unique(series.trading_day[start:stop]).tolist())
    try:
        first, last = calendar.trading_day_of(since), calendar.trading_day_of(until)
        asked = [day for day in calendar.days_between(first, last) if day < last or day in there]
    except CalendarError:
        return None
    lines = [f"{day}" for day in asked if day not in there]
    moments = series.datetime[start:stop]
    for day in (day for day in asked if day in there):
        for segment in sessions.continuous(day) if series.interval == "1m" else ():
            low, high = max(segment.start, since), min(segment.end, until)
            lines += _holes(moments, _naive(low), _naive(high)) if low < high else []
    return ", ".join(_shortened(lines)) if lines else None


HOLE = np.timedelta64(30 * 60, "s")


def _holes(moments: np.ndarray, low: np.datetime64, high: np.datetime64) -> list[str]:
    inside = moments[np.searchsorted(moments, low) : np.searchsorted(moments, high)]
    edges = np.concatenate([[low - np.timedelta64(60, "s")], inside, [high]]).astype("datetime64[s]")
    gaps = np.flatnonzero(np.diff(edges) > HOLE + np.timedelta64(60, "s"))
    return [f"{_words(edges[gap] + np.timedelta64(60, 's'))} to {_words(edges[gap + 1])}" for gap in gaps]


def _words(moment: np.datetime64) -> str:
    return str(moment.astype("datetime64[m]")).replace("T", " ")


def _shortened(lines: list[str], most: int = 8) -> list[str]:
    return lines if len(lines) <= most else [*lines[:most], f"and {len(lines) - most} more"]


def price_limit(instrument: Instrument, limits: Mapping[str, float]) -> float:
    return limits.get(instrument.product, instrument.margin_rate)


def aware(moment: np.datetime64) -> Time:
    found: Time = moment.astype("datetime64[us]").astype(Time)
    return found.replace(tzinfo=SHANGHAI)
