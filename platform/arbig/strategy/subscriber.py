"""DataSubscriber: what Strategy hears: ticks and bars (may be lost), fills, orders, positions, events (may not)."""

from __future__ import annotations

import structlog

from arbig.bus.port import Bus
from arbig.bus.topics import BAR, STRATEGY, TICK, group_of
from arbig.domain.messages import MessageError
from arbig.strategy.engine import StrategyEngine

log = structlog.get_logger()


class DataSubscriber:
    def __init__(self, bus: Bus, engine: StrategyEngine) -> None:
        self.bus = bus
        self.engine = engine
        self.ticks = 0
        self.bad_messages = 0

    async def market_data(self) -> None:
        """Pub/Sub of the strategies' contracts, for ever."""
        symbols = self.engine.symbols
        patterns = [topic.of(symbol) for symbol in symbols for topic in (TICK, BAR)]
        if not patterns:
            return
        async for batch in self.bus.listen(*patterns):
            for channel, payload in batch:
                await self._hear(channel, payload)

    async def _hear(self, channel: str, payload: bytes) -> None:
        try:
            if channel.startswith("tick:"):
                self.ticks += 1
                await self.engine.on_tick(payload)
            else:
                self.engine.on_bar(payload)
        except MessageError as error:
            self.bad_messages += 1
            log.error(f"{channel}: {error}")

    async def streams(self) -> None:
        """The service's own group: pending entries first, then new ones, for ever."""
        await self.bus.consume(group_of(STRATEGY), self.engine.handlers)
