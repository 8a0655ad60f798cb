"""Trading: what the database has promised to say is said on its stream, in order, and ticked off a moment later."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from arbig.bus.port import Bus
from arbig.runtime.clock import Clock
from arbig.store.orders import OrderStore, Outgoing

MARK_SECONDS = 0.05

Durably = Callable[[Callable[[], Any]], Awaitable[None]]


class Outbox:
    """A message stays in line until the bus has taken it. Saying one twice is harmless (readers know its request_id),
    forgetting one is not: so the tick may lag, and nothing is ticked off before it was said."""

    def __init__(self, bus: Bus, store: OrderStore, clock: Clock, durably: Durably) -> None:
        self._bus = bus
        self._store = store
        self._clock = clock
        self._durably = durably
        self._line: deque[Outgoing] = deque()
        self._said: list[int] = []
        self._any_said = asyncio.Event()
        self._turn = asyncio.Lock()

    @property
    def waiting(self) -> int:
        return len(self._line)

    def is_waiting(self, request_id: str) -> bool:
        return any(message.request_id == request_id for message in self._line)

    def load(self, messages: Iterable[Outgoing]) -> None:
        """What a former life left unsaid."""
        self._line.extend(messages)

    async def withdraw(self, request_id: str) -> None:
        """Never say what was to be said for this request."""
        async with self._turn:
            gone = [message for message in self._line if message.request_id == request_id]
            self._line = deque(message for message in self._line if message.request_id != request_id)
        self._said.extend(message.id for message in gone)
        self._any_said.set()

    async def publish(self, messages: Iterable[Outgoing]) -> None:
        """Raises BusError; the messages then wait for the next flush."""
        self._line.extend(messages)
        await self.flush()

    async def flush(self) -> None:
        if not self._line:
            return
        async with self._turn:
            while self._line:
                batch = list(self._line)
                await self._bus.append([(message.stream, message.payload) for message in batch])
                for _ in batch:
                    self._line.popleft()
                self._said.extend(message.id for message in batch)
                self._any_said.set()

    async def mark_for_ever(self) -> None:
        """Ticks off what was said, many at once."""
        while True:
            await self._any_said.wait()
            await self._clock.sleep(MARK_SECONDS)
            await self._durably(self.mark)

    def mark(self) -> None:
        """Raises StoreError; then nothing is ticked off yet."""
        if self._said:
            self._store.mark_published(self._said)
        self._said = []
        self._any_said.clear()
