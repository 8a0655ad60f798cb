"""A desk: the real Trading service on the bus in memory, and a counter written by hand behind a pretended Gateway."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from places import kinds, settings_on

from arbig.bus.memory import MemoryBus
from arbig.bus.port import Bus, Entry
from arbig.bus.topics import CMD, EVENT, ORDER, ORDER_STATUS, POSITION, TICK, TRADE
from arbig.domain.messages import (
    SHANGHAI,
    CommandData,
    CommandType,
    Direction,
    EventData,
    EventType,
    Exchange,
    Offset,
    OrderData,
    OrderRequest,
    OrderType,
    PositionData,
    Status,
    TickData,
    TradeData,
    decode,
    encode,
)
from arbig.runtime.clock import Clock, WallClock
from arbig.runtime.http import CallError
from arbig.runtime.settings import Settings
from arbig.trading.service import TradingService

ROOT = Path(__file__).parents[2]
TEN = datetime(2025, 10, 15, 10, 0, tzinfo=SHANGHAI)
DAY = TEN.date()


class Counter:
    """What the Gateway would say. It knows the orders it was sent, and fills them when told to."""

    def __init__(self) -> None:
        self.bus: Bus = MemoryBus()
        self.time = TEN
        self.day = DAY
        self.connected = True
        self.answers = True
        self.is_deaf = False
        self.door: dict[str, Any] = {"state": "HALTED", "reason": "never told", "since": None, "number": 0}
        self.is_told: list[dict[str, Any]] = []
        self.orders: dict[str, OrderData] = {}
        self.trades: list[TradeData] = []
        self.held: dict[tuple[str, Direction], PositionData] = {}
        self.commands: list[CommandData] = []
        self.wishes = 0
        self.silent: set[str] = set()
        self.strategy: Any = None
        self.account = {
            "account_id": "sim",
            "trading_day": DAY.isoformat(),
            "balance": 1_000_000.0,
            "available": 900_000.0,
            "margin": 100_000.0,
            "frozen": 0.0,
            "commission": 10.0,
            "close_profit": 0.0,
            "position_profit": 0.0,
            "pre_balance": 1_000_000.0,
            "currency": "CNY",
        }

    async def ask(self, path: str, body: Any = None) -> dict[str, Any]:
        if not self.answers:
            raise CallError("gateway does not answer")
        if path == "/state":
            return self.door if body is None else self.on_state(**body)
        as_of = {name: await self.bus.last_id(name) for name in (ORDER_STATUS.name, TRADE.name, POSITION.name)}
        found: dict[str, dict[str, Any]] = {
            "/clock": {
                "session_time": self.time.replace(tzinfo=None).isoformat(timespec="milliseconds"),
                "trading_day": self.day.isoformat(),
                "speed": 1,
                "connected": self.connected,
            },
            "/orders": {"as_of": as_of, "orders": _plain(self.orders.values())},
            "/trades": {"as_of": as_of, "trades": _plain(self.trades)},
            "/positions": {"as_of": as_of, "positions": _plain(map(self.with_frozen, self.held.values()))},
            "/account": {"as_of": as_of, "account": self.account},
            "/statement": {"statement": None},
            "/subscribe": {},
        }
        return found[path.partition("?")[0]]

    def on_state(self, state: str, reason: str, number: int | None = None) -> dict[str, Any]:
        """The last door: HALTED from anybody, what is looser only with a newer number."""
        if state != "HALTED" and (number or 0) <= self.door["number"]:
            raise CallError("gateway POST /state: 409", 409)
        since = self.time.isoformat()
        newer = self.door["number"] + 1 if number is None else max(number, self.door["number"])
        self.door = {"state": state, "reason": reason, "since": since, "number": newer}
        self.is_told.append(self.door)
        return self.door

    async def on_command(self, entry: Entry) -> None:
        command = decode(CommandData, entry.payload)
        self.commands.append(command)
        if self.is_deaf:
            return
        if command.cmd_type is CommandType.CANCEL_ORDER:
            order = self.orders[command.order_request_id or ""]
            await self.report(order.request_id or "", Status.CANCELLED, order.traded)
        elif command.request_id not in self.orders:
            await self.report(command.request_id, Status.NOTTRADED, 0, command)

    async def report(self, request_id: str, status: Status, traded: int, command: CommandData | None = None) -> None:
        self.time += timedelta(milliseconds=1)
        source: Any = command or self.orders[request_id]
        order_id = self.orders[request_id].order_id if request_id in self.orders else f"{len(self.orders) + 1}"
        order = OrderData(
            order_id=order_id,
            symbol=source.symbol,
            exchange=source.exchange,
            direction=source.direction,
            offset=source.offset,
            order_type=source.order_type,
            price=source.price,
            volume=source.volume,
            traded=traded,
            status=status,
            datetime=self.time,
            strategy_name=source.strategy_name or "",
            request_id=request_id,
            parent_id=source.parent_id,
            account_id="sim",
            trading_day=DAY,
        )
        self.orders[request_id] = order
        await self.bus.append([(ORDER_STATUS.name, encode(order))])

    async def fill(self, request_id: str, volume: int = 1, price: float | None = None) -> TradeData:
        """Trade, report and position, as the counter's private flow brings them."""
        order = self.orders[request_id]
        traded = order.traded + volume
        await self.report(request_id, Status.ALLTRADED if traded == order.volume else Status.PARTTRADED, traded)
        trade = TradeData(
            trade_id=f"{len(self.trades) + 1}",
            order_id=order.order_id,
            symbol=order.symbol,
            exchange=order.exchange,
            direction=order.direction,
            offset=order.offset,
            price=price or order.price,
            volume=volume,
            datetime=self.time,
            strategy_name=order.strategy_name,
            request_id=order.request_id,
            parent_id=order.parent_id,
            account_id="sim",
            trading_day=DAY,
        )
        self.trades.append(trade)
        if TRADE.name not in self.silent:
            await self.bus.append([(TRADE.name, encode(trade))])
        change = volume if order.offset is Offset.OPEN else -volume
        side = order.direction if order.offset is Offset.OPEN else order.direction.opposite
        known = self.held.get((order.symbol, side))
        yesterday = 0 if known is None else known.yd_volume
        if order.offset in (Offset.CLOSE, Offset.CLOSEYESTERDAY):
            yesterday = max(0, yesterday - volume)
        await self.hold(order.symbol, side, self.held_volume(order.symbol, side) + change, yesterday)
        return trade

    def with_frozen(self, position: PositionData) -> PositionData:
        """Working closes keep their lots."""
        closes = [
            order.volume - order.traded
            for order in self.orders.values()
            if order.status.is_active and order.offset is not Offset.OPEN and order.symbol == position.symbol
            and order.direction is position.direction.opposite
        ]  # fmt: skip
        return replace(position, frozen=max(position.frozen, sum(closes)))

    def held_volume(self, symbol: str, direction: Direction) -> int:
        held = self.held.get((symbol, direction))
        return 0 if held is None else held.volume

    async def hold(self, symbol: str, direction: Direction, volume: int, yesterday: int = 0) -> None:
        position = PositionData(
            symbol=symbol,
            exchange=Exchange.SHFE,
            direction=direction,
            volume=volume,
            frozen=0,
            price=800.0,
            pnl=0.0,
            yd_volume=yesterday,
            datetime=self.time,
            account_id="sim",
            trading_day=DAY,
        )
        self.held[symbol, direction] = position
        await self.bus.append([(POSITION.name, encode(position))])

    def tick(self, last: float = 800.0, symbol: str = "au2512", **changes: Any) -> TickData:
        tick: dict[str, Any] = {
            "symbol": symbol,
            "exchange": Exchange.SHFE,
            "datetime": self.time,
            "last_price": last,
            "volume": 1,
            "open_interest": 1,
            "last_volume": 1,
            "open_price": last,
            "high_price": last,
            "low_price": last,
            "pre_close": last,
            "limit_up": last + 40,
            "limit_down": last - 40,
            "bid_price_1": last - 0.02,
            "bid_volume_1": 5,
            "ask_price_1": last + 0.02,
            "ask_volume_1": 5,
        }
        return TickData(**tick | changes)

    async def tell(self, event: EventType) -> None:
        said = EventData(event=event, source="gateway", datetime=self.time, trading_day=self.day)
        await self.bus.append([(EVENT.name, encode(said))])


