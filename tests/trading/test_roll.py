"""A strategy moves to the next contract: what is closed, what is opened and when, who waits for what, and that a life
which ends anywhere leaves nothing to be done twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from arbig.domain.messages import SHANGHAI, Direction, Offset, Status
from arbig.runtime.http import CallError
from arbig.trading import roller
from arbig.trading.rolls import Moved, to_do
from arbig.trading.state import State

LONG, SHORT = Direction.LONG, Direction.SHORT
BREAK = datetime(2025, 10, 15, 10, 20, tzinfo=SHANGHAI)
OLD, NEW = "au2512", "au2602"
BY_HAND = (799.0, 801.0)
DEATHS = ("asked", "held", "counted", "sent", "sent:2", "moved", "bound")


class Rests:
    """The Strategy service, as far as a roll asks it; the strategy `A`."""

    def __init__(self, legs: tuple[str, ...] = (OLD,), state: str = "RUNNING") -> None:
        self.legs = list(legs)
        self.state = state
        self.said: list[tuple[str, Any]] = []
        self.is_away = False

    async def __call__(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        if self.is_away:
            raise CallError("strategy does not answer")
        name, _, what = path.removeprefix("/strategies/").partition("/")
        if name != "A":
            raise CallError("404", 404, {"detail": f"{name}: no such strategy; there are: A"})
        if what == "hold":
            self.state = "ROLLING"
        if what == "bind" and (self.state == "ROLLING" or body["to"] not in self.legs):
            self.legs = [body["to"] if leg == body["symbol"] else leg for leg in self.legs]
            self.state = body["then"]
            self.said.append((what, body))
        return {"symbols": self.legs, "symbol": self.legs[0], "state": self.state}


class Market:
    """Ticks of both contracts come all the time, and the counter fills what crosses, `lots` at a time."""

    def __init__(self, desk: Any, lots: int = 10) -> None:
        self.desk, self.lots = desk, lots
        self.is_open = True

    async def work(self) -> None:
        counter = self.desk.counter
        while self.is_open:
            for symbol in (OLD, NEW):
                await self.desk.quote(800.0, symbol)
            for name, order in list(counter.orders.items()):
                if order.status.is_active and order.strategy_name == "A" and self.lots and order.price not in BY_HAND:
                    await counter.fill(name, min(self.lots, order.volume - order.traded))
                    self.check()
            await asyncio.sleep(0.01)

    def check(self) -> None:
        """No lot of the new contract before one of the old is closed."""
        held = sum(self.desk.counter.held_volume(symbol, LONG) for symbol in (OLD, NEW))
        assert held <= 3, "more than it had"

    async def __aenter__(self) -> Market:
        self._work = asyncio.ensure_future(self.work())
        return self

    async def __aexit__(self, *_: Any) -> None:
        self.is_open = False  # never within a fill: the counter would have told half of it
        found = await asyncio.gather(self._work, return_exceptions=True)
        for error in found:
            if isinstance(error, AssertionError):
                raise error


@asynccontextmanager
async def browsing(desk: Any) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    desk.service.routes(app)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
        yield client


async def bought(desk: Any, volume: int) -> None:
    name = await desk.order(strategy_name="A", volume=volume, price=801.0)
    await desk.status(name, Status.NOTTRADED)
    await desk.counter.fill(name, volume)
    await desk.until(lambda: books(desk)[OLD] == volume)


def books(desk: Any) -> dict[str, int]:
    found = {book.symbol: book.volume for book in desk.service.positions.owned() if book.strategy_name == "A"}
    return {OLD: 0, NEW: 0} | found


def job(desk: Any) -> Any:
    return next(iter(desk.service.roller.jobs.values()))


def playing(counter: Any, strategy: Rests, play: Callable[[], Any]) -> None:
    counter.strategy = strategy
    asyncio.run(play())


def sides(counter: Any) -> list[tuple[str, str, str, int]]:
    """What was filled of the roll's own orders, added up."""
    found: dict[tuple[str, str, str], int] = {}
    for order in counter.orders.values():
        if order.traded and order.price != 801.0:
            key = (order.symbol, order.direction, "OPEN" if order.offset is Offset.OPEN else "CLOSE")
            found[key] = found.get(key, 0) + order.traded
    return [(*key, lots) for key, lots in found.items()]


