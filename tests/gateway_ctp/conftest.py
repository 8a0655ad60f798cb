"""A CtpConnector before the counter double; what it hears is written down, a test moves the counter."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from counter_double import APP, AUTH_CODE, BROKER, PASSWORD, USER, CounterServer, CounterTruth, MdApi, TdApi

from arbig.domain.counter import Answer, Fact, InsertOrder, LoggedIn, OrderReport, ReplayEnd, TickBatch
from arbig.domain.messages import SHANGHAI, Direction, Exchange, Offset, OrderType, TickData, decode
from arbig.exchange.server import counter_of
from arbig.gateway.ctp.api import Apis
from arbig.gateway.ctp.connector import CtpConnector
from arbig.gateway.ctp.latch import Latch
from arbig.gateway.ctp.settings import CtpSettings
from arbig.gateway.subscriptions import Subscriptions
from arbig.runtime.calendar import load_calendar
from arbig.runtime.clock import WallClock
from arbig.runtime.credentials import Secret
from arbig.runtime.instruments import load_instruments
from arbig.runtime.settings import Settings, load_settings
from arbig.runtime.simulation import load_simulation

ROOT = Path(__file__).parents[2]
T = TypeVar("T")
AT = "2025-10-14T21:01:00"


class ShiftedClock(WallClock):
    """The wall's pace at another time, so that it is the counter's evening."""

    def __init__(self, start: str) -> None:
        self._shift = datetime.fromisoformat(start).replace(tzinfo=SHANGHAI) - super().now()

    def now(self) -> datetime:
        return super().now() + self._shift


class Recorder:
    """Whoever listens: everything in its order."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.alarms: list[str] = []
        self.losses: list[str] = []
        self._something = asyncio.Event()

    def on_login(self, greeting: LoggedIn) -> None:
        self._add(greeting)

    def on_facts(self, facts: Sequence[Fact]) -> None:
        for fact in facts:
            self._add(fact)

    def on_answer(self, answer: Answer) -> None:
        self._add(answer)

    def on_lost(self, reason: str) -> None:
        self.losses.append(reason)
        self._add(reason)

    def on_alarm(self, message: str) -> None:
        self.alarms.append(message)
        self._add(message)

    def _add(self, what: Any) -> None:
        self.heard.append(what)
        self._something.set()

    def of(self, kind: type[T]) -> list[T]:
        return [fact for fact in self.heard if isinstance(fact, kind)]

    def ticks(self) -> list[TickData]:
        return [decode(TickData, bytes(payload)) for batch in self.of(TickBatch) for _, _, payload in batch.ticks]

    def statuses(self, order_ref: int) -> list[str]:
        return [str(report.status) for report in self.of(OrderReport) if report.order_ref == order_ref]

    async def until(self, is_so: Callable[[], Any], seconds: float = 10) -> None:
        async with asyncio.timeout(seconds):
            while not is_so():
                self._something.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.05):
                        await self._something.wait()


