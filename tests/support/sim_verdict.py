"""The verdict over a quiet house: the invariants of reliability.md 6.3, against the exchange's own database."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Mapping
from typing import Any

import msgspec

from arbig.domain.messages import OrderRequest, Status, TradeData, decode
from arbig.domain.orders import FINAL
from arbig.exchange.core import Order
from arbig.store.journal import memo_of
from sim_house import House

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
    truth = Tally(_key(report) for report in house.counter.store.replay(0, house.counter.exchange.trading_day) if _is_trade(report))
    trading, journal = house.services["trading"], house.services["gateway"].journal
    table = Tally(_key(trade) for trade in trading.store.trades())
    told = Tally(
        _key(decode(TradeData, payload))
        for (payload,) in journal._db.execute("SELECT payload FROM events WHERE kind = 'trade'")
    )
    found = [f"I1 lost in {name}: {sorted(truth - has)}" for name, has in (("trading", table), ("journal", told)) if truth - has]
    found += [f"I2 twice or never in {name}: {sorted(has - truth)}" for name, has in (("trading", table), ("journal", told)) if has - truth]
    lots = sum(book.volume for book in trading.positions.books.values())
    net = sum(side.direction.sign * side.volume for side in house.counter.exchange.positions())
    if lots != net:
        found.append(f"I2 the books hold {lots:+d} lots, the exchange {net:+d}")
    return found


def _is_trade(report: Any) -> bool:
    return hasattr(report, "trade_id")


def _key(trade: Any) -> tuple[str, ...]:
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
    account = msgspec.to_builtins(exchange.account_row())
    different = {key for key in account if trading.reconciler.account.get(key) != account[key]}
    found += [f"I5 account {key}: ours {trading.reconciler.account.get(key)}, the exchange's {account[key]}" for key in sorted(different)]
    return found


def _sides(positions: Any) -> dict[tuple[str, str], tuple[int, int, int]]:
    return {
        (side.symbol, str(side.direction)): (side.volume, side.yd_volume, side.frozen) for side in positions if side.volume
    }


def _orders(house: House) -> list[str]:
    """I7 each order ends as it did at the exchange."""
    trading, found = house.services["trading"], []
    ours = {memo_of(state.request_id): state for state in trading.store.recent(10_000) if state.request_id}
    truth = _truth(house)
    for order in truth:
        state = ours.get(order.memo)
        if state is None:
            found.append(f"I7 order {order.order_ref} is not known to Trading")
        elif (state.status, state.traded) != (order.status, order.traded):
            found.append(
                f"I7 {state.request_id}: ours {state.stage} {state.traded}, the exchange's {order.status} {order.traded}"
            )
    there = {order.memo for order in truth}
    for memo, state in ours.items():
        if memo not in there and state.status is not Status.REJECTED:
            found.append(f"I7 {state.request_id} is {state.stage}, and the exchange has never had it")
    return found
