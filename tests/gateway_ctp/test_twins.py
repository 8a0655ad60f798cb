"""One Gateway over three counters: the simulated exchange by its own connector, CTP's double by CtpConnector, and a
stranger's BaseGateway by VnpyConnector.

What Trading sees must be the same. The double's truth runs in a process of its own and outlives the Gateway.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from counter_double import APP, AUTH_CODE, BROKER, PASSWORD, USER, Control, MdApi, TdApi
from vnpy_gateway import Street

from arbig.bus.memory import MemoryBus
from arbig.bus.topics import CMD, EVENT, ORDER_STATUS, POSITION, TRADE
from arbig.domain.counter import CancelOrder
from arbig.domain.messages import (
    SHANGHAI,
    CommandData,
    CommandType,
    Direction,
    EventData,
    Exchange,
    Message,
    Offset,
    OrderData,
    OrderType,
    PositionData,
    TradeData,
    decode,
    encode,
)
from arbig.exchange.server import counter_of
from arbig.gateway.ctp.api import Apis
from arbig.gateway.ctp.connector import CtpConnector
from arbig.gateway.ctp.settings import CtpSettings
from arbig.gateway.door import State
from arbig.gateway.port import Connector
from arbig.gateway.service import GatewayService
from arbig.gateway.sim import DirectLink, SimConnector
from arbig.gateway.vnpy import VnpyConnector, gateway_class
from arbig.runtime.calendar import load_calendar
from arbig.runtime.clock import WallClock
from arbig.runtime.credentials import Secret
from arbig.runtime.instruments import load_instruments
from arbig.runtime.settings import Settings, SettingsError
from arbig.runtime.simulation import load_simulation

M = TypeVar("M", bound=Message)
AT = "2025-10-14T21:01:00"
CROSSING, RESTING = 900.0, 860.0
"""Prices on either side of the night's opening, both inside the limits."""


class Sim:
    """The simulated exchange in this process."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.counter = counter_of(settings, load_simulation(settings))
        for _ in self.counter.advance_to(datetime.fromisoformat(AT).replace(tzinfo=SHANGHAI)):
            pass
        self.inserts = 0

    def connector(self) -> Connector:
        def answer(wish: Any) -> Any:
            self.inserts += type(wish).__name__ == "InsertOrder"
            said = self.counter.on_wish(wish)
            return (*said.to_asker, *said.to_all)

        return SimConnector(lambda: DirectLink(answer), WallClock(), (0.05,), self.settings.symbols)

    def sent(self) -> int:
        return self.inserts

    def close(self) -> None:
        self.counter.close()


class Double:
    """The counter double, its truth in another process."""

    def __init__(self, settings: Settings, place: Path) -> None:
        self.settings, self.path = settings, place / "counter.sock"
        program = Path(__file__).parents[1] / "support" / "counter_double.py"
        words = [str(self.path), str(settings.root), str(settings.config), str(settings.data), AT]
        self.process = subprocess.Popen(
            [sys.executable, str(program), *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ,
        )  # fmt: skip
        assert self.process.stdout is not None and self.process.stdout.readline() == "ready\n"
        self.control = Control(self.path)

    def connector(self) -> Connector:
        address = f"unix:{self.path}"
        account = CtpSettings(BROKER, USER, address, address, APP, "arbig", True, Secret(PASSWORD), Secret(AUTH_CODE))
        return CtpConnector(
            account, Apis(TdApi, MdApi), WallClock(), load_calendar(self.settings), load_instruments(self.settings),
            self.settings.symbols, "sim", self.settings.data / "flow", pauses=(0.05,), quiet=0.1,
        )  # fmt: skip

    def sent(self) -> int:
        return int(self.control.ask("count", "reqOrderInsert"))

    def close(self) -> None:
        self.control.close()
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()


class Vnpy:
    """A BaseGateway of somebody's on the simulated exchange, behind VnpyConnector."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        counter = counter_of(settings, load_simulation(settings))
        for _ in counter.advance_to(datetime.fromisoformat(AT).replace(tzinfo=SHANGHAI)):
            pass
        self.street = Street(counter)

    def connector(self) -> Connector:
        return VnpyConnector(
            gateway_class("vnpy_gateway", "StreetGateway"), "STREET", {"counter": self.street}, WallClock(),
            load_calendar(self.settings), load_instruments(self.settings), self.settings.symbols, "sim",
            self.settings.data / "vnpy", quiet=0.1,
        )  # fmt: skip

    def sent(self) -> int:
        return self.street.inserts

    def close(self) -> None:
        self.street.counter.close()