class Office:
    """The connector and its counter."""

    def __init__(self, settings: Settings, server: CounterServer, flow_folder: Path) -> None:
        self.settings, self.server, self.flow_folder = settings, server, flow_folder
        self.recorder = Recorder()
        self.apis = Apis(TdApi, MdApi)
        self.connector: CtpConnector = self.new_connector()
        self._running: asyncio.Task[None] | None = None
        self._ref = 100

    def account(self, **changes: Any) -> CtpSettings:
        address = f"unix:{self.server.path}"
        return CtpSettings(**{
            "broker_id": BROKER, "user_id": USER, "td_address": address, "md_address": address, "app_id": APP,
            "product_name": "arbig", "is_production": True, "password": Secret(PASSWORD),
            "auth_code": Secret(AUTH_CODE), **changes,
        })  # fmt: skip

    def new_connector(self, **changes: Any) -> CtpConnector:
        account = self.account(**changes)
        return CtpConnector(
            account, self.apis, ShiftedClock(AT), load_calendar(self.settings), load_instruments(self.settings),
            self.settings.symbols, "main", self.flow_folder, pauses=(0.02, 0.05), quiet=0.1,
            latch=Latch(account, self.flow_folder.with_name("refused.json")),
            subscriptions=Subscriptions(self.settings.symbols, self.flow_folder.with_name("symbols.txt")),
        )  # fmt: skip

    async def start(self, wait: bool = True) -> None:
        self._running = asyncio.ensure_future(self.connector.run(self.recorder, lambda: 0))
        if wait:
            await self.ready()

    async def ready(self, times: int = 1) -> None:
        await self.recorder.until(lambda: len(self.recorder.of(ReplayEnd)) >= times)

    async def stop(self) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
            self._running = None

    async def restart(self, wait: bool = True, **changes: Any) -> None:
        """The Gateway dies and another one comes; the counter lives on."""
        await self.stop()
        self.recorder, self.connector = Recorder(), self.new_connector(**changes)
        await self.start(wait)

    async def do(self, act: Callable[[CounterTruth], T]) -> T:
        return await asyncio.to_thread(self.server.do, act)

    async def to(self, moment: str) -> None:
        await self.do(lambda truth: truth.advance_to(f"2025-{moment}"))

    async def price(self) -> float:
        def last(truth: CounterTruth) -> float:
            now = truth.counter.exchange.session_time
            return list(truth.counter.exchange.ticks_between(now - timedelta(minutes=2), now))[-1].last_price

        return await self.do(last)

    def wish(self, price: float, volume: int = 1, **more: Any) -> InsertOrder:
        self._ref += 1
        return InsertOrder(**{
            "order_ref": self._ref, "memo": f"MEMO{self._ref:08d}", "symbol": "au2512", "exchange": Exchange.SHFE,
            "direction": Direction.LONG, "offset": Offset.OPEN, "order_type": OrderType.LIMIT,
            "price": round(price, 2), "volume": volume, **more,
        })  # fmt: skip

    async def send(self, price: float, volume: int = 1, **more: Any) -> int:
        wish = self.wish(price, volume, **more)
        self.connector.insert(wish)
        return wish.order_ref


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A unix socket's path may have about a hundred characters."""
    found = Path(tempfile.mkdtemp(prefix="arbig-ctp-"))
    yield found
    shutil.rmtree(found)


@pytest.fixture
def house_settings(tmp_path: Path) -> Settings:
    config = tmp_path / "config"
    config.mkdir()
    for file in (ROOT / "config").glob("*.yaml"):
        (config / file.name).write_text(file.read_text())
    simulation = config / "simulation.yaml"
    lines = [line if not line.startswith("history_days:") else "history_days: 0"
             for line in simulation.read_text().splitlines()]  # fmt: skip
    simulation.write_text("\n".join(lines))
    return load_settings(root=ROOT, config=config, data=tmp_path / "data")


@pytest.fixture
def open_office(house_settings: Settings, short_folder: Path, tmp_path: Path) -> Callable[..., Any]:
    """`async with open_office() as office:` at 21:01, logged in and replayed; `before` scripts the counter first."""

    @asynccontextmanager
    async def opened(
        wait: bool = True,
        before: Callable[[CounterTruth], Any] = lambda truth: None,
        query_seconds: float = 0.0,
        begin: bool = True,
    ) -> AsyncIterator[Office]:
        def truth() -> CounterTruth:
            return CounterTruth(counter_of(house_settings, load_simulation(house_settings)), query_seconds)

        server = CounterServer(truth, short_folder / "counter.sock")
        server.do(lambda found: found.advance_to(AT))
        server.do(before)
        office = Office(house_settings, server, tmp_path / "flow")
        try:
            if begin:
                await office.start(wait)
            yield office
        finally:
            await office.stop()
            server.close()

    return opened
