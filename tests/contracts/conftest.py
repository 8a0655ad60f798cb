"""Two houses for every bus contract: one in memory, one on a real server of its own."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from arbig.bus.memory import MemoryBus
from arbig.bus.port import BusError
from arbig.bus.redis import RedisBus
from arbig.runtime import redis_server
from arbig.runtime.settings import Settings, SettingsError, load_settings

ROOT = Path(__file__).parents[2]


def wait_until_it_answers(settings: Settings, server: subprocess.Popen[bytes]) -> None:
    while True:
        try:
            redis_server.ask(settings, ["PING"])
            return
        except (BusError, SettingsError):
            assert server.poll() is None, "the server ended"
            time.sleep(0.02)


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A running embedded Redis with its own folder and port."""
    data = tmp_path_factory.mktemp("redis")
    settings = load_settings(root=ROOT, data=data, port_offset=2000)
    environment = {**os.environ, "ARBIG_ROOT": str(ROOT), "ARBIG_DATA": str(data), "ARBIG_PORT_OFFSET": "2000"}
    command = [sys.executable, "-m", "arbig.runtime.redis_server"]
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        wait_until_it_answers(settings, server)
        yield settings
    finally:
        server.terminate()
        server.wait()


Open = Callable[[str], Awaitable[Any]]
Flow = Callable[[Open], Awaitable[None]]


@pytest.fixture(params=["memory", "redis"])
def house(request: pytest.FixtureRequest) -> Callable[[Flow], None]:
    """Runs a flow; `await open_bus("trading")` in it is the bus as that service sees it, empty at the start."""
    if request.param == "memory":
        return lambda flow: asyncio.run(in_memory(flow))
    settings: Settings = request.getfixturevalue("settings")
    return lambda flow: asyncio.run(on_redis(settings, flow))


async def in_memory(flow: Flow) -> None:
    shared = MemoryBus()

    async def open_bus(user: str) -> MemoryBus:
        return shared

    await flow(open_bus)


async def on_redis(settings: Settings, flow: Flow) -> None:
    opened: list[RedisBus] = []

    async def open_bus(user: str) -> RedisBus:
        opened.append(await RedisBus.connect(settings.redis_for(user)))
        return opened[-1]

    try:
        await (await open_bus("admin")).call(("FLUSHALL",))
        await flow(open_bus)
    finally:
        for bus in opened:
            await bus.close()
