"""The bus as the rooms see it: channels that may lose, streams that may not. Twins: `redis.py`, `memory.py`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from arbig.domain.faults import StartAnew


class BusError(ConnectionError):
    """Redis is gone, refuses us or is out of memory: said in one line, with the mend where there is one."""


class DataLost(StartAnew):
    """Redis was emptied under a reader, or entries were trimmed that it had not finished. Its groups stand; what was
    unread is gone, so the service must resynchronise with the owners of the truth: it ends, and its start does that."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One stream entry as delivered. `deliveries` counts this delivery."""

    stream: str
    id: str
    payload: bytes
    deliveries: int = 1


@dataclass(frozen=True, slots=True)
class GroupState:
    """One consumer group of one stream. `lag`: entries never delivered; `pending`: delivered, not acknowledged;
    `lost`: entries trimmed away before the group read them."""

    stream: str
    group: str
    pending: int
    lag: int
    lost: int


def entry_key(entry_id: str) -> tuple[int, int]:
    """An entry id as a value that compares: `1700000000000-3` -> (1700000000000, 3)."""
    milliseconds, _, number = entry_id.partition("-")
    return int(milliseconds), int(number or 0)


Handler = Callable[[Entry], Awaitable[None]]


class Bus(Protocol):
    async def publish(self, items: Sequence[tuple[str, bytes]]) -> None:
        """Pub/Sub, several at once, in order. Raises BusError."""

    async def append(self, items: Sequence[tuple[str, bytes]]) -> list[str]:
        """XADD, several at once, in order; returns the entry ids. Never re-sent by itself. Raises BusError."""

    def listen(self, *patterns: str) -> AsyncIterator[list[tuple[str, bytes]]]:
        """Pub/Sub batches (channel, payload) of the patterns (`tick:*`, `bar:au2512`), for ever: a dead or silent
        connection is rebuilt. What was published meanwhile is lost. The first batch is empty: it says that the
        subscription stands, and so is the first after a rebuild. End it by cancelling the task that iterates."""

    async def consume(self, group: str, handlers: Mapping[str, Handler], consumer: str = "1") -> None:
        """Feed stream entries to their handlers, in order per stream, until cancelled. First this consumer's own
        pending entries, then new ones; after any Redis error pending ones again.

        A handler returns when its effect is durable: then the entry is acknowledged (acknowledgements may lag 50 ms).
        MessageError from a handler sends the entry to `stream:dead` at once, any other exception after it failed three
        times in place (BusError is not counted against the entry). One handler runs at a time per call of `consume`.
        Raises DataLost when entries are gone that this group had not finished."""

    async def epoch(self) -> str:
        """Which Redis this is: a random hexadecimal word, made when there was none; another one means that the streams
        were lost, and entry ids of before say nothing any more. Raises BusError, also when Redis takes no writes."""

    async def last_id(self, stream: str) -> str:
        """Id of the newest entry there ever was, `0-0` when there was none."""

    async def read(self, stream: str, after: str = "0-0", count: int = 1000) -> list[Entry]:
        """Plain XRANGE/XREAD past an id: for those who only watch."""

    async def groups(self) -> list[GroupState]:
        """State of every required group of every stream."""

    async def close(self) -> None: ...
