"""What a person sees before an order is sent, and the account's course."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from arbig.domain.messages import Direction, Status
from arbig.store.database import Database
from arbig.store.equity import EquityStore
from arbig.trading.equity import KEPT, EquityRecorder

GOOD = {"symbol": "au2512", "direction": "LONG", "offset": "OPEN", "price": 800.0, "volume": 2}


@asynccontextmanager
async def browsing(desk: Any) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    desk.service.routes(app)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
        yield client


async def look(http: httpx.AsyncClient, **changes: Any) -> dict[str, Any]:
    answer = await http.post("/orders", params={"preview": "true"}, json=GOOD | changes)
    found: dict[str, Any] = answer.json()
    return found


def test_a_preview_shows_the_split_the_money_and_the_refusal_and_leaves_no_trace(opened: Any, counter: Any) -> None:
    """Of five lots two are yesterday's: SHFE closes the two kinds by two orders."""

    async def play() -> None:
        await counter.hold("au2512", Direction.LONG, 5, yesterday=2)
        async with opened(counter) as desk, browsing(desk) as http:
            contract = desk.service.instruments.get("au2512")
            opening = await look(http)
            assert opening["refusal"] is None
            assert [("OPEN", 2)] == [(leg["offset"], leg["volume"]) for leg in opening["legs"]]
            assert pytest.approx(contract.margin_rate * 1000 * 800.0 * 2) == opening["margin"]
            assert opening["commission"] > 0 and opening["available"] == 900_000.0
            closing = await look(http, direction="SHORT", offset="CLOSE", volume=4)
            assert [("CLOSEYESTERDAY", 2), ("CLOSETODAY", 2)] == [
                (leg["offset"], leg["volume"]) for leg in closing["legs"]
            ]
            assert closing["margin"] == 0.0
            for changes, code in (
                ({"price": 800.01}, "PRICE_TICK"),
                ({"price": 900.0}, "PRICE_LIMITS"),
                ({"direction": "SHORT", "offset": "CLOSE", "volume": 6}, "CLOSE_AVAILABLE"),
            ):
                refused = await look(http, **changes)
                assert (code, []) == (refused["refusal"]["code"], refused["legs"])
                real = await http.post("/orders", json=GOOD | changes)
                assert (422, code, refused["refusal"]["detail"]) == (
                    real.status_code, real.json()["code"], real.json()["detail"]
                )  # fmt: skip
            denied = 3
            assert (denied, []) == (desk.service.orders.orders_today, desk.counter.commands)
            assert 0 == len(desk.service.judge.recent())

    asyncio.run(play())


def test_a_preview_is_what_then_happens(opened: Any) -> None:
    async def play() -> None:
        async with opened() as desk, browsing(desk) as http:
            legs = (await look(http, volume=1))["legs"]
            name = (await http.post("/orders", json=GOOD | {"volume": 1})).json()["request_id"]
            await desk.status(name, Status.NOTTRADED)
            assert [(leg["offset"], leg["volume"]) for leg in legs] == [
                (each.offset, each.volume) for each in desk.counter.commands
            ]

    asyncio.run(play())


def test_the_account_s_course_has_one_point_a_minute_and_is_asked_for_from_a_moment_on(opened: Any) -> None:
    async def play() -> None:
        async with opened() as desk, browsing(desk) as http:
            recorder = desk.service.equity
            began = desk.service.quotes.session_time
            for seconds in (0, 10, 61, 62, 130):
                recorder.note(desk.counter.account | {"balance": 1e6 + seconds}, began + timedelta(seconds=seconds))
            points = (await http.get("/account/history")).json()["points"]
            times = [point["datetime"] for point in points]
            assert sorted(set(times)) == times and 3 == len(times)
            assert all(time.endswith(":00") for time in times)
            later = (await http.get("/account/history", params={"since": times[1]})).json()["points"]
            assert points[1:] == later
            thin = (await http.get("/account/history", params={"limit": 2})).json()["points"]
            assert points[::2] == thin
            assert {"datetime", "trading_day", "balance", "available", "margin"} < set(points[0])

    asyncio.run(play())


def test_the_course_is_kept_for_ninety_days_and_read_on_after_a_restart(tmp_path: Path, counter: Any) -> None:
    database = Database.open(tmp_path / "trading.db")
    store = EquityStore(database, "sim")
    for days in (0, 1, 60, KEPT.days + 1):
        moment = counter.time + timedelta(days=days)
        account = counter.account | {"trading_day": moment.date().isoformat()}
        EquityRecorder(store).note(account, moment)
        EquityRecorder(store).note(account, moment)
    kept = [point["trading_day"] for point in store.points(None, 100)]
    database.close()
    assert [(counter.time + timedelta(days=days)).date() for days in (1, 60, KEPT.days + 1)] == kept
