"""The hub: ticks conflated, streams resumed where one stopped, slow clients dropped, garbage stopped."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import ExitStack
from datetime import date, datetime
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from arbig.bus.memory import MemoryBus
from arbig.domain.messages import (
    SHANGHAI,
    BarData,
    Direction,
    Exchange,
    Heartbeat,
    Offset,
    TickData,
    TradeData,
    encode,
)
from arbig.runtime.clock import ManualClock
from arbig.web import hub as hub_module
from arbig.web.hub import Away, Hub, RequestError, Slow, request_of

NINE = datetime(2025, 10, 9, 9, 0, tzinfo=SHANGHAI)


def tick(price: float) -> bytes:
    numbers = dict.fromkeys(
        ("volume", "open_interest", "last_volume", "bid_volume_1", "ask_volume_1"), 1
    ) | dict.fromkeys(
        ("open_price", "high_price", "low_price", "pre_close", "limit_up", "limit_down", "bid_price_1", "ask_price_1"),
        880.0,
    )
    return encode(TickData(symbol="au2512", exchange=Exchange.SHFE, datetime=NINE, last_price=price, **numbers))


def bar(number: int) -> bytes:
    prices = dict.fromkeys(("open_price", "high_price", "low_price", "close_price"), 880.0)
    return encode(
        BarData(
            symbol="au2512",
            exchange=Exchange.SHFE,
            datetime=NINE,
            interval="1m",
            volume=number,
            open_interest=1,
            seq=number,
            **prices,
        )
    )


def trade(number: int) -> bytes:
    return encode(
        TradeData(
            trade_id=str(number),
            order_id="1",
            symbol="au2512",
            exchange=Exchange.SHFE,
            direction=Direction.LONG,
            offset=Offset.OPEN,
            price=880.0,
            volume=1,
            datetime=NINE,
            strategy_name="MaRsiStrategy",
        )
    )


class Screen:
    """A client that takes everything, or, when `stuck`, nothing any more."""

    def __init__(self) -> None:
        self.frames: list[dict[str, Any]] = []
        self.stuck = False

    async def send_text(self, data: str) -> None:
        if self.stuck:
            await asyncio.Event().wait()
        self.frames.append(json.loads(data))

    def of(self, topic: str) -> list[Any]:
        return [frame["data"] for frame in self.frames if frame["topic"] == topic]


class Watching:
    """A hub with one client on a manual clock."""

    def __init__(self, bus: MemoryBus | None = None) -> None:
        self.bus = bus or MemoryBus()
        self.clock = ManualClock(NINE)
        self.hub = Hub(self.bus, self.clock, {"account": self.account}, {"trade": self.trades})
        self.past: list[bytes] | None = []
        self.asked_since: list[datetime | None] = []
        self.screen = Screen()
        self.asked: asyncio.Queue[str] = asyncio.Queue()
        self.balance = 100
        self.tasks: list[asyncio.Task[None]] = []

    async def trades(self, since: datetime | None) -> list[bytes]:
        self.asked_since.append(since)
        if self.past is None:
            raise Away("trading does not answer")
        return self.past

    async def account(self) -> dict[str, Any]:
        return {"balance": self.balance}

    async def __aenter__(self) -> Watching:
        hub = self.hub
        watches = (hub.watch_channels(), hub.watch_streams(), hub.watch_heartbeats(), hub.watch_views())
        self.tasks = [asyncio.create_task(watch) for watch in watches]
        self.client = asyncio.create_task(hub.serve(self.screen, self._requests()))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in (*self.tasks, self.client):
            task.cancel()
        await asyncio.gather(*self.tasks, self.client, return_exceptions=True)

    async def _requests(self) -> AsyncIterator[str]:
        while True:
            yield await self.asked.get()

    async def ask(self, *topics: str, after: dict[str, str] | None = None, since: dict[str, str] | None = None) -> None:
        self.asked.put_nowait(json.dumps({"subscribe": topics, "after": after or {}, "since": since or {}}))
        await self.pass_time(0.3)

    async def pass_time(self, seconds: float) -> None:
        for _ in range(5):
            await self.clock.advance(seconds / 5)


def test_of_many_ticks_between_two_looks_only_the_last_is_sent() -> None:
    async def scene() -> list[float]:
        async with Watching() as watching:
            await watching.ask("tick:au2512")
            await watching.bus.publish([("tick:au2512", tick(880.0 + number)) for number in range(50)])
            await watching.bus.publish([("tick:ag2512", tick(1.0))])
            await watching.pass_time(0.5)
            return [frame["data"]["last_price"] for frame in watching.screen.frames if "tick" in frame["topic"]]

    assert [929.0] == asyncio.run(scene())


def test_every_bar_is_sent_in_order() -> None:
    async def scene() -> list[int]:
        async with Watching() as watching:
            await watching.ask("bar:au2512")
            await watching.bus.publish([("bar:au2512", bar(number)) for number in range(1, 40)])
            await watching.pass_time(0.5)
            return [data["seq"] for data in watching.screen.of("bar:au2512")]

    assert list(range(1, 40)) == asyncio.run(scene())


def test_a_stream_is_read_on_from_the_id_the_client_names() -> None:
    async def scene() -> tuple[list[str], list[str]]:
        bus = MemoryBus()
        ids = await bus.append([("stream:trade", trade(number)) for number in range(6)])
        async with Watching(bus) as watching:
            await watching.ask("trade", after={"stream:trade": ids[2]})
            await bus.append([("stream:trade", trade(6))])
            await watching.pass_time(0.5)
            seen = [(f["data"]["trade_id"], f["id"]) for f in watching.screen.frames if f["topic"] == "trade"]
        async with Watching(bus) as again:
            await again.ask("trade", after={"stream:trade": seen[1][1]})
            return [number for number, _ in seen], [data["trade_id"] for data in again.screen.of("trade")]

    assert (["3", "4", "5", "6"], ["5", "6"]) == asyncio.run(scene())


def test_without_an_id_a_stream_begins_now() -> None:
    async def scene() -> list[str]:
        bus = MemoryBus()
        await bus.append([("stream:trade", trade(number)) for number in range(6)])
        async with Watching(bus) as watching:
            await watching.ask("trade")
            await bus.append([("stream:trade", trade(6))])
            await watching.pass_time(0.5)
            return [data["trade_id"] for data in watching.screen.of("trade")]

    assert ["6"] == asyncio.run(scene())


def test_a_client_far_behind_gets_everything_though_the_hub_keeps_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "TAIL_ENTRIES", 5)
    monkeypatch.setattr(hub_module, "READ_ENTRIES", 7)

    async def scene() -> list[str]:
        bus = MemoryBus()
        async with Watching(bus) as watching:
            await watching.ask("trade")
            for number in range(60):
                await bus.append([("stream:trade", trade(number))])
            await watching.pass_time(3)
            return [data["trade_id"] for data in watching.screen.of("trade")]

    assert [str(number) for number in range(60)] == asyncio.run(scene())


def trimmed(bus: MemoryBus, ids: list[str]) -> MemoryBus:
    """The stream as retention leaves it: nothing before the fourth trade."""
    entries = bus._stream("stream:trade").entries
    entries[:] = [entry for entry in entries if entry.id >= ids[3]]
    return bus


def test_what_the_stream_keeps_no_more_is_told_from_sql_and_then_the_stream_goes_on() -> None:
    async def scene() -> tuple[list[Any], list[str], list[datetime | None]]:
        bus = MemoryBus()
        ids = await bus.append([("stream:trade", trade(number)) for number in range(6)])
        async with Watching(trimmed(bus, ids)) as watching:
            watching.past = [trade(1), trade(2), trade(3)]
            await watching.ask("trade", after={"stream:trade": ids[0]}, since={"stream:trade": "2025-10-09T09:00:00"})
            await bus.append([("stream:trade", trade(6))])
            await watching.pass_time(0.5)
            told = [data["trade_id"] for data in watching.screen.of("trade")]
            return watching.screen.of("missed"), told, watching.asked_since

    missed, told, since = asyncio.run(scene())
    assert [("stream:trade", 3)] == [(one["stream"], one["rows"]) for one in missed]
    assert ["1", "2", "3", "3", "4", "5", "6"] == told
    assert [datetime(2025, 10, 9, 9)] == since


def test_an_id_that_the_stream_still_keeps_asks_nobody() -> None:
    async def scene() -> tuple[list[str], list[Any]]:
        bus = MemoryBus()
        ids = await bus.append([("stream:trade", trade(number)) for number in range(6)])
        async with Watching(trimmed(bus, ids)) as watching:
            await watching.ask("trade", after={"stream:trade": ids[3]})
            return [data["trade_id"] for data in watching.screen.of("trade")], watching.asked_since

    assert (["4", "5"], []) == asyncio.run(scene())


def test_when_the_past_cannot_be_read_the_client_is_told_to_come_again() -> None:
    async def scene() -> None:
        bus = MemoryBus()
        ids = await bus.append([("stream:trade", trade(number)) for number in range(6)])
        async with Watching(trimmed(bus, ids)) as watching:
            watching.past = None
            await watching.ask("trade", after={"stream:trade": ids[0]})
            await asyncio.wait_for(watching.client, 2)

    with pytest.raises(Away, match="trading does not answer"):
        asyncio.run(scene())


def test_a_view_is_sent_when_it_changes_and_only_then() -> None:
    async def scene() -> list[Any]:
        async with Watching() as watching:
            await watching.ask("account")
            await watching.pass_time(5)
            watching.balance = 120
            await watching.pass_time(5)
            return watching.screen.of("account")

    assert [{"balance": 100}, {"balance": 120}] == asyncio.run(scene())


def test_the_heartbeat_comes_each_second_with_the_exchanges_time() -> None:
    async def scene() -> list[Any]:
        async with Watching() as watching:
            beat = Heartbeat(
                service="gateway",
                datetime=NINE,
                pid=1,
                session_time=NINE,
                trading_day=date(2025, 10, 9),
                connected=True,
            )
            await watching.pass_time(0.1)
            await watching.bus.publish([("hb:gateway", encode(beat))])
            await watching.pass_time(5)
            return watching.screen.of("heartbeat")

    beats = asyncio.run(scene())
    assert 4 <= len(beats) <= 6
    assert ("2025-10-09T09:00:00.000", "2025-10-09", True) == tuple(
        beats[-1][name] for name in ("session_time", "trading_day", "connected")
    )


def test_garbage_on_a_tick_channel_stops_here() -> None:
    async def scene() -> tuple[int, int]:
        async with Watching() as watching:
            await watching.ask("tick:au2512")
            await watching.bus.publish([("tick:au2512", b'{"symbol": <script>')])
            await watching.pass_time(0.5)
            return len(watching.screen.of("tick:au2512")), watching.hub.undecodable

    assert (0, 1) == asyncio.run(scene())


def test_a_client_that_takes_nothing_is_dropped_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "SEND_SECONDS", 0.05)

    async def scene() -> None:
        async with Watching() as watching:
            await watching.ask("tick:au2512")
            watching.screen.stuck = True
            await watching.pass_time(2)
            await asyncio.wait_for(watching.client, 2)

    with pytest.raises(Slow, match="not taken within"):
        asyncio.run(scene())


def test_bars_do_not_pile_up_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "MAX_WAITING_BARS", 10)

    async def scene() -> None:
        async with Watching() as watching:
            await watching.ask("bar:au2512")
            await watching.bus.publish([("bar:au2512", bar(number)) for number in range(11)])
            await watching.pass_time(1)
            await asyncio.wait_for(watching.client, 2)

    with pytest.raises(Slow, match="10 bars waiting"):
        asyncio.run(scene())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nonsense", "not a request"),
        ('{"subscribe": "tick:au2512"}', "not a request"),
        ('{"subscribe": ["stream:cmd"]}', "unknown topic 'stream:cmd'"),
        ('{"subscribe": ["tick:*"]}', "unknown topic"),
        ('{"subscribe": ["trade"], "after": {"stream:order": "1-0"}}', '"after"'),
        ('{"subscribe": ["trade"], "after": {"stream:trade": "x"}}', "expected e.g."),
        ('{"subscribe": [], "password": 1}', "not a request"),
        ('{"subscribe": [], "since": {"stream:cmd": "2025-10-09T09:00:00"}}', '"since"'),
        ('{"subscribe": [], "since": {"stream:trade": "yesterday"}}', "not a request"),
        (json.dumps({"subscribe": ["trade"] * 501}), "501 topics; at most 500"),
    ],
)
def test_a_wrong_request_is_answered_in_one_line(text: str, said: str) -> None:
    with pytest.raises(RequestError) as error:
        request_of(text)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_over_the_wire_a_trade_arrives_and_nonsense_closes_the_line(web) -> None:
    address = web.url.replace("http", "ws") + "/ws"
    with connect(address, additional_headers=web.bearer) as line:
        line.send(json.dumps({"subscribe": ["trade"], "after": {"stream:trade": "0-0"}}))
        web.running.do(web.bus.append([("stream:trade", trade(7))]))
        frames = [json.loads(line.recv(5)) for _ in range(3)]
        trades = [frame for frame in frames if frame["topic"] == "trade"]
        assert [("stream:trade", "7")] == [(frame["stream"], frame["data"]["trade_id"]) for frame in trades]
        line.send("nonsense")
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                line.recv(5)
    assert (1008, True) == (closed.value.rcvd.code, closed.value.rcvd.reason.startswith("not a request"))


def test_a_session_has_sixteen_lines_and_not_one_more(web) -> None:
    address = web.url.replace("http", "ws") + "/ws"
    with web.as_browser("viewer") as browser, ExitStack() as lines:
        cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
        line = lambda: connect(address, additional_headers={"Cookie": cookie, "Origin": web.url})
        opened = [lines.enter_context(line()) for _ in range(16)]
        with line() as one_more, pytest.raises(ConnectionClosed) as closed:
            one_more.recv(5)
        assert (1008, "16 connections of one session are open already") == (
            closed.value.rcvd.code,
            closed.value.rcvd.reason,
        )
        opened[0].close()
        with line() as again:
            assert "heartbeat" == json.loads(again.recv(5))["topic"]


def test_log_out_closes_the_websocket_too(web) -> None:
    address = web.url.replace("http", "ws") + "/ws"
    with web.as_browser() as browser:
        cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
        with connect(address, additional_headers={"Cookie": cookie, "Origin": web.url}) as line:
            browser.get("/logout")
            with pytest.raises(ConnectionClosed) as closed:
                while True:
                    line.recv(5)
    assert "session has ended" in closed.value.rcvd.reason
