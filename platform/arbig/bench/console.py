"""Console: how soon its pages stand beside an empty page of the same template, how soon a tick is drawn in three
browsers, whether web and console grow, and whether the trading chain notices that somebody looks.

The real services; the bench stands in the exchange's place with ten contracts, two ticks a second each. Every tick of
the first one orders, so that the way from tick to order is measured with and without browsers.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from contextlib import suppress
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import psutil
import uvloop
from msgspec.structs import replace

from arbig.bench.counter import BenchCounter
from arbig.bench.house import BenchFailed, House
from arbig.bench.latency import PRICES, RISK, tick_of
from arbig.bench.report import quantile
from arbig.domain.counter import InsertOrder, TickBatch
from arbig.domain.messages import SHANGHAI, encode
from arbig.runtime.clock import WallClock
from arbig.runtime.http import CallError, call
from arbig.runtime.instruments import load_instruments
from arbig.runtime.supervisor import environment_of

DAY = date(2025, 10, 16)
OPENING = datetime(2025, 10, 15, 21, 5, tzinfo=SHANGHAI)
SYMBOLS = ("au2512", "ag2512", "cu2511", "al2511", "zn2511", "rb2601", "hc2601", "ru2601", "sn2511", "ni2511")
SERVICES = ("gateway", "market", "trading", "strategy", "web", "console")
PAGES = ("overview", "chart", "strategies", "research")
BROWSERS = 3
TICKS_A_SECOND = 2
ROUNDS = 5
TICKS_OF_BASE = 40_000
"""The price of tick number 0 in price ticks: 800 yuan of gold."""
LEAST_SECONDS = 20.0
SAMPLE_SECONDS = 2.0
SETTLE_SHARE = 0.25
PATIENCE_SECONDS = 60.0

STRATEGY = '''"""Orders on every tick it gets to see, long and short in turn."""

from arbig import CtaTemplate, TickData


class BenchStrategy(CtaTemplate):
    def on_init(self) -> None:
        pass

    def on_tick(self, tick: TickData) -> None:
        if self.trading:
            (self.buy if tick.seq % 2 else self.short)(tick.last_price, 1)
'''
EMPTY = '''"""An empty page of the console's own template."""

import sys

sys.path.insert(0, {dashboards!r})

import panel as pn
from theme import asset

pn.extension(loading_indicator=False, notifications=False)
template = pn.Template(asset("page.html"))
template.add_variable("classes", "")
for name in ("head", "main"):
    template.add_panel(name, pn.Column(sizing_mode="stretch_both"))
