"""The account beside the counter's: what differs is named once, mended where that is certain, and told to people."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import httpx
from fastapi import FastAPI
from msgspec.structs import replace
from places import doctored, lose
from sqlalchemy import text

from arbig.bus.topics import EVENT, ORDER_STATUS, TRADE
from arbig.domain.messages import Direction, EventData, EventType, Offset, Status, TradeData, decode, encode
from arbig.runtime.clock import WallClock
from arbig.trading.differences import What
from arbig.trading.order_manager import is_made_up
from arbig.trading.state import State

MONEY = "yuan; shown"


class Hurried(WallClock):
    """A second passes when the test says so."""

    ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


async def look(desk: Any) -> None:
    await desk.service.reconciler.resync()
    desk.service.clock.ahead += 1.2


async def twice(desk: Any) -> None:
    """A difference counts when it is seen again a second later."""
    await look(desk)
    await look(desk)


async def said(desk: Any, kind: EventType = EventType.ALARM) -> list[str]:
    await desk.until(lambda: not desk.service._unsaid)
    found = [decode(EventData, each) for each in await desk.said(EVENT.name)]
    return [each.message for each in found if each.event is kind and MONEY not in each.message]


async def asked(desk: Any, method: str, path: str, **body: Any) -> httpx.Response:
    app = FastAPI()
    desk.service.routes(app)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://house") as client:
        return await client.request(method, path, json=body or None)


async def filled(desk: Any, volume: int = 2, **wish: Any) -> str:
    name = await desk.order(volume=volume, **wish)
    await desk.status(name, Status.NOTTRADED)
    await desk.counter.fill(name, volume)
    await desk.status(name, Status.ALLTRADED)
    await desk.until(lambda: not desk.service.orders.missing())
    return str(name)


def books(desk: Any) -> dict[str, int]:
    service = desk.service
    found = [*service.positions.owned(), *service.positions.unassigned(service.clock.now())]
    return {book.strategy_name: book.volume for book in found if book.volume}


def lots(desk: Any, what: What = What.TODAY) -> list[Any]:
    return [one.difference for one in desk.service.auditor.open.values() if one.difference.what is what]


def test_old_position_blocks_the_start(opened: Any, counter: Any) -> None:
    """A named regression: lots from before our time are nobody's, counted, and no alarm; trading goes on."""

    async def play() -> None:
        await counter.hold("au2512", Direction.LONG, 3, yesterday=2)
        async with opened(counter, Hurried()) as desk:
            assert desk.service.state.effective is State.ACTIVE
            await twice(desk)
            await filled(desk, 1)
            assert books(desk) == {"MaRsiStrategy": 1, "unassigned": 3}
            assert await said(desk) == []
            close = {"direction": Direction.SHORT, "offset": Offset.CLOSE, "volume": 2}
            await desk.status(await desk.order(**close), Status.NOTTRADED)
        async with opened(counter, Hurried()) as desk:
            await twice(desk)
            assert (books(desk), await said(desk)) == ({"MaRsiStrategy": 1, "unassigned": 3}, [])

    asyncio.run(play())


