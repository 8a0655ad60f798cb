"""The bench in the exchange's place: the same unix socket, the same words; ticks come from the bench, orders go to it.

Every order is accepted and filled at once, so that what follows an order (status, trade, position) flows as well.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter as Counts
from collections.abc import Callable, Sequence
from datetime import date, datetime
from pathlib import Path

from arbig.domain.counter import (
    AccountRow,
    Answer,
    CancelOrder,
    ClockMark,
    ClockRow,
    InsertOrder,
    LoggedIn,
    Login,
    OrderReport,
    PositionReport,
    Query,
    QueryHistory,
    ReplayEnd,
    Subject,
    TradeReport,
    Wish,
    Word,
    frame,
    wish_frames,
)
from arbig.domain.messages import Direction, Exchange, PositionData, Status

Heard = Callable[[InsertOrder, int], None]


class BenchCounter:
    """`on_order` is told each order with the moment (perf_counter_ns) at which its bytes arrived."""

    def __init__(
        self, socket: Path, moment: datetime, trading_day: date, symbols: Sequence[str], on_order: Heard
    ) -> None:
        self.moment = moment
        self.trading_day = trading_day
        self.gateway_has_come = asyncio.Event()
        self.clock_runs = asyncio.Event()
        self._socket = socket
        self._symbols = tuple(symbols)
        self._on_order = on_order
        self._writer: asyncio.StreamWriter | None = None
        self._server: asyncio.Server | None = None
        self._flow = itertools.count(1)
        self._last_flow = 0
        self._orders: list[OrderReport] = []
        self._trades: list[TradeReport] = []
        self._lots: Counts[tuple[str, Direction]] = Counts()

    async def open(self) -> None:
        self._socket.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._converse, self._socket)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        if self._writer is not None:
            self._writer.transport.abort()

    def say(self, *words: Word) -> None:
        self.send(b"".join(frame(word) for word in words))

    def send(self, frames: bytes) -> None:
        assert self._writer is not None
        self._writer.write(frames)

    async def drain(self) -> None:
        assert self._writer is not None
        await self._writer.drain()

    def tell_time(self, moment: datetime, segment_end: bool = False) -> None:
        self.moment = moment
        self.say(ClockMark(session_time=moment, trading_day=self.trading_day, segment_end=segment_end))

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        frames = wish_frames()
        while data := await reader.read(65536):
            arrived = time.perf_counter_ns()
            for wish in frames.feed(data):
                self._on_wish(wish, arrived)
        writer.close()

    def _on_wish(self, wish: Wish, arrived: int) -> None:
        match wish:
            case InsertOrder():
                self._on_order(wish, arrived)
                self.say(*self._filled(wish))
            case Login():
                self.say(self._greeting(), ReplayEnd(flow=self._last_flow))
                self.gateway_has_come.set()
            case Query():
                self.say(self._answer(wish))
            case QueryHistory():
                self.say(Answer(number=wish.number))
            case CancelOrder():
                raise RuntimeError("nothing rests here: who cancels?")
            case _:
                self.clock_runs.set()

    def _greeting(self) -> LoggedIn:
        return LoggedIn(
            trading_day=self.trading_day,
            session_time=self.moment,
            symbols=self._symbols,
            max_order_ref=len(self._orders),
            running=True,
        )

    def _answer(self, question: Query) -> Answer:
        answers = {
            Subject.ORDERS: Answer(number=question.number, orders=tuple(self._orders)),
            Subject.TRADES: Answer(number=question.number, trades=tuple(self._trades)),
            Subject.POSITIONS: Answer(number=question.number, positions=tuple(map(self._position, self._lots))),
            Subject.ACCOUNT: Answer(number=question.number, account=self._account()),
            Subject.CLOCK: Answer(number=question.number, clock=self._clock()),
        }
        return answers[question.subject]

    def _clock(self) -> ClockRow:
        return ClockRow(session_time=self.moment, trading_day=self.trading_day, speed=1.0, running=True)

    def _account(self) -> AccountRow:
        return AccountRow(
            account_id="sim",
            trading_day=self.trading_day,
            balance=1e9,
            available=1e9,
            margin=0.0,
            frozen=0.0,
            commission=0.0,
            close_profit=0.0,
            position_profit=0.0,
            pre_balance=1e9,
        )

    def _filled(self, wish: InsertOrder) -> tuple[Word, ...]:
        """Accepted, filled, the trade and the position it makes."""
        number = len(self._orders) + 1
        accepted = self._report(wish, number, Status.NOTTRADED, 0)
        filled = self._report(wish, number, Status.ALLTRADED, wish.volume)
        trade = self._trade(wish, number)
        side = (wish.symbol, wish.direction)
        self._lots[side] += wish.volume
        self._orders.append(filled)
        self._trades.append(trade)
        self._last_flow = trade.flow
        return accepted, filled, trade, PositionReport(positions=(self._position(side, wish.price),))

    def _report(self, wish: InsertOrder, number: int, status: Status, traded: int) -> OrderReport:
        return OrderReport(
            flow=next(self._flow),
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
            traded=traded,
            status=status,
            datetime=self.moment,
            trading_day=self.trading_day,
        )

    def _trade(self, wish: InsertOrder, number: int) -> TradeReport:
        return TradeReport(
            flow=next(self._flow),
            trade_id=str(number),
            order_ref=wish.order_ref,
            order_sys_id=str(number),
            symbol=wish.symbol,
            exchange=wish.exchange,
            direction=wish.direction,
            offset=wish.offset,
            price=wish.price,
            volume=wish.volume,
            datetime=self.moment,
            trading_day=self.trading_day,
        )

    def _position(self, side: tuple[str, Direction], price: float = 0.0) -> PositionData:
        symbol, direction = side
        return PositionData(
            symbol=symbol,
            exchange=Exchange.SHFE,
            direction=direction,
            volume=self._lots[side],
            frozen=0,
            price=price,
            pnl=0.0,
            yd_volume=0,
            datetime=self.moment,
            account_id="sim",
            trading_day=self.trading_day,
        )
