"""Store: a book's tables, in one SQLite file or in one schema of a PostgreSQL database. Every commit is on disk before
it returns, and one process writes.

A schema that is behind is migrated, one that is ahead of this build is refused, and whatever the disk or the server
does is said in one line (StoreError).
"""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import (
    Connection,
    Dialect,
    Engine,
    Insert,
    MetaData,
    Update,
    create_engine,
    event,
    insert,
    inspect,
    select,
)
from sqlalchemy.dialects import sqlite as sqlite_words
from sqlalchemy.dialects.postgresql import psycopg as psycopg_words
from sqlalchemy.exc import DBAPIError

from arbig.store import tables
from arbig.store.faults import Contradiction
from arbig.store.faults import StoreError as StoreError
from arbig.store.place import Place, PostgresAddress
from arbig.store.sqlite import PRAGMAS, explained, lay_out_log


class Driver(Protocol):
    """What a prepared statement needs of a driver's connection."""

    def execute(self, query: Any, params: Any = ..., /) -> Any: ...


class Database(ABC):
    """The tables' place, its single writing connection, and short-lived reading ones."""

    place: Place
    engine: Engine
    upsert: Any
    """The dialect's `insert`, which knows `on_conflict_do_update`."""
    own_table = ""
    """What the place itself needs, beside the book."""

    @staticmethod
    def open(place: Place, schema: Schema | None = None) -> Database:
        """Open, check, and bring the schema to this build's. Raises StoreError, and Away when it may be tried again."""
        database = connected(place)
        try:
            with database.errors():
                database.check()
                with database.unhurried():
                    (schema or TRADING).bring(database)
                    database.settle()
        except BaseException:
            database.close()
            raise
        return database

    @abstractmethod
    def errors(self) -> AbstractContextManager[None]: ...

    @abstractmethod
    def transaction(self) -> AbstractContextManager[Connection]:
        """All or nothing, on disk when the block ends."""

    @abstractmethod
    def quick(self) -> AbstractContextManager[Driver]:
        """The same for prepared statements: straight to the driver. Raises Contradiction."""

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A view of its own; may be used in another thread than the writer's."""
        with self.errors(), self.engine.connect() as connection:
            yield connection

    @abstractmethod
    def check(self) -> None:
        """Whether it can be trusted with a book. Raises StoreError."""

    @abstractmethod
    def settle(self) -> None:
        """What is left to do when the tables stand."""

    @contextmanager
    def unhurried(self) -> Iterator[None]:
        """Statements may take their time meanwhile."""
        yield

    @abstractmethod
    def number(self) -> int:
        """The number of the schema where alembic does not keep one; 0 for a new place."""

    @abstractmethod
    def set_number(self, connection: Connection, number: int) -> None: ...

    @abstractmethod
    def close(self) -> None: ...


def connected(place: Place) -> Database:
    if isinstance(place, PostgresAddress):
        from arbig.store.postgres import PostgresDatabase  # the driver is loaded by who needs it

        return PostgresDatabase(place)
    return SqliteDatabase(place)


class SqliteDatabase(Database):
    """One file in WAL mode."""

    upsert = staticmethod(sqlite_words.insert)

    def __init__(self, path: Path) -> None:
        self.place = self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{path.parent} cannot be made: {error.strerror}: make its parent writable") from error
        self.engine = _engine(path)
        with self.errors():
            self._writer = self.engine.connect()
        driver: Any = self._writer.connection.dbapi_connection
        self._driver: sqlite3.Connection = driver

    @contextmanager
    def errors(self) -> Iterator[None]:
        try:
            yield
        except (DBAPIError, sqlite3.Error) as error:
            raise explained(self.path, error) from error

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        with self.errors(), self._writer.begin():
            yield self._writer

    @contextmanager
    def quick(self) -> Iterator[sqlite3.Connection]:
        try:
            with self.errors(), self._driver:
                yield self._driver
        except StoreError as error:
            if isinstance(error.__cause__, sqlite3.IntegrityError):  # says something about the rows, not about the file
                raise Contradiction(str(error.__cause__)) from error
            raise

    def check(self) -> None:
        with self.reading() as connection:
            found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
        if found != "ok":
            raise StoreError(f"{self.path} is damaged ({found}): move it away or restore a copy, then start again")

    def settle(self) -> None:
        lay_out_log(self.path)

    def number(self) -> int:
        with self.reading() as connection:
            return int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())

    def set_number(self, connection: Connection, number: int) -> None:
        connection.exec_driver_sql(f"PRAGMA user_version={number}")

    def close(self) -> None:
        self._writer.close()
        self.engine.dispose()