def test_lots_that_vanish_are_named_once_leave_only_closing_and_are_written_down(opened: Any, counter: Any) -> None:
    """Also after a restart, and when it happens while Trading is away; a person may take it as it is."""

    async def play() -> None:
        async with opened(counter, Hurried()) as desk:
            await filled(desk, 3)
            await twice(desk)
        await counter.hold("au2512", Direction.LONG, 2)
        async with opened(counter, Hurried()) as desk:
            await look(desk)
            assert desk.service.state.wanted is State.ACTIVE
            await twice(desk)
            (line,) = await said(desk)
            assert line.startswith("au2512 LONG lots of today: ours 3, the counter's 2; cannot be explained")
            assert desk.service.state.wanted is State.REDUCING
            assert line in desk.service.status()["alarms"]
            refused = await desk.status(await desk.order(), Status.REJECTED)
            assert "only closing orders" in (refused.error_msg or "")
        async with opened(counter, Hurried()) as desk:
            await twice(desk)
            assert len(await said(desk)) == 1
            answer = (await asked(desk, "GET", "/reconciliation")).json()
            assert [(one["what"], one["ours"], one["theirs"]) for one in answer["open"] if one["symbol"]] == [
                ("today", "3", "2")
            ]
            assert (await asked(desk, "POST", "/reconciliation/accept", reason="sold by telephone")).status_code == 200
            await twice(desk)
            answer = (await asked(desk, "GET", "/reconciliation")).json()
            assert [one for one in answer["open"] if one["symbol"]] == []
            (row,) = [one for one in answer["differences"] if one["symbol"]]
            assert (row["state"], "sold by telephone" in row["done"]) == ("CLOSED", True)
            assert (books(desk), len(await said(desk))) == ({"MaRsiStrategy": 3, "unassigned": -1}, 1)

    asyncio.run(play())


def test_a_difference_seen_once_is_no_difference(opened: Any, counter: Any) -> None:
    async def play() -> None:
        async with opened(counter, Hurried()) as desk:
            await filled(desk, 2)
            await twice(desk)
            for volume in (1, 2, 3, 2):
                await counter.hold("au2512", Direction.LONG, volume)
                await look(desk)
            assert (await said(desk), desk.service.state.wanted) == ([], State.ACTIVE)

    asyncio.run(play())


def test_an_account_asked_a_moment_after_the_positions_is_not_judged_and_ends_nobody(
    opened: Any, counter: Any, monkeypatch: Any
) -> None:
    """Found by the crash matrix: an order moved between the two questions of the day's first look."""
    whole = counter.ask

    async def ask(path: str, body: Any = None) -> Any:
        answer = await whole(path, body)
        if path == "/account":
            answer["as_of"] = {**answer["as_of"], ORDER_STATUS.name: "9-0"}
        return answer

    async def play() -> None:
        monkeypatch.setattr(counter, "ask", ask)
        async with opened(counter, Hurried()) as desk:
            desk.service.orders.tally.pre_balance = None
            await twice(desk)
            assert (await said(desk), desk.service.state.effective) == ([], State.ACTIVE)

    asyncio.run(play())


def test_a_trade_and_a_state_that_only_the_lists_have_are_merged_and_named(opened: Any, counter: Any) -> None:
    async def play() -> None:
        async with opened(counter, Hurried()) as desk:
            name = await desk.order(volume=2)
            await desk.status(name, Status.NOTTRADED)
            counter.silent = {TRADE.name}
            append, desk.bus.append = desk.bus.append, _nothing
            await counter.fill(name, 2)
            desk.bus.append = append
            await look(desk)
            assert desk.service.orders.get(name).status is Status.ALLTRADED
            assert books(desk) == {"MaRsiStrategy": 2}
            lines = await said(desk)
            assert [line.rpartition("; ")[2] for line in lines] == ["the counter's list counts"] * 2
            await twice(desk)
            assert (await said(desk), desk.service.state.wanted) == (lines, State.ACTIVE)

    asyncio.run(play())


async def _nothing(items: Any) -> list[str]:
    return ["0-0" for _ in items]


async def _announced(desk: Any, name: str, volume: int) -> TradeData:
    """The order's report and the position say it, the trade itself is withheld."""
    desk.counter.silent = {TRADE.name}
    trade = await desk.counter.fill(name, volume)
    desk.counter.trades.remove(trade)
    await desk.until(lambda: desk.service.orders.missing())
    return trade


