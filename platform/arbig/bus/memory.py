"""The bus in memory: the twin of `redis.py` for tests, paper runs on a virtual clock and single-process flows.

Everything happens in the order of the calls, ids count up from 1, nothing looks at a clock: the same calls give the
same bytes.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase

from arbig.bus.delivery import dead_letter, deliver
from arbig.bus.port import BusError, DataLost, Entry, GroupState, Handler, entry_key
from arbig.bus.retention import FOREVER, NOTHING, Extent, next_id
from arbig.bus.topics import BY_NAME, DEAD, MAX_ENTRIES, required_groups
from arbig.domain.messages import SHANGHAI

log = logging.getLogger(__name__)

_NO_PAUSE = (0.0, 0.0)
_AFTER_BUS_ERROR = 0.01


@dataclass(slots=True)
class _Pending:
    consumer: str
    entry: Entry
    deliveries: int


@dataclass(slots=True)
class _Group:
    """A cursor and what was delivered but not acknowledged, oldest first."""

    position: str = "0-0"
    pending: dict[str, _Pending] = field(default_factory=dict)


@dataclass(slots=True)
class _Stream:
    entries: list[Entry] = field(default_factory=list)
    groups: dict[str, _Group] = field(default_factory=dict)
    last_id: str = "0-0"

    def after(self, entry_id: str) -> list[Entry]:
        start = bisect_right(self.entries, entry_key(entry_id), key=lambda entry: entry_key(entry.id))
        return self.entries[start:]


@dataclass(slots=True)
class _Listener:
    patterns: tuple[str, ...]
    batch: list[tuple[str, bytes]] = field(default_factory=list)
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    def hears(self, channel: str) -> bool:
        return any(fnmatchcase(channel, pattern) for pattern in self.patterns)


def _opening() -> datetime:
    return datetime(2025, 1, 1, tzinfo=SHANGHAI)


class MemoryBus:
    """One object shared by every service of the process. `now` only stamps dead letters."""

    def __init__(self, now: Callable[[], datetime] = _opening) -> None:
        self._now = now
        self._ids = itertools.count(1)
        self._streams: dict[str, _Stream] = {}
        self._listeners: list[_Listener] = []
        self._appended = asyncio.Condition()
        self._epochs = 1

    async def empty(self) -> None:
        """Everything is lost, as when Redis comes back without its file."""
        self._streams.clear()
        self._epochs += 1
        async with self._appended:
            self._appended.notify_all()

    async def epoch(self) -> str:
        return f"{self._epochs:x}"

    async def publish(self, items: Sequence[tuple[str, bytes]]) -> None:
        for channel, payload in items:
            for listener in self._listeners:
                if listener.hears(channel):
                    listener.batch.append((channel, payload))
                    listener.wake.set()
        await asyncio.sleep(0)

    async def append(self, items: Sequence[tuple[str, bytes]]) -> list[str]:
        ids = [self._add(stream, payload) for stream, payload in items]
        async with self._appended:
            self._appended.notify_all()
        await asyncio.sleep(0)
        return ids

    def _add(self, stream: str, payload: bytes) -> str:
        entry = Entry(stream, f"{next(self._ids)}-0", payload)
        kept = self._stream(stream)
        kept.entries.append(entry)
        kept.last_id = entry.id
        return entry.id

    def _stream(self, name: str) -> _Stream:
        return self._streams.setdefault(name, _Stream())

    async def listen(self, *patterns: str) -> AsyncIterator[list[tuple[str, bytes]]]:
        listener = _Listener(patterns)
        self._listeners.append(listener)
        try:
            yield []
            while True:
                await listener.wake.wait()
                listener.wake.clear()
                batch, listener.batch = listener.batch, []
                yield batch
        finally:
            self._listeners.remove(listener)

    async def consume(self, group: str, handlers: Mapping[str, Handler], consumer: str = "1") -> None:
        for name in handlers:
            self._stream(name).groups.setdefault(group, _Group())
        entries = self._pending(group, handlers, consumer)
        while True:
            try:
                for entry in entries:
                    await self._handle(group, entry, handlers[entry.stream])
                async with self._appended:
                    await self._appended.wait_for(lambda: self._has_unread(group, handlers))
                if gone := [name for name in handlers if group not in self._stream(name).groups]:
                    raise DataLost(f"the bus lost data: {group} of {', '.join(gone)} was gone")
                entries = self._unread(group, handlers, consumer)
            except BusError as error:
                log.warning("%s: %s; pending entries come again", group, error)
                await asyncio.sleep(_AFTER_BUS_ERROR)
                entries = self._pending(group, handlers, consumer)

    def _pending(self, group: str, names: Mapping[str, Handler], consumer: str) -> list[Entry]:
        found = []
        for name in names:
            for held in self._streams[name].groups[group].pending.values():
                if held.consumer == consumer:
                    held.deliveries += 1
                    found.append(Entry(name, held.entry.id, held.entry.payload, held.deliveries))
        return found

    def _unread(self, group: str, names: Mapping[str, Handler], consumer: str) -> list[Entry]:
        found = []
        for name in names:
            stream = self._streams[name]
            cursor = stream.groups[group]
            for entry in stream.after(cursor.position):
                cursor.pending[entry.id] = _Pending(consumer, entry, 1)
                cursor.position = entry.id
                found.append(entry)
        return found

    def _has_unread(self, group: str, names: Mapping[str, Handler]) -> bool:
        """Or a group that is gone: the reader must learn it."""
        streams = {name: self._stream(name) for name in names}
        return any(
            group not in stream.groups or stream.after(stream.groups[group].position) for stream in streams.values()
        )

    async def _handle(self, group: str, entry: Entry, handler: Handler) -> None:
        reason = await deliver(entry, handler, _NO_PAUSE)
        if reason is not None:
            log.error("%s %s is dead for %s: %s", entry.stream, entry.id, group, reason)
            await self.append([(DEAD.name, dead_letter(entry, group, reason, self._now()))])
        self._stream(entry.stream).groups.get(group, _Group()).pending.pop(entry.id, None)

    async def last_id(self, stream: str) -> str:
        return self._stream(stream).last_id

    async def read(self, stream: str, after: str = "0-0", count: int = 1000) -> list[Entry]:
        return self._stream(stream).after(after)[:count]

    async def groups(self) -> list[GroupState]:
        return [self._state(stream, group) for stream in BY_NAME for group in required_groups(stream)]

    def _state(self, name: str, group: str) -> GroupState:
        stream = self._stream(name)
        cursor = stream.groups.get(group, _Group())
        return GroupState(name, group, len(cursor.pending), len(stream.after(cursor.position)), lost=0)

    async def extent(self, stream: str) -> Extent:
        kept = self._stream(stream)
        surplus = len(kept.entries) - MAX_ENTRIES
        return Extent(
            stream,
            len(kept.entries),
            surplus=kept.entries[surplus].id if surplus > 0 else NOTHING,
            finished=min((_finished(kept, group) for group in required_groups(stream)), key=entry_key, default=FOREVER),
        )

    async def trim(self, stream: str, before: str) -> int:
        kept = self._stream(stream)
        length = len(kept.entries)
        kept.entries = [entry for entry in kept.entries if entry_key(entry.id) >= entry_key(before)]
        return length - len(kept.entries)

    async def milliseconds(self) -> int:
        """Ids are this bus's time: none of its entries grows a day old."""
        return max((entry_key(stream.last_id)[0] for stream in self._streams.values()), default=0)

    async def close(self) -> None:
        """Nothing to close: the other services of the process go on."""


def _finished(stream: _Stream, name: str) -> str:
    group = stream.groups.get(name)
    if group is None:
        return NOTHING
    return min(group.pending, key=entry_key) if group.pending else next_id(group.position)
