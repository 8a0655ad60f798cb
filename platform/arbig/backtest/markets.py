"""Markets: one contract as a strategy meets it in a backtest: its series, where in it we are, the day's limits."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime as Time
from datetime import timedelta
from math import inf, nan
from typing import TYPE_CHECKING

from arbig.backtest.contracts import Grid, TradingDay, aware, price_limit, trading_days
from arbig.backtest.plan import Plan
from arbig.backtest.series import BarSeries
from arbig.domain.instruments import Instrument
from arbig.domain.messages import BarData, Direction
from arbig.domain.sessions import Sessions, TradingCalendar

if TYPE_CHECKING:
    from arbig.backtest.orders import Order, Stop


class Market:
    """One contract as a strategy meets it: its series, where in it we are, and what works there."""

    def __init__(self, plan: Plan, calendar: TradingCalendar, vt_symbol: str, strategy_name: str) -> None:
        self.plan = plan
        self.vt_symbol = vt_symbol
        self.series = plan.series[vt_symbol]
        self.symbol = self.series.symbol
        self.strategy_name = strategy_name
        self.instrument: Instrument = plan.book.get(vt_symbol, plan.start)
        self.sessions = Sessions(self.instrument.night_close, calendar)
        self.grid = Grid(self.instrument.price_tick)
        limit = price_limit(self.instrument, plan.costs.price_limits)
        self.days = trading_days(self.series, self.instrument, limit, plan.start, plan.end)
        self.orders: list[Order] = []
        self.stops: list[Stop] = []
        self.lowest_buy, self.highest_sell = inf, -inf
        self.price = nan
        self.length = timedelta()
        self.row = -1
        self.limit_up, self.limit_down = inf, 0.0

    def begin(self, day: TradingDay) -> None:
        """A trading day: the contract's row of that day, its limits."""
        self.instrument = self.plan.book.get(self.vt_symbol, day.day)
        if self.instrument.night_close != self.sessions.night_close:
            self.sessions = Sessions(self.instrument.night_close, self.sessions.calendar)
        if self.instrument.price_tick != self.grid.tick:
            self.grid = Grid(self.instrument.price_tick)
        self.limit_up, self.limit_down = day.limit_up, day.limit_down

    def wait(self, stop: Stop) -> None:
        """A stop order waits here: none that buys is below `lowest_buy`, none that sells above `highest_sell`. One that
        went leaves them too near, which costs a look and no more."""
        self.stops.append(stop)
        if stop.sign > 0:
            self.lowest_buy = min(self.lowest_buy, stop.price)
        else:
            self.highest_sell = max(self.highest_sell, stop.price)

    def go(self, stop: Stop) -> None:
        self.stops.remove(stop)
        if not self.stops:
            self.lowest_buy, self.highest_sell = inf, -inf

    def forget_stops(self) -> None:
        self.stops.clear()
        self.lowest_buy, self.highest_sell = inf, -inf

    def play(self, start: int, stop: int) -> Iterator[BarData]:
        """The bars of the rows [start, stop)."""
        series = self.series
        assert isinstance(series, BarSeries)
        return map(series.bar, range(start, stop))

    def row_time(self, row: int) -> Time:
        return aware(self.series.datetime[row])

    def row_end(self, row: int) -> Time:
        """When the bar of a row was over."""
        return self.row_time(row) + self.length

    def worst(self, direction: Direction) -> float:
        """The limit price that takes whatever is there; infinite or zero where the limits are not known."""
        return self.limit_up if direction is Direction.LONG else self.limit_down

    def within_limits(self, price: float) -> float:
        return min(max(price, self.limit_down), self.limit_up)
