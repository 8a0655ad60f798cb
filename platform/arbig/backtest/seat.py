"""Seat: one strategy at the exchange while it is tested: what it may ask for, what it has under way, what it hears.

The seat judges a wish as the house and the counter do live (lots held, money, price limits, hours); how orders are
filled is the course's business (`bar_course.py`, `tick_course.py`). News is told when a callback is over, as live.
"""

from __future__ import annotations

# ruff: noqa: B027 - much of a house does not exist in a backtest
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, timedelta
from datetime import datetime as Time
from functools import partial
from math import inf, isfinite
from typing import Any

from arbig.backtest.contracts import (
    EPSILON,
    TradingDay,
    missing_history,
)
from arbig.backtest.feeds import Feed
from arbig.backtest.markets import Market
from arbig.backtest.money import Money
from arbig.backtest.orders import Cause, Order, Stop, Wish
from arbig.backtest.plan import Plan, StrategyPlan
from arbig.backtest.predictions import Asked, NoModels
from arbig.backtest.quiet import is_silent
from arbig.backtest.result import Day, Log
from arbig.backtest.series import BarSeries, TickSeries
from arbig.backtest.shortcuts import Word, shorten
from arbig.domain.counter import ABOVE_LIMIT, AT_THE_CLOSE, BELOW_LIMIT, FORBIDDEN_NOW, error_message
from arbig.domain.features import Features, Prediction
from arbig.domain.messages import (
    BarData,
    Detail,
    Direction,
    Interval,
    Offset,
    PositionData,
    Status,
    TickData,
    TradeData,
)
from arbig.domain.positions import NotEnough, plan_offsets
from arbig.domain.sessions import TradingCalendar
from arbig.domain.template import (
    STOP_PREFIX,
    BaseTemplate,
    CtaTemplate,
    EngineType,
    StopOrderStatus,
    StrategyTemplate,
    split_wish,
)
from arbig.domain.windows import WindowGenerator

MOST_NEWS = 10_000
NOT_SENT = "not sent: {}"


class BlownUp(Exception):
    """The strategy's money is gone."""


class Endless(RuntimeError):
    """A strategy that answers its own news without end."""


class NotANumber(ValueError):
    """An order's price or volume that is no number: the indicator behind it has none."""


