"""Store: which strategies move to another contract, and how far they are. A roll outlives its process."""

from __future__ import annotations

from datetime import datetime as Time
from typing import Any

import msgspec
from msgspec.structs import asdict
from sqlalchemy import insert, select, update

from arbig.store import tables
from arbig.store.database import Database

SHOWN = 20


class RollRow(msgspec.Struct, frozen=True, kw_only=True):
    """`lots` is what it held (signed) when nothing of it worked any more, None until then; `was` is what the strategy
    did before; `stopping`: a person wants no more of it."""

    id: str
    account_id: str
    strategy_name: str
    symbol: str
    target: str
    was: str
    reason: str
    state: str
    detail: str
    since: Time
    changed_at: Time
    lots: int | None = None
    stopping: bool = False


class RollStore:
    """The table `rolls` of one account."""

    def __init__(self, database: Database, account_id: str) -> None:
        self.database = database
        self.account_id = account_id

    def add(self, row: RollRow) -> None:
        with self.database.transaction() as connection:
            connection.execute(insert(tables.rolls), asdict(row))

    def save(self, row: RollRow) -> None:
        said = {name: getattr(row, name) for name in ("state", "detail", "changed_at", "lots", "stopping")}
        with self.database.transaction() as connection:
            connection.execute(update(tables.rolls).where(tables.rolls.c.id == row.id).values(said))

    def recent(self, unfinished: tuple[str, ...]) -> list[RollRow]:
        """Those in these states, and the last that were asked for; oldest first."""
        rolls = tables.rolls.c
        mine = select(tables.rolls).where(rolls.account_id == self.account_id)
        newest = mine.order_by(rolls.since.desc()).limit(SHOWN)
        with self.database.reading() as connection:
            running = connection.execute(mine.where(rolls.state.in_(unfinished))).mappings()
            rows: dict[str, Any] = {row["id"]: row for row in running}
            rows |= {row["id"]: row for row in connection.execute(newest).mappings()}
        return sorted((RollRow(**row) for row in rows.values()), key=lambda row: row.since)

    def traded(self, cause: str) -> dict[str, tuple[str, int]]:
        """What the orders of this cause have filled, of any day: request -> (contract, lots)."""
        orders = tables.orders.c
        query = select(orders.request_id, orders.symbol, orders.traded).where(
            orders.account_id == self.account_id, orders.cause == cause
        )
        with self.database.reading() as connection:
            return {row.request_id: (row.symbol, row.traded) for row in connection.execute(query)}
