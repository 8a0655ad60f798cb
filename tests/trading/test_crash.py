"""Trading on a real Redis: its process dies at each of its crash points, and nothing is doubled or lost; its janitor
trims with rights of its own.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import timedelta
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
from fastapi import FastAPI
from lives import born

from arbig.bus.port import Bus, BusError, Entry
from arbig.bus.redis import RedisBus
from arbig.bus.topics import CMD, EVENT, MAX_ENTRIES, ORDER, TICK
from arbig.domain.messages import (
    Direction,
    EventData,
    EventType,
    Exchange,
    Offset,
    OrderRequest,
    OrderType,
    Status,
    decode,
    encode,
)
from arbig.runtime import redis_server
from arbig.runtime.clock import WallClock
from arbig.runtime.crash import EXIT_CODE
from arbig.runtime.http import CallError, ask
from arbig.runtime.service import Life, Service
from arbig.runtime.settings import Settings, SettingsError, load_settings
from arbig.store.database import Database
from arbig.store.orders import OrderStore
from arbig.trading.service import TradingService

ROOT = Path(__file__).parents[2]
OFFSET = 2400
DEATHS = ("tr.before_ack:1", "tr.after_read:2", "tr.after_commit:2", "tr.after_publish:1")
"""Each life meets its predecessor's last order again before its own: known ones do not come as far as the commit."""


FLATTEN_DEATHS = tuple(f"tr.flatten_{step}:1" for step in ("asked", "reduced", "cancelled", "closed", "verified"))


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

        @app.post("/state")
        async def told(state: dict[str, Any]) -> dict[str, Any]:
            found: dict[str, Any] = self.counter.on_state(**state)
            return found


class PretendedMarket(Service):
    name: ClassVar[str] = "market"


def started(settings: Settings, module: str, crash: str = "") -> ForkServerProcess:
    house = {
        "ROOT": settings.root,
        "CONFIG": settings.config,
        "DATA": settings.data,
        "PORT_OFFSET": OFFSET,
        "CRASH": crash,
    }
    return born(module, **{f"ARBIG_{name}": str(value) for name, value in house.items()})


@contextmanager
def redis(settings: Settings) -> Iterator[None]:
    server = started(settings, "arbig.runtime.redis_server")
    try:
        while not answers(settings):
            assert server.is_alive(), "Redis ended"
            time.sleep(0.02)
        yield
    finally:
        server.terminate()
        server.join()


async def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - another process announces nothing
            await asyncio.sleep(0.02)


@asynccontextmanager
async def neighbourhood(settings: Settings, counter: Any) -> AsyncIterator[Bus]:
    """The two services that Trading leans on."""
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
    config = shutil.copytree(ROOT / "config", tmp_path / "config")
    (config / "risk.yaml").write_text("order_rate: null\nduplicate_order: null\n")  # lives follow within a second
    settings = load_settings(root=ROOT, config=config, data=tmp_path / "d", port_offset=OFFSET)

    async def play() -> None:
        async with neighbourhood(settings, counter) as bus:
            for number, death in enumerate(DEATHS):
                life = started(settings, "arbig.trading", death)
                try:
                    await ready(settings)
                    await bus.append([(ORDER.name, encode(request_of(number)))])
                    await until(lambda life=life: not life.is_alive())
                finally:
                    life.kill()
                life.join()
                assert EXIT_CODE == life.exitcode
                if number:
                    await counter.fill(f"request-{number - 1}")
            life = started(settings, "arbig.trading")
            try:
                await until(lambda: len(counter.orders) == len(DEATHS))
                await counter.fill(f"request-{len(DEATHS) - 1}")
                await until(lambda: len(filled(settings)) == len(DEATHS))
            finally:
                life.terminate()
                await asyncio.to_thread(life.join)
            assert {f"request-{number}" for number in range(len(DEATHS))} == set(filled(settings))
            assert (len(DEATHS), len(DEATHS)) == held_and_traded(settings)

    with redis(settings):
        asyncio.run(play())


