"""Store: what people are told, `data/db/alerts.db`: how far the streams are read, which alerts there are, what each
target has yet to hear. A step is one commit with the position it was read at, so a restart neither repeats nor loses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from arbig.store.sqlite import SqliteFile

SCHEMA = """
CREATE TABLE position (source TEXT PRIMARY KEY, epoch TEXT NOT NULL, after TEXT NOT NULL);
CREATE TABLE heard (event_id TEXT PRIMARY KEY, at TEXT NOT NULL);
CREATE TABLE alert (
    number INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, subject TEXT NOT NULL, text TEXT NOT NULL,
    since TEXT NOT NULL, until TEXT NOT NULL, count INTEGER NOT NULL, told INTEGER NOT NULL, open INTEGER NOT NULL
);
CREATE UNIQUE INDEX alert_open ON alert (kind, subject) WHERE open = 1;
CREATE TABLE delivery (
    number INTEGER PRIMARY KEY AUTOINCREMENT, alert INTEGER NOT NULL REFERENCES alert, target TEXT NOT NULL,
    kind TEXT NOT NULL, text TEXT NOT NULL, count INTEGER NOT NULL, at TEXT NOT NULL, repeat INTEGER NOT NULL,
    state TEXT NOT NULL, asked_at TEXT NOT NULL, ended_at TEXT, error TEXT NOT NULL DEFAULT ''
);
CREATE INDEX delivery_waiting ON delivery (target, number) WHERE state = 'DUE';
"""
VERSION = 1
DUE, SENT, LOST = "DUE", "SENT", "LOST"
KEPT = timedelta(days=7)


class Position(NamedTuple):
    """How far a source is read. `epoch`: which Redis that was."""

    epoch: str
    after: str


class Occurrence(NamedTuple):
    """Something people are told: `subject` is the same when the same thing happens again."""

    kind: str
    subject: str
    text: str
    at: datetime
    event_id: str


@dataclass(frozen=True)
class Delivery:
    """What one target has yet to hear, or has heard, of one alert."""

    number: int
    target: str
    kind: str
    text: str
    count: int
    at: datetime
    repeat: bool
    state: str
    asked_at: datetime
    ended_at: datetime | None
    error: str


class AlertStore:
    """Raises StoreError, one line."""

    def __init__(self, path: Path) -> None:
        self._file = SqliteFile(path, SCHEMA, VERSION, "alerts process")

    def close(self) -> None:
        self._file.close()

    def position(self, source: str) -> Position | None:
        words = "SELECT epoch, after FROM position WHERE source = ?"
        row = self._file.connection.execute(words, (source,)).fetchone()
        return None if row is None else Position(*row)

    def hear(
        self,
        source: str,
        position: Position,
        occurrences: Sequence[Occurrence],
        targets: Mapping[str, Sequence[str]],
        now: datetime,
        window: timedelta,
    ) -> int:
        """What was read up to a position; `targets` are those of each kind. How many deliveries became due."""
        with self._file.transaction():
            due = sum(self._occurred(one, targets.get(one.kind, ()), now, window) for one in occurrences)
            words = "INSERT OR REPLACE INTO position (source, epoch, after) VALUES (?, ?, ?)"
            self._file.connection.execute(words, (source, *position))
        return due

    def _occurred(self, one: Occurrence, targets: Sequence[str], now: datetime, window: timedelta) -> int:
        database = self._file.connection
        words = "INSERT OR IGNORE INTO heard (event_id, at) VALUES (?, ?)"
        if not database.execute(words, (one.event_id, now.isoformat())).rowcount or not targets:
            return 0
        words = "UPDATE alert SET count = count + 1, text = ? WHERE kind = ? AND subject = ? AND open = 1"
        if database.execute(words, (one.text, one.kind, one.subject)).rowcount:
            return 0  # told with the end of the window
        columns = "kind, subject, text, since, until, count, told, open"
        words = f"INSERT INTO alert ({columns}) VALUES (?, ?, ?, ?, ?, 1, 1, 1)"
        until = (now + window).isoformat()
        alert = database.execute(words, (one.kind, one.subject, one.text, one.at.isoformat(), until)).lastrowid
        for target in targets:
            self._ask(alert, target, one.kind, one.text, 1, one.at, now, repeat=False)
        return len(targets)

    def _ask(
        self,
        alert: int | None,
        target: str,
        kind: str,
        text: str,
        count: int,
        at: datetime,
        now: datetime,
        repeat: bool,
    ) -> None:
        """One that still waits for the target takes the further occurrences along."""
        database = self._file.connection
        words = "UPDATE delivery SET count = count + ?, text = ? WHERE alert = ? AND target = ? AND state = 'DUE'"
        if repeat and database.execute(words, (count, text, alert, target)).rowcount:
            return
        words = (
            "INSERT INTO delivery (alert, target, kind, text, count, at, repeat, state, asked_at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, 'DUE', ?)"
        )
        database.execute(words, (alert, target, kind, text, count, at.isoformat(), repeat, now.isoformat()))

    def close_windows(self, targets: Mapping[str, Sequence[str]], now: datetime, window: timedelta) -> int:
        """Whose window is over: what has happened in it beyond the first is told, with its number; quiet ones end."""
        database = self._file.connection
        words = "SELECT number, kind, text, until, count - told FROM alert WHERE open = 1 AND until <= ?"
        over = database.execute(words, (now.isoformat(),)).fetchall()
        if not over:
            return 0
        with self._file.transaction():
            for number, kind, text, until, count in over:
                if not count:
                    database.execute("UPDATE alert SET open = 0 WHERE number = ?", (number,))
                    continue
                since = datetime.fromisoformat(until) - window
                for target in targets.get(kind, ()):
                    self._ask(number, target, kind, text, count, since, now, repeat=True)
                words = "UPDATE alert SET told = count, until = ? WHERE number = ?"
                database.execute(words, ((now + window).isoformat(), number))
            self._forget((now - KEPT).isoformat())
        return sum(bool(count) for *_, count in over)

    def _forget(self, before: str) -> None:
        database = self._file.connection
        database.execute("DELETE FROM heard WHERE at < ?", (before,))
        database.execute("DELETE FROM delivery WHERE state != 'DUE' AND asked_at < ?", (before,))
        words = "DELETE FROM alert WHERE open = 0 AND until < ? AND number NOT IN (SELECT alert FROM delivery)"
        database.execute(words, (before,))

    def waiting(self, target: str) -> list[Delivery]:
        return self._deliveries("WHERE target = ? AND state = 'DUE' ORDER BY number", target)

    def recent(self, limit: int) -> list[Delivery]:
        """The newest first."""
        return self._deliveries("ORDER BY number DESC LIMIT ?", limit)

    def _deliveries(self, which: str, *words: object) -> list[Delivery]:
        columns = "number, target, kind, text, count, at, repeat, state, asked_at, ended_at, error"
        rows = self._file.connection.execute(f"SELECT {columns} FROM delivery {which}", words).fetchall()
        return [_delivery(*row) for row in rows]

    def ended(self, told: Sequence[Delivery], state: str, now: datetime, error: str = "") -> None:
        """SENT, or LOST when nobody could be reached for too long. What happened again meanwhile is still due."""
        with self._file.transaction():
            for one in told:
                words = "UPDATE delivery SET state = ?, ended_at = ?, error = ? WHERE number = ? AND count = ?"
                row = (state, now.isoformat(), error, one.number, one.count)
                if not self._file.connection.execute(words, row).rowcount:
                    words = "UPDATE delivery SET count = count - ?, repeat = 1, at = ? WHERE number = ?"
                    self._file.connection.execute(words, (one.count, now.isoformat(), one.number))


def _delivery(
    number: int,
    target: str,
    kind: str,
    text: str,
    count: int,
    at: str,
    repeat: int,
    state: str,
    asked_at: str,
    ended_at: str | None,
    error: str,
) -> Delivery:
    asked = datetime.fromisoformat(asked_at)
    ended = None if ended_at is None else datetime.fromisoformat(ended_at)
    return Delivery(
        number, target, kind, text, count, datetime.fromisoformat(at), bool(repeat), state, asked, ended, error
    )
