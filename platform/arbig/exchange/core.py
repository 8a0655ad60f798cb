"""The simulated exchange, pure: time and wishes go in, ticks and reports come out.

Prices come from a process of their own and never move by our orders. What becomes of an order is
`backtest/counter_course.py`'s; here are the clock, the day's course and the paths. Orders die at the close of their
trading day; then the day is settled and the next begins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from heapq import merge as merge_sorted

import msgspec

from arbig.backtest import counter_course
from arbig.backtest.counter_course import CLOSE_TIME, SETTLE_TIME, CounterCourse, Order, Refusal, at
from arbig.backtest.minutes import minute_bars
from arbig.backtest.prices import Character, Close, DayPath, Path, RecordedPath, day_path, first_close, spans_of
from arbig.domain.counter import FORBIDDEN_NOW, DayMark, InsertOrder, PositionReport, error_message
from arbig.domain.instruments import Instrument, InstrumentBook
from arbig.domain.ledger import Account
from arbig.domain.messages import BarData, TickData
from arbig.domain.sessions import Sessions, TradingCalendar

LAST_NIGHT_CLOSE = time(2, 30)

Event = TickData | counter_course.Event
Recorded = Mapping[tuple[str, date], Sequence[TickData]]


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


class Truth(counter_course.Truth, frozen=True, kw_only=True):
    """The clock and the price chain besides."""

    session_time: datetime
    symbols: tuple[str, ...] = ()
    closes: dict[str, Close] = {}
    step: int = 0
    orders_asked: int = 0


@dataclass(kw_only=True)
class Market(counter_course.Market):
    """Its path as well, and how far it has come."""

    path: Path
    index: int = 0

    @property
    def limits(self) -> tuple[float, float]:
        return self.path.limit_down, self.path.limit_up


class SimulatedExchange(CounterCourse[Truth, Market]):
    """`advance_to` lets session time pass; orders and cancels take effect at the session time reached."""

    def __init__(self, rules: Rules, truth: Truth | None = None, orders: Sequence[Order] = ()) -> None:
        super().__init__(rules.book, rules.calendar)
        self.rules = rules
        self._closes: dict[tuple[str, date], Close] = {}
        self._changed: dict[int, Order] = {}
        self.truth = truth or self._opening()
        for symbol, close in self.truth.closes.items():
            self._closes[symbol, self.truth.trading_day] = close
        self._open_markets(self.truth.symbols)
        self._take_back(orders)

    # ---- time ----

    @property
    def session_time(self) -> datetime:
        return self.truth.session_time

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
        return now if self.is_last_day else at(self.trading_day, SETTLE_TIME), False

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

    def _market(self, symbol: str) -> Market:
        if symbol not in self._markets:
            self.subscribe([symbol])
        return self._markets[symbol]

    def _refusal(self, wish: InsertOrder) -> Refusal | None:
        """As the script says, unless the counter refuses it anyway."""
        number = self.truth.orders_asked + 1
        self._set(orders_asked=number)
        refusal = super()._refusal(wish)
        scripted = next((reject for reject in self.rules.rejects if reject.at_order == number), None)
        if scripted is None or (refusal is not None and refusal.error_id is not None):
            return refusal
        error = scripted.error_id
        return Refusal(error, scripted.message or (FORBIDDEN_NOW if error is None else error_message(error)))

    # ---- queries ----

    def take_changed(self) -> tuple[Order, ...]:
        """The orders that changed since this was last asked: what has to be written down."""
        changed = tuple(self._changed.values())
        self._changed = {}
        return changed

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
            return at(day, CLOSE_TIME), self._close_day
        if self.truth.step == 1:
            return at(day, SETTLE_TIME), self._settle_day
        return self._day_start(day), self._begin_day

    def _close_day(self) -> Iterator[Event]:
        yield from self._all_cancelled()
        self._set(step=1)

    def _settle_day(self) -> Iterator[Event]:
        day, following = self.trading_day, self.rules.calendar.next_day(self.trading_day)
        closes = {symbol: market.path.close for symbol, market in self._markets.items()}
        prices = {symbol: close.settlement for symbol, close in closes.items()}
        held = tuple(self.truth.account.holdings)
        statement = self._statement(prices)
        expired = self._expired()
        account = self._settled(prices, following, expired)
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
            market.see(tick)
            self._set(session_time=tick.datetime)
            yield tick
            if market.matcher.orders:
                yield from self._meet(market, tick, market.path.is_auction_at(market.index - 1))

    def _merged(self, due: Mapping[str, tuple[Path, int, int]]) -> Iterator[TickData]:
        columns = [path.ticks(start, stop) for path, start, stop in due.values()]
        if len(columns) == 1:
            return columns[0]
        return merge_sorted(*columns, key=lambda tick: (tick.datetime, tick.symbol))

    def _keep(self, order: Order, **changes: object) -> Order:
        after = super()._keep(order, **changes)
        self._changed[after.number] = after
        return after

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
            before = self._before(instrument, self.trading_day)
            market = Market(instrument, self._sessions_of(instrument), before.settlement, path=path)
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

    def _day_start(self, day: date) -> datetime:
        return min(sessions.segments(day)[0].start for sessions in self._open_sessions())

    def _open_sessions(self) -> set[Sessions]:
        return {market.sessions for market in self._markets.values()} or {self._longest_hours()}