class Prepared:
    """A statement compiled once for each driver, for what is written with every order: finding a compiled one again, as
    a plain `execute` does, costs about as much as the disk."""

    def __init__(self, statement: Insert | Update) -> None:
        self._statement = statement.inline() if isinstance(statement, Insert) else statement
        self._forms: dict[type, _Form] = {sqlite3.Connection: _Form(self._statement, _SQLITE)}

    def execute(self, connection: Driver, row: Mapping[str, Any]) -> int:
        """How many rows it touched."""
        form = self._forms.get(type(connection))
        if form is None:
            form = self._forms[type(connection)] = _Form(self._statement, _POSTGRESQL)
        values = [row[key] if encode is None else encode(row[key]) for key, encode in form.encoders]
        return int(connection.execute(form.sql, values).rowcount)


_SQLITE = sqlite_words.dialect(paramstyle="qmark")
_POSTGRESQL: Dialect = psycopg_words.dialect(paramstyle="format")  # type: ignore[no-untyped-call]


class _Form:
    """A statement in a dialect: its words, and how each value becomes the driver's."""

    def __init__(self, statement: Insert | Update, dialect: Dialect) -> None:
        compiled = statement.compile(dialect=dialect)
        self.sql = str(compiled)
        binds = {name: bind for bind, name in compiled.bind_names.items()}
        self.encoders = [
            (bind.key, bind.type.dialect_impl(dialect).bind_processor(dialect))
            for bind in map(binds.__getitem__, compiled.positiontup or ())
        ]


def _engine(path: Path) -> Engine:
    engine = create_engine(f"sqlite:///{path}", connect_args={"check_same_thread": False})

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        for pragma in PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    return engine


class Schema(Protocol):
    """The tables of a book, and how an older book becomes this build's."""

    metadata: MetaData

    def bring(self, database: Database) -> None:
        """Raises StoreError for a newer build's."""


class _Trading:
    """Kept by alembic: `tables.py` and `migrations/`."""

    metadata = tables.metadata

    def bring(self, database: Database) -> None:
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
                f"{database.place} has schema {found}, newer than this build's {tables.HEAD}: update arbig, "
                "or start with another data folder"
            )


TRADING = _Trading()


class Numbered:
    """Tables that only grow in number: what is missing is made."""

    def __init__(self, metadata: MetaData, number: int) -> None:
        self.metadata = metadata
        self._number = number

    def bring(self, database: Database) -> None:
        found = database.number()
        if found > self._number:
            raise StoreError(
                f"{database.place} has schema {found}, newer than this build's {self._number}: update arbig"
            )
        with database.transaction() as connection:
            self.metadata.create_all(connection)
            database.set_number(connection, self._number)


def version_of(engine: Engine) -> str | None:
    """The schema's revision, None for an empty place."""
    with engine.connect() as connection:
        if not inspect(connection).has_table(tables.versions.name):
            return None
        return connection.execute(select(tables.versions.c.version_num)).scalar_one_or_none()


def _create(database: Database, metadata: MetaData = tables.metadata) -> None:
    found = sorted({*inspect(database.engine).get_table_names()} - {database.own_table})
    if found:
        raise StoreError(f"{database.place} holds tables ({', '.join(found)}) without a schema version: move it away")
    with database.transaction() as connection:
        metadata.create_all(connection)
        tables.versions.create(connection)
        connection.execute(insert(tables.versions).values(version_num=tables.HEAD))
