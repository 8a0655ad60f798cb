"""Paper: a counter whose market is real. Ticks come from a broker's front, wishes go in, reports come out; no order
leaves. Matching, money and day are those of the simulated exchange: our orders move nothing, and fill as a backtest's
would on the same ticks.

A day's settlement price is its volume-weighted average price as far as the ticks tell it, else the last price.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time

import msgspec
from msgspec.structs import replace

from arbig.backtest.matching import Fill, Matcher, Resting, Side
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
from arbig.domain.messages import SHANGHAI, Direction, Offset, OrderType, PositionData, Status, TickData, TradeData
from arbig.domain.positions import Holding
from arbig.domain.sessions import Phase, Sessions, TradingCalendar

CLOSE_TIME, SETTLE_TIME = time(15, 0), time(15, 30)
NOT_FILLED = "剩余数量已自动撤销 (what could not be filled at once is cancelled)"

Event = OrderReport | TradeReport | InsertRejected | CancelRejected | PositionReport | DayMark


class Truth(msgspec.Struct, frozen=True, kw_only=True):
    """All that must survive beside the reports: the account, the counters, the prices by which lots are valued."""

    trading_day: date
    account: Account
    prices: dict[str, float] = {}
    is_closed: bool = False
    flow: int = 0
    orders_made: int = 0
    trades_made: int = 0
    max_order_ref: int = 0
    statement: Statement | None = None


class PaperCounter:
    """`now` is the session time; what a wish or a tick does is returned, and known to `truth` and `orders`."""

    def __init__(
        self, book: InstrumentBook, calendar: TradingCalendar, truth: Truth, orders: Sequence[OrderReport] = ()
    ) -> None:
        self._book, self._calendar = book, calendar
        self.truth = truth
        self.orders = {report.order_sys_id: report for report in orders}
        self._matchers: dict[str, Matcher] = {}
        self._ticks: dict[str, TickData] = {}
        for report in self.working():
            self._matchers[report.symbol] = self._matcher(report.symbol).rest(_resting(report))

    # ---- the market ----

    def on_tick(self, tick: TickData, now: datetime) -> list[Event]:
        """A picture of the book: our resting orders meet it while the contract trades."""
        self._ticks[tick.symbol] = tick
        self._set(prices={**self.truth.prices, tick.symbol: tick.last_price})
        try:
            phase = self._phase(tick.symbol, now)
        except UnknownSymbol:
            return []
        matcher = self._matcher(tick.symbol)
        if phase is Phase.CONTINUOUS:
            outcome = matcher.on_tick(tick)
        elif phase in (Phase.AUCTION_ORDER, Phase.AUCTION_MATCH) and tick.last_volume:
            outcome = matcher.on_auction(tick.last_price, tick.last_volume)
        else:
            return []
        self._matchers[tick.symbol] = outcome.matcher
        return [event for fill in outcome.fills for event in self._filled(fill, now)]

    def on_time(self, now: datetime, counters_day: date) -> list[Event]:
        """The day's close and settlement, as the clock says or as the front's trading day does; days slept through are
        settled one after another."""
        events: list[Event] = []
        while True:
            day = self.truth.trading_day
            is_over = counters_day > day
            if not self.truth.is_closed and (is_over or now >= _at(day, CLOSE_TIME)):
                events += self._close_day(now)
            if not (is_over or now >= _at(day, SETTLE_TIME)) or day >= self._calendar.last:
                return events
            events += self._settle_day(now)

    # ---- wishes ----

    def insert(self, wish: InsertOrder, now: datetime) -> list[Event]:
        error = self._refused_by_counter(wish)
        self._set(max_order_ref=max(wish.order_ref, self.truth.max_order_ref))
        if error is not None:
            return [
                InsertRejected(
                    order_ref=wish.order_ref,
                    error_id=error,
                    error_msg=error_message(error),
                    datetime=now,
                    trading_day=self.truth.trading_day,
                )
            ]
        words = self._refused_by_exchange(wish, now)
        report = self._new_order(wish, now)
        if words is not None:
            return [self._keep(report, now, status=Status.REJECTED, error_msg=words)]
        return list(self._take(report, now))

    def cancel(self, wish: CancelOrder, now: datetime) -> list[Event]:
        report = self._find(wish)
        error, words = self._cancel_refused(report, now)
        if report is None or words is not None:
            return [
                CancelRejected(
                    order_ref=wish.order_ref,
                    order_sys_id=wish.order_sys_id,
                    error_id=error,
                    error_msg=words or "",
                    datetime=now,
                    trading_day=self.truth.trading_day,
                )
            ]
        self._matchers[report.symbol] = self._matcher(report.symbol).cancel(report.order_sys_id).matcher
        return list(self._cancelled(report, now, None))

    # ---- questions ----

    def working(self) -> list[OrderReport]:
        return [report for report in self.orders.values() if report.status.is_active]

    def positions(self, now: datetime) -> tuple[PositionData, ...]:
        return tuple(row for symbol in self.truth.account.holdings for row in self._rows(symbol, now) if row.volume)

    def account_row(self) -> AccountRow:
        worth = self.truth.account.worth(self._instruments(), self.truth.prices, self._asking())
        return AccountRow(
            account_id=self.truth.account.account_id,
            trading_day=self.truth.trading_day,
            balance=round(float(worth.balance), 2),
            available=round(float(worth.available), 2),
            margin=round(float(worth.margin), 2),
            frozen=round(float(worth.frozen), 2),
            commission=round(float(worth.commission), 2),
            close_profit=round(float(worth.close_profit), 2),
            position_profit=round(float(worth.position_profit), 2),
            pre_balance=round(float(worth.pre_balance), 2),
        )

    # ---- the day's course ----

    def _close_day(self, now: datetime) -> Iterator[Event]:
        self._matchers = {}
        for report in self.working():
            yield from self._cancelled(report, now, AT_THE_CLOSE)
        self._set(is_closed=True)

    def _settle_day(self, now: datetime) -> Iterator[Event]:
        day, following = self.truth.trading_day, self._calendar.next_day(self.truth.trading_day)
        instruments, prices = self._instruments(), self._settlement_prices()
        worth = self.truth.account.worth(instruments, prices)
        account = self.truth.account.settled(instruments, prices, following)
        held = tuple(self.truth.account.holdings)
        expired = {symbol for symbol in account.holdings if instruments[symbol].last_trading_day <= day}
        statement = Statement(
            account_id=account.account_id,
            trading_day=day,
            pre_balance=round(float(worth.pre_balance), 2),
            balance=round(float(worth.balance), 2),
            commission=round(float(worth.commission), 2),
            close_profit=round(float(worth.close_profit), 2),
            position_profit=round(float(worth.position_profit), 2),
            margin=round(float(account.worth(instruments, prices).margin), 2),
            prices={symbol: float(price) for symbol, price in prices.items()},
        )
        kept = {symbol: holding for symbol, holding in account.holdings.items() if symbol not in expired}
        self.orders = {}
        self._set(
            trading_day=following,
            account=replace(account, holdings=kept),
            prices=self.truth.prices | prices,
            statement=statement,
            is_closed=False,
        )
        yield DayMark(session_time=now, trading_day=day, settled=True)
        rows = tuple(row for symbol in held for row in self._rows(symbol, now))
        if rows:
            yield PositionReport(positions=rows)
        yield DayMark(session_time=now, trading_day=following, settled=False)

    def _settlement_prices(self) -> dict[str, float]:
        held = self.truth.account.holdings.items()
        return {symbol: self._settlement_price(symbol, _mark_of(holding)) for symbol, holding in held}

    def _settlement_price(self, symbol: str, mark: float) -> float:
        tick, instrument = self._ticks.get(symbol), self._instrument(symbol)
        if tick is not None and tick.turnover and tick.volume and tick.trading_day == self.truth.trading_day:
            average = tick.turnover / tick.volume / instrument.size
            if tick.low_price <= average <= tick.high_price:
                return round(round(average / instrument.price_tick) * instrument.price_tick, 6)
        return self.truth.prices.get(symbol, mark)

    # ---- an order's course ----

    def _refused_by_counter(self, wish: InsertOrder) -> int | None:
        if wish.volume <= 0 or not math.isfinite(wish.price) or wish.price <= 0:
            return 15
        if wish.order_ref <= self.truth.max_order_ref:
            return 22
        try:
            instrument = self._book.get(wish.symbol, self.truth.trading_day)
        except UnknownSymbol:
            return 16
        if instrument.exchange != wish.exchange:
            return 16
        if instrument.last_trading_day < self.truth.trading_day:
            return 17
        if abs(wish.price / instrument.price_tick - round(wish.price / instrument.price_tick)) > 1e-6:
            return 95
        if wish.volume > instrument.max_order_volume:
            return 106
        if wish.offset is not Offset.OPEN:
            return self._over_close(wish, instrument)
        orders = (*self._asking(), _Asked(wish.symbol, wish.direction, wish.offset, wish.price, wish.volume))
        instruments = self._instruments() | {wish.symbol: instrument}
        return 31 if self.truth.account.worth(instruments, self.truth.prices, orders).available < 0 else None

    def _over_close(self, wish: InsertOrder, instrument: Instrument) -> int | None:
        side = self.truth.account.holding(instrument).closable(wish.direction)
        if not instrument.splits_today:
            return 30 if wish.volume > side.available else None
        if wish.offset is Offset.CLOSETODAY:
            return 50 if wish.volume > side.today_available else None
        return 51 if wish.volume > side.yesterday_available else None

    def _refused_by_exchange(self, wish: InsertOrder, now: datetime) -> str | None:
        phase, tick = self._phase(wish.symbol, now), self._ticks.get(wish.symbol)
        if not phase.accepts_orders or (phase is Phase.AUCTION_ORDER and wish.order_type is not OrderType.LIMIT):
            return FORBIDDEN_NOW
        if tick is not None and tick.limit_up and wish.price > tick.limit_up + 1e-9:
            return ABOVE_LIMIT.format(limit=tick.limit_up)
        if tick is not None and tick.limit_down and wish.price < tick.limit_down - 1e-9:
            return BELOW_LIMIT.format(limit=tick.limit_down)
        return None

    def _new_order(self, wish: InsertOrder, now: datetime) -> OrderReport:
        number = self.truth.orders_made + 1
        self._set(orders_made=number)
        return OrderReport(
            flow=0,
            order_ref=wish.order_ref,
            memo=wish.memo,
            order_sys_id=str(number),
            symbol=wish.symbol,
            exchange=wish.exchange,
            direction=wish.direction,
            offset=wish.offset,
            order_type=wish.order_type,
            price=wish.price,
            volume=wish.volume,
            traded=0,
            status=Status.NOTTRADED,
            datetime=now,
            trading_day=self.truth.trading_day,
        )

    def _take(self, report: OrderReport, now: datetime) -> Iterator[Event]:
        """Accepted, then the book does what it can."""
        accepted = self._keep(report, now)
        yield accepted
        if accepted.offset is not Offset.OPEN:
            yield self._refrozen(accepted.symbol, now)
        matcher = self._matcher(accepted.symbol)
        if self._phase(accepted.symbol, now) is Phase.AUCTION_ORDER:
            self._matchers[accepted.symbol] = matcher.rest(_resting(accepted))
            return
        outcome = self._shown(matcher, accepted.symbol).enter(_resting(accepted))
        self._matchers[accepted.symbol] = outcome.matcher
        for fill in outcome.fills:
            yield from self._filled(fill, now)
        for _ in outcome.cancelled:
            yield from self._cancelled(self.orders[accepted.order_sys_id], now, NOT_FILLED)

    def _shown(self, matcher: Matcher, symbol: str) -> Matcher:
        """With the newest picture, also when it came while nothing was matched (before the opening, in a break)."""
        tick = self._ticks.get(symbol)
        if matcher.has_book or tick is None:
            return matcher
        bid, ask = Side(tick.bid_price_1, tick.bid_volume_1), Side(tick.ask_price_1, tick.ask_volume_1)
        return replace(matcher, bid=bid, ask=ask)

    def _filled(self, fill: Fill, now: datetime) -> Iterator[Event]:
        report = self.orders[fill.order_id]
        traded = report.traded + fill.volume
        status = Status.ALLTRADED if traded == report.volume else Status.PARTTRADED
        yield self._keep(report, now, traded=traded, status=status)
        self._set(flow=self.truth.flow + 1, trades_made=self.truth.trades_made + 1)
        trade = TradeReport(
            flow=self.truth.flow,
            trade_id=str(self.truth.trades_made),
            order_ref=report.order_ref,
            order_sys_id=report.order_sys_id,
            symbol=report.symbol,
            exchange=report.exchange,
            direction=report.direction,
            offset=report.offset,
            price=fill.price,
            volume=fill.volume,
            datetime=now,
            trading_day=self.truth.trading_day,
        )
        self._set(account=self.truth.account.after(_trade_data(trade), self._instrument(report.symbol)))
        yield trade
        yield self._refrozen(report.symbol, now)

    def _cancelled(self, report: OrderReport, now: datetime, words: str | None) -> Iterator[Event]:
        yield self._keep(report, now, status=Status.CANCELLED, error_msg=words)
        if report.offset is not Offset.OPEN:
            yield self._refrozen(report.symbol, now)

    def _cancel_refused(self, report: OrderReport | None, now: datetime) -> tuple[int | None, str | None]:
        if report is None:
            return 25, error_message(25)
        if not report.status.is_active:
            return 26, error_message(26)
        if self._phase(report.symbol, now) in (Phase.CLOSED, Phase.AUCTION_MATCH):
            return None, FORBIDDEN_NOW
        return None, None

    def _find(self, wish: CancelOrder) -> OrderReport | None:
        for report in self.orders.values():
            if (wish.order_ref and report.order_ref == wish.order_ref) or (
                wish.order_sys_id and report.order_sys_id == wish.order_sys_id
            ):
                return report
        return None

    def _keep(self, report: OrderReport, now: datetime, **changes: object) -> OrderReport:
        """The order's next state, with its number in the private flow."""
        self._set(flow=self.truth.flow + 1)
        after = replace(report, flow=self.truth.flow, datetime=now, **changes)
        self.orders[report.order_sys_id] = after
        return after

    def _refrozen(self, symbol: str, now: datetime) -> PositionReport:
        """The contract's position with exactly its working closes frozen."""
        holding = self.truth.account.holding(self._instrument(symbol))
        closes = [order for order in self._asking() if order.symbol == symbol]
        self._set(account=self.truth.account.with_holding(holding.frozen_by(closes)))
        return PositionReport(positions=self._rows(symbol, now))

    # ---- inside ----

    def _matcher(self, symbol: str) -> Matcher:
        return self._matchers.get(symbol) or Matcher()

    def _instrument(self, symbol: str) -> Instrument:
        return self._book.get(symbol, self.truth.trading_day)

    def _instruments(self) -> dict[str, Instrument]:
        symbols = {*self.truth.account.holdings, *(report.symbol for report in self.working())}
        return {symbol: self._instrument(symbol) for symbol in symbols}

    def _phase(self, symbol: str, now: datetime) -> Phase:
        return Sessions(self._instrument(symbol).night_close, self._calendar).phase_at(now)

    def _asking(self) -> tuple[_Asked, ...]:
        return tuple(
            _Asked(report.symbol, report.direction, report.offset, report.price, report.volume - report.traded)
            for report in self.working()
        )

    def _rows(self, symbol: str, now: datetime) -> tuple[PositionData, ...]:
        instrument = self._instrument(symbol)
        holding = self.truth.account.holding(instrument)
        price = self.truth.prices.get(symbol)
        return tuple(
            holding.to_position_data(
                direction,
                instrument.exchange,
                now,
                pnl=round(float(side_profit(holding, direction, instrument, price)), 2),
                margin=round(float(side_margin(holding, direction, instrument)), 2),
                account_id=self.truth.account.account_id,
                trading_day=self.truth.trading_day,
            )
            for direction in Direction
        )

    def _set(self, **changes: object) -> None:
        self.truth = replace(self.truth, **changes)


class _Asked(msgspec.Struct, frozen=True):
    """An order as the money and the holding see it."""

    symbol: str
    direction: Direction
    offset: Offset
    price: float
    working: int


def opened(account_id: str, capital: float, day: date) -> Truth:
    """The first day of a paper account."""
    return Truth(trading_day=day, account=Account(account_id=account_id, trading_day=day, pre_balance=capital))


def _mark_of(holding: Holding) -> float:
    return next((lots.mark for lots in (*holding.long.lots, *holding.short.lots)), 0.0)


def _resting(report: OrderReport) -> Resting:
    return Resting(
        order_id=report.order_sys_id,
        direction=report.direction,
        price=report.price,
        volume=report.volume - report.traded,
        sequence=int(report.order_sys_id),
        order_type=report.order_type,
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


def _at(day: date, clock: time) -> datetime:
    return datetime.combine(day, clock, SHANGHAI)
