"""The order table, the books and the ledger together, against the simplest counter there is, which only counts.

What the counter says reaches Trading late, twice, in any order, across crashes and over the turn of the trading day.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from places import place

from arbig.domain.fees import FeeSchedule
from arbig.domain.instruments import Instrument
from arbig.domain.ledger import Account
from arbig.domain.messages import (
    SHANGHAI,
    CommandData,
    CommandType,
    Direction,
    Exchange,
    Offset,
    OrderData,
    OrderType,
    Status,
    TradeData,
)
from arbig.domain.orders import FINAL, OrderState
from arbig.domain.risk import RiskSettings
from arbig.store.database import Database
from arbig.store.orders import OrderStore, Received
from arbig.trading.activity import Activity
from arbig.trading.order_manager import OrderManager
from arbig.trading.position_manager import PositionManager

MONDAY = date(2025, 10, 13)
CAPITAL, SIZE, FEE = 1_000_000.0, 1000, 10.0
GOLD = Instrument(
    symbol="au2512", exchange=Exchange.SHFE, product="au", name="au2512", english_name="au2512", size=SIZE,
    price_tick=0.02, night_close=time(2, 30), position_date_type="1", max_order_volume=500,
    fees=FeeSchedule(open_by_lot=FEE, close_by_lot=FEE, close_today_by_lot=FEE),
    margin_rate=0.1, last_trading_day=date(2025, 12, 15),
)  # fmt: skip
PRICES = st.integers(40_000, 40_100).map(lambda ticks: round(ticks * 0.02, 2))
Evidence = OrderData | TradeData


@dataclass
class Order:
    """As the counter keeps it."""

    command: CommandData
    number: int
    day: date
    status: Status = Status.SUBMITTING
    traded: int = 0

    @property
    def left(self) -> int:
        return self.command.volume - self.traded if self.status.is_active else 0


@dataclass
class Counter:
    """Counts lots by side and by day, and yuan. Nothing is clever here."""

    day: date = MONDAY
    cash: float = CAPITAL
    orders: list[Order] = field(default_factory=list)
    trades: list[TradeData] = field(default_factory=list)
    today: dict[Direction, int] = field(default_factory=lambda: dict.fromkeys(Direction, 0))
    yesterday: dict[Direction, int] = field(default_factory=lambda: dict.fromkeys(Direction, 0))

    def free(self, side: Direction, offset: Offset) -> int:
        """Lots of a side and age that no working close will take."""
        taken = sum(o.left for o in self.orders if o.command.offset is offset and o.command.direction is side.opposite)
        return (self.today if offset is Offset.CLOSETODAY else self.yesterday)[side] - taken

    def fill(self, order: Order, volume: int, price: float) -> None:
        command = order.command
        self.cash -= command.direction.sign * price * volume * SIZE + FEE * volume
        if command.offset is Offset.OPEN:
            self.today[command.direction] += volume
        elif command.offset is Offset.CLOSETODAY:
            self.today[command.direction.opposite] -= volume
        else:
            self.yesterday[command.direction.opposite] -= volume
        order.traded += volume
        order.status = Status.ALLTRADED if order.traded == command.volume else Status.PARTTRADED

    def net(self) -> int:
        return sum(side.sign * (self.today[side] + self.yesterday[side]) for side in Direction)


class OrderTableAndLedger(RuleBasedStateMachine):
    @initialize()
    def open(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.counter = Counter()
        self.account = Account(account_id="sim", trading_day=MONDAY, pre_balance=CAPITAL)
        self.ledgered = 0
        self.coming: list[Evidence] = []
        self.said: list[Evidence] = []
        self.last = 800.0
        self.clock = datetime(2025, 10, 13, 10, 0, tzinfo=SHANGHAI)
        self._start()

    def _start(self) -> None:
        self.database = Database.open(place(self.folder / "trading.db"))
        store = OrderStore(self.database, "sim")
        self.manager = OrderManager(store, PositionManager("sim"), Activity(RiskSettings(), lambda order: 0.0))
        self.manager.load(self.counter.day)

    def teardown(self) -> None:
        if hasattr(self, "database"):
            self.database.close()
            shutil.rmtree(self.folder)

    # ---- what strategies ask for ----

    @rule(direction=st.sampled_from(Direction), volume=st.integers(1, 5), price=PRICES, offset=st.sampled_from(Offset))
    def request(self, direction: Direction, volume: int, price: float, offset: Offset) -> None:
        if offset is not Offset.OPEN:
            offset = Offset.CLOSETODAY if offset is Offset.CLOSE else offset
            volume = min(volume, self.counter.free(direction.opposite, offset))
            if volume <= 0:
                return
        number = len(self.counter.orders) + 1
        command = CommandData(
            cmd_type=CommandType.SEND_ORDER,
            request_id=f"request-{number}",
            symbol="au2512",
            exchange=Exchange.SHFE,
            direction=direction,
            offset=offset,
            order_type=OrderType.LIMIT,
            price=price,
            volume=volume,
            timestamp=self._tick(),
            strategy_name=f"Strategy{number % 2}",
            account_id="sim",
            trading_day=self.counter.day,
        )
        state = OrderState.from_command(command)
        received = Received(request_id=command.request_id, kind=command.cmd_type, answer="", received_at=self.clock)
        assert self.manager.store.decide(received, [state], [])
        self.manager.decided([state])
        assert not self.manager.store.decide(received, [state], []), "the same request twice is one order"
        self.counter.orders.append(Order(command, number, self.counter.day))

    # ---- what the counter does, and says ----

    def _working(self) -> list[Order]:
        return [order for order in self.counter.orders if order.status.is_active]

    def _tick(self) -> datetime:
        self.clock += timedelta(milliseconds=250)
        return self.clock

    def _report(self, order: Order) -> None:
        command = order.command
        self.coming.append(
            OrderData(
                order_id=str(order.number), symbol=command.symbol, exchange=command.exchange,
                direction=command.direction, offset=command.offset, order_type=command.order_type,
                price=command.price, volume=command.volume, traded=order.traded, status=order.status,
                datetime=self._tick(), strategy_name=command.strategy_name or "", request_id=command.request_id,
                account_id="sim", trading_day=order.day,
            )
        )  # fmt: skip

    @precondition(lambda self: self._working())
    @rule(data=st.data(), price=PRICES)
    def fills(self, data: st.DataObject, price: float) -> None:
        order = data.draw(st.sampled_from(self._working()))
        self._fill(order, data.draw(st.integers(1, order.left)), price)

    def _fill(self, order: Order, volume: int, price: float) -> None:
        command = order.command
        self.counter.fill(order, volume, price)
        self.last = price
        trade = TradeData(
            trade_id=str(len(self.counter.trades) + 1), order_id=str(order.number), symbol=command.symbol,
            exchange=command.exchange, direction=command.direction, offset=command.offset, price=price, volume=volume,
            datetime=self._tick(), strategy_name=command.strategy_name or "", request_id=command.request_id,
            account_id="sim", trading_day=self.counter.day,
        )  # fmt: skip
        self.counter.trades.append(trade)
        self._report(order)
        self.coming.append(trade)

    @precondition(lambda self: self._working())
    @rule(data=st.data())
    def is_queued_or_refused_or_cancelled(self, data: st.DataObject) -> None:
        order = data.draw(st.sampled_from(self._working()))
        if order.status is Status.SUBMITTING:
            order.status = data.draw(st.sampled_from((Status.NOTTRADED, Status.NOTTRADED, Status.REJECTED)))
        else:
            order.status = Status.CANCELLED
        self._report(order)

    @precondition(lambda self: self._working())
    @rule(data=st.data(), price=PRICES)
    def a_cancel_and_a_fill_race(self, data: st.DataObject, price: float) -> None:
        """The last fill happens before the cancel; what is said of it may come after."""
        order = data.draw(st.sampled_from(self._working()))
        if order.left > 1:
            self._fill(order, order.left - 1, price)
            order.status = Status.CANCELLED
            self._report(order)

    # ---- how it reaches Trading ----

    def _hear(self, evidence: Evidence) -> bool:
        heard = self.manager.on_trade if isinstance(evidence, TradeData) else self.manager.on_order
        return heard(evidence)  # type: ignore[arg-type]

    @precondition(lambda self: self.coming)
    @rule(data=st.data())
    def something_arrives(self, data: st.DataObject) -> None:
        evidence = self.coming.pop(data.draw(st.integers(0, len(self.coming) - 1)))
        self._hear(evidence)
        self.said.append(evidence)

    @precondition(lambda self: self.said)
    @rule(data=st.data())
    def something_arrives_again(self, data: st.DataObject) -> None:
        before = self._seen()
        self._hear(data.draw(st.sampled_from(self.said)))
        assert self._seen() == before

    @rule(dice=st.randoms(use_true_random=False))
    def the_day_is_replayed(self, dice: random.Random) -> None:
        """As after a log-in: everything, once more; then nothing is on its way any more."""
        again = [each for each in self.said if each.trading_day == self.counter.day] + self.coming
        dice.shuffle(again)
        for evidence in again:
            self._hear(evidence)
        self.said, self.coming = self.said + self.coming, []
        before = self._seen()
        assert not any([self._hear(evidence) for evidence in again]), "a replay says nothing new"
        assert self._seen() == before

    @rule()
    def trading_dies_and_reads_its_database(self) -> None:
        before = self._seen()
        self.database.close()
        self._start()
        assert self._seen() == before

    @rule()
    def the_day_is_settled_and_the_next_begins(self) -> None:
        """What works dies with the day; today's lots are yesterday's; the ledger takes the profit in."""
        for order in self._working():
            order.status = Status.REJECTED if order.status is Status.SUBMITTING else Status.CANCELLED
            self._report(order)
        while self.coming:
            self._hear(self.coming[0])
            self.said.append(self.coming.pop(0))
        self._catch_up()
        self.counter.day += timedelta(days=1)
        self.clock += timedelta(days=1)
        self.account = self.account.settled({"au2512": GOLD}, {"au2512": self.last}, self.counter.day)
        for side in Direction:
            self.counter.yesterday[side] += self.counter.today[side]
            self.counter.today[side] = 0
        self.manager.load(self.counter.day)
        assert not self.manager.active()

    # ---- what always holds ----

    def _seen(self) -> object:
        """What Trading believes, of every order, and of every book."""
        orders = {state.request_id: _plain(state) for state in self.manager.states() if state.is_active}
        for order in self.counter.orders:
            state = self.manager.store.find(order.command.request_id, None)
            assert state is not None
            orders[state.request_id] = _plain(state)
        books = self.manager.positions.books.values()
        return orders, sorted((book.strategy_name, book.volume, round(book.cash, 6)) for book in books)

    def _catch_up(self) -> None:
        """The ledger reads the table of trades, in the counter's order."""
        trades = sorted(self.manager.store.trades(), key=lambda trade: int(trade.trade_id))
        for trade in trades[self.ledgered :]:
            self.account = self.account.after(trade, GOLD)
        self.ledgered = len(trades)

    @invariant()
    def an_order_never_trades_more_than_it_is_and_a_finished_one_stays_so(self) -> None:
        for state in self.manager.states():
            assert 0 <= state.traded <= state.volume
            assert state.is_active == (state.stage not in FINAL)
            remembered = self.manager.store.find(state.request_id, None)
            assert remembered is not None and _plain(remembered) == _plain(state), "memory is what the database says"
        assert self.manager.illegal == 0

    @invariant()
    def the_books_are_the_sum_of_the_trades(self) -> None:
        trades = self.manager.store.trades()
        assert len({trade.key for trade in trades}) == len(trades)
        lots = sum(trade.direction.sign * trade.volume for trade in trades)
        cash = -sum(trade.direction.sign * trade.volume * trade.price for trade in trades)
        books = self.manager.positions.books.values()
        assert sum(book.volume for book in books) == lots
        assert sum(book.cash for book in books) == pytest.approx(cash)

    @invariant()
    def once_everything_has_arrived_lots_and_money_are_the_counters(self) -> None:
        if self.coming:
            return
        for order in self.counter.orders:
            state = self.manager.store.find(order.command.request_id, None)
            assert state is not None and state.traded == order.traded
            assert order.status is Status.SUBMITTING or state.status is order.status
        self._catch_up()
        holding = self.account.holding(GOLD)
        for side, held in ((Direction.LONG, holding.long), (Direction.SHORT, holding.short)):
            assert (held.today, held.yesterday) == (self.counter.today[side], self.counter.yesterday[side])
        worth = self.account.worth({"au2512": GOLD}, {"au2512": self.last}, ())
        assert worth.balance == pytest.approx(self.counter.cash + self.counter.net() * self.last * SIZE)


def _plain(state: OrderState) -> tuple[object, ...]:
    return (state.stage, state.traded, state.announced, state.order_id, state.trade_keys, state.trading_day)


TestOrderTableAndLedger = OrderTableAndLedger.TestCase
TestOrderTableAndLedger.settings = settings(max_examples=15, stateful_step_count=30, deadline=None)
