"""Store: what the account was worth, a point a session minute, kept for a bounded number of days."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from datetime import datetime as Time
from typing import Any

from sqlalchemy import delete, func, insert, select

from arbig.store import tables
from arbig.store.database import Database

AMOUNTS = ("balance", "available", "margin", "commission", "close_profit", "position_profit")


class EquityStore:
    """The table `equity` of one account."""

    def __init__(self, database: Database, account_id: str) -> None:
        self.database = database
        self.account_id = account_id

    def add(self, at: Time, trading_day: date, account: Mapping[str, Any]) -> None:
        row = {"account_id": self.account_id, "at": at, "trading_day": trading_day}
        with self.database.transaction() as connection:
            connection.execute(insert(tables.equity), row | {name: account[name] for name in AMOUNTS})

    def newest(self) -> Time | None:
        with self.database.reading() as connection:
            found: Time | None = connection.execute(self._mine(func.max(tables.equity.c.at))).scalar()
        return found

    def points(self, since: Time | None, limit: int) -> list[dict[str, Any]]:
        """Oldest first. More than `limit` are thinned evenly, and the newest is always there."""
        query = self._mine(
            tables.equity.c.at, tables.equity.c.trading_day, *(tables.equity.c[name] for name in AMOUNTS)
        )
        if since is not None:
            query = query.where(tables.equity.c.at >= since)
        with self.database.reading() as connection:
            rows = [dict(row) for row in connection.execute(query.order_by(tables.equity.c.at.desc())).mappings()]
        return rows[:: -(-len(rows) // limit) or 1][::-1]

    def prune(self, before: date) -> None:
        mine = tables.equity.c.account_id == self.account_id
        with self.database.transaction() as connection:
            connection.execute(delete(tables.equity).where(mine, tables.equity.c.trading_day < before))

    def _mine(self, *columns: Any) -> Any:
        return select(*columns).where(tables.equity.c.account_id == self.account_id)