def test_a_fill_without_its_trade_is_made_up_once_and_the_true_one_takes_its_place(opened: Any, counter: Any) -> None:
    """Second passes and restarts change nothing; each change of the book is a row, and told."""

    async def play() -> None:
        async with opened(counter, Hurried()) as desk:
            name = await desk.order(volume=3)
            await desk.status(name, Status.NOTTRADED)
            true = await _announced(desk, name, 2)
            for _ in range(4):
                await look(desk)
            (made_up,) = desk.service.store.trades()
            assert (is_made_up(made_up), made_up.volume, made_up.price) == (True, 2, 800.0)
            assert (books(desk), desk.service.orders.missing()) == ({"MaRsiStrategy": 2}, set())
        async with opened(counter, Hurried()) as desk:
            await twice(desk)
            assert desk.service.store.trades() == [made_up]
            counter.trades.append(replace(true, price=799.5, volume=1))
            await counter.bus.append([(TRADE.name, encode(counter.trades[-1]))])
            await desk.until(lambda: len(desk.service.store.trades()) == 2)
            await twice(desk)
            assert sorted(one.volume for one in desk.service.store.trades()) == [1, 1]
            counter.trades.append(replace(true, trade_id="99", price=799.0, volume=1))
            for _ in range(2):
                await counter.bus.append([(TRADE.name, encode(counter.trades[-1]))])
            await desk.until(lambda: not any(is_made_up(one) for one in desk.service.store.trades()))
            await twice(desk)
            book = desk.service.positions.books["MaRsiStrategy", "au2512", "SHFE"]
            assert (book.volume, book.cash, book.price) == (2, -1598.5, 799.25)
            assert desk.service.orders.get(name).traded == 2
            await desk.until(lambda: not desk.service.outbox.waiting)
            told = [decode(EventData, each) for each in await desk.said(EVENT.name)]
            assert [(one.volume, one.price) for one in told if one.event is EventType.BOOK] == [
                (2, 800.0), (-1, 800.0), (-1, 800.0),
            ]  # fmt: skip
            assert desk.service.state.wanted is State.ACTIVE

    asyncio.run(play())


def test_a_fill_that_two_orders_could_have_had_is_not_made_up(opened: Any, counter: Any) -> None:
    """The order says filled, the account does not have the lots: nobody knows."""

    async def play() -> None:
        async with opened(counter, Hurried()) as desk:
            name = await desk.order(volume=2)
            await desk.status(name, Status.NOTTRADED)
            await _announced(desk, name, 2)
            await counter.hold("au2512", Direction.LONG, 5)
            await look(desk)
            await twice(desk)
            assert desk.service.store.trades() == []
            assert desk.service.state.wanted is State.REDUCING
            assert [(one.ours, one.theirs) for one in lots(desk)] == [(0, 5)]

    asyncio.run(play())


def test_an_order_of_yesterday_that_must_have_filled_gets_its_lots(opened: Any, counter: Any) -> None:
    """It worked when the house went down; today's lists do not have it, and the account holds lots for it alone."""

    async def play() -> None:
        async with opened(counter, Hurried()) as desk:
            name = await desk.order(volume=3)
            await desk.status(name, Status.NOTTRADED)
            book = desk.service.database.place
        with doctored(book) as connection:
            connection.execute(text("UPDATE orders SET trading_day = '2025-10-14'"))
        del counter.orders[name]
        await counter.hold("au2512", Direction.LONG, 2, yesterday=2)
        async with opened(counter, Hurried()) as desk:
            await look(desk)
            await twice(desk)
            (fill,) = desk.service.store.trades()
            assert (is_made_up(fill), fill.volume, str(fill.trading_day)) == (True, 2, "2025-10-14")
            assert (books(desk), desk.service.state.wanted) == ({"MaRsiStrategy": 2}, State.ACTIVE)
        async with opened(counter, Hurried()) as desk:
            await twice(desk)
            assert (len(desk.service.store.trades()), books(desk)) == (1, {"MaRsiStrategy": 2})

    asyncio.run(play())


