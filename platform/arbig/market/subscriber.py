"""TickSubscriber: `tick:*` and the Gateway's heartbeat come in, in the order they were published."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

from arbig.bus.port import Bus
from arbig.bus.topics import GATEWAY, HEARTBEAT, TICK
from arbig.domain.messages import Heartbeat, MessageError, TickData, decode
from arbig.runtime.clock import Clock

log = logging.getLogger(__name__)

SAY_AGAIN_SECONDS = 10.0
PREFIX = TICK.of("")
BEAT = HEARTBEAT.of(GATEWAY)

Received = tuple[bytes, TickData | Heartbeat]


class Complaints:
    """What cannot be used is counted, and said in one line now and then, not once for each message."""

    def __init__(self, clock: Clock, what: str) -> None:
        self.count = 0
        self._clock = clock
        self._what = what
        self._said_at: float | None = None

    def add(self, line: str) -> None:
        self.count += 1
        now = self._clock.monotonic()
        if self._said_at is None or now - self._said_at >= SAY_AGAIN_SECONDS:
            self._said_at = now
            log.warning("%s, %d so far; the latest: %s", self._what, self.count, line)


class TickSubscriber:
    """In: the bus. Out: batches of decoded ticks and heartbeats, each beside its bytes. An empty batch says that the
    subscription stands, for the first time or anew: what was published before it is lost."""

    def __init__(self, bus: Bus, clock: Clock) -> None:
        self._bus = bus
        self.unusable = Complaints(clock, "messages on tick channels that are no ticks")

    async def batches(self) -> AsyncIterator[list[Received]]:
        async for batch in self._bus.listen(TICK.name, BEAT):
            if not batch:
                yield []
            elif received := [found for channel, payload in batch if (found := self._read(channel, payload))]:
                yield received

    def _read(self, channel: str, payload: bytes) -> Received | None:
        try:
            if channel == BEAT:
                return payload, decode(Heartbeat, payload)
            tick = decode(TickData, payload)
        except MessageError as error:
            self.unusable.add(f"{channel}: {error}")
            return None
        if tick.symbol != channel[len(PREFIX) :]:
            self.unusable.add(f"{channel}: found a tick of {tick.symbol!r}, expected one of the channel's symbol")
            return None
        return payload, tick
