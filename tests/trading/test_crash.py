"""The real Trading process on a real Redis dies at each of its crash points, and nothing is doubled or lost."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
from fastapi import FastAPI

from arbig.bus.port import Bus, BusError
from arbig.bus.redis import RedisBus
from arbig.bus.topics import CMD, ORDER
from arbig.domain.messages import Direction, Exchange, Offset, OrderRequest, OrderType, Status, encode
from arbig.runtime import redis_server
from arbig.runtime.clock import WallClock
from arbig.runtime.crash import EXIT_CODE
from arbig.runtime.service import Life, Service
from arbig.runtime.settings import Settings, SettingsError, load_settings
from arbig.store.database import Database
from arbig.store.orders import OrderStore

ROOT = Path(__file__).parents[2]
OFFSET = 2400
DEATHS = ("tr.before_ack:1", "tr.after_read:2", "tr.after_commit:2", "tr.after_publish:1")
"""Each life meets its predecessor's last order again before its own: known ones do not come as far as the commit."""


class PretendedGateway(Service):
    name: ClassVar[str] = "gateway"
    counter: ClassVar[Any]

    async def start(self) -> None:
        self.counter.bus = self.bus
        self.spawn(self.bus.consume("group:gateway", {CMD.name: self.counter.on_command}))

    def routes(self, app: FastAPI) -> None:
        @app.get("/{path}")
        async def answer(path: str) -> dict[str, Any]:
            found: dict[str, Any] = await self.counter.ask(f"/{path}")
            return found


class PretendedMarket(Service):
    name: ClassVar[str] = "market"


def started(settings: Settings, module: str, crash: str = "") -> subprocess.Popen[bytes]:
    house = {"ROOT": settings.root, "DATA": settings.data, "PORT_OFFSET": OFFSET, "CRASH": crash}
    environment = {**os.environ, **{f"ARBIG_{name}": str(value) for name, value in house.items()}}
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen([sys.executable, "-m", module], env=environment, **silent)  # type: ignore[call-overload]


async def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - another process announces nothing
            await asyncio.sleep(0.02)


@asynccontextmanager
async def neighbourhood(settings: Settings, counter: Any) -> AsyncIterator[Bus]:
    """Redis, and the two services that Trading leans on."""
    server = started(settings, "arbig.runtime.redis_server")
    await asyncio.to_thread(wait_for_redis, settings, server)
    gateway = type("ThisGateway", (PretendedGateway,), {"counter": counter})
    lives = [asyncio.ensure_future(Life(kind, settings, WallClock()).lead()) for kind in (gateway, PretendedMarket)]
    bus = await RedisBus.connect(settings.redis_for("strategy"))
    try:
        await until(lambda: isinstance(counter.bus, RedisBus))
        yield bus
    finally:
        for life in lives:
            life.cancel()
        await asyncio.gather(*lives, return_exceptions=True)
        await bus.close()
        server.send_signal(signal.SIGTERM)
        await asyncio.to_thread(server.wait)


def wait_for_redis(settings: Settings, server: subprocess.Popen[bytes]) -> None:
    while not answers(settings):
        assert server.poll() is None, "Redis ended"
        time.sleep(0.02)


def answers(settings: Settings) -> bool:
    try:
        return bool(redis_server.ask(settings, ["PING"]) == "PONG")
    except (BusError, SettingsError):
        return False


async def ready(settings: Settings) -> None:
    headers = {"Authorization": f"Bearer {settings.token}"}
    async with httpx.AsyncClient(headers=headers, trust_env=False) as client, asyncio.timeout(20):
        while True:
            try:
                answer = await client.get(f"http://127.0.0.1:{settings.port('trading')}/ready")
                if answer.status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            await asyncio.sleep(0.02)


@pytest.mark.processes
def test_a_death_at_any_point_doubles_no_order_and_loses_none(tmp_path: Path, counter: Any) -> None:
    """Trading dies with every order it is given, each time a little further on its way, while the one before is
    filled. Each order reaches the counter once, and the books are the sum of the trades."""
    settings = load_settings(root=ROOT, data=tmp_path / "d", port_offset=OFFSET)

    async def play() -> None:
        async with neighbourhood(settings, counter) as bus:
            for number, death in enumerate(DEATHS):
                life = started(settings, "arbig.trading", death)
                try:
                    await ready(settings)
                    await bus.append([(ORDER.name, encode(request_of(number)))])
                    await until(lambda life=life: life.poll() is not None)
                finally:
                    life.kill()
                assert EXIT_CODE == life.wait()
                if number:
                    await counter.fill(f"request-{number - 1}")
            life = started(settings, "arbig.trading")
            try:
                await until(lambda: len(counter.orders) == len(DEATHS))
                await counter.fill(f"request-{len(DEATHS) - 1}")
                await until(lambda: len(filled(settings)) == len(DEATHS))
            finally:
                life.send_signal(signal.SIGTERM)
                await asyncio.to_thread(life.wait)
            assert {f"request-{number}" for number in range(len(DEATHS))} == set(filled(settings))
            assert (len(DEATHS), len(DEATHS)) == held_and_traded(settings)

    asyncio.run(play())


def request_of(number: int) -> OrderRequest:
    now = WallClock().now()
    return OrderRequest(
        request_id=f"request-{number}",
        strategy_name="MaRsiStrategy",
        symbol="au2512",
        exchange=Exchange.SHFE,
        direction=Direction.LONG,
        offset=Offset.OPEN,
        order_type=OrderType.LIMIT,
        price=800.0 + number * 0.02,
        volume=1,
        timestamp=now,
        expires_at=now + timedelta(seconds=60),
    )


def filled(settings: Settings) -> list[str]:
    database = Database.open(settings.data / "db" / "trading.db")
    states = OrderStore(database, settings.account_id).recent(10)
    database.close()
    return [state.request_id for state in states if state.status is Status.ALLTRADED]


def held_and_traded(settings: Settings) -> tuple[int, int]:
    database = Database.open(settings.data / "db" / "trading.db")
    store = OrderStore(database, settings.account_id)
    result = sum(book["volume"] for book in store.books()), len(store.trades())
    database.close()
    return result
