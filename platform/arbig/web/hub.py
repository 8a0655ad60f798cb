"""Web's hub: one look at the bus, many WebSocket clients.

Ticks are conflated per symbol, the last one wins. Bars wait in a bounded queue. Stream entries are not queued at all:
each client has its own place in the stream and is read on from there, so it may come back with an id and miss nothing.
An id older than what the stream keeps is answered from SQL first.
Views (status, account, ...) are asked of the services once a second while somebody looks, and sent when they change.
A client that does not take its messages in time is dropped with the reason; no service ever waits for one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime as Time
from typing import Any, Protocol

import msgspec
import structlog

from arbig.bus.port import Bus, BusError, Entry, entry_key
from arbig.bus.topics import BY_NAME
from arbig.domain.messages import Heartbeat, MessageError, decode, encode
from arbig.runtime.clock import Clock

STREAMS: Mapping[str, str] = {
    "trade": "stream:trade",
    "order_status": "stream:order_status",
    "position": "stream:position",
    "event": "stream:event",
}
CHANNELS = ("tick", "bar")
VIEWS = ("status", "account", "positions", "orders", "strategies")

NOTHING = "0-0"
TICK_SECONDS = 0.1
STREAM_SECONDS = 0.1
VIEW_SECONDS = 1.0
HEARTBEAT_SECONDS = 1.0
SEND_SECONDS = 5.0
MAX_WAITING_BARS = 2000
MAX_TOPICS = 500
TAIL_ENTRIES = 2000
READ_ENTRIES = 500

log = structlog.get_logger()


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a client says: the topics it wants from now on, and where it stopped reading a stream: behind which id, and
    of which moment its last message was, for what the stream keeps no more."""

    subscribe: list[str]
    after: dict[str, str] = {}
    since: dict[str, Time] = {}


class RequestError(ValueError):
    """One line about what the client sent."""


class Slow(Exception):
    """The client did not take its messages in time."""


class Away(Exception):
    """What the client missed cannot be read just now: it may come again."""


class Socket(Protocol):
    async def send_text(self, data: str) -> None: ...


View = Callable[[], Awaitable[Mapping[str, Any]]]
Past = Callable[[Time | None], Awaitable[list[bytes]]]
"""What SQL knows of a stream's messages, from a moment on. Raises Away."""
_read_request = msgspec.json.Decoder(Request)
_encode = msgspec.json.Encoder().encode


def request_of(text: str | bytes) -> Request:
    try:
        request = _read_request.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RequestError(f'not a request: {error}; send e.g. {{"subscribe": ["tick:au2512", "trade"]}}') from None
    for topic in request.subscribe:
        if not is_topic(topic):
            raise RequestError(
                f"unknown topic {topic!r}; expected tick:SYMBOL, bar:SYMBOL or one of {', '.join((*STREAMS, *VIEWS))}"
            )
    for stream, entry_id in request.after.items():
        if stream not in STREAMS.values() or not is_entry_id(entry_id):
            raise RequestError(
                f'"after": found {stream!r}: {entry_id!r}; expected e.g. "stream:trade": "1766494801500-0"'
            )
    for stream in request.since:
        if stream not in STREAMS.values():
            raise RequestError(f'"since": found {stream!r}, expected one of {", ".join(STREAMS.values())}')
    if len(request.subscribe) > MAX_TOPICS:
        raise RequestError(f"{len(request.subscribe)} topics; at most {MAX_TOPICS} in one connection")
    return request


def is_topic(topic: str) -> bool:
    channel, _, symbol = topic.partition(":")
    return topic in STREAMS or topic in VIEWS or (channel in CHANNELS and symbol.isalnum() and symbol.isascii())


def is_entry_id(text: str) -> bool:
    left, _, right = text.partition("-")
    return left.isdecimal() and (right.isdecimal() or not right) and text.isascii() and len(text) <= 40


