"""The simulated exchange and its counter, pure: time and wishes go in, ticks and reports come out.

Prices come from a process of their own and never move by our orders. The counter judges an order first (errors with
CTP's numbers), then the exchange does (a status with words, no number), then the book matches it. Orders live through
breaks and from night to day, and die at the close of their trading day; then the day is settled and the next begins.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from heapq import merge as merge_sorted

import msgspec
from msgspec.structs import replace

from arbig.backtest.matching import Fill, Matcher, Resting, Side
from arbig.backtest.minutes import minute_bars
from arbig.backtest.prices import Character, Close, DayPath, Path, RecordedPath, day_path, first_close, spans_of
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
    BarData,
    Direction,
    Exchange,
    Offset,
    OrderType,
    PositionData,
    Status,
    TickData,
    TradeData,
)
from arbig.domain.positions import Side as Held
from arbig.domain.sessions import Phase, Sessions, TradingCalendar

CLOSE_TIME = time(15, 0)
SETTLE_TIME = time(15, 30)
LAST_NIGHT_CLOSE = time(2, 30)

Event = TickData | OrderReport | TradeReport | InsertRejected | CancelRejected | PositionReport | DayMark
Recorded = Mapping[tuple[str, date], Sequence[TickData]]

NOT_FILLED = "剩余数量已自动撤销 (what could not be filled at once is cancelled)"


class ScriptedReject(msgspec.Struct, frozen=True, kw_only=True):
    """The order of that number (counted from 1) is refused: by the counter when an error id is given, otherwise by
    the exchange with these words."""

    at_order: int
    error_id: int | None = None
    message: str | None = None


@dataclass(frozen=True)
class Rules:
    """What the exchange is made of: everything that does not change while it runs."""

    seed: int
    first_day: date
    book: InstrumentBook
    calendar: TradingCalendar
    characters: Mapping[str, Character]
    account_id: str = "sim"
    capital: float = 5_000_000.0
    history_days: int = 15
    rejects: tuple[ScriptedReject, ...] = ()
    recorded: Recorded = field(default_factory=dict)


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
    """All that must survive, beside the orders and reports: the clock, the account, the counters, the price chain."""

    session_time: datetime
    trading_day: date
    account: Account
    symbols: tuple[str, ...] = ()
    closes: dict[str, Close] = {}
    step: int = 0
    flow: int = 0
    orders_made: int = 0
    orders_asked: int = 0
    trades_made: int = 0
    max_order_ref: int = 0
    statement: Statement | None = None


@dataclass
class Market:
    """One contract today: its path, how far it has come, the book our orders meet."""

    instrument: Instrument
    sessions: Sessions
    path: Path
    before: Close
    index: int = 0
    matcher: Matcher = field(default_factory=Matcher)
    last: TickData | None = None
    shown: int = -1

    def book(self) -> Matcher:
        """The matcher with what the newest tick displays; what our orders took of it stays taken."""
        if self.last is not None and self.shown != self.index:
            tick = self.last
            bid, ask = Side(tick.bid_price_1, tick.bid_volume_1), Side(tick.ask_price_1, tick.ask_volume_1)
            self.matcher = replace(self.matcher, bid=bid, ask=ask)
            self.shown = self.index
        return self.matcher

    @property
    def price(self) -> float:
        return self.last.last_price if self.last is not None else self.before.settlement


class SimulatedExchange:
    """`advance_to` lets session time pass; orders and cancels take effect at the session time reached."""

    def __init__(self, rules: Rules, truth: Truth | None = None, orders: Sequence[Order] = ()) -> None:
        self.rules = rules
        self._sessions: dict[time | None, Sessions] = {}
        self._closes: dict[tuple[str, date], Close] = {}
        self._markets: dict[str, Market] = {}
        self._orders = {order.number: order for order in orders}
        self._changed: dict[int, Order] = {}
        self.truth = truth or self._opening()
        for symbol, close in self.truth.closes.items():
            self._closes[symbol, self.truth.trading_day] = close
        self._open_markets(self.truth.symbols)
        for order in self._orders.values():
            if order.working:
                market = self._markets[order.symbol]
                market.matcher = market.matcher.rest(_resting(order))

    # ---- time ----

    @property
    def session_time(self) -> datetime:
        return self.truth.session_time

    @property
    def trading_day(self) -> date:
        return self.truth.trading_day

    def advance_to(self, moment: datetime) -> Iterator[Event]:
        """Everything that happens after the session time reached and up to `moment`, in order."""
        while self.truth.session_time < moment:
            due, what = self._next_step()
            until = min(moment, due)
            yield from self._trade_until(until)
            self._set(session_time=max(until, self.truth.session_time))
            if due <= moment:
                yield from what()

    def next_moment(self, step: timedelta, grace: timedelta) -> tuple[datetime, bool]:
        """Where the clock goes next: on by `step` while something trades and for `grace` past every segment's end (then
        the second value is true), over closed hours in one leap."""
        now = self.session_time
        for start, end in self.windows():
            if now < start:
                return start, False
            if now < end + grace:
                return min(now + step, end + grace), now + step >= end + grace
        return now if self.is_last_day else _at(self.trading_day, SETTLE_TIME), False

    @property
    def is_last_day(self) -> bool:
        """The calendar knows no day to settle for: the clock stops after this day's close."""
        return self.trading_day >= self.rules.calendar.last

    def windows(self) -> list[tuple[datetime, datetime]]:
        """When the trading day's contracts trade or take auction orders, merged, in order. While none is listed the
        exchange keeps its hours."""
        segments = sorted(
            (segment.start, segment.end)
            for sessions in self._open_sessions()
            for segment in sessions.segments(self.trading_day)
        )
        merged: list[tuple[datetime, datetime]] = []
        for start, end in segments:
            if merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        return merged

    def ticks_between(self, after: datetime, until: datetime) -> Iterator[TickData]:
        """The trading day's ticks once more: for whoever may have missed the last of them."""
        return self._merged({
            symbol: (market.path, market.path.first_after(after), market.path.first_after(until))
            for symbol, market in self._markets.items()
        })  # fmt: skip

    # ---- wishes ----

    def subscribe(self, symbols: Sequence[str]) -> None:
        """Let these contracts trade. Raises UnknownSymbol."""
        fresh = [symbol for symbol in symbols if symbol not in self._markets]
        for symbol in fresh:
            self.rules.book.get(symbol, self.trading_day)
        self._set(symbols=(*self.truth.symbols, *fresh))
        self._open_markets(fresh)

    def insert_order(self, wish: InsertOrder) -> list[Event]:
        number = self.truth.orders_asked + 1
        self._set(orders_asked=number)
        scripted = next((reject for reject in self.rules.rejects if reject.at_order == number), None)
        error = self._refused_by_counter(wish)
        if error is None and scripted is not None:
            error = scripted.error_id
        if wish.order_ref:
            self._set(max_order_ref=max(wish.order_ref, self.truth.max_order_ref))
        if error is not None:
            return [
                InsertRejected(
                    order_ref=wish.order_ref,
                    error_id=error,
                    error_msg=(scripted and scripted.message) or error_message(error),
                    datetime=self.session_time,
                    trading_day=self.trading_day,
                )
            ]
        words = scripted.message or FORBIDDEN_NOW if scripted else self._refused_by_exchange(wish)
        order = self._new_order(wish)
        if words is not None:
            return [self._keep(order, status=Status.REJECTED, message=words).report()]
        return list(self._take(order))

    def cancel_order(self, wish: CancelOrder) -> list[Event]:
        order = self._find(wish)
        error, words = self._cancel_refused(order)
        if order is None or words is not None:
            return [
                CancelRejected(
                    order_ref=wish.order_ref,
                    order_sys_id=wish.order_sys_id,
                    error_id=error,
                    error_msg=words or "",
                    datetime=self.session_time,
                    trading_day=self.trading_day,
                )
            ]
        market = self._markets[order.symbol]
        market.matcher = market.matcher.cancel(_matching_id(order)).matcher
        return list(self._cancelled(order, None))

    # ---- queries ----

    def order_reports(self) -> tuple[OrderReport, ...]:
        """The trading day's orders as they are now."""
        return tuple(order.report() for order in self._orders.values())

    def take_changed(self) -> tuple[Order, ...]:
        """The orders that changed since this was last asked: what has to be written down."""
        changed = tuple(self._changed.values())
        self._changed = {}
        return changed

    def positions(self) -> tuple[PositionData, ...]:
        return tuple(row for symbol in self.truth.account.holdings for row in self._position_rows(symbol) if row.volume)

    def account_row(self) -> AccountRow:
        worth = self.truth.account.worth(self._instruments(), self._prices(), self._working())
        return AccountRow(
            account_id=self.rules.account_id,
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

    def history(self, symbol: str, start: datetime, end: datetime) -> list[BarData]:
        """Finished one-minute bars of the same price process. Raises UnknownSymbol."""
        calendar = self.rules.calendar
        first = max(self._epoch(), calendar.trading_day_of(start))
        last = min(self.trading_day, calendar.trading_day_of(end))
        if last < first:
            return []
        now = self.session_time
        bars: list[BarData] = []
        for day in calendar.days_between(first, last):
            instrument = self.rules.book.get(symbol, day)
            if day > instrument.last_trading_day:
                break
            known = self._markets.get(symbol) if day == self.trading_day else None
            path = known.path if known is not None else self._path(instrument, day)
            segments = self._sessions_of(instrument).continuous(day)
            bars += (bar for bar in minute_bars(path, segments) if start <= bar.datetime <= end)
        return [bar for bar in bars if bar.datetime + timedelta(minutes=1) <= now]

    # ---- the day's course ----

    def _next_step(self) -> tuple[datetime, Callable[[], Iterator[Event]]]:
        day = self.trading_day
        if self.truth.step == 0:
            return _at(day, CLOSE_TIME), self._close_day
        if self.truth.step == 1:
            return _at(day, SETTLE_TIME), self._settle_day
        return self._day_start(day), self._begin_day

    def _close_day(self) -> Iterator[Event]:
        for market in self._markets.values():
            market.matcher = market.matcher.on_day_end().matcher
        for order in [order for order in self._orders.values() if order.working]:
            yield from self._cancelled(order, AT_THE_CLOSE)
        self._set(step=1)

    def _settle_day(self) -> Iterator[Event]:
        day, following = self.trading_day, self.rules.calendar.next_day(self.trading_day)
        closes = {symbol: market.path.close for symbol, market in self._markets.items()}
        prices = {symbol: close.settlement for symbol, close in closes.items()}
        held = tuple(self.truth.account.holdings)
        statement = self._statement(prices)
        account = self.truth.account.settled(self._instruments(), prices, following)
        expired = {s for s, market in self._markets.items() if market.instrument.last_trading_day <= day}
        account = replace(account, holdings={s: h for s, h in account.holdings.items() if s not in expired})
        symbols = tuple(symbol for symbol in self.truth.symbols if symbol not in expired)
        self._closes |= {(symbol, following): close for symbol, close in closes.items()}
        mark = DayMark(session_time=self.session_time, trading_day=day, settled=True)
        self._orders = {}
        gone = {symbol: self._markets[symbol] for symbol in expired}
        self._set(
            trading_day=following,
            account=account,
            statement=statement,
            step=2,
            symbols=symbols,
            closes={symbol: closes[symbol] for symbol in symbols},
        )
        self._markets = {}
        self._open_markets(symbols)
        self._markets |= gone
        rows = tuple(row for symbol in held for row in self._position_rows(symbol))
        for symbol in gone:
            del self._markets[symbol]
        yield mark
        if rows:
            yield PositionReport(positions=rows)

    def _statement(self, prices: Mapping[str, float]) -> Statement:
        """The margin is that of the next day: what is held is marked at the settlement price from then on."""
        instruments = self._instruments()
        worth = self.truth.account.worth(instruments, prices)
        settled = self.truth.account.settled(instruments, prices, self.trading_day)
        return Statement(
            account_id=self.rules.account_id,
            trading_day=self.trading_day,
            pre_balance=round(float(worth.pre_balance), 2),
            balance=round(float(worth.balance), 2),
            commission=round(float(worth.commission), 2),
            close_profit=round(float(worth.close_profit), 2),
            position_profit=round(float(worth.position_profit), 2),
            margin=round(float(settled.worth(instruments, prices).margin), 2),
            prices={symbol: float(price) for symbol, price in prices.items()},
        )

    def _begin_day(self) -> Iterator[Event]:
        self._set(step=0)
        yield DayMark(session_time=self.session_time, trading_day=self.trading_day, settled=False)

    def _trade_until(self, until: datetime) -> Iterator[Event]:
        due = {}
        for symbol, market in self._markets.items():
            stop = market.path.first_after(until)
            if stop > market.index:
                due[symbol] = (market.path, market.index, stop)
        for tick in self._merged(due):
            market = self._markets[tick.symbol]
            market.index += 1
            market.last = tick
            self._set(session_time=tick.datetime)
            yield tick
            if market.matcher.orders:
                yield from self._meet(market, tick)

    def _merged(self, due: Mapping[str, tuple[Path, int, int]]) -> Iterator[TickData]:
        columns = [path.ticks(start, stop) for path, start, stop in due.values()]
        if len(columns) == 1:
            return columns[0]
        return merge_sorted(*columns, key=lambda tick: (tick.datetime, tick.symbol))

    def _meet(self, market: Market, tick: TickData) -> Iterator[Event]:
        if market.path.is_auction_at(market.index - 1):
            outcome = market.matcher.on_auction(tick.last_price, tick.last_volume)
        else:
            outcome = market.matcher.on_tick(tick)
            market.shown = market.index
        market.matcher = outcome.matcher
        for fill in outcome.fills:
            yield from self._filled(fill)

    # ---- an order's course ----

    def _refused_by_counter(self, wish: InsertOrder) -> int | None:
        if wish.volume <= 0 or not math.isfinite(wish.price) or wish.price <= 0:
            return 15
        if wish.order_ref and wish.order_ref <= self.truth.max_order_ref:
            return 22
        try:
            instrument = self.rules.book.get(wish.symbol, self.trading_day)
        except UnknownSymbol:
            return 16
        if instrument.exchange != wish.exchange:
            return 16
        if instrument.last_trading_day < self.trading_day:
            return 17
        self.subscribe([wish.symbol])
        if abs(wish.price / instrument.price_tick - round(wish.price / instrument.price_tick)) > 1e-6:
            return 95
        if wish.volume > instrument.max_order_volume:
            return 106
        if wish.offset is not Offset.OPEN:
            return self._over_close(wish, instrument)
        worth = self.truth.account.worth(self._instruments(), self._prices(), (*self._working(), _Asked(wish)))
        return 31 if worth.available < 0 else None

    def _over_close(self, wish: InsertOrder, instrument: Instrument) -> int | None:
        side: Held = self.truth.account.holding(instrument).closable(wish.direction)
        if not instrument.splits_today:
            return 30 if wish.volume > side.available else None
        if wish.offset is Offset.CLOSETODAY:
            return 50 if wish.volume > side.today_available else None
        return 51 if wish.volume > side.yesterday_available else None

    def _refused_by_exchange(self, wish: InsertOrder) -> str | None:
        market = self._markets[wish.symbol]
        phase = market.sessions.phase_at(self.session_time)
        if not phase.accepts_orders or (phase is Phase.AUCTION_ORDER and wish.order_type is not OrderType.LIMIT):
            return FORBIDDEN_NOW
        if wish.price > market.path.limit_up + 1e-9:
            return ABOVE_LIMIT.format(limit=market.path.limit_up)
        if wish.price < market.path.limit_down - 1e-9:
            return BELOW_LIMIT.format(limit=market.path.limit_down)
        return None

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
        market = self._markets[order.symbol]
        accepted = self._keep(order, order_sys_id=str(order.number))
        yield accepted.report()
        if order.offset is not Offset.OPEN:
            yield self._refrozen(order.symbol)
        if market.sessions.phase_at(self.session_time) is Phase.AUCTION_ORDER:
            market.matcher = market.matcher.rest(_resting(accepted))
            return
        outcome = market.book().enter(_resting(accepted))
        market.matcher = outcome.matcher
        for fill in outcome.fills:
            yield from self._filled(fill)
        for _ in outcome.cancelled:
            yield from self._cancelled(self._orders[order.number], NOT_FILLED)

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
        account = self.truth.account.after(_trade_data(trade), self._markets[order.symbol].instrument)
        self._set(account=account, trades_made=number, flow=self.truth.flow + 1)
        yield trade
        yield self._refrozen(order.symbol)

    def _cancelled(self, order: Order, message: str | None) -> Iterator[Event]:
        yield self._keep(order, status=Status.CANCELLED, message=message).report()
        if order.offset is not Offset.OPEN:
            yield self._refrozen(order.symbol)

    def _cancel_refused(self, order: Order | None) -> tuple[int | None, str | None]:
        if order is None:
            return 25, error_message(25)
        if not order.working:
            return 26, error_message(26)
        phase = self._markets[order.symbol].sessions.phase_at(self.session_time)
        if phase in (Phase.CLOSED, Phase.AUCTION_MATCH):
            return None, FORBIDDEN_NOW
        return None, None

    def _find(self, wish: CancelOrder) -> Order | None:
        for order in self._orders.values():
            if (wish.order_ref and order.order_ref == wish.order_ref) or (
                wish.order_sys_id and order.order_sys_id == wish.order_sys_id
            ):
                return order
        return None

    def _keep(self, order: Order, **changes: object) -> Order:
        """The order's next state, with its number in the private flow."""
        self._set(flow=self.truth.flow + 1)
        after = replace(order, flow=self.truth.flow, updated=self.session_time, **changes)
        self._orders[order.number] = after
        self._changed[order.number] = after
        return after

    def _refrozen(self, symbol: str) -> PositionReport:
        """The contract's position with exactly its working closes frozen."""
        holding = self.truth.account.holding(self._markets[symbol].instrument)
        closes = [order for order in self._orders.values() if order.symbol == symbol and order.working]
        self._set(account=self.truth.account.with_holding(holding.frozen_by(closes)))
        return PositionReport(positions=self._position_rows(symbol))

    # ---- inside ----

    def _opening(self) -> Truth:
        day = self.rules.calendar.day_from(self.rules.first_day)
        account = Account(account_id=self.rules.account_id, trading_day=day, pre_balance=self.rules.capital)
        start = self._longest_hours().segments(day)[0].start
        return Truth(session_time=start, trading_day=day, account=account)

    def _longest_hours(self) -> Sessions:
        return Sessions(LAST_NIGHT_CLOSE, self.rules.calendar)

    def _open_markets(self, symbols: Sequence[str]) -> None:
        for symbol in symbols:
            instrument = self.rules.book.get(symbol, self.trading_day)
            path = self._path(instrument, self.trading_day)
            market = Market(instrument, self._sessions_of(instrument), path, self._before(instrument, self.trading_day))
            market.index = path.first_after(self.session_time)
            if market.index:
                market.last = next(path.ticks(market.index - 1, market.index))
            self._markets[symbol] = market

    def _path(self, instrument: Instrument, day: date) -> Path:
        before = self._before(instrument, day)
        recorded = self.rules.recorded.get((instrument.symbol, day))
        if recorded:
            return RecordedPath(instrument, recorded, self._sessions_of(instrument).continuous(day)[0].start)
        return self._process(instrument, day, before)

    def _process(self, instrument: Instrument, day: date, before: Close) -> DayPath:
        spans = spans_of(self._sessions_of(instrument), day)
        return day_path(self.rules.seed, instrument, self._character(instrument), day, spans, before)

    def _before(self, instrument: Instrument, day: date) -> Close:
        """What the day before handed on: the chain runs from the epoch, as far back as it is not known already."""
        missing: list[date] = []
        epoch = self._epoch()
        while (instrument.symbol, day) not in self._closes and day > epoch:
            missing.append(day)
            day = self.rules.calendar.previous_day(day)
        close = self._closes.get((instrument.symbol, day))
        if close is None:
            close = first_close(self.rules.seed, instrument, self._character(instrument))
            self._closes[instrument.symbol, day] = close
        for following in reversed(missing):
            close = self._path(instrument, self.rules.calendar.previous_day(following)).close
            self._closes[instrument.symbol, following] = close
        return close

    def _epoch(self) -> date:
        day = self.rules.calendar.day_from(self.rules.first_day)
        for _ in range(self.rules.history_days):
            day = self.rules.calendar.previous_day(day)
        return day

    def _character(self, instrument: Instrument) -> Character:
        known = self.rules.characters.get(instrument.product)
        return known or Character(start_price=instrument.price_tick * 5000)

    def _sessions_of(self, instrument: Instrument) -> Sessions:
        if instrument.night_close not in self._sessions:
            self._sessions[instrument.night_close] = Sessions(instrument.night_close, self.rules.calendar)
        return self._sessions[instrument.night_close]

    def _day_start(self, day: date) -> datetime:
        return min(sessions.segments(day)[0].start for sessions in self._open_sessions())

    def _open_sessions(self) -> set[Sessions]:
        return {market.sessions for market in self._markets.values()} or {self._longest_hours()}

    def _instruments(self) -> dict[str, Instrument]:
        return {symbol: market.instrument for symbol, market in self._markets.items()}

    def _prices(self) -> dict[str, float]:
        return {symbol: market.price for symbol, market in self._markets.items()}

    def _working(self) -> tuple[Order, ...]:
        return tuple(order for order in self._orders.values() if order.working)

    def _position_rows(self, symbol: str) -> tuple[PositionData, ...]:
        market = self._markets[symbol]
        holding = self.truth.account.holding(market.instrument)
        return tuple(
            holding.to_position_data(
                direction,
                market.instrument.exchange,
                self.session_time,
                pnl=round(float(side_profit(holding, direction, market.instrument, market.price)), 2),
                margin=round(float(side_margin(holding, direction, market.instrument)), 2),
                account_id=self.rules.account_id,
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
        order_id=_matching_id(order),
        direction=order.direction,
        price=order.price,
        volume=order.working,
        sequence=order.number,
        order_type=order.order_type,
    )


def _matching_id(order: Order) -> str:
    return str(order.number)


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
