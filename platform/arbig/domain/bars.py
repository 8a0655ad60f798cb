"""Bars: ticks go in, finished one-minute bars come out. Time is the tick's time, or the exchange's clock for the timer.

A bar is stamped with its minute's start. The first minute of a session takes the auction, the last minute of every
segment takes the closing tick (10:15, 11:30, 15:00, the night close). Volume and turnover are differences of the day's
totals, so nothing is lost where a tick was. A minute once closed is never opened again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import Enum
from functools import cached_property
from itertools import count

from msgspec.structs import replace

from arbig.domain.messages import BarData, Interval, TickData
from arbig.domain.sessions import AUCTION, Sessions

MINUTE = timedelta(minutes=1)
MINUTE_GRACE = timedelta(seconds=2)  # the timer closes a minute so long after its end
SEGMENT_GRACE = timedelta(seconds=5)  # and a segment's last minute: its closing tick may be on the way
CLOSING_WINDOW = timedelta(minutes=1)  # ticks stamped so long after a segment's end still close it


class Link(Enum):
    """The connection to the exchange as a recorded event."""

    DOWN = "down"
    UP = "up"


Event = TickData | datetime | Link


@dataclass(frozen=True, slots=True)
class Slot:
    """One minute of a trading day and the ticks it takes: stamped from `opens` to before `until`. Without ticks the
    timer closes it at `closes`. `first`: the trading day's first minute."""

    start: datetime
    end: datetime
    opens: datetime
    until: datetime
    closes: datetime
    first: bool

    def trades_at(self, moment: datetime) -> bool:
        """Continuous trading, neither the auction before nor the closing tick after."""
        return self.start <= moment < self.end


