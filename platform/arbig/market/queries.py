"""Queries: the bars of a symbol in any window, and the gaps between them by name."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime

from arbig.domain.bars import MINUTE, TradingMinutes
from arbig.domain.messages import SHANGHAI, BarData
from arbig.domain.sessions import Sessions
from arbig.domain.windows import WINDOW_GRACE, Length, WindowGenerator
from arbig.market.cache import MarketCache

INTERVALS: dict[str, Length] = {
    "1m": 1,
    "3m": 3,
    "5m": 5,
    "15m": 15,
    "30m": 30,
    "60m": 60,
    "1h": 60,
    "d": "day",
}


class QueryError(ValueError):
    """A question that cannot be answered: what was found, what was expected."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Trading minutes whose bars were missed, from `start` to before `end`."""

    trading_day: date
    start: datetime
    end: datetime
    minutes: int


@dataclass(frozen=True, slots=True)
class Question:
    """Bars from `since` on (all without it) to before `until` (to now without it), the newest `limit` of them."""

    length: Length
    since: datetime | None
    limit: int | None
    until: datetime | None = None


def question(interval: str, since: str | None, limit: str | None, until: str | None = None) -> Question:
    """The query's words as values. Raises QueryError."""
    if interval not in INTERVALS:
        raise QueryError(f"interval: found {interval!r}, expected one of {', '.join(INTERVALS)}")
    return Question(INTERVALS[interval], _time("since", since), _limit(limit), _time("until", until))


async def answer(
    asked: Question, cache: MarketCache, symbol: str, sessions: Sessions
) -> tuple[list[BarData], list[Gap]]:
    """The finished bars, oldest first, and the gaps among them and before them back to `since`. Lets others work
    between two days: a long answer must not hold up the ticks."""
    days = [day for day in cache.days(symbol) if asked.since is None or _ends(sessions, day) > asked.since]
    last_day = days[-1] if days else None
    if asked.until is not None:
        days = [day for day in days if _begins(sessions, day) < asked.until]
    bars: list[BarData] = []
    first_day: date | None = None
    for day in reversed(days):
        if asked.limit is not None and len(bars) >= asked.limit:
            break
        found = _windows(cache.day(symbol, day), sessions, asked.length, is_over=day != last_day)
        bars = [bar for bar in found if asked.until is None or bar.datetime < asked.until] + bars
        first_day = day
        await asyncio.sleep(0)
    if asked.since is not None:
        bars = [bar for bar in bars if bar.datetime >= asked.since]
    if asked.limit is not None:
        bars = bars[-asked.limit :]
    if first_day is None or not bars:
        return bars, []
    minutes = [bar for day in days if day >= first_day for bar in cache.day(symbol, day)]
    begin = asked.since if asked.limit is None and asked.since is not None else minutes[0].datetime
    return bars, list(gaps(minutes, begin, sessions))


def gaps(bars: list[BarData], begin: datetime, sessions: Sessions) -> Iterator[Gap]:
    """What is missing from `begin` to the last bar: days without bars, ends of days, and minutes before a bar that is
    partial or whose number jumps. A quiet minute between two numbered bars is no gap: nothing traded."""
    by_day: dict[date, list[BarData]] = {}
    for bar in bars:
        by_day.setdefault(bar.trading_day or sessions.trading_day_of(bar.datetime), []).append(bar)
    last_day = max(by_day)
    for day in sessions.calendar.days_between(sessions.trading_day_of(begin), last_day):
        minutes = [minute for minute in TradingMinutes(sessions, day) if minute >= begin]
        yield from _gaps_of_day(day, minutes, by_day.get(day, []), is_last=day == last_day)


def _gaps_of_day(day: date, minutes: list[datetime], bars: list[BarData], is_last: bool) -> Iterator[Gap]:
    before: BarData | None = None
    place = {minute: number for number, minute in enumerate(minutes)}
    begin = 0
    for bar in bars:
        at = place.get(bar.datetime)
        if at is None:
            continue
        if at > begin and _was_missed(before, bar):
            yield _gap(day, minutes[begin:at])
        before, begin = bar, at + 1
    if not is_last and begin < len(minutes):
        yield _gap(day, minutes[begin:])


def _was_missed(before: BarData | None, bar: BarData) -> bool:
    if bar.partial or bar.seq is None:
        return True
    return bar.seq != (1 if before is None or before.seq is None else before.seq + 1)


def _gap(day: date, minutes: list[datetime]) -> Gap:
    return Gap(day, minutes[0], minutes[-1] + MINUTE, len(minutes))


def _windows(bars: list[BarData], sessions: Sessions, length: Length, is_over: bool) -> list[BarData]:
    """One trading day's bars in windows; an unfinished last window is given when the day is over."""
    if length == 1 or not bars:
        return bars
    generator = WindowGenerator(length, sessions)
    windows = [window for bar in bars for window in generator.on_bar(bar)]
    day = bars[-1].trading_day or sessions.trading_day_of(bars[-1].datetime)
    return windows + (generator.on_time(_ends(sessions, day) + WINDOW_GRACE) if is_over else [])


def _begins(sessions: Sessions, day: date) -> datetime:
    return sessions.segments(day)[0].start


def _ends(sessions: Sessions, day: date) -> datetime:
    return sessions.segments(day)[-1].end


def _time(name: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text.replace(" ", "T"))
    except ValueError:
        raise QueryError(f"{name}: found {text!r}, expected a time such as 2025-10-15T21:00:00") from None
    return found.replace(tzinfo=SHANGHAI) if found.tzinfo is None else found.astimezone(SHANGHAI)


def _limit(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        found = int(text)
    except ValueError:
        found = 0
    if found < 1:
        raise QueryError(f"limit: found {text!r}, expected an integer of 1 or more")
    return found
