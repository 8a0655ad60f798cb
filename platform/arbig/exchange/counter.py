"""Counter: the exchange with its memory. A wish goes in, its effect is committed, then the words about it come out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from arbig.domain.counter import (
    Answer,
    CancelOrder,
    ClockMark,
    ClockRow,
    InsertOrder,
    LoggedIn,
    Login,
    OrderReport,
    Query,
    QueryHistory,
    ReplayEnd,
    Start,
    Subject,
    Subscribe,
    TickBatch,
    TradeReport,
    Wish,
    Word,
)
from arbig.domain.instruments import UnknownSymbol
from arbig.domain.messages import TickData, encode
from arbig.exchange.core import Event, Rules, SimulatedExchange
from arbig.exchange.store import ExchangeStore
from arbig.runtime.crash import crash_point

BATCH = 500


class Said(NamedTuple):
    """Words for the one who asked, and words for everybody who is logged in."""

    to_asker: tuple[Word, ...] = ()
    to_all: tuple[Word, ...] = ()


class Counter:
    """The simulated exchange behind the protocol of `domain/counter.py`; who carries the words is not its business."""

    def __init__(self, rules: Rules, store: ExchangeStore, symbols: Sequence[str], speed: float) -> None:
        self.store = store
        self.speed = speed
        self.running = False
        known = store.load()
        if known is None:
            self.exchange = SimulatedExchange(rules)
            self._told = self.exchange.session_time
        else:
            truth, self._told, orders = known
            self.exchange = SimulatedExchange(rules, truth, orders)
        self.exchange.subscribe(symbols)
        self._commit(())

    def advance(self, step: timedelta, grace: timedelta) -> tuple[Word, ...]:
        """Let session time pass; closed hours pass in one leap."""
        moment, segment_end = self.exchange.next_moment(step, grace)
        return self.advance_to(moment, segment_end)

    def advance_to(self, moment: datetime, segment_end: bool = False) -> tuple[Word, ...]:
        before = self.exchange.session_time
        again = self.exchange.ticks_between(self._told, before) if self._told < before else ()
        events: list[Event] = [*again, *self.exchange.advance_to(moment)]
        self._told = before
        if any(not isinstance(event, TickData) for event in events):
            self._commit(events)
        self._told = self.exchange.session_time
        mark = ClockMark(
            session_time=self.exchange.session_time, trading_day=self.exchange.trading_day, segment_end=segment_end
        )
        return (*_words(events), mark)

    def save_clock(self) -> None:
        """Everything up to the session time has been told: a restart need not tell it again."""
        self._commit(())

    def on_wish(self, wish: Wish) -> Said:
        """What a client who has logged in, or is about to, is answered."""
        match wish:
            case Login():
                return Said(to_asker=self._greeting(wish))
            case InsertOrder():
                return self._effect(self.exchange.insert_order(wish))
            case CancelOrder():
                return self._effect(self.exchange.cancel_order(wish))
            case Subscribe():
                self._subscribe(wish.symbols)
            case Query():
                return Said(to_asker=(self._answer(wish),))
            case QueryHistory():
                return Said(to_asker=(self._history(wish),))
            case Start():
                self.running = True
        return Said()

    def _effect(self, events: Sequence[Event]) -> Said:
        crash_point("ex.after_read")
        self._commit(events)
        crash_point("ex.after_commit")
        return Said(to_all=tuple(_words(events)))

    def _greeting(self, wish: Login) -> tuple[Word, ...]:
        truth = self.exchange.truth
        greeting = LoggedIn(
            trading_day=truth.trading_day,
            session_time=truth.session_time,
            symbols=truth.symbols,
            max_order_ref=truth.max_order_ref,
            running=self.running,
        )
        return (greeting, *self.store.replay(wish.since, truth.trading_day), ReplayEnd(flow=truth.flow))

    def _subscribe(self, symbols: Iterable[str]) -> None:
        """Unknown contracts are left out: a front says nothing about them either."""
        for symbol in symbols:
            with contextlib.suppress(UnknownSymbol):
                self.exchange.subscribe([symbol])
        self._commit(())

    def _answer(self, question: Query) -> Answer:
        number, exchange = question.number, self.exchange
        match question.subject:
            case Subject.ORDERS:
                return Answer(number=number, orders=exchange.order_reports())
            case Subject.TRADES:
                return Answer(number=number, trades=self.store.trades(exchange.trading_day))
            case Subject.POSITIONS:
                return Answer(number=number, positions=exchange.positions())
            case Subject.ACCOUNT:
                return Answer(number=number, account=exchange.account_row())
            case Subject.STATEMENT:
                return Answer(number=number, statement=exchange.truth.statement)
            case Subject.CLOCK:
                return Answer(number=number, clock=self._clock())

    def _clock(self) -> ClockRow:
        return ClockRow(
            session_time=self.exchange.session_time,
            trading_day=self.exchange.trading_day,
            speed=self.speed,
            running=self.running,
        )

    def _history(self, wish: QueryHistory) -> Answer:
        try:
            return Answer(number=wish.number, bars=tuple(self.exchange.history(wish.symbol, wish.start, wish.end)))
        except UnknownSymbol as error:
            return Answer(number=wish.number, error=str(error))

    def close(self) -> None:
        self.store.close()

    def _commit(self, events: Iterable[Event]) -> None:
        reports = [event for event in events if isinstance(event, OrderReport | TradeReport)]
        self.store.commit(self.exchange.truth, self._told, self.exchange.take_changed(), reports)


def _words(events: Iterable[Event]) -> Iterable[Word]:
    """Neighbouring ticks travel together; everything keeps its order."""
    ticks: list[tuple[str, int, msgspec.Raw]] = []
    for event in events:
        if isinstance(event, TickData):
            ticks.append((event.symbol, event.seq or 0, msgspec.Raw(encode(event))))
            if len(ticks) < BATCH:
                continue
            yield TickBatch(ticks=tuple(ticks))
            ticks = []
            continue
        if ticks:
            yield TickBatch(ticks=tuple(ticks))
            ticks = []
        yield event
    if ticks:
        yield TickBatch(ticks=tuple(ticks))
