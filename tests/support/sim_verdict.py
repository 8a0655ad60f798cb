"""The verdict over a quiet house: the invariants of reliability.md 6.3, against the exchange's own database."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable, Mapping

import msgspec
from sim_house import House

from arbig.backtest.counter_course import Order
from arbig.domain.counter import TradeReport
from arbig.domain.messages import OrderRequest, PositionData, Status, TradeData, decode
from arbig.domain.orders import FINAL
from arbig.store.journal import memo_of

_order = msgspec.json.Decoder(Order)


def verdict(house: House, requests: Mapping[str, OrderRequest], lost: set[str]) -> list[str]:
    """One line for each invariant that does not hold. `lost`: requests that went down with an emptied Redis."""
    return [
        *_trades(house),
        *_one_insert(house),
        *_answers(house, requests, lost),
        *_holdings(house),
        *_orders(house),
    ]


def _truth(house: House) -> list[Order]:
    rows = house.counter.store._db.execute("SELECT record FROM orders ORDER BY number")
    return [_order.decode(record) for (record,) in rows]


def _trades(house: House) -> list[str]:
    """I1 no trade lost, I2 none twice: in the journal, in the table, in the books."""
    exchange, trading, journal = house.counter, house.services["trading"], house.services["gateway"].journal
    flow = exchange.store.replay(0, exchange.exchange.trading_day)
    truth = Tally(_key(report) for report in flow if isinstance(report, TradeReport))
    events = journal._db.execute("SELECT payload FROM events WHERE kind = 'trade'")
    found = []
    for name, trades in (
        ("the table", trading.store.trades()),
        ("the journal", [decode(TradeData, payload) for (payload,) in events]),
    ):
        ours = Tally(map(_key, trades))
        found += [f"I1 lost in {name}: {sorted(truth - ours)}"] if truth - ours else []
        found += [f"I2 twice or never in {name}: {sorted(ours - truth)}"] if ours - truth else []
    lots = sum(book.volume for book in trading.positions.books.values())
    net = sum(side.direction.sign * side.volume for side in exchange.exchange.positions())
    if lots != net:
        found.append(f"I2 the books hold {lots:+d} lots, the exchange {net:+d}")
    return found


def _key(trade: TradeReport | TradeData) -> tuple[str, ...]:
    return (str(trade.trading_day), str(trade.exchange), trade.trade_id, str(trade.direction))


def _one_insert(house: House) -> list[str]:
    """I3, of everything that ever reached the counter."""
    return [f"I3 {memo} was sent {times} times" for memo, times in house.inserted.items() if times > 1]


def _answers(house: House, requests: Mapping[str, OrderRequest], lost: set[str]) -> list[str]:
    """I4 every request has its answer, and no order is left in the air."""
    trading = house.services["trading"]
    found = []
    for request_id, request in requests.items():
        answer = trading.store.answer(request_id)
        if answer is None and request_id not in lost:
            found.append(f"I4 {request_id} was never answered")
        state = trading.store.find(request_id, None)
        if answer is not None and request.cmd_type is None and (state is None or state.stage not in FINAL):
            found.append(f"I4 {request_id} ends as {state and state.stage}")
    return found


def _holdings(house: House) -> list[str]:
    """I5 the positions by side and age, and the account."""
    trading, exchange = house.services["trading"], house.counter.exchange
    ours, theirs = _sides(trading.positions.positions()), _sides(exchange.positions())
    found = [] if ours == theirs else [f"I5 positions: ours {ours}, the exchange's {theirs}"]
    told, account = trading.reconciler.account, msgspec.to_builtins(exchange.account_row())
    for key in sorted(account):
        if told.get(key) != account[key]:
            found.append(f"I5 account {key}: ours {told.get(key)}, the exchange's {account[key]}")
    return found


def _sides(positions: Iterable[PositionData]) -> dict[tuple[str, str], tuple[int, int, int]]:
    return {
        (side.symbol, str(side.direction)): (side.volume, side.yd_volume, side.frozen)
        for side in positions
        if side.volume
    }


def _orders(house: House) -> list[str]:
    """I7 each order ends as it did at the exchange."""
    trading, found = house.services["trading"], []
    ours = {
        memo_of(state.request_id, state.strategy_name): state
        for state in trading.store.orders_page(None, 10_000).rows
        if state.request_id
    }
    truth = _truth(house)
    for order in truth:
        state = ours.get(order.memo)
        if state is None:
            found.append(f"I7 order {order.order_ref} is not known to Trading")
        elif (state.status, state.traded) != (order.status, order.traded):
            theirs = f"{order.status} {order.traded}"
            found.append(f"I7 {state.request_id}: ours {state.stage} {state.traded}, the exchange's {theirs}")
    there = {order.memo for order in truth}
    for memo, state in ours.items():
        if memo not in there and state.status is not Status.REJECTED:
            found.append(f"I7 {state.request_id} is {state.stage}, and the exchange has never had it")
    return found
