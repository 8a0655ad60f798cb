"""An order's course at a counter and the exchange behind it, pure, wherever the prices come from: the simulated
exchange makes them (`exchange/core.py`), a paper counter is told a broker's (`paper.py`).

The counter judges an order first (errors with CTP's numbers), then the exchange does (a status with words, no number),
then the book matches it. Orders live through breaks and from night to day, and die at the close of their trading day.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from typing import Generic, NamedTuple, TypeVar

import msgspec
from msgspec.structs import replace

from arbig.backtest.matching import Fill, Matcher, Outcome, Resting, Side
from arbig.domain.counter import (
    ABOVE_LIMIT,
    AT_THE_CLOSE,
    BELOW_LIMIT,
    FORBIDDEN_NOW,
    AccountRow,
    CancelOrder,
    CancelRejected,
    DayMark,
    InsertOrder,
    InsertRejected,
    OrderReport,
    PositionReport,
    Statement,
    TradeReport,
    error_message,
)
from arbig.domain.instruments import Instrument, InstrumentBook, UnknownSymbol
from arbig.domain.ledger import Account, side_margin, side_profit
from arbig.domain.messages import (
    SHANGHAI,
    Direction,
    Exchange,
    Offset,
    OrderType,
    PositionData,
    Status,
    TickData,
    TradeData,
)
from arbig.domain.sessions import Phase, Sessions, TradingCalendar

CLOSE_TIME = time(15, 0)
SETTLE_TIME = time(15, 30)
NOT_FILLED = "剩余数量已自动撤销 (what could not be filled at once is cancelled)"

Event = OrderReport | TradeReport | InsertRejected | CancelRejected | PositionReport | DayMark


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """An order as the counter keeps it."""

    number: int
    order_ref: int
    memo: str
    symbol: str
    exchange: Exchange
    direction: Direction
    offset: Offset
    order_type: OrderType
    price: float
    volume: int
    status: Status
    inserted: datetime
    updated: datetime
    trading_day: date
    traded: int = 0
    order_sys_id: str = ""
    message: str | None = None
    flow: int = 0

    @property
    def working(self) -> int:
        return self.volume - self.traded if self.status.is_active else 0

    def report(self) -> OrderReport:
        return OrderReport(
            flow=self.flow,
            order_ref=self.order_ref,
            memo=self.memo,
            order_sys_id=self.order_sys_id,
            symbol=self.symbol,
            exchange=self.exchange,
            direction=self.direction,
            offset=self.offset,
            order_type=self.order_type,
            price=self.price,
            volume=self.volume,
            traded=self.traded,
            status=self.status,
            datetime=self.updated,
            trading_day=self.trading_day,
            error_msg=self.message,
        )


class Truth(msgspec.Struct, frozen=True, kw_only=True):
    """What must survive of any counter, beside the orders and reports: the day, the account, the counters."""

    trading_day: date
    account: Account
    flow: int = 0
    orders_made: int = 0
    trades_made: int = 0
    max_order_ref: int = 0
    statement: Statement | None = None


@dataclass
class Market:
    """One contract today: its hours, the book our orders meet, the newest tick. `mark`: what it is worth before one."""

    instrument: Instrument
    sessions: Sessions
    mark: float | None = None
    matcher: Matcher = field(default_factory=Matcher)
    last: TickData | None = None
    is_shown: bool = False

    def see(self, tick: TickData) -> None:
        self.last, self.is_shown = tick, False

    def book(self) -> Matcher:
        """The matcher with what the newest tick displays; what our orders took of it stays taken."""
        if self.last is not None and not self.is_shown:
            tick = self.last
            bid, ask = Side(tick.bid_price_1, tick.bid_volume_1), Side(tick.ask_price_1, tick.ask_volume_1)
            self.matcher = replace(self.matcher, bid=bid, ask=ask)
            self.is_shown = True
        return self.matcher

    @property
    def price(self) -> float | None:
        return self.mark if self.last is None else self.last.last_price

    @property
    def limits(self) -> tuple[float, float]:
        """Down and up; what no tick has told yet limits nothing."""
        down, up = (0.0, 0.0) if self.last is None else (self.last.limit_down, self.last.limit_up)
        return down, up or math.inf


class Refusal(NamedTuple):
    """By the counter when there is an error id, otherwise by the exchange with these words."""

    error_id: int | None
    words: str


T = TypeVar("T", bound=Truth)
M = TypeVar("M", bound=Market)


class CounterCourse(ABC, Generic[T, M]):
    """What a wish does is returned, and known to `truth` and the orders."""

    truth: T

    def __init__(self, book: InstrumentBook, calendar: TradingCalendar) -> None:
        self._instrument_book, self._calendar = book, calendar
        self._hours: dict[time | None, Sessions] = {}
        self._markets: dict[str, M] = {}
        self._orders: dict[int, Order] = {}

    @property
    @abstractmethod
    def session_time(self) -> datetime: ...

    @abstractmethod
    def _market(self, symbol: str) -> M:
        """Opened when it is asked for the first time. Raises UnknownSymbol."""

    @property
    def trading_day(self) -> date:
        return self.truth.trading_day

    # ---- wishes ----

    def insert_order(self, wish: InsertOrder) -> list[Event]:
        refusal = self._refusal(wish)
        if wish.order_ref:
            self._set(max_order_ref=max(wish.order_ref, self.truth.max_order_ref))
        if refusal is not None and refusal.error_id is not None:
            return [
                InsertRejected(
                    order_ref=wish.order_ref,
                    error_id=refusal.error_id,
                    error_msg=refusal.words,
                    datetime=self.session_time,
                    trading_day=self.trading_day,
                )
            ]
        order = self._new_order(wish)
        if refusal is not None:
            return [self._keep(order, status=Status.REJECTED, message=refusal.words).report()]
        return list(self._take(order))

    def cancel_order(self, wish: CancelOrder) -> list[Event]:
        order = self._find(wish)
        refusal = self._cancel_refusal(order)
        if order is None or refusal is not None:
            return [
                CancelRejected(
                    order_ref=wish.order_ref,
                    order_sys_id=wish.order_sys_id,
                    error_id=refusal and refusal.error_id,
                    error_msg=refusal.words if refusal else "",
                    datetime=self.session_time,
                    trading_day=self.trading_day,
                )
            ]
        market = self._market(order.symbol)
        market.matcher = market.matcher.cancel(str(order.number)).matcher
        return list(self._cancelled(order, None))

    # ---- queries ----

    def order_reports(self) -> tuple[OrderReport, ...]:
        """The trading day's orders as they are now."""
        return tuple(order.report() for order in self._orders.values())

    def positions(self) -> tuple[PositionData, ...]:
        return tuple(row for symbol in self.truth.account.holdings for row in self._position_rows(symbol) if row.volume)

    def account_row(self) -> AccountRow:
        worth = self.truth.account.worth(self._instruments(), self._prices(), self._working())
        return AccountRow(
            account_id=self.truth.account.account_id,
            trading_day=self.trading_day,
            balance=round(float(worth.balance), 2),
            available=round(float(worth.available), 2),
            margin=round(float(worth.margin), 2),
            frozen=round(float(worth.frozen), 2),
            commission=round(float(worth.commission), 2),
            close_profit=round(float(worth.close_profit), 2),
            position_profit=round(float(worth.position_profit), 2),
            pre_balance=round(float(worth.pre_balance), 2),
        )

    # ---- judging ----

    def _refusal(self, wish: InsertOrder) -> Refusal | None:
        error = self._refused_by_counter(wish)
        if error is not None:
            return Refusal(error, error_message(error))
        words = self._refused_by_exchange(wish)
        return None if words is None else Refusal(None, words)

    def _refused_by_counter(self, wish: InsertOrder) -> int | None:
        if wish.volume <= 0 or not math.isfinite(wish.price) or wish.price <= 0:
            return 15
        if wish.order_ref and wish.order_ref <= self.truth.max_order_ref:
            return 22
        try:
            instrument = self._instrument_book.get(wish.symbol, self.trading_day)
        except UnknownSymbol:
            return 16
        if instrument.exchange != wish.exchange:
            return 16
        if instrument.last_trading_day < self.trading_day:
            return 17
        self._market(wish.symbol)
        if abs(wish.price / instrument.price_tick - round(wish.price / instrument.price_tick)) > 1e-6:
            return 95
        if wish.volume > instrument.max_order_volume:
            return 106
        if wish.offset is not Offset.OPEN:
            return self._over_close(wish, instrument)
        worth = self.truth.account.worth(self._instruments(), self._prices(), (*self._working(), _Asked(wish)))
        return 31 if worth.available < 0 else None

    def _over_close(self, wish: InsertOrder, instrument: Instrument) -> int | None:
        side = self.truth.account.holding(instrument).closable(wish.direction)
        if not instrument.splits_today:
            return 30 if wish.volume > side.available else None
        if wish.offset is Offset.CLOSETODAY:
            return 50 if wish.volume > side.today_available else None
        return 51 if wish.volume > side.yesterday_available else None

    def _refused_by_exchange(self, wish: InsertOrder) -> str | None:
        market = self._market(wish.symbol)
        phase = market.sessions.phase_at(self.session_time)
        if not phase.accepts_orders or (phase is Phase.AUCTION_ORDER and wish.order_type is not OrderType.LIMIT):
            return FORBIDDEN_NOW
        down, up = market.limits
        if wish.price > up + 1e-9:
            return ABOVE_LIMIT.format(limit=up)
        if wish.price < down - 1e-9:
            return BELOW_LIMIT.format(limit=down)
        return None

    def _cancel_refusal(self, order: Order | None) -> Refusal | None:
        if order is None:
            return Refusal(25, error_message(25))
        if not order.working:
            return Refusal(26, error_message(26))
        phase = self._market(order.symbol).sessions.phase_at(self.session_time)
        return Refusal(None, FORBIDDEN_NOW) if phase in (Phase.CLOSED, Phase.AUCTION_MATCH) else None

    def _find(self, wish: CancelOrder) -> Order | None:
        for order in self._orders.values():
            if (wish.order_ref and order.order_ref == wish.order_ref) or (
                wish.order_sys_id and order.order_sys_id == wish.order_sys_id
            ):
                return order
        return None

    # ---- an order's course ----

    def _new_order(self, wish: InsertOrder) -> Order:
        number = self.truth.orders_made + 1
        self._set(orders_made=number)
        return Order(
            number=number,
            order_ref=wish.order_ref,
            memo=wish.memo,
            symbol=wish.symbol,
            exchange=wish.exchange,
            direction=wish.direction,
            offset=wish.offset,
            order_type=wish.order_type,
            price=wish.price,
            volume=wish.volume,
            status=Status.NOTTRADED,
            inserted=self.session_time,
            updated=self.session_time,
            trading_day=self.trading_day,
        )

    def _take(self, order: Order) -> Iterator[Event]:
        """The exchange accepts it, then the book does what it can."""
        market = self._market(order.symbol)
        accepted = self._keep(order, order_sys_id=str(order.number))
        yield accepted.report()
        if order.offset is not Offset.OPEN:
            yield self._refrozen(order.symbol)
        if market.sessions.phase_at(self.session_time) is Phase.AUCTION_ORDER:
            market.matcher = market.matcher.rest(_resting(accepted))
            return
        outcome = market.book().enter(_resting(accepted))
        yield from self._matched(market, outcome)
        for _ in outcome.cancelled:
            yield from self._cancelled(self._orders[order.number], NOT_FILLED)

    def _meet(self, market: M, tick: TickData, is_auction: bool) -> Iterator[Event]:
        """The resting orders, and what a tick says."""
        if is_auction:
            outcome = market.matcher.on_auction(tick.last_price, tick.last_volume)
        else:
            outcome = market.matcher.on_tick(tick)
            market.is_shown = True
        yield from self._matched(market, outcome)

    def _matched(self, market: M, outcome: Outcome) -> Iterator[Event]:
        market.matcher = outcome.matcher
        for fill in outcome.fills:
            yield from self._filled(fill)

    def _filled(self, fill: Fill) -> Iterator[Event]:
        order = self._orders[int(fill.order_id)]
        traded = order.traded + fill.volume
        status = Status.ALLTRADED if traded == order.volume else Status.PARTTRADED
        yield self._keep(order, traded=traded, status=status).report()
        number = self.truth.trades_made + 1
        trade = TradeReport(
            flow=self.truth.flow + 1,
            trade_id=str(number),
            order_ref=order.order_ref,
            order_sys_id=order.order_sys_id,
            symbol=order.symbol,
            exchange=order.exchange,
            direction=order.direction,
            offset=order.offset,
            price=fill.price,
            volume=fill.volume,
            datetime=self.session_time,
            trading_day=self.trading_day,
        )
        account = self.truth.account.after(_trade_data(trade), self._market(order.symbol).instrument)
        self._set(account=account, trades_made=number, flow=self.truth.flow + 1)
        yield trade
        yield self._refrozen(order.symbol)

    def _cancelled(self, order: Order, message: str | None) -> Iterator[Event]:
        yield self._keep(order, status=Status.CANCELLED, message=message).report()
        if order.offset is not Offset.OPEN:
            yield self._refrozen(order.symbol)

    def _all_cancelled(self) -> Iterator[Event]:
        """The day's close: what works dies, the books are empty."""
        for market in self._markets.values():
            market.matcher = market.matcher.on_day_end().matcher
        for order in self._working():
            yield from self._cancelled(order, AT_THE_CLOSE)

    def _keep(self, order: Order, **changes: object) -> Order:
        """The order's next state, with its number in the private flow."""
        self._set(flow=self.truth.flow + 1)
        after = replace(order, flow=self.truth.flow, updated=self.session_time, **changes)
        self._orders[order.number] = after
        return after

    def _refrozen(self, symbol: str) -> PositionReport:
        """The contract's position with exactly its working closes frozen."""
        holding = self.truth.account.holding(self._market(symbol).instrument)
        closes = [order for order in self._working() if order.symbol == symbol]
        self._set(account=self.truth.account.with_holding(holding.frozen_by(closes)))
        return PositionReport(positions=self._position_rows(symbol))

    # ---- settlement ----

    def _statement(self, prices: Mapping[str, float]) -> Statement:
        """The margin is that of the next day: what is held is marked at the settlement price from then on."""
        instruments = self._instruments()
        worth = self.truth.account.worth(instruments, prices)
        settled = self.truth.account.settled(instruments, prices, self.trading_day)
        return Statement(
            account_id=self.truth.account.account_id,
            trading_day=self.trading_day,
            pre_balance=round(float(worth.pre_balance), 2),
            balance=round(float(worth.balance), 2),
            commission=round(float(worth.commission), 2),
            close_profit=round(float(worth.close_profit), 2),
            position_profit=round(float(worth.position_profit), 2),
            margin=round(float(settled.worth(instruments, prices).margin), 2),
            prices={symbol: float(price) for symbol, price in prices.items()},
        )

    def _settled(self, prices: Mapping[str, float], following: date, expired: Collection[str]) -> Account:
        """The account of the next day, marked at the settlement prices; what has expired is paid out."""
        account = self.truth.account.settled(self._instruments(), prices, following)
        kept = {symbol: holding for symbol, holding in account.holdings.items() if symbol not in expired}
        return replace(account, holdings=kept)

    def _expired(self) -> set[str]:
        """The contracts whose last day this is."""
        return {s for s, market in self._markets.items() if market.instrument.last_trading_day <= self.trading_day}

    # ---- inside ----

    def _take_back(self, orders: Sequence[Order]) -> None:
        """A former life's orders: those that work stand in the book again."""
        self._orders = {order.number: order for order in orders}
        for order in self._working():
            market = self._market(order.symbol)
            market.matcher = market.matcher.rest(_resting(order))

    def _sessions_of(self, instrument: Instrument) -> Sessions:
        if instrument.night_close not in self._hours:
            self._hours[instrument.night_close] = Sessions(instrument.night_close, self._calendar)
        return self._hours[instrument.night_close]

    def _instruments(self) -> dict[str, Instrument]:
        return {symbol: market.instrument for symbol, market in self._markets.items()}

    def _prices(self) -> dict[str, float]:
        return {symbol: price for symbol, market in self._markets.items() if (price := market.price) is not None}

    def _working(self) -> tuple[Order, ...]:
        return tuple(order for order in self._orders.values() if order.working)

    def _position_rows(self, symbol: str) -> tuple[PositionData, ...]:
        market = self._market(symbol)
        holding = self.truth.account.holding(market.instrument)
        return tuple(
            holding.to_position_data(
                direction,
                market.instrument.exchange,
                self.session_time,
                pnl=round(float(side_profit(holding, direction, market.instrument, market.price)), 2),
                margin=round(float(side_margin(holding, direction, market.instrument)), 2),
                account_id=self.truth.account.account_id,
                trading_day=self.trading_day,
            )
            for direction in Direction
        )

    def _set(self, **changes: object) -> None:
        self.truth = replace(self.truth, **changes)


class _Asked:
    """An order as the money sees it before it is taken."""

    def __init__(self, wish: InsertOrder) -> None:
        self.symbol, self.direction, self.offset = wish.symbol, wish.direction, wish.offset
        self.price, self.working = wish.price, wish.volume


def _resting(order: Order) -> Resting:
    return Resting(
        order_id=str(order.number),
        direction=order.direction,
        price=order.price,
        volume=order.working,
        sequence=order.number,
        order_type=order.order_type,
    )


def _trade_data(trade: TradeReport) -> TradeData:
    return TradeData(
        trade_id=trade.trade_id,
        order_id=trade.order_sys_id,
        symbol=trade.symbol,
        exchange=trade.exchange,
        direction=trade.direction,
        offset=trade.offset,
        price=trade.price,
        volume=trade.volume,
        datetime=trade.datetime,
        strategy_name="",
        trading_day=trade.trading_day,
    )


def at(day: date, clock: time) -> datetime:
    return datetime.combine(day, clock, SHANGHAI)
