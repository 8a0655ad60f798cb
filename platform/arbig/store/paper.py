"""Store: a paper account's own truth, `data/paper/{account_id}.db`. What the house is told is on disk before."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import msgspec

from arbig.backtest.paper import Truth
from arbig.domain.counter import OrderReport, Report, TradeReport
from arbig.store.sqlite import SqliteFile

SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE truth (id INTEGER PRIMARY KEY CHECK (id = 1), truth BLOB NOT NULL);
CREATE TABLE reports (
    flow INTEGER PRIMARY KEY, trading_day TEXT NOT NULL, is_trade INTEGER NOT NULL, report BLOB NOT NULL
);
CREATE INDEX reports_of_day ON reports (trading_day, is_trade);
"""

_encode = msgspec.json.Encoder().encode
_truth = msgspec.json.Decoder(Truth)
_report = msgspec.json.Decoder(OrderReport | TradeReport)


class PaperStore:
    """One writer; every commit is on disk when it returns. Raises StoreError."""

    def __init__(self, path: Path) -> None:
        self._file = SqliteFile(path, SCHEMA, SCHEMA_VERSION, "Gateway")
        self._db = self._file.connection

    def load(self) -> Truth | None:
        found = self._db.execute("SELECT truth FROM truth").fetchone()
        return None if found is None else _truth.decode(found[0])

    def commit(self, truth: Truth, reports: Sequence[Report] = ()) -> None:
        with self._file.transaction():
            self._db.execute("INSERT OR REPLACE INTO truth VALUES (1, ?)", (_encode(truth),))
            self._db.executemany(
                "INSERT INTO reports VALUES (?, ?, ?, ?)",
                [(r.flow, r.trading_day.isoformat(), isinstance(r, TradeReport), _encode(r)) for r in reports],
            )

    def replay(self, since: int, day: date) -> list[Report]:
        """The private flow of the trading day, and before it whatever came after `since`."""
        words = "SELECT report FROM reports WHERE flow > ? OR trading_day = ? ORDER BY flow"
        return [_report.decode(row[0]) for row in self._db.execute(words, (since, day.isoformat()))]

    def orders(self, day: date) -> list[OrderReport]:
        """The day's orders as they are now."""
        reports = (report for report in self.replay(1 << 62, day) if isinstance(report, OrderReport))
        return list({report.order_ref: report for report in reports}.values())

    def trades(self, day: date) -> tuple[TradeReport, ...]:
        return tuple(report for report in self.replay(1 << 62, day) if isinstance(report, TradeReport))

    def close(self) -> None:
        self._file.close()