template.servable(title="ARBIG")
'''
FILES = {
    "config/arbig.yaml": f"symbols: [{', '.join(SYMBOLS)}]\n",
    "config/redis_config.yaml": "host: localhost\nport: 6379\n",
    "config/simulation.yaml": "wait_for: [market, trading, strategy]\n",
    "config/risk.yaml": RISK,
    "config/strategies/bench.yaml": f"strategy_name: BenchStrategy\nsymbol: {SYMBOLS[0]}\nexchange: SHFE\n",
    "strategies/bench.py": STRATEGY,
}


def run(folder: Path, minutes: float) -> dict[str, Any]:
    result: dict[str, Any] = uvloop.run(_run(folder, minutes))
    return result


async def _run(folder: Path, minutes: float) -> dict[str, Any]:
    house = House(folder / "console", FILES)
    market = Market(house)
    browsers, empty = Browsers(house), EmptyPage(house)
    ticking: asyncio.Task[None] | None = None
    try:
        house.start("redis")
        await asyncio.to_thread(house.wait, "redis")
        await market.open()
        empty.start()
        ticking = asyncio.create_task(market.run())
        for name in SERVICES:
            await asyncio.to_thread(house.wait, name)
        await browsers.enter()
        pages = await _pages(browsers, empty, house)
        empty.stop()
        beside = max(LEAST_SECONDS, minutes * 60 / 5)
        alone = [await market.orders_of(beside)]
        await browsers.watch()
        await asyncio.sleep(SAMPLE_SECONDS)
        market.orders.clear()
        memory = await _watched(house, browsers, market, minutes * 60)
        looked = list(market.orders)
        await browsers.leave()
        alone.append(await market.orders_of(beside))
    finally:
        if ticking is not None:
            ticking.cancel()
        browsers.stop()
        empty.stop()
        market.close()
        house.stop()
    return _result(pages, browsers.delays(market.sent), memory, alone[0] + alone[1], looked)


def _result(
    pages: dict[str, list[float]],
    drawn: list[float],
    memory: dict[str, list[tuple[float, float]]],
    alone: list[float],
    looked: list[float],
) -> dict[str, Any]:
    for what, found in (("tick was drawn", drawn), ("order arrived", alone), ("order arrived with browsers", looked)):
        if not found:
            raise BenchFailed(f"no {what}")
    empty = statistics.median(pages["empty"])
    ratios = {name: statistics.median(times) / empty for name, times in pages.items()}
    grown = {name: growth(samples) for name, samples in memory.items()}
    return {
        "empty_ms": round(empty),
        "page_ratio": round(max(ratios[name] for name in PAGES), 2),
        "drawn_ticks": len(drawn),
        "drawn_p50_ms": round(quantile(drawn, 0.5)),
        "drawn_p95_ms": round(quantile(drawn, 0.95)),
        **{f"{name}_mb": round(samples[-1][1], 1) for name, samples in memory.items()},
        **{f"{name}_mb_an_hour": round(slope, 1) for name, slope in grown.items()},
        "order_p50_us": round(quantile(looked, 0.5)),
        "order_p50_alone_us": round(quantile(alone, 0.5)),
        "latency_ratio": round(quantile(looked, 0.5) / quantile(alone, 0.5), 2),
        "latency_ratio_p95": round(quantile(looked, 0.95) / quantile(alone, 0.95), 2),
        "rows": [
            {"page": name, "ready_ms": round(statistics.median(times)), "ratio": round(ratios[name], 2)}
            for name, times in pages.items()
        ],
    }


def growth(samples: list[tuple[float, float]]) -> float:
    """Megabytes an hour, by a line through all but the first quarter, in which a process fills its caches."""
    settled = samples[int(len(samples) * SETTLE_SHARE) :]
    if len(settled) < 2:
        return 0.0
    return statistics.linear_regression(*zip(*settled, strict=True)).slope * 3600


async def _pages(browsers: Browsers, empty: EmptyPage, house: House) -> dict[str, list[float]]:
    """In turns, so that what the machine does besides falls on all of them."""
    await empty.stands()
    places = {"empty": empty.address, **{name: browsers.address(name) for name in PAGES}}
    found: dict[str, list[float]] = {name: [] for name in places}
    for _ in range(ROUNDS):
        for name, address in places.items():
            found[name] += await browsers.ask("ready", address=address, rounds=1)
        house.check()
    return found


async def _watched(
    house: House, browsers: Browsers, market: Market, seconds: float
) -> dict[str, list[tuple[float, float]]]:
    """Resident megabytes over time while the browsers look."""
    processes = {name: psutil.Process(house.processes[name].pid) for name in ("web", "console")}
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name in processes}
    began = time.monotonic()
    while (at := time.monotonic() - began) < seconds:
        house.check()
        for name, process in processes.items():
            samples[name].append((at, process.memory_info().rss / 1e6))
        await browsers.look()
        await asyncio.sleep(SAMPLE_SECONDS)
    return samples


class Market:
    """The exchange's place: ten contracts, each tick's price tells its number."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._counter = BenchCounter(house.settings.socket("exchange"), OPENING, DAY, list(SYMBOLS), self._on_order)
        book = load_instruments(house.settings)
        self._steps = {symbol: book.get(symbol, DAY).price_tick for symbol in SYMBOLS}
        self._asked: dict[int, int] = {}
        self._clock = WallClock()
        self.orders: list[float] = []
        self.sent: dict[tuple[str, float], list[float]] = {}

    async def open(self) -> None:
        await self._counter.open()
        self._house.start(*SERVICES)

    def close(self) -> None:
        self._counter.close()

    async def orders_of(self, seconds: float) -> list[float]:
        """How long orders took, in microseconds, while nothing else is asked."""
        self.orders.clear()
        await asyncio.sleep(seconds)
        return list(self.orders)

    async def run(self) -> None:
        """Two ticks a second of each, spread evenly."""
        await self._counter.clock_runs.wait()
        loop = asyncio.get_running_loop()
        begin, pause = loop.time(), 1 / (TICKS_A_SECOND * len(SYMBOLS))
        for n in range(sys.maxsize):
            await asyncio.sleep(max(0.0, begin + n * pause - loop.time()))
            number, symbol = n // len(SYMBOLS), SYMBOLS[n % len(SYMBOLS)]
            self._tick(symbol, number, OPENING + timedelta(seconds=n * pause))

    def _tick(self, symbol: str, number: int, moment: datetime) -> None:
        step = self._steps[symbol]
        price = self._price(symbol, number)
        ask = round(price + step, 4)
        tick = replace(
            tick_of(number, moment),
            symbol=symbol,
            last_price=price,
            bid_price_1=price,
            ask_price_1=ask,
            volume=3 * (number + 1),
            open_price=step * TICKS_OF_BASE,
            pre_close=step * TICKS_OF_BASE,
            pre_settlement=step * TICKS_OF_BASE,
            limit_up=step * TICKS_OF_BASE * 1.1,
            limit_down=step * TICKS_OF_BASE * 0.9,
            turnover=None,
        )
        self.sent.setdefault((symbol, price), []).append(self._clock.now().timestamp() * 1000)
        if symbol == SYMBOLS[0]:
            self._asked[number % PRICES] = time.perf_counter_ns()
        self._counter.say(TickBatch(ticks=((symbol, number + 1, msgspec.Raw(encode(tick))),)))
        self._counter.tell_time(moment)

    def _price(self, symbol: str, number: int) -> float:
        step = self._steps[symbol]
        return round(step * (TICKS_OF_BASE + number % PRICES), 4)

    def _on_order(self, wish: InsertOrder, at: int) -> None:
        asked = self._asked.pop(round(wish.price / self._steps[SYMBOLS[0]]) - TICKS_OF_BASE, None)
        if asked is not None:
            self.orders.append((at - asked) / 1000)


class Browsers:
    """`arbig.bench.viewers` as a child, and what it saw."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._process: subprocess.Popen[str] | None = None
        self._seen: list[tuple[str, float, float]] = []

    def address(self, page: str) -> str:
        return f"http://127.0.0.1:{self._house.settings.port('console')}/console?page={page}"

    async def enter(self) -> None:
        self._start()
        settings = self._house.settings
        for _ in range(int(PATIENCE_SECONDS)):
            with suppress(CallError):
                answer = await call(settings, "web", "POST", "/api/v1/tickets")
                break
            await asyncio.sleep(1)
        else:
            raise BenchFailed("web gives no ticket")
        web = settings.port("web")
        await self.ask("enter", link=f"http://127.0.0.1:{web}/login?ticket={answer['ticket']}&next=console")

    def _start(self) -> None:
        words = [sys.executable, "-m", "arbig.bench.viewers"]
        with (self._house.settings.logs / "viewers.err").open("w") as errors:
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": errors}
            self._process = subprocess.Popen(words, text=True, **pipes)  # type: ignore[call-overload]

    async def watch(self) -> None:
        await self.ask("watch", pages=[[self.address("chart"), symbol] for symbol in SYMBOLS[:BROWSERS]])

    async def look(self) -> None:
        self._seen += [(str(symbol), float(price), float(at)) for symbol, price, at in await self.ask("seen")]

    async def leave(self) -> None:
        await self.look()
        await self.ask("leave")

    def delays(self, sent: dict[tuple[str, float], list[float]]) -> list[float]:
        """Milliseconds from a tick handed to the Gateway to its price drawn; the latest tick of that price counts."""
        found = []
        for symbol, price, at in self._seen:
            before = [one for one in sent.get((symbol, round(price, 4)), ()) if one <= at]
            if before:
                found.append(at - before[-1])
        return found

    async def ask(self, deed: str, **given: Any) -> Any:
        answer = await asyncio.to_thread(self._ask, {"do": deed, **given})
        if "error" in answer:
            raise BenchFailed(f"browser: {deed}: {answer['error']}")
        return answer["answer"]

    def _ask(self, wish: dict[str, Any]) -> dict[str, Any]:
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps(wish) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            raise BenchFailed(
                f"the browsers ended; see {self._house.settings.logs}/viewers.err; make check installs them"
            )
        answer: dict[str, Any] = json.loads(line)
        return answer

    def stop(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
            self._process.kill()
            self._process.wait()
            self._process = None


class EmptyPage:
    """The template without a page in it, served by a Panel of its own."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._process: subprocess.Popen[bytes] | None = None
        self._port = house.settings.port("jupyter")

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._port}/empty"

    def start(self) -> None:
        from arbig.web.console import NICENESS, page_of

        file = self._house.settings.root / "empty.py"
        file.write_text(EMPTY.format(dashboards=str(page_of(self._house.settings).parent)))
        panel = [sys.executable, "-m", "panel", "serve", str(file), "--address=127.0.0.1", f"--port={self._port}"]
        words = ["nice", f"-n{NICENESS}", *panel]
        environment = {**os.environ, **environment_of(self._house.settings), "BOKEH_RESOURCES": "server"}
        output = (self._house.settings.logs / "empty.out").open("wb")
        with output:
            self._process = subprocess.Popen(words, env=environment, stdout=output, stderr=output)

    async def stands(self) -> None:
        async with httpx.AsyncClient(trust_env=False) as client:
            for _ in range(int(PATIENCE_SECONDS) * 2):
                with suppress(httpx.HTTPError):
                    if (await client.get(self.address)).is_success:
                        return
                await asyncio.sleep(0.5)
        raise BenchFailed(f"the empty page does not stand; see {self._house.settings.logs}/empty.out")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None