def _plain(messages: Any) -> list[Any]:
    return [json.loads(encode(message)) for message in messages]


class DeskTrading(TradingService):
    """The service itself; only the other end of its questions is the counter above."""

    counter: Counter

    async def ask(self, path: str, body: Any = None) -> Any:
        return await self.counter.ask(path, body)

    async def ask_strategy(self, method: str, path: str, body: Any = None) -> Any:
        return await self.counter.strategy(method, path, body)

    async def janitors_bus(self) -> Any:
        return self.bus


class Desk:
    """The service at work, and what a test does to it."""

    def __init__(self, service: DeskTrading, counter: Counter, bus: Bus) -> None:
        self.service = service
        self.counter = counter
        self.bus = bus

    def request(self, **changes: Any) -> OrderRequest:
        self.counter.wishes += 1
        wish: dict[str, Any] = {
            "request_id": f"request-{self.counter.wishes}",
            "strategy_name": "MaRsiStrategy",
            "symbol": "au2512",
            "exchange": Exchange.SHFE,
            "direction": Direction.LONG,
            "offset": Offset.OPEN,
            "order_type": OrderType.LIMIT,
            "price": 800.0,
            "volume": 1,
            "timestamp": self.service.clock.now(),
        }
        return OrderRequest(**(wish | changes))

    async def order(self, request: OrderRequest | None = None, **changes: Any) -> str:
        wish = request or self.request(**changes)
        await self.bus.append([(ORDER.name, encode(wish))])
        return wish.request_id

    async def cancel(self, request_id: str) -> str:
        return await self.order(cmd_type=CommandType.CANCEL_ORDER, order_request_id=request_id)

    async def quote(self, last: float = 800.0, symbol: str = "au2512", **changes: Any) -> None:
        await self.bus.publish([(TICK.of(symbol), encode(self.counter.tick(last, symbol, **changes)))])

    async def until(self, condition: Callable[[], object], seconds: float = 5.0) -> None:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - the states looked at announce nothing
                await asyncio.sleep(0.001)

    async def status(self, request_id: str, status: Status) -> OrderData:
        def reached() -> bool:
            state = self.service.orders.get(request_id)
            return state is not None and state.status is status

        await self.until(reached)
        state = self.service.orders.get(request_id)
        assert state is not None
        return state.to_order_data()

    async def said(self, stream: str) -> list[bytes]:
        return [entry.payload for entry in await self.bus.read(stream)]


Opening = Callable[..., Any]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "kind" in metafunc.fixturenames:
        metafunc.parametrize("kind", kinds(metafunc))


@pytest.fixture
def settings(tmp_path: Path, kind: str) -> Settings:
    return settings_on(kind, tmp_path, ROOT)


@pytest.fixture
def opened(settings: Settings) -> Opening:
    """`async with opened(counter) as desk:`; the database and the counter's bus outlive the desk."""

    @asynccontextmanager
    async def opening(counter: Counter | None = None, clock: Clock | None = None) -> AsyncIterator[Desk]:
        counter = counter or Counter()
        service = DeskTrading(settings, counter.bus, clock or WallClock())
        service.counter = counter
        gateway = asyncio.ensure_future(counter.bus.consume("group:gateway", {CMD.name: counter.on_command}))
        desk = Desk(service, counter, counter.bus)
        try:
            await service.start()
            await desk.quote()
            await desk.until(lambda: service.quotes.tick("au2512"))
            yield desk
        finally:
            await service.stop()
            gateway.cancel()
            await asyncio.gather(gateway, return_exceptions=True)

    return opening


@pytest.fixture
def counter() -> Counter:
    return Counter()
