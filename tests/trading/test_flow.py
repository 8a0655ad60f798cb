"""The life of an order, from a wish to a fill, a refusal or a cancel."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from arbig.bus.topics import CMD, ORDER_STATUS
from arbig.domain.messages import (
    CommandData,
    CommandType,
    Detail,
    Direction,
    Offset,
    OrderData,
    OrderType,
    Status,
    decode,
)


def test_an_order_is_written_sent_and_filled(opened: Any) -> None:
    async def play() -> None:
        async with opened() as desk:
            name = await desk.order(volume=2)
            await desk.status(name, Status.NOTTRADED)
            await desk.counter.fill(name, 1)
            await desk.status(name, Status.PARTTRADED)
            await desk.counter.fill(name, 1)
            order = await desk.status(name, Status.ALLTRADED)
            await desk.until(lambda: len(desk.service.store.trades()) == 2)
            assert (2, "MaRsiStrategy") == (order.traded, order.strategy_name)
            assert 2 == desk.service.positions.books["MaRsiStrategy", "au2512", "SHFE"].volume
            assert (1, 2) == (desk.service.orders.orders_today, desk.service.orders.trades_today)

    asyncio.run(play())


def test_a_cancel_reaches_the_gateway_with_both_names_of_the_order(opened: Any) -> None:
    async def play() -> None:
        async with opened() as desk:
            name = await desk.order()
            await desk.status(name, Status.NOTTRADED)
            await desk.cancel(name)
            await desk.status(name, Status.CANCELLED)
            command = desk.counter.commands[-1]
            assert (CommandType.CANCEL_ORDER, name, "1") == (
                command.cmd_type,
                command.order_request_id,
                command.order_id,
            )

    asyncio.run(play())


def test_a_close_of_both_days_becomes_two_orders(opened: Any, counter: Any) -> None:
    """Yesterday's lots first; the second order is a child of the first, and one cancel takes both."""

    async def play() -> None:
        await counter.hold("au2512", Direction.LONG, 5, yesterday=2)
        async with opened(counter) as desk:
            name = await desk.order(direction=Direction.SHORT, offset=Offset.CLOSE, volume=4)
            await desk.until(lambda: len(counter.commands) == 2)
            first, second = counter.commands
            assert [(Offset.CLOSEYESTERDAY, 2), (Offset.CLOSETODAY, 2)] == [
                (each.offset, each.volume) for each in (first, second)
            ]
            assert (name, None, name) == (first.request_id, first.parent_id, second.parent_id)
            await desk.status(second.request_id, Status.NOTTRADED)
            await desk.cancel(name)
            await desk.status(first.request_id, Status.CANCELLED)
            await desk.status(second.request_id, Status.CANCELLED)

    asyncio.run(play())


def test_lots_promised_to_a_working_close_cannot_be_closed_twice(opened: Any, counter: Any) -> None:
    async def play() -> None:
        await counter.hold("au2512", Direction.LONG, 2)
        async with opened(counter) as desk:
            await desk.order(direction=Direction.SHORT, offset=Offset.CLOSE, volume=2)
            second = await desk.order(direction=Direction.SHORT, offset=Offset.CLOSE, volume=1)
            order = await desk.status(second, Status.REJECTED)
            assert "0 available; long position 2 (2 of today, 0 of yesterday), 2 frozen" in (order.error_msg or "")

    asyncio.run(play())


REFUSALS = [
    ({"volume": 0}, "volume 0 is outside 1-"),
    ({"price": 800.01}, "not a multiple of the tick 0.02; nearest are 800.00 and 800.02"),
    ({"price": 900.0}, "price 900 is outside 760.00-840.00; last price was 800.00"),
    ({"symbol": "au2412"}, "expired on 2024-12-16; the main contract is au2512"),
    ({"symbol": "xx2512"}, "xx2512: no product 'xx'"),
    ({"symbol": "aau2512"}, "did you mean au2512?"),
    ({"exchange": "INE"}, "trades on SHFE, not on INE"),
    ({"direction": Direction.SHORT, "offset": Offset.CLOSE}, "no long position is held"),
    ({"volume": 11}, "11 lots in one order, at most 10 allowed"),
    ({"account_id": "other"}, "account other is not traded here, sim is"),
]


@pytest.mark.parametrize(("changes", "sentence"), REFUSALS, ids=[sentence[:24] for _, sentence in REFUSALS])
def test_a_bad_order_is_refused_with_a_sentence_the_strategy_hears(
    opened: Any, changes: dict[str, Any], sentence: str
) -> None:
    async def play() -> None:
        async with opened() as desk:
            name = await desk.order(**changes)
            await desk.status(name, Status.REJECTED)
            await desk.until(lambda: desk.service.outbox.waiting == 0)
            heard = [decode(OrderData, each) for each in await desk.said(ORDER_STATUS.name)]
            assert [(name, Status.REJECTED, Detail.DENIED)] == [(o.request_id, o.status, o.detail) for o in heard]
            assert sentence in (heard[0].error_msg or "")
            assert [] == await desk.said(CMD.name)
            assert [name] == [state.request_id for state in desk.service.store.orders_page(None, 10).rows]

    asyncio.run(play())


def test_no_order_is_sent_while_the_session_is_closed(opened: Any, counter: Any) -> None:
    async def play() -> None:
        counter.time = counter.time.replace(hour=12)
        async with opened(counter) as desk:
            order = await desk.status(await desk.order(), Status.REJECTED)
            assert "the session is in a break" in (order.error_msg or "")

    asyncio.run(play())


def test_fak_and_fok_reach_the_gateway_as_they_are(opened: Any) -> None:
    async def play() -> None:
        async with opened() as desk:
            await desk.order(order_type=OrderType.FAK)
            await desk.order(order_type=OrderType.FOK)
            await desk.until(lambda: len(desk.counter.commands) == 2)
            assert [OrderType.FAK, OrderType.FOK] == [each.order_type for each in desk.counter.commands]

    asyncio.run(play())


def test_an_order_that_came_too_late_is_not_sent(opened: Any) -> None:
    async def play() -> None:
        async with opened() as desk:
            wish = desk.request()
            late = msgspec.structs.replace(wish, timestamp=wish.timestamp.replace(year=wish.timestamp.year - 1))
            order = await desk.status(await desk.order(late), Status.REJECTED)
            assert Detail.EXPIRED is order.detail
            assert [] == await desk.said(CMD.name)

    asyncio.run(play())


def test_every_command_carries_its_expiry_account_and_day(opened: Any) -> None:
    async def play() -> None:
        async with opened() as desk:
            wish = desk.request()
            await desk.status(await desk.order(wish), Status.NOTTRADED)
            command = decode(CommandData, (await desk.said(CMD.name))[0])
            assert 3.0 == (command.expires_at - command.timestamp).total_seconds()
            assert ("sim", "2025-10-15") == (command.account_id, str(command.trading_day))

    asyncio.run(play())