def test_unassigned_lots_are_assigned_by_a_person_and_given_back_never_more_than_there_are(
    opened: Any, counter: Any
) -> None:
    async def play() -> None:
        await counter.hold("au2512", Direction.LONG, 3)
        async with opened(counter, Hurried()) as desk:
            await twice(desk)
            wish = {"symbol": "au2512", "direction": "LONG", "strategy_name": "MaRsiStrategy"}
            too_many = await asked(desk, "POST", "/positions/assign", volume=4, **wish)
            assert (too_many.status_code, "3 are unassigned" in too_many.text) == (422, True)
            nobody = await asked(desk, "POST", "/positions/assign", volume=1, **{**wish, "strategy_name": "MaRsi"})
            assert (nobody.status_code, "MaRsiStrategy" in nobody.text) == (422, True)
            assert (await asked(desk, "POST", "/positions/assign", volume=2, **wish)).status_code == 200
            assert books(desk) == {"MaRsiStrategy": 2, "unassigned": 1}
            back = await asked(desk, "POST", "/positions/unassign", volume=3, **wish)
            assert (back.status_code, "its book holds 2" in back.text) == (422, True)
            await asked(desk, "POST", "/positions/unassign", volume=1, **wish, reason="a test")
            changes = (await asked(desk, "GET", "/reconciliation")).json()["book_changes"]
            assert [(one["kind"], one["strategy_name"], one["volume"]) for one in changes] == [
                ("INHERITED", "unassigned", 3),
                ("ASSIGNED", "unassigned", -2), ("ASSIGNED", "MaRsiStrategy", 2),
                ("RETURNED", "MaRsiStrategy", -1), ("RETURNED", "unassigned", 1),
            ]  # fmt: skip
            assert changes[-1]["reason"] == "1 lots from MaRsiStrategy to unassigned: a test"
            await twice(desk)
        async with opened(counter, Hurried()) as desk:
            await twice(desk)
            assert (books(desk), await said(desk)) == ({"MaRsiStrategy": 1, "unassigned": 2}, [])
            answer = (await asked(desk, "GET", "/positions")).json()
            assert answer["book_changes"] == 5

    asyncio.run(play())


def test_lots_another_terminal_closes_are_external_at_once_counted_and_told_to_the_strategy(
    opened: Any, counter: Any
) -> None:
    """F19. The order is nobody's, the strategy hears whose lots it takes, and they cannot be closed twice."""

    async def play() -> None:
        async with opened(counter, Hurried()) as desk:
            name = await filled(desk, 3)
            foreign = replace(
                counter.orders[name], request_id=None, order_id="77", strategy_name="", direction=Direction.SHORT,
                offset=Offset.CLOSETODAY, volume=2, traded=0, status=Status.NOTTRADED,
            )  # fmt: skip
            counter.orders["foreign"] = foreign
            await counter.bus.append([(ORDER_STATUS.name, encode(foreign))])
            await desk.until(lambda: desk.service.orders.get("77"))
            assert desk.service.orders.active_count == 1
            (told,) = await said(desk, EventType.EXTERNAL)
            assert told == (
                "au2512: another terminal works a CLOSETODAY of 2 LONG lots at 800.0; "
                "the book of MaRsiStrategy holds 3 of them"
            )
            close = {"direction": Direction.SHORT, "offset": Offset.CLOSETODAY, "volume": 2}
            refused = await desk.status(await desk.order(**close), Status.REJECTED)
            assert "1 available" in (refused.error_msg or "")
            await counter.fill("foreign", 2)
            await desk.until(lambda: desk.service.orders.trades_today == 2)
            await desk.until(lambda: desk.service.positions.net("au2512") == 1)
            await twice(desk)
            assert books(desk) == {"MaRsiStrategy": 3, "unassigned": -2}
            assert await said(desk) == []

    asyncio.run(play())


