"""Tick course: a strategy's way through ticks. Its orders meet the simulated exchange's own matcher (`matching.py`).

A tick displays a new book; the resting orders meet it, then the stop orders its last price reaches go out across the
book, then the risk block looks. Then the strategy hears of it in the order in which it does live: the tick, what the
tick made of its orders, the minute that the tick ends (bars are made by the house's own `BarGenerator`), what became of
the orders it sent on the tick. What it sends meets the book that is displayed at that moment. The ticks show the
spread, so there is no slippage unless the plan asks for some.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import date, timedelta
from datetime import datetime as Time
from heapq import merge

from arbig.backtest.contracts import TradingDay
from arbig.backtest.markets import Market
from arbig.backtest.matching import Fill, Matcher, Outcome, Resting
from arbig.backtest.orders import Cause, Order, Stop
from arbig.backtest.plan import Plan
from arbig.backtest.seat import Seat
from arbig.backtest.series import TickSeries
from arbig.domain import protection
from arbig.domain.bars import MINUTE, MINUTE_GRACE, SEGMENT_GRACE, BarGenerator
from arbig.domain.messages import BarData, Direction, Offset, TickData, TradeData
from arbig.domain.positions import Lots
from arbig.domain.protection import Exit
from arbig.domain.sessions import Phase, TradingCalendar
from arbig.domain.template import BaseTemplate, CtaTemplate, StopOrderStatus, StrategyTemplate, deliver_bar

SECOND = timedelta(seconds=1)


class TickMarket(Market):
    """A contract whose ticks are known: the book our orders meet, and the bar that grows."""

    series: TickSeries

    def __init__(self, plan: Plan, calendar: TradingCalendar, vt_symbol: str, strategy_name: str) -> None:
        super().__init__(plan, calendar, vt_symbol, strategy_name)
        self.matcher = Matcher()
        self.tick: TickData | None = None
        self.bars = BarGenerator(self.symbol, self.sessions)
        self.timers: tuple[Time, ...] = ()
        self.opening: Time | None = None
        heard = plan.heard.get(vt_symbol)
        self.told = None if heard is None else deque(heard.bars)
        self.heard_ticks = None if heard is None else heard.ticks
        self.slip = plan.costs.slippage_ticks * self.instrument.price_tick

    def begin(self, day: TradingDay) -> None:
        super().begin(day)
        self.bars.sessions = self.sessions
        self.opening = self.sessions.continuous(day.day)[0].start

    def saw(self, tick: TickData) -> None:
        """The newest tick, with the day's limits where it has them."""
        self.tick = tick
        self.price = tick.last_price
        self.limit_up = tick.limit_up or self.limit_up
        self.limit_down = tick.limit_down or self.limit_down
        minute = tick.datetime.replace(second=0, microsecond=0)
        timers = (minute + SEGMENT_GRACE, minute + MINUTE + MINUTE_GRACE, minute + MINUTE + SEGMENT_GRACE)
        self.timers = tuple(timer for timer in timers if timer > tick.datetime)

    def hears(self, tick: TickData) -> bool:
        return self.heard_ticks is None or tick.datetime in self.heard_ticks

    def as_heard(self, bars: Iterable[BarData]) -> Iterator[BarData]:
        """Instead of these, the bars that were heard by then, where that is said."""
        for bar in bars:
            if self.told is None:
                yield bar
                continue
            while self.told and self.told[0].datetime <= bar.datetime:
                yield self.told.popleft()

    def is_auction(self, tick: TickData) -> bool:
        return self.opening is not None and tick.datetime < self.opening


