"""A house for strategies: real processes or the twin, the memory bus, and siblings that say what a test tells them."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from arbig.bus.memory import MemoryBus
from arbig.bus.topics import BAR, EVENT, ORDER, ORDER_STATUS, TICK, TRADE
from arbig.domain.messages import (
    SHANGHAI,
    BarData,
    Direction,
    EventData,
    EventType,
    Exchange,
    Offset,
    OrderData,
    OrderRequest,
    OrderType,
    Status,
    TickData,
    TradeData,
    decode,
    encode,
)
from arbig.runtime.clock import WallClock
from arbig.runtime.settings import Settings, load_settings
from arbig.strategy.live import LiveStrategy
from arbig.strategy.memory import MemoryRunner
from arbig.strategy.process import ProcessRunner
from arbig.strategy.service import StrategyService

ROOT = Path(__file__).parents[2]
DAY = date(2025, 10, 9)
NINE = datetime(2025, 10, 9, 9, 0, tzinfo=SHANGHAI)


@dataclass
class Siblings:
    """Trading, Market and Gateway, as far as Strategy asks them."""

    strategies: list[dict[str, Any]] = field(default_factory=list)
    orders: list[dict[str, Any]] = field(default_factory=list)
    as_of: dict[str, str] = field(default_factory=dict)
    bars: dict[str, list[BarData]] = field(default_factory=dict)
    state: str = "ACTIVE"
    reconciled: bool = True
    asked: list[tuple[str, str]] = field(default_factory=list)

    async def ask(self, service: str, method: str, path: str, **rest: Any) -> Any:
        self.asked.append((service, f"{method} {path}"))
        if path.startswith("/bars/"):
            since = datetime.fromisoformat(rest["params"]["since"]).replace(tzinfo=SHANGHAI)
            bars = [bar for bar in self.bars.get(path.removeprefix("/bars/"), []) if bar.datetime >= since]
            return {"bars": [_wire(bar) for bar in bars], "gaps": []}
        return {
            "/positions": {"as_of": self.as_of, "positions": [], "strategies": self.strategies},
            "/orders": {"as_of": self.as_of, "orders": self.orders},
            "/state": {"state": self.state, "reconciled": self.reconciled},
            "/clock": {
                "session_time": NINE.replace(tzinfo=None).isoformat(),
                "trading_day": NINE.date().isoformat(),
                "connected": True,
            },
            "/subscribe": {},
        }[path]


def _wire(message: Any) -> dict[str, Any]:
    import json

    return json.loads(encode(message))


@dataclass
class Desk:
    """What a test does to a running Strategy service, and sees of it."""

    service: StrategyService
    bus: MemoryBus
    siblings: Siblings
    seq: int = 0
    trades: int = 0

    def live(self, name: str) -> LiveStrategy:
        assert self.service.engine is not None
        return self.service.engine.strategies[name]

    async def tick(self, price: float, *, symbol: str = "au2512", **more: Any) -> None:
        self.seq += 1
        await self.bus.publish([(TICK.of(symbol), encode(make_tick(price, self.seq, symbol=symbol, **more)))])

    async def bar(self, minute: int, close: float, *, symbol: str = "au2512", **more: Any) -> None:
        await self.bus.publish([(BAR.of(symbol), encode(make_bar(minute, close, symbol=symbol, **more)))])

    async def requests(self) -> list[OrderRequest]:
        return [decode(OrderRequest, entry.payload) for entry in await self.bus.read(ORDER.name)]

    async def some_requests(self, count: int) -> list[OrderRequest]:
        """Waits until `stream:order` has this many entries."""

        async def enough() -> bool:
            return len(await self.requests()) >= count

        await until(enough, f"{count} requests")
        return await self.requests()

    async def status(self, request: OrderRequest, status: Status, traded: int = 0, **more: Any) -> None:
        await self.bus.append([(ORDER_STATUS.name, encode(make_order(request, status, traded, **more)))])

    async def fill(self, request: OrderRequest, volume: int | None = None, price: float | None = None) -> TradeData:
        """The exchange fills it: status and trade report."""
        self.trades += 1
        lots = volume or request.volume
        trade = make_trade(request, str(self.trades), lots, price)
        status = Status.ALLTRADED if lots == request.volume else Status.PARTTRADED
        await self.status(request, status, lots)
        await self.bus.append([(TRADE.name, encode(trade))])
        return trade

    async def event(self, kind: EventType) -> None:
        event = EventData(event=kind, source="trading", datetime=NINE)
        await self.bus.append([(EVENT.name, encode(event))])

    async def alarms(self) -> list[str]:
        entries = [decode(EventData, entry.payload) for entry in await self.bus.read(EVENT.name)]
        return [one.message for one in entries if one.event is EventType.ALARM]

    async def until(self, condition: Callable[[], bool], what: str, seconds: float = 10) -> None:
        async def holds() -> bool:
            if not self.service._died.empty():
                raise self.service._died.get_nowait()
            return condition()

        await until(holds, what, seconds)


async def until(condition: Callable[[], Awaitable[bool]], what: str, seconds: float = 10) -> None:
    """Polls: the things waited for happen in another process."""
    end = asyncio.get_running_loop().time() + seconds
    while not await condition():
        assert asyncio.get_running_loop().time() < end, f"waited {seconds} s for {what}"
        await asyncio.sleep(0.005)


def make_tick(price: float, seq: int, *, symbol: str = "au2512", **more: Any) -> TickData:
    values: dict[str, Any] = {
        "symbol": symbol,
        "exchange": Exchange.SHFE,
        "datetime": NINE + timedelta(milliseconds=500 * seq),
        "last_price": price,
        "volume": seq,
        "open_interest": 100,
        "last_volume": 1,
        "open_price": price,
        "high_price": price,
        "low_price": price,
        "pre_close": 800.0,
        "limit_up": 880.0,
        "limit_down": 720.0,
        "bid_price_1": round(price - 0.02, 2),
        "bid_volume_1": 5,
        "ask_price_1": round(price + 0.02, 2),
        "ask_volume_1": 5,
        "seq": seq,
        "trading_day": DAY,
    }
    return TickData(**(values | more))


def make_bar(minute: int, close: float, *, symbol: str = "au2512", **more: Any) -> BarData:
    values: dict[str, Any] = {
        "symbol": symbol,
        "exchange": Exchange.SHFE,
        "datetime": NINE + timedelta(minutes=minute),
        "interval": "1m",
        "open_price": close,
        "high_price": close + 0.1,
        "low_price": close - 0.1,
        "close_price": close,
        "volume": 10,
        "open_interest": 100,
        "seq": minute + 1,
        "trading_day": DAY,
    }
    return BarData(**(values | more))


def make_order(request: OrderRequest, status: Status, traded: int = 0, **more: Any) -> OrderData:
    values: dict[str, Any] = {
        "order_id": "o-" + request.request_id[:8],
        "request_id": request.request_id,
        "symbol": request.symbol,
        "exchange": request.exchange,
        "direction": request.direction,
        "offset": request.offset,
        "order_type": OrderType.LIMIT,
        "price": request.price,
        "volume": request.volume,
        "traded": traded,
        "status": status,
        "datetime": NINE,
        "strategy_name": request.strategy_name,
        "trading_day": DAY,
    }
    return OrderData(**(values | more))


def make_trade(request: OrderRequest, trade_id: str, volume: int, price: float | None = None) -> TradeData:
    return TradeData(
        trade_id=trade_id,
        order_id="o-" + request.request_id[:8],
        request_id=request.request_id,
        symbol=request.symbol,
        exchange=request.exchange,
        direction=request.direction,
        offset=request.offset,
        price=price or request.price,
        volume=volume,
        datetime=NINE,
        strategy_name=request.strategy_name,
        trading_day=DAY,
        account_id="sim",
    )


def wish(direction: Direction, offset: Offset, volume: int, price: float = 800.0, name: str = "Plain") -> OrderRequest:
    return OrderRequest(
        request_id=f"r-{direction}-{offset}-{volume}",
        strategy_name=name,
        symbol="au2512",
        exchange=Exchange.SHFE,
        direction=direction,
        offset=offset,
        order_type=OrderType.LIMIT,
        price=price,
        volume=volume,
        timestamp=NINE,
    )


@dataclass
class Floor:
    """A root folder with the real configuration, and strategies written by the test."""

    root: Path
    siblings: Siblings = field(default_factory=Siblings)
    bus: MemoryBus = field(default_factory=MemoryBus)

    @property
    def settings(self) -> Settings:
        return load_settings(root=self.root, config=self.root / "config", data=self.root / "data")

    def code(self, text: str, file: str = "mine.py") -> None:
        (self.root / "strategies" / file).write_text(text)

    def yaml(self, text: str, file: str = "mine.yaml") -> None:
        (self.root / "config" / "strategies" / file).write_text(text)

    @asynccontextmanager
    async def open(self, processes: bool = False) -> AsyncIterator[Desk]:
        """A running Strategy service on this floor. Leaving it is a restart: bus and database stay."""
        runner = ProcessRunner if processes else MemoryRunner
        settings = self.settings
        service = StrategyService(settings, self.bus, WallClock(), runner=runner, ask=self.siblings.ask)
        await service.start()
        try:
            yield Desk(service, self.bus, self.siblings)
        finally:
            await service.stop()


@pytest.fixture
def floor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Floor:
    for name in ("ARBIG_DATA", "ARBIG_PORT_OFFSET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ARBIG_ROOT", str(tmp_path))
    shutil.copytree(ROOT / "config", tmp_path / "config", ignore=shutil.ignore_patterns("strategies"))
    (tmp_path / "config" / "strategies").mkdir()
    (tmp_path / "strategies").mkdir()
    return Floor(tmp_path)
