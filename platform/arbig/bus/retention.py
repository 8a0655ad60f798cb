"""Retention: one janitor trims the streams, and only what every required group has finished.

Producers set no MAXLEN. An entry may go when it is beyond the newest 10,000, or older than a day and of an earlier
trading day; never before each required group has read and acknowledged it. What piles up is an alarm, not a deletion.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from arbig.bus.port import Entry, GroupState, entry_key
from arbig.bus.topics import ALARM_ENTRIES, EVENT, MAX_ENTRIES, STREAMS
from arbig.domain.messages import EventData, EventType, MessageError, decode

NOTHING, FOREVER = "0-0", f"{2**63}-0"
DAY_MILLISECONDS = 24 * 3600 * 1000
NEAR_LIMIT = MAX_ENTRIES * 8 // 10
BITE = 1000


@dataclass(frozen=True, slots=True)
class Extent:
    """How much a stream holds. Entries before `surplus` are beyond the newest 10,000 (a bite at a time); entries before
    `finished` are finished by every required group, `0-0` when one of them has not even begun."""

    stream: str
    length: int
    surplus: str
    finished: str


@dataclass(frozen=True, slots=True)
class Sweep:
    """What one sweep did: entries trimmed per stream, and what a person must know."""

    trimmed: dict[str, int]
    alarms: tuple[str, ...]


class Retaining(Protocol):
    """What the janitor asks of a bus; both twins have it."""

    async def extent(self, stream: str) -> Extent: ...

    async def trim(self, stream: str, before: str) -> int: ...

    async def milliseconds(self) -> int: ...

    async def read(self, stream: str, after: str = "0-0", count: int = 1000) -> list[Entry]: ...

    async def groups(self) -> list[GroupState]: ...


class Janitor:
    """Run by one service only. It learns from `stream:event` when the trading day began."""

    def __init__(self, bus: Retaining) -> None:
        self._bus = bus
        self._heard = NOTHING
        self._trading_day: object = None
        self.day_began = NOTHING

    async def sweep(self) -> Sweep:
        await self._learn_the_day()
        yesterday = max(0, await self._bus.milliseconds() - DAY_MILLISECONDS)
        old = min(self.day_began, f"{yesterday}-0", key=entry_key)
        trimmed, lengths = {}, {}
        for topic in STREAMS:
            trimmed[topic.name] = await self._trim(topic.name, old)
            lengths[topic.name] = (await self._bus.extent(topic.name)).length
        return Sweep(trimmed, (*alarms(await self._bus.groups()), *overgrown(lengths)))

    async def _learn_the_day(self) -> None:
        while entries := await self._bus.read(EVENT.name, self._heard):
            for entry in entries:
                self._hear(entry)
            self._heard = entries[-1].id

    def _hear(self, entry: Entry) -> None:
        try:
            event = decode(EventData, entry.payload)
        except MessageError:
            return  # its readers send it to stream:dead
        if event.event is EventType.TRADING_DAY and event.trading_day != self._trading_day:
            self._trading_day, self.day_began = event.trading_day, entry.id

    async def _trim(self, stream: str, old: str) -> int:
        total = 0
        while (before := cut(await self._bus.extent(stream), old)) and (count := await self._bus.trim(stream, before)):
            total += count
        return total


def cut(extent: Extent, old: str) -> str | None:
    """The id before which a stream may be trimmed."""
    wanted = max(extent.surplus, old, key=entry_key)
    before = min(wanted, extent.finished, key=entry_key)
    return None if before == NOTHING else before


def next_id(entry_id: str) -> str:
    milliseconds, number = entry_key(entry_id)
    return f"{milliseconds}-{number + 1}"


def alarms(states: Iterable[GroupState]) -> tuple[str, ...]:
    """What health and console show of the groups: those near the limit, those that lost entries."""
    return tuple(line for state in states for line in _of_group(state))


def _of_group(state: GroupState) -> Sequence[str]:
    waiting = state.lag + state.pending
    near = f"{state.group} has {waiting} unfinished entries of {state.stream} (limit {MAX_ENTRIES}); is it running?"
    lost = (
        f"{state.group} lost {state.lost} entries of {state.stream}, trimmed before it read them; it must resynchronise"
    )
    return [*([near] if waiting >= NEAR_LIMIT else []), *([lost] if state.lost else [])]


def overgrown(lengths: dict[str, int]) -> tuple[str, ...]:
    return tuple(
        f"{stream} holds {length} entries (alarm at {ALARM_ENTRIES}); nothing unread is deleted: see to its readers"
        for stream, length in lengths.items()
        if length > ALARM_ENTRIES
    )
