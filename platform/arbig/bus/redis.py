"""The bus on Redis: Pub/Sub that may lose, Streams that may not.

Writing takes turns on one line each for channels and streams: several items in one write, without MULTI, never sent a
second time by itself; questions have a third, so that no order waits behind one. Streams are read by `consumer.py`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import hiredis

from arbig.bus.consumer import FIELD, Consumer, epoch_of, mapping, payload_of
from arbig.bus.line import Command, Line, Pauses, RedisAddress, complaint
from arbig.bus.port import Entry, GroupState, Handler, entry_key
from arbig.bus.retention import BITE, FOREVER, NOTHING, Extent, next_id
from arbig.bus.topics import MAX_ENTRIES, STREAMS, required_groups

__all__ = ["RedisAddress", "RedisBus"]

log = logging.getLogger(__name__)

SILENT_SECONDS = 3
SAY_AGAIN_SECONDS = 60.0
AT_ONCE = 2000  # as many as a busy server surely answers within a line's patience


class RedisBus:
    """One per service; its lines are named `arbig:{user}:...` in CLIENT LIST."""

    def __init__(self, address: RedisAddress) -> None:
        self.address = address
        self._who = address.username or "default"
        self._channels = _Turns(address, f"arbig:{self._who}:publish")
        self._streams = _Turns(address, f"arbig:{self._who}:write")
        self._questions = _Turns(address, f"arbig:{self._who}:ask")
        self._said: dict[str, float] = {}

    @classmethod
    async def connect(cls, address: RedisAddress) -> RedisBus:
        """Raises BusError when the server is not there or refuses us."""
        bus = cls(address)
        await bus.call(("PING",))
        return bus

    async def call(self, *commands: Command) -> list[Any]:
        """Commands in one write, their replies; raises BusError for an error reply or a broken line."""
        return await self._streams.call(commands)

    async def publish(self, items: Sequence[tuple[str, bytes]]) -> None:
        for first in range(0, len(items), AT_ONCE):
            some = items[first : first + AT_ONCE]
            await self._channels.call([("PUBLISH", channel, payload) for channel, payload in some])

    async def append(self, items: Sequence[tuple[str, bytes]]) -> list[str]:
        replies = await self.call(*(("XADD", stream, "*", FIELD, payload) for stream, payload in items))
        return [reply.decode() for reply in replies]

    async def listen(self, *patterns: str) -> AsyncIterator[list[tuple[str, bytes]]]:
        pauses = Pauses()
        while True:
            try:
                async with aclosing(self._subscription(patterns)) as batches:
                    async for batch in batches:
                        yield batch
                        pauses.reset()
            except (OSError, EOFError) as error:
                self._say(f"subscription to {' '.join(patterns)} is rebuilt: {complaint(self.address, error)}")
                await pauses.take()

    async def _subscription(self, patterns: tuple[str, ...]) -> AsyncGenerator[list[tuple[str, bytes]]]:
        line = await Line.open(self.address, f"arbig:{self._who}:listen")
        watch = _Watch(line)
        try:
            line.write([("PSUBSCRIBE" if "*" in pattern else "SUBSCRIBE", pattern) for pattern in patterns])
            missing = len(patterns)
            while True:
                watch.heard()
                items = await line.received()
                watch.heard()
                if missing:
                    missing -= self._confirmed(items)
                    if not missing:
                        yield []
                if batch := _messages(items):
                    yield batch
        finally:
            watch.stop()
            line.close()

    def _confirmed(self, items: Sequence[Any]) -> int:
        for item in items:
            if isinstance(item, hiredis.ReplyError):
                raise complaint(self.address, item)
        return sum(item[0] in (b"subscribe", b"psubscribe") for item in items)

    async def consume(self, group: str, handlers: Mapping[str, Handler], consumer: str = "1") -> None:
        name = f"{group.removeprefix('group:')}-{consumer}"
        reading = Consumer(self.address, group, name, handlers, self.call)
        pauses = Pauses()
        try:
            while True:
                try:
                    await reading.run(pauses.reset)
                except (OSError, EOFError) as error:
                    self._say(f"{name} starts again with its pending entries: {complaint(self.address, error)}")
                    await pauses.take()
        finally:
            await reading.close()

    async def epoch(self) -> str:
        return await epoch_of(self._questions.call)

    def _say(self, sentence: str) -> None:
        """Once a minute while it lasts: a full Redis answers every question and refuses every write."""
        now = asyncio.get_running_loop().time()
        if now - self._said.get(sentence, float("-inf")) >= SAY_AGAIN_SECONDS:
            self._said[sentence] = now
            log.warning("%s", sentence)

    async def last_id(self, stream: str) -> str:
        (info,) = await self._infos(("XINFO", "STREAM", stream))
        return mapping(info)[b"last-generated-id"].decode() if info else "0-0"

    async def read(self, stream: str, after: str = "0-0", count: int = 1000) -> list[Entry]:
        replies = await self._questions.call([("XRANGE", stream, f"({after}", "+", "COUNT", str(count))])
        return [Entry(stream, entry_id.decode(), payload_of(fields)) for entry_id, fields in replies[0]]

    async def groups(self) -> list[GroupState]:
        streams = [topic.name for topic in STREAMS if required_groups(topic.name)]
        infos = await self._infos(*(("XINFO", what, stream) for what in ("STREAM", "GROUPS") for stream in streams))
        pairs = zip(infos[: len(streams)], infos[len(streams) :], strict=True)
        return [
            state
            for stream, (about, rows) in zip(streams, pairs, strict=True)
            for state in _states(stream, about, rows)
        ]

    async def extent(self, stream: str) -> Extent:
        about, rows = await self._infos(("XINFO", "STREAM", stream), ("XINFO", "GROUPS", stream))
        length = mapping(about)[b"length"] if about else 0
        return Extent(stream, length, await self._surplus(stream, length), await self._finished(stream, rows))

    async def _surplus(self, stream: str, length: int) -> str:
        """Where a bite of what is beyond the newest 10,000 ends."""
        bite = min(length - MAX_ENTRIES, BITE)
        if bite <= 0:
            return NOTHING
        entries = (await self.call(("XRANGE", stream, "-", "+", "COUNT", str(bite + 1))))[0]
        return entries[-1][0].decode()  # type: ignore[no-any-return]

    async def _finished(self, stream: str, rows: Sequence[Any]) -> str:
        groups = {row[b"name"].decode(): row for row in map(mapping, rows)}
        ends = [await self._end(stream, group, groups.get(group)) for group in required_groups(stream)]
        return min(ends, key=entry_key, default=FOREVER)

    async def _end(self, stream: str, group: str, row: Mapping[bytes, Any] | None) -> str:
        if row is None:
            return NOTHING
        if row[b"pending"]:
            count, oldest, *_ = (await self.call(("XPENDING", stream, group)))[0]
            return oldest.decode() if count else NOTHING
        return next_id(row[b"last-delivered-id"].decode())

    async def trim(self, stream: str, before: str) -> int:
        return int((await self.call(("XTRIM", stream, "MINID", "=", before)))[0])

    async def milliseconds(self) -> int:
        seconds, microseconds = (await self.call(("TIME",)))[0]
        return int(seconds) * 1000 + int(microseconds) // 1000

    async def _infos(self, *commands: Command) -> list[list[Any]]:
        """XINFO answers, all in one write; empty where there is no such stream yet."""
        replies = await self._questions.replies(commands)
        return [[] if _is_missing(reply) else _sound(self.address, reply) for reply in replies]

    async def close(self) -> None:
        self._channels.close()
        self._streams.close()
        self._questions.close()


def _states(stream: str, about: Sequence[Any], rows: Sequence[Any]) -> list[GroupState]:
    length, added = (mapping(about)[key] if about else 0 for key in (b"length", b"entries-added"))
    groups = {row[b"name"].decode(): row for row in map(mapping, rows)}
    return [_state(stream, group, groups.get(group, {}), length, added) for group in required_groups(stream)]


def _state(stream: str, group: str, row: Mapping[bytes, Any], length: int, added: int) -> GroupState:
    """`lost` is counted from what was added, not from Redis' own lag, which does not show trimming."""
    read = row.get(b"entries-read")
    lag = row.get(b"lag")
    return GroupState(
        stream,
        group,
        pending=row.get(b"pending", 0),
        lag=length if lag is None else min(lag, length),
        lost=0 if read is None else max(0, added - length - read),
    )


