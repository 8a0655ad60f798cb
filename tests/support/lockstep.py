"""The house in lockstep: the exchange's clock goes from tick to tick and waits each time until everybody has answered.

What can go wrong live is put in from outside: orders that arrive late, fills at another price, orders and market data
that are lost on their way.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from flow import GRACE, Flow, edit, flow_settings
from msgspec.structs import replace

from arbig.domain.counter import InsertOrder, TickBatch, TradeReport
from arbig.domain.messages import SHANGHAI, OrderRequest, TickData, decode
from arbig.runtime.settings import Settings, load_settings

TICK = timedelta(milliseconds=500)
MINUTE = timedelta(minutes=1)
ACTIVE = {"fast_window": 3, "slow_window": 8, "rsi_window": 14, "rsi_long": 40, "rsi_short": 60, "volume": 3}

QUICK = {"fast_window": 2, "slow_window": 5, "rsi_window": 14, "rsi_long": 0, "rsi_short": 100, "volume": 1}


@dataclass(frozen=True)
class Faults:
    """`delay`: how long an order is on its way to the exchange; `slipped`: by how much fills are worse than the book;
    `lost_order`: which of the strategies' orders never arrives; `deaf`: from when to when no market data gets through,
    and the counter has none either."""

    delay: timedelta = timedelta()
    slipped: float = 0.0
    lost_order: Callable[[OrderRequest], bool] | None = None
    deaf: tuple[datetime, datetime] | None = None


class Lockstep(Flow):
    """`ticks`: everything the exchange has shown, heard or not."""

    def __init__(self, settings: Settings, faults: Faults) -> None:
        super().__init__(settings)
        self.faults = faults
        self.ticks: list[TickData] = []
        self._late: list[tuple[datetime, Any]] = []
        append, publish = self.bus.append, self.bus.publish

        async def appended(items: Sequence[tuple[str, bytes]]) -> list[str]:
            kept = [item for item in items if not self._loses(*item)]
            return await append(kept) if kept else ["0-1" for _ in items]

        async def published(items: Sequence[tuple[str, bytes]]) -> None:
            await publish([item for item in items if not (self.is_deaf and item[0].startswith("tick:"))])

        self.bus.append, self.bus.publish = appended, published  # type: ignore[method-assign]

    @property
    def now(self) -> datetime:
        return self.counter.exchange.session_time

    @property
    def is_deaf(self) -> bool:
        return self.faults.deaf is not None and self.faults.deaf[0] <= self.now < self.faults.deaf[1]

    def _loses(self, stream: str, payload: bytes) -> bool:
        lost = self.faults.lost_order
        return lost is not None and stream == "stream:order" and lost(decode(OrderRequest, payload))

    def _answer(self, wish: Any) -> Sequence[Any]:
        if self.faults.delay and isinstance(wish, InsertOrder):
            self._late.append((self.now + self.faults.delay, wish))
            return ()
        return self._slipped(super()._answer(wish))

    def _slipped(self, words: Sequence[Any]) -> Sequence[Any]:
        worse = self.faults.slipped
        return [
            replace(word, price=round(word.price + worse * word.direction.sign, 6))
            if worse and isinstance(word, TradeReport)
            else word
            for word in words
        ]

    async def _ask_gateway(self, method: str, path: str, **rest: Any) -> Any:
        if path == "/history" and self.faults.deaf is not None and self.now >= self.faults.deaf[0]:
            return {"bars": []}
        return await super()._ask_gateway(method, path, **rest)

    async def play_until(self, moment: datetime) -> None:
        """Tick by tick; over closed hours in one leap."""
        while self.now < moment:
            await self._arrive(self.now + self._to_next_tick)
            await self._hear(self.counter.advance(self._to_next_tick, GRACE))

    @property
    def _to_next_tick(self) -> timedelta:
        return TICK - timedelta(microseconds=self.now.microsecond) % TICK

    async def _arrive(self, until: datetime) -> None:
        """Late orders that come before the next tick."""
        while self._late and self._late[0][0] < until:
            when, wish = self._late.pop(0)
            await self._hear([*self.counter.advance_to(max(when, self.now)), *super()._answer(wish)])

    async def _hear(self, words: Sequence[Any]) -> None:
        for word in words:
            if isinstance(word, TickBatch):
                self.ticks += [decode(TickData, bytes(raw)) for _, _, raw in word.ticks]
        if self.link.hear is not None:
            self.link.hear(self._slipped(words))
        await self.clock.advance(TICK.total_seconds())
        await self.quiet()


def lockstep_settings(home: Path, risk: dict[str, Any] | None = None, **strategies: dict[str, Any]) -> Settings:
    """These files of `config/strategies/` with these params, on au2512; by default MaRsiStrategy, quick enough to trade
    every few minutes. Ticks are recorded."""
    wanted = strategies or {"ma_rsi": ACTIVE}
    flow_settings(home, strategies=tuple(wanted))
    edit(home / "config" / "arbig.yaml", record_ticks=True, symbols=["au2512"])
    edit(home / "config" / "market.yaml", history_days=2)
    for file in (home / "config" / "strategies").glob("*.yaml"):
        if file.stem in wanted:
            edit(file, symbol="au2512", params=wanted[file.stem], risk=risk or {"max_position": 6})
        else:
            file.unlink()
    return load_settings(root=home, config=home / "config", data=home / "data", port_offset=0)


@asynccontextmanager
async def lockstep(settings: Settings, begin: datetime, faults: Faults = Faults()) -> AsyncIterator[Lockstep]:
    """The house opens at a moment of the first trading day."""
    house = Lockstep(settings, faults)
    try:
        while house.now < begin:
            house.counter.advance(min(MINUTE, begin - house.now), GRACE)
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


def at(clock: str, day: str = "2025-10-15") -> datetime:
    """A moment of the first day."""
    return datetime.fromisoformat(f"{day}T{clock}").replace(tzinfo=SHANGHAI)
