"""Store: positions that notebooks want, each at most once a trading day, and what they may hold with real money."""

from __future__ import annotations

from datetime import date
from datetime import datetime as Time
from typing import Any

import msgspec
from msgspec.structs import asdict
from sqlalchemy import insert, select, update

from arbig.store import tables
from arbig.store.database import Database


class IntentRow(msgspec.Struct, frozen=True, kw_only=True):
    """`target`: net lots of the strategy's book in the contract. `steps`: how many orders were numbered for it."""

    id: str
    account_id: str
    strategy_name: str
    intent: str
    trading_day: date
    symbol: str
    target: int
    until: date
    steps: int
    state: str
    detail: str
    run_id: str | None
    since: Time
    changed_at: Time


class GrantRow(msgspec.Struct, frozen=True, kw_only=True):
    """So many lots of a contract, long or short, by a notebook strategy and until a moment of the wall's clock."""

    id: str
    account_id: str
    strategy_name: str
    lots: int
    expires_at: Time
    given_at: Time
    given_by: str
    revoked_at: Time | None = None


class IntentStore:
    """The tables `intents` and `grants` of one account."""

    def __init__(self, database: Database, account_id: str) -> None:
        self.database = database
        self.account_id = account_id

    def add(self, row: IntentRow) -> None:
        with self.database.transaction() as connection:
            connection.execute(insert(tables.intents), asdict(row))

    def save(self, row: IntentRow) -> None:
        said = {"state": row.state, "detail": row.detail, "steps": row.steps, "changed_at": row.changed_at}
        with self.database.transaction() as connection:
            connection.execute(update(tables.intents).where(tables.intents.c.id == row.id).values(said))

    def find(self, intent_id: str) -> IntentRow | None:
        return next(iter(self._rows(tables.intents.c.id == intent_id)), None)

    def in_states(self, states: tuple[str, ...]) -> list[IntentRow]:
        return self._rows(tables.intents.c.state.in_(states))

    def of_run(self, run_id: str) -> list[IntentRow]:
        return self._rows(tables.intents.c.run_id == run_id)

    def recent(self, limit: int, strategy_name: str | None = None) -> list[IntentRow]:
        """The newest, oldest first."""
        wanted = () if strategy_name is None else (tables.intents.c.strategy_name == strategy_name,)
        return self._rows(*wanted, limit=limit)

    def _rows(self, *conditions: Any, limit: int | None = None) -> list[IntentRow]:
        intents = tables.intents
        wanted = select(intents).where(intents.c.account_id == self.account_id, *conditions)
        with self.database.reading() as connection:
            found = connection.execute(wanted.order_by(intents.c.since.desc()).limit(limit)).mappings().all()
        return [IntentRow(**row) for row in reversed(found)]

    # ---- grants

    def grant(self, row: GrantRow) -> None:
        with self.database.transaction() as connection:
            connection.execute(insert(tables.grants), asdict(row))

    def revoke(self, grant_id: str, when: Time) -> None:
        """The first time counts."""
        grants = tables.grants
        with self.database.transaction() as connection:
            still = (grants.c.id == grant_id, grants.c.revoked_at.is_(None))
            connection.execute(update(grants).where(*still).values({"revoked_at": when}))

    def grants(self) -> list[GrantRow]:
        grants = tables.grants
        wanted = select(grants).where(grants.c.account_id == self.account_id).order_by(grants.c.given_at)
        with self.database.reading() as connection:
            return [GrantRow(**row) for row in connection.execute(wanted).mappings()]
