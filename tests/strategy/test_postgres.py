"""Strategy on PostgreSQL: a fill whose effect is in doubt is no dead letter, and counts once in the next life."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import postgres
import pytest
from places import enter
from proxy import Proxy

from arbig.bus.topics import DEAD, ORDER_STATUS, TRADE

YAML = "strategy_name: Plain\nsymbol: au2512\nexchange: SHFE\n"
PLAIN = """
from arbig import CtaTemplate

class Plain(CtaTemplate):
    def on_init(self): pass
    def on_tick(self, tick):
        if tick.last_price == 801: self.buy(801, 3)
"""


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy("127.0.0.1", postgres.shared().port) as found:
        yield found


@pytest.fixture
def plain(floor: Any, proxy: Proxy) -> Any:
    floor.code(PLAIN)
    floor.yaml(YAML)
    enter(floor.root / "config", postgres.shared().new(port=proxy.port))
    return floor


def test_a_fill_in_doubt_ends_this_life_and_is_counted_once_in_the_next(plain: Any, proxy: Proxy) -> None:
    async def flow() -> None:
        async with plain.open() as desk:
            await desk.tick(801)
            (order,) = await desk.some_requests(1)
            await asyncio.sleep(0.3)  # the signal is ticked off
            proxy.drop_replies(holding=b"COMMIT")
            await desk.fill(order)
            async with asyncio.timeout(5):
                assert "went away with the answer to a commit" in str(await desk.service.failure())
        plain.siblings.as_of = {TRADE.name: "0-0", ORDER_STATUS.name: "0-0"}  # Trading has not counted it yet
        async with plain.open() as desk:
            await desk.until(lambda: desk.live("Plain").describe()["pos"] == 3, "the fill")
            assert [] == await desk.bus.read(DEAD.name)

    asyncio.run(flow())


def test_fills_wait_for_the_server_and_nobody_dies_of_it(plain: Any) -> None:
    server = postgres.shared()

    async def flow() -> None:
        async with plain.open() as desk:
            await desk.tick(801)
            (order,) = await desk.some_requests(1)
            server.stop()
            for _ in range(3):
                await desk.fill(order, volume=1)
            await desk.until(lambda: desk.service.engine.house.fault is not None, "the fault is said")
            await asyncio.sleep(0.6)  # the outbox is looked at meanwhile
            await asyncio.to_thread(server.start)
            await desk.until(lambda: desk.live("Plain").describe()["pos"] == 3, "every fill")
            assert [] == await desk.bus.read(DEAD.name)
            assert desk.service._died.empty()

    try:
        asyncio.run(flow())
    finally:
        server.start()