def frame(topic: str, payload: bytes, entry: Entry | None = None) -> str:
    """One message to a client; the payload is the bus's own JSON, checked before."""
    place = f',"stream":"{entry.stream}","id":"{entry.id}"' if entry else ""
    return f'{{"topic":"{topic}"{place},"data":{payload.decode()}}}'


class Tail:
    """The newest entries of a stream, read once for everybody. `start`: the id just before the oldest of them."""

    def __init__(self, stream: str, start: str) -> None:
        self.stream = stream
        self.start = start
        self.entries: deque[Entry] = deque()

    @property
    def end(self) -> str:
        return self.entries[-1].id if self.entries else self.start

    def add(self, entries: list[Entry]) -> None:
        self.entries.extend(entries)
        while len(self.entries) > TAIL_ENTRIES:
            self.start = self.entries.popleft().id

    def reaches(self, entry_id: str) -> bool:
        return entry_key(entry_id) >= entry_key(self.start)

    def after(self, entry_id: str) -> list[Entry]:
        """Newest first until the place is met: a client is seldom far behind."""
        place = entry_key(entry_id)
        found = []
        for entry in reversed(self.entries):
            if entry_key(entry.id) <= place:
                break
            found.append(entry)
        return found[::-1][:READ_ENTRIES]


@dataclass(eq=False)
class Client:
    """One WebSocket's wishes and what waits for it."""

    topics: frozenset[str] = frozenset()
    cursors: dict[str, str] = field(default_factory=dict)
    ticks: dict[str, bytes] = field(default_factory=dict)
    bars: deque[tuple[str, bytes]] = field(default_factory=deque)
    owed: deque[str] = field(default_factory=deque)
    seen_views: dict[str, bytes] = field(default_factory=dict)
    overflow: bool = False
    admitted: Callable[[], bool] = lambda: True

    def wants(self, topic: str) -> bool:
        return topic in self.topics

    def offer(self, channel: str, payload: bytes) -> None:
        if channel.startswith("tick:"):
            self.ticks[channel] = payload
        elif len(self.bars) < MAX_WAITING_BARS:
            self.bars.append((channel, payload))
        else:
            self.overflow = True


