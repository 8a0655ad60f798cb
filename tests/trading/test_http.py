"""The queries of Trading, and a person's orders, over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import httpx
from fastapi import FastAPI

from arbig.bus.memory import MemoryBus
from arbig.bus.port import BusError
from arbig.domain.messages import Direction, Status

GOOD = {"symbol": "au2512", "direction": "LONG", "offset": "OPEN", "price": 800.0, "volume": 1}


@asynccontextmanager
async def browsing(desk: Any) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    desk.service.routes(app)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
        yield client


def test_a_persons_order_goes_the_same_way_and_is_answered_at_once(opened: Any) -> None:
    async def play() -> None:
        async with opened() as desk, browsing(desk) as http:
            answer = await http.post("/orders", json=GOOD)
            assert 202 == answer.status_code
            name = answer.json()["request_id"]
            await desk.status(name, Status.NOTTRADED)
            assert "manual" == desk.counter.commands[0].strategy_name
            assert [name] == [each["request_id"] for each in (await http.get("/orders")).json()["orders"]]
            assert 202 == (await http.delete(f"/orders/{name}")).status_code
            await desk.status(name, Status.CANCELLED)
            assert [] == (await http.get("/orders")).json()["orders"]
            assert 1 == len((await http.get("/orders", params={"active": False})).json()["orders"])
            assert 409 == (await http.delete(f"/orders/{name}")).status_code

    asyncio.run(play())


def test_the_same_post_twice_is_one_order(opened: Any) -> None:
    async def play() -> None:
        async with opened() as desk, browsing(desk) as http:
            post = partial(http.post, "/orders", json=GOOD | {"request_id": "mine"})
            answers = [*await asyncio.gather(post(), post()), await post()]
            assert [202, 202, 202] == [answer.status_code for answer in answers]
            await desk.status("mine", Status.NOTTRADED)
            assert 1 == len(desk.counter.commands)

    asyncio.run(play())


def test_bad_orders_are_refused_with_a_sentence(opened: Any) -> None:
    async def play() -> None:
        async with opened() as desk, browsing(desk) as http:
            for body, sentence in (
                (GOOD | {"volume": 0}, "volume 0 is outside"),
                (GOOD | {"volume": "two"}, "Expected `int`, got `str` - at `$.volume`"),
                (GOOD | {"symbol": "au"}, "expected a product and its delivery month"),
                ({"symbol": "au2512"}, "missing required field `direction`"),
                (GOOD | {"prise": 1}, "unknown field `prise`"),
            ):
                answer = await http.post("/orders", json=body)
                assert 422 == answer.status_code
                assert sentence in answer.json()["detail"]
            assert 404 == (await http.delete("/orders/nobody")).status_code

    asyncio.run(play())


def test_positions_name_what_each_strategy_holds_and_what_none_does(opened: Any, counter: Any) -> None:
    async def play() -> None:
        await counter.hold("au2512", Direction.LONG, 3)
        async with opened(counter) as desk, browsing(desk) as http:
            name = await desk.order()
            await desk.status(name, Status.NOTTRADED)
            await counter.fill(name)
            await desk.until(lambda: desk.service.positions.net("au2512") == 4)
            await desk.quote(801.0)
            await desk.until(lambda: desk.service.quotes.tick("au2512").last_price == 801.0)
            answer = (await http.get("/positions")).json()
            assert [("au2512", "LONG", 4)] == [(p["symbol"], p["direction"], p["volume"]) for p in answer["positions"]]
            books = {each["strategy_name"]: (each["volume"], each["pnl"]) for each in answer["strategies"]}
            assert {"MaRsiStrategy": (1, 1000.0), "unassigned": (3, 3000.0)} == books
            assert {"stream:order_status", "stream:trade", "stream:position"} <= set(answer["as_of"])

    asyncio.run(play())


def test_trades_are_asked_for_since_a_moment(opened: Any) -> None:
    async def play() -> None:
        async with opened() as desk, browsing(desk) as http:
            name = await desk.order(volume=3)
            await desk.status(name, Status.NOTTRADED)
            for _ in range(3):
                await desk.counter.fill(name)
            await desk.status(name, Status.ALLTRADED)
            await desk.until(lambda: desk.service.orders.trades_today == 3)
            every = (await http.get("/trades")).json()["trades"]
            assert ["1", "2", "3"] == [each["trade_id"] for each in every]
            since = (await http.get("/trades", params={"since": every[1]["datetime"]})).json()["trades"]
            assert ["2", "3"] == [each["trade_id"] for each in since]
            assert ["3"] == [
                each["trade_id"] for each in (await http.get("/trades", params={"limit": 1})).json()["trades"]
            ]

    asyncio.run(play())


def test_a_halt_cancels_what_works_refuses_what_comes_and_survives_a_restart(opened: Any, counter: Any) -> None:
    async def play() -> None:
        async with opened(counter) as desk, browsing(desk) as http:
            name = await desk.order()
            await desk.status(name, Status.NOTTRADED)
            answer = await http.post("/state", json={"state": "HALTED", "reason": "lunch with the regulator"})
            assert "HALTED" == answer.json()["state"]
            await desk.status(name, Status.CANCELLED)
            assert "lunch with the regulator" in (await http.post("/orders", json=GOOD)).json()["detail"]
        async with opened(counter) as desk, browsing(desk) as http:
            assert "HALTED" == (await http.get("/state")).json()["state"]
            assert 422 == (await http.post("/state", json={"state": "RECONCILING"})).status_code
            await http.post("/state", json={"state": "ACTIVE", "reason": "back"})
            assert 202 == (await http.post("/orders", json=GOOD)).status_code

    asyncio.run(play())


def test_reducing_lets_closes_pass_and_refuses_opens(opened: Any, counter: Any) -> None:
    async def play() -> None:
        await counter.hold("au2512", Direction.LONG, 1)
        async with opened(counter) as desk, browsing(desk) as http:
            await http.post("/state", json={"state": "REDUCING", "reason": "daily loss"})
            assert "only closing orders" in (await http.post("/orders", json=GOOD)).json()["detail"]
            close = GOOD | {"direction": "SHORT", "offset": "CLOSE"}
            assert 202 == (await http.post("/orders", json=close)).status_code

    asyncio.run(play())


def test_the_account_is_the_counters(opened: Any) -> None:
    async def play() -> None:
        async with opened() as desk, browsing(desk) as http:
            assert 1_000_000.0 == (await http.get("/account")).json()["account"]["balance"]

    asyncio.run(play())


def test_an_order_is_refused_in_one_line_while_redis_is_gone(opened: Any, counter: Any) -> None:
    async def play() -> None:
        counter.bus = bus = Gone()
        async with opened(counter) as desk, browsing(desk) as http:
            bus.is_gone = True
            answer = await http.post("/orders", json=GOOD)
            assert (503, "the order could not be passed on: Redis is gone") == (
                answer.status_code,
                answer.json()["detail"],
            )
            bus.is_gone = False
            assert 202 == (await http.post("/orders", json=GOOD)).status_code

    asyncio.run(play())


class Gone(MemoryBus):
    is_gone = False

    async def append(self, items: Sequence[tuple[str, bytes]]) -> list[str]:
        if self.is_gone:
            raise BusError("Redis is gone")
        return await super().append(items)
