"""Store: a schema of a PostgreSQL database, as the one writer of it. psycopg without a loop: short statements, each
with an end in time.

Who writes holds an advisory lock in its session; a connection that is lost is sought by a thread, and until it is
back whatever is asked is refused at once (Away). A commit whose answer is lost is InDoubt, for good.
"""

from __future__ import annotations

import os
import re
import select as poll
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg.types.string import StrDumper
from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Integer,
    MetaData,
    Table,
    Text,
    create_engine,
    event,
    insert,
    inspect,
    select,
    update,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError, DisconnectionError, ResourceClosedError
from sqlalchemy.pool import NullPool

from arbig.store.database import Database
from arbig.store.faults import Away, Contradiction, InDoubt, StoreError
from arbig.store.place import PostgresAddress

CONNECT_SECONDS = 3
ANSWER_SECONDS = 3.0
STATEMENT_SECONDS = 2
LOCK_PATIENCE_SECONDS = 15.0
"""A writer that died with its host is given up by the server within this time."""
SEEK_SECONDS = (0.05, 0.1, 0.2, 0.5)
LOCKS = 0x41524249  # ARBI
SAFE = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}
ENCODING = "UTF8"
MAKE = f"createdb -O arbig -E {ENCODING} -T template0 arbig"
FINAL = (
    ("password authentication failed", "refuses user and password: export the right ARBIG_DATABASE_PASSWORD=..."),
    ("no password supplied", "asks for a password: export ARBIG_DATABASE_PASSWORD=..."),
    ("no pg_hba.conf entry", "lets nobody in from here: add a line to its pg_hba.conf"),
    (
        'FATAL: (role|database) "[^"]*" does not exist',
        f"is not there: run on the server: createuser arbig; {MAKE}",
    ),
    (
        "certificate verify failed",
        "shows a certificate nobody known here vouches for: name its authority, sslrootcert=",
    ),
    ("does not support SSL", "speaks no TLS: switch ssl on at the server"),
    ("permission denied", "does not let us: run on the server: GRANT CREATE ON DATABASE"),
)
"""What no waiting mends."""

PASSING = (
    ("08", "does not answer"),
    ("57P", "does not answer"),
    ("53", "cannot take it now, free some of what it lacks"),
    ("55", "is locked by somebody else"),
    ("57014", "takes too long"),
)
"""SQLSTATE: what may be over soon."""

house = Table("house", MetaData(), Column("name", Text, primary_key=True), Column("number", Integer, nullable=False))
"""`writer`: how many have opened this schema to write; `schema`: its number, where alembic keeps none."""


class _CleanText(StrDumper):
    """PostgreSQL keeps no NUL in a text, and somebody's message may hold one."""

    def dump(self, obj: str) -> Any:
        return super().dump(obj.replace("\0", "\N{REPLACEMENT CHARACTER}"))


class Session(psycopg.Connection[Any]):
    """A connection that waits no longer than ANSWER_SECONDS for anything: then it is closed."""

    patience: float | None = ANSWER_SECONDS

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        try:
            return super().wait(gen, interval, timeout=timeout or self.patience)
        except psycopg.errors._WaitTimeout:
            self.pgconn.finish()
            raise psycopg.OperationalError(f"no answer within {self.patience:.0f} s") from None

    @property
    def is_gone(self) -> bool:
        """Whether the other end has hung up, as far as one sees without asking."""
        if self.closed:
            return True
        eyes = poll.poll()
        eyes.register(self.pgconn.socket, poll.POLLIN)
        if not eyes.poll(0):
            return False
        try:
            self.pgconn.consume_input()
        except psycopg.Error:
            return True
        return self.broken


def session(address: PostgresAddress, autocommit: bool = False) -> Session:
    """Raises Away, or StoreError for what no waiting mends."""
    words = {
        "search_path": address.schema,
        "synchronous_commit": "on",
        "statement_timeout": f"{STATEMENT_SECONDS}s",
        "lock_timeout": f"{STATEMENT_SECONDS}s",
        "idle_in_transaction_session_timeout": "10s",
        "tcp_keepalives_idle": "5",
        "tcp_keepalives_interval": "2",
        "tcp_keepalives_count": "3",
    }
    line: dict[str, Any] = {
        "host": address.host,
        "port": address.port,
        "dbname": address.database,
        "user": address.user,
        "connect_timeout": CONNECT_SECONDS,
        "application_name": f"arbig {address.schema} {os.getpid()}",
        "options": " ".join(f"-c {name}={value}" for name, value in words.items()),
        **({"password": address.password} if address.password else {}),
        **dict(address.options),
    }
    try:
        opened = Session.connect(autocommit=autocommit, **line)
    except psycopg.Error as error:
        raise told(address, error) from None
    if (found := opened.info.parameter_status("server_encoding")) != ENCODING:
        opened.close()
        raise StoreError(f"{address} has the encoding {found}, expected {ENCODING}: make it anew: {MAKE}")
    opened.adapters.register_dumper(str, _CleanText)
    return opened