@dataclass(frozen=True)
class TradingMinutes:
    """The minutes of one trading day."""

    sessions: Sessions
    trading_day: date

    @cached_property
    def stretches(self) -> tuple[tuple[datetime, datetime, datetime], ...]:
        """(opens, start, end) of each continuous segment; a session's first one opens with its auction's ticks."""
        found: list[tuple[datetime, datetime, datetime]] = []
        session = None
        for segment in self.sessions.continuous(self.trading_day):
            opens = segment.start if segment.session == session else segment.start - AUCTION
            found.append((opens, segment.start, segment.end))
            session = segment.session
        return tuple(found)

    def slot_at(self, moment: datetime) -> Slot | None:
        """The minute that takes a tick of this moment; None in closed hours and breaks."""
        for opens, start, end in self.stretches:
            if opens <= moment < end + CLOSING_WINDOW:
                return self._slot(moment, opens, start, end)
        return None

    def _slot(self, moment: datetime, opens: datetime, start: datetime, end: datetime) -> Slot:
        begin = start + max((min(moment, end - MINUTE) - start) // MINUTE, 0) * MINUTE
        is_last = begin + MINUTE == end
        return Slot(
            start=begin,
            end=begin + MINUTE,
            opens=opens if begin == start else begin,
            until=end + CLOSING_WINDOW if is_last else begin + MINUTE,
            closes=end + SEGMENT_GRACE if is_last else begin + MINUTE + MINUTE_GRACE,
            first=begin == self.stretches[0][1],
        )

    def __iter__(self) -> Iterator[datetime]:
        """The start of every minute, in order."""
        for _, start, end in self.stretches:
            for minute in range((end - start) // MINUTE):
                yield start + minute * MINUTE


class _Running:
    """The unfinished bar; what its last tick says (close, totals) stays with the generator."""

    __slots__ = ("base_turnover", "base_volume", "high", "low", "open", "opens", "partial", "slot", "until")

    def __init__(self, slot: Slot, price: float, base_volume: int, base_turnover: float | None, partial: bool) -> None:
        self.slot = slot
        self.opens = slot.opens
        self.until = slot.until
        self.open = self.high = self.low = price
        self.base_volume = base_volume
        self.base_turnover = base_turnover
        self.partial = partial


class BarGenerator:
    """One-minute bars of one symbol. `dropped` counts late, repeated and out-of-session ticks.

    A bar is partial when ticks of it may have been missed: while the connection was down, while nobody listened, or
    where the ticks' numbers jump. A gap in closed hours harms nothing, and the day's first bar is always whole, for its
    first tick carries the whole day so far.
    """

    def __init__(self, symbol: str, sessions: Sessions, whole_since: datetime | None = None) -> None:
        """`whole_since`: a session time from which on nothing was missed, when there is one."""
        self.symbol = symbol
        self.sessions = sessions
        self.dropped = 0
        self._minutes: TradingMinutes | None = None
        self._running: _Running | None = None
        self._count = 0
        self._closed_until: datetime | None = None
        self._last: TickData | None = None
        self._time: datetime | None = None
        self._volume: int | None = None  # the trading day's totals so far; None before its first tick
        self._turnover: float | None = None
        self._next_seq: int | None = None
        self._clock = whole_since
        self._paused = False
        self._blind = whole_since is None  # nothing seen yet, or not since the connection came back
        self._missed = False

    @property
    def trading_day(self) -> date | None:
        return self._minutes.trading_day if self._minutes is not None else None

    @property
    def is_running(self) -> bool:
        """A bar is begun and not finished."""
        return self._running is not None

    @property
    def whole_since(self) -> datetime | None:
        """The latest session time seen, when nothing was missed up to it."""
        if self._blind or self._missed:
            return None
        return max((sight for sight in (self._clock, self._time) if sight is not None), default=None)

    def on_tick(self, tick: TickData) -> list[BarData]:
        """The bars this tick finishes: none, or the one before it. Raises CalendarError beyond the calendar."""
        running = self._running
        time = tick.datetime
        if (
            running is None
            or tick.seq != self._next_seq
            or self._blind
            or self._missed
            or time < self._time  # type: ignore[operator]  # a running bar has a last tick
            or time >= running.until
        ):
            return self._on_turn(tick)
        if tick.seq is None and self._is_late(tick):
            self.dropped += 1
            return []
        self._extend(running, tick)
        self._accept(tick)
        return []

    def on_time(self, session_time: datetime) -> list[BarData]:
        """The timer: closes a minute, and with it a session, when no tick comes to do it."""
        if self._paused:
            return []
        self._look(session_time)
        if self._clock is None or session_time > self._clock:
            self._clock = session_time
        if self._running is None or session_time < self._running.slot.closes:
            return []
        self._running.partial = self._running.partial or self._missed
        return [self._finish(self._running)]

    def pause(self) -> None:
        """The connection is down: no bars until `resume`."""
        self._paused = self._blind = True

    def resume(self) -> None:
        self._paused = False

    def restore(self, events: Iterable[Event], after: BarData | None = None) -> list[BarData]:
        """Begin where a former run ended: replay what it received, then `take_over`."""
        return self.take_over([bar for event in events for bar in self.replay(event)], after)

    def take_over(self, replayed: Sequence[BarData], after: BarData | None) -> list[BarData]:
        """The end of a replay that gave these bars. `after` is the last bar known to be stored; returns the bars that
        should follow it. From the last event to the next one nobody listened."""
        self.pause()
        self.resume()
        if after is None:
            return list(replayed)
        missing = [bar for bar in replayed if bar.datetime > after.datetime]
        number = count((after.seq or 0) + 1)
        missing = [replace(bar, seq=next(number)) if bar.trading_day == after.trading_day else bar for bar in missing]
        self.continue_after(missing[-1] if missing else after)
        return missing

    def replay(self, event: Event) -> list[BarData]:
        """One recorded event, as it was."""
        if isinstance(event, TickData):
            return self.on_tick(event)
        if isinstance(event, Link):
            self.pause() if event is Link.DOWN else self.resume()
            return []
        return self.on_time(event)

    def continue_after(self, bar: BarData) -> None:
        """The day's bars are known up to this one, from wherever: the next one is numbered after it."""
        day = bar.trading_day or self.sessions.trading_day_of(bar.datetime)
        if self.trading_day is not None and day < self.trading_day:
            return
        if day != self.trading_day:
            self._roll(day)
        self._count = bar.seq or 0
        self._closed_until = max(bar.datetime + MINUTE, self._closed_until or bar.datetime)
        if self._running is not None and self._running.slot.start < self._closed_until:
            self._running = None

    def _on_turn(self, tick: TickData) -> list[BarData]:
        """Every tick that does not simply continue the running bar."""
        if self._paused:
            self.dropped += 1
            return []
        minutes = self._minutes_of(tick)
        slot = minutes.slot_at(tick.datetime)
        in_order = tick.seq is not None and tick.seq == self._next_seq
        if slot is None or self._is_late(tick) or self._is_closed(slot, minutes):
            self.dropped += 1
            if tick.seq is not None and in_order:
                self._next_seq = tick.seq + 1  # dropped, but not missed
            return []
        self._look(tick.datetime)
        self._missed = not in_order and (self._missed or self._jumps(tick, minutes is self._minutes))
        return self._place(tick, slot, minutes)

    def _is_closed(self, slot: Slot, minutes: TradingMinutes) -> bool:
        """The minute was finished before, or belongs to a trading day that is over."""
        if self._minutes is None or minutes.trading_day > self._minutes.trading_day:
            return False
        if minutes.trading_day < self._minutes.trading_day:
            return True
        return self._closed_until is not None and slot.start < self._closed_until

    def _place(self, tick: TickData, slot: Slot, minutes: TradingMinutes) -> list[BarData]:
        finished: list[BarData] = []
        running = self._running
        if running is not None:
            running.partial = running.partial or self._missed
            if running.slot.start != slot.start:
                finished.append(self._finish(running))
        if minutes is not self._minutes:
            self._roll(minutes.trading_day, minutes)
        if self._running is not None:
            self._extend(self._running, tick)
            self._missed = False
        else:
            self._open(tick, slot)
        self._accept(tick)
        return finished

    def _open(self, tick: TickData, slot: Slot) -> None:
        knows_day = self._volume is not None
        whole = not self._missed or (slot.first and not knows_day)
        if knows_day:
            volume, turnover = self._volume or 0, self._turnover
        elif whole:
            volume, turnover = 0, 0.0
        else:
            volume, turnover = tick.volume, tick.turnover
        if tick.volume <= volume and not slot.trades_at(tick.datetime):
            return  # quotes of the auction, or of the close: no trade, no bar
        if not whole and self._clock is not None and self._clock >= slot.closes:
            return  # the snapshot that greets a subscriber: its minute is long over
        running = self._running = _Running(slot, tick.last_price, volume, turnover, partial=not whole)
        self._missed = False
        if volume == 0 < tick.volume and min(tick.open_price, tick.high_price, tick.low_price) > 0:
            running.open = tick.open_price
            running.high = max(tick.high_price, tick.last_price)
            running.low = min(tick.low_price, tick.last_price)
        else:
            self._extend(running, tick)

    def _extend(self, running: _Running, tick: TickData) -> None:
        price = tick.last_price
        if price > running.high:
            running.high = price
        elif price < running.low:
            running.low = price
        last = self._last
        if last is not None and self._volume is not None:
            # The day's extremes moved between two snapshots: it happened in this bar.
            if tick.high_price > last.high_price and tick.high_price > running.high:
                running.high = tick.high_price
            if 0 < tick.low_price < last.low_price and tick.low_price < running.low:
                running.low = tick.low_price

    def _accept(self, tick: TickData) -> None:
        self._last = tick
        self._time = tick.datetime
        self._next_seq = None if tick.seq is None else tick.seq + 1
        if self._volume is None or tick.volume >= self._volume:
            self._volume = tick.volume
            self._turnover = tick.turnover

    def _finish(self, running: _Running) -> BarData:
        last = self._last
        assert last is not None and self._volume is not None
        self._count += 1
        self._running = None
        self._closed_until = running.slot.end
        turnover = None
        if self._turnover is not None and running.base_turnover is not None:
            turnover = round(self._turnover - running.base_turnover, 2)
        return BarData(
            symbol=self.symbol,
            exchange=last.exchange,
            datetime=running.slot.start,
            interval=Interval.MINUTE,
            open_price=running.open,
            high_price=running.high,
            low_price=running.low,
            close_price=last.last_price,
            volume=self._volume - running.base_volume,
            open_interest=last.open_interest,
            turnover=turnover,
            trading_day=self.trading_day,
            account_id=last.account_id,
            seq=self._count,
            partial=True if running.partial else None,
        )

    def _roll(self, trading_day: date, minutes: TradingMinutes | None = None) -> None:
        self._minutes = minutes or TradingMinutes(self.sessions, trading_day)
        self._count = 0
        self._closed_until = None
        self._volume = self._turnover = None

    def _minutes_of(self, tick: TickData) -> TradingMinutes:
        """The counter's trading day wins over the calendar's."""
        day = tick.trading_day or self.sessions.trading_day_of(tick.datetime)
        if self._minutes is not None and day == self._minutes.trading_day:
            return self._minutes
        return TradingMinutes(self.sessions, day)

    def _is_late(self, tick: TickData) -> bool:
        """Older than the last tick, or that tick again."""
        last = self._last
        if last is None or tick.datetime > last.datetime:
            return False
        if tick.datetime < last.datetime or tick.volume < last.volume:
            return True
        if tick.volume > last.volume:
            return False
        if tick.seq is None or last.seq is None:
            return tick == last
        return tick.seq <= last.seq

    def _jumps(self, tick: TickData, same_day: bool) -> bool:
        """Whether the ticks' numbers say that some were missed. Numbers that begin anew say nothing: then the time
        since the last sight decides."""
        if tick.seq is None or self._next_seq is None or self._last is None:
            return False
        if tick.seq > self._next_seq:
            return True
        return (same_day or tick.seq > 1) and self._gap_trades(tick.datetime)

    def _look(self, moment: datetime) -> None:
        """The first sight after a blind spell: was there trading meanwhile?"""
        if self._blind:
            self._blind = False
            self._missed = self._missed or self._gap_trades(moment)

    def _gap_trades(self, moment: datetime) -> bool:
        seen = [sight for sight in (self._clock, self._time) if sight is not None]
        if seen:
            return self.sessions.trades_between(max(seen), moment)
        day = self.sessions.trading_day_of(moment)
        return self.sessions.trades_between(self.sessions.segments(day)[0].start, moment)
