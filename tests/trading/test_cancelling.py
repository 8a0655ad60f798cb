"""A person's cancel: asked again until the order is over, waiting visibly while no exchange would take it."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

import httpx
from fastapi import FastAPI

from arbig.domain.messages import SHANGHAI, CommandType, Status

BREAK = datetime(2025, 10, 15, 10, 20, tzinfo=SHANGHAI)


def cancels(counter: Any) -> int:
    return sum(each.cmd_type is CommandType.CANCEL_ORDER for each in counter.commands)


def test_a_cancel_in_a_break_waits_visibly_also_over_a_restart_and_goes_out_when_it_is_over(
    opened: Any, counter: Any
) -> None:
    async def browsed(desk: Any) -> httpx.AsyncClient:
        app = FastAPI()
        desk.service.routes(app)
        return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1")

    async def play() -> None:
        async with opened(counter) as desk:
            name = await desk.order(price=799.0)
            await desk.status(name, Status.NOTTRADED)
            desk.service.quotes.session_time = counter.time = BREAK
            counter.is_deaf = True  # the counter refuses cancels in a break: nothing comes of it
            async with await browsed(desk) as http:
                answer = await http.delete(f"/orders/{name}")
                words = "au2512: the market takes its break; the cancel goes out when it is over"
                assert (202, words) == (answer.status_code, answer.json()["detail"])
                (shown,) = (await http.get("/cancels")).json()["cancels"]
            assert ("WAITING", name, words) == (shown["state"], shown["request_id"], shown["detail"])
            assert "the market takes its break" in desk.service.status()["cancels"][0]
            await desk.until(lambda: cancels(counter) == 1)
        async with opened(counter) as desk:
            desk.service.quotes.session_time = counter.time = BREAK
            assert [name] == [order.request_id for order, _ in desk.service.canceller.waiting]
            await desk.service.canceller.look()
            assert (1, True) == (cancels(counter), desk.service.orders.get(name).is_active)
            counter.is_deaf = False
            desk.service.quotes.session_time = counter.time = BREAK.replace(minute=31)
            await desk.quote()
            await desk.status(name, Status.CANCELLED)
            assert (2, []) == (cancels(counter), desk.service.canceller.waiting)

    asyncio.run(play())
