"""Numbering: what a counter does not tell of a tick: its number in the trading day, the volume since the last one."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

from msgspec.structs import replace

from arbig.domain.messages import TickData
from arbig.domain.sessions import CalendarError, TradingCalendar
from arbig.runtime.clock import Clock

QUARTERS = 4
"""Ticks are numbered from the quarter seconds of their trading day on, so that numbers grow over our own restarts."""


class TickNumbers:
    def __init__(self, clock: Clock, calendar: TradingCalendar) -> None:
        self._clock = clock
        self._calendar = calendar
        self._volumes: dict[str, tuple[date | None, int]] = {}
        self._seqs: dict[str, int] = {}
        self._greeted: set[str] = set()

    def numbered(self, tick: TickData) -> TickData:
        return replace(tick, last_volume=self._last_volume(tick), seq=self._next_seq(tick))

    def is_first(self, symbol: str) -> bool:
        """The first one after a subscription may be hours old."""
        return symbol not in self._greeted

    def after_a_break(self) -> None:
        """The numbers leap: what was missed is seen to be missing."""
        self._greeted.clear()

    def begin_day(self) -> None:
        self._seqs.clear()

    def _last_volume(self, tick: TickData) -> int:
        day, before = self._volumes.get(tick.symbol, (None, tick.volume))
        self._volumes[tick.symbol] = (tick.trading_day, tick.volume)
        return max(tick.volume - (before if day == tick.trading_day else tick.volume), 0)

    def _next_seq(self, tick: TickData) -> int:
        known = self._seqs.get(tick.symbol)
        if known is None or tick.symbol not in self._greeted:
            self._greeted.add(tick.symbol)
            seq = max(self._first_seq(tick), 0 if known is None else known + 2)
        else:
            seq = known + 1
        self._seqs[tick.symbol] = seq
        return seq

    def _first_seq(self, tick: TickData) -> int:
        day = tick.trading_day or tick.datetime.date()
        begun = datetime.combine(self._evening_of(day), time.min, tick.datetime.tzinfo)
        return max(int((self._clock.now() - begun) / timedelta(seconds=1) * QUARTERS), 1)

    def _evening_of(self, trading_day: date) -> date:
        """The day on whose evening a trading day begins."""
        try:
            return self._calendar.previous_day(trading_day)
        except CalendarError:
            return trading_day - timedelta(days=3 if trading_day.weekday() == 0 else 1)
