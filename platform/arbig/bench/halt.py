"""Halt: how soon after a person's halt no order reaches the exchange any more, and how long twenty working orders take
to be cancelled where the counter takes three cancels a second, as CTP does. The real Gateway, Market and Trading; the
bench stands in the exchange's place, and every order rests.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import uvloop
from msgspec.structs import replace
from tqdm import tqdm

from arbig.bench.counter import BenchCounter
from arbig.bench.house import BenchFailed, House
from arbig.bench.latency import tick_of
from arbig.bench.report import quantile
from arbig.bus.redis import RedisBus
from arbig.bus.topics import ORDER
from arbig.domain.counter import CancelOrder, InsertOrder, TickBatch, Wish
from arbig.domain.messages import SHANGHAI, Direction, Exchange, Offset, OrderRequest, OrderType, Status, encode
from arbig.gateway.ctp.pace import Pace
from arbig.runtime.clock import WallClock
from arbig.runtime.halting import halt
from arbig.runtime.http import ask

OPENING = datetime(2025, 10, 15, 9, 1, tzinfo=SHANGHAI)
DAY = date(2025, 10, 15)
SYMBOL = "au2512"
SERVICES = ("gateway", "market", "trading")
FLOOD_SECONDS, FLOOD_PAUSE = 0.5, 0.01
WORKING = 20
PATIENCE_SECONDS = 60.0
RISK = "\n".join(
    f"{rule}: null"
    for rule in (
        "price_band", "order_rate", "working_orders", "duplicate_order", "cancel_rate", "message_bursts", "cancels",
        "large_cancels", "self_trades", "product_position", "margin_use", "stale_market", "runaway", "stream_lag",
    )
)  # fmt: skip
FILES = {
    "config/arbig.yaml": f"symbols: [{SYMBOL}]\n",
    "config/redis_config.yaml": "host: localhost\nport: 6379\n",
    "config/simulation.yaml": "wait_for: [market, trading]\n",
    "config/risk.yaml": f"{RISK}\n",
}


class RestingCounter(BenchCounter):
    """Takes every order and fills none; cancels at a pace, or at once."""

    def __init__(self, socket: Path) -> None:
        self.arrived: list[int] = []
        self.working: set[int] = set()
        self.pace: Pace | None = None
        super().__init__(socket, OPENING, DAY, [SYMBOL], lambda wish, at: self.arrived.append(at))

    def _filled(self, wish: InsertOrder) -> tuple[Any, ...]:
        resting = self._report(wish, len(self._orders) + 1, Status.NOTTRADED, 0)
        self._orders.append(resting)
        self.working.add(len(self._orders))
        return (resting,)

    def _on_wish(self, wish: Wish, arrived: int) -> None:
        if not isinstance(wish, CancelOrder):
            super()._on_wish(wish, arrived)
            return
        wait = self.pace.take(time.monotonic()) if self.pace is not None else 0.0
        asyncio.get_running_loop().call_later(wait, self._cancel, wish)

    def _cancel(self, wish: CancelOrder) -> None:
        number = next((n for n in self.working if self._orders[n - 1].order_ref == wish.order_ref), None)
        if number is not None:
            self.working.discard(number)
            gone = replace(self._orders[number - 1], flow=next(self._flow), status=Status.CANCELLED)
            self._orders[number - 1] = gone
            self.say(gone)


def run(folder: Path, rounds: int) -> dict[str, Any]:
    result: dict[str, Any] = uvloop.run(_run(folder, rounds))
    return result


async def _run(folder: Path, rounds: int) -> dict[str, Any]:
    house = House(folder / "halt", FILES)
    counter = RestingCounter(house.settings.socket("exchange"))
    try:
        house.start("redis")
        await asyncio.to_thread(house.wait, "redis")
        await counter.open()
        house.start(*SERVICES)
        await asyncio.to_thread(house.wait, *SERVICES)
        await counter.clock_runs.wait()
        tick = msgspec.Raw(encode(tick_of(0, OPENING)))
        counter.say(TickBatch(ticks=((SYMBOL, 1, tick),)))
        counter.tell_time(OPENING)
        bus = await RedisBus.connect(house.settings.redis_for("strategy"))
        try:
            bench = Halting(house, counter, bus)
            blocked = [await bench.block() for _ in tqdm(range(rounds), unit="halt")]
            counter.pace = Pace()
            cancelled = [await bench.cancel() for _ in range(2)]
        finally:
            await bus.close()
    finally:
        counter.close()
        house.stop()
    return {
        "halts": rounds,
        "block_p50_ms": round(quantile(blocked, 0.5), 1),
        "block_max_ms": round(max(blocked), 1),
        "cancelled_orders": WORKING,
        "cancel_s": round(max(cancelled), 2),
    }


class Halting:
    """A person who halts and resumes, and a program that does not stop."""

    def __init__(self, house: House, counter: RestingCounter, bus: RedisBus) -> None:
        self._house = house
        self._counter = counter
        self._bus = bus
        self._requests = self._wishes()

    async def block(self) -> float:
        """Milliseconds from the halt to the last order that still reached the exchange."""
        flood = asyncio.ensure_future(self._flood())
        await asyncio.sleep(FLOOD_SECONDS / 2)
        began = time.perf_counter_ns()
        await self._halt()
        await flood
        await self._until(lambda: not self._counter.working, "everything cancelled")
        late = [at - began for at in self._counter.arrived if at > began]
        await self._resume()
        return max(late, default=0) / 1e6

    async def cancel(self) -> float:
        """Seconds from the halt until the last of the working orders is cancelled."""
        for _ in range(WORKING):
            await self._send()
        await self._until(lambda: len(self._counter.working) == WORKING, f"{WORKING} orders working")
        began = time.monotonic()
        await self._halt()
        await self._until(lambda: not self._counter.working, "everything cancelled")
        seconds = time.monotonic() - began
        await self._resume()
        return seconds

    async def _flood(self) -> None:
        end = time.monotonic() + FLOOD_SECONDS
        while time.monotonic() < end:
            await self._send()
            await asyncio.sleep(FLOOD_PAUSE)

    async def _send(self) -> None:
        await self._bus.append([(ORDER.name, encode(next(self._requests)))])

    async def _halt(self) -> None:
        answers = await asyncio.to_thread(halt, self._house.settings, "bench")
        if set(answers.values()) != {"HALTED"}:
            raise BenchFailed(f"the halt was not taken: {answers}")

    async def _resume(self) -> None:
        body = {"state": "ACTIVE", "reason": "bench"}
        found = await asyncio.to_thread(ask, self._house.settings, "trading", "POST", "/state", json=body)
        if found["state"] != "ACTIVE" or not found["gateway_knows"]:
            raise BenchFailed(f"the resume was not taken: {found}")

    async def _until(self, condition: Any, what: str) -> None:
        end = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            self._house.check()
            if time.monotonic() > end:
                raise BenchFailed(f"not seen within {PATIENCE_SECONDS:.0f} s: {what}")
            await asyncio.sleep(0.005)

    def _wishes(self) -> Iterator[OrderRequest]:
        for number in count(1):
            now = WallClock().now()
            yield OrderRequest(
                request_id=f"bench-{number}",
                strategy_name="Bench",
                symbol=SYMBOL,
                exchange=Exchange.SHFE,
                direction=Direction.LONG,
                offset=Offset.OPEN,
                order_type=OrderType.LIMIT,
                price=round(750.0 + number % 1000 * 0.02, 2),
                volume=1,
                timestamp=now,
                expires_at=now + timedelta(seconds=3),
            )
