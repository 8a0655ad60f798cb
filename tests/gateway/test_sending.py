"""The send protocol: one order on its way, none twice, and what nobody knows is called so until the counter decides."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Coroutine
from datetime import date, timedelta
from typing import Any

import pytest

from arbig.bus.memory import MemoryBus
from arbig.bus.topics import CMD, EVENT, ORDER_STATUS
from arbig.domain.counter import CancelOrder, InsertOrder, Query, Subject
from arbig.domain.messages import CommandType, EventData, OrderData
from arbig.gateway import sender
from arbig.gateway.door import State
from arbig.runtime.settings import SettingsError

Desks = Callable[..., Any]
UNKNOWN, NOT_SENT = "SUBMITTING+UNKNOWN", "REJECTED+NOT_SENT"


def play(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(story)


def sent(desk: Any) -> list[int]:
    return [wish.order_ref for wish in desk.street.wishes if isinstance(wish, InsertOrder)]


def order_queries(desk: Any) -> int:
    return sum(isinstance(wish, Query) and wish.subject is Subject.ORDERS for wish in desk.street.wishes)


# ---- a window of one ------------------------------------------------------------------------------------------------


def test_the_next_order_goes_out_when_the_counter_has_spoken_of_the_last(open_desk: Desks) -> None:
    async def story() -> None:
        async with open_desk() as desk:
            desk.street.is_quiet = True
            for name in ("r1", "r2", "r3"):
                await desk.order(name, 800.0)
            before = sent(desk)
            await desk.wait(0.2)
            assert (before, sent(desk), desk.gateway.status()["orders_waiting"]) == ([1], [1], 2)
            desk.street.speak()
            await desk.settle()
            assert sent(desk) == [1, 2, 3]
            assert await desk.statuses("r3") == ["NOTTRADED"]

    play(story())


def test_an_order_that_waits_can_still_expire_be_cancelled_be_halted_or_lose_the_line(open_desk: Desks) -> None:
    async def story() -> None:
        async with open_desk() as desk:
            desk.street.is_quiet = True
            await desk.order("on its way", 800.0)
            await desk.order("expires", 800.0, expires_at=desk.clock.now() + timedelta(seconds=0.3))
            await desk.order("is cancelled", 800.0)
            await desk.cancel("c1", order_request_id="is cancelled")
            await desk.wait(0.4)
            await desk.order("is halted", 800.0)
            desk.gateway.stand(State.HALTED, "stop", 2)
            await desk.wait(0.1)
            desk.gateway.stand(State.ACTIVE, "go on", 3)
            await desk.order("loses the line", 800.0)
            desk.street.cut()
            await desk.settle()
            assert sent(desk) == [1]
            assert await desk.statuses("expires") == ["REJECTED+EXPIRED"]
            assert await desk.statuses("is cancelled") == [NOT_SENT]
            assert await desk.statuses("is halted") == ["REJECTED+DENIED"]
            assert await desk.statuses("loses the line") == [NOT_SENT]
            assert await desk.statuses("on its way") == [UNKNOWN]

    play(story())


def test_orders_wait_for_their_turn_under_the_counters_rate_where_they_can_still_be_refused(open_desk: Desks) -> None:
    async def story() -> None:
        async with open_desk() as desk:
            turn_at = desk.clock.monotonic() + 0.5
            desk.gateway.connector.turn_in = lambda: max(turn_at - desk.clock.monotonic(), 0.0)
            await desk.order("r1", 800.0)
            too_early = sent(desk)
            await desk.wait(0.6)
            assert (too_early, sent(desk)) == ([], [1])

    play(story())


def test_a_cancel_does_not_wait_behind_orders(open_desk: Desks) -> None:
    async def story() -> None:
        async with open_desk() as desk:
            await desk.order("works", 800.0)
            desk.street.is_quiet = True
            await desk.order("on its way", 800.0)
            await desk.order("waits", 800.0)
            await desk.cancel("c1", order_request_id="works")
            assert (await desk.statuses("works"))[-1] == "CANCELLED"

    play(story())


def test_a_burst_goes_out_whole_and_in_order(open_desk: Desks) -> None:
    async def story() -> None:
        async with open_desk() as desk:
            desk.street.is_quiet = True
            for number in range(60):
                await desk.order(f"r{number}", 800.0, expires_at=desk.clock.now() + timedelta(seconds=60))
            desk.street.speak()
            await desk.settle()
            assert sent(desk) == list(range(1, 61))

    play(story())


# ---- nobody knows ---------------------------------------------------------------------------------------------------


def test_two_answered_queries_a_second_apart_decide_and_then_the_next_order_goes(open_desk: Desks) -> None:
    async def story() -> None:
        async with open_desk() as desk:
            desk.street.loses = InsertOrder
            asked = order_queries(desk)
            await desk.order("lost", 800.0)
            await desk.order("next", 800.0, expires_at=desk.clock.now() + timedelta(seconds=9))
            await desk.wait(1.0)
            assert (order_queries(desk) - asked, await desk.statuses("lost")) == (1, [UNKNOWN])
            await desk.wait(0.5)
            assert (order_queries(desk) - asked, await desk.statuses("lost"), sent(desk)) == (1, [UNKNOWN], [1])
            desk.street.loses = None
            await desk.wait(0.75)
            assert order_queries(desk) - asked == 2
            assert await desk.statuses("lost") == [UNKNOWN, NOT_SENT]
            assert (sent(desk), await desk.statuses("next")) == ([1, 2], ["NOTTRADED"])

    play(story())


def test_a_time_out_alone_rejects_nothing(open_desk: Desks) -> None:
    """The counter answers no query: the order stays UNKNOWN, over the loss of the line, until an answer decides."""

    async def story() -> None:
        async with open_desk() as desk:
            await desk.order("r1", 800.0)
            desk.street.is_quiet = True
            await desk.order("r2", desk.street.price + 1)
            desk.street.deaf = True
            for _ in range(20):
                await desk.wait(1)
            assert await desk.statuses("r2") == [UNKNOWN]
            desk.street.deaf = desk.street.is_quiet = False
            for _ in range(70):
                await desk.wait(1)
            assert (await desk.statuses("r2"))[-1] == "ALLTRADED", "the counter had it all the time"
            assert sent(desk) == [1, 2]

    play(story())


def test_late_word_of_an_order_given_up_is_adopted_and_the_order_cancelled(open_desk: Desks) -> None:
    async def story() -> None:
        async with open_desk() as desk:
            desk.street.is_slow = True
            await desk.order("late", 800.0)
            await desk.wait(3)
            given_up = (await desk.statuses("late"))[-1]
            desk.street.speak()
            await desk.settle()
            assert given_up == NOT_SENT
            assert await desk.statuses("late") == [UNKNOWN, NOT_SENT, "NOTTRADED+LATE_ACK", "CANCELLED"]
            assert sent(desk) == [1]

    play(story())


def test_no_is_provisional_for_a_minute_in_which_the_counter_is_asked_again(open_desk: Desks) -> None:
    """Its word of the order is lost; only the query tells of it."""

    async def story() -> None:
        async with open_desk() as desk:
            desk.street.is_slow = True
            await desk.order("late", 800.0)
            await desk.wait(3)
            desk.street.is_slow = False
            for wish in desk.street.queued:
                desk.street.answer(wish)
            for _ in range(21):
                await desk.wait(1)
            assert await desk.statuses("late") == [UNKNOWN, NOT_SENT, "NOTTRADED+LATE_ACK", "CANCELLED"]
            for _ in range(40):
                await desk.wait(1)
            asked = order_queries(desk)
            for _ in range(60):
                await desk.wait(1)
            assert order_queries(desk) == asked, "after the minute nobody asks any more"

    play(story())


def test_a_restart_knows_what_was_never_sent_and_asks_about_what_may_have_been(open_desk: Desks) -> None:
    async def story() -> None:
        async with open_desk() as desk:
            desk.street.loses = InsertOrder
            await desk.order("may have been sent", 800.0)
            await desk.order("waits", 800.0)
            await desk.gateway.stop()
            desk.street.link.close()
            desk.street.loses = None
            desk.gateway = desk._new_gateway()
            starting = asyncio.ensure_future(desk.gateway.start())
            await desk.settle()
            assert await desk.statuses("waits") == [NOT_SENT]
            assert await desk.statuses("may have been sent") == [UNKNOWN]
            await desk.wait(1)
            await starting
            assert await desk.statuses("may have been sent") == [UNKNOWN, NOT_SENT]
            await desk.order("waits", 800.0)
            assert (sent(desk), (await desk.statuses("waits"))[-1]) == ([1], NOT_SENT)

    play(story())


# ---- what is refused ------------------------------------------------------------------------------------------------


def test_an_order_of_an_older_trading_day_is_refused(open_desk: Desks) -> None:
    async def story() -> None:
        async with open_desk() as desk:
            await desk.order("r1", 800.0, trading_day=date(2025, 10, 14))
            await desk.order("r2", 800.0, trading_day=date(2025, 10, 15))
            (told,) = [o for o in await desk.stream(ORDER_STATUS.name, OrderData) if o.request_id == "r1"]
            assert (await desk.statuses("r1"), sent(desk)) == (["REJECTED+EXPIRED"], [2])
            assert "trading day 2025-10-14" in told.error_msg

    play(story())


def test_a_process_that_stood_still_before_the_insert_sends_nothing_old(
    open_desk: Desks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thirty seconds of SIGSTOP between the commit and the send."""

    async def story() -> None:
        async with open_desk() as desk:

            def stand_still(point: str) -> None:
                if point == "gw.before_send":
                    desk.clock._move(desk.clock.monotonic() + 30)

            monkeypatch.setattr(sender, "crash_point", stand_still)
            await desk.order("r1", 800.0)
            assert (sent(desk), await desk.statuses("r1")) == ([], ["REJECTED+EXPIRED"])

    play(story())


