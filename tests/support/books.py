"""The oracle: the exchange's own books against ours, row by row. Empty lists mean that they agree."""

from __future__ import annotations

import sqlite3
from collections import Counter
from typing import Any, Protocol

import msgspec
from postgres import Looking

from arbig.bus.topics import STREAMS, required_groups
from arbig.domain.messages import Direction
from arbig.exchange.core import Truth

MONEY = ("pre_balance", "commission", "close_profit")
CENT = 0.011


class House(Protocol):
    """`house.House` with its supervisor, or a `rig.Rig` of single processes."""

    def ask(self, service: str, method: str, path: str, /) -> Any: ...

    def redis(self, *command: str) -> Any: ...

    def database(self, name: str, /) -> sqlite3.Connection | Looking: ...


def disagreements(house: House) -> list[str]:
    """Every sentence names a difference between what the exchange did and what the house believes."""
    return [
        *_orders(house),
        *_trades(house),
        *_inserts(house),
        *_positions(house),
        *_sides_and_money(house),
        *_pending(house),
    ]


def exchange_orders(house: House) -> list[dict[str, Any]]:
    with house.database("exchange/exchange.db") as db:
        return [msgspec.json.decode(row[0]) for row in db.execute("SELECT record FROM orders ORDER BY number")]


def exchange_trades(house: House) -> list[dict[str, Any]]:
    with house.database("exchange/exchange.db") as db:
        rows = db.execute("SELECT report FROM reports WHERE is_trade ORDER BY flow")
        return [msgspec.json.decode(row[0]) for row in rows]


def _orders(house: House) -> list[str]:
    wrong = []
    with house.database("db/gateway.db") as db:
        journal = dict(db.execute("SELECT order_ref, request_id FROM orders WHERE order_ref IS NOT NULL"))
    with house.database("db/trading.db") as db:
        ours = {
            request_id: (status, traded)
            for request_id, status, traded in db.execute("SELECT request_id, status, traded FROM orders")
        }
    theirs = exchange_orders(house)
    refs = Counter(order["order_ref"] for order in theirs)
    wrong += [f"order_ref {ref} reached the exchange {n} times" for ref, n in refs.items() if n > 1]
    requests = Counter(journal.get(order["order_ref"]) for order in theirs)
    wrong += [f"request {request} became {n} exchange orders" for request, n in requests.items() if n > 1]
    for order in theirs:
        request = journal.get(order["order_ref"])
        if request is None:
            wrong.append(f"exchange order {order['order_sys_id']} stands in no journal")
        elif request not in ours:
            wrong.append(f"exchange order {order['order_sys_id']} ({request}) is unknown to Trading")
        elif ours[request] != (order["status"], order["traded"]):
            wrong.append(
                f"{request}: the exchange says {order['status']} {order['traded']}, Trading says {ours[request]}"
            )
    sent = {journal.get(order["order_ref"]) for order in theirs}
    wrong += [
        f"{request} is {status} in Trading, the exchange never saw it"
        for request, (status, _) in ours.items()
        if status != "REJECTED" and request not in sent
    ]
    return wrong


def exchange_truth(house: House) -> Truth:
    with house.database("exchange/exchange.db") as db:
        return msgspec.json.decode(db.execute("SELECT truth FROM truth").fetchone()[0], type=Truth)


def _inserts(house: House) -> list[str]:
    """Refused ones count, too: a second insert under the same reference would be refused by the counter."""
    with house.database("db/gateway.db") as db:
        (sent,) = db.execute("SELECT count(*) FROM orders WHERE sending = 'SENT'").fetchone()
    asked = exchange_truth(house).orders_asked
    return [] if sent == asked else [f"the exchange was asked for {asked} orders, the journal has sent {sent}"]


def _trades(house: House) -> list[str]:
    columns = ("trade_id", "direction", "offset", "price", "volume")
    theirs = Counter(tuple(trade[column] for column in columns) for trade in exchange_trades(house))
    with house.database("db/trading.db") as db:
        query = 'SELECT trade_id, direction, "offset", price, volume FROM trades'
        ours = Counter(db.execute(query).fetchall())
    lost = [f"trade lost: {trade}" for trade in (theirs - ours)]
    return lost + [f"trade made up or doubled: {trade}" for trade in (ours - theirs)]


def _positions(house: House) -> list[str]:
    net: Counter[str] = Counter()
    for trade in exchange_trades(house):
        net[trade["symbol"]] += trade["volume"] * (1 if trade["direction"] == "LONG" else -1)
    answer = house.ask("trading", "GET", "/positions")
    account: Counter[str] = Counter()
    for row in answer["positions"]:
        account[row["symbol"]] += row["volume"] * (1 if row["direction"] == "LONG" else -1)
    books: Counter[str] = Counter()
    owned = {}
    for row in answer["strategies"]:
        books[row["symbol"]] += row["volume"]
        if row["volume"]:
            owned[row["strategy_name"], row["symbol"]] = row["volume"]
    wrong = []
    for symbol in {*net, *account, *books}:
        found = (net[symbol], account[symbol], books[symbol])
        if len(set(found)) > 1:
            wrong.append(f"{symbol} net lots: exchange {found[0]}, account {found[1]}, books {found[2]}")
    for strategy in house.ask("strategy", "GET", "/strategies")["strategies"]:
        for symbol, held in strategy["positions"].items():
            book = owned.get((strategy["strategy_name"], symbol), 0)
            if held["volume"] != book:
                wrong.append(f"{strategy['strategy_name']} holds {held['volume']} {symbol}, its book says {book}")
    return wrong


def _sides_and_money(house: House) -> list[str]:
    """Each side of each contract, today's and yesterday's lots, what is frozen; the account's settled figures."""
    account = exchange_truth(house).account
    theirs = {}
    for symbol, holding in account.holdings.items():
        for direction, side in ((Direction.LONG, holding.long), (Direction.SHORT, holding.short)):
            if side.volume:
                theirs[symbol, str(direction)] = (side.volume, side.yesterday, side.frozen)
    ours = {
        (row["symbol"], row["direction"]): (row["volume"], row["yd_volume"], row["frozen"])
        for row in house.ask("trading", "GET", "/positions")["positions"]
        if row["volume"]
    }
    wrong = [
        f"{symbol} {direction} (lots, yesterday's, frozen): exchange {theirs.get((symbol, direction))}, "
        f"Trading {ours.get((symbol, direction))}"
        for symbol, direction in sorted(theirs.keys() | ours.keys())
        if theirs.get((symbol, direction)) != ours.get((symbol, direction))
    ]
    shown = house.ask("trading", "GET", "/account")["account"]
    return wrong + [
        f"account {name}: exchange {getattr(account, name)}, Trading {shown[name]}"
        for name in MONEY
        if abs(float(getattr(account, name)) - shown[name]) > CENT
    ]


def _pending(house: House) -> list[str]:
    wrong = []
    for topic in STREAMS:
        name = topic.name
        rows = {}
        for group in house.redis("XINFO", "GROUPS", name) if house.redis("EXISTS", name) else ():
            row = group if isinstance(group, dict) else dict(zip(group[::2], group[1::2], strict=True))
            rows[row["name"]] = row
        wrong += [f"{name} has no group {group}" for group in required_groups(name) if group not in rows]
        wrong += [
            f"{name} {group}: pending {row['pending']}, lag {row['lag']}"
            for group, row in rows.items()
            if row["pending"] or row["lag"]
        ]
    dead = house.redis("XLEN", "stream:dead")
    return wrong + ([f"stream:dead holds {dead} entries"] if dead else [])
