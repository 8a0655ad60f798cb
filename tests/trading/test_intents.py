"""Intents: what a notebook wants is done once, however often it asks; what becomes of it is said; real money needs a
grant."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import date, datetime, timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from arbig.domain.messages import SHANGHAI, CommandType, Direction, Offset, Status
from arbig.trading.intents import next_order
from arbig.trading.pursuer import MOST_REFUSALS
from arbig.trading.state import State

DAY = date(2025, 10, 15)
CLOSE = "2025-10-15-close"


@asynccontextmanager
async def asking(desk: Any) -> AsyncIterator[Callable[..., Any]]:
    """A notebook's way in: `await ask("POST", "/intents", target=2)`."""
    app = FastAPI()
    desk.service.routes(app)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:

        async def ask(method: str, path: str, **body: Any) -> httpx.Response:
            if method == "POST" and path == "/intents":
                body = {"strategy_name": "close_gold", "symbol": "au2512", "intent": CLOSE} | body
            return await client.request(method, path, json=body or None)

        yield ask


@asynccontextmanager
async def filling(desk: Any) -> AsyncIterator[None]:
    """The counter fills whatever comes."""

    async def work() -> None:
        while True:
            for name, order in list(desk.counter.orders.items()):
                if order.status is Status.NOTTRADED:
                    await desk.counter.fill(name, order.volume - order.traded)
            await asyncio.sleep(0.01)

    working = asyncio.ensure_future(work())
    try:
        yield
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


async def became(desk: Any, intent_id: str, state: str, seconds: float = 5.0) -> Any:
    await desk.until(lambda: desk.service.pursuer.find(intent_id).state == state, seconds)
    return desk.service.pursuer.find(intent_id)


def book_of(desk: Any) -> int:
    return sum(book.volume for book in desk.service.positions.owned() if book.strategy_name == "close_gold")


def sends(desk: Any) -> list[Any]:
    return [each for each in desk.counter.commands if each.cmd_type is CommandType.SEND_ORDER]


@given(st.integers(-9, 9), st.integers(-9, 9))
def test_each_order_closes_what_is_held_on_the_other_side_first_and_ends_at_the_target(
    volume: int, target: int
) -> None:
    seen = []
    while volume != target:
        direction, offset, lots = next_order(volume, target)
        after = volume + direction.sign * lots
        assert lots > 0
        assert (offset is Offset.CLOSE) == (abs(after) < abs(volume))
        seen.append(offset)
        volume = after
    assert len(seen) <= 2


def test_the_same_intent_is_executed_once_and_answered_from_its_row_also_in_another_life(opened: Any) -> None:
    async def play() -> None:
        async with opened() as desk:
            counter = desk.counter
            async with asking(desk) as ask, filling(desk):
                first = (await ask("POST", "/intents", target=2)).json()
                await became(desk, first["id"], "DONE")
                again = (await ask("POST", "/intents", target=2)).json()
                other = (await ask("POST", "/intents", target=5)).json()
                assert [(each.direction, each.offset, each.volume) for each in sends(desk)] == [
                    (Direction.LONG, Offset.OPEN, 2)
                ]
                assert (again["id"], again["repeated"], again["state"]) == (first["id"], True, "DONE")
                assert (other["target"], other["repeated"]) == (2, True)
                assert [order["traded"] for order in again["orders"]] == [2]
        async with opened(counter) as desk, asking(desk) as ask:
            third = (await ask("POST", "/intents", target=2)).json()
            assert (third["state"], third["repeated"], len(sends(desk)), book_of(desk)) == ("DONE", True, 1, 2)

    asyncio.run(play())


def test_a_book_is_turned_over_by_a_close_and_an_open(opened: Any) -> None:
    async def play() -> None:
        async with opened() as desk, asking(desk) as ask, filling(desk):
            long = (await ask("POST", "/intents", target=1)).json()
            await became(desk, long["id"], "DONE")
            short = (await ask("POST", "/intents", target=-2, intent="turn")).json()
            done = await became(desk, short["id"], "DONE")
            assert [(each.direction, each.volume) for each in sends(desk)] == [
                (Direction.LONG, 1),
                (Direction.SHORT, 1),
                (Direction.SHORT, 2),
            ]
            assert [each.request_id for each in sends(desk)[1:]] == done.request_ids
            assert book_of(desk) == -2

    asyncio.run(play())


def test_it_waits_through_a_break_and_says_so_and_ends_with_its_day(opened: Any) -> None:
    async def play() -> None:
        async with opened() as desk, asking(desk) as ask:
            desk.counter.time = datetime(2025, 10, 15, 10, 20, tzinfo=SHANGHAI)
            await desk.quote()
            taken = (await ask("POST", "/intents", target=2)).json()
            waiting = await became(desk, taken["id"], "WAITING")
            await desk.until(lambda: "break" in desk.service.pursuer.find(taken["id"]).detail)
            assert sends(desk) == []
            assert waiting.until == DAY
            desk.counter.time = datetime(2025, 10, 15, 10, 30, tzinfo=SHANGHAI)
            await desk.quote()
            await desk.until(lambda: sends(desk))
            await desk.counter.fill(sends(desk)[0].request_id, 1)
            desk.counter.time = datetime(2025, 10, 15, 21, 0, tzinfo=SHANGHAI)
            await desk.quote()
            expired = await became(desk, taken["id"], "EXPIRED")
            assert expired.detail == "the trading day 2025-10-15 is over; +1 of +2 lots"
            await desk.until(lambda: any(each.cmd_type is CommandType.CANCEL_ORDER for each in desk.counter.commands))

    asyncio.run(play())


