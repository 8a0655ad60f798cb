"""Throughput: synthetic ticks of 50 symbols through Gateway, Redis and Market, one PUBLISH a tick.

Counted by Market and by an outside subscriber; every bar, in its CSV and on its channel, must equal the one computed
offline from the same ticks. The bench sends no further ahead of the slower of the two than Redis can hold.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import uvloop
from msgspec.structs import replace

from arbig.bench.counter import BenchCounter
from arbig.bench.house import BenchFailed, House
from arbig.domain.bars import BarGenerator
from arbig.domain.counter import InsertOrder, TickBatch
from arbig.domain.instruments import InstrumentBook
from arbig.domain.messages import SHANGHAI, BarData, TickData, decode
from arbig.domain.sessions import Sessions
from arbig.runtime.calendar import load_calendar
from arbig.runtime.instruments import load_instruments
from arbig.runtime.ready import question
from arbig.runtime.settings import Settings, load_settings
from arbig.runtime.supervisor import environment_of
from arbig.store.bars import BarStore

DAY = date(2025, 10, 16)
OPENING = datetime(2025, 10, 15, 21, tzinfo=SHANGHAI)
SERVICES = ("gateway", "market")
PRODUCTS = ("cu", "al", "zn", "ni", "sn", "ag", "au")
SYMBOLS = 50
STEP = timedelta(milliseconds=250)
MOST_STEPS = 4 * 3600 * 4 - 40
"""Quarter seconds from 21:00 to the night close of the base metals."""
STEPS_AT_ONCE = 10
AHEAD = 30_000
"""Ticks on their way at most; Redis holds several times that for a slow subscriber."""
PATIENCE_SECONDS = 30.0


def run(folder: Path, seconds: float, per_second: int) -> dict[str, Any]:
    result: dict[str, Any] = uvloop.run(_run(folder, seconds, per_second))
    return result


async def _run(folder: Path, seconds: float, per_second: int) -> dict[str, Any]:
    book = load_instruments(load_settings())
    symbols = symbols_of(book)
    house = House(folder / "throughput", _files(symbols))
    counter = BenchCounter(house.settings.socket("exchange"), OPENING, DAY, symbols, _no_order)
    outsider: Outsider | None = None
    try:
        house.start("redis")
        await asyncio.to_thread(house.wait, "redis")
        await counter.open()
        house.start(*SERVICES)
        await asyncio.to_thread(house.wait, *SERVICES)
        outsider = await Outsider.open(house.settings, folder / "throughput" / "bars.jsonl")
        await counter.clock_runs.wait()
        flood = Flood(house, counter, outsider, symbols)
        steps, took = await flood.run(seconds, per_second)
        reference = reference_bars(symbols, steps, book)
        await flood.wait_for_bars(sum(len(bars) for bars in reference.values()))
        lost = steps * len(symbols) - min(outsider.ticks, flood.market_ticks)
        equal = bars_are_equal(house.settings, outsider.path, reference)
    finally:
        counter.close()
        if outsider is not None:
            outsider.close()
        house.stop()
    return {"ticks_per_s": round(steps * len(symbols) / took), "lost": lost, "bars_equal": equal}


def symbols_of(book: InstrumentBook) -> tuple[str, ...]:
    listed = [symbol for product in PRODUCTS for symbol in book.contracts(product, DAY)]
    return tuple(listed[:SYMBOLS])


def _files(symbols: Sequence[str]) -> dict[str, str]:
    return {
        "config/arbig.yaml": f"symbols: [{', '.join(symbols)}]\n",
        "config/redis_config.yaml": "host: localhost\nport: 6379\n",
        "config/simulation.yaml": "wait_for: [market]\n",
        "config/market.yaml": "history_days: 0\n",
    }


def _no_order(wish: InsertOrder, at: int) -> None:
    raise BenchFailed(f"nobody trades here, yet an order came: {wish}")


class Outsider:
    """The outside subscriber's process, and what it has counted."""

    def __init__(self, process: asyncio.subprocess.Process, path: Path) -> None:
        self.path = path
        self.ticks = self.bars = 0
        self._process = process
        self._stands = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def open(cls, settings: Settings, path: Path) -> Outsider:
        words = (sys.executable, "-m", "arbig.bench.outsider", str(path))
        environment = {**os.environ, **environment_of(settings)}
        process = await asyncio.create_subprocess_exec(*words, env=environment, stdout=subprocess.PIPE)
        outsider = cls(process, path)
        await outsider._stands.wait()
        return outsider

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.ticks, self.bars = (int(word) for word in line.split())
            self._stands.set()

    def close(self) -> None:
        self._reading.cancel()
        self._process.kill()


