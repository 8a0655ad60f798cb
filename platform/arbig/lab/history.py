"""History: bars and ticks on disk, one trading day a file; what research reads.

history = desk.history
history.generate("au2512", "2025-06-03", "2025-11-28", seed=1)
bars = history.bars("au2512", "2025-09-01", "2025-09-30")
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from arbig.backtest.minutes import minute_series
from arbig.backtest.series import BarSeries, TickSeries
from arbig.domain.instruments import Instrument, InstrumentBook
from arbig.domain.sessions import CalendarError, TradingCalendar
from arbig.lab.barfiles import HistoryError as HistoryError
from arbig.lab.barfiles import by_day, checked, days_in, joined, read_days, text_of, write_whole
from arbig.lab.progress import watched
from arbig.runtime.settings import Settings

if TYPE_CHECKING:
    import pandas

    from arbig.store.ticks import TickStore

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

    @cached_property
    def _ticks(self) -> TickStore:
        from arbig.store.ticks import TickStore

        return TickStore(self.folder.parent / "ticks")

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
        place = self._place(instrument)
        return read_days(place, instrument, self._among(days_in(place), place, start, end))

    def ticks(self, symbol: str, start: Day = None, end: Day = None) -> TickSeries:
        """Recorded, imported or generated ticks as columns."""
        instrument = self.book.get(symbol)
        days = self._among(self._ticks.days(instrument.symbol), self._ticks.folder / instrument.symbol, start, end)
        with _one_kind_of_error():
            return joined([self._ticks.read_day(instrument.symbol, day) for day in days])

    def tick_days(self, symbol: str) -> list[date]:
        """The trading days with ticks of a contract, in order."""
        return self._ticks.days(self.book.get(symbol).symbol)

    def frame(self, symbol: str, start: Day = None, end: Day = None) -> pandas.DataFrame:
        """The bars as a DataFrame, indexed by their start (Shanghai wall clock, without a zone)."""
        import pandas

        series = self.bars(symbol, start, end)
        columns = {field.name: getattr(series, field.name) for field in fields(series)}
        arrays = {name: column for name, column in columns.items() if isinstance(column, np.ndarray)}
        return pandas.DataFrame(arrays).set_index("datetime")

    def write(self, series: BarSeries, replace: bool = False) -> list[date]:
        """Keep a series, day by day; returns the days written. A day that is there already and the same is left alone;
        one with other bars is refused, before anything is written, unless `replace`."""
        folder = self._place(self.book.get(series.symbol))
        fresh = [(folder / f"{day}.csv", text_of(bars)) for day, bars in by_day(checked(series))]
        fresh = [(path, text) for path, text in fresh if not (path.exists() and path.read_bytes() == text)]
        known = [path for path, _ in fresh if path.exists()]
        if known and not replace:
            raise HistoryError(
                f"{known[0]}: there are other bars of that day already ({len(known)} such days); write them over with "
                "replace=True, or use another folder: Desk(history=...)"
            )
        for path, text in fresh:
            write_whole(path, text)
        return [date.fromisoformat(path.stem) for path, _ in fresh]

    def generate(
        self,
        symbol: str,
        start: Day = None,
        end: Day = None,
        seed: int = 1,
        ticks: bool = False,
        *,
        replace: bool = False,
        progress: bool | None = None,
    ) -> BarSeries:
        """Make a contract's bars (and ticks), keep them, return the bars. The prices have fat tails, lively opens,
        slow volatility and night gaps; contracts of one product move together, and the main one trades most. The same
        seed gives the same bars, whatever range is asked for. `start`, `end`: left out, the contract's whole life.
        `replace`: write over other bars in the folder."""
        from arbig.lab.generating import listed_days, paths, product_prices, tick_series

        first, last = _range(start, end)
        instrument = self.book.get(symbol)
        life = listed_days(symbol, self.book, self.calendar)
        days = self._trading_days(first or life[0], last or life[-1])
        if days[0] < life[0] or days[-1] > life[-1]:
            raise HistoryError(
                f"{instrument.symbol}: found {days[0]} to {days[-1]}, expected days of its life, {life[0]} to "
                f"{life[-1]}; choose another contract, or leave start and end out"
            )
        prices = product_prices(seed, self.book, self.calendar, self.settings)
        made: list[BarSeries] = []
        for path, sessions in watched(paths(prices, instrument.symbol, days), instrument.symbol, len(days), progress):
            made.append(minute_series(path, sessions.continuous(path.trading_day)))
            if ticks:
                self.write_ticks(tick_series(path))
        series = joined(made)
        self.write(series, replace)
        return series

    def write_ticks(self, series: TickSeries) -> list[date]:
        """Keep ticks, day by day; returns the days written. What was there of such a day is replaced."""
        self.book.get(series.symbol)
        with _one_kind_of_error():
            return [date.fromisoformat(self._ticks.write_day(ticks).stem) for _, ticks in by_day(series)]

    def _among(self, known: list[date], place: Path, start: Day, end: Day) -> list[date]:
        first, last = _range(start, end)
        days = [day for day in known if (first is None or first <= day) and (last is None or day <= last)]
        if not days:
            asked = f"{first or 'the first day'} to {last or 'the last'}"
            there = f"{known[0]} to {known[-1]}" if known else "nothing"
            raise HistoryError(
                f"{place}: found nothing from {asked}, there is {there}; bring some with history.import_csv(...) or "
                f"history.fill(...), or make some: history.generate({place.name!r}, ...)"
            )
        return days

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


@contextmanager
def _one_kind_of_error() -> Iterator[None]:
    """What the tick files refuse is a HistoryError here."""
    from arbig.store.ticks import TickFileError

    try:
        yield
    except TickFileError as error:
        raise HistoryError(str(error)) from None