class House:
    """A Gateway that may die, its journal, and the streams."""

    def __init__(self, settings: Settings, street: Any) -> None:
        self.settings, self.street = settings, street
        self.bus = MemoryBus()
        self.gateway: GatewayService | None = None

    async def start(self) -> None:
        self.gateway = GatewayService(self.settings, self.bus, WallClock(), self.street.connector())
        self.gateway.stand(State.ACTIVE, "the test trades", 1)
        async with asyncio.timeout(20):
            await self.gateway.start()

    async def die(self) -> None:
        assert self.gateway is not None
        await self.gateway.stop()
        self.gateway = None

    async def command(self, kind: CommandType, request_id: str, **more: Any) -> None:
        now = WallClock().now()
        fields: dict[str, Any] = {
            "symbol": "au2512", "exchange": Exchange.SHFE, "direction": Direction.LONG, "offset": Offset.OPEN,
            "order_type": OrderType.LIMIT, "price": CROSSING, "volume": 1, "timestamp": now,
            "strategy_name": "MaRsiStrategy", "expires_at": now + timedelta(seconds=20), **more,
        }  # fmt: skip
        await self.bus.append([(CMD.name, encode(CommandData(cmd_type=kind, request_id=request_id, **fields)))])

    async def stream(self, name: str, kind: type[M]) -> list[M]:
        return [decode(kind, entry.payload) for entry in await self.bus.read(name)]

    async def statuses(self, request_id: str) -> list[str]:
        found = await self.stream(ORDER_STATUS.name, OrderData)
        return [str(order.status) for order in found if order.request_id == request_id]

    async def until(self, is_so: Callable[[], Any]) -> None:
        async with asyncio.timeout(15):
            while not await is_so():  # noqa: ASYNC110 - the streams are looked at from outside
                await asyncio.sleep(0.02)


@pytest.fixture(params=["simulated exchange", "counter double", "vnpy gateway"])
def house(request: pytest.FixtureRequest, house_settings: Settings, short_folder: Path) -> Iterator[House]:
    makers: dict[str, Callable[[], Any]] = {
        "simulated exchange": lambda: Sim(house_settings),
        "counter double": lambda: Double(house_settings, short_folder),
        "vnpy gateway": lambda: Vnpy(house_settings),
    }
    street = makers[request.param]()
    yield House(house_settings, street)
    street.close()


def test_an_order_fills_and_is_told_as_status_trade_and_position(house: House) -> None:
    async def story() -> None:
        await house.start()
        await house.command(CommandType.SEND_ORDER, "r1")

        async def is_held() -> bool:
            return [row.volume for row in await house.stream(POSITION.name, PositionData)][-1:] == [1]

        await house.until(is_held)
        (trade,) = await house.stream(TRADE.name, TradeData)
        assert [status for status in await house.statuses("r1") if status != "SUBMITTING"] == ["NOTTRADED", "ALLTRADED"]
        assert (trade.request_id, trade.strategy_name, trade.volume) == ("r1", "MaRsiStrategy", 1)
        assert [str(event.event) for event in await house.stream(EVENT.name, EventData)] == ["CONNECTED"]
        await house.die()

    asyncio.run(story())


def test_a_refusal_of_counter_or_exchange_is_a_rejection(house: House) -> None:
    async def story() -> None:
        await house.start()
        await house.command(CommandType.SEND_ORDER, "off the tick", price=880.013)
        await house.command(CommandType.SEND_ORDER, "beyond the limit", price=2000.0)
        await house.command(CommandType.SEND_ORDER, "nothing held", offset=Offset.CLOSETODAY)

        async def are_refused() -> bool:
            names = ("off the tick", "beyond the limit", "nothing held")
            return all([(await house.statuses(name))[-1:] == ["REJECTED"] for name in names])

        await house.until(are_refused)
        found = {order.request_id: order for order in await house.stream(ORDER_STATUS.name, OrderData)}
        if not isinstance(house.street, Vnpy):  # BaseGateway has neither numbers nor words for a refusal
            assert (found["off the tick"].error_id, found["nothing held"].error_id) == (95, 50)
            assert found["beyond the limit"].error_id is None
            assert "涨停板" in (found["beyond the limit"].error_msg or "")
        await house.die()

    asyncio.run(story())


