"""The real Strategy process on a real Redis dies at each of its crash points: no signal is doubled, none is lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from multiprocessing.context import ForkServerProcess
from typing import Any, ClassVar

import httpx
import pytest
from fastapi import FastAPI
from lives import born

from arbig.bus.port import Bus, BusError
from arbig.bus.redis import RedisBus
from arbig.bus.topics import ORDER, TICK, TRADE
from arbig.domain.messages import SHANGHAI, Exchange, OrderRequest, TickData, TradeData, decode, encode
from arbig.runtime import redis_server
from arbig.runtime.clock import WallClock
from arbig.runtime.crash import EXIT_CODE
from arbig.runtime.service import Life, Service
from arbig.runtime.settings import Settings, SettingsError, load_settings

OFFSET = 2500
DEATHS = ("st.after_apply:1", "st.before_send:1", "st.after_send:1")
CHAIN = """
from arbig import CtaTemplate

class Chain(CtaTemplate):
    fills = 0
    variables = ["fills"]
    def on_init(self): pass
    def on_tick(self, tick):
        if self.fills == 0: self.buy(tick.last_price, 1)
    def on_trade(self, trade):
        self.fills += 1
        self.buy(trade.price, 1)
"""


class Pretended(Service):
    """Trading, as far as Strategy leans on it: it knows of no fill yet, so every one must come from the stream."""

    answers: ClassVar[dict[str, Any]] = {
        "/positions": {"as_of": {TRADE.name: "0-0"}, "positions": [], "strategies": []},
        "/orders": {"as_of": {}, "orders": []},
        "/state": {"state": "ACTIVE", "reconciled": True},
        "/clock": {"session_time": "2025-10-15T09:00:00", "trading_day": "2025-10-15", "connected": True},
        "/subscribe": {},
    }

    def routes(self, app: FastAPI) -> None:
        @app.api_route("/{path}", methods=["GET", "POST"])
        async def answer(path: str) -> Any:
            return self.answers[f"/{path}"]


class PretendedTrading(Pretended):
    name: ClassVar[str] = "trading"


class PretendedGateway(Pretended):
    name: ClassVar[str] = "gateway"


def started(settings: Settings, module: str, crash: str = "") -> ForkServerProcess:
    house = {"ROOT": settings.root, "DATA": settings.data, "PORT_OFFSET": OFFSET, "CRASH": crash}
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


async def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - another process announces nothing
            await asyncio.sleep(0.02)


@asynccontextmanager
async def neighbourhood(settings: Settings) -> AsyncIterator[Bus]:
    lives = [
        asyncio.ensure_future(Life(kind, settings, WallClock()).lead()) for kind in (PretendedTrading, PretendedGateway)
    ]
    bus = await RedisBus.connect(settings.redis_for("gateway"))
    try:
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


async def ask(settings: Settings, path: str) -> Any:
    headers = {"Authorization": f"Bearer {settings.token}"}
    async with httpx.AsyncClient(headers=headers, trust_env=False) as client:
        try:
            answer = await client.get(f"http://127.0.0.1:{settings.port('strategy')}{path}")
        except httpx.HTTPError:
            return None
        return answer.json() if answer.status_code == 200 else None


async def ready(settings: Settings) -> None:
    async with asyncio.timeout(30):
        while await ask(settings, "/ready") is None:  # noqa: ASYNC110 - another process announces nothing
            await asyncio.sleep(0.02)


class Desk:
    """Reads signals as Trading would: a request id seen before is the same signal."""

    def __init__(self, bus: Bus, settings: Settings) -> None:
        self.bus = bus
        self.settings = settings
        self.entries = 0
        self.fills = 0

    async def signals(self) -> list[OrderRequest]:
        entries = await self.bus.read(ORDER.name)
        self.entries = len(entries)
        found = {one.request_id: one for one in (decode(OrderRequest, entry.payload) for entry in entries)}
        return list(found.values())

    async def some_signals(self, count: int) -> list[OrderRequest]:
        async with asyncio.timeout(30):
            while len(await self.signals()) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        return await self.signals()

    async def tick(self) -> None:
        values = dict.fromkeys(("last_price", "open_price", "high_price", "low_price", "pre_close"), 800.0)
        values |= {"bid_price_1": 799.98, "ask_price_1": 800.02, "limit_up": 880.0, "limit_down": 720.0}
        counts = dict.fromkeys(("volume", "open_interest", "last_volume", "bid_volume_1", "ask_volume_1"), 1)
        now = WallClock().now().astimezone(SHANGHAI)
        tick = TickData(symbol="au2512", exchange=Exchange.SHFE, datetime=now, seq=1, **values, **counts)
        await self.bus.publish([(TICK.of("au2512"), encode(tick))])

    async def fill(self, request: OrderRequest) -> None:
        self.fills += 1
        trade = TradeData(
            trade_id=str(self.fills),
            order_id=str(self.fills),
            request_id=request.request_id,
            symbol=request.symbol,
            exchange=request.exchange,
            direction=request.direction,
            offset=request.offset,
            price=request.price,
            volume=request.volume,
            datetime=request.timestamp,
            strategy_name=request.strategy_name,
            account_id="sim",
        )
        await self.bus.append([(TRADE.name, encode(trade))])


@pytest.mark.processes
def test_a_death_at_any_point_doubles_no_signal_and_loses_none(floor):
    """Every fill makes the strategy send one more order; Strategy dies with each fill, a little further on its way."""
    floor.code(CHAIN)
    floor.yaml("strategy_name: Chain\nsymbol: au2512\nexchange: SHFE\n")
    settings = load_settings(root=floor.root, config=floor.root / "config", data=floor.root / "d", port_offset=OFFSET)

    async def play() -> None:
        async with neighbourhood(settings) as bus:
            desk = Desk(bus, settings)
            for number, death in enumerate(DEATHS):
                life = started(settings, "arbig.strategy", death)
                try:
                    await ready(settings)
                    if not number:
                        await desk.tick()
                    signals = await desk.some_signals(number + 1)
                    await desk.fill(signals[number])
                    await until(lambda life=life: not life.is_alive())
                finally:
                    life.kill()
                life.join()
                assert life.exitcode == EXIT_CODE
            life = started(settings, "arbig.strategy")
            try:
                signals = await desk.some_signals(len(DEATHS) + 1)
                await ready(settings)
                await desk.fill(signals[-1])
                await desk.some_signals(len(DEATHS) + 2)
                await asyncio.sleep(0.6)  # an outbox that repeats itself would do so now
                shown = await ask(settings, "/strategies/Chain")
            finally:
                life.terminate()
                await asyncio.to_thread(life.join)
            assert len(await desk.signals()) == desk.fills + 1
            assert shown["pos"] == shown["variables"]["fills"] == desk.fills

    with redis(settings):
        asyncio.run(play())
