"""Store: the audit trail, `data/db/audit.db`: who did what, from where, when. Rows are added, never changed.

Each row carries the hash of the one before it, so a row that was changed, taken out or put in is found, and so are
rows cut off at the end. Several processes write it, a row now and then: SQLite lets them in one after another.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from arbig.store.sqlite import explained

SCHEMA = """
CREATE TABLE IF NOT EXISTS trail (
    number INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, who TEXT NOT NULL, place TEXT NOT NULL,
    action TEXT NOT NULL, what TEXT NOT NULL, before TEXT NOT NULL, hash TEXT NOT NULL
);
CREATE TRIGGER IF NOT EXISTS trail_unchanged BEFORE UPDATE ON trail
BEGIN SELECT RAISE(ABORT, 'the audit trail is only added to'); END;
CREATE TRIGGER IF NOT EXISTS trail_undeleted BEFORE DELETE ON trail
BEGIN SELECT RAISE(ABORT, 'the audit trail is only added to'); END;
"""
BEGINNING = "0" * 64
_COLUMNS = "number, at, who, place, action, what, before, hash"


class Row(NamedTuple):
    number: int
    at: str
    who: str
    place: str
    action: str
    what: str
    before: str
    hash: str

    @property
    def due(self) -> str:
        """The hash it must have."""
        said = json.dumps([*self[:6], self.before], ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(said.encode()).hexdigest()


class Trail:
    """Raises StoreError, one line."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, at: str, who: str, place: str, action: str, what: str) -> Row:
        """On disk when it returns."""
        with self._open() as database:
            database.execute("BEGIN IMMEDIATE")
            last = database.execute("SELECT number, hash FROM trail ORDER BY number DESC LIMIT 1").fetchone()
            number, before = last or (self._highest(database), BEGINNING)
            row = Row(number + 1, at, who, place, action, what, before, "")
            row = row._replace(hash=row.due)
            database.execute(f"INSERT INTO trail ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
            database.execute("COMMIT")
        return row

    def rows(self, limit: int = 100) -> list[Row]:
        """The newest, oldest of them first."""
        with self._open() as database:
            found = database.execute(f"SELECT {_COLUMNS} FROM trail ORDER BY number DESC LIMIT ?", (limit,)).fetchall()
        return [Row(*row) for row in reversed(found)]

    def after(self, number: int, limit: int = 1000) -> list[Row]:
        """Those behind a row, oldest first."""
        words = f"SELECT {_COLUMNS} FROM trail WHERE number > ? ORDER BY number LIMIT ?"
        with self._open() as database:
            return [Row(*row) for row in database.execute(words, (number, limit))]

    def last(self, action: str) -> Row | None:
        with self._open() as database:
            words = f"SELECT {_COLUMNS} FROM trail WHERE action = ? ORDER BY number DESC LIMIT 1"
            found = database.execute(words, (action,)).fetchone()
        return None if found is None else Row(*found)

    def broken(self) -> str | None:
        """What is wrong with the first row that does not follow from the one before; None for an unbroken chain."""
        number, before = 0, BEGINNING
        with self._open() as database:
            highest = self._highest(database)
            for row in map(Row._make, database.execute(f"SELECT {_COLUMNS} FROM trail ORDER BY number")):
                if row.number != number + 1:
                    return f"row {number + 1} is missing (the next one is {row.number}, {row.at})"
                if row.before != before:
                    return f"row {row.number} ({row.at}) does not follow from row {number}: one of them was changed"
                if row.hash != row.due:
                    return f"row {row.number} ({row.at} {row.who} {row.action}) was changed"
                number, before = row.number, row.hash
        return f"rows {number + 1} to {highest} are missing at the end" if highest > number else None

    @staticmethod
    def _highest(database: sqlite3.Connection) -> int:
        """The highest number there ever was."""
        found = database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'trail'").fetchone()
        return int(found[0]) if found else 0

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            database = sqlite3.connect(self._path, isolation_level=None, timeout=5.0)
            try:
                database.execute("PRAGMA synchronous=FULL")
                database.executescript(SCHEMA)
                yield database
            finally:
                database.close()
        except (sqlite3.Error, OSError) as error:
            raise explained(self._path, error) from error
