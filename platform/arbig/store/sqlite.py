"""SQLite: what every store file has in common, without more than Python's own driver. A file of one process, with a
lock beside it; every commit is on disk before it returns; whatever the disk does is said in one line (StoreError).
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from arbig.store.faults import StoreError as StoreError

PRAGMAS = (
    "page_size=2048",  # of a new file: a commit writes every page that it touches, whole
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "busy_timeout=2000",
    "wal_autocheckpoint=4000",
)

LOG_BYTES = 8 << 20

MENDS = (
    ("readonly", "is read-only: make the folder and the file writable"),
    ("unable to open", "cannot be opened: make its folder exist and writable"),
    ("full", "cannot grow, the disk is full: free some space"),
    ("locked", "is locked by another process: stop the other copy"),
    ("disk I/O", "cannot be written, the disk reports an error: check the disk"),
    ("malformed", "is damaged: move it away or restore a copy, then start again"),
    ("not a database", "is not a database: move it away, then start again"),
)


def explained(path: Path, error: BaseException) -> StoreError:
    """One line for what SQLite says in two words."""
    found = str(getattr(error, "orig", None) or error)
    mend = next((mend for word, mend in MENDS if word in found), "failed")
    return StoreError(f"{path} {mend} ({found})")


class SqliteFile:
    """The file and its lock, opened and checked. `owner` is who else might hold it ("Gateway"); `upgrades` are the
    statements that lead from an older schema to the next."""

    def __init__(
        self, path: Path, schema: str, version: int, owner: str, upgrades: Mapping[int, str] | None = None
    ) -> None:
        self.path = path
        self._lock = _locked(path, owner)
        try:
            self.connection = _connected(path, schema, version, upgrades or {})
        except StoreError:
            self._lock.close()
            raise

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, on disk when the block ends."""
        try:
            self.connection.execute("BEGIN IMMEDIATE")
            yield
            self.connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            raise explained(self.path, error) from error
        except BaseException:
            self._roll_back()
            raise

    def close(self) -> None:
        self.connection.close()
        self._lock.close()

    def _roll_back(self) -> None:
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")


def lay_out_log(path: Path) -> None:
    """Write the log of an open database to its usual length, with zeros. A commit that overwrites is on disk in half
    the time of one that makes the file longer: the file system has nothing to note down for it."""
    with suppress(OSError), path.with_name(f"{path.name}-wal").open("r+b") as log:
        end = log.seek(0, os.SEEK_END)
        try:
            log.write(bytes(max(0, LOG_BYTES - end)))
            log.flush()
            os.fsync(log.fileno())
        except OSError:  # a full disk: what room there is belongs to the orders
            log.truncate(end)


def _locked(path: Path, owner: str) -> IO[bytes]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = open(path.with_suffix(".lock"), "ab")  # noqa: SIM115 - held as long as the file
    except OSError as error:
        raise StoreError(f"{path.parent}: {error.strerror}: make it a folder we may write to") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        handle.close()
        raise StoreError(f"{path} is in use by another {owner}: stop the other copy") from error
    return handle


def _connected(path: Path, schema: str, version: int, upgrades: Mapping[int, str]) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
        for pragma in PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
        (damage,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        (found,) = connection.execute("PRAGMA user_version").fetchone()
        if found == 0:
            connection.executescript(f"BEGIN; {schema} PRAGMA user_version = {version}; COMMIT;")
        while damage == "ok" and found in upgrades:
            connection.executescript(f"BEGIN; {upgrades[found]} PRAGMA user_version = {found + 1}; COMMIT;")
            found += 1
    except sqlite3.Error as error:
        raise explained(path, error) from error
    if damage != "ok":
        raise StoreError(f"{path} is damaged ({damage}): move it away or restore a copy, then start again")
    if found not in (0, version):
        raise StoreError(f"{path} has schema {found}, this build knows {version}: update arbig")
    return connection
