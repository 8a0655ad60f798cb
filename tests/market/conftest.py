"""A Market on a bus in memory, with a Gateway that answers from a table."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from arbig.bus.memory import MemoryBus
from arbig.bus.topics import BAR, GATEWAY, HEARTBEAT, TICK
from arbig.domain.messages import (
    SHANGHAI,
    BarData,
    EventData,
    EventType,
    Exchange,
    Heartbeat,
    TickData,
    decode,
    encode,
)
from arbig.market.service import MarketService
from arbig.runtime.clock import ManualClock
from arbig.runtime.http import CallError
from arbig.runtime.settings import Settings, load_settings

ROOT = Path(__file__).parents[2]
TODAY = date(2025, 10, 15)


def at(text: str) -> datetime:
    """`14 21:00:00.500`: day and time of October 2025."""
    return datetime.fromisoformat(f"2025-10-{text}").replace(tzinfo=SHANGHAI)


def tick(moment: str | datetime, price: float, volume: int, **fields: Any) -> TickData:
    values: dict[str, Any] = {
        "symbol": "au2512",
        "exchange": Exchange.SHFE,
        "datetime": at(moment) if isinstance(moment, str) else moment,
        "last_price": price,
        "volume": volume,
        "open_interest": 98765,
        "last_volume": 1,
        "open_price": 900.0,
        "high_price": 910.0,
        "low_price": 890.0,
        "pre_close": 900.0,
        "limit_up": 990.0,
        "limit_down": 810.0,
        "bid_price_1": price - 0.02,
        "bid_volume_1": 3,
        "ask_price_1": price + 0.02,
        "ask_volume_1": 3,
        "turnover": volume * 900_000.0,
        "trading_day": TODAY,
    }
    return TickData(**{**values, **fields})


class Gateway:
    """What the Gateway answers, and what it was asked."""

    def __init__(self) -> None:
        self.trading_day: date | None = TODAY
        self.connected = True
        self.bars: list[BarData] = []
        self.asked: list[dict[str, Any]] = []
        self.is_away = False

    async def ask(self, method: str, path: str, **question: Any) -> Any:
        if path == "/clock":
            day = self.trading_day.isoformat() if self.trading_day else None
            return {"session_time": "2025-10-14T20:50:00", "trading_day": day, "connected": self.connected}
        assert (method, path) == ("GET", "/history")
        if self.is_away:
            raise CallError("gateway: the exchange is not connected")
        self.asked.append(question["params"])
        start, end = (
            datetime.fromisoformat(question["params"][name]).replace(tzinfo=SHANGHAI) for name in ("start", "end")
        )
        symbol = question["params"]["symbol"]
        found = [bar for bar in self.bars if bar.symbol == symbol and start <= bar.datetime <= end]
        return {"bars": [json.loads(encode(bar)) for bar in found]}


class House:
    """Market between a Gateway and a listener."""

    def __init__(self, settings: Settings, gateway: Gateway) -> None:
        self.settings = settings
        self.gateway = gateway
        self.bus = MemoryBus()
        self.clock = ManualClock(at("14 20:50:00"))
        self.market = self.new_market()
        self.bars: list[BarData] = []
        self._listening: asyncio.Task[None] | None = None

    def new_market(self) -> MarketService:
        return MarketService(self.settings, self.bus, self.clock, self.gateway.ask)

    async def start(self) -> None:
        standing = asyncio.Event()
        self._listening = asyncio.ensure_future(self._listen(standing))
        await standing.wait()
        await self.market.start()

    async def _listen(self, standing: asyncio.Event) -> None:
        async for batch in self.bus.listen(BAR.name):
            standing.set()
            self.bars += [decode(BarData, payload) for _, payload in batch]

    async def stop(self) -> None:
        await self.market.stop()
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)

    async def dies(self) -> None:
        """Without a word: nothing is closed, a new Market begins on the same folder."""
        await self.market.cancel_tasks()
        self.market = self.new_market()

    async def play(self, *events: TickData | datetime | bytes | EventData) -> None:
        """Ticks, the exchange's clock, raw bytes on a tick channel, events; each arrives before the next is sent."""
        for event in events:
            match event:
                case TickData():
                    await self.bus.publish([(TICK.of(event.symbol), encode(event))])
                case datetime():
                    await self.beat(event)
                case EventData():
                    await self.bus.append([("stream:event", encode(event))])
                case _:
                    await self.bus.publish([("tick:au2512", event)])
            await settle()

    async def beat(self, session_time: datetime, pid: int = 7, connected: bool | None = None) -> None:
        beat = Heartbeat(
            service=GATEWAY, datetime=self.clock.now(), pid=pid, session_time=session_time, connected=connected
        )
        await self.bus.publish([(HEARTBEAT.of(GATEWAY), encode(beat))])
        await settle()

    async def get(self, path: str) -> httpx.Response:
        app = FastAPI()
        self.market.routes(app)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.get(path)


async def settle() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


def event(kind: EventType, day: date = TODAY) -> EventData:
    return EventData(event=kind, source=GATEWAY, datetime=at("14 21:00:00"), trading_day=day)


def shown(bars: Sequence[BarData]) -> list[str]:
    return [f"{b.symbol} {b.datetime:%d %H:%M} v={b.volume} n={b.seq}{' partial' if b.partial else ''}" for b in bars]


def history(day: date, minutes: int = 3, symbol: str = "au2512", opening: datetime | None = None) -> list[BarData]:
    """The first minutes of a day session, or those from another opening, as the simulated exchange remembers them."""
    opening = opening or datetime(day.year, day.month, day.day, 9, 0, tzinfo=SHANGHAI)
    return [
        BarData(
            symbol=symbol,
            exchange=Exchange.SHFE,
            datetime=opening + timedelta(minutes=minute),
            interval="1m",
            open_price=900.0,
            high_price=901.0,
            low_price=899.0,
            close_price=900.5,
            volume=10,
            open_interest=5,
            trading_day=day,
        )
        for minute in range(minutes)
    ]


class Kit:
    """What the tests of this room build with."""

    at = staticmethod(at)
    tick = staticmethod(tick)
    event = staticmethod(event)
    shown = staticmethod(shown)
    history = staticmethod(history)
    settle = staticmethod(settle)
    today = TODAY


@pytest.fixture(scope="session")
def kit() -> Kit:
    return Kit()


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
def new_house(tmp_path: Path, gateway: Gateway) -> Callable[..., House]:
    """Houses with folders of their own; further words go into `arbig.yaml`."""

    def make(name: str, **words: Any) -> House:
        settings = load_settings(root=ROOT, data=tmp_path / name)
        return House(replace(settings, house=settings.house.model_copy(update=words)), gateway)

    return make


@pytest.fixture
def house(new_house: Callable[..., House]) -> House:
    return new_house("data")


@pytest.fixture
def flow(house: House) -> Callable[[Callable[[], Awaitable[None]]], None]:
    """Runs a story in the house; Market stands before it begins and is stopped after it."""

    def lead(story: Callable[[], Awaitable[None]]) -> None:
        async def whole() -> None:
            await house.start()
            try:
                await story()
            finally:
                await house.stop()

        asyncio.run(whole())

    return lead
