"""The oracle: the exchange's own books against ours, row by row. Empty lists mean that they agree."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
from house import House


def disagreements(house: House) -> list[str]:
    """Every sentence names a difference between what the exchange did and what the house believes."""
    return [
        *_orders(house),
        *_trades(house),
        *_positions(house),
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


def _trades(house: House) -> list[str]:
    columns = ("trade_id", "direction", "offset", "price", "volume")
    theirs = Counter(tuple(trade[column] for column in columns) for trade in exchange_trades(house))
    with house.database("db/trading.db") as db:
        ours = Counter(db.execute(f"SELECT {', '.join(columns)} FROM trades").fetchall())
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
    for row in answer["strategies"]:
        books[row["symbol"]] += row["volume"]
    running: Counter[str] = Counter()
    for row in house.ask("strategy", "GET", "/strategies")["strategies"]:
        for symbol, held in row["positions"].items():
            running[symbol] += held["volume"]
    wrong = []
    for symbol in {*net, *account, *books, *running}:
        found = (net[symbol], account[symbol], books[symbol], running[symbol])
        if len(set(found)) > 1:
            wrong.append(
                f"{symbol} net lots: exchange {found[0]}, account {found[1]}, books {found[2]}, strategies {found[3]}"
            )
    return wrong


def _pending(house: House) -> list[str]:
    wrong = []
    for stream in ("trade", "position", "order_status", "order", "cmd", "event"):
        name = f"stream:{stream}"
        if not house.redis("EXISTS", name):
            continue
        for group in house.redis("XINFO", "GROUPS", name):
            row = group if isinstance(group, dict) else dict(zip(group[::2], group[1::2], strict=True))
            if row["pending"] or row["lag"]:
                wrong.append(f"{name} {row['name']}: pending {row['pending']}, lag {row['lag']}")
    dead = house.redis("XLEN", "stream:dead")
    return wrong + ([f"stream:dead holds {dead} entries"] if dead else [])