class Seat(ABC):
    """EnginePort of one strategy."""

    market_kind: type[Market] = Market
    checks_closes = True  # TargetPosTemplate then closes before it opens, as live

    def __init__(self, plan: Plan, strategy_plan: StrategyPlan, calendar: TradingCalendar) -> None:
        self.plan = plan
        self.name = strategy_plan.name
        self.strategy_plan = strategy_plan
        self.calendar = calendar
        self.markets = {name: self.market_kind(plan, calendar, name, self.name) for name in strategy_plan.vt_symbols}
        self.money = Money(self.name, strategy_plan.capital, plan.start)
        self.orders: list[Order] = []
        self.stops: list[Stop] = []
        self.waiting: dict[str, Stop] = {}
        self.working: dict[str, list[Order]] = {}
        self.trades: list[TradeData] = []
        self.logs: list[Log] = []
        self.warnings: list[str] = []
        self.days: list[Day] = []
        self.positions: tuple[PositionData, ...] = ()
        self.net: dict[str, int] = {}  # lots as the strategy has been told them
        self.news: deque[tuple[Callable[[Any], None], Any]] = deque()
        self.day = plan.start
        self.settlement: dict[str, float] = {}
        self.is_margin_called = False
        self.strategy: BaseTemplate
        self._count = 0
        self._hears_orders = self._hears_stops = True
        self._is_telling = False
        self._triggered: Stop | None = None
        self.asked = Asked(plan.predictor or NoModels(), self.warn)

    # ---- time and place

    @property
    @abstractmethod
    def moment(self) -> Time:
        """Now, on the exchange's clock."""

    @property
    def stop_time(self) -> Time | None:
        """When a stop order is placed; left out where its row will say it."""
        return self.moment

    @abstractmethod
    def event(self, market: Market) -> Cause | None:
        """The bar or tick the strategy is answering."""

    @abstractmethod
    def takes_orders(self, market: Market) -> bool:
        """Whether the exchange takes an order now."""

    @abstractmethod
    def takes_cancels(self, market: Market) -> bool: ...

    @abstractmethod
    def enter(self, order: Order) -> None:
        """An accepted order goes to the exchange."""

    @abstractmethod
    def leave(self, order: Order) -> None:
        """A cancelled order is gone from the exchange."""

    def feeds(self) -> tuple[Feed, ...]:
        """Where the strategy's bars come from, when they come from columns."""
        return ()

    # ---- the strategy

    def make(self) -> None:
        """The strategy itself, initialised and trading."""
        kind, params = self.strategy_plan.kind, dict(self.strategy_plan.params)
        if issubclass(kind, CtaTemplate):
            self.strategy = kind(self, self.name, self.strategy_plan.vt_symbols[0], params)
            self._hears_orders = not is_silent(self.strategy.on_order)
            self._hears_stops = not is_silent(self.strategy.on_stop_order)
            shorten(self.strategy, self, partial(self._word, self.strategy), self._cancelling(self.strategy))
        else:
            assert issubclass(kind, StrategyTemplate)
            self.strategy = kind(self, self.name, list(self.strategy_plan.vt_symbols), params)
            self._hears_stops = False
        self.strategy.on_init()
        self._take_over()
        self.strategy.inited = True
        self.strategy.on_start()
        self.strategy.trading = True
        self.tell()

    def _take_over(self) -> None:
        """What it begins with: variables and lots of before."""
        strategy, opening = self.strategy, self.strategy_plan.opening
        for name, value in opening.variables.items():
            if name in strategy.variables:
                setattr(strategy, name, value)
        if not opening.holdings:
            return
        self.money.carry(opening.holdings.values())
        for name, market in self.markets.items():
            lots = self.money.holding(market.symbol).net
            self.net[name] = lots
            if isinstance(strategy, CtaTemplate):
                strategy.pos = lots
            elif isinstance(strategy, StrategyTemplate):
                strategy.pos_data[name] = lots

    def tell(self, most: int | None = None) -> None:
        """What happened, one after the other; what the strategy then asks for may make more of it. `most`: only so much
        of it now."""
        told = 0
        self._is_telling = True
        while self.news and told != most:
            callback, message = self.news.popleft()
            callback(message)
            told += 1
            if told > MOST_NEWS:
                raise Endless(f"{told} pieces of news after one event: does on_order answer a refusal with an order?")
        self._is_telling = False

    def _tell_order(self, order: Order) -> None:
        if not self._hears_orders:
            return
        strategy = self.strategy
        callback = strategy.update_order if isinstance(strategy, StrategyTemplate) else strategy.on_order  # type: ignore[attr-defined]
        self.news.append((callback, order.wish.told(order)))

    def _tell_stop(self, stop: Stop) -> None:
        if self._hears_stops:
            self.news.append((self.strategy.on_stop_order, stop.report()))  # type: ignore[attr-defined]

    def _on_trade(self, trade: TradeData) -> None:
        strategy, name = self.strategy, trade.vt_symbol
        lots = self.net[name] = self.net.get(name, 0) + trade.direction.sign * trade.volume
        if isinstance(strategy, StrategyTemplate):
            strategy.update_trade(trade)
            strategy.pos_data[name] = lots
        elif isinstance(strategy, CtaTemplate):
            strategy.pos = lots
            strategy.on_trade(trade)

    # ---- EnginePort: orders

    def send_order(
        self,
        strategy: BaseTemplate,
        vt_symbol: str,
        direction: Direction,
        offset: Offset,
        price: float,
        volume: float,
        stop: bool,
        lock: bool,
        net: bool,
    ) -> list[str]:
        market = self.markets.get(vt_symbol)
        if market is None:
            legs = ", ".join(self.markets)
            self.log(NOT_SENT.format(f"{vt_symbol} is none of this strategy's contracts ({legs})"))
            return []
        if not (isfinite(price) and isfinite(volume)):
            what, found = ("price", price) if not isfinite(price) else ("volume", volume)
            raise NotANumber(
                f"{offset} {direction} {vt_symbol}: {what} is {found}; is an indicator read before it has a value?"
            )
        lots = round(volume)
        if price <= 0 or lots < 1:
            self.log(NOT_SENT.format(f"{vt_symbol}: price {price} and volume {volume} make no order"))
            return []
        price = market.grid.nearest(price)
        if stop:
            return [self._place_stop(market, direction, offset, price, lots, lock, net)]
        return self._send(market, direction, offset, price, lots, lock, net)

    def _place_stop(
        self, market: Market, direction: Direction, offset: Offset, price: float, lots: int, lock: bool, net: bool
    ) -> str:
        number = len(self.stops) + 1
        name = f"{STOP_PREFIX}{self.name}.{number}"
        sign = 1 if direction is Direction.LONG else -1
        stop = Stop(number, name, market, direction, sign, offset, price, lots, market.row, self.stop_time, lock, net)
        self.stops.append(stop)
        self.waiting[name] = stop
        market.wait(stop)
        self._tell_stop(stop)
        return name

    def _word(self, strategy: CtaTemplate, direction: Direction, offset: Offset) -> Word:
        """What a strategy of one contract says to trade; `send_order` judges what is no clear stop order."""
        vt_symbol = strategy.vt_symbol
        market = self.markets[vt_symbol]

        def wish(price: float, volume: float, stop: bool = False, lock: bool = False, net: bool = False) -> list[str]:
            if not strategy.trading:
                return []
            if stop and 0 < price < inf and 1 <= volume < inf:
                lots = round(volume)
                return [self._place_stop(market, direction, offset, market.grid.nearest(price), lots, lock, net)]
            return self.send_order(strategy, vt_symbol, direction, offset, price, volume, stop, lock, net)

        return wish

    def _send(
        self, market: Market, direction: Direction, offset: Offset, price: float, lots: int, lock: bool, net: bool
    ) -> list[str]:
        if not (lock or net):
            return [self.send(market, direction, offset, price, lots).name]
        side = self.money.holding(market.symbol).closable(direction)
        parts = split_wish(
            direction, offset, lots, lock=lock, net=net, holding=side.available, yesterday=side.yesterday_available
        )
        return [self.send(market, direction, part, price, volume).name for part, volume in parts]

    def send(
        self, market: Market, direction: Direction, offset: Offset, price: float, lots: int, forced: bool | None = None
    ) -> Wish:
        """One wish: split where a close must be, judged, and at the exchange or refused when this returns."""
        self._count += 1
        wish = Wish(f"{self.name}.{self._count}", offset, lots)
        denial = None if forced else self.denied(market, direction, offset, lots)
        if denial is not None:
            order = self._new_order(wish, wish.name, market, direction, offset, price, lots, forced)
            order.detail = Detail.DENIED
            self._refuse(order, None, denial)
            return wish
        legs: Sequence[tuple[Offset, int]] | NotEnough = ((offset, lots),)
        if offset is not Offset.OPEN:
            legs = plan_offsets(self.money.holding(market.symbol), market.instrument, direction, lots, offset)
        if isinstance(legs, NotEnough):
            order = self._new_order(wish, wish.name, market, direction, offset, price, lots, forced)
            order.detail = Detail.DENIED
            self._refuse(order, None, legs.reason)
            return wish
        names = [wish.name] if len(legs) == 1 else [f"{wish.name}.{part}" for part, _ in legs]
        orders = [
            self._new_order(wish, name, market, direction, part, price, volume, forced)
            for name, (part, volume) in zip(names, legs, strict=True)
        ]
        for order in orders:
            self._judge(order)
        return wish

    def denied(self, market: Market, direction: Direction, offset: Offset, lots: int) -> str | None:
        """Why the risk block does not let a wish out."""
        limit = self.strategy_plan.risk.max_position
        if limit is None or offset is not Offset.OPEN:
            return None
        under_way = sum(
            order.left
            for order in self.all_working()
            if order.market is market and order.direction is direction and order.offset is Offset.OPEN
        )
        total = direction.sign * self.net.get(market.vt_symbol, 0) + under_way + lots
        if total <= limit:
            return None
        return f"{direction} {lots} {market.symbol} would make {total} lots, max_position is {limit}"

    def _new_order(
        self,
        wish: Wish,
        order_id: str,
        market: Market,
        direction: Direction,
        offset: Offset,
        price: float,
        lots: int,
        forced: bool | None,
    ) -> Order:
        number = len(self.orders) + 1
        born, cause = self.moment, self._cause(market)
        order = Order(
            number, order_id, wish, market, direction, direction.sign, offset, price, lots, market.row, born, self.day,
            forced, cause,
        )  # fmt: skip
        wish.orders.append(order)
        self.orders.append(order)
        return order

    def _cause(self, market: Market) -> Cause | None:
        """Why an order is sent. News of orders is no cause."""
        if self._triggered is not None:
            return Cause("stop", market.symbol, self.moment)
        return None if self._is_telling else self.event(market)

    def _judge(self, order: Order) -> None:
        error = self._refused_by_counter(order)
        if error is not None:
            self._refuse(order, error, error_message(error))
            return
        words = self._refused_by_exchange(order)
        if words is not None:
            self._refuse(order, None, words)
            return
        order.status = Status.NOTTRADED
        self.working.setdefault(order.wish.name, []).append(order)
        if order.offset is not Offset.OPEN:
            self.money.freeze(order.symbol, order.direction, order.offset, order.volume)
        self._tell_order(order)
        self.enter(order)

    def _refused_by_counter(self, order: Order) -> int | None:
        if order.volume > order.market.instrument.max_order_volume:
            return 106
        if order.offset is not Offset.OPEN or self.money.affords(self.prices(), self.all_working(), order):
            return None
        return 31

    def _refused_by_exchange(self, order: Order) -> str | None:
        market = order.market
        if not self.takes_orders(market):
            return FORBIDDEN_NOW
        if order.price > market.limit_up + EPSILON:
            return ABOVE_LIMIT.format(limit=market.limit_up)
        if order.price < market.limit_down - EPSILON:
            return BELOW_LIMIT.format(limit=market.limit_down)
        return None

    def _refuse(self, order: Order, error: int | None, words: str) -> None:
        order.status, order.error_id, order.error_msg = Status.REJECTED, error, words
        self._tell_order(order)

    def all_working(self) -> Iterator[Order]:
        return (order for orders in self.working.values() for order in orders)

    def prices(self) -> dict[str, float]:
        return {market.symbol: market.price for market in self.markets.values() if market.price == market.price}

    # ---- EnginePort: cancels

    def cancel_order(self, strategy: BaseTemplate, vt_orderid: str) -> None:
        stop = self.waiting.pop(vt_orderid, None)
        if stop is not None:
            stop.market.go(stop)
            stop.status = StopOrderStatus.CANCELLED
            self._tell_stop(stop)
            return
        for order in tuple(self.working.get(vt_orderid, ())):
            if not order.forced:
                self._cancel(order)

    def _cancel(self, order: Order) -> None:
        if self.takes_cancels(order.market):
            self.leave(order)
            self.cancelled(order, None)
        else:
            self.log(f"cancel of {order.order_id} refused: {FORBIDDEN_NOW}")

    def cancel_all(self, strategy: BaseTemplate) -> None:
        if self._hears_stops:
            for name in (*self.working, *self.waiting):
                self.cancel_order(strategy, name)
            return
        for name in tuple(self.working):
            self.cancel_order(strategy, name)
        if self.waiting:
            for stop in self.waiting.values():
                stop.status = StopOrderStatus.CANCELLED
            self.waiting.clear()
            for market in self.markets.values():
                market.forget_stops()

    def _cancelling(self, strategy: CtaTemplate) -> Callable[[], None]:
        """`cancel_all` of a strategy that mostly has nothing to cancel."""
        working, waiting = self.working, self.waiting

        def cancel_all() -> None:
            if (working or waiting) and strategy.trading:
                self.cancel_all(strategy)

        return cancel_all

    def cancelled(self, order: Order, words: str | None) -> None:
        """The order is gone from the exchange."""
        self._retire(order)
        if order.offset is not Offset.OPEN:
            self.money.release(order.symbol, order.direction, order.offset, order.left)
        order.status, order.error_msg = Status.CANCELLED, words
        self._tell_order(order)

    def _retire(self, order: Order) -> None:
        orders = self.working[order.wish.name]
        orders.remove(order)
        if not orders:
            del self.working[order.wish.name]

    # ---- what happens at the exchange

    def fill(self, order: Order, price: float, volume: int, slipped: float = 0.0) -> None:
        """`slipped`: how much of the price is slippage."""
        market = order.market
        order.traded += volume
        order.status = Status.PARTTRADED if order.left else Status.ALLTRADED
        self._tell_order(order)
        if not order.left:
            self._retire(order)
            self.leave(order)
        name = order.wish.name
        trade = TradeData(
            trade_id=f"{self.name}.{len(self.trades) + 1}",
            order_id=order.order_id,
            parent_id=name if name != order.order_id else None,
            symbol=market.symbol,
            exchange=market.instrument.exchange,
            direction=order.direction,
            offset=order.offset,
            price=price,
            volume=volume,
            datetime=self.moment,
            strategy_name=self.name,
            trading_day=self.day,
            forced=order.forced,
        )
        self.money.book(trade, slipped * volume * market.instrument.size)
        self.trades.append(trade)
        self.news.append((self._on_trade, trade))

    def trigger(self, stop: Stop, price: float) -> list[Order]:
        """The price has passed a stop order: it becomes orders at `price`, which may be refused."""
        del self.waiting[stop.name]
        market = stop.market
        market.go(stop)
        before = len(self.orders)
        stop.status = StopOrderStatus.TRIGGERED
        held_back, self.news = self.news, deque()
        self._triggered = stop
        names = self._send(market, stop.direction, stop.offset, price, stop.volume, stop.lock, stop.net)
        self._triggered = None
        stop.names = tuple(names)
        of_orders, self.news = self.news, held_back
        self._tell_stop(stop)
        self.news.extend(of_orders)
        return [order for order in self.orders[before:] if order.status.is_active]

    def expire(self, market: Market) -> None:
        """The trading day is over: what still works dies."""
        for order in tuple(self.all_working()):
            if order.market is market:
                self.leave(order)
                self.cancelled(order, AT_THE_CLOSE)

    # ---- the day

    @abstractmethod
    def play(self, day: date, today: dict[str, TradingDay]) -> None:
        """The rows of a trading day."""

    def begin(self, day: date, today: dict[str, TradingDay]) -> None:
        self.day = day
        for name, trading_day in today.items():
            market = self.markets[name]
            market.begin(trading_day)
            self.money.know(market.instrument)

    def settle(self, next_day: date, today: dict[str, TradingDay]) -> None:
        """The books closed. What the margin cannot carry is closed at the next open; a balance that is gone ends it."""
        self.settlement |= {self.markets[name].symbol: day.settlement for name, day in today.items()}
        self._close_books(next_day)
        balance = self.days[-1].balance
        if balance <= 0:
            raise BlownUp(f"blown up: the balance is {balance:,.2f} at the settlement of {self.day}")
        for market in self.markets.values():
            if market.instrument.last_trading_day <= self.day and self.money.holds(market.symbol):
                self.warn(f"{market.vt_symbol} was held to its last trading day {self.day} and settled in cash")
                self._deliver(market)
        margin = self.days[-1].margin
        if balance < margin:
            self.is_margin_called = True
            self.warn(
                f"margin call: at the settlement of {self.day} the balance {balance:,.2f} is below the margin "
                f"{margin:,.2f}; everything is closed at the next open"
            )

    def break_off(self, next_day: date) -> None:
        """The run ends inside a day: its books are closed at the last prices."""
        if not self.days or self.days[-1].trading_day < self.day:
            self.settlement |= self.prices()
            self._close_books(next_day)

    def _close_books(self, next_day: date) -> None:
        self._keep_positions()
        self.days.append(self.money.settle(self.day, self.settlement, next_day))

    def survives(self, balance: float) -> None:
        if balance <= 0:
            raise BlownUp(f"blown up: the balance is {balance:,.2f}")

    def _deliver(self, market: Market) -> None:
        self.money.deliver(market.symbol)
        self.net[market.vt_symbol] = 0
        if isinstance(self.strategy, StrategyTemplate):
            self.strategy.pos_data[market.vt_symbol] = 0
        elif isinstance(self.strategy, CtaTemplate):
            self.strategy.pos = 0

    def close_everything(self, market: Market) -> None:
        """The broker closes what is held, at any price."""
        holding = self.money.holding(market.symbol)
        for direction in Direction:
            side = holding.side(direction)
            if side.available:
                out = direction.opposite
                price = market.worst(out)
                price = price if isfinite(price) and price > 0 else market.price
                self.send(market, out, Offset.CLOSE, price, side.available, forced=True)

    def _keep_positions(self) -> None:
        """What is held at the end of the day, before it becomes yesterday's."""
        account = self.money.account
        rows = []
        for market in self.markets.values():
            holding = account.holdings.get(market.symbol)
            for direction in Direction:
                if holding is None or not holding.side(direction).volume:
                    continue
                side = holding.side(direction)
                size = market.instrument.size
                pnl = sum(direction.sign * (market.price - lots.price) * lots.volume * size for lots in side.lots)
                margin = sum(lots.mark * lots.volume for lots in side.lots) * size * market.instrument.margin_rate
                rows.append(
                    holding.to_position_data(
                        direction,
                        market.instrument.exchange,
                        self.moment,
                        pnl=round(pnl, 2),
                        margin=round(margin, 2),
                        account_id=self.name,
                        trading_day=self.day,
                    )
                )
        self.positions = tuple(rows)

    # ---- EnginePort: the rest

    def let_go(self) -> None:
        """Nothing waits any more."""
        for market in self.markets.values():
            market.forget_stops()
            market.orders.clear()

    def log(self, message: str) -> None:
        self.logs.append(Log(self.moment, self.name, message))

    def warn(self, message: str) -> None:
        self.warnings.append(f"{self.name}: {message}")

    def write_log(self, msg: str, strategy: BaseTemplate) -> None:
        self.log(str(msg))

    def get_engine_type(self) -> EngineType:
        return EngineType.BACKTESTING

    def get_pricetick(self, strategy: BaseTemplate, vt_symbol: str) -> float:
        return self.markets[vt_symbol].instrument.price_tick

    def get_size(self, strategy: BaseTemplate, vt_symbol: str) -> int:
        return self.markets[vt_symbol].instrument.size  # type: ignore[return-value]  # whole for all but a few

    def put_strategy_event(self, strategy: BaseTemplate) -> None:
        """Nobody watches."""

    def send_email(self, msg: str, strategy: BaseTemplate) -> None:
        """Nobody is written to."""

    def sync_strategy_data(self, strategy: BaseTemplate) -> None:
        """Nothing is kept."""

    def predict(self, strategy: BaseTemplate, features: Features, timeout: float) -> Prediction:
        return self.asked.answer(strategy, features, self.moment)

    def load_bar(
        self, vt_symbol: str, days: int, interval: Interval, callback: Callable[[BarData], None], use_database: bool
    ) -> Iterable[BarData]:
        """The bars of the `days` calendar days before the first row of the run. What is missing is a warning."""
        market = self.markets[vt_symbol]
        series = self.plan.warmup.get(vt_symbol, market.series)
        if not isinstance(series, BarSeries):
            self.warn(f"load_bar({days}): there are no bars of {vt_symbol} before the ticks")
            return ()
        until = market.row_time(market.days[0].start)
        since = until - timedelta(days=days)
        missing = missing_history(series, since, until, self.calendar, market.sessions)
        if missing:
            self.warn(f"load_bar({days}): history of {vt_symbol} has a gap: {missing}")
        start, stop = series.before(since), series.before(until)
        history = market.play(start, stop) if series is market.series else map(series.bar, range(start, stop))
        if interval == series.interval or (interval is Interval.MINUTE and series.interval == "1m"):
            return history
        windows = WindowGenerator("day" if interval is Interval.DAILY else 60, market.sessions)
        return (whole for bar in history for whole in windows.on_bar(bar))

    def load_tick(self, vt_symbol: str, days: int, callback: Callable[[TickData], None]) -> Iterable[TickData]:
        market = self.markets[vt_symbol]
        series = market.series
        if not isinstance(series, TickSeries):
            self.warn(f"load_tick({days}): this is a backtest on bars, there are no ticks of {vt_symbol}")
            return ()
        until = market.row_time(market.days[0].start)
        since = until - timedelta(days=days)
        missing = series.before(since) == 0 and since < market.row_time(0)
        if missing:
            self.warn(f"load_tick({days}): the ticks of {vt_symbol} begin {market.row_time(0):%Y-%m-%d %H:%M}")
        return map(series.tick, range(series.before(since), series.before(until)))
