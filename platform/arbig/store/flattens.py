"""Store: what is to be made flat, and how far it is. A job outlives its process."""

from __future__ import annotations

from datetime import datetime as Time
from typing import Any

import msgspec
from msgspec.structs import asdict
from sqlalchemy import insert, select, update

from arbig.store import tables
from arbig.store.database import Database

SHOWN = 20


class FlattenRow(msgspec.Struct, frozen=True, kw_only=True):
    """`strategy_name` and `symbol` say what of the account; None is all of it."""

    id: str
    account_id: str
    strategy_name: str | None
    symbol: str | None
    reason: str
    state: str
    detail: str
    since: Time
    changed_at: Time


class FlattenStore:
    """The table `flattens` of one account."""

    def __init__(self, database: Database, account_id: str) -> None:
        self.database = database
        self.account_id = account_id

    def add(self, row: FlattenRow) -> None:
        with self.database.transaction() as connection:
            connection.execute(insert(tables.flattens), asdict(row))

    def save(self, row: FlattenRow) -> None:
        said = {"state": row.state, "detail": row.detail, "changed_at": row.changed_at}
        with self.database.transaction() as connection:
            connection.execute(update(tables.flattens).where(tables.flattens.c.id == row.id).values(said))

    def recent(self, unfinished: tuple[str, ...]) -> list[FlattenRow]:
        """Those in these states, and the last that were asked for; oldest first."""
        flattens = tables.flattens.c
        mine = select(tables.flattens).where(flattens.account_id == self.account_id)
        newest = mine.order_by(flattens.since.desc()).limit(SHOWN)
        with self.database.reading() as connection:
            running = connection.execute(mine.where(flattens.state.in_(unfinished))).mappings()
            rows: dict[str, Any] = {row["id"]: row for row in running}
            rows |= {row["id"]: row for row in connection.execute(newest).mappings()}
        return sorted((FlattenRow(**row) for row in rows.values()), key=lambda row: row.since)
