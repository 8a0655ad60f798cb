"""Trading on PostgreSQL: the server is away at the start, or goes in the middle. Orders wait or are refused with the
reason, nothing is lost, and it goes on by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import postgres
import pytest
from places import POSTGRESQL, settings_on
from proxy import Proxy

from arbig.bus.topics import CMD, DEAD, ORDER, ORDER_STATUS
from arbig.domain.messages import OrderData, Status, decode
from arbig.runtime.clock import WallClock
from arbig.runtime.settings import Settings
from arbig.store.database import Database
from arbig.store.faults import Away
from arbig.store.snapshots import SnapshotStore
from arbig.trading.keeper import StateKeeper

pytestmark = pytest.mark.postgresql(alone=True)
ROOT = Path(__file__).parents[2]


@pytest.fixture
def proxy(kind: str) -> Iterator[Proxy]:
    with Proxy("127.0.0.1", postgres.shared().port) as found:
        yield found


@pytest.fixture
def settings(tmp_path: Path, proxy: Proxy) -> Settings:
    """A house whose way to the server can be cut."""
    return settings_on(POSTGRESQL, tmp_path, ROOT, url=postgres.shared().new(port=proxy.port))


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


def test_a_decision_in_doubt_ends_this_life_and_the_next_one_sends_it_once(
    opened: Any, counter: Any, proxy: Proxy
) -> None:
    """The answer to its commit is lost: the entry is no dead letter, and comes again."""

    async def play() -> None:
        async with opened(counter) as desk:
            proxy.drop_replies(holding=b"COMMIT")
            order = await desk.order()
            async with asyncio.timeout(5):
                assert "went away with the answer to a commit" in str(await desk.service.failure())
        async with opened(counter) as desk:
            await desk.status(order, Status.NOTTRADED)
            assert [order] == [each.request_id for each in counter.commands]
            assert [] == await desk.said(DEAD.name)

    asyncio.run(play())


def test_an_order_refused_aloud_stays_refused_in_the_next_life(opened: Any, counter: Any) -> None:
    """Trading is started again before the refusal could be written down; its sender has heard it."""
    server = postgres.shared()

    async def play() -> None:
        async with opened(counter) as desk:
            server.stop()
            refused = await desk.order()
            await desk.until(lambda: desk.service.fault)
        await asyncio.to_thread(server.start)
        async with opened(counter) as desk:
            assert "does not answer" in (await desk.status(refused, Status.REJECTED)).error_msg
            again = await desk.order(price=800.04)
            await desk.status(again, Status.NOTTRADED)
            assert [again] == [each.request_id for each in counter.commands]

    try:
        asyncio.run(play())
    finally:
        server.start()


def test_an_order_on_its_way_is_not_refused_when_it_is_asked_for_again_without_the_server(
    opened: Any, counter: Any
) -> None:
    """Its sender had no reply from Redis and says it twice: it was decided, so it only waits."""
    server = postgres.shared()

    async def play() -> None:
        async with opened(counter) as desk:
            order = await desk.order()
            await desk.status(order, Status.NOTTRADED)
            [said] = await desk.said(ORDER.name)
            server.stop()
            await counter.bus.append([(ORDER.name, said)])
            await desk.until(lambda: desk.service.fault)
            await asyncio.to_thread(server.start)
            await desk.until(lambda: desk.service.fault is None)
            again = await desk.order(price=800.04)
            await desk.status(again, Status.NOTTRADED)
            heard = [decode(OrderData, each) for each in await desk.said(ORDER_STATUS.name)]
            assert [] == [each.error_msg for each in heard if each.status is Status.REJECTED]
            assert desk.service.orders.get(order).status is Status.NOTTRADED
            assert [order, again] == [each.request_id for each in counter.commands]

    try:
        asyncio.run(play())
    finally:
        server.start()


def test_a_server_that_goes_at_the_start_halts_nobody(settings: Settings, counter: Any) -> None:
    """What the last person wanted is not unreadable for that: the next life reads it."""
    server = postgres.shared()
    database = Database.open(settings.database("trading"))
    server.stop()
    try:
        with pytest.raises(Away):
            StateKeeper(SnapshotStore(database, "sim"), counter.ask, WallClock(), lambda state: None)
    finally:
        server.start()
        database.close()