def test_a_gateway_that_dies_finds_its_orders_and_sends_none_again(house: House) -> None:
    """The working order is cancelled by the next life; the filled one is told once."""

    async def story() -> None:
        await house.start()
        await house.command(CommandType.SEND_ORDER, "filled")
        await house.command(CommandType.SEND_ORDER, "works", price=RESTING)

        async def is_working() -> bool:
            return (await house.statuses("works"))[-1:] == ["NOTTRADED"]

        await house.until(is_working)
        await house.die()
        await house.start()
        await house.command(CommandType.SEND_ORDER, "works", price=RESTING)
        await house.command(CommandType.CANCEL_ORDER, "c1", order_request_id="works")

        async def is_cancelled() -> bool:
            return "CANCELLED" in await house.statuses("works")

        await house.until(is_cancelled)
        assert house.street.sent() == 2
        assert len({trade.key for trade in await house.stream(TRADE.name, TradeData)}) == 1
        assert len(await house.stream(TRADE.name, TradeData)) == 1
        await house.die()

    asyncio.run(story())


def test_an_order_that_never_reached_the_counter_is_said_to_be_not_sent(house: House) -> None:
    """Journalled, and then the Gateway died before it was sent."""

    async def story() -> None:
        await house.start()
        assert house.gateway is not None
        now = WallClock().now()
        command = CommandData(
            cmd_type=CommandType.SEND_ORDER, request_id="lost", symbol="au2512", exchange=Exchange.SHFE,
            direction=Direction.LONG, offset=Offset.OPEN, order_type=OrderType.LIMIT, price=CROSSING, volume=1,
            timestamp=now, strategy_name="MaRsiStrategy",
        )  # fmt: skip
        house.gateway.journal.admit(command)
        await house.die()
        await house.start()

        async def is_told() -> bool:
            return (await house.statuses("lost"))[-1:] == ["REJECTED"]

        await house.until(is_told)
        assert house.street.sent() == 0
        await house.die()

    asyncio.run(story())


def test_a_cancel_of_an_order_nobody_knows_hurts_nobody(house: House) -> None:
    async def story() -> None:
        await house.start()
        assert house.gateway is not None
        house.gateway.connector.cancel(CancelOrder(order_ref=4444))
        await house.command(CommandType.SEND_ORDER, "r1")

        async def is_filled() -> bool:
            return (await house.statuses("r1"))[-1:] == ["ALLTRADED"]

        await house.until(is_filled)
        await house.die()

    asyncio.run(story())


def test_an_order_a_strangers_gateway_fails_at_is_in_doubt_and_not_said_to_be_unsent(house_settings: Settings) -> None:
    """It may have gone out before the failure."""

    async def story() -> None:
        house = House(house_settings, Vnpy(house_settings))
        await house.start()
        house.street.street.breaks = True
        await house.command(CommandType.SEND_ORDER, "r1", price=RESTING)

        async def is_unknown() -> bool:
            found = await house.stream(ORDER_STATUS.name, OrderData)
            return [(str(order.status), str(order.detail)) for order in found][-1:] == [("SUBMITTING", "UNKNOWN")]

        await house.until(is_unknown)
        await house.die()
        house.street.close()

    asyncio.run(story())


def test_a_package_without_the_gateway_named_says_which_it_has() -> None:
    with pytest.raises(SettingsError, match=r"config/vnpy_gateway.yaml: gateway_class: found Nobody, vnpy_gateway"):
        gateway_class("vnpy_gateway", "Nobody")
    with pytest.raises(SettingsError, match=r"gateway: vnpy_nowhere: .*; pip install vnpy_nowhere"):
        gateway_class("vnpy_nowhere", None)
    assert gateway_class("vnpy_gateway", None).default_name == "STREET"
