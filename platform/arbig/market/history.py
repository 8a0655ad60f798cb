"""History: bars fetched from the Gateway: earlier trading days that have no file, and minutes of the running day that
were missed while Market or its line was down.

The simulated exchange has a history; CTP has none: then earlier days come from a vnpy datafeed, if `config/market.yaml`
names one, and what is missing still stays a named gap.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import date, datetime
from itertools import groupby
from typing import Any

import msgspec

from arbig.compat.datafeed import DatafeedError
from arbig.domain.messages import BarData
from arbig.domain.sessions import CalendarError, Sessions
from arbig.market.cache import MarketCache
from arbig.market.hours import Hours
from arbig.runtime.http import CallError
from arbig.store.bars import BarFileError, BarStore

log = logging.getLogger(__name__)

Ask = Callable[..., Awaitable[Any]]
Elsewhere = Callable[[str, datetime, datetime], Awaitable[list[BarData]]]
TIMEOUT_SECONDS = 30.0
MENDING_SECONDS = 5.0
"""Meanwhile new ticks wait."""


class History:
    """Fills whole earlier days where they have no file, and mends bars before they are stored."""

    def __init__(
        self, ask: Ask, hours: Hours, store: BarStore, cache: MarketCache, days: int, elsewhere: Elsewhere | None = None
    ) -> None:
        """`elsewhere` is asked for earlier days that the counter has not."""
        self._ask = ask
        self._elsewhere = elsewhere
        self._hours = hours
        self._store = store
        self._cache = cache
        self._days = days

    async def fill(self, symbol: str, trading_day: date) -> int:
        """Fetch what the `days` trading days before `trading_day` lack; the number of bars written. What cannot be
        fetched is said and left."""
        written = 0
        for source in filter(None, (self._of_counter, self._elsewhere)):
            try:
                written += await self._fill_from(source, symbol, trading_day)
            except (CallError, BarFileError, CalendarError, DatafeedError, msgspec.ValidationError) as error:
                log.warning("%s: history of earlier days is not there: %s", symbol, error)
        return written

    async def _fill_from(self, source: Elsewhere, symbol: str, trading_day: date) -> int:
        missing = self._missing(symbol, trading_day)
        if not missing:
            return 0
        sessions = self._hours.of(symbol)
        start, end = sessions.segments(missing[0])[0].start, sessions.segments(missing[-1])[-1].end
        bars = [bar for bar in await source(symbol, start, end) if sessions.is_open(bar.datetime)]
        return sum(self._write(symbol, day, found) for day, found in _by_day(bars, sessions) if day in missing)

    async def _of_counter(self, symbol: str, start: datetime, end: datetime) -> list[BarData]:
        return await self._asked(symbol, start, end, TIMEOUT_SECONDS)

    def _missing(self, symbol: str, trading_day: date) -> list[date]:
        present = set(self._store.days(symbol))
        return [day for day in earlier_days(self._hours.of(symbol), trading_day, self._days) if day not in present]

    async def _asked(self, symbol: str, start: datetime, end: datetime, seconds: float) -> list[BarData]:
        params = {"symbol": symbol, "start": on_wire(start), "end": on_wire(end)}
        answer = await self._ask("GET", "/history", params=params, timeout=seconds)
        return msgspec.convert(answer["bars"], list[BarData])

    async def mend(self, bars: Sequence[BarData], is_over: Callable[[BarData], bool]) -> list[BarData]:
        """The same bars, before they are stored: partial ones made whole, the minutes missed before them filled, as far
        as the counter remembers. `is_over`: the bar's day has ended, what was missed behind it is filled too."""
        days: dict[tuple[str, date], list[BarData]] = {}
        for bar in bars:
            assert bar.trading_day is not None
            days.setdefault((bar.symbol, bar.trading_day), []).append(bar)
        mended = await asyncio.gather(*(self._mend(found, is_over(found[-1])) for found in days.values()))
        return [bar for found in mended for bar in found]

    async def _mend(self, bars: list[BarData], is_over: bool) -> list[BarData]:
        symbol, day = bars[0].symbol, bars[0].trading_day
        assert day is not None
        partial = [bar for bar in bars if bar.partial]
        if not partial:
            return bars
        try:
            stored = self._cache.day(symbol, day)
            sessions = self._hours.of(symbol, day)
            known = stored[-1:] or _begun(bars, sessions.continuous(day)[0].start)
            fresh = [bar for bar in bars if not known or bar.datetime > known[0].datetime]
            first = known if not stored else []
            if not fresh:
                return first
            start = known[0].datetime if known else sessions.segments(day)[0].start
            end = sessions.segments(day)[-1].end if is_over else partial[-1].datetime
            remembered = await self._asked(symbol, start, end, MENDING_SECONDS)
        except (CallError, BarFileError, CalendarError, msgspec.ValidationError) as error:
            log.warning("%s: bars that were missed stay a gap: %s", symbol, error)
            return bars
        return first + mended(fresh, remembered, known[0] if known else None, is_over)

    def _write(self, symbol: str, day: date, bars: list[BarData]) -> int:
        if not self._store.write_day(symbol, day, bars):
            return 0
        self._cache.forget(symbol, day)
        return len(bars)


def _begun(bars: Sequence[BarData], opening: datetime) -> list[BarData]:
    """The bar with which listening began in the middle of a day. The day so far is not told as if it were news:
    strategies would trade on it."""
    return [bar for bar in bars[:1] if bar.partial and bar.datetime > opening]


def mended(
    bars: Sequence[BarData], remembered: Sequence[BarData], before: BarData | None, is_over: bool
) -> list[BarData]:
    """One day's bars that follow `before`, the partial ones replaced by all that is remembered since the bar before
    each. A partial bar that is not remembered itself stays, alone: its volume holds what was missed before it."""
    last = before.datetime if before is not None else None
    found: list[BarData] = []
    for bar in bars:
        missed = [one for one in remembered if (last is None or last < one.datetime) and one.datetime <= bar.datetime]
        is_remembered = bar.partial and missed and missed[-1].datetime == bar.datetime
        found += missed if is_remembered else [bar]
        last = bar.datetime
    if is_over and bars[-1].partial:
        found += [one for one in remembered if one.datetime > bars[-1].datetime]
    first = 1 if before is None else (before.seq or 0) + 1
    day, account = bars[0].trading_day, bars[0].account_id
    return [
        msgspec.structs.replace(one, seq=n, trading_day=day, account_id=account) for n, one in enumerate(found, first)
    ]


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
