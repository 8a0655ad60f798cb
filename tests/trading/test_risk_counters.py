"""Whatever happens to the orders of a day, the counters in memory are what a recount of the tables finds."""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from places import place
from sqlalchemy import select

from arbig.domain.messages import (
    SHANGHAI,
    Direction,
    Exchange,
    Offset,
    OrderData,
    OrderRequest,
    OrderType,
    PositionData,
    Status,
    TradeData,
)
from arbig.domain.orders import OrderState
from arbig.domain.risk import Counts, Exposure, RiskSettings
from arbig.store import tables
from arbig.store.database import Database
from arbig.store.orders import OrderStore, Received
from arbig.trading.activity import Activity
from arbig.trading.order_manager import OrderManager
from arbig.trading.position_manager import PositionManager

TEN = datetime(2025, 10, 15, 10, 0, tzinfo=SHANGHAI)
DAY = TEN.date()
Evidence = OrderData | TradeData


def activity() -> Activity:
    return Activity(RiskSettings(), lambda order: order.price * 0.14)


@contextmanager
def desk() -> Iterator[OrderManager]:
    with tempfile.TemporaryDirectory() as folder:
        database = Database.open(place(Path(folder) / "trading.db"))
        try:
            manager = OrderManager(OrderStore(database, "sim"), PositionManager("sim"), activity())
            manager.load(DAY)
            yield manager
        finally:
            database.close()


def wish(number: int, **changes: object) -> OrderRequest:
    fields = {
        "request_id": f"r{number}", "strategy_name": "S", "symbol": "au2512", "exchange": Exchange.SHFE,
        "direction": Direction.LONG, "offset": Offset.OPEN, "order_type": OrderType.LIMIT, "price": 800.02,
        "volume": 1, "timestamp": TEN, "account_id": "sim", "trading_day": DAY,
    }  # fmt: skip
    return OrderRequest(**(fields | changes))  # type: ignore[arg-type]


def report(order: OrderState, number: int, status: Status, traded: int) -> OrderData:
    said = order.to_order_data()
    return structs.replace(
        said, order_id=f"{number}", status=status, traded=traded, datetime=TEN + timedelta(seconds=1)
    )


def fill(order: OrderState, number: int, trade_id: int, volume: int) -> TradeData:
    return TradeData(
        trade_id=f"{trade_id}", order_id=f"{number}", symbol=order.symbol, exchange=order.exchange,
        direction=order.direction, offset=order.offset, price=order.price, volume=volume, datetime=TEN,
        strategy_name="S", request_id=order.request_id, account_id="sim", trading_day=order.trading_day,
    )  # fmt: skip


@st.composite
def days(draw: st.DrawFn) -> tuple[list[OrderState], list[Evidence]]:
    """Orders of two contracts (and of yesterday), and what a counter says of each. Trade numbers are few, so that both
    sides of one are often ours."""
    orders: list[OrderState] = []
    said: list[Evidence] = []
    free: dict[Direction, list[int]] = {each: list(range(1, 9)) for each in Direction}
    for number in range(draw(st.integers(1, 7))):
        request = wish(
            number,
            symbol=draw(st.sampled_from(["au2512", "au2602", "rb2601"])),
            direction=draw(st.sampled_from(Direction)),
            offset=draw(st.sampled_from([Offset.OPEN, Offset.OPEN, Offset.CLOSETODAY])),
            order_type=draw(st.sampled_from([OrderType.LIMIT, OrderType.LIMIT, OrderType.FAK])),
            volume=draw(st.sampled_from([1, 3, 300, 320])),
            trading_day=draw(st.sampled_from([DAY, DAY, DAY, DAY - timedelta(days=1)])),
        )
        order = OrderState.from_request(request)
        orders.append(order)
        end = draw(st.sampled_from(["unheard", "queued", "filled", "cancelled", "rejected"]))
        if end == "rejected":
            said.append(report(order, number, Status.REJECTED, 0))
        if end in ("unheard", "rejected"):
            continue
        said.append(report(order, number, Status.NOTTRADED, 0))
        traded = 0 if end == "queued" else order.volume if end == "filled" else draw(st.integers(0, order.volume - 1))
        if traded and free[order.direction]:
            trade_id = draw(st.sampled_from(free[order.direction]))
            free[order.direction].remove(trade_id)
            said.append(fill(order, number, trade_id, traded))
        if end != "queued":
            status = Status.ALLTRADED if end == "filled" else Status.CANCELLED
            said.append(report(order, number, status, traded))
    return orders, said


def counters(manager: OrderManager) -> tuple[object, ...]:
    found = manager.activity
    counts = {symbol: each for symbol, each in found.counts.items() if each != Counts()}
    opening = {product: each for product, each in found.opening.items() if each != Exposure()}
    return counts, opening, found.active, found.reserved


