"""A Redis server that can be killed, emptied and reached through a bad network."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from arbig.bus.port import BusError
from arbig.bus.redis import RedisAddress, RedisBus
from arbig.runtime import redis_server
from arbig.runtime.settings import Settings, SettingsError, load_settings

ROOT = Path(__file__).parents[2]


class Server:
    """The embedded server on a folder of its own."""

    def __init__(self, data: Path, port_offset: int) -> None:
        self.settings: Settings = load_settings(root=ROOT, data=data, port_offset=port_offset)
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> subprocess.Popen[bytes]:
        house = {"ARBIG_ROOT": ROOT, "ARBIG_DATA": self.settings.data, "ARBIG_PORT_OFFSET": self.settings.port_offset}
        environment = {**os.environ, **{name: str(value) for name, value in house.items()}}
        words = [sys.executable, "-m", "arbig.runtime.redis_server"]
        return subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def start(self) -> None:
        """From the main thread: a child's death signal is bound to the thread that made it."""
        self._process = self.command()

    def wait_until_it_answers(self) -> None:
        while not self._answers():
            assert self._process is not None and self._process.poll() is None, "the server ended"
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            return bool(redis_server.ask(self.settings, ["PING"]) == "PONG")
        except (BusError, SettingsError):
            return False

    def kill(self, signum: int = signal.SIGKILL) -> None:
        if self._process is not None:
            self._process.send_signal(signum)
            self._process.communicate()
            self._process = None

    def address(self, user: str) -> RedisAddress:
        return self.settings.redis_for(user)


@pytest.fixture(scope="session")
def running_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("redis"), 2200)
    server.start()
    server.wait_until_it_answers()
    yield server
    server.kill(signal.SIGTERM)


@pytest.fixture
def server(running_server: Server) -> Server:
    """The server of this folder's tests, empty."""

    async def empty() -> None:
        admin = await RedisBus.connect(running_server.address("admin"))
        await admin.call(("FLUSHALL",))
        await admin.close()

    asyncio.run(empty())
    return running_server


class Network:
    """A way to the server that can swallow replies or go silent, as a real one does."""

    def __init__(self, address: RedisAddress) -> None:
        self._address = address
        self.port = 0
        self.swallow: bytes | None = None
        self.swallowed = 0
        self._silent: set[asyncio.Task[Any]] = set()
        self._carrying: dict[asyncio.Task[Any], asyncio.StreamWriter] = {}

    def silence(self) -> None:
        """Every connection there is stays open and carries nothing more; new ones work."""
        self._silent |= set(self._carrying)

    def to(self, user: RedisAddress) -> RedisAddress:
        return replace(user, port=self.port)

    @asynccontextmanager
    async def open(self) -> Any:
        server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            left = list(self._carrying.items())
            for _, far in left:
                far.transport.abort()
            await asyncio.gather(*(task for task, _ in left))
            await asyncio.sleep(0)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(self._address.host, self._address.port)
        me = asyncio.current_task()
        assert me is not None
        self._carrying[me] = far_writer
        forth = asyncio.create_task(self._forth(reader, far_writer, me))
        try:
            while data := await far_reader.read(65536):
                if self.swallow is not None and self.swallow in data:
                    self.swallow = None
                    self.swallowed += 1
                    break
                if me not in self._silent:
                    writer.write(data)
        finally:
            forth.cancel()
            far_writer.transport.abort()
            writer.transport.abort()
            await asyncio.gather(forth, return_exceptions=True)
            del self._carrying[me]

    async def _forth(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, carrier: Any) -> None:
        while data := await reader.read(65536):
            if carrier not in self._silent:
                writer.write(data)
        writer.close()


@pytest.fixture
def network(server: Server) -> Network:
    return Network(server.address("trading"))


Opened = Callable[[RedisAddress], Awaitable[RedisBus]]


@pytest.fixture
def flows() -> Callable[[Callable[[Opened], Awaitable[None]]], None]:
    """Runs a flow that opens buses; they are closed at its end."""

    async def lead(flow: Callable[[Opened], Awaitable[None]]) -> None:
        buses: list[RedisBus] = []

        async def opened(address: RedisAddress) -> RedisBus:
            buses.append(await RedisBus.connect(address))
            return buses[-1]

        try:
            await flow(opened)
        finally:
            for bus in buses:
                await bus.close()

    return lambda flow: asyncio.run(lead(flow))
