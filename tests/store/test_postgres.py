"""The book on a real PostgreSQL server: today's tables by the same migrations, one writer, durable, never hanging; what
the server does is said in one line, and the password in none.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import postgres
import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from proxy import Proxy
from sqlalchemy import select

from arbig.domain.messages import SHANGHAI
from arbig.runtime.settings import SettingsError, load_settings
from arbig.store import tables
from arbig.store.database import Database
from arbig.store.faults import Away, InDoubt, StoreError
from arbig.store.migrations.upgrade import upgrade
from arbig.store.orders import OrderStore, Received
from arbig.store.place import PostgresAddress, parsed
from arbig.store.postgres import PostgresDatabase

ROOT = Path(__file__).parents[2]
TEN = datetime(2025, 10, 15, 10, 0, tzinfo=SHANGHAI)


@pytest.fixture
def server() -> Iterator[postgres.Server]:
    """The one that a test may stop: it runs again afterwards."""
    yield postgres.shared()
    postgres.shared().start()


@pytest.fixture
def address() -> PostgresAddress:
    return postgres.address(postgres.shared().new())


def received(name: str) -> Received:
    return Received(request_id=name, kind="SEND_ORDER", answer="", received_at=TEN)


def until_back(store: OrderStore, name: str) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            store.decide(received(name), [], [])
            return
        except StoreError:
            assert time.monotonic() < deadline
            time.sleep(0.02)


@pytest.mark.parametrize("start", ["empty", "specification"])
def test_migrated_and_new_books_have_the_same_tables_and_number_on(start: str) -> None:
    address = postgres.address(postgres.shared().new(empty=True))
    if start == "specification":
        older = PostgresDatabase(address)
        older.check()
        with older.transaction() as connection:
            upgrade(connection, "0001")
            connection.exec_driver_sql(
                "INSERT INTO orders (id, order_id, request_id, symbol, traded, created_at) "
                "VALUES (7, '67890', 'uuid-1', 'au2512', 1, '2025-12-23 10:00:01.5')"
            )
            connection.exec_driver_sql(
                "INSERT INTO trades (id, trade_id, order_id, traded_at) VALUES (5, '1', '67890', '2025-12-23 10:00:02')"
            )
        older.close()
    database = Database.open(address)
    with database.reading() as connection:
        known = MigrationContext.configure(connection, opts={"include_name": lambda name, kind, _: name != "house"})
        differences = compare_metadata(known, tables.metadata)
        found = connection.execute(select(tables.orders.c.account_id, tables.orders.c.trading_day)).all()
    with database.transaction() as connection:
        row = {"request_id": "next", "account_id": "sim"}
        number = connection.execute(tables.orders.insert().values(row).returning(tables.orders.c.id)).scalar_one()
    database.close()
    assert [] == [each for each in differences if each[0] != "remove_constraint"]
    assert ([], 1) == (found, number) if start == "empty" else (found[0][0], number) == ("paper", 8)


def test_one_copy_writes_and_the_other_is_told_who(address: PostgresAddress) -> None:
    first = Database.open(address)
    with pytest.raises(StoreError, match=r"in use by another copy \(arbig trading \d+ at 127.0.0.1\): stop"):
        PostgresDatabase(address, lock_patience=0)
    other = PostgresDatabase(replace(address, schema="strategy"), lock_patience=0)
    other.close()
    first.close()
    PostgresDatabase(address, lock_patience=1).close()


def test_a_server_that_stops_refuses_at_once_with_the_reason_and_is_found_again(
    server: postgres.Server, address: PostgresAddress
) -> None:
    database = Database.open(address)
    store = OrderStore(database, "sim")
    store.decide(received("before"), [], [])
    server.stop()
    for _ in range(3):
        began = time.monotonic()
        with pytest.raises(Away, match="does not answer"):
            store.decide(received("meanwhile"), [], [])
        with pytest.raises(Away, match="does not answer"):
            store.answer("before")
        assert time.monotonic() - began < 1
    server.start()
    until_back(store, "after")
    assert [True, False, True] == [store.answer(name) is not None for name in ("before", "meanwhile", "after")]
    database.close()


def test_a_server_that_stands_still_ends_the_wait(server: postgres.Server, address: PostgresAddress) -> None:
    database = Database.open(address)
    store = OrderStore(database, "sim")
    with server.standing_still():
        began = time.monotonic()
        with pytest.raises(Away, match="no answer within 3 s"):
            store.decide(received("meanwhile"), [], [])
        with pytest.raises(Away):
            store.decide(received("meanwhile"), [], [])
        assert 2.5 < time.monotonic() - began < 6
    until_back(store, "after")
    assert store.answer("meanwhile") is None
    database.close()


def test_a_commit_whose_answer_is_lost_is_read_anew_by_the_next_life(address: PostgresAddress) -> None:
    with Proxy(address.host, address.port) as proxy:
        database = Database.open(replace(address, port=proxy.port))
        store = OrderStore(database, "sim")
        proxy.drop_replies(holding=b"COMMIT")
        with pytest.raises(InDoubt, match="with the answer to a commit"):
            store.decide(received("doubtful"), [], [])
        with pytest.raises(InDoubt):
            store.decide(received("later"), [], [])
        database.close()
    database = Database.open(address)
    assert OrderStore(database, "sim").answer("doubtful") is not None
    database.close()


def test_who_was_away_while_another_wrote_does_not_go_on(address: PostgresAddress) -> None:
    with Proxy(address.host, address.port) as proxy:
        database = Database.open(replace(address, port=proxy.port))
        store = OrderStore(database, "sim")
        proxy.down()
        with pytest.raises(Away):
            store.decide(received("a"), [], [])
        Database.open(address).close()
        proxy.heal()
        with pytest.raises(InDoubt, match="was written by another copy meanwhile"):
            until_back(store, "a")
        database.close()


def test_a_wrong_statement_is_not_taken_for_a_missing_database(address: PostgresAddress) -> None:
    database = Database.open(address)
    told = r"failed \(relation \"nothing\" does not exist"
    with pytest.raises(StoreError, match=told), database.reading() as connection:
        connection.exec_driver_sql("SELECT * FROM nothing")
    database.close()


def test_a_text_with_a_nul_stops_nobody(address: PostgresAddress) -> None:
    database = Database.open(address)
    store = OrderStore(database, "sim")
    assert store.decide(received("evil\0one"), [], [])
    assert not store.decide(received("evil\0one"), [], [])
    assert store.answer("evil\0one") is not None
    database.close()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"password": "a-wrong-password"}, "refuses user and password"),
        ({"database": "nowhere"}, "is not there: run on the server: createuser"),
    ],
)
def test_what_no_waiting_mends_is_one_line_without_the_password(
    address: PostgresAddress, change: dict[str, str], words: str
) -> None:
    wrong = replace(address, **change)
    with pytest.raises(StoreError, match=words) as refused:
        Database.open(wrong)
    assert not isinstance(refused.value, Away)
    assert "\n" not in str(refused.value) and wrong.password not in f"{refused.value} {wrong!r}"


def test_a_database_that_could_not_hold_our_texts_is_refused_in_one_line(address: PostgresAddress) -> None:
    """SQL_ASCII, what createdb makes on a server of the C locale, once ended Trading with a TypeError."""
    with psycopg.connect(postgres.shared().libpq("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE plain ENCODING 'SQL_ASCII' TEMPLATE template0")
    with pytest.raises(StoreError, match="has the encoding SQL_ASCII, expected UTF8: make it anew") as refused:
        Database.open(replace(address, database="plain"))
    assert not isinstance(refused.value, Away) and "\n" not in str(refused.value)


def test_nobody_there_may_be_asked_again(address: PostgresAddress) -> None:
    with pytest.raises(Away, match=r"does not answer .*refused"):
        Database.open(replace(address, port=9))


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("postgresql://arbig:word@127.0.0.1/arbig", "a password must not stand in this file"),
        ("mysql://arbig@127.0.0.1/arbig", "expected postgresql://; write e.g. database: postgresql://arbig@"),
        ("postgresql://127.0.0.1/arbig", "expected user, host and database"),
        ("postgresql://arbig@127.0.0.1/arbig?sslmod=on", "sslmod: unknown option"),
        ("postgresql://arbig@127.0.0.1:many/arbig", "expected a URL"),
        ("postgresql://arbig@10.1.2.3/arbig", "without TLS that proves the server"),
        ("postgresql://arbig@10.1.2.3/arbig?sslmode=require", "without TLS that proves the server"),
        ("postgresql://arbig@10.1.2.3/arbig?sslmode=verify-full", "without a password, expected one"),
    ],
)
def test_a_wrong_url_and_an_unguarded_server_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str, words: str
) -> None:
    monkeypatch.delenv("ARBIG_DATABASE_PASSWORD", raising=False)
    (tmp_path / "redis_config.yaml").write_text("host: localhost\nport: 6379\n")
    (tmp_path / "arbig.yaml").write_text(f"database: {written}\n")
    with pytest.raises(SettingsError, match=words) as refused:
        load_settings(root=ROOT, config=tmp_path, data=tmp_path / "d").database("trading")
    assert "arbig.yaml: database" in str(refused.value) and "word@" not in str(refused.value)


def test_a_password_comes_from_the_environment_or_from_a_file_of_our_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    word = tmp_path / "word"
    word.write_text("a-planted-password\n")
    word.chmod(0o644)
    (tmp_path / "redis_config.yaml").write_text("host: localhost\nport: 6379\n")
    line = "postgresql://arbig@db.example/arbig?sslmode=verify-full"
    (tmp_path / "arbig.yaml").write_text(f"database: {line}\ndatabase_password_file: {word}\n")
    monkeypatch.delenv("ARBIG_DATABASE_PASSWORD", raising=False)
    with pytest.raises(SettingsError, match=r"may be read by others \(mode 0644\); run: chmod 600"):
        load_settings(root=ROOT, config=tmp_path, data=tmp_path / "d").database("trading")
    word.chmod(0o600)
    found = load_settings(root=ROOT, config=tmp_path, data=tmp_path / "d").database("trading")
    assert replace(parsed(line), schema="trading", password="a-planted-password") == found
    assert "a-planted-password" not in f"{found!r} {found}"
    monkeypatch.setenv("ARBIG_DATABASE_PASSWORD", "another")
    found = load_settings(root=ROOT, config=tmp_path, data=tmp_path / "d").database("strategy")
    assert isinstance(found, PostgresAddress) and "another" == found.password
