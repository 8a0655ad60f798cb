"""Any evidence, in any order, as often as it likes: memory and database agree, and books are the sums of trades."""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from places import place

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
from arbig.domain.orders import OrderState
from arbig.domain.risk import RiskSettings
from arbig.store.database import Database
from arbig.store.orders import OrderStore, Received
from arbig.trading.activity import Activity
from arbig.trading.books import Book
from arbig.trading.order_manager import OrderManager
from arbig.trading.position_manager import PositionManager

TEN = datetime(2025, 10, 15, 10, 0, tzinfo=SHANGHAI)
DAY = TEN.date()
PRICES = st.integers(40_000, 41_000).map(lambda ticks: ticks * 0.02)
Evidence = OrderData | TradeData


def command(number: int, direction: Direction, volume: int, price: float) -> CommandData:
    return CommandData(
        cmd_type=CommandType.SEND_ORDER,
        request_id=f"request-{number}",
        symbol="au2512",
        exchange=Exchange.SHFE,
        direction=direction,
        offset=Offset.OPEN,
        order_type=OrderType.LIMIT,
        price=price,
        volume=volume,
        timestamp=TEN,
        strategy_name=f"Strategy{number % 2}",
        account_id="sim",
        trading_day=DAY,
    )


def report(order: CommandData, number: int, status: Status, traded: int, at: datetime) -> OrderData:
    return OrderData(
        order_id=f"{number + 1}",
        symbol=order.symbol,
        exchange=order.exchange,
        direction=order.direction,
        offset=order.offset,
        order_type=order.order_type,
        price=order.price,
        volume=order.volume,
        traded=traded,
        status=status,
        datetime=at,
        strategy_name=order.strategy_name or "",
        request_id=order.request_id,
        account_id="sim",
        trading_day=DAY,
    )


def fill(order: CommandData, number: int, trade_id: int, volume: int, at: datetime) -> TradeData:
    return TradeData(
        trade_id=f"{trade_id}",
        order_id=f"{number + 1}",
        symbol=order.symbol,
        exchange=order.exchange,
        direction=order.direction,
        offset=order.offset,
        price=order.price,
        volume=volume,
        datetime=at,
        strategy_name=order.strategy_name or "",
        account_id="sim",
        trading_day=DAY,
    )


@st.composite
def lives(draw: st.DrawFn) -> tuple[list[CommandData], list[Evidence]]:
    """Orders, and everything a counter truly says of them: queued, filled in parts, perhaps cancelled or rejected."""
    orders, said, trade_id = [], [], 0
    for number in range(draw(st.integers(1, 3))):
        order = command(number, draw(st.sampled_from(Direction)), draw(st.integers(1, 4)), draw(PRICES))
        orders.append(order)
        at, traded = TEN + timedelta(seconds=number), 0
        if draw(st.booleans()) and draw(st.booleans()):
            said.append(report(order, number, Status.REJECTED, 0, at))
            continue
        said.append(report(order, number, Status.NOTTRADED, 0, at))
        for _ in range(draw(st.integers(0, order.volume))):
            volume = draw(st.integers(1, order.volume - traded)) if order.volume > traded else 0
            if not volume:
                break
            traded, trade_id, at = traded + volume, trade_id + 1, at + timedelta(milliseconds=250)
            status = Status.ALLTRADED if traded == order.volume else Status.PARTTRADED
            said += [report(order, number, status, traded, at), fill(order, number, trade_id, volume, at)]
        if traded < order.volume and draw(st.booleans()):
            said.append(report(order, number, Status.CANCELLED, traded, at + timedelta(seconds=1)))
    return orders, said


@contextmanager
def desk() -> Iterator[OrderManager]:
    with tempfile.TemporaryDirectory() as folder:
        database = Database.open(place(Path(folder) / "trading.db"))
        manager = OrderManager(
            OrderStore(database, "sim"), PositionManager("sim"), Activity(RiskSettings(), lambda order: 0.0)
        )
        manager.load(DAY)
        yield manager
        database.close()


def decide(manager: OrderManager, orders: list[CommandData]) -> None:
    for order in orders:
        state = OrderState.from_command(order)
        received = Received(request_id=order.request_id, kind=order.cmd_type, answer="", received_at=TEN)
        assert manager.store.decide(received, [state], [])
        manager.decided([state])


def hear(manager: OrderManager, evidence: list[Evidence]) -> None:
    for each in evidence:
        if isinstance(each, TradeData):
            manager.on_trade(each)
        else:
            manager.on_order(each)


def seen(manager: OrderManager) -> tuple[dict[str, OrderState], dict[tuple[str, str], tuple[int, float]]]:
    states = {state.request_id or f"#{state.order_id}": state for state in manager.states()}
    books = manager.positions.books.values()
    return states, {(book.strategy_name, book.symbol): (book.volume, round(book.cash, 6)) for book in books}


@settings(max_examples=30, deadline=None)
@given(lives(), st.randoms(use_true_random=False), st.booleans())
def test_shuffled_and_repeated_evidence_ends_like_the_true_sequence(
    life: tuple[list[CommandData], list[Evidence]], dice: random.Random, orders_first: bool
) -> None:
    """Also when the trades come before Trading knows the order's number, and after a reload from the database."""
    orders, said = life
    jumbled = said + dice.choices(said, k=len(said))
    dice.shuffle(jumbled)
    with desk() as plain, desk() as shuffled:
        decide(plain, orders)
        hear(plain, said)
        if orders_first:
            decide(shuffled, orders)
            hear(shuffled, jumbled)
        else:
            hear(shuffled, jumbled)
        expected, found = seen(plain), seen(shuffled)
        if orders_first:
            assert expected == found
        else:
            assert expected[1] == found[1]
        shuffled.load(DAY)
        assert found == seen(shuffled)
        sums: Counter[tuple[str, str]] = Counter()
        for trade in {each.key: each for each in said if isinstance(each, TradeData)}.values():
            sums[trade.strategy_name, trade.symbol] += trade.direction.sign * trade.volume
        assert sums == {key: volume for key, (volume, _) in found[1].items()}


@given(st.lists(st.tuples(st.sampled_from(Direction), st.integers(1, 5), PRICES), min_size=1, max_size=12))
def test_a_books_whole_profit_does_not_depend_on_the_order_of_its_fills(
    fills: list[tuple[Direction, int, float]],
) -> None:
    def booked(rows: list[tuple[Direction, int, float]]) -> Book:
        book = Book(account_id="sim", strategy_name="S", symbol="au2512", exchange=Exchange.SHFE, updated_at=TEN)
        for number, (direction, volume, price) in enumerate(rows):
            book = book.after(fill(command(0, direction, volume, price), 0, number, volume, TEN))
        return book

    forward, backward = booked(fills), booked(fills[::-1])
    assert forward.volume == backward.volume
    assert abs(forward.profit(810.0, 1000) - backward.profit(810.0, 1000)) < 1e-3
    held = [price for direction, _, price in fills if direction.sign * forward.volume > 0]
    assert forward.volume == 0 or min(held) - 1e-9 <= forward.price <= max(held) + 1e-9
