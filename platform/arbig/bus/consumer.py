"""Consumer: reads streams for one group, entry by entry, and loses none without a word.

Five rules, each the mend of a loss that was measured: this consumer's own pending entries first, and again after every
error; blocks of at most two seconds on a connection of one's own; a group that is gone is made again at 0, and ends the
reader loudly so that its service resynchronises; so does an entry that was trimmed before it was finished, which only
one's own count shows; an entry is acknowledged only after its effect is durable.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from math import ceil
from typing import Any

import hiredis
import msgspec

from arbig.bus.delivery import dead_letter, deliver
from arbig.bus.line import Command, Line, RedisAddress, complaint
from arbig.bus.port import BusError, DataLost, Entry, Handler
from arbig.bus.topics import DEAD, EPOCH, EVENT
from arbig.domain.messages import SHANGHAI, EventData, EventType, encode

log = logging.getLogger(__name__)

FIELD = b"data"
BLOCK_SECONDS = 2.0
BATCH = 100
ACK_SECONDS = 0.05
RECHECK_SECONDS = 60.0
COUNT_SECONDS = 4.0
PAUSES = (0.1, 0.5)

Call = Callable[..., Awaitable[list[Any]]]
NEW, OLDEST, NOTHING = ">", "0", "0-0"


class Consumer:
    """`call` writes commands over the bus's own line: dead letters, and the last acknowledgements."""

    def __init__(
        self, address: RedisAddress, group: str, name: str, handlers: Mapping[str, Handler], call: Call
    ) -> None:
        self._address = address
        self._group = group
        self._name = name
        self._handlers = handlers
        self._call = call
        self._epoch: str | None = None
        self._made_groups = False
        self._last: dict[str, str] = {}
        self._counts: dict[str, int | None] = {}
        self._count_at = 0.0
        self._trimmed: dict[str, int] = {}
        self._done: dict[str, list[str]] = {}
        self._done_since: float | None = None

    async def run(self, working: Callable[[], None]) -> None:
        """Read until something breaks (OSError, EOFError); `working` is told of every answer. Call it again then."""
        line = await Line.open(self._address, f"arbig:{self._name}:read")
        try:
            await self._make_groups(line)
            await self._find_our_place(line)
            while True:
                await self._finish_pending(line)
                await self._read_on(line, working)
        finally:
            line.close()

    async def close(self) -> None:
        """Acknowledge what is done; what cannot be acknowledged now comes again and is recognised by its handler."""
        try:
            await self._call(*self._acknowledgements())
        except BusError as error:
            log.warning("%s leaves entries unacknowledged: %s", self._name, error)

    async def _make_groups(self, line: Line) -> None:
        streams = list(self._handlers)
        replies = await line.call([("XGROUP", "CREATE", stream, self._group, "0", "MKSTREAM") for stream in streams])
        for reply in replies:
            if isinstance(reply, hiredis.ReplyError) and not str(reply).startswith("BUSYGROUP"):
                raise complaint(self._address, reply)
        made = [stream for stream, reply in zip(streams, replies, strict=True) if reply == b"OK"]
        before, self._epoch = self._epoch, await epoch_of(lambda commands: self._replies(line, commands))
        if made and self._made_groups:
            raise DataLost(f"Redis lost data: {self._group} of {', '.join(made)} was gone and is made again at 0")
        if before not in (None, self._epoch):
            raise DataLost(f"Redis lost data: it is another one than {self._group} has read ({EPOCH} changed)")
        self._made_groups = True

    async def _find_our_place(self, line: Line) -> None:
        """Where the group stands, and how many entries it has read of all that were ever added. A lost reply makes
        Redis know more than we do; else our own count holds, for Redis corrects its own without a word."""
        for stream in self._handlers:
            about, rows = await self._replies(line, [("XINFO", "STREAM", stream), ("XINFO", "GROUPS", stream)])
            row = next(row for row in map(mapping, rows) if row[b"name"] == self._group.encode())
            last, about = row[b"last-delivered-id"].decode(), mapping(about)
            if self._last.get(stream) != last:
                begins = about[b"entries-added"] - about[b"length"] if last == NOTHING else None
                count = row.get(b"entries-read")
                self._last[stream], self._counts[stream] = last, begins if count is None else count
            await self._check_count(line, stream, about)

    async def _count(self, line: Line) -> None:
        self._count_at = _now() + COUNT_SECONDS
        streams = list(self._handlers)
        replies = await self._replies(line, [("XINFO", "STREAM", stream) for stream in streams])
        for stream, about in zip(streams, replies, strict=True):
            await self._check_count(line, stream, mapping(about))

    async def _check_count(self, line: Line, stream: str, about: Mapping[bytes, Any]) -> None:
        """What was trimmed beyond what we have read is lost; and who has read to the end has read all there were."""
        added, trimmed = about[b"entries-added"], about[b"entries-added"] - about[b"length"]
        count, last = self._counts[stream], self._last[stream]
        at_end = about[b"last-generated-id"].decode() == last
        lost = 0 if count is None else max(trimmed - count, added - count if at_end else 0)
        if at_end:
            self._counts[stream] = added
        if lost > 0:  # told once: Redis shall know it too
            right = str(added if at_end else trimmed)
            await self._ask(line, [("XGROUP", "SETID", stream, self._group, last, "ENTRIESREAD", right)], 0.0)
            await self._say_lost({stream: lost})

    async def _say_lost(self, lost: Mapping[str, int]) -> None:
        what = ", ".join(f"{count} of {stream}" for stream, count in lost.items())
        message = f"{self._group} lost entries ({what}): they were trimmed before it had finished them"
        now = await self._time()
        event = EventData(
            event=EventType.ALARM,
            source=self._group.removeprefix("group:"),
            datetime=now,
            message=f"{message}; it resynchronises",
            event_id=f"A:{self._name}:{now.isoformat()}",
        )
        await self._call(("XADD", EVENT.name, "*", FIELD, encode(event)))
        raise DataLost(message)

    async def _finish_pending(self, line: Line) -> None:
        """What this consumer was given and has not acknowledged: after a crash, an error, a lost reply."""
        after = dict.fromkeys(self._handlers, OLDEST)
        acknowledge = True
        while batch := await self._read(line, after, acknowledge, block=None):
            for stream, entries in batch.items():
                after[stream] = entries[-1].id
                for entry in await self._counted(line, stream, entries):
                    await self._handle(entry)
            acknowledge = False
        if self._trimmed:
            await self._ask(line, self._acknowledgements(), 0.0)
            self._acknowledged()
            lost, self._trimmed = self._trimmed, {}
            await self._say_lost(lost)

    async def _counted(self, line: Line, stream: str, entries: list[Entry]) -> list[Entry]:
        """The entries with the number of their deliveries, as Redis counts them."""
        first, last, count = entries[0].id, entries[-1].id, str(len(entries))
        reply = await self._ask(line, [("XPENDING", stream, self._group, first, last, count, self._name)], 0.0)
        counts = {entry_id.decode(): times for entry_id, _, _, times in reply}
        return [Entry(stream, entry.id, entry.payload, counts.get(entry.id, 1)) for entry in entries]

    async def _read_on(self, line: Line, working: Callable[[], None]) -> None:
        """New entries, for a minute; then the pending ones are looked at again."""
        new = dict.fromkeys(self._handlers, NEW)
        until = _now() + RECHECK_SECONDS
        while _now() < until:
            if _now() >= self._count_at:
                await self._count(line)
            left = self._left()
            batch = await self._read(line, new, left <= 0, left if left > 0 else BLOCK_SECONDS)
            working()
            self._counted_on(batch)
            for entry in (entry for entries in batch.values() for entry in entries):
                await self._handle(entry)
                if self._is_due():
                    await self._ask(line, self._acknowledgements(), 0.0)
                    self._acknowledged()

    def _counted_on(self, batch: Mapping[str, Sequence[Entry]]) -> None:
        for stream, entries in batch.items():
            self._last[stream] = entries[-1].id
            if (count := self._counts[stream]) is not None:
                self._counts[stream] = count + len(entries)

    async def _read(
        self, line: Line, after: Mapping[str, str], acknowledge: bool, block: float | None
    ) -> dict[str, list[Entry]]:
        """One XREADGROUP, with the acknowledgements before it in the same write."""
        blocking = () if block is None else ("BLOCK", str(ceil(block * 1000)))
        reading = ("XREADGROUP", "GROUP", self._group, self._name, "COUNT", str(BATCH), *blocking)
        acks = self._acknowledgements() if acknowledge else []
        reply = await self._ask(line, [*acks, (*reading, "STREAMS", *after, *after.values())], block or 0.0)
        if acknowledge:
            self._acknowledged()
        found = {}
        for stream, items in reply or ():
            name = stream.decode()
            if entries := list(self._entries(name, items)):
                found[name] = entries
        return found

    def _entries(self, stream: str, items: list[tuple[bytes, list[bytes] | None]]) -> Iterable[Entry]:
        for entry_id, fields in items:
            if fields is None:
                log.error("%s %s was trimmed before %s had finished it: lost", stream, entry_id.decode(), self._group)
                self._trimmed[stream] = self._trimmed.get(stream, 0) + 1
                self._finished(stream, entry_id.decode())
            else:
                yield Entry(stream, entry_id.decode(), payload_of(fields))

    async def _ask(self, line: Line, commands: list[Command], block: float) -> Any:
        """The last reply; an error reply to any of the commands is raised."""
        return (await self._replies(line, commands, block))[-1]

    async def _replies(self, line: Line, commands: Sequence[Command], block: float = 0.0) -> list[Any]:
        replies = await line.call(commands, block + 3.0)
        for reply in replies:
            if isinstance(reply, hiredis.ReplyError):
                raise complaint(self._address, reply)
        return replies

    async def _handle(self, entry: Entry) -> None:
        reason = await deliver(entry, self._handlers[entry.stream], PAUSES)
        if reason is not None:
            log.error("%s %s is dead for %s: %s", entry.stream, entry.id, self._group, reason)
            at = await self._time()
            await self._call(("XADD", DEAD.name, "*", FIELD, dead_letter(entry, self._group, reason, at)))
        self._finished(entry.stream, entry.id)

    async def _time(self) -> datetime:
        seconds, microseconds = (await self._call(("TIME",)))[0]
        return datetime.fromtimestamp(int(seconds) + int(microseconds) / 1e6, SHANGHAI)

    def _finished(self, stream: str, entry_id: str) -> None:
        self._done.setdefault(stream, []).append(entry_id)
        if self._done_since is None:
            self._done_since = _now()

    def _left(self) -> float:
        """Seconds until acknowledgements are due. Then they go by themselves, rather than with the next entry, whose
        effects would wait behind them: the server writes its file for both."""
        return BLOCK_SECONDS if self._done_since is None else self._done_since + ACK_SECONDS - _now()

    def _is_due(self) -> bool:
        return self._left() <= 0

    def _acknowledgements(self) -> list[Command]:
        return [("XACK", stream, self._group, *ids) for stream, ids in self._done.items()]

    def _acknowledged(self) -> None:
        self._done = {}
        self._done_since = None


async def epoch_of(ask: Callable[[Sequence[Command]], Awaitable[list[Any]]]) -> str:
    """The epoch of this Redis, made when it has none: a write, which a server that can take none refuses."""
    _, found = await ask([("SETNX", EPOCH, secrets.token_hex(7)), ("GET", EPOCH)])
    return str(found.decode())


def mapping(flat: Sequence[Any]) -> dict[bytes, Any]:
    """A flat reply of names and values."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def payload_of(fields: list[bytes]) -> bytes:
    """The one field `data`; an entry without it is shown whole, for its dead letter."""
    named = dict(zip(fields[::2], fields[1::2], strict=True))
    if FIELD in named:
        return named[FIELD]
    return msgspec.json.encode(
        {key.decode("utf-8", "replace"): value.decode("utf-8", "replace") for key, value in named.items()}
    )


def _now() -> float:
    return asyncio.get_running_loop().time()
