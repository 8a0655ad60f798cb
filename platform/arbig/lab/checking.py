"""Checking: what is wrong with a history, named by trading day and minute: the calendar says what should be there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import date
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from arbig.backtest.prices import on_tick
from arbig.backtest.series import BarSeries, Floats
from arbig.domain.instruments import Instrument, InstrumentBook
from arbig.domain.sessions import TradingCalendar
from arbig.lab.timetable import MINUTE, timetable

if TYPE_CHECKING:
    import pandas

Flags: TypeAlias = NDArray[np.bool_]

QUIET_MINUTES = 30
"""So many bars in a row without a trade are worth a note."""
ODD_GAP = 12.0
"""An opening gap that many times the usual one, without a roll table, looks like an unadjusted roll."""
MEND = {
    "unreadable": "import the day again",
    "missing day": "fill it: history.fill(...), or import it",
    "gap": "fill it: history.fill(...), or import the day again with replace=True",
    "duplicate": "import the day again",
    "unsorted": "import the day again",
    "off session": "import the day again; see stamps= and timezone=",
    "price": "import the day again from a better source",
    "off tick": "an adjusted series? keep the contract's own prices here",
    "beyond limit": "check the row, or the limit: check(..., price_limit=...)",
    "roll jump": 'adjust it: history.continuous(..., adjust="ratio")',
    "quiet": "nothing to mend: nobody traded",
}
NOTES = frozenset({"quiet"})


@dataclass(frozen=True)
class Finding:
    """Something wrong, from `start` to `end` (bars' starts); `rows`: how many bars or minutes."""

    kind: str
    trading_day: date
    start: str
    end: str
    rows: int
    detail: str


@dataclass(frozen=True)
class CheckReport:
    """What was checked and what was found. `ok`: nothing that has to be mended (quiet minutes are only noted)."""

    symbol: str
    bars: int
    days: int
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        return all(finding.kind in NOTES for finding in self.findings)

    @property
    def frame(self) -> pandas.DataFrame:
        """One finding a row: kind, trading_day, start, end, rows, detail, mend."""
        import pandas

        names = [field.name for field in fields(Finding)]
        rows = [[*(getattr(finding, name) for name in names), MEND[finding.kind]] for finding in self.findings]
        return pandas.DataFrame(rows, columns=[*names, "mend"])

    @property
    def counts(self) -> dict[str, int]:
        """Findings by kind."""
        kinds = [finding.kind for finding in self.findings]
        return {kind: kinds.count(kind) for kind in MEND if kind in kinds}

    def __repr__(self) -> str:
        found = ", ".join(f"{count} {kind}" for kind, count in self.counts.items()) or "nothing wrong"
        return f"{self.symbol}: {self.bars} bars of {self.days} trading days: {found}"

    def lines(self) -> list[str]:
        """Each finding in words, with its mend."""
        return [
            f"{one.trading_day} {one.start[5:16]} {one.end[11:16]} {one.kind}: {one.detail}; {MEND[one.kind]}"
            for one in self.findings
        ]

    def _repr_html_(self) -> str:
        return f"<b>{self!r}</b>" + (self.frame.to_html(index=False, max_rows=40) if self.findings else "")


def check_days(
    days: Sequence[tuple[date, BarSeries]],
    instrument: Instrument,
    book: InstrumentBook,
    calendar: TradingCalendar,
    price_limit: float | None,
) -> Iterator[Finding]:
    """Day after day against the calendar, the contract's price tick and the price limit."""
    settled: dict[date, float | None] = {}
    for day, series in days:
        yield from _times(series, day, instrument, book, calendar)
        yield from _prices(series, day, instrument)
        before = settled.get(calendar.previous_day(day))
        if before is not None and price_limit is not None:
            yield from _beyond_limit(series, day, instrument, before, price_limit)
        yield from _quiet(series, day)
        settled[day] = _settlement(series, instrument)


def missing_days(days: Sequence[date], calendar: TradingCalendar) -> Iterator[Finding]:
    """The trading days between the first and the last that have no file."""
    for day in calendar.days_between(days[0], days[-1]):
        if day not in days:
            yield Finding("missing day", day, "", "", 0, "no bars of this trading day")


def _times(
    series: BarSeries, day: date, instrument: Instrument, book: InstrumentBook, calendar: TradingCalendar
) -> Iterator[Finding]:
    steps = np.diff(series.datetime).astype(np.int64)
    yield from _runs("duplicate", day, series, np.concatenate([[False], steps == 0]), "the minute is there already")
    yield from _runs("unsorted", day, series, np.concatenate([[False], steps < 0]), "earlier than the row before")
    if not calendar.is_trading_day(day):
        yield from _runs("off session", day, series, np.ones(len(series), np.bool_), "no trading day")
        return
    expected = timetable(book, calendar, instrument.symbol, [day]).minutes()
    yield from _runs("off session", day, series, ~np.isin(series.datetime, expected), "outside the trading hours")
    missing = expected[~np.isin(expected, series.datetime)]
    for run in np.split(missing, np.flatnonzero(np.diff(missing) != MINUTE) + 1):
        if len(run):
            yield Finding(
                "gap", day, _clock(run[0]), _clock(run[-1]), len(run), f"{len(run)} session minutes without a bar"
            )


def _prices(series: BarSeries, day: date, instrument: Instrument) -> Iterator[Finding]:
    columns = np.stack([series.open, series.high, series.low, series.close])
    usable = np.isfinite(columns) & (columns > 0)
    unusable = ~np.all(usable, axis=0)
    yield from _runs("price", day, series, unusable, "not a number, zero or negative")
    crossed = ~unusable & (np.max(columns, axis=0) > series.high)
    crossed |= ~unusable & (np.min(columns, axis=0) < series.low)
    yield from _runs("price", day, series, crossed, "high is not the highest, or low not the lowest")
    steps = np.where(usable, columns, 0.0) / instrument.price_tick
    off = np.any(np.abs(steps - np.round(steps)) > 1e-6, axis=0)
    yield from _runs("off tick", day, series, off, f"not a multiple of {instrument.price_tick:g}")
    bad_volume = ~np.isfinite(series.volume) | (series.volume < 0)
    yield from _runs("price", day, series, bad_volume, "volume not a number, or negative")


def _beyond_limit(
    series: BarSeries, day: date, instrument: Instrument, settled: float, limit: float
) -> Iterator[Finding]:
    above, below = settled * (1 + limit) + instrument.price_tick, settled * (1 - limit) - instrument.price_tick
    beyond = (series.high > above) | ((series.low < below) & (series.low > 0))
    words = f"outside {below:g} to {above:g}: {limit:.0%} of yesterday's settlement, {settled:g}"
    yield from _runs("beyond limit", day, series, beyond, words)


def _quiet(series: BarSeries, day: date) -> Iterator[Finding]:
    words = f"{QUIET_MINUTES} or more bars without a trade"
    yield from _runs("quiet", day, series, series.volume == 0, words, QUIET_MINUTES)


def _settlement(series: BarSeries, instrument: Instrument) -> float | None:
    """The day's average price: its turnover over its lots, or, without turnover, the bars' middle prices by volume."""
    volume = float(np.nansum(series.volume))
    if volume <= 0:
        return None
    turnover = float(np.nansum(series.turnover))
    middles: Floats = (series.high + series.low + series.close) / 3
    average = (
        turnover / volume / instrument.size if turnover > 0 else float(np.nansum(middles * series.volume)) / volume
    )
    return on_tick(average, instrument.price_tick)


def roll_jumps(series: BarSeries, rolls: Sequence[tuple[date, float]] | None, price_tick: float) -> Iterator[Finding]:
    """Unadjusted rolls of a continuous series. With its roll table: `rolls` are the days and what of the contracts'
    difference (yuan) is left in the series. Without one: opening gaps far beyond the usual."""
    if rolls is not None:
        for day, left in rolls:
            if abs(left) > price_tick / 2:
                row = series.first_of(day)
                words = f"{left:+g} between the contracts is still in the series"
                yield Finding("roll jump", day, _clock(series.datetime[row]), _clock(series.datetime[row]), 1, words)
        return
    opens = np.flatnonzero(np.diff(series.trading_day).astype(np.int64)) + 1
    gaps = np.log(series.open[opens] / series.close[opens - 1])
    usual = float(np.median(np.abs(gaps))) if len(gaps) else 0.0
    for row, gap in zip(opens.tolist(), gaps.tolist(), strict=True):
        if len(gaps) >= 10 and abs(gap) > ODD_GAP * max(usual, price_tick / float(series.close[row - 1])):
            clock = _clock(series.datetime[row])
            words = f"opens {gap:+.2%} away from the last close, usually {usual:.2%}"
            yield Finding("roll jump", series.trading_day[row].astype(date), clock, clock, 1, words)


def _runs(kind: str, day: date, series: BarSeries, wrong: Flags, detail: str, at_least: int = 1) -> Iterator[Finding]:
    """Neighbouring rows as one finding."""
    rows = np.flatnonzero(wrong)
    if len(rows) < at_least:
        return
    for run in np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1):
        if len(run) >= at_least:
            start, end = _clock(series.datetime[run[0]]), _clock(series.datetime[run[-1]])
            yield Finding(kind, day, start, end, len(run), detail)


def _clock(moment: np.datetime64) -> str:
    return str(moment.astype("datetime64[s]")).replace("T", " ")
