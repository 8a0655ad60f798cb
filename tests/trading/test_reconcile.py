"""What Trading knows after a restart, a reconnect, a lost message or a full disk."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace
from places import doctored
from sqlalchemy import text

from arbig.bus.memory import MemoryBus
from arbig.bus.port import BusError
from arbig.bus.topics import CMD, EVENT, ORDER, ORDER_STATUS, POSITION, TRADE
from arbig.domain.messages import (
    CommandData,
    CommandType,
    Detail,
    Direction,
    EventData,
    EventType,
    Offset,
    OrderData,
    Status,
    decode,
    encode,
)
from arbig.trading.differences import Lots
from arbig.trading.state import State


class LossyBus(MemoryBus):
    """Refuses to append to the streams named."""

    def __init__(self) -> None:
        super().__init__()
        self.deaf_for: set[str] = set()

    async def append(self, items: Sequence[tuple[str, bytes]]) -> list[str]:
        if self.deaf_for & {stream for stream, _ in items}:
            raise BusError("Redis is gone")
        return await super().append(items)


async def events(desk: Any) -> list[EventType]:
    return [decode(EventData, each).event for each in await desk.said(EVENT.name)]


def test_new_orders_are_refused_while_disconnected_and_cancels_pass(opened: Any) -> None:
    async def play() -> None:
        async with opened() as desk:
            working = await desk.order()
            await desk.status(working, Status.NOTTRADED)
            desk.counter.connected = False
            await desk.counter.tell(EventType.DISCONNECTED)
            await desk.until(lambda: not desk.service.state.is_connected)
            refused = await desk.status(await desk.order(), Status.REJECTED)
            assert "the exchange is disconnected" in (refused.error_msg or "")
            await desk.cancel(working)
            await desk.until(lambda: desk.counter.commands[-1].cmd_type is CommandType.CANCEL_ORDER)
            desk.counter.connected = True
            await desk.counter.tell(EventType.CONNECTED)
            await desk.until(lambda: desk.service.state.effective is State.ACTIVE)
            await desk.status(await desk.order(), Status.NOTTRADED)
            assert EventType.RECONCILED is (await events(desk))[-1]

    asyncio.run(play())


def test_a_start_while_the_exchange_is_away_refuses_orders_until_it_is_back(opened: Any, counter: Any) -> None:
    async def play() -> None:
        counter.connected = False
        async with opened(counter) as desk:
            assert State.RECONCILING is desk.service.state.effective
            await desk.status(await desk.order(), Status.REJECTED)
            counter.connected = True
            await counter.tell(EventType.CONNECTED)
            await desk.until(lambda: desk.service.state.effective is State.ACTIVE)

    asyncio.run(play())


def test_start_tells_everybody_that_we_know_where_we_stand(opened: Any) -> None:
    async def play() -> None:
        async with opened() as desk:
            assert [EventType.RECONCILED] == await events(desk)

    asyncio.run(play())


def test_fills_that_happen_while_trading_is_away_are_counted_once(opened: Any, counter: Any) -> None:
    async def play() -> None:
        async with opened(counter) as desk:
            name = await desk.order(volume=3)
            await desk.status(name, Status.NOTTRADED)
            await counter.fill(name)
            await desk.status(name, Status.PARTTRADED)
        await counter.fill(name)
        await counter.fill(name)
        async with opened(counter) as desk:
            await desk.status(name, Status.ALLTRADED)
            lag = {TRADE.name, ORDER_STATUS.name}
            await desk.until(lambda: lag <= set(desk.service.reconciler.as_of))
            assert 3 == len(desk.service.store.trades())
            assert 3 == desk.service.positions.books["MaRsiStrategy", "au2512", "SHFE"].volume

    asyncio.run(play())


def test_every_entry_of_every_stream_delivered_again_changes_nothing(opened: Any, counter: Any) -> None:
    async def play() -> None:
        async with opened(counter) as desk:
            names = [await desk.order(price=800.0 + 0.02 * number) for number in range(2)]
            for name in names:
                await desk.status(name, Status.NOTTRADED)
            await counter.fill(names[0])
            await desk.cancel(names[1])
            await desk.status(names[1], Status.CANCELLED)
            await desk.until(lambda: desk.service.orders.trades_today == 1)
            before = (list(desk.service.orders.states()), dict(desk.service.positions.books), len(counter.commands))
        for stream in (ORDER.name, ORDER_STATUS.name, TRADE.name):
            for payload in await desk.said(stream):
                await counter.bus.append([(stream, payload)])
        async with opened(counter) as desk:
            last = await desk.order()
            await desk.status(last, Status.NOTTRADED)
            after = [state for state in desk.service.orders.states() if state.request_id != last]
            assert before == (after, dict(desk.service.positions.books), len(counter.commands) - 1)

    asyncio.run(play())


def test_order_rates_are_remembered_over_a_restart(opened: Any, counter: Any) -> None:
    async def play() -> None:
        async with opened(counter) as desk:
            for number in range(3):
                await desk.status(await desk.order(price=800.0 + 0.02 * number), Status.NOTTRADED)
        async with opened(counter) as desk:
            sent = desk.service.judge.recent()
            assert 3 == len(sent)
            assert all(0 <= desk.service.clock.monotonic() - each.at < 5 for each in sent)

    asyncio.run(play())


def test_a_fill_that_was_announced_and_does_not_come_is_asked_for(opened: Any, counter: Any) -> None:
    async def play() -> None:
        async with opened(counter) as desk:
            name = await desk.order()
            await desk.status(name, Status.NOTTRADED)
            counter.silent = {TRADE.name}
            await counter.fill(name)
            await desk.until(lambda: desk.service.orders.missing())
            await desk.until(lambda: desk.service.orders.trades_today == 1, seconds=10)

    asyncio.run(play())


def test_a_command_that_redis_does_not_take_is_passed_on_once_when_it_is_back(opened: Any, counter: Any) -> None:
    async def play() -> None:
        counter.bus = bus = LossyBus()
        async with opened(counter) as desk:
            bus.deaf_for = {CMD.name}
            name = await desk.order()
            await desk.until(lambda: desk.service.outbox.waiting)
            bus.deaf_for = set()
            await desk.status(name, Status.NOTTRADED)
            assert [name] == [each.request_id for each in counter.commands]

    asyncio.run(play())


def test_a_command_left_unsaid_by_a_crash_is_said_after_the_restart(opened: Any, counter: Any) -> None:
    async def play() -> None:
        counter.bus = bus = LossyBus()
        async with opened(counter) as desk:
            bus.deaf_for = {CMD.name}
            name = await desk.order()
            await desk.until(lambda: desk.service.outbox.waiting)
        bus.deaf_for = set()
        async with opened(counter) as desk:
            await desk.status(name, Status.NOTTRADED)
            assert [name] == [each.request_id for each in counter.commands]

    asyncio.run(play())


def test_a_command_that_expired_unsaid_is_never_sent_and_the_strategy_is_told(opened: Any, counter: Any) -> None:
    async def play() -> None:
        counter.bus = bus = LossyBus()
        async with opened(counter) as desk:
            bus.deaf_for = {CMD.name}
            wish = desk.request()
            soon = replace(wish, expires_at=wish.timestamp + timedelta(milliseconds=300))
            name = await desk.order(soon)
            await desk.until(lambda: desk.service.outbox.waiting)
        await asyncio.sleep(0.3)
        bus.deaf_for = set()
        async with opened(counter) as desk:
            order = await desk.status(name, Status.REJECTED)
            assert Detail.EXPIRED is order.detail
            heard = [decode(OrderData, each) for each in await desk.said(ORDER_STATUS.name)]
            assert [(name, Detail.EXPIRED)] == [(each.request_id, each.detail) for each in heard]
            assert [] == await desk.said(CMD.name)

    asyncio.run(play())


def test_an_order_the_gateway_does_not_know_yet_stays_unknown_until_there_is_evidence(
    opened: Any, counter: Any
) -> None:
    """Its command was passed on: it may still turn up, so it is not called rejected."""

    async def play() -> None:
        async with opened(counter) as desk:
            wish = desk.request()
            soon = replace(wish, expires_at=wish.timestamp + timedelta(milliseconds=200))
            name = await desk.order(soon)
            await desk.status(name, Status.NOTTRADED)
        forgotten = counter.orders.pop(name)
        with doctored(desk.service.database.place) as connection:
            connection.execute(text("UPDATE orders SET status = 'SUBMITTING', order_id = NULL"))
        await asyncio.sleep(0.2)
        async with opened(counter) as desk:
            await desk.until(lambda: desk.service.orders.get(name).is_unknown)
            counter.orders[name] = forgotten
            await counter.report(name, Status.CANCELLED, 0)
            order = await desk.status(name, Status.CANCELLED)
            assert order.detail is None

    asyncio.run(play())


def test_an_order_of_another_terminal_is_shown_and_belongs_to_no_strategy(opened: Any, counter: Any) -> None:
    async def play() -> None:
        async with opened(counter) as desk:
            name = await desk.order()
            await desk.status(name, Status.NOTTRADED)
            foreign = replace(counter.orders[name], request_id="foreign", order_id="77", strategy_name="", volume=2)
            counter.orders["foreign"] = replace(foreign, request_id=None)
            await counter.bus.append([(ORDER_STATUS.name, encode(counter.orders["foreign"]))])
            await desk.until(lambda: desk.service.orders.get("77"))
            await counter.fill("foreign", 2)
            await desk.until(lambda: desk.service.orders.get("77").status is Status.ALLTRADED)
            await desk.until(lambda: desk.service.orders.trades_today == 1)
            assert [("unassigned", 2)] == [
                (book.strategy_name, book.volume)
                for book in desk.service.positions.unassigned(desk.service.clock.now())
            ]

    asyncio.run(play())


def test_a_trade_before_its_order_is_counted_when_the_order_comes(opened: Any, counter: Any) -> None:
    async def play() -> None:
        async with opened(counter) as desk:
            name = await desk.order()
            await desk.status(name, Status.NOTTRADED)
            known = counter.orders[name]
            foreign = replace(known, request_id=None, order_id="88", strategy_name="")
            counter.orders["foreign"] = foreign
            trade = await counter.fill("foreign")
            late = replace(trade, trade_id="900")
            counter.trades.append(late)
            await counter.bus.append([(TRADE.name, encode(replace(late, order_id="89")))])
            await desk.until(lambda: desk.service.orders.trades_today == 2)
            await counter.bus.append([(ORDER_STATUS.name, encode(replace(foreign, order_id="89")))])
            await desk.until(lambda: (state := desk.service.orders.get("89")) and state.status is Status.ALLTRADED)

    asyncio.run(play())


def test_the_days_close_is_written_once(opened: Any, counter: Any) -> None:
    async def play() -> None:
        await counter.hold("au2512", Direction.LONG, 2)
        async with opened(counter) as desk:
            await counter.tell(EventType.SETTLED)
            day = counter.time.date()
            await desk.until(lambda: desk.service.snapshots.account_of(day))
            await counter.hold("au2512", Direction.LONG, 1)
            await counter.tell(EventType.SETTLED)
            await desk.until(lambda: desk.service.positions.net("au2512") == 1)
            assert [2] == [row["volume"] for row in desk.service.snapshots.positions_of(day)]
            assert 1_000_000.0 == desk.service.snapshots.account_of(day)["balance"]

    asyncio.run(play())


def test_a_fill_that_comes_after_its_days_close_is_counted_once(opened: Any, counter: Any) -> None:
    """Streams have no order among one another; the picture of the close had its lots already."""

    async def play() -> None:
        async with opened(counter) as desk:
            name = await desk.order()
            await desk.status(name, Status.NOTTRADED)
            counter.silent.add(TRADE.name)
            late = await counter.fill(name)
            counter.trades.remove(late)
            await counter.tell(EventType.SETTLED)
            await desk.until(lambda: desk.service.snapshots.positions_of(counter.time.date()))
            await counter.hold("au2512", Direction.LONG, 1, yesterday=1)
            counter.day += timedelta(days=1)
            await counter.tell(EventType.TRADING_DAY)
            await desk.until(lambda: desk.service.orders.trading_day == counter.day)
            assert not desk.service.orders.is_counted(late)
            await counter.bus.append([(TRADE.name, encode(late))])
            await desk.until(lambda: desk.service.orders.is_counted(late))
            held = desk.service.orders.tally.lots(lambda symbol: True)
            assert {("au2512", Direction.LONG): Lots(yesterday=1)} == held

    asyncio.run(play())


@pytest.mark.sqlite
def test_a_full_disk_refuses_orders_aloud_and_loses_none(opened: Any, counter: Any) -> None:
    """The refusal is said at once; it is written, and its entry acknowledged, when the disk has room again."""

    async def play() -> None:
        async with opened(counter) as desk:
            database = desk.service.database
            with database.transaction() as connection:
                pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
                connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
            names = []
            while desk.service.fault is None:
                names.append(await desk.order(price=800.0 + 0.02 * (len(names) % 40)))
                await asyncio.sleep(0.01)
            assert "cannot grow, the disk is full: free some space" in desk.service.fault
            heard = [decode(OrderData, each) for each in await desk.said(ORDER_STATUS.name)]
            assert any("orders cannot be written down" in (each.error_msg or "") for each in heard)
            with database.transaction() as connection:
                connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
            await desk.until(lambda: all(desk.service.orders.get(name) for name in names))
            assert desk.service.fault is None
            sent = [each.request_id for each in counter.commands]
            assert len(sent) == len(set(sent))

    asyncio.run(play())


def test_garbage_goes_to_the_dead_letters_and_orders_go_on(opened: Any) -> None:
    async def play() -> None:
        async with opened() as desk:
            for stream in (ORDER, ORDER_STATUS, TRADE, EVENT):
                await desk.bus.append([(stream.name, b'{"symbol": 12')])
            await desk.order(request_id="")
            await desk.order(volume=10**30)
            await desk.bus.publish([("tick:au2512", b"garbage"), ("hb:gateway", b"garbage")])
            await desk.quote()
            await desk.status(await desk.order(), Status.NOTTRADED)
            assert 6 == len(await desk.said("stream:dead"))

    asyncio.run(play())


def test_commands_keep_the_order_of_the_wishes(opened: Any, counter: Any) -> None:
    async def play() -> None:
        await counter.hold("au2512", Direction.LONG, 5)
        async with opened(counter) as desk:
            close = {"direction": Direction.SHORT, "offset": Offset.CLOSETODAY}
            names = [await desk.order(price=800.0 + 0.02 * number, **close) for number in range(5)]
            await desk.until(lambda: len(counter.commands) == 5)
            assert names == [decode(CommandData, each).request_id for each in await desk.said(CMD.name)]

    asyncio.run(play())


def test_streams_are_trimmed_and_what_piles_up_is_told(opened: Any) -> None:
    async def play() -> None:
        async with opened() as desk:
            await desk.status(await desk.order(), Status.NOTTRADED)
            await desk.bus.append([(POSITION.name, b"{}")] * 8000)
            await desk.service.sweeper.sweep()
            alarms = desk.service.status()["alarms"]
            assert any("group:strategy has 8000 unfinished entries of stream:position" in line for line in alarms)
            assert EventType.ALARM in await events(desk)

    asyncio.run(play())
