"""Trading on PostgreSQL: the server is away at the start, or goes in the middle. Orders wait or are refused with the
reason, nothing is lost, and it goes on by itself.
"""

from __future__ import annotations

import asyncio
from typing import Any

import postgres
import pytest

from arbig.bus.topics import CMD, ORDER_STATUS
from arbig.domain.messages import OrderData, Status, decode

pytestmark = pytest.mark.postgresql(alone=True)


def test_an_order_while_the_server_is_away_is_refused_aloud_and_trading_goes_on(opened: Any, counter: Any) -> None:
    server = postgres.shared()

    async def play() -> None:
        async with opened(counter) as desk:
            working = await desk.order()
            await desk.status(working, Status.NOTTRADED)
            server.stop()
            refused = await desk.order(price=800.02)
            await desk.until(lambda: desk.service.fault)
            heard = [decode(OrderData, each) for each in await desk.said(ORDER_STATUS.name)]
            [told] = [each for each in heard if each.request_id == refused]
            assert told.status is Status.REJECTED and "cannot be written down: PostgreSQL" in (told.error_msg or "")
            assert "does not answer" in desk.service.fault and postgres.PASSWORD not in desk.service.fault
            await counter.fill(working)
            server.start()
            await desk.status(working, Status.ALLTRADED)
            assert "does not answer" in (await desk.status(refused, Status.REJECTED)).error_msg
            again = await desk.order(price=800.04)
            await desk.status(again, Status.NOTTRADED)
            assert desk.service.fault is None
            assert [working, again] == [each.request_id for each in counter.commands]
            assert 1 == desk.service.orders.trades_today
        async with opened(counter) as desk:
            assert 1 == desk.service.orders.trades_today
            assert {working, again, refused} == {each.request_id for each in desk.service.orders.states()}
            assert 2 == len(await desk.said(CMD.name))

    try:
        asyncio.run(play())
    finally:
        server.start()


def test_a_start_without_the_server_waits_says_for_what_and_finishes_by_itself(
    opened: Any, counter: Any, settings: Any
) -> None:
    server = postgres.shared()

    async def play() -> None:
        async with opened(counter) as desk:
            await desk.status(await desk.order(), Status.NOTTRADED)
            kind = type(desk.service)
        server.stop()
        service = kind(settings, counter.bus, desk.service.clock)
        service.counter = counter
        start = asyncio.ensure_future(service.start())
        await desk.until(lambda: service.waits_for)
        assert service.waits_for.startswith("PostgreSQL 127.0.0.1:") and "does not answer" in service.waits_for
        assert not start.done()
        await asyncio.to_thread(server.start)
        async with asyncio.timeout(20):
            await start
        assert 1 == service.orders.active_count
        await service.stop()

    try:
        asyncio.run(play())
    finally:
        server.start()
