"""Paper: a counter whose market is real. Ticks come from a broker's front, wishes go in, reports come out; no order
leaves. What becomes of an order is `counter_course.py`'s, as on the simulated exchange: our orders move nothing, and
fill as a backtest's would on the same ticks.

A day's settlement price is its volume-weighted average price as far as the ticks tell it, else the last price.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime

from arbig.backtest import counter_course
from arbig.backtest.counter_course import CLOSE_TIME, SETTLE_TIME, CounterCourse, Event, Market, Order, at
from arbig.domain.counter import CancelOrder, DayMark, InsertOrder, OrderReport, PositionReport
from arbig.domain.instruments import InstrumentBook, UnknownSymbol
from arbig.domain.ledger import Account
from arbig.domain.messages import SHANGHAI, TickData
from arbig.domain.sessions import Phase, TradingCalendar


class Truth(counter_course.Truth, frozen=True, kw_only=True):
    """The prices besides by which lots are valued until the next tick."""

    prices: dict[str, float] = {}
    is_closed: bool = False


class PaperCounter(CounterCourse[Truth, Market]):
    """`now` is the session time."""

    def __init__(
        self, book: InstrumentBook, calendar: TradingCalendar, truth: Truth, orders: Sequence[OrderReport] = ()
    ) -> None:
        super().__init__(book, calendar)
        self.truth = truth
        self._now = datetime.min.replace(tzinfo=SHANGHAI)
        self._open_held()
        self._take_back([_order_of(report) for report in orders])

    @property
    def session_time(self) -> datetime:
        return self._now

    def insert(self, wish: InsertOrder, now: datetime) -> list[Event]:
        self._now = now
        return self.insert_order(wish)

    def cancel(self, wish: CancelOrder, now: datetime) -> list[Event]:
        self._now = now
        return self.cancel_order(wish)

    def on_tick(self, tick: TickData, now: datetime) -> list[Event]:
        """A picture of the book: our resting orders meet it while the contract trades."""
        self._now = now
        try:
            market = self._market(tick.symbol)
        except UnknownSymbol:
            return []
        market.see(tick)
        self._set(prices={**self.truth.prices, tick.symbol: tick.last_price})
        phase = market.sessions.phase_at(now)
        is_auction = phase in (Phase.AUCTION_ORDER, Phase.AUCTION_MATCH) and tick.last_volume > 0
        if market.matcher.orders and (is_auction or phase is Phase.CONTINUOUS):
            return list(self._meet(market, tick, is_auction))
        return []

    def on_time(self, now: datetime, counters_day: date) -> list[Event]:
        """The day's close and settlement, as the clock says or as the front's trading day does; days slept through are
        settled one after another."""
        self._now = now
        events: list[Event] = []
        while True:
            day = self.trading_day
            is_over = counters_day > day
            if not self.truth.is_closed and (is_over or now >= at(day, CLOSE_TIME)):
                events += self._all_cancelled()
                self._set(is_closed=True)
            if not (is_over or now >= at(day, SETTLE_TIME)) or day >= self._calendar.last:
                return events
            events += self._settle_day()

    # ---- the day's course ----

    def _settle_day(self) -> Iterator[Event]:
        day, following = self.trading_day, self._calendar.next_day(self.trading_day)
        held = tuple(self.truth.account.holdings)
        prices = {symbol: self._settlement_price(self._markets[symbol]) for symbol in held}
        statement, account = self._statement(prices), self._settled(prices, following, self._expired())
        self._orders = {}
        self._set(
            trading_day=following,
            account=account,
            prices=self.truth.prices | prices,
            statement=statement,
            is_closed=False,
        )
        self._markets = {}
        self._open_held()
        yield DayMark(session_time=self._now, trading_day=day, settled=True)
        rows = tuple(row for symbol in held for row in self._position_rows(symbol))
        if rows:
            yield PositionReport(positions=rows)
        yield DayMark(session_time=self._now, trading_day=following, settled=False)

    def _settlement_price(self, market: Market) -> float:
        tick, instrument = market.last, market.instrument
        if tick is not None and tick.turnover and tick.volume and tick.trading_day == self.trading_day:
            average = tick.turnover / tick.volume / instrument.size
            if tick.low_price <= average <= tick.high_price:
                return round(round(average / instrument.price_tick) * instrument.price_tick, 6)
        return market.price if market.price is not None else self._mark_of(instrument.symbol)

    def _mark_of(self, symbol: str) -> float:
        holding = self.truth.account.holdings[symbol]
        return next(lots.mark for lots in (*holding.long.lots, *holding.short.lots))

    # ---- inside ----

    def _market(self, symbol: str) -> Market:
        if symbol not in self._markets:
            instrument = self._instrument_book.get(symbol, self.trading_day)
            self._markets[symbol] = Market(instrument, self._sessions_of(instrument), self.truth.prices.get(symbol))
        return self._markets[symbol]

    def _open_held(self) -> None:
        for symbol in self.truth.account.holdings:
            self._market(symbol)


def opened(account_id: str, capital: float, day: date) -> Truth:
    """The first day of a paper account."""
    return Truth(trading_day=day, account=Account(account_id=account_id, trading_day=day, pre_balance=capital))


def _order_of(report: OrderReport) -> Order:
    """A rejected order never had a number in the book."""
    return Order(
        number=int(report.order_sys_id) if report.order_sys_id else -report.flow,
        order_ref=report.order_ref,
        memo=report.memo,
        symbol=report.symbol,
        exchange=report.exchange,
        direction=report.direction,
        offset=report.offset,
        order_type=report.order_type,
        price=report.price,
        volume=report.volume,
        status=report.status,
        inserted=report.datetime,
        updated=report.datetime,
        trading_day=report.trading_day,
        traded=report.traded,
        order_sys_id=report.order_sys_id,
        message=report.error_msg,
        flow=report.flow,
    )
