"""Store: one SQLite file in WAL mode, every commit on disk before it returns. One process writes it.

A schema that is behind is migrated, one that is ahead of this build is refused, and whatever the disk does is said
in one line (StoreError).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Insert, MetaData, Update, create_engine, event, insert, inspect, select
from sqlalchemy.dialects.sqlite import dialect as sqlite_dialect
from sqlalchemy.exc import DBAPIError

from arbig.store import tables
from arbig.store.sqlite import PRAGMAS, explained, lay_out_log
from arbig.store.sqlite import StoreError as StoreError


class Database:
    """The file, its single writing connection, and short-lived reading ones."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.engine = _engine(path)
        with self.errors():
            self._writer = self.engine.connect()
        driver: Any = self._writer.connection.dbapi_connection
        self._driver: sqlite3.Connection = driver

    @classmethod
    def open(cls, path: Path) -> Database:
        """Open, check, and bring the schema to this build's. Raises StoreError."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{path.parent} cannot be made: {error.strerror}: make its parent writable") from error
        database = cls(path)
        try:
            with database.errors():
                _check(database)
                _migrate(database)
            lay_out_log(path)
        except StoreError:
            database.close()
            raise
        return database

    @contextmanager
    def errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.IntegrityError:  # says something about the rows, not about the file
            raise
        except (DBAPIError, sqlite3.Error) as error:
            raise explained(self.path, error) from error

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """All or nothing, on disk when the block ends."""
        with self.errors(), self._writer.begin():
            yield self._writer

    @contextmanager
    def quick(self) -> Iterator[sqlite3.Connection]:
        """The same for prepared statements: straight to the driver."""
        with self.errors(), self._driver:
            yield self._driver

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A view of its own; may be used in another thread than the writer's."""
        with self.errors(), self.engine.connect() as connection:
            yield connection

    def close(self) -> None:
        self._writer.close()
        self.engine.dispose()


class Prepared:
    """A statement compiled once, for what is written with every order: finding a compiled one again, as a plain
    `execute` does, costs about as much as the disk."""

    _dialect = sqlite_dialect(paramstyle="qmark")

    def __init__(self, statement: Insert | Update) -> None:
        compiled = statement.compile(dialect=self._dialect)
        self._sql = str(compiled)
        binds = {name: bind for bind, name in compiled.bind_names.items()}
        self._encoders = [
            (bind.key, bind.type.dialect_impl(self._dialect).bind_processor(self._dialect))
            for bind in map(binds.__getitem__, compiled.positiontup or ())
        ]

    def execute(self, connection: sqlite3.Connection, row: Mapping[str, Any]) -> int:
        """How many rows it touched."""
        values = [row[key] if encode is None else encode(row[key]) for key, encode in self._encoders]
        return connection.execute(self._sql, values).rowcount


def _engine(path: Path) -> Engine:
    engine = create_engine(f"sqlite:///{path}", connect_args={"check_same_thread": False})

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        for pragma in PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    return engine


def _check(database: Database) -> None:
    with database.reading() as connection:
        found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
    if found != "ok":
        raise StoreError(f"{database.path} is damaged ({found}): move it away or restore a copy, then start again")


def _migrate(database: Database) -> None:
    found = version_of(database.engine)
    if found == tables.HEAD:
        return
    if found is None:
        _create(database)
    elif found in tables.REVISIONS:
        from arbig.store.migrations.upgrade import upgrade  # alembic costs start-up time, and is rarely needed

        with database.transaction() as connection:
            upgrade(connection)
    else:
        raise StoreError(
            f"{database.path} has schema {found}, newer than this build's {tables.HEAD}: update arbig, "
            "or start with another data folder"
        )


def version_of(engine: Engine) -> str | None:
    """The schema's revision, None for an empty file."""
    with engine.connect() as connection:
        if not inspect(connection).has_table(tables.versions.name):
            return None
        return connection.execute(select(tables.versions.c.version_num)).scalar_one_or_none()


def _create(database: Database, metadata: MetaData = tables.metadata) -> None:
    found = inspect(database.engine).get_table_names()
    if found:
        raise StoreError(f"{database.path} holds tables ({', '.join(found)}) without a schema version: move it away")
    with database.transaction() as connection:
        metadata.create_all(connection)
        tables.versions.create(connection)
        connection.execute(insert(tables.versions).values(version_num=tables.HEAD))
