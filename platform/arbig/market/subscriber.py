"""TickSubscriber: `tick:*` and the Gateway's heartbeat come in, in the order they were published."""

from __future__ import annotations

from collections.abc import AsyncIterator

from arbig.bus.port import Bus
from arbig.bus.topics import GATEWAY, HEARTBEAT, TICK
from arbig.domain.messages import Heartbeat, MessageError, TickData, decode
from arbig.market.complaints import Complaints
from arbig.runtime.clock import Clock

PREFIX = TICK.of("")
BEAT = HEARTBEAT.of(GATEWAY)

Received = tuple[bytes, TickData | Heartbeat]


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