def counted_by_hand(manager: OrderManager) -> dict[str, tuple[int, int, int]]:
    """Straight from the rows: cancels, large cancels, self-trades."""
    found: Counter[tuple[str, int]] = Counter()
    with manager.store.database.reading() as connection:
        rows = connection.execute(select(tables.orders).where(tables.orders.c.trading_day == DAY))
        for row in rows.mappings():
            if row["status"] == "CANCELLED" and row["order_type"] == "LIMIT":
                found[row["symbol"], 0] += 1
                found[row["symbol"], 1] += row["volume"] - max(row["traded"], row["announced"]) >= 300
        rows = connection.execute(select(tables.trades).where(tables.trades.c.trading_day == DAY))
        sides = [(row["symbol"], row["trade_id"], row["direction"]) for row in rows.mappings()]
        for symbol, trade_id, direction in sides:
            found[symbol, 2] += direction == "LONG" and (symbol, trade_id, "SHORT") in sides
    symbols = {symbol for symbol, _ in found}
    return {symbol: tuple(found[symbol, n] for n in range(3)) for symbol in symbols}  # type: ignore[misc]


@settings(max_examples=40, deadline=None)
@given(days(), st.randoms(use_true_random=False))
def test_counters_are_a_recount_of_the_tables_whatever_happened(
    day: tuple[list[OrderState], list[Evidence]], dice: random.Random
) -> None:
    orders, said = day
    jumbled = said + dice.choices(said, k=len(said)) if said else said
    dice.shuffle(jumbled)
    with desk() as manager:
        for order in orders:
            received = Received(request_id=order.request_id, kind="SEND_ORDER", answer="", received_at=TEN)
            assert manager.store.decide(received, [order], [])
            manager.decided([order])
        for evidence in jumbled:
            if isinstance(evidence, TradeData):
                manager.on_trade(evidence)
            else:
                manager.on_order(evidence)
        kept = counters(manager)
        by_hand = counted_by_hand(manager)
        for symbol, counts in manager.activity.counts.items():
            expected = by_hand.get(symbol, (0, 0, 0))
            assert expected == (counts.cancels, counts.large_cancels, counts.self_trades)
        manager.load(DAY)
        assert kept == counters(manager)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["snapshot", "trade", "answer"]),
            st.sampled_from(["au2512", "au2602", "rb2601"]),
            st.sampled_from(Direction),
            st.integers(0, 5),
        ),
        max_size=25,
    )
)
def test_a_products_lots_are_the_sum_of_its_contracts(moves: list[tuple[str, str, Direction, int]]) -> None:
    positions = PositionManager("sim")
    held: Counter[tuple[str, Direction]] = Counter()
    for number, (kind, symbol, direction, volume) in enumerate(moves, 1):
        at = TEN + timedelta(seconds=number)
        row = PositionData(
            symbol=symbol, exchange=Exchange.SHFE, direction=direction, volume=volume, frozen=0, price=800.0, pnl=0.0,
            yd_volume=0, datetime=at, account_id="sim", trading_day=DAY,
        )  # fmt: skip
        if kind == "snapshot":
            positions.on_position(row, f"{number}-0")
            held[symbol, direction] = volume
        elif kind == "answer":
            positions.replace([row], f"{number}-0")
            held = Counter({(symbol, direction): volume})
        elif volume:
            state = OrderState.from_request(wish(number, symbol=symbol, direction=direction, volume=volume))
            positions.on_trade(structs.replace(fill(state, number, number, volume), datetime=at))
            held[symbol, direction] += volume
    for product, symbols in {"au": ("au2512", "au2602"), "rb": ("rb2601",)}.items():
        expected = Exposure(*(sum(held[symbol, side] for symbol in symbols) for side in Direction))
        assert expected == positions.held(product)


def test_an_exchanges_number_is_warned_of_once_on_the_way_and_once_when_it_is_reached() -> None:
    found = activity()
    found.load(DAY, [], [("au2512", f"{n}", each) for n in range(3) for each in Direction])
    found.traded("au2512", "3", Direction.LONG)
    assert [] == found.warnings()
    found.traded("au2512", "3", Direction.SHORT)
    assert ["au2512: 4 self-trades today, 80% of the exchange's number (5); fewer orders, or FAK and FOK"] == (
        found.warnings()
    )
    assert [] == found.warnings()
    found.load(DAY, [], [("au2512", f"{n}", each) for n in range(5) for each in Direction])
    assert "the exchange's number is reached (5)" in found.warnings()[0]
    for each in Direction:
        found.traded("au2512", "5", each)
    assert [] == found.warnings()


def test_counters_begin_again_with_the_next_trading_day() -> None:
    with desk() as manager:
        order = OrderState.from_request(wish(1))
        received = Received(request_id="r1", kind="SEND_ORDER", answer="", received_at=TEN)
        manager.store.decide(received, [order], [])
        manager.decided([order])
        manager.on_order(report(order, 1, Status.CANCELLED, 0))
        assert Counts(cancels=1) == manager.activity.counts["au2512"]
        manager.load(date(2025, 10, 16))
        assert {} == dict(manager.activity.counts)
        manager.load(DAY)
        assert Counts(cancels=1) == manager.activity.counts["au2512"]
