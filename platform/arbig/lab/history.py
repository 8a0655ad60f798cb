"""History: bars and ticks on disk, one trading day a file; what research reads.

history = desk.history
history.generate("au2512", "2025-06-03", "2025-11-28", seed=1)
bars = history.bars("au2512", "2025-09-01", "2025-09-30")
"""

from __future__ import annotations

from dataclasses import fields
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from arbig.backtest.minutes import minute_series
from arbig.backtest.series import BarSeries
from arbig.domain.instruments import Instrument, InstrumentBook
from arbig.domain.sessions import CalendarError, TradingCalendar
from arbig.lab.barfiles import HistoryError as HistoryError
from arbig.lab.barfiles import by_day, days_in, read_days, write_day
from arbig.runtime.settings import Settings

if TYPE_CHECKING:
    import pandas

Day: TypeAlias = str | date | None


class History:
    """One folder of bars: `{folder}/{symbol}/{trading day}.csv`. Ticks: `{folder}/../ticks/{symbol}/{day}.parquet`.

    `start` and `end` are trading days everywhere, both included: a date, or text such as "2025-10-15"; left out, the
    first and the last day there is. Symbols: `au2512` or `au2512.SHFE`. Raises HistoryError or UnknownSymbol, one line.
    `settings`: the house whose `config/simulation.yaml` the generator reads (default: the one found from here).
    """

    def __init__(
        self,
        folder: Path | str,
        book: InstrumentBook,
        calendar: TradingCalendar,
        settings: Settings | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.book = book
        self.calendar = calendar
        self.settings = settings

    def __repr__(self) -> str:
        return f"History({str(self.folder)!r})"

    def symbols(self) -> list[str]:
        """The contracts with at least one day of bars."""
        return sorted(entry.name for entry in self.folder.glob("*") if entry.is_dir() and days_in(entry))

    def days(self, symbol: str) -> list[date]:
        """The trading days with bars of a contract, in order."""
        return days_in(self._place(self.book.get(symbol)))

    def bars(self, symbol: str, start: Day = None, end: Day = None) -> BarSeries:
        """One-minute bars as columns, checked: in order, prices finite and above zero."""
        instrument = self.book.get(symbol)
        first, last = _range(start, end)
        known = self.days(symbol)
        days = [day for day in known if (first is None or first <= day) and (last is None or day <= last)]
        if not days:
            asked = f"{first or 'the first day'} to {last or 'the last'}"
            there = f"{known[0]} to {known[-1]}" if known else "nothing"
            raise HistoryError(
                f"{self._place(instrument)}: found no bars from {asked}, there is {there}; bring some with "
                f"history.import_csv(...) or history.fill(...), or history.generate({instrument.symbol!r}, ...)"
            )
        return read_days(self._place(instrument), instrument, days)

    def frame(self, symbol: str, start: Day = None, end: Day = None) -> pandas.DataFrame:
        """The bars as a DataFrame, indexed by their start (Shanghai wall clock, without a zone)."""
        import pandas

        series = self.bars(symbol, start, end)
        columns = {field.name: getattr(series, field.name) for field in fields(series)}
        arrays = {name: column for name, column in columns.items() if isinstance(column, np.ndarray)}
        return pandas.DataFrame(arrays).set_index("datetime")

    def write(self, series: BarSeries, replace: bool = False) -> list[date]:
        """Keep a series, day by day; returns the days written. A day that is there already stays as it is when its
        bars are the same; other bars are refused unless `replace`."""
        folder = self._place(self.book.get(series.symbol))
        written = []
        for day, bars in by_day(series):
            write_day(folder / f"{day}.csv", bars)
            written.append(day)
        return written

    def generate(self, symbol: str, start: Day, end: Day, seed: int = 1, ticks: bool = False) -> BarSeries:
        """Make bars of a price process (the simulated exchange's: fat tails, lively opens, night gaps), keep them in
        the folder, and return them."""
        from arbig.lab.generating import characters_of, paths

        first, last = _range(start, end)
        days = self._trading_days(first, last)
        made = paths(seed, symbol, days, self.book, self.calendar, characters_of(self.settings))
        for path, sessions in made:
            self.write(minute_series(path, sessions.continuous(path.trading_day)))
        return self.bars(symbol, first, last)

    def _place(self, instrument: Instrument) -> Path:
        return self.folder / instrument.symbol

    def _trading_days(self, first: date | None, last: date | None) -> tuple[date, ...]:
        if first is None or last is None:
            raise HistoryError(
                'start and end: found nothing, expected two trading days, e.g. "2025-09-01", "2025-11-28"'
            )
        try:
            days = self.calendar.days_between(first, last)
        except CalendarError as error:
            raise HistoryError(str(error)) from None
        if not days:
            raise HistoryError(
                f"{first} to {last}: found no trading day, the next one is {self.calendar.next_day(last)}; choose a "
                "longer range"
            )
        return days


def _range(start: Day, end: Day) -> tuple[date | None, date | None]:
    first, last = _day("start", start), _day("end", end)
    if first is not None and last is not None and last < first:
        raise HistoryError(f"start {first}, end {last}: the dates are reversed; write the earlier one first")
    return first, last


def _day(name: str, given: Day) -> date | None:
    if given is None:
        return None
    if isinstance(given, date):
        return given.date() if isinstance(given, datetime) else given
    try:
        return date.fromisoformat(given)
    except (TypeError, ValueError):
        raise HistoryError(f'{name}: found {given!r}, expected a trading day, e.g. "2025-10-15"') from None
