"""Store: what is written once a day (positions and account at settlement) and the trading states people have set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from datetime import datetime as Time
from typing import Any

from sqlalchemy import func, insert, select

from arbig.domain.messages import PositionData
from arbig.store import tables
from arbig.store.database import Database

_AMOUNTS = tuple(c.name for c in tables.accounts.columns if c.name not in ("account_id", "trading_day", "taken_at"))
_POSITION = ("symbol", "exchange", "direction", "volume", "yd_volume", "frozen", "price", "pnl", "margin")


class SnapshotStore:
    """The tables `positions`, `accounts` and `trading_states` of one account."""

    def __init__(self, database: Database, account_id: str) -> None:
        self.database = database
        self.account_id = account_id

    def settle(
        self, trading_day: date, positions: Sequence[PositionData], account: Mapping[str, Any] | None, taken_at: Time
    ) -> bool:
        """The day's closing picture. The first one counts: False when the day has been written before."""
        same = {"account_id": self.account_id, "trading_day": trading_day, "taken_at": taken_at}
        rows = [{name: getattr(position, name) for name in _POSITION} | same for position in positions]
        with self.database.transaction() as connection:
            if self._is_settled(connection, trading_day):
                return False
            if rows:
                connection.execute(insert(tables.positions), rows)
            if account is not None:
                connection.execute(insert(tables.accounts), {name: account[name] for name in _AMOUNTS} | same)
        return True

    def _is_settled(self, connection: Any, trading_day: date) -> bool:
        return any(
            connection.execute(
                select(func.count())
                .select_from(table)
                .where(table.c.account_id == self.account_id, table.c.trading_day == trading_day)
            ).scalar_one()
            for table in (tables.positions, tables.accounts)
        )

    def positions_of(self, trading_day: date) -> list[dict[str, Any]]:
        return self._rows(tables.positions, trading_day)

    def account_of(self, trading_day: date) -> dict[str, Any] | None:
        return next(iter(self._rows(tables.accounts, trading_day)), None)

    def _rows(self, table: Any, trading_day: date) -> list[dict[str, Any]]:
        query = select(table).where(table.c.account_id == self.account_id, table.c.trading_day == trading_day)
        with self.database.reading() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def last_settled(self, before: date) -> date | None:
        """The newest day before this one whose close was written down."""
        newest = [
            select(func.max(table.c.trading_day)).where(
                table.c.account_id == self.account_id, table.c.trading_day < before
            )
            for table in (tables.positions, tables.accounts)
        ]
        with self.database.reading() as connection:
            days = [connection.execute(query).scalar() for query in newest]
        return max((day for day in days if day is not None), default=None)

    def best_balance(self) -> float:
        """The highest balance any day was settled with, 0 before the first."""
        accounts = tables.accounts.c
        query = select(func.max(accounts.balance)).where(accounts.account_id == self.account_id)
        with self.database.reading() as connection:
            return connection.execute(query).scalar() or 0.0

    def set_state(
        self,
        state: str,
        reason: str,
        when: Time,
        number: int,
        cause: str | None = None,
        trading_day: date | None = None,
    ) -> None:
        """Kept as a history: who looks back sees every halt and its reason. `number` grows with each; `cause` names the
        rule that set it, where no person did."""
        row = {
            "account_id": self.account_id,
            "state": state,
            "reason": reason,
            "set_at": when,
            "cause": cause,
            "trading_day": trading_day,
            "number": number,
        }
        with self.database.transaction() as connection:
            connection.execute(insert(tables.trading_states), row)

    def state(self) -> tuple[str, str, Time, int] | None:
        """(state, reason, since, number), None when nobody ever set one."""
        states = tables.trading_states.c
        query = select(states.state, states.reason, states.set_at, states.number)
        mine = query.where(states.account_id == self.account_id)
        with self.database.reading() as connection:
            row = connection.execute(mine.order_by(states.id.desc()).limit(1)).one_or_none()
        return None if row is None else (row.state, row.reason, row.set_at, row.number)

    def causes(self, trading_day: date) -> set[str]:
        """The rules that have set a state on a trading day."""
        states = tables.trading_states.c
        query = select(states.cause).where(states.account_id == self.account_id, states.trading_day == trading_day)
        with self.database.reading() as connection:
            return {cause for cause in connection.execute(query).scalars() if cause is not None}
