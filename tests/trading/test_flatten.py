"""Making things flat: what is cancelled, what is closed, what is waited for, and who says that it is done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from arbig.domain.messages import SHANGHAI, CommandType, Direction, Exchange, Offset, Status
from arbig.trading.books import Book
from arbig.trading.flattens import OTHERS, Flatten, Target, targets_of
from arbig.trading.state import State

LONG, SHORT = Direction.LONG, Direction.SHORT
TEN = datetime(2025, 10, 15, 10, 0, tzinfo=SHANGHAI)
BREAK = datetime(2025, 10, 15, 10, 20, tzinfo=SHANGHAI)


@asynccontextmanager
async def browsing(desk: Any) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    desk.service.routes(app)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
        yield client


def job_of(strategy_name: str | None = None, symbol: str | None = None) -> Flatten:
    return Flatten(
        id="f", account_id="sim", strategy_name=strategy_name, symbol=symbol, reason="why", state="WAITING",
        detail="", since=TEN, changed_at=TEN,
    )  # fmt: skip


def book(strategy_name: str, volume: int, symbol: str = "au2512") -> Book:
    return Book(
        account_id="sim",
        strategy_name=strategy_name,
        symbol=symbol,
        exchange=Exchange.SHFE,
        volume=volume,
        updated_at=TEN,
    )


class Hand:
    """Fills whatever close comes to the counter, and says of what."""

    def __init__(self, desk: Any) -> None:
        self.desk = desk
        self.closes: list[tuple[str, str, str, int]] = []

    async def fill(self, name: str) -> None:
        order = self.desk.counter.orders[name]
        self.closes.append((order.strategy_name, order.offset, order.direction, order.volume))
        await self.desk.counter.fill(name, order.volume - order.traded)

    async def work(self) -> None:
        counter = self.desk.counter
        while True:
            for name, order in list(counter.orders.items()):
                if order.offset is not Offset.OPEN and order.status is Status.NOTTRADED:
                    await self.fill(name)
            await asyncio.sleep(0.01)

    async def __aenter__(self) -> Hand:
        self._work = asyncio.ensure_future(self.work())
        return self

    async def __aexit__(self, *_: Any) -> None:
        self._work.cancel()
        await asyncio.gather(self._work, return_exceptions=True)


async def bought(desk: Any, strategy_name: str, volume: int, direction: Direction = LONG) -> None:
    name = await desk.order(strategy_name=strategy_name, volume=volume, direction=direction, price=800.0 + volume / 50)
    await desk.status(name, Status.NOTTRADED)
    await desk.counter.fill(name, volume)
    await desk.status(name, Status.ALLTRADED)
    await desk.until(lambda: any(b.strategy_name == strategy_name and b.volume for b in desk.service.positions.owned()))


def state_of(desk: Any, job_id: str) -> str:
    return str(desk.service.flattener.jobs[job_id].state)


def detail_of(desk: Any, job_id: str) -> str:
    return str(desk.service.flattener.jobs[job_id].detail)


# ---- what is left to close


sides = st.dictionaries(st.tuples(st.sampled_from(["au2512", "ag2512"]), st.sampled_from(Direction)), st.integers(0, 5))
books = st.dictionaries(
    st.tuples(st.sampled_from(["A", "B"]), st.sampled_from(["au2512", "ag2512"])), st.integers(-5, 5)
)


@given(sides, books, st.sampled_from([None, "A"]), st.sampled_from([None, "au2512"]))
def test_the_targets_never_take_more_than_the_counter_holds_and_an_account_takes_all(
    held: dict[tuple[str, Direction], int],
    owned: dict[tuple[str, str], int],
    strategy_name: str | None,
    symbol: str | None,
) -> None:
    all_books = [book(name, volume, contract) for (name, contract), volume in owned.items()]
    found = targets_of(job_of(strategy_name, symbol), held, all_books)
    for (contract, side), volume in held.items():
        taken = sum(lots for target, lots in found.items() if (target.symbol, target.held) == (contract, side))
        assert taken <= volume
        if strategy_name is None and symbol in (None, contract):
            assert taken == volume
        if symbol not in (None, contract):
            assert taken == 0
    for target, lots in found.items():
        own = owned.get((target.strategy_name, target.symbol), 0)
        assert target.strategy_name == OTHERS or lots <= abs(own)
        assert strategy_name in (None, target.strategy_name)


def test_a_locked_position_that_nobody_owns_is_closed_on_both_sides() -> None:
    held = {("au2512", LONG): 2, ("au2512", SHORT): 2}
    assert {Target(OTHERS, "au2512", LONG): 2, Target(OTHERS, "au2512", SHORT): 2} == targets_of(job_of(), held, [])


# ---- the account


def test_an_account_is_made_flat_books_first_today_and_yesterday_apart_and_the_counter_says_so(
    opened: Any, counter: Any
) -> None:
    async def play() -> None:
        await counter.hold("au2512", LONG, 3, yesterday=2)
        async with opened(counter) as desk, browsing(desk) as http:
            await bought(desk, "A", 1)
            await counter.hold("au2512", LONG, 4, yesterday=2)
            resting = await desk.order(strategy_name="B", price=799.0)
            await desk.status(resting, Status.NOTTRADED)
            async with Hand(desk) as hand:
                answer = await http.post("/flatten", json={"reason": "weekend"})
                assert 202 == answer.status_code
                job = answer.json()
                assert [{"symbol": "au2512", "direction": "LONG", "volume": 4}] == job["left"]
                assert "REDUCING" == counter.door["state"]
                await desk.until(lambda: state_of(desk, job["id"]) == "DONE")
            await desk.status(resting, Status.CANCELLED)
            assert 4 == sum(volume for *_, volume in hand.closes)
            assert {("A", "SHORT"), ("", "SHORT")} == {(owner, side) for owner, _, side, _ in hand.closes}
            taken = {offset: sum(v for _, o, _, v in hand.closes if o == offset) for _, offset, _, _ in hand.closes}
            assert {"CLOSETODAY": 2, "CLOSEYESTERDAY": 2} == taken
            assert [] == [b for b in desk.service.positions.owned() if b.volume]
            assert State.REDUCING is desk.service.state.wanted
            assert "the counter has answered" in detail_of(desk, job["id"])
            shown = (await http.get("/flatten")).json()["flattens"]
            assert [("DONE", [])] == [(each["state"], each["left"]) for each in shown]

    asyncio.run(play())


def test_the_same_flatten_asked_for_twice_is_one(opened: Any, counter: Any) -> None:
    async def play() -> None:
        await counter.hold("au2512", LONG, 1)
        async with opened(counter) as desk, browsing(desk) as http:
            one, two = await asyncio.gather(*(http.post("/flatten", json={"symbol": "au2512.SHFE"}) for _ in range(2)))
            assert one.json()["id"] == two.json()["id"]
            assert one.json()["id"] != (await http.post("/flatten", json={})).json()["id"]

    asyncio.run(play())


def test_it_is_not_flat_before_the_counter_has_answered_that_it_is(opened: Any, counter: Any) -> None:
    async def play() -> None:
        async with opened(counter) as desk:
            counter.answers = False
            job = await desk.service.flattener.begin(None, None, "x")
            await desk.until(lambda: "has not answered whether it is flat" in detail_of(desk, job.id))
            counter.answers = True
            await desk.until(lambda: state_of(desk, job.id) == "DONE")

    asyncio.run(play())


def test_lots_that_only_the_counter_knows_of_are_found_and_closed(opened: Any, counter: Any) -> None:
    """Another terminal bought, and its report has not come: the answer to the last question says so."""

    async def play() -> None:
        async with opened(counter) as desk:
            bus, quiet = counter.bus, type(counter.bus)()
            counter.bus = quiet
            await counter.hold("au2512", SHORT, 2)
            counter.bus = bus
            async with Hand(desk) as hand:
                job = await desk.service.flattener.begin(None, None, "x")
                await desk.until(lambda: state_of(desk, job.id) == "DONE", 8)
            assert [("", "LONG", 2)] == [(owner, side, volume) for owner, _, side, volume in hand.closes]

    asyncio.run(play())


# ---- a strategy, a contract


def test_a_strategys_book_alone_is_closed_and_it_may_not_come_back_meanwhile(opened: Any, counter: Any) -> None:
    async def play() -> None:
        async with opened(counter) as desk, browsing(desk) as http:
            await bought(desk, "A", 2)
            await bought(desk, "B", 1)
            resting = await desk.order(strategy_name="B", price=799.0)
            await desk.status(resting, Status.NOTTRADED)
            assert 404 == (await http.post("/flatten", json={"strategy_name": "C"})).status_code
            job = (await http.post("/flatten", json={"strategy_name": "A", "reason": "it is ill"})).json()
            refused = await desk.status(await desk.order(strategy_name="A"), Status.REJECTED)
            assert "A is being made flat (it is ill)" in (refused.error_msg or "")
            assert desk.service.state.refusal(desk.request(strategy_name="B")) is None
            async with Hand(desk) as hand:
                await desk.until(lambda: state_of(desk, job["id"]) == "DONE")
            assert [("A", "SHORT", 2)] == [(owner, side, volume) for owner, _, side, volume in hand.closes]
            assert {"A": 0, "B": 1} == {b.strategy_name: b.volume for b in desk.service.positions.owned()}
            assert Status.NOTTRADED is desk.service.orders.get(resting).status
            assert State.ACTIVE is desk.service.state.wanted
            assert desk.service.state.refusal(desk.request(strategy_name="A")) is None

    asyncio.run(play())


def test_a_flatten_of_a_contract_leaves_the_others_alone(opened: Any, counter: Any) -> None:
    async def play() -> None:
        await counter.hold("au2512", LONG, 1)
        await counter.hold("ag2512", LONG, 1)
        async with opened(counter) as desk:
            async with Hand(desk) as hand:
                job = await desk.service.flattener.begin(None, "au2512", "x")
                refused = await desk.status(await desk.order(), Status.REJECTED)
                assert "au2512 is being made flat" in (refused.error_msg or "")
                await desk.until(lambda: state_of(desk, job.id) == "DONE")
            assert 1 == len(hand.closes)
            assert 1 == counter.held_volume("ag2512", LONG)

    asyncio.run(play())


# ---- what it waits for


def test_in_a_break_it_waits_visibly_and_goes_on_when_the_market_does(opened: Any, counter: Any) -> None:
    async def play() -> None:
        await counter.hold("au2512", LONG, 1)
        async with opened(counter) as desk, browsing(desk) as http:
            desk.service.quotes.session_time = BREAK
            job = await desk.service.flattener.begin(None, None, "x")
            await desk.until(lambda: state_of(desk, job.id) == "WAITING")
            assert "au2512: the market takes its break" == detail_of(desk, job.id)
            assert [1] == [row["volume"] for row in (await http.get("/flatten")).json()["flattens"][0]["left"]]
            assert [] == counter.commands
            desk.service.quotes.session_time = counter.time = BREAK.replace(minute=31)
            async with Hand(desk):
                await desk.until(lambda: state_of(desk, job.id) == "DONE")

    asyncio.run(play())


def test_in_the_auction_it_waits_and_closes_when_the_market_opens(opened: Any, counter: Any) -> None:
    """A close given to the auction could not be taken back and would fill at any price."""

    async def play() -> None:
        await counter.hold("au2512", LONG, 1)
        async with opened(counter) as desk:
            desk.service.quotes.session_time = BREAK.replace(hour=20, minute=56)
            job = await desk.service.flattener.begin(None, None, "x")
            await desk.until(lambda: state_of(desk, job.id) == "WAITING")
            assert "au2512: the opening auction goes on" == detail_of(desk, job.id)
            desk.service.quotes.session_time = BREAK.replace(hour=20, minute=59)
            await asyncio.sleep(0.3)
            assert ("WAITING", []) == (state_of(desk, job.id), counter.commands)
            desk.service.quotes.session_time = counter.time = BREAK.replace(hour=21, minute=1)
            async with Hand(desk):
                await desk.until(lambda: state_of(desk, job.id) == "DONE")

    asyncio.run(play())


def test_at_a_price_limit_one_order_stands_there_and_the_job_waits(opened: Any, counter: Any) -> None:
    async def play() -> None:
        await counter.hold("au2512", LONG, 1)
        async with opened(counter) as desk:
            await desk.quote(760.0, limit_up=840.0, limit_down=760.0, bid_volume_1=0)
            await desk.until(lambda: desk.service.quotes.tick("au2512").last_price == 760.0)
            job = await desk.service.flattener.begin(None, None, "x")
            await desk.until(lambda: "stands at its limit" in detail_of(desk, job.id) and counter.commands)
            await asyncio.sleep(0.6)
            assert ["WAITING", 1, 760.0] == [state_of(desk, job.id), len(counter.commands), counter.commands[0].price]

    asyncio.run(play())


def test_a_close_that_the_market_has_left_is_priced_anew(opened: Any, counter: Any) -> None:
    async def play() -> None:
        await counter.hold("au2512", LONG, 1)
        async with opened(counter) as desk:
            job = await desk.service.flattener.begin(None, None, "x")
            await desk.until(lambda: len(counter.commands) == 1)
            await desk.quote(798.0)
            await desk.until(lambda: len(counter.commands) == 3)
            kinds = [(each.cmd_type, each.price) for each in counter.commands]
            assert [CommandType.SEND_ORDER, CommandType.CANCEL_ORDER, CommandType.SEND_ORDER] == [k for k, _ in kinds]
            assert 797.94 == pytest.approx(kinds[2][1])
            async with Hand(desk):
                await desk.until(lambda: state_of(desk, job.id) == "DONE")

    asyncio.run(play())


def test_a_rejected_close_is_tried_again_later_and_says_why_it_waits(opened: Any, counter: Any) -> None:
    async def play() -> None:
        await counter.hold("au2512", LONG, 1)
        async with opened(counter) as desk:
            job = await desk.service.flattener.begin(None, None, "x")
            await desk.until(lambda: counter.orders)
            [name] = counter.orders
            await counter.report(name, Status.REJECTED, 0)
            await desk.until(lambda: "the last close was rejected" in detail_of(desk, job.id))
            await desk.until(lambda: len(counter.orders) == 2)
            async with Hand(desk):
                await desk.until(lambda: state_of(desk, job.id) == "DONE")

    asyncio.run(play())


def test_a_close_whose_fate_is_unknown_is_not_sent_a_second_time(opened: Any, counter: Any) -> None:
    async def play() -> None:
        await counter.hold("au2512", LONG, 1)
        async with opened(counter) as desk:
            counter.is_deaf = True
            job = await desk.service.flattener.begin(None, None, "x")
            await desk.until(lambda: counter.commands)
            await desk.quote(798.0)
            await asyncio.sleep(0.8)
            assert [CommandType.SEND_ORDER, CommandType.CANCEL_ORDER] == [each.cmd_type for each in counter.commands]
            assert "CLOSING" == state_of(desk, job.id)

    asyncio.run(play())


# ---- people


def test_a_halt_stops_it_and_a_looser_state_lets_it_go_on(opened: Any, counter: Any) -> None:
    async def play() -> None:
        await counter.hold("au2512", LONG, 1)
        async with opened(counter) as desk:
            job = await desk.service.flattener.begin(None, None, "x")
            await desk.until(lambda: counter.orders)
            [name] = counter.orders
            await desk.service.set_wanted(State.HALTED, "storm")
            await desk.status(name, Status.CANCELLED)
            await desk.until(lambda: "trading is HALTED (storm)" in detail_of(desk, job.id))
            await desk.service.set_wanted(State.REDUCING, "calmer")
            async with Hand(desk):
                await desk.until(lambda: state_of(desk, job.id) == "DONE")

    asyncio.run(play())


def test_stopping_one_cancels_what_it_has_sent_and_closes_no_more(opened: Any, counter: Any) -> None:
    async def play() -> None:
        await counter.hold("au2512", LONG, 1)
        async with opened(counter) as desk, browsing(desk) as http:
            job = (await http.post("/flatten", json={})).json()
            await desk.until(lambda: counter.orders)
            [name] = counter.orders
            assert "STOPPED" == (await http.delete(f"/flatten/{job['id']}")).json()["state"]
            await desk.status(name, Status.CANCELLED)
            assert 409 == (await http.delete(f"/flatten/{job['id']}")).status_code
            assert 404 == (await http.delete("/flatten/nobody")).status_code
            await asyncio.sleep(0.5)
            assert 1 == len(counter.orders)
            assert State.REDUCING is desk.service.state.wanted

    asyncio.run(play())


def test_a_flatten_from_halted_may_close(opened: Any, counter: Any) -> None:
    async def play() -> None:
        await counter.hold("au2512", SHORT, 1)
        async with opened(counter) as desk:
            await desk.service.set_wanted(State.HALTED, "storm")
            async with Hand(desk):
                job = await desk.service.flattener.begin(None, None, "x")
                await desk.until(lambda: state_of(desk, job.id) == "DONE")
            assert (State.REDUCING, "REDUCING") == (desk.service.state.wanted, counter.door["state"])

    asyncio.run(play())


# ---- restarts


def test_a_restart_goes_on_with_the_order_that_works_and_closes_once(opened: Any, counter: Any) -> None:
    async def play() -> None:
        await counter.hold("au2512", LONG, 2)
        async with opened(counter) as desk:
            job = await desk.service.flattener.begin(None, None, "x")
            await desk.until(lambda: counter.orders)
        async with opened(counter) as desk:
            await desk.until(lambda: state_of(desk, job.id) == "CLOSING")
            await asyncio.sleep(0.6)
            assert 1 == len(counter.commands)
            async with Hand(desk) as hand:
                await desk.until(lambda: state_of(desk, job.id) == "DONE")
            assert [2] == [volume for *_, volume in hand.closes]
        async with opened(counter) as desk:
            assert [] == desk.service.flattener.running

    asyncio.run(play())
