"""History: bars of earlier trading days, fetched from the Gateway where the files lack them.

The simulated exchange has a history; CTP has none, then what is missing stays a named gap.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator
from datetime import date, datetime
from itertools import groupby
from typing import Any

import msgspec

from arbig.domain.messages import BarData
from arbig.domain.sessions import CalendarError, Sessions
from arbig.market.cache import MarketCache
from arbig.market.hours import Hours
from arbig.runtime.http import CallError
from arbig.store.bars import BarFileError, BarStore

log = logging.getLogger(__name__)

Ask = Callable[..., Awaitable[Any]]
TIMEOUT_SECONDS = 30.0


class History:
    """Fills whole earlier days; a day that has a file is left as it is."""

    def __init__(self, ask: Ask, hours: Hours, store: BarStore, cache: MarketCache, days: int) -> None:
        self._ask = ask
        self._hours = hours
        self._store = store
        self._cache = cache
        self._days = days

    async def fill(self, symbol: str, trading_day: date) -> int:
        """Fetch what the `days` trading days before `trading_day` lack; the number of bars written. What cannot be
        fetched is said and left."""
        try:
            missing = self._missing(symbol, trading_day)
            if not missing:
                return 0
            return sum(self._write(symbol, day, bars) for day, bars in await self._fetch(symbol, missing))
        except (CallError, BarFileError, CalendarError, msgspec.ValidationError) as error:
            log.warning("%s: history of earlier days is not there: %s", symbol, error)
            return 0

    def _missing(self, symbol: str, trading_day: date) -> list[date]:
        present = set(self._store.days(symbol))
        return [day for day in earlier_days(self._hours.of(symbol), trading_day, self._days) if day not in present]

    async def _fetch(self, symbol: str, missing: list[date]) -> list[tuple[date, list[BarData]]]:
        sessions = self._hours.of(symbol)
        start, end = sessions.segments(missing[0])[0].start, sessions.segments(missing[-1])[-1].end
        params = {"symbol": symbol, "start": on_wire(start), "end": on_wire(end)}
        answer = await self._ask("GET", "/history", params=params, timeout=TIMEOUT_SECONDS)
        bars = msgspec.convert(answer["bars"], list[BarData])
        return [(day, found) for day, found in _by_day(bars, sessions) if day in missing]

    def _write(self, symbol: str, day: date, bars: list[BarData]) -> int:
        if not self._store.write_day(symbol, day, bars):
            return 0
        self._cache.forget(symbol, day)
        return len(bars)


def earlier_days(sessions: Sessions, trading_day: date, count: int) -> list[date]:
    """The `count` trading days before a day, oldest first, as far as the calendar knows."""
    days: list[date] = []
    day = trading_day
    while len(days) < count and day > sessions.calendar.first:
        day = sessions.calendar.previous_day(day)
        days.append(day)
    return days[::-1]


def _by_day(bars: list[BarData], sessions: Sessions) -> Iterator[tuple[date, list[BarData]]]:
    """Each trading day's bars, numbered from 1 and with their day, whatever the counter left out."""

    def day_of(bar: BarData) -> date:
        return bar.trading_day or sessions.trading_day_of(bar.datetime)

    for day, found in groupby(sorted(bars, key=lambda bar: bar.datetime), day_of):
        yield day, [msgspec.structs.replace(bar, seq=n, trading_day=day) for n, bar in enumerate(found, 1)]


def on_wire(moment: datetime) -> str:
    """A time as the messages write it: naive Shanghai."""
    return moment.replace(tzinfo=None).isoformat(timespec="seconds")
