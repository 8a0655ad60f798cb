"""The last door: what nobody has allowed does not go out, whatever else is wrong in the house."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from arbig.bus.topics import ORDER_STATUS
from arbig.domain.counter import CancelOrder, InsertOrder
from arbig.domain.messages import SHANGHAI, Direction, Offset, OrderData
from arbig.gateway.door import Door, Stale, State
from arbig.runtime.clock import ManualClock
from arbig.store.journal import Journal
from arbig.store.sqlite import StoreError

Desks = Callable[..., Any]
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=SHANGHAI)


def play(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(story)


def wishes(desk: Any, kind: type) -> list[Any]:
    return [wish for wish in desk.street.wishes if isinstance(wish, kind)]


def test_a_gateway_that_was_never_told_sends_nothing_and_says_so(open_desk: Desks) -> None:
    async def story() -> None:
        async with open_desk(told=False) as desk:
            assert (await desk.get("/state"))["state"] == "HALTED"
            await desk.order("r1", desk.street.price + 1)
            (told,) = await desk.stream(ORDER_STATUS.name, OrderData)
            assert (str(told.status), told.detail, wishes(desk, InsertOrder)) == ("REJECTED", "DENIED", [])
            assert "Trading has not said yet" in (told.error_msg or "")
            await desk.post("/state", {"state": "ACTIVE", "reason": "resynchronised", "number": 1})
            await desk.order("r1", desk.street.price + 1)
            assert await desk.statuses("r1") == ["REJECTED+DENIED"] * 2, "it has a row: it is answered from it"
            await desk.order("r2", desk.street.price + 1)
            assert (await desk.statuses("r2"))[-1] == "ALLTRADED"
            assert desk.gateway.status()["trading_state"] == "ACTIVE"

    play(story())


def test_under_halted_only_cancels_pass_and_under_reducing_no_opens(open_desk: Desks) -> None:
    async def story() -> None:
        async with open_desk() as desk:
            await desk.order("filled", desk.street.price + 1)
            await desk.order("works", 800.0)
            await desk.post("/state", {"state": "REDUCING", "reason": "daily loss", "number": 2})
            close = {"direction": Direction.SHORT, "offset": Offset.CLOSETODAY}
            await desk.order("open", desk.street.price + 1)
            await desk.order("close", round(desk.street.price + 30, 2), **close)
            await desk.post("/state", {"state": "HALTED", "reason": "a person"})
            await desk.order("another close", desk.street.price - 1, **close)
            await desk.cancel("c1", order_request_id="works")
            assert await desk.statuses("open") == ["REJECTED+DENIED"]
            assert await desk.statuses("close") == ["NOTTRADED"]
            assert await desk.statuses("another close") == ["REJECTED+DENIED"]
            assert (await desk.statuses("works"))[-1] == "CANCELLED"
            assert (len(wishes(desk, InsertOrder)), len(wishes(desk, CancelOrder))) == (3, 1)

    play(story())


def test_a_halt_survives_the_gateway_and_an_old_word_does_not_lift_it(open_desk: Desks) -> None:
    async def story() -> None:
        async with open_desk() as desk:
            await desk.post("/state", {"state": "ACTIVE", "reason": "", "number": 7})
            await desk.post("/state", {"state": "HALTED", "reason": "the cable smokes"})
            await desk.restart()
            found = await desk.get("/state")
            assert (found["state"], found["reason"], found["number"]) == ("HALTED", "the cable smokes", 8)
            assert found["since"] == "2026-11-22T12:00:00.000"
            for number in (None, 7, 8):
                refused = await desk.post("/state", {"state": "ACTIVE", "reason": "", "number": number}, 409)
                assert "the Gateway is HALTED with number 8" in refused["detail"]
            await desk.order("r1", desk.street.price + 1)
            await desk.post("/state", {"state": "ACTIVE", "reason": "", "number": 9})
            await desk.post("/state", {"state": "ACTIVE", "reason": "said again", "number": 9})
            await desk.order("r2", desk.street.price + 1)
            assert await desk.statuses("r1") == ["REJECTED+DENIED"]
            assert (await desk.statuses("r2"))[-1] == "ALLTRADED"

    play(story())


def test_a_state_that_cannot_be_read_means_halted(tmp_path: Path) -> None:
    path = tmp_path / "gateway.db"
    journal = Journal(path, "sim")
    Door(journal, ManualClock(NOW)).set(State.ACTIVE, "", 3)
    journal.close()
    with sqlite3.connect(path) as damaged:
        damaged.execute("UPDATE standing SET state = 'ACTIV'")
    damaged.close()
    journal = Journal(path, "sim")
    door = Door(journal, ManualClock(NOW))
    journal.close()
    assert (door.standing.state, door.standing.number) == (State.HALTED, 3)
    assert "cannot be read" in (door.refusal(Offset.CLOSE) or "")


def test_a_halt_that_cannot_be_written_holds_all_the_same(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "gateway.db", "sim")
    door = Door(journal, ManualClock(NOW))
    door.set(State.ACTIVE, "", 1)
    journal._db.execute("PRAGMA query_only = ON")
    with pytest.raises(StoreError):
        door.set(State.ACTIVE, "", 2)
    with pytest.raises(StoreError):
        door.set(State.HALTED, "stop", None)
    journal.close()
    assert door.refusal(Offset.OPEN) is not None


def test_nothing_looser_than_what_stands_has_an_equal_number(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "gateway.db", "sim")
    door = Door(journal, ManualClock(NOW))
    door.set(State.REDUCING, "", 1)
    for state, number in ((State.ACTIVE, 1), (State.ACTIVE, 0), (State.ACTIVE, None)):
        with pytest.raises(Stale):
            door.set(state, "", number)
    journal.close()
    assert door.standing.state is State.REDUCING


def test_a_journal_of_the_schema_before_learns_the_state(tmp_path: Path) -> None:
    path = tmp_path / "gateway.db"
    Journal(path, "sim").close()
    with sqlite3.connect(path) as older:
        older.executescript("DROP TABLE standing; DROP INDEX orders_nameless; DROP TABLE hops; PRAGMA user_version = 1")
    older.close()
    journal = Journal(path, "sim")
    Door(journal, ManualClock(NOW)).set(State.ACTIVE, "", 1)
    assert journal.standing() is not None
    journal.close()
