"""The Gateway between Trading and the counter: each order goes out once, and what became of it is always told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

from arbig.bus.topics import CMD, DEAD, HEARTBEAT, ORDER_STATUS
from arbig.domain.counter import CancelOrder, InsertOrder, Start
from arbig.domain.messages import (
    DeadLetter,
    Direction,
    Exchange,
    Heartbeat,
    Offset,
    OrderData,
    OrderType,
    TickData,
    decode,
    encode,
)

Desks = Callable[..., Any]


def play(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(story)


def sent(desk: Any) -> list[InsertOrder]:
    return [wish for wish in desk.street.wishes if isinstance(wish, InsertOrder)]


def test_an_order_comes_back_as_status_trade_and_position_under_its_own_names(open_desk: Desks) -> None:
    async def story() -> None:
        async with open_desk() as desk:
            await desk.order("r1", desk.street.price + 1)
            (trade,) = await desk.trades()
            (position,) = await desk.positions()
            assert await desk.statuses("r1") == ["NOTTRADED", "ALLTRADED"]
            assert (trade.request_id, trade.strategy_name, trade.order_id) == ("r1", "MaRsiStrategy", "1")
            assert (trade.account_id, trade.event_id) == ("sim", "T:sim:2025-10-15:SHFE:1:LONG")
            assert (position.volume, position.direction, position.trading_day) == (1, Direction.LONG, trade.trading_day)

    play(story())


def test_a_repeated_command_is_answered_and_not_sent_again(open_desk: Desks) -> None:
    async def story() -> None:
        async with open_desk() as desk:
            for _ in range(3):
                await desk.order("r1", desk.street.price + 1)
            orders = await desk.stream(ORDER_STATUS.name, OrderData)
            assert len(sent(desk)) == 1
            assert [str(order.status) for order in orders] == ["NOTTRADED", "ALLTRADED", "ALLTRADED", "ALLTRADED"]
            assert len({order.event_id for order in orders}) == 2, "a repeat is the same event"

    play(story())


def test_a_stale_command_is_rejected_as_expired(open_desk: Desks) -> None:
    async def story() -> None:
        async with open_desk() as desk:
            await desk.order("r1", desk.street.price, expires_at=desk.clock.now() - timedelta(milliseconds=1))
            assert (sent(desk), await desk.statuses("r1")) == ([], ["REJECTED+EXPIRED"])

    play(story())


def test_counter_and_exchange_rejects_keep_their_number_and_words(open_desk: Desks) -> None:
    async def story() -> None:
        async with open_desk(rejects="[{at_order: 3, error_id: 31}]") as desk:
            await desk.order("r1", 800.01)
            await desk.order("r2", 2000.0)
            await desk.order("r3", desk.street.price)
            told = {order.request_id: order for order in await desk.stream(ORDER_STATUS.name, OrderData)}
            assert [told[name].error_id for name in ("r1", "r2", "r3")] == [95, None, 31]
            assert "涨停板" in told["r2"].error_msg and "资金不足" in told["r3"].error_msg
            assert {str(order.status) for order in told.values()} == {"REJECTED"}

    play(story())


def test_while_disconnected_orders_are_refused_and_the_door_reopens_after_5_10_30_60(open_desk: Desks) -> None:
    async def story() -> None:
        async with open_desk() as desk:
            desk.street.cut()
            await desk.settle()
            await desk.order("r1", desk.street.price)
            attempts = []
            make_link = desk.street.make_link
            desk.gateway.connector._make_link = lambda: (attempts.append(desk.clock.monotonic()), make_link())[1]
            for _ in range(170):
                await desk.clock.advance(1)
            pauses = [round(b - a) for a, b in zip([0.0, *attempts], attempts, strict=False)]
            desk.street.is_open = True
            await desk.clock.advance(60)
            await desk.settle()
            await desk.order("r2", desk.street.price + 1)
            assert pauses == [5, 10, 30, 60, 60]
            assert await desk.events() == ["CONNECTED", "DISCONNECTED", "CONNECTED"]
            assert await desk.statuses("r1") == ["REJECTED+NOT_SENT"]
            assert await desk.statuses("r2") == ["NOTTRADED", "ALLTRADED"]

    play(story())


def test_fills_that_happened_while_the_line_was_dead_are_told_once(open_desk: Desks) -> None:
    async def story() -> None:
        async with open_desk() as desk:
            await desk.order("r1", round(desk.street.price - 0.5, 2), 2)
            for _ in range(2):
                desk.street.cut()
                await desk.to("10-15T02:30:00")
                desk.street.is_open = True
                await desk.clock.advance(120)
                await desk.settle()
            trades = await desk.trades()
            assert sum(trade.volume for trade in trades) == 2
            assert len({trade.event_id for trade in trades}) == len(trades)
            assert (await desk.statuses("r1"))[-1] == "ALLTRADED"
            assert (await desk.positions())[-1].volume == 2

    play(story())


def test_fills_that_happened_while_the_gateway_was_dead_are_told_after_its_restart(open_desk: Desks) -> None:
    async def story() -> None:
        async with open_desk() as desk:
            await desk.order("r1", round(desk.street.price - 0.5, 2), 2)
            await desk.gateway.stop()
            desk.street.link.close()
            await desk.to("10-15T21:01:00")
            desk.gateway = desk._new_gateway()
            await desk.gateway.start()
            await desk.settle()
            trades = await desk.trades()
            assert [trade.request_id for trade in trades] == ["r1"] * len(trades)
            assert sum(trade.volume for trade in trades) == 2, "also over the end of the trading day"
            assert (await desk.positions())[-1].yd_volume == 2

    play(story())


def test_an_order_without_an_echo_is_unknown_within_a_second_and_resolved_after_the_reconnect(open_desk: Desks) -> None:
    async def story() -> None:
        async with open_desk() as desk:
            desk.street.deaf = True
            await desk.order("r1", desk.street.price)
            for _ in range(4):
                await desk.clock.advance(0.5)
                await desk.settle()
            unknown = await desk.statuses("r1")
            desk.street.deaf = False
            desk.street.cut()
            desk.street.is_open = True
            await desk.settle()
            await desk.clock.advance(5)
            await desk.settle()
            after_one_answer = (await desk.statuses("r1"))[-1]
            await desk.clock.advance(1)
            await desk.settle()
            assert (unknown, after_one_answer) == (["SUBMITTING+UNKNOWN"], "SUBMITTING+UNKNOWN")
            assert (await desk.statuses("r1"))[-1] == "REJECTED+NOT_SENT"
            assert len(sent(desk)) == 1, "never sent again"

    play(story())


def test_cancels_by_request_and_by_order_id_and_before_the_order(open_desk: Desks) -> None:
    async def story() -> None:
        async with open_desk() as desk:
            await desk.order("r1", 800.0)
            await desk.order("r2", 800.0)
            await desk.cancel("c1", order_request_id="r1")
            await desk.cancel("c2", order_id="2")
            await desk.cancel("c2", order_id="2")
            await desk.cancel("c3", order_request_id="r3")
            await desk.order("r3", 800.0)
            assert await desk.statuses("r1") == ["NOTTRADED", "CANCELLED"]
            assert await desk.statuses("r2") == ["NOTTRADED", "CANCELLED"]
            assert await desk.statuses("r3") == ["REJECTED+NOT_SENT"]
            assert len([wish for wish in desk.street.wishes if isinstance(wish, CancelOrder)]) == 2

    play(story())


def test_a_cancel_asked_for_while_disconnected_is_made_after_the_reconnect(open_desk: Desks) -> None:
    async def story() -> None:
        async with open_desk() as desk:
            await desk.order("r1", 800.0)
            desk.street.cut()
            await desk.settle()
            await desk.cancel("c1", order_request_id="r1")
            desk.street.is_open = True
            await desk.clock.advance(5)
            await desk.settle()
            assert (await desk.statuses("r1"))[-1] == "CANCELLED"

    play(story())


def test_another_terminals_order_is_external_and_can_be_cancelled_by_its_id(open_desk: Desks) -> None:
    async def story() -> None:
        async with open_desk() as desk:
            wish = InsertOrder(
                order_ref=0,
                memo="",
                symbol="au2512",
                exchange=Exchange.SHFE,
                direction=Direction.LONG,
                offset=Offset.OPEN,
                order_type=OrderType.LIMIT,
                price=800.0,
                volume=1,
            )
            facts = desk.street.answer(wish)
            desk.street.link.hear(facts)
            await desk.settle()
            (order,) = await desk.stream(ORDER_STATUS.name, OrderData)
            await desk.cancel("c1", order_id=order.order_id)
            assert (order.strategy_name, order.request_id, order.order_id) == ("", None, "20251015.SHFE.1")
            assert [str(o.status) for o in await desk.stream(ORDER_STATUS.name, OrderData)] == [
                "NOTTRADED",
                "CANCELLED",
            ]

    play(story())


def test_answers_say_which_stream_entries_they_include(open_desk: Desks) -> None:
    async def story() -> None:
        async with open_desk() as desk:
            await desk.order("r1", desk.street.price + 1)
            await desk.order("r2", 800.0)
            orders, trades = await desk.get("/orders"), await desk.get("/trades")
            positions, account = await desk.get("/positions"), await desk.get("/account")
            last = {name: await desk.bus.last_id(name) for name in orders["as_of"]}
            assert orders["as_of"] == trades["as_of"] == positions["as_of"] == account["as_of"] == last
            assert [(row["request_id"], row["status"]) for row in orders["orders"]] == [
                ("r1", "ALLTRADED"),
                ("r2", "NOTTRADED"),
            ]
            assert [row["trade_id"] for row in trades["trades"]] == ["1"]
            assert [(row["direction"], row["volume"]) for row in positions["positions"]] == [("LONG", 1)]
            assert account["account"]["commission"] == 10 and account["account"]["frozen"] > 0

    play(story())


def test_contracts_clock_and_history_are_answered(open_desk: Desks) -> None:
    async def story() -> None:
        async with open_desk(history_days="1") as desk:
            await desk.to("10-14T21:05:00")
            contracts = (await desk.get("/contracts"))["contracts"]
            clock = await desk.get("/clock")
            bars = (await desk.get("/history?symbol=au2512&start=2025-10-14T09:00:00&end=2025-10-14T21:03:00"))["bars"]
            gold = next(row for row in contracts if row["symbol"] == "au2512")
            assert (gold["size"], gold["price_tick"], gold["position_date_type"]) == (1000, 0.02, "1")
            assert clock == {
                "session_time": "2025-10-14T21:05:00.000",
                "trading_day": "2025-10-15",
                "speed": 120.0,
                "connected": True,
                "epoch": "1",
            }
            assert (bars[0]["datetime"], bars[-1]["datetime"]) == ("2025-10-14T09:00:00", "2025-10-14T21:03:00")
            assert "expected a product" in (await desk.get("/history?symbol=gold&start=2025-10-14", 404))["detail"]

    play(story())


def test_a_subscription_brings_ticks_and_an_unknown_contract_is_named(open_desk: Desks) -> None:
    async def story() -> None:
        async with open_desk() as desk:
            await desk.post("/subscribe", {"symbols": ["rb2601.SHFE"]})
            await desk.to("10-14T21:02:00")
            assert {channel for channel, _ in desk.published} == {"tick:au2512", "tick:rb2601", "hb:gateway"}
            assert "expected" in (await desk.post("/subscribe", {"symbols": ["gold"]}, 404))["detail"]

    play(story())


def test_while_disconnected_what_only_the_counter_knows_is_not_made_up(open_desk: Desks) -> None:
    async def story() -> None:
        async with open_desk() as desk:
            desk.street.cut()
            await desk.settle()
            for path in ("/positions", "/account", "/history?symbol=au2512&start=2025-10-14"):
                assert "reconnects by itself" in (await desk.get(path, 503))["detail"]
            assert (await desk.get("/clock"))["connected"] is False

    play(story())


def test_the_session_clock_comes_in_order_with_the_ticks_and_at_every_segment_end(open_desk: Desks) -> None:
    async def story() -> None:
        async with open_desk() as desk:
            for minute in range(2, 6):
                await desk.clock.advance(0.25)
                await desk.to(f"10-14T21:0{minute}:00")
            newest = None
            for channel, payload in desk.published:
                if channel == "hb:gateway":
                    beat = decode(Heartbeat, payload)
                    assert newest is None or newest <= beat.session_time
                else:
                    newest = decode(TickData, payload).datetime
            assert [f"{beat.session_time:%H:%M:%S}" for beat in desk.beats()] == [f"21:0{m}:00" for m in range(2, 6)]
            words = desk.street.counter.advance_to(desk.beats()[-1].session_time + timedelta(seconds=1), True)
            desk.street.link.hear(words)
            await desk.settle()
            assert f"{desk.beats()[-1].session_time:%H:%M:%S}" == "21:05:01", "no quarter of a second has passed"

    play(story())


def test_a_tick_told_twice_is_published_once(open_desk: Desks) -> None:
    async def story() -> None:
        async with open_desk() as desk:
            words = desk.street.counter.advance_to(desk.street.counter.exchange.session_time + timedelta(seconds=20))
            for _ in range(2):
                desk.street.link.hear(words)
                await desk.settle()
            ticks = [decode(TickData, payload).seq for channel, payload in desk.published if channel == "tick:au2512"]
            assert ticks == list(range(ticks[0], ticks[0] + len(ticks)))

    play(story())


def test_the_day_rolls_with_settlement_and_a_new_trading_day(open_desk: Desks) -> None:
    async def story() -> None:
        async with open_desk() as desk:
            await desk.order("r1", desk.street.price + 1)
            await desk.order("r2", 800.0)
            await desk.to("10-15T21:01:00")
            assert await desk.events() == ["CONNECTED", "SETTLED", "TRADING_DAY"]
            assert (await desk.statuses("r2"))[-1] == "CANCELLED"
            last = (await desk.positions())[-1]
            assert (last.volume, last.yd_volume, str(last.trading_day)) == (1, 1, "2025-10-16")
            assert (await desk.get("/orders"))["orders"] == []

    play(story())


def test_positions_are_told_on_change_only(open_desk: Desks) -> None:
    async def story() -> None:
        async with open_desk() as desk:
            await desk.order("r1", desk.street.price + 1)
            price = round(desk.street.price + 30, 2)
            await desk.order("r2", price, direction=Direction.SHORT, offset=Offset.CLOSETODAY)
            await desk.to("10-14T21:03:00")
            await desk.restart()
            rows = [(row.volume, row.frozen) for row in await desk.positions()]
            assert rows == [(1, 0), (1, 1)]

    play(story())


def test_garbage_and_commands_for_another_account_go_to_the_dead_letters(open_desk: Desks) -> None:
    async def story() -> None:
        async with open_desk() as desk:
            await desk.bus.append([(CMD.name, b"{broken"), (CMD.name, b'{"cmd_type":"SEND_ORDER"}')])
            await desk.order("r1", desk.street.price, account_id="other")
            await desk.order("r2", desk.street.price + 1, order_type=OrderType.FAK)
            dead = await desk.stream(DEAD.name, DeadLetter)
            assert len(dead) == 3 and "account other" in dead[-1].reason
            assert (await desk.statuses("r2"))[0] == "NOTTRADED"

    play(story())


def test_the_clock_starts_when_everybody_is_ready_and_again_after_the_exchange_came_back(open_desk: Desks) -> None:
    async def story() -> None:
        async with open_desk() as desk:

            async def beat(service: str, state: str) -> None:
                told = Heartbeat(service=service, datetime=desk.clock.now(), pid=1, state=state)
                await desk.bus.publish([(HEARTBEAT.of(service), encode(told))])
                await desk.settle()

            def starts() -> int:
                return sum(isinstance(wish, Start) for wish in desk.street.wishes)

            for service, state in (("market", "ready"), ("trading", "starting"), ("strategy", "ready")):
                await beat(service, state)
            before = starts()
            await beat("trading", "ready")
            started = starts()
            desk.street.cut()
            desk.street.is_open = True
            await desk.settle()
            await desk.clock.advance(5)
            await desk.settle()
            assert (before, started, starts()) == (0, 1, 2)

    play(story())
