"""Strategy. In: tick:* bar:* stream:trade stream:position stream:order_status stream:event  Out: stream:order
Keeps: runs, variables, stop orders and positions of the strategies in `config/strategies/`.

Start (specification 2.4 and 5.3): positions from Trading, history from Market, streams from where those positions end,
then Pub/Sub.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from itertools import count
from typing import Any, ClassVar, TypeVar

import structlog
from fastapi import FastAPI, HTTPException, Query

from arbig.bus.port import Bus, BusError
from arbig.runtime.calendar import load_calendar
from arbig.runtime.clock import Clock
from arbig.runtime.deployment import Binding, Deployment, Edit
from arbig.runtime.http import CallError, call
from arbig.runtime.instruments import load_instruments
from arbig.runtime.service import Service
from arbig.runtime.settings import Settings
from arbig.store.faults import StoreError
from arbig.store.strategies import StrategyStore
from arbig.strategy.deployment import Deployed, Deployer, Refused
from arbig.strategy.engine import Ask, StrategyEngine
from arbig.strategy.frames import Fetch
from arbig.strategy.house import House
from arbig.strategy.live import LiveStrategy, State
from arbig.strategy.port import RunnerFactory
from arbig.strategy.process import ProcessRunner
from arbig.strategy.subscriber import DataSubscriber

log = structlog.get_logger()

RESYNC_SECONDS = (0.2, 0.5, 1.0, 2.0)
FLUSH_SECONDS = 0.5
COMMANDS = ("start", "stop", "pause", "resume")

T = TypeVar("T")


class StrategyService(Service):
    name: ClassVar[str] = "strategy"
    needs: ClassVar[str | None] = "trading"

    def __init__(
        self,
        settings: Settings,
        bus: Bus,
        clock: Clock,
        *,
        runner: RunnerFactory = ProcessRunner,
        ask: Ask | None = None,
    ) -> None:
        super().__init__(settings, bus, clock)
        self._runner = runner
        self._ask: Ask = ask or self._http
        self.engine: StrategyEngine | None = None
        self.subscriber: DataSubscriber | None = None
        self.store: StrategyStore | None = None
        self.deployer: Deployer | None = None
        self._listening: asyncio.Task[Any] | None = None
        self._lives: dict[str, asyncio.Task[Any]] = {}

    async def _http(self, service: str, method: str, path: str, **rest: Any) -> Any:
        return await call(self.settings, service, method, path, **rest)

    async def start(self) -> None:
        self.store = await self.opened(self.settings.database(self.name), StrategyStore.open)
        house = House(
            self.settings,
            self.bus,
            self.clock,
            self.store,
            self._runner,
            self._history,
            load_instruments(self.settings),
            load_calendar(self.settings),
        )
        self.engine = engine = StrategyEngine(house, self._ask)
        self.subscriber = DataSubscriber(self.bus, engine)
        self.deployer = Deployer(engine, self._adopt)
        engine.read()
        await self._resync(engine)
        await self._subscribe(engine)
        for live in engine.strategies.values():
            self._give_life(live)
        self._listening = self.spawn(self.subscriber.market_data(), name="market data")
        await asyncio.gather(*(live.command("continue") for live in engine.wanted()))
        await engine.finish()
        self.spawn(self.subscriber.streams(), name="streams")
        self.spawn(self._flush(house), name="outbox")

    def _give_life(self, live: LiveStrategy) -> None:
        self._lives[live.name] = self.spawn(live.live(), name=f"strategy {live.name}")

    def _adopt(self, live: LiveStrategy) -> None:
        assert self.engine is not None
        self.engine.add(live)
        self._give_life(live)

    async def _history(self, wish: Fetch) -> tuple[bytes, ...]:
        assert self.engine is not None
        return await self.engine.history(wish)

    async def _resync(self, engine: StrategyEngine) -> None:
        for attempt in count():
            try:
                await engine.resync()
                return
            except CallError as error:
                pause = RESYNC_SECONDS[min(attempt, len(RESYNC_SECONDS) - 1)]
                log.warning(f"waiting for Trading: {error}")
                await self.clock.sleep(pause)

    async def _subscribe(self, engine: StrategyEngine) -> None:
        """The Gateway shall send the strategies' contracts, whatever else it subscribes to."""
        if not engine.symbols:
            return
        try:
            await self._ask("gateway", "POST", "/subscribe", json={"symbols": list(engine.symbols)})
        except CallError as error:
            log.warning(f"subscribe: {error}")

    async def _flush(self, house: House) -> None:
        while True:
            await self.clock.sleep(FLUSH_SECONDS)
            try:
                await house.flush_outbox()
            except BusError as error:
                log.warning(f"outbox: {error}")
            except StoreError as error:
                if house.fault is None:  # else it has been said
                    log.warning(f"outbox: {error}")

    async def stop(self) -> None:
        await self.cancel_tasks()
        if self.engine is not None:
            await self.engine.close()
        if self.store is not None:
            self.store.close()

    def routes(self, app: FastAPI) -> None:
        @app.get("/strategies")
        async def strategies() -> dict[str, Any]:
            return self._ready().describe()

        @app.get("/strategies/{name}")
        async def strategy(name: str) -> dict[str, Any]:
            return self._named(name).describe()

        @app.post("/strategies", status_code=201)
        async def deploy(wish: Deployment) -> dict[str, Any]:
            done = await self._changed(wish.name, lambda: self._deployer().deploy(wish))
            return await self._told(done)

        @app.patch("/strategies/{name}")
        async def edit(name: str, edit: Edit) -> dict[str, Any]:
            done = await self._changed(name, lambda: self._deployer().edit(self._named(name), edit))
            return await self._told(done)

        @app.delete("/strategies/{name}")
        async def remove(name: str, force: bool = False) -> dict[str, Any]:
            aside = await self._changed(name, lambda: self._deployer().remove(self._named(name), force))
            self._lives.pop(name).cancel()
            return {"strategy_name": name, "file": str(aside)}

        @app.get("/strategies/{name}/runs/{run_id}")
        async def run(name: str, run_id: str) -> dict[str, Any]:
            assert self.store is not None
            found = self.store.begun(name, run_id)
            if found is None:
                raise HTTPException(404, f"{name}: no run {run_id!r} is known")
            return {**asdict(found[0]), "params_hash": found[0].params_hash, "source": found[1]}

        @app.get("/predictions")
        async def predictions(
            strategy: str | None = None, request_id: str | None = None, limit: int = Query(100, ge=1, le=5000)
        ) -> dict[str, Any]:
            if self.store is None:
                raise HTTPException(503, "the strategies are not read yet")
            return {"predictions": self.store.predictions(strategy, request_id, limit)}

        @app.post("/strategies/{name}/hold")
        async def hold(name: str) -> dict[str, Any]:
            """Trading's: its lots move to the next contract."""
            await self._changed(name, lambda: self._deployer().hold(self._named(name)))
            return self._named(name).describe()

        @app.post("/strategies/{name}/bind")
        async def bind(name: str, wish: Binding) -> dict[str, Any]:
            """Trading's: its lots have moved."""
            await self._changed(name, lambda: self._deployer().bind(self._named(name), wish))
            await self._follow(self._named(name))
            return self._named(name).describe()

        @app.post("/strategies/{name}/{command}")
        async def command(name: str, command: str) -> dict[str, Any]:
            live = self._named(name)
            if command not in COMMANDS:
                raise HTTPException(404, f"{command}: no such command; expected one of: {', '.join(COMMANDS)}")
            self._check_writable(name)
            if live.state is State.ROLLING:
                raise HTTPException(409, f"{name}: its lots move to the next contract; wait, or stop that first")
            await live.command(command)
            await self._follow(live)
            return live.describe()

    def _check_writable(self, name: str) -> None:
        fault = self._ready().house.fault
        if fault is not None:
            raise HTTPException(503, f"what becomes of {name} cannot be written down: {fault}")

    async def _changed(self, name: str, change: Callable[[], Awaitable[T]]) -> T:
        self._check_writable(name)
        try:
            return await change()
        except Refused as refused:
            raise HTTPException(refused.status, str(refused)) from None

    async def _told(self, done: Deployed) -> dict[str, Any]:
        """What became of it. A new strategy's contracts may be ones that nobody had listened to."""
        if done.is_new:
            await self._hear_more()
        else:
            await self._follow(done.live)
        return {**done.live.describe(), "attached": done.attached}

    async def _follow(self, live: LiveStrategy) -> None:
        """A mended file may name a contract that nobody had listened to."""
        assert self.engine is not None
        if self.engine.follow(live):
            await self._hear_more()

    async def _hear_more(self) -> None:
        assert self.engine is not None and self.subscriber is not None
        await self._subscribe(self.engine)
        if self._listening is not None:
            self._listening.cancel()
        self._listening = self.spawn(self.subscriber.market_data(), name="market data")

    def _ready(self) -> StrategyEngine:
        if self.engine is None:
            raise HTTPException(503, "the strategies are not read yet")
        return self.engine

    def _deployer(self) -> Deployer:
        if self.deployer is None:
            raise HTTPException(503, "the strategies are not read yet")
        return self.deployer

    def _named(self, name: str) -> LiveStrategy:
        found = self._ready().strategies
        if name not in found:
            raise HTTPException(404, f"{name}: no such strategy; there are: {', '.join(found) or 'none'}")
        return found[name]

    def status(self) -> dict[str, object]:
        if self.engine is None or self.subscriber is None:
            return {}
        lives = self.engine.strategies.values()
        return {
            "strategies": len(lives),
            **{str(state).lower(): sum(live.state is state for live in lives) for state in State},
            "connected": self.engine.house.connected,
            "alarms": [self.engine.house.fault] if self.engine.house.fault else [],
            "ticks": self.subscriber.ticks,
            "bad_messages": self.subscriber.bad_messages,
            "bars_refilled": self.engine.bars_refilled,
        }
