"""Store: where the counter and we disagreed, what changed a book without a trade, and the days that were checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from datetime import datetime as Time
from enum import StrEnum
from typing import Any

import msgspec
from msgspec.structs import asdict
from sqlalchemy import bindparam, func, insert, select, update

from arbig.store import tables
from arbig.store.database import Database, Driver, Prepared
from arbig.store.orders import Outgoing, put_book, put_outgoing


class DifferenceState(StrEnum):
    """OPEN: it is still there. MENDED: we now say what the counter says. CLOSED: it went away, or a person took it."""

    OPEN = "OPEN"
    MENDED = "MENDED"
    CLOSED = "CLOSED"


class ChangeKind(StrEnum):
    """Why a book changed without a trade. INHERITED and ACCEPTED lots belong to no trade of ours; the others only move
    between books (REBOOKED: the books did not add up), or stand for a fill whose trade has not come."""

    INHERITED = "INHERITED"
    ACCEPTED = "ACCEPTED"
    REBOOKED = "REBOOKED"
    ASSIGNED = "ASSIGNED"
    RETURNED = "RETURNED"
    SYNTHETIC = "SYNTHETIC"
    REPLACED = "REPLACED"


class BookChange(msgspec.Struct, frozen=True, kw_only=True):
    """Lots of one side that a book gained (or lost, below zero). `yd_volume`: how many of them were yesterday's, where
    the account gained them too."""

    id: int
    account_id: str
    trading_day: date
    kind: ChangeKind
    strategy_name: str
    symbol: str
    exchange: str
    direction: str
    volume: int
    price: float
    reason: str
    changed_at: Time
    yd_volume: int = 0


class ReconciliationStore:
    """The tables `differences`, `book_changes` and `reconciled_days` of one account."""

    def __init__(self, database: Database, account_id: str) -> None:
        self.database = database
        self.account_id = account_id
        with database.reading() as connection:
            self._last_change: int = connection.execute(select(func.max(tables.book_changes.c.id))).scalar() or 0

    # ---- days -----------------------------------------------------------------------------------------------------

    def begin(self, trading_day: date, when: Time) -> None:
        """The account has been looked at on this day. The first call counts."""
        known = select(tables.reconciled_days).where(*self._of(tables.reconciled_days, trading_day))
        with self.database.transaction() as connection:
            if connection.execute(known).one_or_none() is None:
                row = {"account_id": self.account_id, "trading_day": trading_day, "since": when}
                connection.execute(insert(tables.reconciled_days), row)

    def has_begun(self) -> bool:
        """Whether the account was ever looked at with this database."""
        days = tables.reconciled_days
        query = select(func.count()).select_from(days).where(days.c.account_id == self.account_id)
        with self.database.reading() as connection:
            return bool(connection.execute(query).scalar_one())

    def keep_statement(self, trading_day: date, statement: str, when: Time) -> None:
        self.begin(trading_day, when)
        days = tables.reconciled_days
        with self.database.transaction() as connection:
            connection.execute(update(days).where(*self._of(days, trading_day)).values(statement=statement))

    def statement(self, trading_day: date | None = None, before: date | None = None) -> tuple[date, str] | None:
        """Of that day, or the newest (before one)."""
        days = tables.reconciled_days.c
        query = select(days.trading_day, days.statement).where(
            days.account_id == self.account_id, days.statement.is_not(None)
        )
        if trading_day is not None:
            query = query.where(days.trading_day == trading_day)
        if before is not None:
            query = query.where(days.trading_day < before)
        with self.database.reading() as connection:
            row = connection.execute(query.order_by(days.trading_day.desc()).limit(1)).one_or_none()
        return None if row is None else (row.trading_day, row.statement)

    # ---- differences ----------------------------------------------------------------------------------------------

    def note(self, row: Mapping[str, Any]) -> int:
        """A difference; its number."""
        with self.database.transaction() as connection:
            found = connection.execute(insert(tables.differences), {**row, "account_id": self.account_id})
            (number,) = found.inserted_primary_key or (0,)
            return int(number)

    def close(self, numbers: Sequence[int], done: str, when: Time) -> None:
        rows = tables.differences
        with self.database.transaction() as connection:
            connection.execute(
                update(rows)
                .where(rows.c.id.in_(numbers))
                .values(state=DifferenceState.CLOSED, closed_at=when, done=rows.c.done + "; " + done)
            )

    def differences(self, trading_day: date | None = None, state: str | None = None) -> list[dict[str, Any]]:
        """Oldest first."""
        rows = tables.differences.c
        query = select(tables.differences).where(rows.account_id == self.account_id)
        if trading_day is not None:
            query = query.where(rows.trading_day == trading_day)
        if state is not None:
            query = query.where(rows.state == state)
        with self.database.reading() as connection:
            return [dict(row) for row in connection.execute(query.order_by(rows.id)).mappings()]

    # ---- books ----------------------------------------------------------------------------------------------------

    def next_change(self) -> int:
        self._last_change += 1
        return self._last_change

    @property
    def last_change(self) -> int:
        """The number of the newest change that has been written."""
        with self.database.reading() as connection:
            return connection.execute(select(func.max(tables.book_changes.c.id))).scalar() or 0

    def change(
        self,
        changes: Sequence[BookChange],
        books: Iterable[Mapping[str, Any]],
        outgoing: Iterable[Outgoing] = (),
    ) -> None:
        """Rows, the books after them and what is said of it, together."""
        with self.database.transaction() as connection:
            driver: Any = connection.connection.dbapi_connection
            for change in changes:
                put_change(driver, change)
            for book in books:
                put_book(driver, book)
            for message in outgoing:
                put_outgoing(driver, message)

    def changes(self, trading_day: date | None = None, after: date | None = None) -> list[BookChange]:
        """Oldest first; of one day, or of the days after one."""
        rows = tables.book_changes.c
        query = select(tables.book_changes).where(rows.account_id == self.account_id)
        if trading_day is not None:
            query = query.where(rows.trading_day == trading_day)
        if after is not None:
            query = query.where(rows.trading_day > after)
        with self.database.reading() as connection:
            found = connection.execute(query.order_by(rows.id)).mappings()
            return [BookChange(**{**row, "kind": ChangeKind(row["kind"])}) for row in found]

    def _of(self, table: Any, trading_day: date) -> tuple[Any, ...]:
        return table.c.account_id == self.account_id, table.c.trading_day == trading_day


_INSERT_CHANGE = Prepared(
    insert(tables.book_changes).values({column.name: bindparam(column.name) for column in tables.book_changes.columns})
)


def put_change(connection: Driver, change: BookChange) -> None:
    """Part of the caller's transaction."""
    _INSERT_CHANGE.execute(connection, asdict(change))
