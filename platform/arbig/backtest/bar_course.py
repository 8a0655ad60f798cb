"""Bar course: a strategy's way through bars, and what the exchange's matching means when only a bar is known.

1. An order sent on a bar is matched from the next bar on, never by the bar that caused it.
2. An order across the open takes: it fills at the open plus slippage, never beyond its own price. What the volume
   leaves over goes on taking at the next bar's open, as long as that is across.
3. An order that is not across the open rests at its own price, and fills there once the bar trades through it by a
   tick. A mere touch fills nobody: others may have stood before us.
4. On each side we may have `volume_share` of a bar's volume, at least one lot of a bar that traded; better prices
   first, then older orders. A series without any volume has no such limit, which is a warning.
5. At limit-up nobody sells to us, at limit-down nobody buys: an order that would take there queues at the limit and
   fills when the bar trades through it. The limits are the last settlement price plus and minus the product's share.
6. A stop order triggers when the bar reaches its price, never on the bar that placed it, and then takes at the worse of
   its price and the open, plus slippage. Inside a bar the orders at the exchange come first, then stop orders, the one
   nearer to the open first; what a strategy cancels on such news no longer happens.
7. After a session's last bar, and in a break, the exchange takes no order (当前状态禁止此项操作): an order sent on the
   last bar before the close is rejected, as live. In a break it takes cancels. Stop orders wait at the house and may
   be placed at any time. Orders live through breaks and from night to day, and die at the close of their trading day,
   before the strategy hears the day's last bar. On bars longer than a minute an order waits for the next bar.
8. A trading day's first bar includes the opening auction. No order of ours is in it, for none outlives the day before;
   a stop order passed by it takes at the open, when continuous trading begins.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from datetime import datetime as Time
from typing import Any

import numpy as np

from arbig.backtest.contracts import EPSILON, TradingDay, close_of
from arbig.backtest.feeds import LateBar, Sheet, store_of
from arbig.backtest.markets import Market
from arbig.backtest.orders import Cause, Order, Stop
from arbig.backtest.plan import Plan
from arbig.backtest.quiet import Collecting
from arbig.backtest.seat import Seat
from arbig.backtest.series import BarSeries
from arbig.backtest.session_windows import SessionFeed
from arbig.domain.messages import SHANGHAI, BarData
from arbig.domain.sessions import Phase, TradingCalendar
from arbig.domain.template import CtaTemplate, StopOrderStatus, StrategyTemplate

LENGTHS = {"1m": timedelta(minutes=1), "1h": timedelta(hours=1)}


class BarMarket(Market):
    """A contract whose bars are known, one trading day's at hand. `row` counts in the series."""

    series: BarSeries

    def __init__(self, plan: Plan, calendar: TradingCalendar, vt_symbol: str, strategy_name: str) -> None:
        super().__init__(plan, calendar, vt_symbol, strategy_name)
        self.feed = SessionFeed(store_of(self.series), self.sessions)
        self.first = 0
        self.open: Sequence[float] = ()
        self.high: Sequence[float] = ()
        self.low: Sequence[float] = ()
        self.close: Sequence[float] = ()
        self.volume: Sequence[float] = ()
        self.times: Sequence[Time] = ()
        self.length = LENGTHS.get(self.series.interval, timedelta())
        self.has_volume = bool(self.series.volume.any())
        self.slip = plan.costs.slippage_ticks * self.instrument.price_tick
        self.row = self.days[0].start - 1 if self.days else -1
        self.has_night = False
        self._phases: dict[tuple[bool, int, int], Phase] = {}
        self._spanned = -1
        self._span: tuple[Time, Time]

    def begin(self, day: TradingDay) -> None:
        sessions = self.sessions
        super().begin(day)
        rows = slice(day.start, day.stop)
        series = self.series
        self.first = day.start
        self.open, self.high = series.open[rows].tolist(), series.high[rows].tolist()
        self.low, self.close = series.low[rows].tolist(), series.close[rows].tolist()
        self.volume, self.times = series.volume[rows].tolist(), series.datetime[rows].tolist()
        self.slip = self.plan.costs.slippage_ticks * self.instrument.price_tick
        if sessions is not self.sessions:
            self._phases.clear()
        self.has_night = self.sessions.calendar.has_night(day.day)

    def play(self, start: int, stop: int) -> Iterator[BarData]:
        return self.feed.play(start, stop)

    def span(self, index: int) -> tuple[Time, Time]:
        """When a row of the day began and when it was over."""
        if self._spanned != (spanned := self.first + index):
            start = self.times[index].replace(tzinfo=SHANGHAI)
            self._spanned, self._span = spanned, (start, start + self.length)
        return self._span

    def phase_at(self, moment: Time) -> Phase:
        """As the sessions say, remembered by the clock: days with a night are alike, and so are those without."""
        key = self.has_night, moment.hour, moment.minute
        known = self._phases.get(key)
        if known is None:
            known = self._phases[key] = self.sessions.phase_at(moment)
        return known

    def is_over(self, day: TradingDay) -> bool:
        """Whether the trading day ends with the last row there is of it: the last day's data may stop in its middle."""
        if day.stop < len(self.series):
            return True
        close = close_of(self.sessions, day.day)
        return (
            close is None or self.series.interval != "1m" or self.times[-1] + self.length >= close.replace(tzinfo=None)
        )

    def share(self, index: int) -> int:
        """Lots we may have of a bar on each side."""
        if not self.has_volume:
            return 1_000_000_000
        volume = self.volume[index]
        return max(1, int(volume * self.plan.costs.volume_share)) if volume >= 1 else 0


