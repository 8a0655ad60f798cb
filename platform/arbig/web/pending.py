"""Web's pending actions: begun and not answered. A Web that died in the middle of one finds it at its next start, and
the audit trail says that its end is unknown."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import NamedTuple

import structlog

from arbig.runtime.logs import redacted
from arbig.runtime.witness import Deed

SCHEMA = """
CREATE TABLE IF NOT EXISTS pending (
    number INTEGER PRIMARY KEY, who TEXT NOT NULL, place TEXT NOT NULL, action TEXT NOT NULL, what TEXT NOT NULL
);
"""
log = structlog.get_logger()


class Begun(NamedTuple):
    number: int
    who: str
    place: str
    action: str
    what: str


class Pending:
    """What the operating system keeps outlives the process: enough. A disk that takes nothing is no obstacle."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=NORMAL")
        self._database.executescript(SCHEMA)

    def add(self, who: str, place: str, action: str, what: str) -> int | None:
        try:
            words = "INSERT INTO pending (who, place, action, what) VALUES (?, ?, ?, ?)"
            return self._database.execute(words, (who, place, action, redacted(what))).lastrowid
        except sqlite3.Error as error:
            log.error("an action that is not set aside", reason=str(error), who=who, action=action, what=what)
            return None

    def remove(self, number: int) -> None:
        try:
            self._database.execute("DELETE FROM pending WHERE number = ?", (number,))
        except sqlite3.Error as error:
            log.error("an action that ended stays set aside", reason=str(error), number=number)

    def left(self) -> list[Begun]:
        """Of a Web that is no more."""
        return [Begun(*row) for row in self._database.execute("SELECT * FROM pending ORDER BY number")]

    def close(self) -> None:
        self._database.close()


class KeptDeed(Deed):
    """Set aside from its beginning until its line is written."""

    def __init__(self, pending: Pending, who: str, place: str) -> None:
        super().__init__()
        self._pending, self._who, self._place = pending, who, place
        self._number: int | None = None

    def begins(self, action: str, what: str) -> None:
        super().begins(action, what)
        self._number = self._pending.add(self._who, self._place, action, what)

    def has_ended(self) -> None:
        if self._number is not None:
            self._pending.remove(self._number)
