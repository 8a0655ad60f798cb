"""The client: typed answers, and one clear line when something is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any

import pytest

from arbig.client.client import ArbigClient, ClientError
from arbig.domain.messages import SHANGHAI, Direction, Offset, Status

TRADE = {
    "trade_id": "12345",
    "order_id": "67890",
    "symbol": "au2512",
    "exchange": "SHFE",
    "direction": "LONG",
    "offset": "OPEN",
    "price": 650.5,
    "volume": 1,
    "datetime": "2025-12-23T21:00:01.500",
    "strategy_name": "MaRsiStrategy",
}
ORDER = {**TRADE, "order_type": "LIMIT", "traded": 0, "status": "NOTTRADED"}
AS_OF = {"stream:trade": "1766494801500-0"}


def asking(web: Any, question: Callable[[ArbigClient], Coroutine[Any, Any, Any]], token: str = "right") -> Any:
    async def scene() -> Any:
        async with web.running(), ArbigClient(web.url, token) as client:
            return await question(client)

    return asyncio.run(scene())


def test_trades_come_as_messages_with_the_place_where_the_stream_goes_on(web) -> None:
    web.answers["GET", "/trades"] = (200, {"as_of": AS_OF, "trades": [TRADE], "something_newer": 1})
    since = datetime(2025, 12, 23, 21, tzinfo=SHANGHAI)
    found = asking(web, lambda client: client.trades(since))
    assert (AS_OF, Direction.LONG, SHANGHAI) == (
        found.as_of,
        found.trades[0].direction,
        found.trades[0].datetime.tzinfo,
    )
    assert [("GET", "/trades", {"since": "2025-12-23T21:00:00"})] == web.heard


def test_working_orders_and_an_order_sent_by_hand(web) -> None:
    web.answers["GET", "/orders"] = (200, {"as_of": {}, "orders": [ORDER]})
    web.answers["POST", "/orders"] = (202, {"request_id": "r1", "status": "SUBMITTING"})

    async def question(client: ArbigClient) -> Any:
        sent = await client.send_order("au2512", Direction.LONG, Offset.OPEN, 650.5, 1)
        return sent.request_id, (await client.orders(active=True)).orders[0].status

    assert ("r1", Status.NOTTRADED) == asking(web, question)
    wish = {
        "symbol": "au2512",
        "direction": "LONG",
        "offset": "OPEN",
        "order_type": "LIMIT",
        "price": 650.5,
        "volume": 1,
    }
    assert [("POST", "/orders", wish), ("GET", "/orders", {"active": "true"})] == web.heard


def test_a_refusal_speaks_in_the_services_own_words(web) -> None:
    why = "au2512: price 812.3 is outside 790.0-810.0"
    web.answers["POST", "/orders"] = (422, {"detail": why})
    with pytest.raises(ClientError) as error:
        asking(web, lambda client: client.send_order("au2512", Direction.LONG, Offset.OPEN, 812.3, 1))
    assert (why, 422) == (str(error.value), error.value.status)


def test_a_wish_with_a_wrong_field_names_the_field(web) -> None:
    detail = [{"loc": ["body", "volume"], "msg": "Input should be a valid integer"}]
    web.answers["POST", "/orders"] = (422, {"detail": detail})
    with pytest.raises(ClientError, match="volume: Input should be a valid integer"):
        asking(web, lambda client: client.send_order("au2512", Direction.LONG, Offset.OPEN, 812.3, 1))


def test_a_wrong_token_is_one_line(web) -> None:
    with pytest.raises(ClientError, match="wrong token: expected the content of data/run/token"):
        asking(web, lambda client: client.status(), token="wrong")


def test_no_running_stack_is_one_line() -> None:
    async def scene() -> None:
        async with ArbigClient("http://127.0.0.1:9", "right") as client:
            await client.status()

    with pytest.raises(ClientError, match=r"^no running stack at http://127\.0\.0\.1:9: run make up$"):
        asyncio.run(scene())


def test_an_answer_of_another_version_is_one_line(web) -> None:
    web.answers["GET", "/trades"] = (200, {"trades": [{"trade_id": 1}]})
    with pytest.raises(ClientError, match="an answer of another version"):
        asking(web, lambda client: client.trades())