MOVED = [(OLD, "SHORT", "CLOSE", 3), (NEW, "LONG", "OPEN", 3)]


# ---- how many


@given(st.integers(-9, 9), st.integers(-9, 9), st.integers(0, 9), st.integers(0, 9))
def test_never_is_more_closed_than_held_nor_more_opened_than_closed(
    lots: int, held: int, closed: int, opened: int
) -> None:
    close, open_ = to_do(lots, held, Moved(closed, opened))
    assert 0 <= close <= max(0, held if lots > 0 else -held) and close + closed <= max(abs(lots), closed)
    assert open_ + opened <= max(closed, opened) and open_ + opened <= max(abs(lots), opened)


# ---- the way


@pytest.mark.parametrize("at_once", [10, 1])
def test_lots_move_once_and_the_strategy_begins_on_the_new_contract(opened: Any, counter: Any, at_once: int) -> None:
    """Filled whole or lot by lot: as many are opened as are closed."""
    strategy = Rests()

    async def play() -> None:
        async with opened(counter) as desk, browsing(desk) as http:
            await bought(desk, 3)
            resting = await desk.order(strategy_name="A", price=799.0)
            await desk.status(resting, Status.NOTTRADED)
            async with Market(desk, at_once):
                asked = await http.post("/rolls", json={"strategy_name": "A", "to": "au2602.SHFE"})
                assert (202, "WAITING") == (asked.status_code, asked.json()["state"])
                refused = await desk.status(await desk.order(strategy_name="A"), Status.REJECTED)
                assert "A moves from au2512 to au2602" in (refused.error_msg or "")
                await desk.until(lambda: job(desk).state == "DONE", 15)
                assert {OLD: 0, NEW: 3} == books(desk)
            await desk.status(resting, Status.CANCELLED)
            assert (MOVED, ["au2602"], "RUNNING") == (sides(counter), strategy.legs, strategy.state)
            assert desk.service.state.refusal(desk.request(strategy_name="A")) is None
            (shown,) = (await http.get("/rolls")).json()["rolls"]
            assert (3, 3, 3, "DONE") == tuple(shown[name] for name in ("lots", "closed", "opened", "state"))
            again = (await http.post("/rolls", json={"strategy_name": "A", "to": NEW})).json()
            assert (shown["id"], "DONE") == (again["id"], again["state"]), "asked again, it is the one that was done"

    playing(counter, strategy, play)