def test_a_newer_intent_a_person_and_a_flatten_stop_it_and_its_order_is_cancelled(opened: Any) -> None:
    async def play() -> None:
        async with opened() as desk, asking(desk) as ask:
            first = (await ask("POST", "/intents", target=2)).json()
            await desk.until(lambda: len(desk.counter.orders) == 1)
            second = (await ask("POST", "/intents", target=1, intent="later")).json()
            stopped = await became(desk, first["id"], "STOPPED")
            assert stopped.detail == "later has taken its place; +0 of +2 lots"
            await desk.until(lambda: len(sends(desk)) == 2)
            assert desk.counter.orders[sends(desk)[0].request_id].status is Status.CANCELLED
            told = (await ask("DELETE", f"/intents/{second['id']}")).json()
            assert (told["state"], told["detail"]) == ("STOPPED", "stopped by a person; +0 of +1 lots")
            assert (await ask("DELETE", f"/intents/{second['id']}")).status_code == 409
            third = (await ask("POST", "/intents", target=1, intent="last")).json()
            await desk.until(lambda: len(sends(desk)) == 3)
            await ask("POST", "/flatten", strategy_name="close_gold")
            assert "being made flat" in (await became(desk, third["id"], "STOPPED")).detail

    asyncio.run(play())


def test_orders_that_are_refused_again_and_again_end_it_with_the_sentence(opened: Any) -> None:
    async def play() -> None:
        async with opened() as desk, asking(desk) as ask:
            await desk.service.keeper.set(State.REDUCING, "a person")
            taken = (await ask("POST", "/intents", target=2)).json()
            pursuer = desk.service.pursuer
            await desk.until(lambda: any(exit.refusals for exit in pursuer._chaser._exits.values()))
            aim = next(iter(pursuer._chaser._exits))
            pursuer._chaser._exits[aim] = type(pursuer._chaser._exits[aim])("x", refusals=MOST_REFUSALS)
            refused = await became(desk, taken["id"], "REFUSED")
            assert "only closing orders are sent while trading is REDUCING" in refused.detail
            assert sends(desk) == []

    asyncio.run(play())


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"symbol": "xx9999", "target": 1}, "xx9999"),
        ({"target": 1, "intent": ""}, "intent"),
        ({"target": 1, "strategy_name": "../x"}, "strategy_name"),
        ({"target": 10**9}, "target"),
    ],
)
def test_a_wish_that_makes_no_sense_is_refused_in_words(opened: Any, body: dict[str, Any], words: str) -> None:
    async def play() -> None:
        async with opened() as desk, asking(desk) as ask:
            answer = await ask("POST", "/intents", **body)
            assert answer.status_code == 422
            assert words in answer.text

    asyncio.run(play())


def test_real_money_needs_a_grant_of_that_size_and_a_revoked_one_ends_it(opened: Any) -> None:
    async def play() -> None:
        async with opened() as desk, asking(desk) as ask:
            desk.service.pursuer._is_live = True
            none = await ask("POST", "/intents", target=2)
            assert none.status_code == 403
            assert "real money needs a grant, which was never given" in none.json()["detail"]
            soon = (desk.service.clock.now() + timedelta(hours=1)).replace(tzinfo=None).isoformat()
            given = await ask("POST", "/grants", strategy_name="close_gold", lots=1, expires_at=soon)
            assert "2 lots are more than the 1 granted" in (await ask("POST", "/intents", target=2)).json()["detail"]
            taken = await ask("POST", "/intents", target=1)
            assert taken.status_code == 202
            await ask("DELETE", f"/grants/{given.json()['id']}")
            assert "was revoked" in (await became(desk, taken.json()["id"], "REFUSED")).detail
            assert [each["state"] for each in (await ask("GET", "/grants")).json()["grants"]] == ["REVOKED"]

    asyncio.run(play())


def test_what_a_grant_allows_can_be_asked_and_its_first_end_stays_written(opened: Any) -> None:
    async def play() -> None:
        async with opened() as desk, asking(desk) as ask:
            allows = "/granted?strategy_name=close_gold&lots=2"
            assert (await ask("GET", allows)).json() == {"refusal": None}, "no money is real"
            desk.service.pursuer._is_live = True
            assert "was never given" in (await ask("GET", allows)).json()["refusal"]
            soon = (desk.service.clock.now() + timedelta(hours=1)).replace(tzinfo=None).isoformat()
            given = (await ask("POST", "/grants", strategy_name="close_gold", lots=2, expires_at=soon)).json()["id"]
            assert (await ask("GET", allows)).json() == {"refusal": None}
            await ask("DELETE", f"/grants/{given}")
            (first,) = desk.service.pursuer.store.grants()
            await asyncio.sleep(0.01)
            await ask("DELETE", f"/grants/{given}")
            assert [first] == desk.service.pursuer.store.grants()
            closing = (await ask("POST", "/intents", target=0)).json()["detail"]
            assert closing.endswith("which was revoked; give one: arbig schedule grant close_gold --lots 1 --days 5")

    asyncio.run(play())
