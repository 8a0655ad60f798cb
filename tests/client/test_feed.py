"""The feed: one line to Web that comes back by itself and reads on where it was."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from arbig.client import feed as feed_module
from arbig.client.client import ClientError
from arbig.client.feed import Feed, News

TRADE = {
    "trade_id": "1",
    "order_id": "2",
    "symbol": "au2512",
    "exchange": "SHFE",
    "direction": "LONG",
    "offset": "OPEN",
    "price": 650.5,
    "volume": 1,
    "datetime": "2025-12-23T21:00:01.500",
    "strategy_name": "MaRsiStrategy",
}


def frame(entry_id: str) -> dict[str, Any]:
    return {"topic": "trade", "stream": "stream:trade", "id": entry_id, "data": TRADE}


async def first(feed: Feed, count: int) -> list[News]:
    found: list[News] = []
    news = feed.news()
    async for item in news:
        found.append(item)
        if len(found) == count:
            break
    await news.aclose()
    return found


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "PAUSES", (0.01,))


def test_after_a_break_a_stream_is_read_on_from_the_last_entry_seen(web) -> None:
    web.lines = [[frame("5-0"), frame("6-0")], [frame("7-0")]]

    async def scene() -> list[News]:
        async with web.running():
            feed = Feed(web.url, "right")
            await feed.subscribe(["trade"], {"stream:trade": "4-0"})
            return await first(feed, 6)

    news = asyncio.run(scene())
    assert ["connected", "trade", "trade", "lost", "connected", "trade"] == [item.topic for item in news]
    assert "slow client: a message was not taken" == news[3].read(str)
    assert "au2512" == news[1].message().symbol
    assert [{"stream:trade": "4-0"}, {"stream:trade": "6-0"}] == [request["after"] for request in web.requests]


def test_new_topics_are_asked_for_on_the_same_line(web) -> None:
    async def scene() -> None:
        async with web.running():
            feed = Feed(web.url, "right")
            news = feed.news()
            await anext(news)
            await feed.subscribe(["tick:au2512"])
            await asyncio.wait_for(web.has_heard(2), 5)
            await news.aclose()

    asyncio.run(scene())
    assert [[], ["tick:au2512"]] == [request["subscribe"] for request in web.requests]


def test_without_a_stack_the_feed_says_so_and_goes_on_trying() -> None:
    news = asyncio.run(first(Feed("http://127.0.0.1:9", "right"), 3))
    assert ["no running stack at http://127.0.0.1:9: run make up"] * 3 == [item.read(str) for item in news]


def test_a_silent_web_is_given_up(web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "SILENCE_SECONDS", 0.3)

    async def scene() -> list[News]:
        async with web.running():
            return await first(Feed(web.url, "right"), 2)

    assert ["connected", "lost"] == [item.topic for item in asyncio.run(scene())]


def test_a_refused_token_ends_the_feed(web) -> None:
    async def scene() -> None:
        async with web.running():
            await first(Feed(web.url, "wrong"), 1)

    with pytest.raises(ClientError, match="refuses the token"):
        asyncio.run(scene())