def _is_missing(reply: Any) -> bool:
    return isinstance(reply, hiredis.ReplyError) and "no such key" in str(reply)


def _sound(address: RedisAddress, reply: Any) -> Any:
    """The reply, unless it is an error."""
    if isinstance(reply, hiredis.ReplyError):
        raise complaint(address, reply)
    return reply


def _messages(items: Sequence[Any]) -> list[tuple[str, bytes]]:
    batch = []
    for item in items:
        if item[0] == b"pmessage":
            batch.append((item[2].decode(), item[3]))
        elif item[0] == b"message":
            batch.append((item[1].decode(), item[2]))
    return batch


class _Turns:
    """One line shared by the tasks of a service, one call at a time; opened when needed."""

    def __init__(self, address: RedisAddress, name: str) -> None:
        self._address = address
        self._name = name
        self._line: Line | None = None
        self._turn = asyncio.Lock()

    async def call(self, commands: Sequence[Command]) -> list[Any]:
        """Raises BusError for the first error reply."""
        return [_sound(self._address, reply) for reply in await self.replies(commands)]

    async def replies(self, commands: Sequence[Command]) -> list[Any]:
        """Error replies are values among the others. Raises BusError for a broken line."""
        if not commands:
            return []
        async with self._turn:
            if self._line is None or not self._line.is_open:
                self.close()
                self._line = await Line.open(self._address, self._name)
            try:
                return await self._line.call(commands)
            except (OSError, EOFError) as error:
                raise complaint(self._address, error) from error

    def close(self) -> None:
        if self._line is not None:
            self._line.close()


class _Watch:
    """Asks a listening line once a second whether it still hears; hangs up when it has been silent for three.

    A half-open connection never fails by itself: without this a subscriber would wait for ever."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._silent = 0
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(1.0, self._ask)

    def heard(self) -> None:
        self._silent = 0

    def stop(self) -> None:
        self._timer.cancel()

    def _ask(self) -> None:
        self._silent += 1
        if self._silent > SILENT_SECONDS:
            self._line.close()
        else:
            self._line.write([("PING",)])
            self._timer = self._loop.call_later(1.0, self._ask)
