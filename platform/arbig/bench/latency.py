"""Latency: from the tick handed to the Gateway to the order handed to the exchange, through all services and Redis.

Beside it, in turns over the same Redis, a bare three-hop relay: what the way itself costs. Every tenth tick orders.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from arbig.bench import relay
from arbig.bench.counter import BenchCounter
from arbig.bench.house import BenchFailed, House
from arbig.bench.report import quantile
from arbig.bus.line import Line
from arbig.domain.counter import InsertOrder, TickBatch
from arbig.domain.messages import SHANGHAI, Exchange, TickData, encode
from arbig.runtime.http import CallError, call

SYMBOL = "au2512"
DAY = date(2025, 10, 16)
OPENING = datetime(2025, 10, 15, 21, 5, tzinfo=SHANGHAI)
SERVICES = ("gateway", "market", "trading", "strategy")
EVERY = 10
ROUNDS = 5
WARM_UP = 100
CLOCK_EVERY = 5
PRICES = 200
BASE, STEP = 800.0, 0.02
PATIENCE_SECONDS = 10.0

STRATEGY = f'''"""Orders on every {EVERY}th tick (or the next one it gets to see), long and short in turn."""

from arbig import CtaTemplate, TickData


class BenchStrategy(CtaTemplate):
    ordered = 0

    def on_init(self) -> None:
        pass

    def on_tick(self, tick: TickData) -> None:
        number = (tick.seq - 1) // {EVERY}
        if self.trading and number > self.ordered:
            side = self.buy if number % 2 else self.short
            side(tick.last_price, 1)
        self.ordered = number
'''
RISK = """
order_size: {max_lots: 10}
notional: {max_value: 3000000}
price_band: {percent: 1.0}
order_rate: {per_second: 1000, per_minute: 60000}
working_orders: {max_orders: 1000}
duplicate_order: {max_orders: 1000, within_seconds: 1.0}
message_bursts: null
runaway: null
cancels: {max_cancels: 1000000}
product_position: {max_net: 1000000, max_gross: 1000000}
"""
FILES = {
    "config/arbig.yaml": f"symbols: [{SYMBOL}]\n",
    "config/redis_config.yaml": "host: localhost\nport: 6379\n",
    "config/simulation.yaml": "wait_for: [market, trading, strategy]\n",
    "config/risk.yaml": RISK,
    "config/strategies/bench.yaml": f"strategy_name: BenchStrategy\nsymbol: {SYMBOL}\nexchange: SHFE\n",
    "strategies/bench.py": STRATEGY,
}


def run(folder: Path, ticks: int, per_second: int) -> dict[str, Any]:
    result: dict[str, Any] = uvloop.run(_run(folder, ticks, per_second))
    return result


async def _run(folder: Path, ticks: int, per_second: int) -> dict[str, Any]:
    house = House(folder / "latency", FILES)
    hops: list[Any] = []
    through, bare = Through(house, per_second), Bare(house, per_second)
    try:
        house.start("redis")
        await asyncio.to_thread(house.wait, "redis")
        await through.open()
        hops = relay.start(house.settings)
        await bare.open()
        await through.round(WARM_UP)
        await bare.round(WARM_UP)
        through.micros.clear()
        bare.micros.clear()
        for _ in range(ROUNDS):
            await through.round(ticks // ROUNDS)
            await bare.round(ticks // ROUNDS)
    finally:
        through.close()
        bare.close()
        for hop in hops:
            hop.terminate()
            hop.wait()
        house.stop()
    return _result(through.micros, bare.micros)


def _result(through: list[float], bare: list[float]) -> dict[str, Any]:
    p50, p99, bare_p50, bare_p99 = (quantile(values, share) for values in (through, bare) for share in (0.5, 0.99))
    return {
        "p50_us": round(p50),
        "p99_us": round(p99),
        "bare_p50_us": round(bare_p50),
        "bare_p99_us": round(bare_p99),
        "ratio_p50": round(p50 / bare_p50, 2),
        "ratio_p99": round(p99 / bare_p99, 2),
    }


class Rounds:
    """Ticks at a steady pace; each ordering one waits for its order."""

    def __init__(self, per_second: int) -> None:
        self.micros: list[float] = []
        self._pause = 1 / per_second
        self._sent: dict[int, int] = {}
        self._ticks = 0

    async def pace(self, count: int, send: Callable[[int, bool], Awaitable[None]]) -> None:
        loop = asyncio.get_running_loop()
        begin = loop.time()
        for n in range(count):
            await asyncio.sleep(max(0.0, begin + n * self._pause - loop.time()))
            self._ticks += 1
            orders = self._ticks % EVERY == 0
            if orders:
                self._sent[self._ticks // EVERY % PRICES] = time.perf_counter_ns()
            await send(self._ticks, orders)
        await self._all_arrived()

    def arrived(self, number: int, at: int) -> None:
        """The order of that tick, and of those before it that a hurried strategy has passed over."""
        for sent in list(self._sent)[: list(self._sent).index(number) + 1]:
            self.micros.append((at - self._sent.pop(sent)) / 1000)

    async def _all_arrived(self) -> None:
        end = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while self._sent:
            if asyncio.get_running_loop().time() > end:
                raise BenchFailed(f"{len(self._sent)} orders never arrived")
            await asyncio.sleep(0.01)


class Through(Rounds):
    """The real services; the bench stands in the exchange's place."""

    def __init__(self, house: House, per_second: int) -> None:
        super().__init__(per_second)
        self._house = house
        self._counter = BenchCounter(house.settings.socket("exchange"), OPENING, DAY, [SYMBOL], self._on_order)

    async def open(self) -> None:
        await self._counter.open()
        self._house.start(*SERVICES)
        await asyncio.to_thread(self._house.wait, *SERVICES)
        await self._counter.clock_runs.wait()
        self._send(0)
        while not await self._strategy_runs():  # noqa: ASYNC110 - it tells over HTTP only
            await asyncio.sleep(0.1)

    async def _strategy_runs(self) -> bool:
        try:
            answer = await call(self._house.settings, "strategy", "GET", "/strategies")
        except CallError:
            return False
        (strategy,) = answer["strategies"]
        if strategy["state"] not in ("STARTING", "RUNNING", "STOPPED"):
            raise BenchFailed(f"the strategy is {strategy['state']}: {strategy['error']}")
        return bool(strategy["state"] == "RUNNING")

    async def round(self, count: int) -> None:
        self._house.check()
        await self.pace(count, self._tick)

    async def _tick(self, number: int, orders: bool) -> None:
        self._send(number)

    def _send(self, number: int) -> None:
        moment = OPENING + timedelta(milliseconds=4 * number)
        self._counter.say(TickBatch(ticks=((SYMBOL, number + 1, msgspec.Raw(encode(tick_of(number, moment)))),)))
        if number % CLOCK_EVERY == 0:
            self._counter.tell_time(moment)

    def _on_order(self, wish: InsertOrder, at: int) -> None:
        self.arrived(round((wish.price - BASE) / STEP), at)

    def close(self) -> None:
        self._counter.close()