def test_lots_the_counter_has_frozen_for_an_order_nobody_knows_are_not_closed(opened: Any, counter: Any) -> None:
    async def play() -> None:
        async with opened(counter, Hurried()) as desk:
            await filled(desk, 3)
            side = ("au2512", Direction.LONG)
            counter.held[side] = replace(counter.held[side], frozen=2, yd_frozen=0, datetime=counter.time)
            await twice(desk)
            (line,) = await said(desk)
            assert "au2512 LONG lots frozen by closing orders: ours 0, the counter's 2" in line
            close = {"direction": Direction.SHORT, "offset": Offset.CLOSETODAY, "volume": 2}
            refused = await desk.status(await desk.order(**close), Status.REJECTED)
            assert "1 available" in (refused.error_msg or "")
            counter.held[side] = replace(counter.held[side], frozen=0)
            await look(desk)
            assert lots(desk, What.FROZEN) == []
            await desk.status(await desk.order(**close), Status.NOTTRADED)

    asyncio.run(play())


def test_an_order_that_the_counter_does_not_know_any_more_leaves_only_closing(opened: Any, counter: Any) -> None:
    async def play() -> None:
        async with opened(counter, Hurried()) as desk:
            name = await desk.order()
            await desk.status(name, Status.NOTTRADED)
            await look(desk)
            del counter.orders[name]
            await twice(desk)
            assert ["ours NOTTRADED, the counter's not known" in line for line in await said(desk)] == [True]
            assert desk.service.state.wanted is State.REDUCING

    asyncio.run(play())


def test_warm_restart_believes_it_is_flat(opened: Any, counter: Any) -> None:
    """A named regression: lots, books and what is closable are there at once after a restart."""

    async def play() -> None:
        async with opened(counter, Hurried()) as desk:
            await filled(desk, 2)
        async with opened(counter, Hurried()) as desk:
            assert books(desk) == {"MaRsiStrategy": 2}
            close = {"direction": Direction.SHORT, "offset": Offset.CLOSE, "volume": 2}
            await desk.status(await desk.order(**close), Status.NOTTRADED)
            await twice(desk)
            assert await said(desk) == []

    asyncio.run(play())


def test_trades_counted_twice_after_relogin(opened: Any, counter: Any) -> None:
    """A named regression: the counter's replay of the whole day, by streams and by lists, moves nothing."""

    async def play() -> None:
        async with opened(counter, Hurried()) as desk:
            for _ in range(2):
                await filled(desk, 2)
            before = (books(desk), desk.service.orders.trades_today)
            await counter.tell(EventType.DISCONNECTED)
            for stream in (ORDER_STATUS.name, TRADE.name):
                await counter.bus.append([(stream, payload) for payload in await desk.said(stream)])
            await counter.tell(EventType.CONNECTED)
            await desk.until(lambda: desk.service.state.effective is State.ACTIVE)
            await twice(desk)
            assert (books(desk), desk.service.orders.trades_today) == before
            assert await said(desk) == []

    asyncio.run(play())


def test_strategy_link_lost_on_restart(opened: Any, counter: Any) -> None:
    """A named regression: with an emptied bus, and then with a lost trading.db, whose lots they are comes from what is
    left: our database, or the Gateway's journal."""

    async def play() -> None:
        async with opened(counter, Hurried()) as desk:
            await filled(desk, 2)
            working = await desk.order()
            await desk.status(working, Status.NOTTRADED)
            book = desk.service.database.place
        counter.bus = type(counter.bus)()
        async with opened(counter, Hurried()) as desk:
            assert books(desk) == {"MaRsiStrategy": 2}
            assert desk.service.orders.get(working).strategy_name == "MaRsiStrategy"
        lose(book)
        earlier = replace(
            counter.trades[0], trade_id="old", order_id="old", request_id="old", volume=1, strategy_name="Breakout",
            trading_day=counter.time.date() - timedelta(days=1), datetime=counter.time - timedelta(days=1),
        )  # fmt: skip
        counter.trades.insert(0, earlier)
        await counter.hold("au2512", Direction.LONG, 3, yesterday=1)
        async with opened(counter, Hurried()) as desk:
            assert books(desk) == {"MaRsiStrategy": 2, "Breakout": 1}
            assert desk.service.orders.get(working).strategy_name == "MaRsiStrategy"
            await twice(desk)
            assert (await said(desk), desk.service.checks.changes()) == ([], [])

    asyncio.run(play())
