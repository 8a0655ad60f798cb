"""History: bars and ticks on disk, one trading day a file; what research reads.

history = desk.history
history.generate("au2512", "2025-06-03", "2025-11-28", seed=1)
bars = history.bars("au2512", "2025-09-01", "2025-09-30")
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
from string import digits
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from arbig.backtest.minutes import minute_series
from arbig.backtest.series import BarSeries, TickSeries
from arbig.domain.instruments import Instrument, InstrumentBook
from arbig.domain.sessions import CalendarError, TradingCalendar
from arbig.lab.barfiles import HistoryError as HistoryError
from arbig.lab.barfiles import by_day, checked, days_in, joined, read_day, read_days, same_rows, text_of, write_whole
from arbig.lab.progress import watched
from arbig.runtime.settings import Settings

if TYPE_CHECKING:
    import pandas

    from arbig.lab.checking import CheckReport
    from arbig.lab.columns import Reading
    from arbig.lab.continuous import Adjust, Continuous, Rolling
    from arbig.lab.importing import Imported
    from arbig.store.ticks import TickStore

Day: TypeAlias = str | date | None


@dataclass(frozen=True)
class Change:
    """A day's file to be written; `same` when it stands there already."""

    day: date
    path: Path
    same: bool
    write: Callable[[], object]


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

    def summary(self) -> list[str]:
        """A line for every contract: its trading days of bars and of ticks."""
        names = sorted({*self.symbols(), *self._ticks.symbols()})
        spans = [(name, days_in(self.folder / name), self._ticks.days(name)) for name in names]
        return [f"{name:<8} bars: {_span(bars)}; ticks: {_span(ticks)}" for name, bars, ticks in spans]

    def days(self, symbol: str) -> list[date]:
        """The trading days with bars of a contract, in order."""
        return days_in(self._place(self.book.get(symbol)))

    def bars(
        self, symbol: str, start: Day = None, end: Day = None, gaps: Literal["refuse", "allow"] = "refuse"
    ) -> BarSeries:
        """One-minute bars as columns, checked: in order, prices finite and above zero, no trading day missing between
        the first and the last (`gaps="allow"`: read over missing ones; single minutes are the business of `check`)."""
        instrument = self.book.get(symbol)
        place = self._place(instrument)
        days = self._among(days_in(place), place, start, end)
        if gaps == "refuse":
            self._refuse_gaps(place, days)
        return read_days(place, instrument, days)

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
        return _written(self._changes(checked(series), replace))

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
                self.write_ticks(tick_series(path), replace)
        series = joined(made)
        self.write(series, replace)
        return series

    def write_ticks(self, series: TickSeries, replace: bool = False) -> list[date]:
        """As `write`, for ticks."""
        return _written(self._changes(series, replace))

    def _changes(self, series: BarSeries | TickSeries, replace: bool) -> list[Change]:
        """The days that have to be written, and how. Raises HistoryError when that would write over other rows."""
        symbol = self.book.get(series.symbol).symbol
        with _one_kind_of_error():
            changes = [self._change(symbol, day, rows) for day, rows in by_day(series)]
        fresh = [change for change in changes if not change.same]
        known = [change.path for change in fresh if change.path.exists()]
        if known and not replace:
            raise HistoryError(
                f"{known[0]}: there are other rows of that day already ({len(known)} such days); write them over with "
                "replace=True, or use another folder: Desk(history=...)"
            )
        return fresh

    def _change(self, symbol: str, day: date, rows: BarSeries | TickSeries) -> Change:
        if isinstance(rows, BarSeries):
            path, text = self.folder / symbol / f"{day}.csv", text_of(rows)
            return Change(day, path, path.exists() and path.read_bytes() == text, lambda: write_whole(path, text))
        path = self._ticks.path(symbol, day)
        same = path.exists() and same_rows(self._ticks.read_day(symbol, day), rows)
        return Change(day, path, same, lambda: self._ticks.write_day(rows))

    def import_csv(self, path: Path | str, symbol: str | None = None, **options: Any) -> list[Imported]:
        """Bars or ticks from a CSV file; one entry a contract. Columns are known by the names that vnpy, tqsdk, rqdata,
        Wind (English and Chinese), tushare and JoinQuant give them.

        symbol: which contract, needed when no column says it, else chooses among several
        columns: ours -> theirs for what has another name, e.g. {"close": "px_last"}
        stamps: "start" or "end" of the bar; "auto" looks at the rows around the breaks, then at the source
        timezone: of times that carry no zone
        off_session: "refuse" rows outside the trading hours, or "drop" them
        replace: write over days that have other bars
        Auction rows join their session's first minute, a row at a segment's end its last. Everything is checked before
        the first day is written; Ctrl-C leaves whole days. Raises HistoryError naming the row, UnknownSymbol.
        """
        from arbig.lab.columns import Reading
        from arbig.lab.importing import read_csv

        place = Path(path)
        return self._import([read_csv(place)], Reading(str(place), 2), symbol, **options)

    def import_parquet(self, path: Path | str, symbol: str | None = None, **options: Any) -> list[Imported]:
        """As `import_csv`, from a Parquet file."""
        from arbig.lab.columns import Reading
        from arbig.lab.importing import read_parquet

        place = Path(path)
        return self._import([read_parquet(place)], Reading(str(place), 0), symbol, **options)

    def import_file(self, path: Path | str, symbol: str | None = None, **options: Any) -> list[Imported]:
        """`import_csv`, `import_parquet` or `import_vnpy`, by the file's ending."""
        place = Path(path)
        readers = {".csv": self.import_csv, ".parquet": self.import_parquet, ".db": self.import_vnpy}
        if place.suffix not in readers:
            raise HistoryError(f"{place}: found {place.suffix or 'no ending'!r}, expected {', '.join(readers)}")
        return readers[place.suffix](place, symbol, **options)

    def import_frame(self, frame: pandas.DataFrame, symbol: str | None = None, **options: Any) -> list[Imported]:
        """As `import_csv`, from a DataFrame; its times may be the index."""
        from arbig.lab.columns import Reading

        return self._import([frame], Reading("DataFrame", 0), symbol, **options)

    def import_vnpy(
        self,
        path: Path | str,
        symbol: str | None = None,
        kind: Literal["bars", "ticks"] = "bars",
        **options: Any,
    ) -> list[Imported]:
        """As `import_csv`, from vnpy's SQLite database (its one-minute bars, or its ticks); without a symbol every
        contract of it. `timezone`: vnpy's database.timezone, if that is not Shanghai's."""
        from arbig.lab.columns import Reading
        from arbig.lab.importing import read_vnpy

        place = Path(path)
        bare = None if symbol is None else self.book.get(symbol).symbol
        frames = list(read_vnpy(place, kind, bare))
        if not frames:
            raise HistoryError(f"{place}: no {kind} of {symbol or 'any contract'}")
        return self._import(frames, Reading(str(place), 0), symbol, **options)

    def fill(
        self,
        datafeed: str,
        symbol: str,
        start: Day = None,
        end: Day = None,
        *,
        username: str = "",
        password: str = "",
        stamps: Literal["start", "end"] = "start",
        replace: bool = False,
        progress: bool | None = None,
    ) -> list[date]:
        """Bring the trading days that are missing here from a vnpy datafeed: "vnpy_tqsdk", "vnpy_rqdata",
        "vnpy_tushare" or any other installed one; returns the days written. A trading day is asked and written whole,
        some at a time, so that Ctrl-C keeps what has come. `start`, `end`: left out, the contract's whole life.
        `stamps`: of the adapter's bars (vnpy's own move end stamps to the start themselves). `replace`: ask for the
        days that are here as well. Raises HistoryError with the datafeed's own words."""
        from arbig.lab.filling import fetched, spells
        from arbig.lab.generating import listed_days

        first, last = _range(start, end)
        instrument = self.book.get(symbol)
        life = listed_days(symbol, self.book, self.calendar)
        wanted = self._trading_days(first or life[0], last or life[-1])
        known = () if replace else set(self.days(symbol))
        missing = [day for day in wanted if day not in known]
        asked = fetched(datafeed, username, password, stamps, instrument, spells(missing), self.book, self.calendar)
        written: list[date] = []
        for series in watched(asked, instrument.symbol, len(spells(missing)), progress):
            written += self.write(series, replace)
        if missing and not written and not replace:
            raise HistoryError(
                f"{datafeed}: no bars of {instrument.symbol} from {missing[0]} to {missing[-1]}; see whether it was "
                "listed then, and what your account may read"
            )
        return written

    def check(
        self,
        symbol: str | BarSeries | Continuous,
        start: Day = None,
        end: Day = None,
        *,
        price_limit: float | None = None,
    ) -> CheckReport:
        """Compare a contract's bars with the trading calendar: missing days and minutes, repeated, unsorted and
        off-session rows, impossible prices, long runs without a trade. A continuous series (or any BarSeries): its
        unadjusted rolls. `price_limit`: share of yesterday's settlement; the product's in `config/simulation.yaml`
        when left out."""
        from arbig.lab.checking import CheckReport, Finding, check_days, missing_days, roll_jumps
        from arbig.lab.continuous import Continuous

        if isinstance(symbol, BarSeries | Continuous):
            series = symbol if isinstance(symbol, BarSeries) else symbol.series
            rolls = None if isinstance(symbol, BarSeries) else symbol.left()
            found = tuple(roll_jumps(series, rolls, self.book.get(series.symbol).price_tick))
            return CheckReport(series.symbol, len(series), len(np.unique(series.trading_day)), found)
        instrument = self.book.get(symbol)
        place = self._place(instrument)
        days = self._among(days_in(place), place, start, end)
        read, findings = [], [*missing_days(days, self.calendar)]
        for day in days:
            try:
                read.append((day, read_day(place / f"{day}.csv", instrument, day)))
            except HistoryError as error:
                findings.append(Finding("unreadable", day, "", "", 0, str(error)))
        limit = price_limit or self._limit(instrument)
        findings += check_days(read, instrument, self.book, self.calendar, limit) if read else []
        findings.sort(key=lambda finding: (finding.trading_day, finding.start))
        return CheckReport(instrument.symbol, sum(len(rows) for _, rows in read), len(read), tuple(findings))

    def _refuse_gaps(self, place: Path, days: Sequence[date]) -> None:
        between = self.calendar.days_between(days[0], days[-1])
        missing = sorted({*between} - {*days})
        if missing:
            raise HistoryError(
                f"{place}: found no bars of {missing[0]} ({len(missing)} trading days missing between {days[0]} and "
                f"{days[-1]}); fill them: history.fill(...), begin later, or read over them: history.bars(..., "
                'gaps="allow")'
            )

    def _limit(self, instrument: Instrument) -> float | None:
        from arbig.runtime.settings import load_settings
        from arbig.runtime.simulation import load_simulation

        known = load_simulation(self.settings or load_settings()).products.get(instrument.product)
        return known.price_limit if known is not None else None

    def continuous(
        self,
        product: str,
        start: Day = None,
        end: Day = None,
        adjust: Adjust = "ratio",
        roll: Rolling = "main",
    ) -> Continuous:
        """One series of a product's contracts in this folder. A trading day's contract is the one with the most open
        interest (`roll="volume"`: lots traded) the trading day before, and never goes back to an earlier delivery; the
        series changes over with the day's first bar, the night's opening. `adjust`: back-adjustment of what lies before
        a roll, by "ratio" or "difference", or None. The roll table stays with the result."""
        from arbig.lab import continuous

        if adjust not in ("ratio", "difference", None) or roll not in continuous.RULES:
            raise HistoryError(
                f'adjust {adjust!r}, roll {roll!r}: expected adjust "ratio", "difference" or None, and roll "main" or '
                '"volume"'
            )
        first, last = _range(start, end)
        symbols = [symbol for symbol in self.symbols() if symbol.rstrip(digits) == product]
        days = sorted({day for symbol in symbols for day in self.days(symbol)})
        shown = [day for day in days if (first is None or first <= day) and (last is None or day <= last)]
        if not shown:
            raise HistoryError(
                f"{self.folder}: found no contract of {product!r} with bars from {first or 'the first day'} to "
                f"{last or 'the last'}; there are {' '.join(self.symbols()) or 'none'}"
            )
        before = [day for day in days if day < shown[0]][-1:]
        bars = {
            symbol: self.bars(symbol, (before or shown)[0], shown[-1])
            for symbol in symbols
            if any((before or shown)[0] <= day <= shown[-1] for day in self.days(symbol))
        }
        return continuous.continuous(product, bars, [*(before or shown[:1]), *shown], adjust, roll)

    def _import(
        self,
        frames: Sequence[pandas.DataFrame],
        reading: Reading,
        symbol: str | None,
        replace: bool = False,
        progress: bool | None = None,
        **options: Any,
    ) -> list[Imported]:
        """Read and check everything, then write, a trading day at a time."""
        from arbig.lab.importing import Options, contracts

        chosen = Options(symbol=symbol, **options)
        found = [part for frame in frames for part in contracts(frame, reading, chosen, self.book, self.calendar)]
        changes = [self._changes(part.series, replace) for part in found]
        _written(
            watched([change for part in changes for change in part], reading.name, sum(map(len, changes)), progress)
        )
        return [
            dataclasses.replace(part, written=tuple(change.day for change in days))
            for part, days in zip(found, changes, strict=True)
        ]

    def _among(self, known: list[date], place: Path, start: Day, end: Day) -> list[date]:
        first, last = _range(start, end)
        days = [day for day in known if (first is None or first <= day) and (last is None or day <= last)]
        if not days:
            asked = f"nothing from {first or 'the first day'} to {last or 'the last'}"
            found = f"{asked}, there is {known[0]} to {known[-1]}" if known else "nothing"
            raise HistoryError(
                f"{place}: found {found}; bring some with history.import_csv(...) or "
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


def _span(days: Sequence[date]) -> str:
    return f"{len(days)} days, {days[0]} to {days[-1]}" if days else "none"


def _written(changes: Iterable[Change]) -> list[date]:
    days = []
    with _one_kind_of_error():
        for change in changes:
            change.write()
            days.append(change.day)
    return days


@contextmanager
def _one_kind_of_error() -> Iterator[None]:
    """What the tick files refuse is a HistoryError here."""
    from arbig.store.ticks import TickFileError

    try:
        yield
    except TickFileError as error:
        raise HistoryError(str(error)) from None
