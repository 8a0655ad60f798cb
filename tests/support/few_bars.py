"""A few bars of a contract written by hand, and a strategy that does what a test says on each of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from arbig import BarData, CtaTemplate, OrderData, StopOrder, StrategyTemplate, TradeData
from arbig.backtest import realistic
from arbig.backtest.plan import Costs, Plan, StrategyPlan
from arbig.backtest.result import Result
from arbig.backtest.series import BarSeries
from arbig.domain.bars import TradingMinutes
from arbig.domain.instruments import InstrumentBook
from arbig.domain.sessions import Sessions, TradingCalendar
from arbig.runtime.calendar import load_calendar
from arbig.runtime.instruments import load_instruments
from arbig.runtime.settings import load_settings

SYMBOL = "au2512.SHFE"
MONDAY, TUESDAY, WEDNESDAY = date(2025, 10, 13), date(2025, 10, 14), date(2025, 10, 15)
NIGHT, MORNING = 0, 330  # minutes of an au trading day: 21:00, 09:00
FREE = Costs(slippage_ticks=0, price_limits={"au": 0.1, "ag": 0.1})

Row = tuple[float, float, float, float] | tuple[float, float, float, float, float]
Step = Callable[[Any], Any]


@cache
def house() -> tuple[InstrumentBook, TradingCalendar]:
    settings = load_settings(root=Path(__file__).parents[2])
    return load_instruments(settings), load_calendar(settings)


def bars(day: date, rows: Sequence[Row | float], first: int = MORNING, symbol: str = SYMBOL) -> list[BarData]:
    """Bars of consecutive trading minutes, `first` minutes into the trading day. A row is open, high, low, close and
    the volume (1000 lots when left out); a number is a bar that stood at this price."""
    book, calendar = house()
    instrument = book.get(symbol, day)
    minutes = list(TradingMinutes(Sessions(instrument.night_close, calendar), day))[first : first + len(rows)]
    return [_bar(instrument, day, minute, row) for minute, row in zip(minutes, rows, strict=True)]


def _bar(instrument: Any, day: date, minute: datetime, row: Row | float) -> BarData:
    prices = (row, row, row, row) if isinstance(row, (int, float)) else row
    open_, high, low, close = prices[:4]
    volume = int(prices[4]) if len(prices) > 4 else 1000
    return BarData(
        symbol=instrument.symbol,
        exchange=instrument.exchange,
        datetime=minute,
        interval="1m",
        open_price=open_,
        high_price=high,
        low_price=low,
        close_price=close,
        volume=volume,
        open_interest=0,
        turnover=close * volume * instrument.size,
        trading_day=day,
    )


class Scripted(CtaTemplate):
    """`steps`: bar number (from 1) -> what to do when it is over; `heard`: everything it was told."""

    steps: Mapping[int, Step] = {}
    heard: list[Any] | None = None
    parameters = ["steps", "heard"]

    def on_init(self) -> None:
        self.number = 0
        self.names: list[str] = []

    def on_bar(self, bar: BarData) -> None:
        self.number += 1
        self.names += self.steps.get(self.number, _nothing)(self) or []

    def on_order(self, order: OrderData) -> None:
        self._hear(order)

    def on_trade(self, trade: TradeData) -> None:
        self._hear((self.pos, trade))
        step = self.steps.get(-1)
        if step is not None:
            self.names += step(self) or []

    def on_stop_order(self, stop_order: StopOrder) -> None:
        self._hear(stop_order)

    def _hear(self, news: Any) -> None:
        if self.heard is not None:
            self.heard.append(news)


class Legs(StrategyTemplate):
    steps: Mapping[int, Step] = {}
    parameters = ["steps"]

    def on_init(self) -> None:
        self.number = 0
        self.seen: list[tuple[str, ...]] = []

    def on_bars(self, bars: dict[str, BarData]) -> None:
        self.number += 1
        self.steps.get(self.number, _nothing)(self)


def _nothing(strategy: Any) -> list[str]:
    return []


def plan(
    rows: Sequence[BarData],
    steps: Mapping[int, Step],
    heard: list[Any] | None = None,
    capital: float = 10_000_000.0,
    costs: Costs = FREE,
    **changes: Any,
) -> Plan:
    """One scripted strategy on these bars, from the first trading day to the last."""
    book, calendar = house()
    symbols: dict[str, list[BarData]] = {}
    for bar in rows:
        symbols.setdefault(bar.vt_symbol, []).append(bar)
    series = {name: BarSeries.from_bars(some) for name, some in symbols.items()}
    kind: Any = Scripted if len(series) == 1 else Legs
    params = {"steps": steps, "heard": heard} if kind is Scripted else {"steps": steps}
    strategy = StrategyPlan(kind, "test", tuple(series), params, capital)
    days = [bar.trading_day for bar in rows if bar.trading_day]
    return replace(
        Plan((strategy,), series, min(days), max(days), book, calendar, costs=costs),
        **changes,
    )


def run(*given: Any, **named: Any) -> Result:
    return realistic.run(plan(*given, **named))


def fills(result: Result) -> list[tuple[float, int]]:
    return [(trade.price, trade.volume) for trade in result.trades]


def reasons(result: Result) -> list[str]:
    return [order.error_msg or "" for order in result.orders if order.status == "REJECTED"]


MINUTE = timedelta(minutes=1)
