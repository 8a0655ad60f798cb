"""BarBuilder: every symbol's BarGenerator, fed in the order of arrival; what is received is journalled first.

A restart replays the journal, so that the same ticks give the same bars whether or not a crash lay between them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime

from arbig.domain.bars import BarGenerator, Link
from arbig.domain.instruments import UnknownSymbol
from arbig.domain.messages import BarData, Heartbeat, TickData
from arbig.domain.sessions import CalendarError
from arbig.market.complaints import Complaints
from arbig.market.hours import Hours
from arbig.market.journal import TickJournal, line_of
from arbig.market.subscriber import Received
from arbig.runtime.clock import Clock

log = logging.getLogger(__name__)

LastStored = Callable[[str, date], BarData | None]


class BarBuilder:
    """In: received ticks and heartbeats. Out: finished bars, in order. `ticks` counts those taken."""

    def __init__(self, hours: Hours, journal: TickJournal, last_stored: LastStored, clock: Clock) -> None:
        self._hours = hours
        self._calendar = hours.calendar
        self._journal = journal
        self._last_stored = last_stored
        self._lines: list[bytes] = []
        self.generators: dict[str, BarGenerator] = {}
        self.session_time: datetime | None = None
        self.trading_day: date | None = None
        self.link = Link.UP
        self.ticks = 0
        self._gateway_pid: int | None = None
        self.refused = Complaints(clock, "ticks of contracts or days nobody knows")
        self.unwritten = Complaints(clock, "the tick journal cannot be written; a restart would mark its bar partial")

    def begin(self, symbols: Iterable[str]) -> None:
        """Listen to these from now on. Raises UnknownSymbol."""
        for symbol in symbols:
            if symbol not in self.generators:
                self._add(symbol)

    def restore(self, trading_day: date) -> list[BarData]:
        """Rebuild what a former run left; `trading_day` is the exchange's now. Returns bars that were not stored."""
        missing: list[BarData] = []
        for day in self._journal.days():
            if day > trading_day:
                log.warning(
                    "data/market/%s.jsonl: the exchange is at %s now; the later day is dropped", day, trading_day
                )
                self._journal.drop(day)
            else:
                missing += self._replay(day)
        self.trading_day = trading_day
        self._open_journal()
        return missing

    def on_batch(self, received: Sequence[Received]) -> list[BarData]:
        """The bars these finish. The journal holds the batch when this returns."""
        bars: list[BarData] = []
        for payload, event in received:
            if type(event) is TickData:
                bars += self._on_tick(payload, event)
            elif isinstance(event, Heartbeat):
                bars += self._on_heartbeat(event)
        self._write()
        return bars

    def on_link(self, link: Link) -> None:
        """The connection to the exchange went down or came back."""
        self._change(link)
        self._write()

    def on_silence(self) -> None:
        """Ticks may have been missed since the last one: the line to Redis or the Gateway itself was away."""
        if self.link is Link.UP:
            self._change(Link.DOWN)
            self._change(Link.UP)
            self._write()

    def on_settled(self, trading_day: date) -> None:
        """The day's ticks are not needed any more, unless a bar still runs."""
        running = any(generator.is_running for generator in self.generators.values())
        if not running and trading_day in self._journal.days():
            self._journal.drop(trading_day)

    def is_over(self, bar: BarData) -> bool:
        """Whether no more ticks of the bar's trading day can come."""
        day = bar.trading_day
        if day is None or self.trading_day is None:
            return False
        if day < self.trading_day:
            return True
        now = self.session_time
        return now is not None and now >= self._hours.of(bar.symbol, day).segments(day)[-1].end

    def on_mended(self, bars: Iterable[BarData]) -> None:
        """The bars that follow are numbered after these."""
        for bar in bars:
            self.generators[bar.symbol].continue_after(bar)

    def forget_past_days(self) -> None:
        """To be called when the past days' bars are stored."""
        if self.trading_day is not None:
            self._journal.drop_before(self.trading_day)

    def _on_tick(self, payload: bytes, tick: TickData) -> list[BarData]:
        try:
            generator = self.generators.get(tick.symbol) or self._add(tick.symbol)
            day = tick.trading_day or self._calendar.trading_day_of(tick.datetime)
            bars = [] if day == self.trading_day else self._on_day(day, tick.datetime)
            bars += generator.on_tick(tick)
        except (UnknownSymbol, CalendarError) as error:
            self.refused.add(str(error))
            return []
        self._lines.append(payload)
        self.ticks += 1
        return bars

    def _on_heartbeat(self, beat: Heartbeat) -> list[BarData]:
        if self._gateway_pid not in (None, beat.pid):
            self.on_silence()
        self._gateway_pid = beat.pid
        if beat.connected is not None:
            self._change(Link.UP if beat.connected else Link.DOWN)
        return [] if beat.session_time is None else self._on_time(beat.session_time)

    def _on_time(self, session_time: datetime) -> list[BarData]:
        if self.session_time is None or session_time > self.session_time:
            self.session_time = session_time
        self._lines.append(line_of(session_time))
        return [bar for generator in self.generators.values() for bar in self._timed(generator, session_time)]

    def _timed(self, generator: BarGenerator, session_time: datetime) -> list[BarData]:
        try:
            return generator.on_time(session_time)
        except CalendarError as error:
            self.refused.add(str(error))
            return []

    def _on_day(self, day: date, moment: datetime) -> list[BarData]:
        """The first tick of a new trading day: every bar of the old one is finished, the journal begins anew."""
        if self.trading_day is not None and day < self.trading_day:
            return []
        if not self._calendar.is_trading_day(day):
            raise CalendarError(
                f"tick of trading day {day}: not a trading day in the calendar; see config/holidays.yaml"
            )
        bars = [] if self.trading_day is None else self._on_time(max(moment, self.session_time or moment))
        self._write()
        self.trading_day = day
        self._open_journal()
        return bars

    def _add(self, symbol: str) -> BarGenerator:
        generator = self._generator(symbol, None)
        if self.trading_day is not None:
            generator.restore((), self._last_stored(symbol, self.trading_day))
        if self.link is Link.DOWN:
            generator.pause()
        self._lines.append(line_of((symbol, None)))
        return generator

    def _generator(self, symbol: str, since: datetime | None) -> BarGenerator:
        sessions = self._hours.of(symbol, self.trading_day)
        generator = self.generators[symbol] = BarGenerator(symbol, sessions, since)
        return generator

    def _change(self, link: Link) -> None:
        if link is self.link:
            return
        self.link = link
        self._lines.append(line_of(link))
        for generator in self.generators.values():
            generator.replay(link)

    def _open_journal(self) -> None:
        """Go on with the day's file; a new one begins with what a replay must know."""
        assert self.trading_day is not None
        is_new = self.trading_day not in self._journal.days()
        try:
            self._journal.open(self.trading_day)
        except OSError as error:
            self.unwritten.add(str(error))
            return
        if is_new:
            self._lines += [line_of((symbol, found.whole_since)) for symbol, found in self.generators.items()]
        else:
            self._lines += [line_of(Link.DOWN), line_of(Link.UP)]  # nobody listened between the runs
        if self.link is Link.DOWN:
            self._lines.append(line_of(self.link))

    def _write(self) -> None:
        lines, self._lines = self._lines, []
        try:
            self._journal.write(lines)
        except OSError as error:
            self.unwritten.add(str(error))

    def _replay(self, day: date) -> list[BarData]:
        """One day of the journal: the generators are made where they were made then, and see what they saw then."""
        self.trading_day = day
        bars: dict[str, list[BarData]] = {}
        for event in self._journal.read(day):
            if isinstance(event, tuple):
                self._replay_begin(*event, bars)
            elif isinstance(event, TickData):
                if event.symbol in bars:
                    bars[event.symbol] += self.generators[event.symbol].replay(event)
            else:
                for symbol, found in bars.items():
                    found += self.generators[symbol].replay(event)
        return [
            bar
            for symbol, found in bars.items()
            for bar in self.generators[symbol].take_over(found, self._last_stored(symbol, day))
        ]

    def _replay_begin(self, symbol: str, since: datetime | None, bars: dict[str, list[BarData]]) -> None:
        if symbol in bars:
            return
        try:
            self._generator(symbol, since)
        except UnknownSymbol as error:
            self.refused.add(str(error))
        else:
            bars[symbol] = []
