"""A Gateway on the bus in memory before a real simulated exchange in the same process; a test moves the time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from fastapi import FastAPI

from arbig.bus.memory import MemoryBus
from arbig.bus.topics import CMD, EVENT, HEARTBEAT, ORDER_STATUS, POSITION, TRADE
from arbig.domain.counter import CutLine, Fact, InsertOrder, Wish
from arbig.domain.messages import (
    SHANGHAI,
    CommandData,
    CommandType,
    Direction,
    EventData,
    Exchange,
    Heartbeat,
    Message,
    Offset,
    OrderData,
    OrderType,
    PositionData,
    TradeData,
    decode,
    encode,
)
from arbig.exchange.counter import Counter
from arbig.exchange.server import counter_of
from arbig.gateway.door import State
from arbig.gateway.service import GatewayService
from arbig.gateway.sim import DirectLink, SimConnector
from arbig.runtime.clock import ManualClock
from arbig.runtime.settings import Settings, load_settings
from arbig.runtime.simulation import SimulationConfig, load_simulation

ROOT = Path(__file__).parents[2]
WALL = datetime(2026, 11, 22, 12, 0, tzinfo=SHANGHAI)
M = TypeVar("M", bound=Message)


class Street:
    """The exchange's side: a counter, and the line to whoever is connected."""

    def __init__(self, settings: Settings, config: SimulationConfig) -> None:
        self.counter: Counter = counter_of(settings, config)
        self.link: DirectLink | None = None
        self.is_open = True
        self.deaf = False
        self.loses: type | None = None
        self.is_slow = self.is_quiet = False
        self.queued: list[Wish] = []
        self.unsaid: list[Fact] = []
        self.wishes: list[Wish] = []

    def make_link(self) -> DirectLink:
        if not self.is_open:
            return Closed(self.answer)
        self.link = DirectLink(self.answer)
        return self.link

    def answer(self, wish: Wish) -> Sequence[Fact]:
        """`deaf`: hears nothing. `loses`: such wishes never arrive. `is_slow`: orders lie in its queue, and it says
        nothing of them. `is_quiet`: it takes them, and says so later."""
        self.wishes.append(wish)
        return self._answer(wish)

    def _answer(self, wish: Wish) -> Sequence[Fact]:
        if isinstance(wish, CutLine) or self.deaf or (self.loses is not None and isinstance(wish, self.loses)):
            return ()
        if self.is_slow and isinstance(wish, InsertOrder):
            self.queued.append(wish)
            return ()
        said = self.counter.on_wish(wish)
        facts: Sequence[Fact] = (*said.to_asker, *said.to_all)  # type: ignore[assignment]
        if self.is_quiet and isinstance(wish, InsertOrder):
            self.unsaid += facts
            return ()
        return facts

    def speak(self) -> None:
        """What lay in the queue arrives, and what was not said is said."""
        self.is_slow = self.is_quiet = False
        facts = [*self.unsaid, *(fact for wish in self.queued for fact in self._answer(wish))]
        self.unsaid, self.queued = [], []
        if self.link is not None and self.link.hear is not None:
            self.link.hear(facts)

    def advance_to(self, moment: str) -> None:
        """Let the session run; whoever is connected hears of it."""
        words = self.counter.advance_to(datetime.fromisoformat(f"2025-{moment}").replace(tzinfo=SHANGHAI))
        if self.link is not None and self.link.hear is not None:
            self.link.hear(words)  # type: ignore[arg-type]

    def cut(self) -> None:
        self.is_open = False
        assert self.link is not None
        self.link.cut("the line is cut")

    @property
    def price(self) -> float:
        now = self.counter.exchange.session_time
        return list(self.counter.exchange.ticks_between(now - timedelta(minutes=2), now))[-1].last_price


class Closed(DirectLink):
    async def open(self, hear: Callable[[Sequence[Fact]], None]) -> None:
        raise ConnectionRefusedError("nobody listens")


