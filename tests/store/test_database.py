"""The trading database opens current, is brought up to date, and says in one line why it cannot be used."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, select

from arbig.store import tables
from arbig.store.database import Database, StoreError, version_of
from arbig.store.migrations.upgrade import config_for, upgrade
from arbig.store.sqlite import LOG_BYTES


def specification_database(path: Path) -> None:
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        upgrade(connection, "0001")
        connection.exec_driver_sql(
            "INSERT INTO orders VALUES (1, '67890', 'uuid-1', 'au2512', 'SHFE', 'LONG', 'OPEN', 650.5, 2, 1, "
            "'PARTTRADED', 'MaRsiStrategy', '2025-12-23 10:00:01.500000', '2025-12-23 10:00:02.000000')"
        )
        connection.exec_driver_sql(
            "INSERT INTO trades VALUES (1, '12345', '67890', 'au2512', 'SHFE', 'LONG', 'OPEN', 650.5, 1, "
            "'MaRsiStrategy', '2025-12-23 10:00:02.000000')"
        )
    engine.dispose()


def test_a_new_database_is_current(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "db" / "trading.db")
    assert version_of(database.engine) == tables.HEAD
    database.close()


def test_the_specifications_own_tables_are_upgraded_with_their_rows(tmp_path: Path) -> None:
    specification_database(tmp_path / "trading.db")
    database = Database.open(tmp_path / "trading.db")
    with database.reading() as connection:
        order = connection.execute(select(tables.orders)).mappings().one()
        trade = connection.execute(select(tables.trades)).mappings().one()
    database.close()
    assert (order["request_id"], order["traded"], order["announced"], order["account_id"]) == ("uuid-1", 1, 1, "paper")
    assert (trade["trade_id"], trade["trading_day"].isoformat()) == ("12345", "2025-12-23")


@pytest.mark.parametrize("start", ["empty", "specification"])
def test_migrated_and_new_databases_have_the_same_schema(tmp_path: Path, start: str) -> None:
    if start == "specification":
        specification_database(tmp_path / "trading.db")
    database = Database.open(tmp_path / "trading.db")
    with database.reading() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), tables.metadata)
    database.close()
    assert [] == [d for d in differences if d[0] != "remove_constraint"]


def test_the_list_of_revisions_is_alembics(tmp_path: Path) -> None:
    with create_engine("sqlite://").connect() as connection:
        scripts = ScriptDirectory.from_config(config_for(connection))
    assert tuple(s.revision for s in scripts.walk_revisions())[::-1] == tables.REVISIONS


def test_alembic_is_not_imported_when_the_schema_is_current(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from arbig.store.database import Database;"
        f"[Database.open(pathlib.Path({str(tmp_path)!r}) / 'trading.db').close() for _ in range(2)];"
        "print('alembic' in sys.modules)"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"


def test_a_newer_schema_is_refused_in_one_line(tmp_path: Path) -> None:
    Database.open(tmp_path / "trading.db").close()
    with sqlite3.connect(tmp_path / "trading.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0099'")
    connection.close()
    with pytest.raises(StoreError, match=rf"trading.db has schema 0099, newer than this build's {tables.HEAD}"):
        Database.open(tmp_path / "trading.db")


def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "trading.db").write_bytes(b"not a database at all" * 400)
    with pytest.raises(StoreError, match="is not a database: move it away"):
        Database.open(tmp_path / "trading.db")


def test_a_folder_that_cannot_be_made_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "db").write_text("a file where the folder should be")
    with pytest.raises(StoreError, match="cannot be made"):
        Database.open(tmp_path / "db" / "trading.db")


def test_tables_without_a_version_are_not_touched(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "trading.db") as connection:
        connection.execute("CREATE TABLE mine (x INTEGER)")
    connection.close()
    with pytest.raises(StoreError, match="without a schema version"):
        Database.open(tmp_path / "trading.db")


def test_a_log_laid_out_at_its_full_length_gives_back_every_commit_after_a_death(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "trading.db")
    for number in range(3):
        with database.quick() as connection:
            row = [f"r{number}", "SEND_ORDER", "", "2025-10-15 21:05:00"]
            connection.execute("INSERT INTO inbox (request_id, kind, answer, received_at) VALUES (?, ?, ?, ?)", row)
    (tmp_path / "dead").mkdir()
    for name in ("trading.db", "trading.db-wal"):
        shutil.copy(tmp_path / name, tmp_path / "dead" / name)
    database.close()
    assert (tmp_path / "dead" / "trading.db-wal").stat().st_size == LOG_BYTES
    database = Database.open(tmp_path / "dead" / "trading.db")
    with database.reading() as connection:
        found = connection.execute(select(tables.inbox.c.request_id)).scalars().all()
    database.close()
    assert sorted(found) == ["r0", "r1", "r2"]
