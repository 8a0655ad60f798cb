"""EventPublisher: ticks to Pub/Sub in batches, journalled events to their streams, each in its order."""

from __future__ import annotations

import asyncio
import os
from datetime import date, datetime

import structlog

from arbig.bus.port import Bus, BusError
from arbig.bus.topics import EVENT, GATEWAY, HEARTBEAT, ORDER_STATUS, POSITION, TICK, TRADE
from arbig.domain.counter import ClockMark, DayMark, TickBatch
from arbig.domain.messages import Heartbeat, encode
from arbig.gateway.hops import Hops
from arbig.runtime.clock import Clock
from arbig.runtime.crash import crash_point
from arbig.store.journal import Journal, Kind

log = structlog.get_logger()
BEAT = 0.25
"""Wall seconds between two heartbeats with the session clock, at most."""
AT_ONCE = 500
STREAMS = {
    Kind.ORDER: ORDER_STATUS.name,
    Kind.TRADE: TRADE.name,
    Kind.POSITION: POSITION.name,
    Kind.EVENT: EVENT.name,
}
BACKOFF = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class EventPublisher:
    """What comes while a batch is on its way goes with the next one: no tick is awaited by itself. Ticks may be lost
    with Redis; events stay in the journal until they are on their stream."""

    def __init__(self, bus: Bus, journal: Journal, clock: Clock) -> None:
        self._bus = bus
        self._journal = journal
        self._clock = clock
        self.hops = Hops(clock)
        self._channels: dict[str, str] = {}
        self._seen: dict[str, int] = {}
        self._seen_day: date | None = None
        self._waiting: list[tuple[str, bytes]] = []
        self._waiting_time: tuple[datetime, date] | None = None
        self._ticks_due = asyncio.Event()
        self._events_due = asyncio.Event()
        self._drained = asyncio.Condition()
        self._beat_at = float("-inf")
        self.connected = False
        self.session_time: datetime | None = None
        self.trading_day: date | None = None
        self.ticks = 0
        self.dropped = 0

    # ---- ticks and the session clock ----

    def add_ticks(self, batch: TickBatch) -> None:
        """Ticks of a batch, each once: an exchange that came back may repeat its last ones."""
        waiting, seen, channels = self._waiting, self._seen, self._channels
        for symbol, seq, payload in batch.ticks:
            if seq <= seen.get(symbol, 0):
                continue
            seen[symbol] = seq
            channel = channels.get(symbol)
            if channel is None:
                channel = channels[symbol] = TICK.of(symbol)
            waiting.append((channel, bytes(payload)))
        self.hops.ticks(batch)
        self._ticks_due.set()

    def add_clock(self, mark: ClockMark | DayMark) -> None:
        """The session clock, in order with the ticks; a heartbeat when one is due or a segment has ended."""
        if not (isinstance(mark, DayMark) and mark.settled):
            self.begin_day(mark.trading_day)
        self._waiting_time = (mark.session_time, mark.trading_day)
        now = self._clock.monotonic()
        if now - self._beat_at >= BEAT or isinstance(mark, DayMark) or mark.segment_end:
            self._beat_at = now
            self._waiting.append((HEARTBEAT.of(GATEWAY), encode(self.beat(mark.session_time, mark.trading_day))))
        self._ticks_due.set()

    def begin_day(self, trading_day: date) -> None:
        """Ticks are numbered anew."""
        if trading_day != self._seen_day:
            self._seen_day = trading_day
            self._seen.clear()

    def beat(self, session_time: datetime | None, trading_day: date | None, state: str = "ready") -> Heartbeat:
        return Heartbeat(
            service=GATEWAY,
            datetime=self._clock.now(),
            pid=os.getpid(),
            state=state,
            session_time=session_time,
            trading_day=trading_day,
            connected=self.connected,
        )

    async def publish_ticks(self) -> None:
        """Until cancelled."""
        while True:
            await self._ticks_due.wait()
            self._ticks_due.clear()
            batch, self._waiting = self._waiting, []
            moment, self._waiting_time = self._waiting_time, None
            try:
                if batch:
                    await self._bus.publish(batch)
            except BusError as error:
                self.dropped += len(batch)
                log.warning(f"{len(batch)} ticks lost: {error}")
                continue
            self.ticks += len(batch)
            if moment is not None:
                self.session_time, self.trading_day = moment

    # ---- journalled events ----

    def wake(self) -> None:
        """The journal has something new."""
        self._events_due.set()

    async def publish_events(self) -> None:
        """Until cancelled. First what an earlier life left behind; nothing is marked before it is on the stream."""
        self._events_due.set()
        failures = 0
        while True:
            await self._events_due.wait()
            self._events_due.clear()
            try:
                while events := self._journal.unpublished(AT_ONCE):
                    epochs = self._journal.epochs
                    entry_ids = await self._bus.append([(STREAMS[event.kind], event.payload) for event in events])
                    crash_point("gw.after_publish")
                    if self._journal.epochs != epochs:  # the day is said again: these too, in their place among it
                        continue
                    self._journal.published(events, entry_ids, self.hops.take())
                    failures = 0
            except BusError as error:
                log.warning(f"events wait in the journal: {error}")
                await self._clock.sleep(BACKOFF[min(failures, len(BACKOFF) - 1)])
                failures += 1
                self._events_due.set()
                continue
            async with self._drained:
                self._drained.notify_all()

    async def say_again(self, stream: str, payload: bytes) -> None:
        """A repeated command is answered with what is known. Raises BusError."""
        await self._bus.append([(stream, payload)])

    async def drained(self, last_event: int) -> dict[str, str]:
        """Waits until everything up to that event is on its stream; returns the streams' entry ids there."""
        async with self._drained:
            while self._journal.first_unpublished() <= last_event:
                self._events_due.set()
                await self._drained.wait()
        return {STREAMS[kind]: entry_id for kind, entry_id in self._journal.as_of(last_event).items()}