class Desk:
    """What a test does and sees."""

    def __init__(self, settings: Settings, street: Street, bus: MemoryBus, clock: ManualClock) -> None:
        self.settings, self.street, self.bus, self.clock = settings, street, bus, clock
        self.simulation = load_simulation(settings)
        self.gateway: GatewayService = self._new_gateway()
        self._listening: asyncio.Task[None] | None = None
        self.published: list[tuple[str, bytes]] = []

    def _new_gateway(self) -> GatewayService:
        connector = SimConnector(
            self.street.make_link, self.clock, self.simulation.reconnect_seconds, self.settings.symbols
        )
        return GatewayService(self.settings, self.bus, self.clock, connector)

    async def start(self, told: bool = True) -> None:
        listening = asyncio.Event()

        async def listen() -> None:
            async for batch in self.bus.listen("tick:*", HEARTBEAT.of("gateway")):
                listening.set()
                self.published += batch

        self._listening = asyncio.ensure_future(listen())
        await listening.wait()
        if told:
            self.gateway.stand(State.ACTIVE, "the test trades", 1)
        await self.gateway.start()
        await self.settle()

    async def stop(self) -> None:
        await self.gateway.stop()
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)

    async def restart(self) -> None:
        """The Gateway dies and comes back on the same journal and the same streams."""
        await self.gateway.stop()
        if self.street.link is not None:
            self.street.link.close()
        self.gateway = self._new_gateway()
        await self.gateway.start()
        await self.settle()

    async def wait(self, seconds: float) -> None:
        """Wall time passes."""
        await self.settle()
        await self.clock.advance(seconds)
        await self.settle()

    async def reconnect(self) -> None:
        self.street.cut()
        self.street.is_open = True
        await self.wait(5)

    async def settle(self) -> None:
        """Every task has had its turn."""
        for _ in range(30):
            await asyncio.sleep(0)

    async def to(self, moment: str) -> None:
        self.street.advance_to(moment)
        await self.settle()

    async def order(self, request_id: str, price: float, volume: int = 1, **more: Any) -> None:
        await self.command(request_id, CommandType.SEND_ORDER, price=price, volume=volume, **more)

    async def cancel(self, request_id: str, order_request_id: str | None = None, order_id: str | None = None) -> None:
        await self.command(request_id, CommandType.CANCEL_ORDER, order_request_id=order_request_id, order_id=order_id)

    async def command(self, request_id: str, kind: CommandType, **more: Any) -> None:
        fields: dict[str, Any] = {
            "symbol": "au2512",
            "exchange": Exchange.SHFE,
            "direction": Direction.LONG,
            "offset": Offset.OPEN,
            "order_type": OrderType.LIMIT,
            "price": 800.0,
            "volume": 1,
            "timestamp": self.street.counter.exchange.session_time,
            "strategy_name": "MaRsiStrategy",
            "expires_at": self.clock.now() + timedelta(seconds=3),
            **more,
        }
        await self.bus.append([(CMD.name, encode(CommandData(cmd_type=kind, request_id=request_id, **fields)))])
        await self.settle()

    async def stream(self, name: str, kind: type[M]) -> list[M]:
        return [decode(kind, entry.payload) for entry in await self.bus.read(name)]

    async def statuses(self, request_id: str) -> list[str]:
        orders = await self.stream(ORDER_STATUS.name, OrderData)
        return [
            f"{order.status}{'+' + order.detail if order.detail else ''}"
            for order in orders
            if order.request_id == request_id
        ]

    async def trades(self) -> list[TradeData]:
        return await self.stream(TRADE.name, TradeData)

    async def positions(self) -> list[PositionData]:
        return await self.stream(POSITION.name, PositionData)

    async def events(self) -> list[str]:
        return [str(event.event) for event in await self.stream(EVENT.name, EventData)]

    def beats(self) -> list[Heartbeat]:
        return [decode(Heartbeat, payload) for channel, payload in self.published if channel == "hb:gateway"]

    async def get(self, path: str, status: int = 200) -> Any:
        return await self._ask("GET", path, status)

    async def post(self, path: str, body: object, status: int = 200) -> Any:
        return await self._ask("POST", path, status, body)

    async def _ask(self, method: str, path: str, status: int, body: object = None) -> Any:
        app = FastAPI()
        self.gateway.routes(app)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://gateway") as client:
            answer = await client.request(method, path, json=body)
        assert answer.status_code == status, answer.text
        return answer.json()


@pytest.fixture
def open_desk(tmp_path: Path) -> Callable[..., Any]:
    """`async with open_desk() as desk:` at 21:01, connected; `edits` change lines of simulation.yaml. `told`: Trading
    has said that orders may be sent."""
    config = tmp_path / "config"
    config.mkdir()
    (config / "strategies").mkdir()
    for place in (".", "strategies"):
        for file in (ROOT / "config" / place).glob("*.yaml"):
            (config / place / file.name).write_text(file.read_text())

    @asynccontextmanager
    async def opened(at: str = "10-14T21:01:00", told: bool = True, **edits: str) -> AsyncIterator[Desk]:
        simulation = config / "simulation.yaml"
        lines = simulation.read_text().splitlines()
        for key, value in {"history_days": "0", **edits}.items():
            lines = [f"{key}: {value}" if line.startswith(f"{key}:") else line for line in lines]
        simulation.write_text("\n".join(lines))
        settings = load_settings(root=ROOT, config=config, data=tmp_path / "data")
        street = Street(settings, load_simulation(settings))
        street.advance_to(at)
        desk = Desk(settings, street, MemoryBus(), ManualClock(WALL))
        try:
            await desk.start(told)
            yield desk
        finally:
            await desk.stop()
            street.counter.close()

    return opened
