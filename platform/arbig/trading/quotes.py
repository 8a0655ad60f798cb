"""Trading: the last tick of each contract and the session clock, from `tick:*` and `hb:gateway`.

Ticks are kept as they came and read only when an order asks for one: a flood of ticks costs a dictionary entry each.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from datetime import datetime as Time

from arbig.bus.topics import GATEWAY, HEARTBEAT, TICK
from arbig.domain.messages import SHANGHAI, Heartbeat, MessageError, TickData, decode

log = logging.getLogger(__name__)

PATTERNS = (TICK.name, HEARTBEAT.of(GATEWAY))
_TICK = TICK.of("")
_HEARTBEAT = HEARTBEAT.of(GATEWAY)


@dataclass
class Quotes:
    """What the market last said. Conflated: only the newest tick of a contract is kept. `heard_at`: when the last tick
    of any contract came."""

    session_time: Time | None = None
    trading_day: date | None = None
    heard_at: float | None = None
    _raw: dict[str, bytes] = field(default_factory=dict)
    _ticks: dict[str, TickData | None] = field(default_factory=dict)

    def set_clock(self, session_time: str | None, trading_day: str | None) -> None:
        """The Gateway's own answer, for the time before its first heartbeat."""
        if session_time is not None:
            self.session_time = Time.fromisoformat(session_time).replace(tzinfo=SHANGHAI)
        if trading_day is not None:
            self.trading_day = date.fromisoformat(trading_day)

    def hear(self, batch: Iterable[tuple[str, bytes]], at: float) -> None:
        """At this reading of the wall's monotonic seconds."""
        for channel, payload in batch:
            if channel == _HEARTBEAT:
                self._beat(payload)
            else:
                symbol = channel[len(_TICK) :]
                self._raw[symbol] = payload
                self.heard_at = at
                self._ticks.pop(symbol, None)

    def tick(self, symbol: str) -> TickData | None:
        """The newest tick, None before the first (or when it was no tick at all)."""
        if symbol in self._raw and symbol not in self._ticks:
            self._ticks[symbol] = self._read(symbol)
        return self._ticks.get(symbol)

    def now(self, symbol: str) -> Time | None:
        """Session time as a contract knows it: its last tick or the last heartbeat, whichever is later."""
        tick = self.tick(symbol)
        if tick is None or self.session_time is None:
            return self.session_time if tick is None else tick.datetime
        return max(self.session_time, tick.datetime)

    def _read(self, symbol: str) -> TickData | None:
        try:
            return decode(TickData, self._raw[symbol])
        except MessageError as error:
            log.warning("tick:%s is left aside: %s", symbol, error)
            return None

    def _beat(self, payload: bytes) -> None:
        try:
            heartbeat = decode(Heartbeat, payload)
        except MessageError as error:
            log.warning("%s is left aside: %s", _HEARTBEAT, error)
            return
        self.session_time = heartbeat.session_time or self.session_time
        self.trading_day = heartbeat.trading_day or self.trading_day