def test_a_halt_that_comes_between_commit_and_insert_is_heeded(
    open_desk: Desks, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with open_desk() as desk:

            def halt(point: str) -> None:
                desk.gateway.stand(State.HALTED, "now", None)

            monkeypatch.setattr(sender, "crash_point", halt)
            await desk.order("r1", 800.0)
            assert (sent(desk), await desk.statuses("r1")) == ([], ["REJECTED+DENIED"])

    play(story())


# ---- the line is lost in mid-order ----------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["before the insert", "after the insert", "before the fill", "after the fill"])
def test_a_line_lost_at_any_moment_of_an_order_loses_and_doubles_nothing(open_desk: Desks, moment: str) -> None:
    async def story() -> None:
        async with open_desk() as desk:
            street = desk.street
            price = street.price + 1 if "fill" in moment or moment == "after the insert" else 800.0
            if moment == "before the insert":
                street.loses = InsertOrder
            street.is_quiet = moment in ("after the insert", "after the fill")
            if moment == "before the fill":
                price = round(street.price - 0.5, 2)
            await desk.order("r1", price, 2)
            street.loses, street.is_quiet, street.unsaid = None, False, []
            street.cut()
            await desk.settle()
            while_away = await desk.statuses("r1")
            await desk.to("10-15T02:30:00")
            street.is_open = True
            await desk.wait(5)
            await desk.wait(1)
            trades = await desk.trades()
            expected = ([UNKNOWN, NOT_SENT], 0) if moment == "before the insert" else (["ALLTRADED"], 2)
            found = await desk.statuses("r1")
            assert (found[-len(expected[0]) :], sum(trade.volume for trade in trades)) == expected
            assert while_away == (["NOTTRADED"] if moment == "before the fill" else [UNKNOWN])
            assert len({trade.event_id for trade in trades}) == len(trades)
            assert sent(desk) == [1]

    play(story())


def test_an_exchange_that_hangs_is_noticed_and_left(open_desk: Desks) -> None:
    """Its process stands still: no connection closes, and nothing comes any more."""

    async def story() -> None:
        async with open_desk() as desk:
            for _ in range(30):
                await desk.wait(1)
            quiet_but_answering = await desk.events()
            desk.street.deaf = True
            for _ in range(6):
                await desk.wait(1)
            (lost,) = [e for e in await desk.stream(EVENT.name, EventData) if str(e.event) == "DISCONNECTED"]
            desk.street.deaf = False
            for _ in range(20):
                await desk.wait(1)
            assert quiet_but_answering == ["CONNECTED"]
            assert "hangs" in lost.message
            assert await desk.events() == ["CONNECTED", "DISCONNECTED", "CONNECTED"]

    play(story())


# ---- everything else is lost ----------------------------------------------------------------------------------------


async def lose(desk: Any, journal: bool, redis: bool) -> None:
    await desk.gateway.stop()
    desk.street.link.close()
    if journal:
        shutil.rmtree(desk.settings.data / "db")
    if redis:
        desk.bus = MemoryBus()
    desk.gateway = desk._new_gateway()
    desk.gateway.stand(State.ACTIVE, "resynchronised", 9)
    await desk.gateway.start()
    await desk.settle()


@pytest.mark.parametrize(("journal", "redis"), [(True, False), (False, True), (True, True)])
def test_orders_and_trades_are_still_their_strategys_when_all_else_is_lost(
    open_desk: Desks, journal: bool, redis: bool
) -> None:
    async def story() -> None:
        async with open_desk() as desk:
            await desk.order("filled", desk.street.price + 1)
            await desk.order("works", 800.0, strategy_name="BreakoutStrategy")
            before = (await desk.get("/orders"))["orders"]
            await lose(desk, journal, redis)
            orders, trades = (await desk.get("/orders"))["orders"], (await desk.get("/trades"))["trades"]
            assert [(o["order_id"], o["strategy_name"], o["status"]) for o in orders] == [
                (o["order_id"], o["strategy_name"], o["status"]) for o in before
            ]
            assert [(t["order_id"], t["strategy_name"]) for t in trades] == [("1", "MaRsiStrategy")]
            await desk.cancel("c1", order_id="2")
            assert (await desk.get("/orders"))["orders"][1]["status"] == "CANCELLED"
            await desk.order("new", 800.0)
            assert sent(desk) == [1, 2, 3], "references go on above those the counter has seen"

    play(story())


def test_a_command_that_comes_again_after_the_journal_was_lost_is_not_sent_again(open_desk: Desks) -> None:
    """It was never acknowledged, or Trading asks what became of it: its memo at the counter says that it was sent."""

    async def story() -> None:
        async with open_desk() as desk:
            await desk.order("r1", 800.0)
            await lose(desk, journal=True, redis=True)
            await desk.order("r1", 800.0, parent_id="p1")
            (told,) = (await desk.get("/orders"))["orders"]
            assert (sent(desk), (await desk.statuses("r1"))[-1]) == ([1], "NOTTRADED")
            assert (told["request_id"], told["parent_id"], told["order_id"]) == ("r1", "p1", "1")

    play(story())


def test_another_terminals_order_is_nobodys_even_with_a_strategys_memo(open_desk: Desks) -> None:
    async def story() -> None:
        async with open_desk() as desk:
            await desk.order("r1", 800.0)
            (ours,) = [wish for wish in desk.street.wishes if isinstance(wish, InsertOrder)]
            facts = desk.street.answer(InsertOrder(**{**_fields(ours), "order_ref": 77}))
            desk.street.link.hear(facts)
            await desk.settle()
            found = (await desk.get("/orders"))["orders"]
            assert sorted((o["order_id"], o["strategy_name"]) for o in found) == [
                ("1", "MaRsiStrategy"),
                ("20251015.SHFE.2", ""),
            ]

    play(story())


def _fields(wish: InsertOrder) -> dict[str, Any]:
    return {name: getattr(wish, name) for name in wish.__struct_fields__}


# ---- the day turns --------------------------------------------------------------------------------------------------


def test_a_day_that_turned_while_the_gateway_was_dead_is_told_once(open_desk: Desks) -> None:
    """It comes back between the settlement and the evening's opening, and dies once more."""

    async def story() -> None:
        async with open_desk("10-15T14:59:00") as desk:
            await desk.order("r1", desk.street.price + 1)
            await desk.gateway.stop()
            desk.street.link.close()
            await desk.to("10-15T15:45:00")
            desk.gateway = desk._new_gateway()
            await desk.gateway.start()
            await desk.settle()
            await desk.restart()
            await desk.to("10-15T20:58:00")
            told = [(str(e.event), str(e.trading_day)) for e in await desk.stream(EVENT.name, EventData)]
            assert told == [
                ("CONNECTED", "2025-10-15"),
                ("SETTLED", "2025-10-15"),
                ("TRADING_DAY", "2025-10-16"),
                ("CONNECTED", "2025-10-16"),
                ("CONNECTED", "2025-10-16"),
            ]

    play(story())


def test_a_second_gateway_ends_with_one_line(open_desk: Desks) -> None:
    async def story() -> None:
        async with open_desk() as desk:
            with pytest.raises(SettingsError, match=r"gateway\.db is in use by another Gateway: stop the other copy"):
                desk._new_gateway()

    play(story())


def test_a_gateway_that_dies_with_commands_unread_answers_each_once(open_desk: Desks) -> None:
    """Cold, warm and crash start are one path: what is pending is read first, what is old is refused."""

    async def story() -> None:
        async with open_desk() as desk:
            await desk.order("r1", 800.0)
            await desk.gateway.stop()
            desk.street.link.close()
            await desk.command("r1", CommandType.SEND_ORDER)
            await desk.command("old", CommandType.SEND_ORDER)
            await desk.clock.advance(10)
            await desk.command("fresh", CommandType.SEND_ORDER)
            await desk.cancel("c1", order_request_id="r1")
            desk.gateway = desk._new_gateway()
            await desk.gateway.start()
            await desk.settle()
            assert await desk.statuses("old") == ["REJECTED+EXPIRED"]
            assert await desk.statuses("fresh") == ["NOTTRADED"]
            assert (await desk.statuses("r1"))[-1] == "CANCELLED"
            assert (len(sent(desk)), len([w for w in desk.street.wishes if isinstance(w, CancelOrder)])) == (2, 1)
            assert all(not group.pending for group in await desk.bus.groups() if group.stream == CMD.name)

    play(story())
