"""Store: the exchange's own truth in `data/exchange/exchange.db`. What a client is told is on disk before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from pathlib import Path

import msgspec

from arbig.backtest.counter_course import Order
from arbig.domain.counter import OrderReport, Report, TradeReport
from arbig.exchange.core import Truth
from arbig.store.sqlite import SqliteFile, StoreError

SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE truth (id INTEGER PRIMARY KEY CHECK (id = 1), identity TEXT NOT NULL, truth BLOB, told TEXT);
CREATE TABLE orders (
    number INTEGER PRIMARY KEY, trading_day TEXT NOT NULL, order_ref INTEGER NOT NULL, symbol TEXT NOT NULL,
    status TEXT NOT NULL, traded INTEGER NOT NULL, record BLOB NOT NULL
);
CREATE INDEX orders_of_day ON orders (trading_day);
CREATE TABLE reports (
    flow INTEGER PRIMARY KEY, trading_day TEXT NOT NULL, is_trade INTEGER NOT NULL, report BLOB NOT NULL
);
CREATE INDEX reports_of_day ON reports (trading_day, is_trade);
"""

_encode = msgspec.json.Encoder().encode
_truth = msgspec.json.Decoder(Truth)
_order = msgspec.json.Decoder(Order)
_report = msgspec.json.Decoder(OrderReport | TradeReport)


class ExchangeStore:
    """One writer; every commit is on disk when it returns."""

    def __init__(self, path: Path, identity: str) -> None:
        self._file = SqliteFile(path, SCHEMA, SCHEMA_VERSION, "exchange")
        self._db = self._file.connection
        found = self._db.execute("SELECT identity FROM truth").fetchone()
        if found is None:
            with self._file.transaction():
                self._db.execute("INSERT INTO truth VALUES (1, ?, NULL, NULL)", (identity,))
        elif found[0] != identity:
            self._file.close()
            raise StoreError(
                f"{path} belongs to another simulation ({found[0]}), config/simulation.yaml says {identity}: "
                "put these values back, or start with a fresh folder: arbig up --data DIR"
            )

    def load(self) -> tuple[Truth, datetime, list[Order]] | None:
        """The truth, the session time up to which ticks are known to be told, the trading day's orders."""
        truth, told = self._db.execute("SELECT truth, told FROM truth").fetchone()
        if truth is None:
            return None
        state: Truth = _truth.decode(truth)
        day = state.trading_day.isoformat()
        found = self._db.execute("SELECT record FROM orders WHERE trading_day = ? ORDER BY number", (day,))
        return state, datetime.fromisoformat(told), [_order.decode(record) for (record,) in found]

    def commit(self, truth: Truth, told: datetime, orders: Sequence[Order], reports: Sequence[Report]) -> None:
        with self._file.transaction():
            self._db.execute("UPDATE truth SET truth = ?, told = ?", (_encode(truth), told.isoformat()))
            self._db.executemany(
                "INSERT OR REPLACE INTO orders VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    (o.number, o.trading_day.isoformat(), o.order_ref, o.symbol, o.status, o.traded, _encode(o))
                    for o in orders
                ],
            )
            self._db.executemany(
                "INSERT INTO reports VALUES (?, ?, ?, ?)",
                [(r.flow, r.trading_day.isoformat(), isinstance(r, TradeReport), _encode(r)) for r in reports],
            )

    def replay(self, since: int, trading_day: date) -> Iterator[Report]:
        """The private flow of the trading day, and before it whatever came after `since`."""
        found = self._db.execute(
            "SELECT report FROM reports WHERE flow > ? OR trading_day = ? ORDER BY flow",
            (since, trading_day.isoformat()),
        )
        for (report,) in found.fetchall():
            yield _report.decode(report)

    def trades(self, trading_day: date) -> tuple[TradeReport, ...]:
        found = self._db.execute(
            "SELECT report FROM reports WHERE trading_day = ? AND is_trade ORDER BY flow", (trading_day.isoformat(),)
        )
        return tuple(_report.decode(report) for (report,) in found.fetchall())

    def close(self) -> None:
        self._file.close()
