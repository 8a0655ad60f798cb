"""Store: what was due, ran and ended, `data/db/scheduler.db`. A due is one row for ever: whoever finds it there does
not run it again. The file stays beside the runs' folders it speaks of: SQLite wherever the account's books are."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import asdict

from arbig.domain.messages import SHANGHAI
from arbig.store.sqlite import SqliteFile

SCHEMA = """
CREATE TABLE runs (
    run_id TEXT PRIMARY KEY, name TEXT NOT NULL, trading_day TEXT NOT NULL, due TEXT NOT NULL, state TEXT NOT NULL,
    attempt INTEGER NOT NULL, started TEXT, ended TEXT, seconds REAL, error TEXT, cell INTEGER, folder TEXT,
    notebook TEXT, strategies BLOB NOT NULL, orders BLOB NOT NULL, intents BLOB NOT NULL, on_end TEXT NOT NULL,
    asked_by TEXT, pid INTEGER, settled INTEGER NOT NULL, UNIQUE (name, due)
);
CREATE INDEX runs_by_day ON runs (trading_day, due);
CREATE TABLE looked (one INTEGER PRIMARY KEY CHECK (one = 1), at TEXT NOT NULL);
"""
LISTS = ("strategies", "orders", "intents")
MOMENTS = ("due", "started", "ended")


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """`due`, `started`, `ended` are session time, `seconds` the wall's. `settled`: what its end asks for is done."""

    run_id: str
    name: str
    trading_day: date
    due: datetime
    state: str
    attempt: int = 0
    started: datetime | None = None
    ended: datetime | None = None
    seconds: float | None = None
    error: str | None = None
    cell: int | None = None
    folder: str | None = None
    notebook: str | None = None
    strategies: tuple[str, ...] = ()
    orders: tuple[str, ...] = ()
    intents: tuple[dict[str, Any], ...] = ()
    on_end: str = "keep"
    asked_by: str | None = None
    pid: int | None = None
    settled: bool = False


class RunStore:
    """Raises StoreError."""

    def __init__(self, path: Path) -> None:
        self._file = SqliteFile(path, SCHEMA, 1, "Scheduler")
        self._file.connection.row_factory = sqlite3.Row

    def add(self, run: Run) -> bool:
        """On disk when it returns; False when this due has its row already."""
        row = _row_of(run)
        marks = ", ".join(f":{name}" for name in row)
        with self._file.transaction():
            done = self._file.connection.execute(
                f"INSERT INTO runs ({', '.join(row)}) VALUES ({marks}) ON CONFLICT (name, due) DO NOTHING", row
            )
        return done.rowcount == 1

    def save(self, run: Run) -> None:
        row = _row_of(run)
        words = ", ".join(f"{name} = :{name}" for name in row if name != "run_id")
        with self._file.transaction():
            self._file.connection.execute(f"UPDATE runs SET {words} WHERE run_id = :run_id", row)

    def find(self, run_id: str) -> Run | None:
        return next(iter(self._select("WHERE run_id = ?", (run_id,))), None)

    def last(self, name: str) -> Run | None:
        return next(iter(self._select("WHERE name = ? ORDER BY due DESC LIMIT 1", (name,))), None)

    def open(self) -> list[Run]:
        """Those that have not ended, or whose end is not settled."""
        return self._select("WHERE state IN ('DUE', 'RUNNING') OR settled = 0 ORDER BY due", ())

    def recent(self, name: str | None, trading_day: date | None, limit: int) -> list[Run]:
        """The newest first."""
        conditions = [("name", name), ("trading_day", None if trading_day is None else trading_day.isoformat())]
        wanted = [(column, value) for column, value in conditions if value is not None]
        words = " AND ".join(f"{column} = ?" for column, _ in wanted)
        where = f"WHERE {words} " if words else ""
        return self._select(f"{where}ORDER BY due DESC LIMIT ?", (*(value for _, value in wanted), limit))

    def looked(self) -> datetime | None:
        """Up to which session time everything due has its row."""
        row = self._file.connection.execute("SELECT at FROM looked").fetchone()
        return None if row is None else _moment(row["at"])

    def look(self, at: datetime) -> None:
        with self._file.transaction():
            self._file.connection.execute("INSERT OR REPLACE INTO looked VALUES (1, ?)", (_text(at),))

    def close(self) -> None:
        self._file.close()

    def _select(self, words: str, values: Sequence[Any]) -> list[Run]:
        return [_run_of(row) for row in self._file.connection.execute(f"SELECT * FROM runs {words}", values)]


def _row_of(run: Run) -> dict[str, Any]:
    row = asdict(run)
    return {
        **row,
        "trading_day": run.trading_day.isoformat(),
        "settled": int(run.settled),
        **{name: None if row[name] is None else _text(row[name]) for name in MOMENTS},
        **{name: msgspec.json.encode(row[name]) for name in LISTS},
    }


def _run_of(row: sqlite3.Row) -> Run:
    values = dict(row)
    return Run(
        **{
            **values,
            "trading_day": date.fromisoformat(values["trading_day"]),
            "settled": bool(values["settled"]),
            **{name: None if values[name] is None else _moment(values[name]) for name in MOMENTS},
            **{name: tuple(msgspec.json.decode(values[name])) for name in LISTS},
        }
    )


def _text(moment: datetime) -> str:
    return moment.astimezone(SHANGHAI).replace(tzinfo=None).isoformat(timespec="milliseconds")


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=SHANGHAI)