class TickSeat(Seat):
    """EnginePort on ticks."""

    market_kind = TickMarket
    markets: dict[str, TickMarket]  # type: ignore[assignment]

    def __init__(self, *plan: object) -> None:
        super().__init__(*plan)  # type: ignore[arg-type]
        first = next(iter(self.markets.values()))
        self._moment = first.row_time(first.days[0].start)
        self._by_id: dict[str, Order] = {}
        self._minute: dict[str, BarData] = {}
        self._event: TickData | BarData | None = None
        self._exits: dict[str, Exit] = {}
        self._is_protecting = False
        self._held = {
            market.vt_symbol: Lots(holding.net, (holding.long if holding.net > 0 else holding.short).price, 0.0)
            for market in self.markets.values()
            if (holding := self.strategy_plan.opening.holdings.get(market.symbol)) is not None
        }
        risk = self.strategy_plan.risk
        self._is_guarded = risk.stop_loss_pct is not None or risk.take_profit_pct is not None

    # ---- time and place

    @property
    def moment(self) -> Time:
        return self._moment

    def event(self, market: Market) -> Cause | None:
        event = self._event
        if event is None:
            return None
        return Cause("tick" if isinstance(event, TickData) else "bar", event.symbol, event.datetime)

    def takes_orders(self, market: Market) -> bool:
        return market.sessions.phase_at(self._moment).accepts_orders

    def takes_cancels(self, market: Market) -> bool:
        return market.sessions.phase_at(self._moment) not in (Phase.CLOSED, Phase.AUCTION_MATCH)

    def enter(self, order: Order) -> None:
        market = order.market
        assert isinstance(market, TickMarket)
        self._by_id[order.order_id] = order
        resting = Resting(
            order_id=order.order_id,
            direction=order.direction,
            price=order.price,
            volume=order.left,
            sequence=order.number,
        )
        if market.sessions.phase_at(self._moment) is Phase.AUCTION_ORDER:
            market.matcher = market.matcher.rest(resting)
        else:
            self._apply(market, market.matcher.enter(resting), takes=True)

    def leave(self, order: Order) -> None:
        market = order.market
        assert isinstance(market, TickMarket)
        market.matcher = market.matcher.cancel(order.order_id).matcher
        self._by_id.pop(order.order_id, None)

    def _apply(self, market: TickMarket, outcome: Outcome, takes: bool) -> None:
        market.matcher = outcome.matcher
        for fill in outcome.fills:
            order = self._by_id.get(fill.order_id)
            if order is not None and order.status.is_active:
                self._fill(market, order, fill, takes)

    def _fill(self, market: TickMarket, order: Order, fill: Fill, takes: bool) -> None:
        price, sign = fill.price, order.sign
        if takes and market.slip:
            bound = min if sign > 0 else max
            price = market.within_limits(bound(market.grid.nearest(price + sign * market.slip), order.price))
        self.fill(order, price, fill.volume, (price - fill.price) * sign)

    # ---- the risk block

    def denied(self, market: Market, direction: Direction, offset: Offset, lots: int) -> str | None:
        exit = self._exits.get(market.vt_symbol)
        if exit is not None and not self._is_protecting:
            return f"the risk block is closing {market.symbol} ({exit.reason})"
        return super().denied(market, direction, offset, lots)

    def cancel_all(self, strategy: BaseTemplate) -> None:
        protecting = {exit.order for exit in self._exits.values()}
        for name in (*self.working, *self.waiting):
            if name not in protecting:
                self.cancel_order(strategy, name)

    def _on_trade(self, trade: TradeData) -> None:
        """Net lots and their average price, of which the risk block takes its percents."""
        held, change = self._held.get(trade.vt_symbol, Lots(0, 0.0, 0.0)), trade.direction.sign * trade.volume
        volume, price = held.volume + change, held.price
        if held.volume * change >= 0:
            price = (abs(held.volume) * held.price + trade.volume * trade.price) / abs(volume)
        elif held.volume * volume < 0:
            price = trade.price
        self._held[trade.vt_symbol] = Lots(volume, price, price)
        super()._on_trade(trade)

    def _protect(self, market: TickMarket, tick: TickData) -> None:
        name, risk = market.vt_symbol, self.strategy_plan.risk
        held, exit = self._held.get(name), self._exits.get(name)
        if held is None or self.news:  # a fill that has not been told comes first
            return
        if exit is None:
            reason = protection.breach(held, tick.last_price, risk)
            if reason is None:
                return
            exit = self._exits[name] = Exit(reason)
            self.log(f"closing {market.symbol}: {reason}")
        if held.volume:
            self._step(market, exit, held, tick)
        elif exit.order not in self.working:
            del self._exits[name]

    def _step(self, market: TickMarket, exit: Exit, held: Lots, tick: TickData) -> None:
        name = market.vt_symbol
        working = {wish: orders[0] for wish, orders in self.working.items() if orders[0].market is market}
        now = self._moment.timestamp()
        step = protection.next_step(exit, held, tick, market.instrument.price_tick, working, now)
        self._exits[name] = step.exit
        for wish in step.cancel:
            self.cancel_order(self.strategy, wish)
        if step.price is None:
            return
        self._event, self._is_protecting = tick, True
        direction, price = protection.closing_direction(held), market.grid.nearest(step.price)
        sent = self.send(market, direction, Offset.CLOSE, price, abs(held.volume))
        self._is_protecting = False
        self._exits[name] = replace(step.exit, order=sent.name)

    # ---- the course

    def play(self, day: date, today: dict[str, TradingDay]) -> None:
        for market, tick in self._ticks(today):
            self._pass_time(tick.datetime)
            self._moment = tick.datetime
            self._meet(market, tick)
            if self.is_margin_called and not market.is_auction(tick):
                self.is_margin_called = False
                for name in today:
                    self.close_everything(self.markets[name])
                self.tell()
            before = len(self.news)
            if market.hears(tick):
                self._event = tick
                self.strategy.on_tick(tick)
            self.tell(before)
            self._tell_bars(market, market.bars.on_tick(tick))
            self.tell()
            if self.money.exposure:
                self.survives(self.money.balance_at(self.prices()))
        self._close(day, today)

    def _ticks(self, today: dict[str, TradingDay]) -> Iterator[tuple[TickMarket, TickData]]:
        def of(market: TickMarket, day: TradingDay) -> Iterator[tuple[TickMarket, TickData]]:
            for row in range(day.start, day.stop):
                market.row = row
                yield market, market.series.tick(row)

        return merge(
            *(of(self.markets[name], day) for name, day in today.items()),
            key=lambda one: (one[1].datetime, one[1].symbol),
        )

    def _pass_time(self, until: Time) -> None:
        """The timers that close a minute when no tick comes to do it."""
        due = sorted(
            (timer, market.symbol, market)
            for market in self.markets.values()
            for timer in market.timers
            if timer < until
        )
        for timer, _, market in due:
            self._moment = timer
            self._tell_bars(market, market.bars.on_time(timer))
        for market in self.markets.values():
            market.timers = tuple(timer for timer in market.timers if timer >= until)

    def _meet(self, market: TickMarket, tick: TickData) -> None:
        market.saw(tick)
        if market.is_auction(tick):
            self._apply(market, market.matcher.on_auction(tick.last_price, tick.last_volume), takes=False)
        else:
            self._apply(market, market.matcher.on_tick(tick), takes=False)
        if market.is_auction(tick) or not market.hears(tick):
            return
        for stop in tuple(market.stops):
            if stop.status is StopOrderStatus.WAITING and (tick.last_price - stop.price) * stop.sign >= 0:
                self.trigger(stop, self._crossing_price(market, stop, tick))
        if self._is_guarded:
            self._protect(market, tick)

    def _crossing_price(self, market: TickMarket, stop: Stop, tick: TickData) -> float:
        if stop.direction is Direction.LONG:
            return tick.limit_up or tick.ask_price_1 or tick.last_price
        return tick.limit_down or tick.bid_price_1 or tick.last_price

    def _tell_bars(self, market: TickMarket, bars: list[BarData]) -> None:
        strategy = self.strategy
        for bar in market.as_heard(bars):
            self._event = bar
            if isinstance(strategy, CtaTemplate):
                deliver_bar(strategy, bar)
            elif isinstance(strategy, StrategyTemplate):
                self._collect(strategy, bar)
            self.tell()

    def _collect(self, strategy: StrategyTemplate, bar: BarData) -> None:
        """The legs' bars of one minute are told together: when a later minute begins, or all are there."""
        if self._minute and next(iter(self._minute.values())).datetime != bar.datetime:
            self._tell_minute(strategy)
        self._minute[bar.vt_symbol] = bar
        if len(self._minute) == len(self.markets):
            self._tell_minute(strategy)

    def _tell_minute(self, strategy: StrategyTemplate) -> None:
        bars, self._minute = self._minute, {}
        self._event = next(reversed(bars.values()))
        strategy.on_bars(bars)

    def _close(self, day: date, today: dict[str, TradingDay]) -> None:
        """After the last tick: the day's last minute, then the close, when the data reaches it."""
        for name in today:
            market = self.markets[name]
            close = market.sessions.segments(day)[-1].end
            if today[name].stop == len(market.series) and self._moment < close - 2 * MINUTE:
                continue
            self._moment = max(self._moment, close)
            self.expire(market)
            market.matcher = market.matcher.on_day_end().matcher
        self.tell()
        self._pass_time(self._moment + SEGMENT_GRACE + MINUTE + SECOND)
        if self._minute and isinstance(self.strategy, StrategyTemplate):
            self._tell_minute(self.strategy)
            self.tell()
