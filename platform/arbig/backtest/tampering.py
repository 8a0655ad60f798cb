"""Tampering: a plan whose data ends at a moment, or goes on differently after it. Every column is a copy, so that
nothing of the real future can be reached through it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from datetime import date, timedelta
from datetime import datetime as Time
from typing import Any, TypeAlias, TypeVar

import numpy as np

from arbig.backtest.plan import Plan
from arbig.backtest.series import BarSeries, Floats, Series, TickSeries
from arbig.domain.instruments import InstrumentBook

S = TypeVar("S", bound=Series)
Change: TypeAlias = Callable[[Mapping[str, Floats], float, np.random.Generator], dict[str, Floats]]

MINUTE = timedelta(minutes=1)
LIVELIER = 1.5
SWAPPED = {
    "high": "low",
    "high_price": "low_price",
    "limit_up": "limit_down",
    "bid_price_1": "ask_price_1",
    "bid_volume_1": "ask_volume_1",
}
OTHER_SIDE = SWAPPED | {low: high for high, low in SWAPPED.items()}
BAR_PRICES = ("open", "high", "low", "close")
TICK_PRICES = (
    "last_price",
    "open_price",
    "high_price",
    "low_price",
    "pre_close",
    "pre_settlement",
    "limit_up",
    "limit_down",
    "bid_price_1",
    "ask_price_1",
)
PRICES = {BarSeries: BAR_PRICES, TickSeries: TICK_PRICES}
LAST = {BarSeries: "close", TickSeries: "last_price"}
QUANTITIES = {BarSeries: ("volume", "turnover", "open_interest"), TickSeries: ("last_volume", "open_interest")}


def cut(plan: Plan, moment: Time) -> Plan:
    """The plan whose data ends with the rows of that moment (naive Shanghai time)."""
    series = {name: _copied(one, 0, _rows_until(one, moment)) for name, one in plan.series.items()}
    return replace(plan, series=series, warmup=_warmup(plan, moment, None, 0), end=_end(plan, moment))


def scrambled(plan: Plan, moment: Time, how: str, seed: int) -> Plan:
    """The plan whose data goes on differently after that moment. `mirrored`: every rise is a fall, every high a low,
    quantities run backwards. `shuffled`: the same moves in another order, half as large again. It ends with that
    trading day: later ones are there to be looked at, not to be traded."""
    change = CHANGES[how]
    series = {name: _changed(plan, one, moment, change, seed) for name, one in plan.series.items()}
    return replace(plan, series=series, warmup=_warmup(plan, moment, change, seed), end=_end(plan, moment))


def with_history(plan: Plan, days: int) -> Plan:
    """The plan with only that many trading days of history before its start."""
    series = {name: _younger(one, plan.start, days) for name, one in plan.series.items()}
    return replace(plan, series=series, warmup={n: _younger(one, plan.start, days) for n, one in plan.warmup.items()})


def history_days(plan: Plan) -> int:
    """Trading days of history before the start that every contract has."""
    held = [plan.warmup.get(name, one) for name, one in plan.series.items()]
    return min((len(_days_before(one, plan.start)) for one in held), default=0)


def _end(plan: Plan, moment: Time) -> date:
    """The trading day of the newest row up to that moment."""
    rows = ((one, _rows_until(one, moment)) for one in plan.series.values())
    newest = max((one.trading_day[row - 1].astype(date) for one, row in rows if row), default=plan.end)
    return min(plan.end, newest)


def _mirrored(columns: Mapping[str, Floats], base: float, draw: np.random.Generator) -> dict[str, Floats]:
    made = {}
    for name, values in columns.items():
        source = columns[OTHER_SIDE.get(name, name)]
        if name in BAR_PRICES or name in TICK_PRICES:
            made[name] = np.divide(base * base, source, out=np.zeros_like(source), where=source > 0)
        else:
            made[name] = (source if name in OTHER_SIDE else values)[::-1].copy()
    return made


def _shuffled(columns: Mapping[str, Floats], base: float, draw: np.random.Generator) -> dict[str, Floats]:
    last = columns["close"] if "close" in columns else columns["last_price"]
    moves = np.diff(np.log(last), prepend=np.log(base))
    factor = base * np.exp(np.cumsum(draw.permutation(moves) * LIVELIER)) / last
    order = draw.permutation(len(last))
    return {
        name: values * factor if name in BAR_PRICES or name in TICK_PRICES else values[order]
        for name, values in columns.items()
    }


CHANGES: dict[str, Change] = {"mirrored": _mirrored, "shuffled": _shuffled}


def _changed(plan: Plan, series: S, moment: Time, change: Change, seed: int) -> S:
    start = _rows_until(series, moment)
    whole = _copied(series, 0, len(series))
    if start == 0 or start == len(series):
        return whole
    kind = BarSeries if isinstance(series, BarSeries) else TickSeries
    names = (*PRICES[kind], *QUANTITIES[kind])
    if kind is TickSeries:
        names += ("bid_volume_1", "ask_volume_1")
    tail = {name: getattr(series, name)[start:] for name in names}
    draw = np.random.default_rng([seed, start])
    made = change(tail, float(getattr(series, LAST[kind])[start - 1]), draw)
    tick = _tick(plan.book, series)
    for name, values in made.items():
        getattr(whole, name)[start:] = _on_tick(values, tick) if name in PRICES[kind] else values
    return whole


def _warmup(plan: Plan, moment: Time, change: Change | None, seed: int) -> dict[str, BarSeries]:
    """Tick mode's bars: one stamped with the running minute is not over yet."""
    before = moment - MINUTE
    if change is None:
        return {name: _copied(one, 0, _rows_until(one, before)) for name, one in plan.warmup.items()}
    return {name: _changed(plan, one, before, change, seed) for name, one in plan.warmup.items()}


def _younger(series: S, start: date, days: int) -> S:
    before = _days_before(series, start)
    if days >= len(before):
        return _copied(series, 0, len(series))
    first = before[-days].astype(date) if days else start
    return _copied(series, series.first_of(first), len(series))


def _days_before(series: Series, start: date) -> Any:
    return np.unique(series.trading_day[: series.first_of(start)])


def _rows_until(series: Series, moment: Time) -> int:
    return int(np.searchsorted(series.datetime, np.datetime64(moment), side="right"))


def _copied(series: S, start: int, stop: int) -> S:
    columns = ((field.name, getattr(series, field.name)) for field in fields(series))
    made: dict[str, Any] = {name: one[start:stop].copy() for name, one in columns if isinstance(one, np.ndarray)}
    return replace(series, **made)


def _tick(book: InstrumentBook, series: Series) -> float:
    return book.get(series.symbol, series.trading_day[-1].astype(date)).price_tick


def _on_tick(values: Floats, tick: float) -> Floats:
    """The nearest prices the contract may have, at least one tick; an empty side (zero) stays empty."""
    rounded: Floats = np.round(np.maximum(np.round(values / tick), 1.0) * tick, 10)
    return np.where(values > 0, rounded, 0.0)