@pytest.mark.parametrize("death", DEATHS)
def test_a_life_that_ends_at_any_step_is_taken_up_where_it_was(
    opened: Any, counter: Any, death: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trading dies there; the next life has nothing but the database, and the counter."""
    strategy = Rests()
    point, _, times = death.partition(":")
    left = [int(times or 1)]

    def dies(name: str) -> None:
        if name == f"tr.roll_{point}":
            left[0] -= 1
            if left[0] == 0:
                raise asyncio.CancelledError

    async def play() -> None:
        monkeypatch.setattr(roller, "crash_point", dies)
        async with opened(counter) as desk, Market(desk, 0 if death == "sent" else 1):
            await bought(desk, 3)
            await asyncio.gather(desk.service.roller.begin("A", NEW, None, "x"), return_exceptions=True)
            await desk.until(lambda: left[0] <= 0, 15)
        monkeypatch.undo()
        async with opened(counter) as desk, Market(desk, 1):
            again = await desk.service.roller.begin("A", NEW, None, "x")
            await desk.until(lambda: desk.service.roller.jobs[again.id].state == "DONE", 15)
            assert 1 == len(desk.service.roller.jobs)
            assert ({OLD: 0, NEW: 3}, MOVED) == (books(desk), sides(counter))
        assert (["au2602"], "RUNNING", 1) == (strategy.legs, strategy.state, len(strategy.said))

    playing(counter, strategy, play)


def test_a_flat_strategy_is_bound_at_once_and_a_paused_one_stays_paused(opened: Any, counter: Any) -> None:
    strategy = Rests(("ag2512", OLD), "PAUSED")

    async def play() -> None:
        async with opened(counter) as desk, Market(desk):
            await desk.service.roller.begin("A", NEW, None, "x")
            await desk.until(lambda: job(desk).state == "DONE")
            assert ([], ["ag2512", NEW], "PAUSED") == (sides(counter), strategy.legs, strategy.state)

    playing(counter, strategy, play)


# ---- what it waits for


def test_in_a_break_it_waits_visibly_and_goes_on_when_the_market_does(opened: Any, counter: Any) -> None:
    async def play() -> None:
        async with opened(counter) as desk:
            await bought(desk, 3)
            await desk.quote(800.0, NEW)
            desk.service.quotes.session_time = BREAK
            await desk.service.roller.begin("A", NEW, None, "x")
            await desk.until(lambda: "au2512: the market takes its break" in job(desk).detail)
            assert "WAITING" == job(desk).state and not sides(counter)
            assert "the market takes its break" in str(desk.service.status()["rolls"])
            counter.time = BREAK.replace(minute=31)
            async with Market(desk):
                await desk.until(lambda: job(desk).state == "DONE", 15)

    playing(counter, Rests(), play)


def test_at_a_price_limit_the_close_stands_there_and_nothing_is_opened(opened: Any, counter: Any) -> None:
    async def play() -> None:
        async with opened(counter) as desk:
            await bought(desk, 3)
            await desk.quote(800.0, NEW)
            await desk.quote(760.0, limit_up=840.0, limit_down=760.0, bid_volume_1=0)
            await desk.until(lambda: desk.service.quotes.tick(OLD).last_price == 760.0)
            await desk.service.roller.begin("A", NEW, None, "x")
            await desk.until(lambda: "stands at its limit" in job(desk).detail)
            await asyncio.sleep(0.5)
            closes = [each for each in counter.commands if each.price != 801.0]
            assert ("WAITING", [(OLD, 760.0)]) == (job(desk).state, [(each.symbol, each.price) for each in closes])

    playing(counter, Rests(), play)


def test_a_refused_opening_is_tried_again_and_says_why_it_waits(opened: Any, counter: Any) -> None:
    async def play() -> None:
        async with opened(counter) as desk:
            await bought(desk, 3)
            async with Market(desk, 3):
                counter.account["available"] = 0.0
                await desk.service.roller.begin("A", NEW, None, "x")
                await desk.until(lambda: books(desk)[OLD] == 0 and "0 of 3 lots are in au2602" in job(desk).detail)
                counter.account["available"] = 900_000.0
                await desk.until(lambda: job(desk).state == "DONE", 15)

    playing(counter, Rests(), play)


def test_a_strategy_service_that_is_away_is_waited_for(opened: Any, counter: Any) -> None:
    strategy = Rests()

    async def play() -> None:
        async with opened(counter) as desk, Market(desk, 3):
            await bought(desk, 3)
            await desk.service.roller.begin("A", NEW, None, "x")
            await desk.until(lambda: job(desk).state == "MOVING")
            strategy.is_away = True
            await desk.until(lambda: job(desk).detail == "strategy does not answer", 15)
            assert "BINDING" == job(desk).state
            strategy.is_away = False
            await desk.until(lambda: job(desk).state == "DONE")

    playing(counter, strategy, play)


# ---- people


def test_stopped_before_a_lot_has_moved_the_strategy_goes_on_as_it_was(opened: Any, counter: Any) -> None:
    strategy = Rests()

    async def play() -> None:
        async with opened(counter) as desk, browsing(desk) as http, Market(desk, 0):
            await bought(desk, 3)
            asked = (await http.post("/rolls", json={"strategy_name": "A", "to": NEW})).json()
            await desk.until(lambda: job(desk).state == "MOVING" and len(counter.commands) == 2)
            assert 200 == (await http.delete(f"/rolls/{asked['id']}")).status_code
            await desk.until(lambda: job(desk).state == "STOPPED")
            assert ([OLD], "RUNNING", {OLD: 3, NEW: 0}) == (strategy.legs, strategy.state, books(desk))
            assert 409 == (await http.delete(f"/rolls/{asked['id']}")).status_code
            assert 404 == (await http.delete("/rolls/nobody")).status_code

    playing(counter, strategy, play)


def test_stopped_half_way_the_strategy_rests_and_a_second_roll_moves_the_others(opened: Any, counter: Any) -> None:
    strategy = Rests()

    async def play() -> None:
        async with opened(counter) as desk:
            await bought(desk, 3)
            async with Market(desk, 0) as market:
                first = await desk.service.roller.begin("A", NEW, None, "x")
                await desk.until(lambda: len(counter.commands) == 2)
                await counter.fill(counter.commands[1].request_id, 1)
                await desk.until(lambda: desk.service.roller.moved(first).closed == 1)
                await desk.service.roller.stop(desk.service.roller.jobs[first.id])
                await desk.until(lambda: desk.service.roller.jobs[first.id].state == "STOPPED")
                assert ("STOPPED", [OLD], 2) == (strategy.state, strategy.legs, books(desk)[OLD])
                market.lots = 3
                second = await desk.service.roller.begin("A", NEW, None, "y")
                await desk.until(lambda: desk.service.roller.jobs[second.id].state == "DONE", 15)
                assert (0, [NEW], "STOPPED") == (books(desk)[OLD], strategy.legs, strategy.state)

    playing(counter, strategy, play)


def test_a_flatten_goes_first_and_what_it_closes_is_not_opened_again(opened: Any, counter: Any) -> None:
    strategy = Rests()

    async def play() -> None:
        async with opened(counter) as desk, Market(desk, 0) as market:
            await bought(desk, 3)
            await desk.service.roller.begin("A", NEW, None, "x")
            await desk.until(lambda: job(desk).state == "MOVING")
            flat = await desk.service.flattener.begin("A", None, "out")
            await desk.until(lambda: job(desk).state == "STOPPED", 10)
            market.lots = 3
            await desk.until(lambda: desk.service.flattener.jobs[flat.id].state == "DONE", 10)
            assert {OLD: 0, NEW: 0} == books(desk)

    playing(counter, strategy, play)


def test_a_halt_holds_it(opened: Any, counter: Any) -> None:
    async def play() -> None:
        async with opened(counter) as desk, Market(desk):
            await bought(desk, 3)
            await desk.service.set_wanted(State.HALTED, "storm")
            await desk.service.roller.begin("A", NEW, None, "x")
            await desk.until(lambda: "trading is HALTED (storm)" in job(desk).detail)
            await desk.service.set_wanted(State.ACTIVE, "over")
            await desk.until(lambda: job(desk).state == "DONE", 15)

    playing(counter, Rests(), play)


@pytest.mark.parametrize(
    ("wish", "status", "line"),
    [
        ({"strategy_name": "B", "to": NEW}, 404, "B: no such strategy; there are: A"),
        ({"strategy_name": "A", "to": "zz2512"}, 422, "zz2512"),
        ({"strategy_name": "A", "to": OLD}, 409, "trades au2512 already"),
        ({"strategy_name": "A", "to": "ag2602"}, 422, "is another product"),
        ({"strategy_name": "A", "to": NEW, "symbol": "ag2512"}, 422, "does not trade ag2512"),
        ({"strategy": "A", "to": NEW}, 422, "expected strategy_name, to, symbol, reason"),
    ],
)
def test_what_cannot_be_rolled_is_said_in_one_line(
    opened: Any, counter: Any, wish: dict[str, str], status: int, line: str
) -> None:
    async def play() -> None:
        async with opened(counter) as desk, browsing(desk) as http:
            answer = await http.post("/rolls", json=wish)
            assert status == answer.status_code
            assert line in answer.json()["detail"] and "\n" not in answer.json()["detail"]
            assert {} == desk.service.roller.jobs

    playing(counter, Rests(), play)


def test_another_aim_is_refused_while_one_is_on_its_way(opened: Any, counter: Any) -> None:
    async def play() -> None:
        async with opened(counter) as desk, browsing(desk) as http:
            await bought(desk, 3)
            await desk.service.roller.begin("A", NEW, None, "x")
            answer = await http.post("/rolls", json={"strategy_name": "A", "to": "au2604"})
            assert (409, True) == (answer.status_code, "is on its way to au2602" in answer.json()["detail"])

    playing(counter, Rests(), play)