class Flood:
    """Ticks to the Gateway, as fast as the slower of Market and outsider takes them."""

    def __init__(self, house: House, counter: BenchCounter, outsider: Outsider, symbols: Sequence[str]) -> None:
        self._house = house
        self._counter = counter
        self._outsider = outsider
        self._symbols = symbols
        self.market_ticks = 0
        self.market_bars = 0

    async def run(self, seconds: float, per_second: int) -> tuple[int, float]:
        """Returns the steps sent, and how long it took until everybody had their ticks."""
        watching = asyncio.create_task(self._watch())
        began = time.perf_counter()
        steps = 0
        try:
            while steps < MOST_STEPS and (passed := time.perf_counter() - began) < seconds:
                if self._is_ahead(steps, passed, per_second):
                    await asyncio.sleep(0.001)
                    continue
                self._send(steps)
                steps += STEPS_AT_ONCE
                await self._counter.drain()
            await self._until(lambda: self._seen() >= steps * len(self._symbols), watching)
            took = time.perf_counter() - began
        finally:
            watching.cancel()
        return steps, took

    def _is_ahead(self, steps: int, passed: float, per_second: int) -> bool:
        sent = steps * len(self._symbols)
        return sent - self._seen() > AHEAD or (per_second > 0 and sent > per_second * passed)

    def _seen(self) -> int:
        return min(self._outsider.ticks, self.market_ticks)

    def _send(self, first: int) -> None:
        steps = range(first, first + STEPS_AT_ONCE)
        ticks = tuple(
            (symbol, step + 1, msgspec.Raw(payload))
            for step in steps
            for symbol, payload in payloads(self._symbols, step)
        )
        self._counter.say(TickBatch(ticks=ticks))
        self._counter.tell_time(moment_of(steps[-1]))

    async def wait_for_bars(self, count: int) -> None:
        """The clock goes past the last minute; every bar is awaited, at Market and outside."""
        watching = asyncio.create_task(self._watch())
        try:
            self._counter.tell_time(self._counter.moment + timedelta(minutes=5), segment_end=True)
            await self._until(lambda: min(self._outsider.bars, self.market_bars) >= count, watching)
        finally:
            watching.cancel()

    async def _until(self, reached: Callable[[], bool], watching: asyncio.Task[None]) -> None:
        end = time.monotonic() + PATIENCE_SECONDS
        while not reached() and time.monotonic() < end:
            if watching.done():
                watching.result()
            await asyncio.sleep(0.005)

    async def _watch(self) -> None:
        while True:
            self._house.check()
            status = await status_of(self._house.settings, "market")
            self.market_ticks, self.market_bars = status["ticks"], status["bars"]
            await asyncio.sleep(0.1)


async def status_of(settings: Settings, service: str) -> dict[str, Any]:
    reader, writer = await asyncio.open_connection("127.0.0.1", settings.port(service))
    try:
        writer.write(question(settings.port(service), settings.token, "/status"))
        answer = await reader.read()
    finally:
        writer.close()
    found: dict[str, Any] = json.loads(answer.partition(b"\r\n\r\n")[2])
    return found


def moment_of(step: int) -> datetime:
    return OPENING + (step + 1) * STEP


FORM = (
    b'{"symbol":"%s","exchange":"SHFE","datetime":"%s","last_price":%d.0,"volume":%d,"open_interest":%d,'
    b'"last_volume":%d,"open_price":5000.0,"high_price":%d.0,"low_price":%d.0,"pre_close":5000.0,'
    b'"limit_up":5400.0,"limit_down":4600.0,"bid_price_1":%d.0,"bid_volume_1":%d,"ask_price_1":%d.0,'
    b'"ask_volume_1":%d,"turnover":%d.0,"pre_settlement":5000.0,"trading_day":"2025-10-16","account_id":"sim","seq":%d}'
)


def payloads(symbols: Sequence[str], step: int) -> Iterator[tuple[str, bytes]]:
    """The ticks of one step, as an exchange says them: prices walk up and down, each symbol in its own time."""
    stamp = moment_of(step).replace(tzinfo=None).isoformat(timespec="milliseconds").encode()
    volume = 3 * step + 3
    for number, symbol in enumerate(symbols):
        price = 5000 + abs((step * (7 + number % 5) + 31 * number) % 397 - 198)
        yield (
            symbol,
            FORM
            % (
                symbol.encode(),
                stamp,
                price,
                volume,
                100_000 + step % 50,
                3,
                5198,
                5000,
                price - 1,
                1 + step % 20,
                price + 1,
                1 + step % 30,
                volume * 5000,
                step + 1,
            ),
        )


def reference_bars(symbols: Sequence[str], steps: int, book: InstrumentBook) -> dict[str, list[BarData]]:
    """What must come out, computed here and now from the same ticks."""
    calendar = load_calendar(load_settings())
    generators = {
        symbol: BarGenerator(symbol, Sessions(book.get(symbol, DAY).night_close, calendar)) for symbol in symbols
    }
    bars: dict[str, list[BarData]] = {symbol: [] for symbol in symbols}
    for step in range(steps):
        for symbol, payload in payloads(symbols, step):
            bars[symbol] += generators[symbol].on_tick(decode(TickData, payload))
    for symbol, generator in generators.items():
        bars[symbol] += generator.on_time(moment_of(steps - 1) + timedelta(minutes=5))
    return bars


def bars_are_equal(settings: Settings, heard: Path, reference: dict[str, list[BarData]]) -> bool:
    """On the channel message for message; on disk column for column (a file's bars name no account)."""
    published: dict[str, list[BarData]] = {symbol: [] for symbol in reference}
    for line in heard.read_bytes().splitlines():
        bar = decode(BarData, line)
        published[bar.symbol].append(bar)
    store = BarStore(settings.data / "bars")
    stored = {symbol: store.read_day(symbol, DAY) for symbol in reference}
    without_account = {symbol: [replace(bar, account_id=None) for bar in bars] for symbol, bars in reference.items()}
    return published == reference and stored == without_account
