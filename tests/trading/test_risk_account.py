"""Limits of the account, what is remembered of them, and the report of a day: the real service, a counter by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
from fastapi import FastAPI

from arbig import __version__
from arbig.bus.topics import EVENT
from arbig.domain.messages import CommandType, Direction, EventData, EventType, Offset, Status, decode
from arbig.domain.risk import Day, Readings, RiskSettings
from arbig.trading.state import State
from arbig.trading.tripwire import Tripwire, day_of

CALM = Day(balance=1_000_000, began=1_000_000, profit=0)
LOST = Day(balance=970_000, began=1_000_000, profit=-30_000)
REQUESTS = {"orders": 2, "cancels": 1}


@asynccontextmanager
async def browsing(desk: Any) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    desk.service.routes(app)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
        yield client


async def alarms(desk: Any) -> list[str]:
    found = [decode(EventData, each) for each in await desk.said(EVENT.name)]
    lines = [each.message for each in found if each.event is EventType.ALARM]
    return [line for line in lines if "yuan; shown" not in line]  # the account here is invented, and noticed


def test_one_odd_reading_is_no_loss_and_two_a_second_apart_are() -> None:
    wire = Tripwire(RiskSettings().triggers)
    assert [] == wire.seen(Readings(10.0, LOST))
    assert [] == wire.seen(Readings(11.0, CALM))
    assert [] == wire.seen(Readings(12.0, LOST))
    assert [] == wire.seen(Readings(12.9, LOST))
    assert ["DAILY_LOSS"] == [each.code for each in wire.seen(Readings(13.0, LOST))]


def test_what_was_acted_on_is_not_acted_on_again_unless_it_was_over_for_a_minute() -> None:
    wire = Tripwire(RiskSettings().triggers)
    wire.begin(["DAILY_LOSS"])
    assert [] == [wire.seen(Readings(now, LOST)) for now in (10.0, 12.0)][-1]
    assert (
        []
        == [wire.seen(Readings(now, day)) for now, day in ((14.0, CALM), (73.0, CALM), (73.5, LOST), (75.0, LOST))][-1]
    )
    again = [wire.seen(Readings(now, day)) for now, day in ((80.0, CALM), (140.0, CALM), (141.0, LOST), (142.0, LOST))]
    assert ["DAILY_LOSS"] == [each.code for each in again[-1]]


def test_the_days_profit_is_the_counters_own_after_fees(counter: Any) -> None:
    account = counter.account | {"close_profit": -100.0, "position_profit": 30.0, "commission": 10.0}
    assert Day(balance=1_000_000, began=1_000_000, profit=-80, best=2_000_000) == day_of(account, 2_000_000)


def test_a_daily_loss_leaves_only_closing_once_a_day_and_a_person_may_go_on(opened: Any, counter: Any) -> None:
    async def play() -> None:
        async with opened(counter) as desk:
            name = await desk.order()
            await desk.status(name, Status.NOTTRADED)
            await counter.fill(name)
            counter.account |= {"position_profit": -30_000.0, "balance": 970_000.0}
            await desk.until(lambda: desk.service.state.wanted is State.REDUCING, 8)
            await desk.until(lambda: not desk.service._unsaid)
            assert 1 == len(await alarms(desk))
            assert "daily loss 30,010 yuan, 3.0% of 1,000,000" in (await alarms(desk))[0]
            refused = await desk.status(await desk.order(), Status.REJECTED)
            assert "only closing orders are sent while trading is REDUCING (daily loss" in (refused.error_msg or "")
            close = await desk.order(direction=Direction.SHORT, offset=Offset.CLOSETODAY)
            await desk.status(close, Status.NOTTRADED)
            await desk.cancel(close)
            await desk.status(close, Status.CANCELLED)
            await desk.service.set_wanted(State.ACTIVE, "seen")
        async with opened(counter) as desk:
            for _ in range(2):
                await desk.service._watch()
                await asyncio.sleep(1.0)
            assert State.ACTIVE is desk.service.state.wanted
            assert 1 == len(await alarms(desk))

    asyncio.run(play())


def test_the_report_of_a_day_counts_messages_cancels_and_denials(opened: Any, counter: Any) -> None:
    async def play() -> None:
        async with opened(counter) as desk, browsing(desk) as http:
            await desk.status(await desk.order(), Status.NOTTRADED)
            second = await desk.order(price=800.02)
            await desk.status(second, Status.NOTTRADED)
            await desk.cancel(second)
            await desk.status(second, Status.CANCELLED)
            await desk.status(await desk.order(volume=11), Status.REJECTED)
            found = (await http.get("/compliance", params={"day": "2025-10-15"})).json()
            assert ("ARBIG", __version__, None) == (found["software"], found["version"], found["app_id"])
            assert REQUESTS == {name: found[name] for name in REQUESTS}
            assert 1 <= found["most_messages_per_second"] <= 3
            assert 0 == found["busy_seconds"]
            assert {"ORDER_SIZE": 1} == found["denials"]
            gold = found["contracts"][0]
            expected = {"symbol": "au2512", "cancelled_orders": 1, "large_cancels": 0, "self_trades": 0} | REQUESTS
            assert expected == {name: gold[name] for name in expected}
            assert found == (await http.get("/compliance")).json()
            nothing = (await http.get("/compliance", params={"day": "2025-10-14"})).json()
            assert (0, []) == (nothing["orders"], nothing["contracts"])
            wrong = await http.get("/compliance", params={"day": "monday"})
            assert (422, "day: found 'monday', expected a trading day") == (
                wrong.status_code,
                wrong.json()["detail"][:43],
            )

    asyncio.run(play())


def test_a_persons_order_is_denied_with_a_word_and_a_sentence(opened: Any) -> None:
    async def play() -> None:
        async with opened() as desk, browsing(desk) as http:
            wish = {"symbol": "au2512", "direction": "LONG", "offset": "OPEN", "price": 800.0, "volume": 11}
            answer = await http.post("/orders", json=wish)
            assert (422, "ORDER_SIZE") == (answer.status_code, answer.json()["code"])
            assert "au2512: 11 lots in one order, at most 10 allowed; send fewer" in answer.json()["detail"]

    asyncio.run(play())


def test_cancels_of_a_moment_ago_are_remembered_over_a_restart(opened: Any, counter: Any) -> None:
    async def play() -> None:
        async with opened(counter) as desk:
            name = await desk.order()
            await desk.status(name, Status.NOTTRADED)
            await desk.cancel(name)
            await desk.status(name, Status.CANCELLED)
        async with opened(counter) as desk:
            [when] = desk.service.judge._cancelled
            assert 0 <= desk.service.clock.monotonic() - when < 5
            assert 1 == desk.service.orders.activity.counts["au2512"].cancels
            [(_, messages)] = desk.service.store.cancels_since(desk.service.clock.now() - timedelta(minutes=1))
            assert (1, CommandType.CANCEL_ORDER) == (messages, counter.commands[-1].cmd_type)

    asyncio.run(play())