class Hub:
    """In: tick:*, bar:*, hb:*, the four streams, the views. Out: each client's frames."""

    def __init__(self, bus: Bus, clock: Clock, views: Mapping[str, View], past: Mapping[str, Past]) -> None:
        self._bus = bus
        self._clock = clock
        self._views = views
        self._past = past
        self._clients: set[Client] = set()
        self._channels: frozenset[str] = frozenset()
        self._rewired = asyncio.Event()
        self._latest_views: dict[str, bytes] = {}
        self._tails: dict[str, Tail] = {}
        self.heartbeats: dict[str, tuple[Heartbeat, float]] = {}
        self.undecodable = 0
        self.dropped = 0

    @property
    def clients(self) -> int:
        return len(self._clients)

    # ---- one client

    async def serve(
        self, socket: Socket, requests: AsyncIterator[str], admitted: Callable[[], bool] | None = None
    ) -> None:
        """Run one connection until it ends, or until it is no longer admitted (its session was closed). Raises Slow,
        RequestError, BusError, or what the socket raises."""
        client = Client(admitted=admitted or (lambda: True))
        self._clients.add(client)
        reading = asyncio.ensure_future(self._obey(client, requests))
        writing = asyncio.ensure_future(self._feed(client, socket))
        try:
            done, _ = await asyncio.wait({reading, writing}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self._clients.discard(client)
            self._rewire()
            await _end(reading, writing)

    async def _obey(self, client: Client, requests: AsyncIterator[str]) -> None:
        async for text in requests:
            request = request_of(text)
            for topic, stream in STREAMS.items():
                if topic in request.subscribe and topic not in client.topics:
                    client.cursors[stream] = await self._begin(client, topic, request)
            client.topics = frozenset(request.subscribe)
            self._rewire()

    async def _begin(self, client: Client, topic: str, request: Request) -> str:
        """Where the client reads on. What lies between its id and what the stream still keeps it is owed from SQL."""
        stream = STREAMS[topic]
        after = request.after.get(stream)
        if after is None:
            return await self._bus.last_id(stream)
        kept = await self._bus.read(stream, count=1)
        begin = kept[0].id if kept else await self._bus.last_id(stream)
        if entry_key(after) in (entry_key(NOTHING), entry_key(begin)) or (kept and entry_key(after) > entry_key(begin)):
            return after
        rows = await self._past[topic](request.since.get(stream)) if topic in self._past else []
        notice = {"stream": stream, "after": after, "rows": len(rows), "from": begin}
        client.owed.append(f'{{"topic":"missed","data":{_encode(notice).decode()}}}')
        client.owed.extend(frame(topic, row) for row in rows)
        return NOTHING

    async def _feed(self, client: Client, socket: Socket) -> None:
        last_beat = -HEARTBEAT_SECONDS
        while True:
            if client.overflow:
                raise Slow(f"more than {MAX_WAITING_BARS} bars waiting")
            while client.owed:
                await self._send(socket, client.owed.popleft())
            for text in await self._due(client):
                await self._send(socket, text)
            if self._clock.monotonic() - last_beat >= HEARTBEAT_SECONDS:
                last_beat = self._clock.monotonic()
                if not client.admitted():
                    raise RequestError("the session has ended; log in again")
                await self._send(socket, f'{{"topic":"heartbeat","data":{_encode(self.beat()).decode()}}}')
            await self._clock.sleep(TICK_SECONDS)

    async def _send(self, socket: Socket, text: str) -> None:
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await socket.send_text(text)
        except TimeoutError:
            raise Slow(f"a message was not taken within {SEND_SECONDS:g} s") from None

    async def _due(self, client: Client) -> list[str]:
        texts = [*self._due_entries(client, await self._new_entries(client)), *self._due_views(client)]
        while client.bars:
            channel, payload = client.bars.popleft()
            texts += self._checked(channel, payload)
        ticks, client.ticks = client.ticks, {}
        for channel, payload in ticks.items():
            texts += self._checked(channel, payload)
        return texts

    async def _new_entries(self, client: Client) -> list[Entry]:
        entries: list[Entry] = []
        for stream in (stream for topic, stream in STREAMS.items() if client.wants(topic)):
            tail, cursor = self._tails.get(stream), client.cursors[stream]
            if tail and tail.reaches(cursor):
                entries += tail.after(cursor)
            else:
                with suppress(BusError):
                    entries += await self._bus.read(stream, after=cursor, count=READ_ENTRIES)
        return entries

    def _due_entries(self, client: Client, entries: list[Entry]) -> list[str]:
        texts = []
        for entry in entries:
            client.cursors[entry.stream] = entry.id
            texts += self._checked(entry.stream.removeprefix("stream:"), entry.payload, entry)
        return texts

    def _due_views(self, client: Client) -> list[str]:
        texts = []
        for name, payload in self._latest_views.items():
            if client.wants(name) and client.seen_views.get(name) != payload:
                client.seen_views[name] = payload
                texts.append(frame(name, payload))
        return texts

    def _checked(self, topic: str, payload: bytes, entry: Entry | None = None) -> list[str]:
        """The frame of a payload, or nothing when it is not the message of its channel: garbage stops here."""
        kind = BY_NAME[entry.stream if entry else topic.partition(":")[0] + ":*"].message
        try:
            decode(kind, payload)
        except MessageError as error:
            self.undecodable += 1
            log.warning("undecodable", channel=topic, reason=str(error))
            return []
        return [frame(topic, payload, entry)]

    # ---- the bus and the services

    async def watch_channels(self) -> None:
        """Listen to exactly the channels that somebody wants. A new set is listened to before the old one is left."""
        listener: asyncio.Task[None] | None = None
        heard: frozenset[str] = frozenset()
        try:
            while True:
                self._rewired.clear()
                if self._channels != heard:
                    heard, previous = self._channels, listener
                    listener = await self._listening(heard)
                    await _end(previous)
                rewired = asyncio.ensure_future(self._rewired.wait())
                await asyncio.wait({rewired, listener or rewired}, return_when=asyncio.FIRST_COMPLETED)
                await _end(rewired)
                if listener is not None and listener.done():
                    listener.result()
        finally:
            await _end(listener)

    async def _listening(self, channels: frozenset[str]) -> asyncio.Task[None] | None:
        if not channels:
            return None
        stands = asyncio.Event()
        task = asyncio.create_task(self._listen(sorted(channels), stands))
        await asyncio.wait(
            {task, ready := asyncio.ensure_future(stands.wait())}, timeout=2.0, return_when=asyncio.FIRST_COMPLETED
        )
        await _end(ready)
        return task

    async def _listen(self, channels: list[str], stands: asyncio.Event) -> None:
        async for batch in self._bus.listen(*channels):
            stands.set()
            for channel, payload in batch:
                for client in self._clients:
                    if client.wants(channel):
                        client.offer(channel, payload)

    async def watch_streams(self) -> None:
        """Read on in every stream that somebody watches; after an error, or a Redis that came back empty, anew."""
        while True:
            for topic, stream in STREAMS.items():
                if not any(client.wants(topic) for client in self._clients):
                    self._tails.pop(stream, None)
                    continue
                try:
                    tail = self._tails.get(stream)
                    if tail is None:
                        tail = self._tails[stream] = Tail(stream, await self._bus.last_id(stream))
                    tail.add(await self._bus.read(stream, after=tail.end, count=READ_ENTRIES))
                except BusError as error:
                    self._tails.pop(stream, None)
                    log.warning("stream unread", stream=stream, reason=str(error))
            await self._clock.sleep(STREAM_SECONDS)

    async def watch_heartbeats(self) -> None:
        async for batch in self._bus.listen("hb:*"):
            for channel, payload in batch:
                with suppress(MessageError):
                    beat = decode(Heartbeat, payload)
                    self.heartbeats[channel.removeprefix("hb:")] = (beat, self._clock.monotonic())

    async def watch_views(self) -> None:
        while True:
            wanted = [name for name in self._views if any(client.wants(name) for client in self._clients)]
            answers = await asyncio.gather(*(self._views[name]() for name in wanted))
            self._latest_views = {name: _encode(answer) for name, answer in zip(wanted, answers, strict=True)}
            await self._clock.sleep(VIEW_SECONDS)

    def beat(self) -> dict[str, Any]:
        """Once a second to everybody: the wall, the exchange's clock, and how long each service has been silent."""
        gateway = self.heartbeats.get("gateway")
        session = msgspec.json.decode(encode(gateway[0])) if gateway else {}
        now = self._clock.monotonic()
        return {
            "datetime": self._clock.now().replace(tzinfo=None).isoformat(timespec="milliseconds"),
            "session_time": session.get("session_time"),
            "trading_day": session.get("trading_day"),
            "connected": session.get("connected"),
            "silence": {name: round(now - seen, 1) for name, (_, seen) in self.heartbeats.items()},
        }

    def _rewire(self) -> None:
        wanted = {topic for client in self._clients for topic in client.topics if topic.partition(":")[0] in CHANNELS}
        if wanted != self._channels:
            self._channels = frozenset(wanted)
            self._rewired.set()


async def _end(*tasks: asyncio.Future[Any] | None) -> None:
    """Cancel and wait. `asyncio.wait` tells our own cancellation from that of the tasks."""
    ending = {task for task in tasks if task is not None}
    for task in ending:
        task.cancel()
    if ending:
        done, _ = await asyncio.wait(ending)
        for task in done:
            _ = task.cancelled() or task.exception()