class Bare(Rounds):
    """The relay: this process publishes and hears the end."""

    def __init__(self, house: House, per_second: int) -> None:
        super().__init__(per_second)
        self._house = house
        self._hearing: asyncio.Task[None] | None = None

    async def open(self) -> None:
        address = self._house.settings.redis_for("admin")
        self._out = await Line.open(address, "bench:publish")
        self._hearing = asyncio.create_task(relay.consume(address, relay.COMMAND, self._hear))
        while (await self._out.call([("PUBSUB", "NUMSUB", relay.CHANNEL)]))[0][1] < 1:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.05)

    async def round(self, count: int) -> None:
        await self.pace(count, self._tick)

    async def _tick(self, number: int, orders: bool) -> None:
        payload = encode(tick_of(number, OPENING))
        mark = b"!%d " % (number // EVERY % PRICES) if orders else b" "
        await self._out.call([("PUBLISH", relay.CHANNEL, mark + payload)])

    def close(self) -> None:
        if self._hearing is not None:
            self._hearing.cancel()
            self._out.close()

    async def _hear(self, payload: bytes) -> None:
        self.arrived(int(payload[1 : payload.index(b" ")]), time.perf_counter_ns())


def tick_of(number: int, moment: datetime) -> TickData:
    """The tick of that number; its price tells which ordering tick it is."""
    price = round(BASE + STEP * (number // EVERY % PRICES), 2)
    return TickData(
        symbol=SYMBOL,
        exchange=Exchange.SHFE,
        datetime=moment,
        last_price=price,
        volume=number + 1,
        open_interest=180_000,
        last_volume=1,
        open_price=BASE,
        high_price=BASE + STEP * PRICES,
        low_price=BASE,
        pre_close=BASE,
        limit_up=900.0,
        limit_down=700.0,
        bid_price_1=round(price - STEP, 2),
        bid_volume_1=10,
        ask_price_1=price,
        ask_volume_1=10,
        turnover=round(price * 1000 * (number + 1), 2),
        pre_settlement=BASE,
        trading_day=DAY,
        account_id="sim",
        seq=number + 1,
    )
