"""A short market for tests: a few trading days of one-minute bars of one contract, a seeded walk."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from arbig.backtest.plan import Matching, Plan, StrategyPlan
from arbig.backtest.series import BarSeries, TickSeries
from arbig.domain.instruments import InstrumentBook
from arbig.domain.messages import Exchange
from arbig.domain.sessions import Sessions, TradingCalendar
from arbig.domain.template import BaseTemplate
from arbig.runtime.calendar import load_calendar
from arbig.runtime.instruments import load_instruments
from arbig.runtime.settings import load_settings

ROOT = Path(__file__).parents[2]
SYMBOL = "rb2601"
START, HISTORY, DAYS = date(2025, 10, 20), 3, 3


@cache
def house() -> tuple[InstrumentBook, TradingCalendar]:
    settings = load_settings(root=ROOT, config=ROOT / "config", data=ROOT / "data")
    return load_instruments(settings), load_calendar(settings)


@cache
def bars(symbol: str = SYMBOL, seed: int = 1, history: int = HISTORY, days: int = DAYS) -> BarSeries:
    """Bars of `history` trading days before START and `days` from it on."""
    book, calendar = house()
    instrument = book.get(symbol, START)
    sessions = Sessions(instrument.night_close, calendar)
    around = [day for day in calendar.days_between(date(2025, 9, 1), date(2025, 12, 1)) if calendar.is_trading_day(day)]
    first = around.index(START)
    moments: list[Any] = []
    trading_days: list[date] = []
    for day in around[first - history : first + days]:
        for segment in sessions.continuous(day):
            minutes = int((segment.end - segment.start).total_seconds()) // 60
            start = np.datetime64(segment.start.replace(tzinfo=None), "s")
            moments += list(start + np.arange(minutes) * np.timedelta64(60, "s"))
            trading_days += [day] * minutes
    return _walk(instrument, moments, trading_days, np.random.default_rng(seed))


@cache
def ticks(seed: int = 1, days: int = 1) -> TickSeries:
    """Two ticks a minute, its open and its close, a tick of spread around; `days` from START on."""
    whole = bars(seed=seed)
    instrument = house()[0].get(SYMBOL, START)
    series = whole.days(START, whole.trading_day[-1].astype(date))
    series = series.rows(0, days * len(series) // DAYS)
    last = np.column_stack([series.open, series.close]).ravel()
    size, tick = len(last), instrument.price_tick
    seconds = np.tile(np.array([10, 50]), len(series)).astype("timedelta64[s]")
    volume = np.cumsum(np.repeat(np.ceil(series.volume / 2), 2))
    constant = {"pre_close": last[0], "pre_settlement": last[0], "open_price": last[0]}
    constant |= {"limit_up": np.round(last[0] * 1.1), "limit_down": np.round(last[0] * 0.9), "open_interest": 1e5}
    columns = {"last_price": last, "high_price": np.maximum.accumulate(last), "low_price": np.minimum.accumulate(last)}
    columns |= {"bid_price_1": last - tick, "ask_price_1": last, "volume": volume, "turnover": volume * last * 10}
    columns |= {
        "last_volume": np.diff(volume, prepend=0.0),
        "bid_volume_1": volume % 17 + 1,
        "ask_volume_1": volume % 13 + 1,
    }
    return TickSeries(
        symbol=series.symbol,
        exchange=series.exchange,
        datetime=(np.repeat(series.datetime, 2) + seconds).astype("datetime64[ms]"),
        trading_day=np.repeat(series.trading_day, 2),
        **columns,
        **{name: np.full(size, value) for name, value in constant.items()},
    )


def tick_plan(kind: type[BaseTemplate], matching: Matching = Matching.VNPY, **params: Any) -> Plan:
    """One strategy on a day of ticks, with bars of the days before it."""
    series = ticks()
    history = bars().rows(0, HISTORY * len(bars()) // (HISTORY + DAYS))
    one = plan(kind, matching, **params)
    return replace(one, series={series.vt_symbol: series}, warmup={series.vt_symbol: history}, end=START)


def plan(kind: type[BaseTemplate], matching: Matching = Matching.VNPY, seed: int = 1, **params: Any) -> Plan:
    """One strategy on three days with three days of history."""
    book, calendar = house()
    series = bars(seed=seed)
    return Plan(
        strategies=(StrategyPlan(kind, kind.__name__, (series.vt_symbol,), params),),
        series={series.vt_symbol: series},
        start=START,
        end=series.trading_day[-1].astype(date),
        book=book,
        calendar=calendar,
        matching=matching,
    )


def _walk(instrument: Any, moments: list[Any], days: list[date], draw: np.random.Generator) -> BarSeries:
    size, tick = len(moments), instrument.price_tick
    close = 3000.0 * np.exp(np.cumsum(draw.standard_t(4, size) * 0.0006))
    opened = np.concatenate([[3000.0], close[:-1]]) * (1 + draw.normal(0, 0.0001, size))
    high = np.maximum(opened, close) * (1 + np.abs(draw.normal(0, 0.0003, size)))
    low = np.minimum(opened, close) * (1 - np.abs(draw.normal(0, 0.0003, size)))
    volume = np.floor(np.exp(draw.normal(5, 0.6, size)))
    prices = [np.round(np.round(values / tick) * tick, 4) for values in (opened, high, low, close)]
    return BarSeries(
        symbol=instrument.symbol,
        exchange=Exchange(instrument.exchange),
        datetime=np.array(moments, "datetime64[s]"),
        trading_day=np.array(days, "datetime64[D]"),
        open=prices[0],
        high=prices[1],
        low=prices[2],
        close=prices[3],
        volume=volume,
        turnover=volume * close * 10,
        open_interest=np.full(size, 100_000.0),
    )