@pytest.mark.processes
def test_a_death_at_any_step_of_a_flatten_closes_nothing_twice_and_forgets_nothing(
    tmp_path: Path, counter: Any
) -> None:
    """Nobody asks again: each life takes the job up where the one before has died, the last one finds it done."""
    settings = load_settings(root=ROOT, data=tmp_path / "d", port_offset=OFFSET)

    async def play() -> None:
        async with neighbourhood(settings, counter) as bus:
            await counter.hold("au2512", Direction.LONG, 3, yesterday=1)
            for number, death in enumerate(FLATTEN_DEATHS):
                life = started(settings, "arbig.trading", death)
                ticks = asyncio.ensure_future(quoting(bus, counter))
                try:
                    if not number:
                        await ready(settings)
                        await bus.append([(ORDER.name, encode(request_of(number)))])
                        await until(lambda: counter.orders)
                        await asyncio.to_thread(asked_to_flatten, settings)
                    await until(lambda life=life: not life.is_alive())
                finally:
                    life.kill()
                    ticks.cancel()
                life.join()
                assert EXIT_CODE == life.exitcode, death
                if death.startswith("tr.flatten_closed"):
                    await until(lambda: closes(counter))
                    for name in closes(counter):
                        await counter.fill(name, counter.orders[name].volume)
            life = started(settings, "arbig.trading")
            try:
                await until(lambda: flattens(settings)[0]["state"] == "DONE")
            finally:
                life.terminate()
                await asyncio.to_thread(life.join)
            assert {"CLOSEYESTERDAY": 1, "CLOSETODAY": 2} == {
                counter.orders[name].offset: counter.orders[name].volume for name in closes(counter)
            }
            assert 0 == counter.held_volume("au2512", Direction.LONG)
            assert (Status.CANCELLED, "REDUCING") == (counter.orders["request-0"].status, counter.door["state"])

    with redis(settings):
        asyncio.run(play())


async def quoting(bus: Bus, counter: Any) -> None:
    """Ticks come all the time: a life that has just begun hears the next one."""
    while True:
        await bus.publish([(TICK.of("au2512"), encode(counter.tick()))])
        await asyncio.sleep(0.05)


def asked_to_flatten(settings: Settings) -> None:
    with suppress(CallError):  # it dies before it answers
        ask(settings, "trading", "POST", "/flatten", json={"reason": "weekend"})


def closes(counter: Any) -> list[str]:
    return [name for name, order in counter.orders.items() if order.offset is not Offset.OPEN]


def flattens(settings: Settings) -> list[dict[str, Any]]:
    try:
        found: list[dict[str, Any]] = ask(settings, "trading", "GET", "/flatten")["flattens"]
    except CallError:
        return [{"state": "AWAY"}]
    return found or [{"state": "NONE"}]


@pytest.mark.processes
def test_the_janitor_trims_with_rights_that_trading_itself_does_not_have(tmp_path: Path) -> None:
    """Through the connection that Trading opens for it; what Trading has not finished stays, and is told."""
    settings = load_settings(root=ROOT, data=tmp_path / "d", port_offset=OFFSET)

    async def play() -> None:
        bus = await RedisBus.connect(settings.redis_for("trading"))
        service = TradingService(settings, bus, WallClock())
        service._open(Database.open(settings.database("trading")))
        try:
            with pytest.raises(BusError, match="NOPERM"):
                await bus.trim(ORDER.name, "1-0")
            await bus.append([(ORDER.name, b"{}")] * (MAX_ENTRIES + 500))
            await service.sweeper.sweep()
            assert MAX_ENTRIES + 500 == len(await bus.read(ORDER.name, count=20_000))
            assert any("group:trading has 10500 unfinished" in line for line in service.status()["alarms"])
            [alarm] = [decode(EventData, entry.payload) for entry in await bus.read(EVENT.name)]
            assert alarm.event is EventType.ALARM
            reading = asyncio.ensure_future(bus.consume("group:trading", {ORDER.name: finished}))
            async with asyncio.timeout(20):
                while any(each.pending or each.lag for each in await bus.groups() if each.stream == ORDER.name):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            await service.sweeper.sweep()
            assert MAX_ENTRIES == len(await bus.read(ORDER.name, count=20_000))
            assert [] == service.status()["alarms"]
        finally:
            await service.stop()
            await bus.close()

    with redis(settings):
        asyncio.run(play())


async def finished(entry: Entry) -> None:
    """Its effect is durable."""


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
    database = Database.open(settings.database("trading"))
    states = OrderStore(database, settings.account_id).orders_page(None, 10).rows
    database.close()
    return [state.request_id for state in states if state.status is Status.ALLTRADED]


def held_and_traded(settings: Settings) -> tuple[int, int]:
    database = Database.open(settings.database("trading"))
    store = OrderStore(database, settings.account_id)
    result = sum(book["volume"] for book in store.books()), len(store.trades())
    database.close()
    return result
