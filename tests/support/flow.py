"""The whole house in one thread: memory bus, virtual clock, strategies in the same process, the exchange a call away.

Every run of the same seed is the same run, to the byte.
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import yaml
from fastapi import FastAPI

from arbig.bus.memory import MemoryBus
from arbig.domain.counter import TickBatch
from arbig.domain.messages import SHANGHAI
from arbig.exchange.server import counter_of
from arbig.gateway.service import GatewayService
from arbig.gateway.sim import DirectLink, SimConnector
from arbig.market.service import MarketService
from arbig.runtime.clock import ManualClock
from arbig.runtime.http import CallError
from arbig.runtime.service import Service
from arbig.runtime.settings import Settings, load_settings
from arbig.runtime.simulation import load_simulation
from arbig.strategy.memory import MemoryRunner
from arbig.strategy.service import StrategyService
from arbig.trading.service import TradingService

ROOT = Path(__file__).parents[2]
STEP = timedelta(seconds=1)
GRACE = timedelta(seconds=5)


class Recorder(MemoryBus):
    """Remembers every channel message and stream entry, in order."""

    def __init__(self, now: Any) -> None:
        super().__init__(now)
        self.said: list[tuple[str, bytes]] = []

    async def publish(self, items: Sequence[tuple[str, bytes]]) -> None:
        self.said += [item for item in items if not item[0].startswith("hb:")]
        await super().publish(items)

    async def append(self, items: Sequence[tuple[str, bytes]]) -> list[str]:
        self.said += items
        return await super().append(items)

    def of(self, prefix: str) -> list[bytes]:
        return [payload for name, payload in self.said if name.startswith(prefix)]

    def digest(self, prefix: str) -> str:
        return hashlib.sha256(b"\n".join(self.of(prefix))).hexdigest()


class Flow:
    """`await flow.play(minutes)` lets session time pass; between two steps everybody finishes what they have to do."""

    def __init__(self, settings: Settings) -> None:
        self.clock = ManualClock(datetime(2026, 1, 5, 9, 0, tzinfo=SHANGHAI))
        self.bus = Recorder(self.clock.now)
        simulation = load_simulation(settings)
        self.counter = counter_of(settings, simulation)
        self.link = DirectLink(self._answer)
        connector = SimConnector(lambda: self.link, self.clock, simulation.reconnect_seconds, settings.symbols)
        self.gateway = GatewayService(settings, self.bus, self.clock, connector)
        self.market = MarketService(settings, self.bus, self.clock, ask=self._ask_gateway)
        self.trading = TradingService(settings, self.bus, self.clock)
        self.trading.ask = self._ask_gateway_get  # type: ignore[method-assign]
        self.trading.ask_strategy = self._ask_strategy  # type: ignore[method-assign]
        self.trading.ask_market = self._ask_market  # type: ignore[method-assign]
        self.strategy = StrategyService(settings, self.bus, self.clock, runner=MemoryRunner, ask=self.ask)
        self.services: tuple[Service, ...] = (self.gateway, self.market, self.trading, self.strategy)
        self._faces = {service.name: _face(service) for service in self.services}

    def _answer(self, wish: Any) -> Sequence[Any]:
        said = self.counter.on_wish(wish)
        return (*said.to_asker, *said.to_all)

    async def ask(self, service: str, method: str, path: str, *, params: Any = None, json: Any = None, **_: Any) -> Any:
        async with httpx.AsyncClient(transport=self._faces[service], base_url="http://house") as client:
            answer = await client.request(method, path, params=params, json=json)
        if answer.is_error:
            raise CallError(f"{service} {method} {path}: {answer.text}", answer.status_code)
        return answer.json()

    async def _ask_gateway(self, method: str, path: str, **rest: Any) -> Any:
        return await self.ask("gateway", method, path, **rest)

    async def _ask_gateway_get(self, path: str, body: Any = None) -> Any:
        return await self.ask("gateway", "GET" if body is None else "POST", path, json=body)

    async def _ask_strategy(self, method: str, path: str, body: Any = None) -> Any:
        return await self.ask("strategy", method, path, json=body)

    async def _ask_market(self, path: str, query: Any) -> Any:
        return await self.ask("market", "GET", path, params=query)

    async def play(self, minutes: float) -> None:
        """So much trading time passes; closed hours pass in one leap."""
        for _ in range(int(minutes * 60 / STEP.total_seconds())):
            words = self.counter.advance(STEP, GRACE)
            if self.link.hear is not None:
                self.link.hear(words)
            await self.clock.advance(STEP.total_seconds())
            if any(not isinstance(word, TickBatch) for word in words):
                await self.quiet()

    async def quiet(self) -> None:
        """Until no group has anything left to read or to finish."""
        for _ in range(400):
            for _ in range(20):
                await asyncio.sleep(0)
            if not any(state.pending or state.lag for state in await self.bus.groups()):
                return
            await self.clock.advance(0.01)
        raise AssertionError(f"never quiet: {[s for s in await self.bus.groups() if s.pending or s.lag]}")


def flow_settings(home: Path, seed: int = 1, strategies: tuple[str, ...] = ("ma_rsi",), **simulation: Any) -> Settings:
    """Config and strategies as they come, in a folder of their own; only the strategies of these files run."""
    shutil.copytree(ROOT / "config", home / "config")
    shutil.copytree(ROOT / "strategies", home / "strategies", ignore=shutil.ignore_patterns("__pycache__"))
    edit(home / "config" / "simulation.yaml", seed=seed, **simulation)
    for file in (home / "config" / "strategies").glob("*.yaml"):
        edit(file, enabled=file.stem in strategies)
    return load_settings(root=home, config=home / "config", data=home / "data", port_offset=0)


def edit(path: Path, **changes: Any) -> None:
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text("utf-8")), **changes}), "utf-8")


def _face(service: Service) -> httpx.ASGITransport:
    app = FastAPI()
    service.routes(app)
    return httpx.ASGITransport(app=app)


@asynccontextmanager
async def flow(settings: Settings, after_minutes: int = 0) -> AsyncIterator[Flow]:
    """The house opens when so many minutes of the first day's trading have passed."""
    house = Flow(settings)
    try:
        for _ in range(after_minutes):
            house.counter.advance(timedelta(minutes=1), GRACE)
        for service in house.services:
            starting = asyncio.ensure_future(service.start())
            while not starting.done():
                await asyncio.sleep(0.001)  # history is fetched in a thread
                await house.clock.advance(0)
            starting.result()
        yield house
    finally:
        for service in reversed(house.services):
            await service.stop()
        house.counter.close()