class BarSeat(Seat):
    """EnginePort on bars."""

    market_kind = BarMarket
    markets: dict[str, BarMarket]  # type: ignore[assignment]

    def __init__(self, *plan: object) -> None:
        super().__init__(*plan)  # type: ignore[arg-type]
        self.now: BarMarket = next(iter(self.markets.values()))
        self.is_inside = False  # a bar, not after it
        self.is_opening = False
        self._room = {1: 0, -1: 0}
        self._collecting: Collecting
        self._often_read: tuple[str, ...] = ()
        for market in self.markets.values():
            if not market.has_volume:
                self.warn(f"{market.vt_symbol}: its bars have no volume, so fills are not limited by it")

    def make(self) -> None:
        super().make()
        if isinstance(self.strategy, CtaTemplate):
            self._collecting = Collecting(self.strategy)

    def feeds(self) -> tuple[SessionFeed, ...]:
        return tuple(market.feed for market in self.markets.values())

    # ---- time and place

    @property
    def moment(self) -> Time:
        market = self.now
        index = market.row - market.first
        if index < 0 or not market.times:
            return market.row_time(max(market.row, 0))
        start, end = market.span(index)
        return start if self.is_inside else end

    @property
    def stop_time(self) -> Time | None:
        return self.moment if self.is_inside else None

    def event(self, market: Market) -> Cause | None:
        assert isinstance(market, BarMarket)
        index = market.row - market.first
        return Cause("bar", market.symbol, market.times[index]) if 0 <= index < len(market.times) else None

    def takes_orders(self, market: Market) -> bool:
        return self._phase(market).accepts_orders

    def takes_cancels(self, market: Market) -> bool:
        return self._phase(market) not in (Phase.CLOSED, Phase.AUCTION_MATCH)

    def _phase(self, market: Market) -> Phase:
        if self.is_inside or self.is_opening or self.now.series.interval != "1m":
            return Phase.CONTINUOUS
        assert isinstance(market, BarMarket)
        return market.phase_at(self.moment)

    def enter(self, order: Order) -> None:
        order.market.orders.append(order)

    def leave(self, order: Order) -> None:
        if order in order.market.orders:
            order.market.orders.remove(order)

    # ---- matching

    def meet(self, market: BarMarket, row: int) -> None:
        """The orders and stop orders of a contract meet its next bar."""
        self.is_inside = True
        index = row - market.first
        share = market.share(index)
        self._room = {1: share, -1: share}
        if market.orders:
            orders = (market.orders[0],) if len(market.orders) == 1 else sorted(market.orders, key=_priority)
            for order in orders:
                if order.since < row and order.status.is_active:
                    self._meet(order, index)
                    if self.news:
                        self.tell()
        if market.stops:
            self._meet_stops(market, row, index)
        self.is_inside = False

    def _meet(self, order: Order, index: int, reference: float | None = None) -> None:
        """`reference`: the price at which it comes to the market, the open unless a stop order became it later."""
        market = order.market
        assert isinstance(market, BarMarket)
        sign, volume = order.sign, min(order.left, self._room[order.sign])
        if reference is None:
            reference = market.open[index]
        if not order.rests:
            is_locked = (market.worst(order.direction) - reference) * sign < EPSILON
            if (order.price - reference) * sign > -EPSILON and not is_locked:
                self._take(order, market, reference, volume)
                return
            order.rests = True
        extreme = market.low[index] if sign > 0 else market.high[index]
        if (order.price - extreme) * sign > market.grid.tick - EPSILON and volume:
            self._room[sign] -= volume
            self.fill(order, order.price, volume)

    def _take(self, order: Order, market: BarMarket, reference: float, volume: int) -> None:
        if not volume:
            return
        bound = min if order.sign > 0 else max
        price = market.within_limits(bound(market.grid.nearest(reference + order.sign * market.slip), order.price))
        self._room[order.sign] -= volume
        self.fill(order, price, volume, (price - reference) * order.sign)

    def _meet_stops(self, market: BarMarket, row: int, index: int) -> None:
        open_, high, low = market.open[index], market.high[index], market.low[index]
        reached = [
            stop
            for stop in market.stops
            if stop.since < row and (high >= stop.price if stop.sign > 0 else low <= stop.price)
        ]
        if len(reached) > 1:
            reached.sort(key=lambda stop: (max(0.0, (stop.price - open_) * stop.sign), stop.number))
        for stop in reached:
            if stop.status is StopOrderStatus.WAITING:
                self._trigger(stop, market, index, open_)
                self.tell()

    def _trigger(self, stop: Stop, market: BarMarket, index: int, open_: float) -> None:
        reference = max(stop.price, open_) if stop.sign > 0 else min(stop.price, open_)
        worst = market.worst(stop.direction)
        if not 0 < worst < float("inf"):
            worst = market.grid.nearest(reference + stop.sign * market.slip)
        for order in self.trigger(stop, worst):
            self._meet(order, index, reference)

    # ---- the course

    def play(self, day: date, today: dict[str, TradingDay]) -> None:
        if self.is_margin_called:
            self.is_opening = True
            for name in today:
                self.close_everything(self.markets[name])
            self.is_opening = self.is_margin_called = False
            self.tell()
        if isinstance(self.strategy, CtaTemplate):
            self._play_one(self.now, today[self.now.vt_symbol])
        else:
            self._play_legs(today)
        for name, trading_day in today.items():
            market = self.markets[name]
            if market.orders and market.series.interval == "1m" and market.is_over(trading_day):
                self.expire(market)
        self.tell()

    def _play_one(self, market: BarMarket, day: TradingDay) -> None:
        """A strategy that only collects minutes is given the last bar of each span in which nothing of its own can
        happen: no order waits, no stop order is within reach, and its money would bear the span's worst price."""
        feed, sheet = market.feed, Sheet(market.feed.store, day.start, day.stop)
        spans = self._collecting.spans(feed, day.start, day.stop)
        if spans is None:
            self._play_rows(market, day, sheet, day.start, day.stop)
            self._often_read = sheet.read()
            return
        strategy = self.strategy
        assert isinstance(strategy, CtaTemplate)
        firsts = np.array([day.start, *(last + 1 for last in spans[:-1])]) - day.start
        highs, lows = (
            np.maximum.reduceat(market.high, firsts).tolist(),
            np.minimum.reduceat(market.low, firsts).tolist(),
        )
        for first, last, high, low in zip((firsts + day.start).tolist(), spans, highs, lows, strict=True):
            crosses = market.orders or (high >= market.lowest_buy or low <= market.highest_sell)
            if not crosses and not self._is_risky(market, high, low) and self._collecting.waits(first):
                self._collecting.pass_over(last)
                index = last - day.start
                bar: Any = LateBar(sheet, index)
                market.row, market.price = last, market.close[index]
                feed.bar, feed.row = bar, last
                strategy.on_bar(bar)
                self._after(market)
            else:
                self._play_rows(market, day, sheet, first, last + 1)

    def _is_risky(self, market: BarMarket, high: float, low: float) -> bool:
        """Whether a price between these might blow up what is held."""
        money = self.money
        if not money.exposure:
            return False
        amount = money.exposure[market.symbol]
        return money.cash + min(amount * high, amount * low) <= 0

    def _play_rows(self, market: BarMarket, day: TradingDay, sheet: Sheet, first: int, stop: int) -> None:
        strategy, money, feed = self.strategy, self.money, market.feed
        assert isinstance(strategy, CtaTemplate)
        on_bar, orders, stops, news = strategy.on_bar, market.orders, market.stops, self.news
        begin = day.start
        high, low, close = market.high, market.low, market.close
        last = day.stop - 1 if market.is_over(day) else -1
        for row, bar in enumerate(sheet.bars(slice(first - begin, stop - begin), self._often_read), first):
            market.row = row
            index = row - begin
            if orders or (stops and (high[index] >= market.lowest_buy or low[index] <= market.highest_sell)):
                self.meet(market, row)
            market.price = close[index]
            if row == last and orders:
                self.expire(market)
                self.tell()
            feed.bar, feed.row = bar, row
            on_bar(bar)
            if news or money.exposure:
                self._after(market)

    def _after(self, market: BarMarket) -> None:
        """A bar was given: what came of it is told, and the balance must still be there."""
        if self.news:
            self.tell()
        if self.money.exposure:
            self.survives(self.money.cash + self.money.exposure[market.symbol] * market.price)

    def _play_legs(self, today: dict[str, TradingDay]) -> None:
        strategy = self.strategy
        assert isinstance(strategy, StrategyTemplate)
        rows: dict[Time, list[tuple[str, BarMarket, int, BarData]]] = {}
        lasts = {}
        for name in self.markets:
            if name in today:
                market, day = self.markets[name], today[name]
                lasts[name] = day.stop - 1 if market.is_over(day) else -1
                bars_of_day = market.feed.store.bars(day.start, day.stop)
                for index, moment in enumerate(market.times):
                    rows.setdefault(moment, []).append((name, market, day.start + index, bars_of_day[index]))
        for moment in sorted(rows):
            bars: dict[str, BarData] = {}
            for name, market, row, bar in rows[moment]:
                self.now = market
                market.row = row
                if market.orders or market.stops:
                    self.meet(market, row)
                market.price = market.close[row - market.first]
                if row == lasts[name] and market.orders:
                    self.expire(market)
                    self.tell()
                market.feed.bar, market.feed.row = bar, row
                bars[name] = bar
            strategy.on_bars(bars)
            if self.news:
                self.tell()
            if self.money.exposure:
                self.survives(self.money.balance_at(self.prices()))


def _priority(order: Order) -> tuple[float, int]:
    return -order.price * order.sign, order.number