def reader(address: PostgresAddress) -> Engine:
    """For who only looks: a session that may not write, and holds no lock."""

    def looking() -> Session:
        opened = session(address, autocommit=True)
        opened.execute("SET default_transaction_read_only = on")
        return opened

    return create_engine("postgresql+psycopg://", creator=looking, isolation_level="AUTOCOMMIT", poolclass=NullPool)


def told(address: PostgresAddress, error: BaseException) -> StoreError:
    """One line for what the server, or the way to it, says in several."""
    cause = getattr(error, "orig", None) or error
    found = " ".join(str(cause).split()).partition(" LINE 1:")[0]
    mend = next((mend for words, mend in FINAL if re.search(words, found)), None)
    failed = StoreError(f"{address} {mend or 'failed'} ({found})")
    if mend is not None:
        return failed
    if isinstance(cause, psycopg.OperationalError):
        return next((Away(f"{address} {words} ({found})") for code, words in PASSING if _has(cause, code)), failed)
    return failed


def _has(error: psycopg.Error, code: str) -> bool:
    """No code at all: the server has not spoken."""
    return (error.sqlstate or "08").startswith(code)


def _alive(connection: Any, _record: object, _proxy: object) -> None:
    """A connection that was closed while nobody read is made anew."""
    if connection.is_gone:
        raise DisconnectionError


