"""House: what all strategies of the service share: bus, clock, store, positions, the last ticks, the way out."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date

import structlog

from arbig.bus.port import Bus, BusError
from arbig.bus.topics import EVENT, ORDER
from arbig.domain.instruments import InstrumentBook
from arbig.domain.messages import (
    Direction,
    EventData,
    EventType,
    OrderRequest,
    PositionData,
    TickData,
    encode,
)
from arbig.domain.sessions import TradingCalendar
from arbig.runtime.clock import Clock
from arbig.runtime.crash import crash_point
from arbig.runtime.settings import Settings
from arbig.store.database import StoreError
from arbig.store.strategies import Effects, Lots, StrategyStore
from arbig.strategy.frames import Holding
from arbig.strategy.port import Historian, RunnerFactory

log = structlog.get_logger()

RETRY_SECONDS = 0.5


@dataclass
class House:
    settings: Settings
    bus: Bus
    clock: Clock
    store: StrategyStore
    runner: RunnerFactory
    historian: Historian
    instruments: InstrumentBook
    calendar: TradingCalendar
    book: dict[tuple[str, str], Lots] = field(default_factory=dict)
    account: dict[tuple[str, Direction], PositionData] = field(default_factory=dict)
    ticks: dict[str, TickData] = field(default_factory=dict)
    connected: bool = True
    trading_day: date | None = None
    fault: str | None = None
    sent: list[str] = field(default_factory=list)
    _events: itertools.count[int] = field(default_factory=itertools.count)
    _retry_at: float = 0.0

    def lots(self, strategy_name: str, symbol: str) -> Lots:
        return self.book.get((strategy_name, symbol), Lots())

    def holding(self, strategy_name: str, symbol: str, closing: int) -> Holding:
        long, short = (self._free_yesterday(symbol, side) for side in Direction)
        return Holding(self.lots(strategy_name, symbol).volume, closing, long, short)

    def unclaimed(self, strategy_name: str, symbol: str, side: Direction) -> int:
        """Lots the account holds on one side that belong to no other strategy's book."""
        found = self.account.get((symbol, side))
        if found is None:
            return 0
        others = (
            max(0, side.sign * lots.volume)
            for (name, held), lots in self.book.items()
            if held == symbol and name != strategy_name
        )
        return found.volume - sum(others)

    def _free_yesterday(self, symbol: str, side: Direction) -> int:
        found = self.account.get((symbol, side))
        return 0 if found is None else max(0, found.yd_volume - (found.yd_frozen or 0))

    def wrote(self, write: Callable[[], object]) -> bool:
        """Whether it stands on disk now. A disk that takes nothing is said once, and tried again twice a second."""
        if self.fault is not None and self.clock.monotonic() < self._retry_at:
            return False
        try:
            write()
        except StoreError as error:
            if self.fault is None:
                log.error(f"{error}; strategies wait until it can be written")
            self.fault = str(error)
            self._retry_at = self.clock.monotonic() + RETRY_SECONDS
            return False
        if self.fault is not None:
            log.info("the database can be written again")
        self.fault = None
        return True

    async def durably(self, write: Callable[[], object]) -> None:
        """Until it is written: the entry behind it stays unacknowledged meanwhile."""
        while not self.wrote(write):
            await self.clock.sleep(RETRY_SECONDS)

    async def commit(self, effects: Effects) -> None:
        await self.durably(lambda: self.store.commit(effects))

    async def send(self, requests: list[OrderRequest], strategy_name: str, kept: bool) -> None:
        """To `stream:order`. What the bus does not take now waits in the outbox under the same request ids; Trading
        judges by `expires_at` whether it is still wanted."""
        if not requests:
            return
        crash_point("st.before_send")
        try:
            await self.bus.append([(ORDER.name, encode(request)) for request in requests])
        except BusError as error:
            log.error(f"{strategy_name}: {len(requests)} signal(s) wait in the outbox: {error}")
            if not kept:
                await self.commit(Effects(strategy_name, requests=tuple(requests)))
            return
        crash_point("st.after_send")
        if kept:
            self.sent += [request.request_id for request in requests]

    async def flush_outbox(self) -> None:
        """Forget what has gone out; send what has not."""
        if sent := list(self.sent):
            await self.durably(lambda: self.store.mark_sent(sent))
            del self.sent[: len(sent)]
        for request in self.store.unsent():
            await self.bus.append([(ORDER.name, encode(request))])
            self.sent.append(request.request_id)

    async def alarm(
        self, message: str, strategy_name: str | None = None, symbol: str | None = None, code: str | None = None
    ) -> None:
        """Seen by people: in the log and in `stream:event`."""
        log.error(message, strategy_name=strategy_name)
        now = self.clock.now()
        event = EventData(
            event=EventType.ALARM,
            source="strategy",
            datetime=now,
            message=message,
            strategy_name=strategy_name,
            symbol=symbol,
            code=code,
            account_id=self.settings.account_id,
            event_id=f"A:strategy:{now.isoformat()}:{next(self._events)}",
        )
        try:
            await self.bus.append([(EVENT.name, encode(event))])
        except BusError as error:
            log.error(f"the alarm did not go out: {error}")
