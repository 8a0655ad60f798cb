"""Store: a whole book moves from one place to another, SQLite to PostgreSQL or back, and is the same there: every
table's rows are counted and their contents compared before the move counts.
"""

from __future__ import annotations

import hashlib
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, RowMapping, Table, func, insert, select

from arbig.store import strategies
from arbig.store.database import TRADING, Database, Schema
from arbig.store.faults import StoreError
from arbig.store.place import Place

BOOKS: Mapping[str, Schema] = {"trading": TRADING, "strategy": strategies.BOOK}
AT_ONCE = 500


class Moved(NamedTuple):
    """A table, how many rows it has, and what they hold (SHA-256, whatever their order)."""

    table: str
    rows: int
    content: str


def move(book: str, source: Place, target: Place) -> list[Moved]:
    """All of it or nothing. Raises StoreError: the target holds rows, a service has it open, something differs."""
    schema = BOOKS[book]
    with _opened(source, schema) as old, closing(Database.open(target, schema)) as new:
        _refuse_filled(new, schema)
        with old.reading() as reading, new.unhurried(), new.transaction() as writing:
            moved = [_copied(table, reading, writing) for table in schema.metadata.sorted_tables]
        new.settle()
    return moved


@contextmanager
def _opened(place: Place, schema: Schema) -> Iterator[Database]:
    """The source as this build knows it. A file is not touched: its copy is brought up to date."""
    if not isinstance(place, Path):
        with closing(Database.open(place, schema)) as database:
            yield database
        return
    if not place.exists():
        raise StoreError(f"{place}: no such file; give the folder that holds it")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / place.name
        try:
            old = sqlite3.connect(f"{place.resolve().as_uri()}?mode=ro", uri=True)
            with closing(old), closing(sqlite3.connect(copy)) as new:
                old.backup(new)
        except sqlite3.Error as error:
            raise StoreError(f"{place} cannot be read ({error}): is it a book of ARBIG?") from error
        with closing(Database.open(copy, schema)) as database:
            yield database


def _refuse_filled(new: Database, schema: Schema) -> None:
    with new.reading() as connection:
        for table in schema.metadata.sorted_tables:
            if rows := connection.execute(select(func.count()).select_from(table)).scalar_one():
                raise StoreError(f"{new.place} is not empty ({table.name}: {rows} rows): give an empty one")


def _copied(table: Table, source: Connection, target: Connection) -> Moved:
    found = source.execute(select(table)).mappings()
    before: list[bytes] = []
    while rows := [dict(row) for row in found.fetchmany(AT_ONCE)]:
        before += map(_digest, rows)
        target.execute(insert(table), rows)
    after = _contents(target.execute(select(table)).mappings())
    if sorted(before) != after:
        raise StoreError(f"{table.name}: what was written is not what was read; nothing was moved")
    return Moved(table.name, len(after), hashlib.sha256(b"".join(after)).hexdigest())


def _contents(rows: Iterable[RowMapping]) -> list[bytes]:
    return sorted(map(_digest, rows))


def _digest(row: Mapping[str, Any] | RowMapping) -> bytes:
    """Of a row's values, as Python has them in both."""
    values = [(str(name), value.isoformat() if hasattr(value, "isoformat") else value) for name, value in row.items()]
    return hashlib.sha256(msgspec.msgpack.encode(values)).digest()