class PostgresDatabase(Database):
    """The schema, held by us alone as long as our session lives."""

    upsert = staticmethod(postgresql.insert)
    own_table = house.name

    def __init__(self, address: PostgresAddress, lock_patience: float = LOCK_PATIENCE_SECONDS) -> None:
        self.place = self._address = address
        self.engine = create_engine(
            "postgresql+psycopg://",
            creator=lambda: session(address, autocommit=True),
            isolation_level="AUTOCOMMIT",
            pool_size=2,
            pool_reset_on_return=None,
        )
        event.listen(self.engine, "checkout", _alive)
        self._fresh: Session | None = None
        self._writing = create_engine("postgresql+psycopg://", creator=self._take, poolclass=NullPool)
        self._is_closing = threading.Event()
        self._seeker: threading.Thread | None = None
        self._why = ""
        self._is_void: str | None = None
        self._writer_number = 0
        self._adopt(self._opened(lock_patience))

    # ---- the writer's session -------------------------------------------------------------------------------------

    def _opened(self, lock_patience: float = 0.0) -> Session:
        """A session that holds the lock."""
        fresh = session(self._address)
        try:
            self._hold(fresh, lock_patience)
        except psycopg.Error as error:
            fresh.close()
            raise told(self._address, error) from None
        except BaseException:
            fresh.close()
            raise
        return fresh

    def _hold(self, fresh: Session, patience: float) -> None:
        key = (LOCKS, zlib.crc32(self._address.schema.encode()) - (1 << 31))
        pauses = int(patience / 0.25)
        while not fresh.execute("SELECT pg_try_advisory_lock(%s, %s)", key).fetchone()[0]:  # type: ignore[index]
            if pauses <= 0:
                who = self._holder(fresh, key[1])
                raise StoreError(f"{self._address} is in use by another copy ({who}): stop the other copy")
            pauses -= 1
            fresh.commit()
            self._is_closing.wait(0.25)
        fresh.commit()

    @staticmethod
    def _holder(fresh: Session, key: int) -> str:
        row = fresh.execute(
            "SELECT coalesce(a.application_name, ''), coalesce(host(a.client_addr), 'this machine') FROM pg_locks l "
            "JOIN pg_stat_activity a USING (pid) WHERE l.locktype = 'advisory' AND l.classid = %s::int8::oid "
            "AND l.objid::int8 = %s::int8 & 4294967295",
            (LOCKS, key),
        ).fetchone()
        return "its session is ending" if row is None else f"{row[0]} at {row[1]}"

    def _take(self) -> Session:
        taken, self._fresh = self._fresh, None
        if taken is None:
            raise Away(f"{self._address} does not answer ({self._why})")
        return taken

    def _adopt(self, fresh: Session) -> None:
        self._fresh = fresh
        self._writer = self._writing.connect()
        driver: Any = self._writer.connection.dbapi_connection
        self._driver: Session = driver

    def _ready(self) -> Session:
        """The writer's session. Raises Away at once when there is none now, InDoubt when there will be none."""
        if self._is_void is not None:
            raise InDoubt(self._is_void)
        if self._seeker is not None:
            if self._seeker.is_alive():
                raise Away(f"{self._address} does not answer ({self._why})")
            self._seeker = None
            with self.errors():
                self._adopt(self._take())
        if self._driver.is_gone:
            self._lose("the connection was closed")
            raise Away(f"{self._address} does not answer ({self._why})")
        return self._driver

    def _lose(self, why: str) -> None:
        if self._seeker is not None or self._is_closing.is_set():
            return
        self._why = why
        self._give_up()
        self.engine.dispose()
        self._seeker = threading.Thread(target=self._seek, name="postgresql", daemon=True)
        self._seeker.start()

    def _seek(self) -> None:
        """Until there is a session with the lock again, and nobody has written meanwhile."""
        attempt = 0
        while not self._is_closing.wait(SEEK_SECONDS[min(attempt, len(SEEK_SECONDS) - 1)]):
            attempt += 1
            try:
                fresh = self._opened()
                found = fresh.execute("SELECT number FROM house WHERE name = 'writer'").fetchone()
                fresh.commit()
            except StoreError as error:
                self._why = str(error).removeprefix(f"{self._address} ")
                continue
            except psycopg.Error as error:
                self._why = " ".join(str(error).split())
                continue
            if found is None or found[0] != self._writer_number:
                fresh.close()
                self._is_void = f"{self._address} was written by another copy meanwhile"
                return
            self._fresh = fresh
            return

    # ---- transactions ---------------------------------------------------------------------------------------------

    @contextmanager
    def errors(self) -> Iterator[None]:
        try:
            yield
        except (DBAPIError, psycopg.Error) as error:
            found = told(self._address, error)
            if self._seeker is None and hasattr(self, "_driver") and self._driver.closed:
                self._lose(" ".join(str(getattr(error, "orig", None) or error).split()))
            raise found from error

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        self._ready()
        with self.errors():
            begun = self._writer.begin()
            try:
                yield self._writer
            except BaseException:
                with suppress(DBAPIError, psycopg.Error):
                    begun.rollback()
                raise
            with self._undoubted():
                begun.commit()

    @contextmanager
    def quick(self) -> Iterator[Session]:
        driver = self._ready()
        with self.errors():
            try:
                yield driver
            except psycopg.IntegrityError as error:
                driver.rollback()
                raise Contradiction(" ".join(str(error).split())) from error
            except BaseException:
                with suppress(psycopg.Error):
                    driver.rollback()
                raise
            with self._undoubted():
                driver.commit()

    @contextmanager
    def _undoubted(self) -> Iterator[None]:
        """A commit that was asked for and not answered may have been written or not."""
        try:
            yield
        except (DBAPIError, psycopg.Error) as error:
            if self._driver.closed:
                self._is_void = f"{self._address} went away with the answer to a commit"
                raise InDoubt(self._is_void) from error
            raise

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        if self._seeker is not None and self._seeker.is_alive():
            raise Away(f"{self._address} does not answer ({self._why})")
        with super().reading() as connection:
            yield connection

    # ---- schema ---------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Durable, and there: the schema is made at the first look. From now on we are its writer."""
        with self.transaction() as connection:
            for name, wanted in SAFE.items():
                found = connection.exec_driver_sql(f"SHOW {name}").scalar_one()
                if found != wanted:
                    raise StoreError(
                        f"{self._address} has {name} {found}, expected {wanted}: switch it on at the server"
                    )
            if connection.exec_driver_sql("SELECT to_regnamespace(%s)", (self._address.schema,)).scalar() is None:
                connection.exec_driver_sql(f'CREATE SCHEMA "{self._address.schema}"')
            house.create(connection, checkfirst=True)
        with self.transaction() as connection:
            self._writer_number = self._number("writer", connection) + 1
            self._set("writer", self._writer_number, connection)

    def settle(self) -> None:
        """Numbers go on behind the highest there is: rows may have been brought with theirs."""
        with self.transaction() as connection:
            for table in inspect(connection).get_table_names():
                words = f"pg_get_serial_sequence('\"{self._address.schema}\".\"{table}\"', 'id')"
                columns = {column["name"] for column in inspect(connection).get_columns(table)}
                if "id" in columns and connection.exec_driver_sql(f"SELECT {words}").scalar() is not None:
                    connection.exec_driver_sql(
                        f'SELECT setval({words}, (SELECT coalesce(max(id), 0) + 1 FROM "{table}"), false)'
                    )

    @contextmanager
    def unhurried(self) -> Iterator[None]:
        driver = self._ready()
        driver.patience = None
        driver.execute("SET statement_timeout = 0")
        driver.commit()
        try:
            yield
        finally:
            driver.patience = ANSWER_SECONDS
            if not driver.closed:
                driver.execute(f"SET statement_timeout = '{STATEMENT_SECONDS}s'")
                driver.commit()

    def number(self) -> int:
        with self.reading() as connection:
            return self._number("schema", connection)

    def set_number(self, connection: Connection, number: int) -> None:
        self._set("schema", number, connection)

    @staticmethod
    def _number(name: str, connection: Connection) -> int:
        return connection.execute(select(house.c.number).where(house.c.name == name)).scalar() or 0

    @staticmethod
    def _set(name: str, number: int, connection: Connection) -> None:
        if not connection.execute(update(house).where(house.c.name == name).values(number=number)).rowcount:
            connection.execute(insert(house).values(name=name, number=number))

    def close(self) -> None:
        self._is_closing.set()
        if self._seeker is not None:
            self._seeker.join()
        if self._fresh is not None:
            self._fresh.close()
        self._give_up()
        self._writing.dispose()
        self.engine.dispose()

    def _give_up(self) -> None:
        """The writer's session, whatever state it is in."""
        with suppress(psycopg.Error, DBAPIError, ResourceClosedError):
            self._driver.close()
            self._writer.invalidate()
            self._writer.close()
