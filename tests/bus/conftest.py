"""A Redis server that can be killed, emptied and reached through a bad network."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from proxy import Proxy

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


@pytest.fixture
def network(server: Server) -> Iterator[Proxy]:
    """A bad way to the server."""
    with Proxy("127.0.0.1", server.address("trading").port) as proxy:
        yield proxy


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
