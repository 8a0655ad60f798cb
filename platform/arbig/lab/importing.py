"""Importing: other people's tables become whole trading days of our own files, checked before anything is written."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from arbig.backtest.series import TICK_COLUMNS, BarSeries, Floats, TickSeries, Times
from arbig.domain.instruments import Instrument, InstrumentBook, UnknownSymbol
from arbig.domain.messages import Exchange
from arbig.domain.sessions import CalendarError, TradingCalendar
from arbig.lab.barfiles import HistoryError, faults
from arbig.lab.columns import (
    BAR_NAMES,
    BAR_NEEDED,
    STAMPS,
    TICK_NAMES,
    TICK_NEEDED,
    Reading,
    is_ticks,
    moments,
    numbers,
    recognised,
    source_of,
)
from arbig.lab.timetable import MINUTE, Timetable, timetable, trading_days_of

if TYPE_CHECKING:
    import pandas

Stamps = Literal["start", "end", "auto"]
ENCODINGS = ("utf-8-sig", "gb18030")
AFTER_BREAKS = (np.timedelta64(10 * 60 + 30, "m"), np.timedelta64(13 * 60 + 30, "m"))
BEFORE_BREAKS = tuple(np.timedelta64(minutes, "m") for minutes in (10 * 60 + 15, 11 * 60 + 30, 15 * 60))
CLOSING_ROWS = 4
"""Start-stamped bars may have extra rows for closing ticks, at the breaks' beginnings; not more than so many times."""
FEW_ROWS = 20
TABLES = {"bars": "dbbardata", "ticks": "dbtickdata"}


@dataclass(frozen=True)
class Options:
    """How a table is to be read."""

    symbol: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    stamps: Stamps = "auto"
    timezone: str = "Asia/Shanghai"
    off_session: Literal["refuse", "drop"] = "refuse"

    def __post_init__(self) -> None:
        for name, allowed in (("stamps", ("start", "end", "auto")), ("off_session", ("refuse", "drop"))):
            if getattr(self, name) not in allowed:
                raise HistoryError(f"{name}: found {getattr(self, name)!r}, expected {' or '.join(allowed)}")
        try:
            ZoneInfo(self.timezone)
        except (ValueError, OSError, LookupError):
            raise HistoryError(
                f"timezone: found {self.timezone!r}, expected a name such as Asia/Shanghai or UTC"
            ) from None


@dataclass(frozen=True)
class Imported:
    """One contract's part of a table. `merged`: auction and closing rows that joined a minute's bar; `dropped`: rows
    outside the trading hours."""

    source: str
    symbol: str
    series: BarSeries | TickSeries
    stamps: str
    merged: int
    dropped: int
    written: tuple[date, ...] = ()

    def __repr__(self) -> str:
        kind = "ticks" if isinstance(self.series, TickSeries) else "bars"
        days = np.unique(self.series.trading_day)
        notes = [f"{len(self.series)} {kind}, {len(days)} trading days ({days[0]} to {days[-1]})"]
        notes += [f"{len(self.written)} days written"]
        notes += ["end stamps moved to the start"] if self.stamps == "end" else []
        notes += [f"{self.merged} auction and closing rows merged"] if self.merged else []
        notes += [f"{self.dropped} rows outside trading hours left out"] if self.dropped else []
        return f"{self.symbol} from {self.source}: {'; '.join(notes)}"


def read_csv(path: Path) -> pandas.DataFrame:
    """A CSV in UTF-8 or a Chinese encoding. Raises HistoryError, one line."""
    import pandas

    for encoding in ENCODINGS:
        try:
            return pandas.read_csv(path, encoding=encoding, low_memory=False)
        except UnicodeDecodeError:
            continue
        except FileNotFoundError:
            raise HistoryError(f"{path}: no such file") from None
        except (OSError, ValueError) as error:
            raise HistoryError(f"{path}: not a CSV table ({_words(error)})") from None
    raise HistoryError(f"{path}: neither UTF-8 nor GB18030 text; save it as UTF-8")


def read_parquet(path: Path) -> pandas.DataFrame:
    """Raises HistoryError, one line."""
    import pandas
    import pyarrow

    try:
        return pandas.read_parquet(path)
    except FileNotFoundError:
        raise HistoryError(f"{path}: no such file") from None
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise HistoryError(f"{path}: not a Parquet file ({_words(error)}); write it again") from None


def read_vnpy(path: Path, kind: str, symbol: str | None) -> Iterator[pandas.DataFrame]:
    """A table of vnpy's SQLite database (`~/.vntrader/database.db`), contract by contract. Raises HistoryError."""
    import pandas

    table = TABLES[kind]
    if not path.is_file():
        raise HistoryError(f"{path}: no such file; vnpy keeps its own as ~/.vntrader/database.db")
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as base:
            names = [row[0] for row in base.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            if table not in names:
                raise HistoryError(f"{path}: no table {table}; found {' '.join(names) or 'none'}")
            minutes = "WHERE interval = '1m'" if kind == "bars" else ""
            for row in base.execute(
                f"SELECT DISTINCT symbol, exchange FROM {table} {minutes} ORDER BY 1, 2"
            ).fetchall():
                if symbol is None or row[0].lower() == symbol.lower():
                    both = f"{minutes} {'AND' if minutes else 'WHERE'} symbol = ? AND exchange = ? ORDER BY datetime"
                    yield pandas.read_sql_query(f"SELECT * FROM {table} {both}", base, params=list(row))
    except sqlite3.Error as error:
        raise HistoryError(f"{path}: not a SQLite database that can be read ({_words(error)})") from None


def contracts(
    frame: pandas.DataFrame, reading: Reading, options: Options, book: InstrumentBook, calendar: TradingCalendar
) -> Iterator[Imported]:
    """Each contract of a table as a series. Raises HistoryError or UnknownSymbol naming the row."""
    frame = frame.reset_index(names=_index_names(frame)) if _has_times(frame) else frame.reset_index(drop=True)
    if not len(frame):
        raise HistoryError(f"{reading.name}: no rows")
    ticks = is_ticks(list(frame.columns))
    known, needed = (TICK_NAMES, TICK_NEEDED) if ticks else (BAR_NAMES, BAR_NEEDED)
    names = recognised(list(frame.columns), known, needed, options.columns, reading)
    source = source_of(list(frame.columns))
    if not ticks and "interval" in names:
        _refuse_other_intervals(frame, names["interval"], reading)
    for symbol, rows in _by_symbol(frame, names, options.symbol, book, reading):
        part = _Part(frame.iloc[rows], rows, names, source, reading, options, book, calendar, book.get(symbol))
        yield part.ticks() if ticks else part.bars()


@dataclass(frozen=True)
class _Part:
    """One contract's rows of a table."""

    frame: pandas.DataFrame
    rows: NDArray[np.int64]
    names: Mapping[str, Any]
    source: str | None
    reading: Reading
    options: Options
    book: InstrumentBook
    calendar: TradingCalendar
    instrument: Instrument

    def bars(self) -> Imported:
        frame, times = self._in_order(moments(self.frame, self.names, self.options.timezone, self.reading))
        part = replace(self, frame=frame[0], rows=frame[1])
        part._refuse_other_lengths(times)
        times = times.astype("datetime64[s]")
        stamps = part._stamps(times)
        shifted = times - MINUTE if stamps == "end" else times
        days = part._trading_days(shifted)
        table = part._timetable(days)
        minutes = table.minute_of(shifted)
        inside = part._inside(minutes, times)
        columns = {
            name: numbers(part.frame, part.names[name], part.reading, None)
            for name in ("open", "high", "low", "close", "volume")
        }
        columns |= {name: part._optional(name) for name in ("turnover", "open_interest")}
        whole = BarSeries(
            symbol=self.instrument.symbol,
            exchange=Exchange(self.instrument.exchange),
            datetime=times,
            trading_day=days,
            **columns,  # type: ignore[arg-type]
        )
        part._refuse_faults(whole)
        moved = replace(whole, datetime=minutes)
        kept = chosen(moved, inside)
        series = _merged(replace(kept, trading_day=table.trading_day[table.segment_of(kept.datetime)]))
        return Imported(
            source=self.reading.name,
            symbol=self.instrument.symbol,
            series=series,
            stamps=stamps,
            merged=len(kept) - len(series),
            dropped=int((~inside).sum()),
        )

    def ticks(self) -> Imported:
        frame, times = self._in_order(moments(self.frame, self.names, self.options.timezone, self.reading), True)
        part = replace(self, frame=frame[0], rows=frame[1])
        days = part._trading_days(times)
        inside = ~np.isnat(part._timetable(days).minute_of(times))
        needed = [name for name in TICK_NEEDED if name != "datetime"]
        columns = {name: numbers(part.frame, part.names[name], part.reading, None) for name in needed}
        columns |= {name: part._optional(name) for name in TICK_COLUMNS if name not in columns}
        for name in ("last_price", "volume"):
            part._refuse_where(columns[name] < 0, name, columns[name], "zero or more")
        if "last_volume" not in self.names:
            first = np.concatenate([[True], days[1:] != days[:-1]])
            steps = np.diff(columns["volume"], prepend=0.0)
            columns["last_volume"] = np.where(first, columns["volume"], np.maximum(steps, 0.0))
        series = TickSeries(
            symbol=self.instrument.symbol,
            exchange=Exchange(self.instrument.exchange),
            datetime=times,
            trading_day=days,
            **columns,
        )
        kept = chosen(series, inside)
        if not len(kept):
            raise HistoryError(
                f"{self.reading.name}: all {len(series)} rows lie outside the trading hours; see timezone="
            )
        return Imported(self.reading.name, self.instrument.symbol, kept, "start", 0, int((~inside).sum()))

    def _in_order(
        self, times: Times, repeats: bool = False
    ) -> tuple[tuple[pandas.DataFrame, NDArray[np.int64]], Times]:
        """Oldest first (newest first is turned round). Raises HistoryError for rows out of order, or twice."""
        frame, rows = self.frame, self.rows
        steps = np.diff(times).astype(np.int64)
        if len(steps) and (steps < 0).all():
            frame, rows, times, steps = frame.iloc[::-1], rows[::-1], times[::-1], -steps[::-1]
        wrong = (steps < 0) if repeats else (steps <= 0)
        if wrong.any():
            at = int(np.argmax(wrong))
            head = str(self.names["datetime"])
            row = int(rows[at + 1])
            if steps[at] == 0:
                mend = "drop one of the two, e.g. frame.drop_duplicates(...)"
                raise self.reading.refuse(row, head, f"{_shown(times[at + 1])} a second time", "each time once", mend)
            expected = f"a time after {_shown(times[at])}, which stands in row {int(rows[at]) + self.reading.first_row}"
            raise self.reading.refuse(row, head, _shown(times[at + 1]), expected, "sort the rows by time")
        return (frame, rows), times

    def _refuse_other_lengths(self, times: Times) -> None:
        """Five-minute bars are five minutes apart everywhere; bars of seconds stand between the minutes."""
        head = str(self.names["datetime"])
        mend = "only one-minute bars are kept; windows are made of them"
        between = times != times.astype("datetime64[m]")
        if between.any():
            at = int(np.argmax(between))
            raise self.reading.refuse(int(self.rows[at]), head, str(times[at]), "a whole minute", mend)
        apart = (
            int(np.gcd.reduce(np.diff(times.astype("datetime64[m]")).astype(np.int64))) if len(times) > FEW_ROWS else 1
        )
        if apart > 1:
            raise self.reading.refuse(int(self.rows[1]), head, f"bars {apart} minutes apart", "one-minute bars", mend)

    def _stamps(self, times: Times) -> str:
        """What the bars are stamped with: as asked, else what the rows around the breaks show, else what is usual with
        the source. A bar at 10:30 or 13:30 begins there; one at 10:15, 11:30 or 15:00 alone ends there."""
        if self.options.stamps != "auto":
            return self.options.stamps
        clock = times - times.astype("datetime64[D]")
        starts, ends = np.isin(clock, AFTER_BREAKS).sum(), np.isin(clock, BEFORE_BREAKS).sum()
        if starts or ends:
            return "start" if starts * CLOSING_ROWS >= ends else "end"
        if self.source is not None:
            return STAMPS[self.source]
        raise HistoryError(
            f"{self.reading.name}: neither the names of the columns nor the times ({_shown(times[0])} to "
            f'{_shown(times[-1])}) show whether bars are stamped with their start or their end; say stamps="start" or '
            'stamps="end"'
        )

    def _trading_days(self, times: Times) -> Times:
        try:
            return trading_days_of(times.astype("datetime64[s]"), self.calendar)
        except CalendarError as error:
            raise HistoryError(f"{self.reading.name}: {error}") from None

    def _timetable(self, days: Times) -> Timetable:
        return timetable(
            self.book, self.calendar, self.instrument.symbol, [day.astype(date) for day in np.unique(days)]
        )

    def _inside(self, minutes: Times, times: Times) -> NDArray[np.bool_]:
        inside: NDArray[np.bool_] = ~np.isnat(minutes)
        if (not inside.all() and self.options.off_session == "refuse") or not inside.any():
            at = int(np.argmin(inside))
            raise self.reading.refuse(
                int(self.rows[at]),
                str(self.names["datetime"]),
                f"{_shown(times[at])} ({int((~inside).sum())} such rows)",
                f"a time at which {self.instrument.symbol} trades",
                'see stamps= and timezone=, or leave them out: off_session="drop"',
            )
        return inside

    def _optional(self, name: str) -> Floats:
        if name not in self.names:
            return np.zeros(len(self.frame))
        return numbers(self.frame, self.names[name], self.reading, 0.0)

    def _refuse_faults(self, series: BarSeries) -> None:
        for row, column, found, expected in faults(series):
            raise self.reading.refuse(
                int(self.rows[row]), str(self.names[column]), found, expected, "mend or drop the row"
            )

    def _refuse_where(self, wrong: NDArray[np.bool_], name: str, values: Floats, expected: str) -> None:
        if wrong.any():
            at = int(np.argmax(wrong))
            raise self.reading.refuse(int(self.rows[at]), name, values[at], expected, "mend or drop the row")


def chosen(series: Any, rows: NDArray[np.bool_]) -> Any:
    """Some rows of a series."""
    columns = {name: value[rows] for name, value in vars(series).items() if isinstance(value, np.ndarray)}
    return replace(series, **columns)


def _merged(series: BarSeries) -> BarSeries:
    """One bar a minute: what an auction or a closing tick traded belongs to the minute it was moved to."""
    first = np.flatnonzero(np.concatenate([[True], np.diff(series.datetime).astype(np.int64) != 0]))
    last = np.append(first[1:], len(series)) - 1
    return replace(
        series,
        datetime=series.datetime[first],
        trading_day=series.trading_day[first],
        open=series.open[first],
        high=np.maximum.reduceat(series.high, first),
        low=np.minimum.reduceat(series.low, first),
        close=series.close[last],
        open_interest=series.open_interest[last],
        volume=np.add.reduceat(series.volume, first),
        turnover=np.add.reduceat(series.turnover, first),
    )


def _by_symbol(
    frame: pandas.DataFrame, names: Mapping[str, Any], asked: str | None, book: InstrumentBook, reading: Reading
) -> Iterator[tuple[str, NDArray[np.int64]]]:
    if "symbol" not in names:
        if asked is None:
            raise HistoryError(f"{reading.name}: no column names the contract; say symbol='au2512'")
        yield book.get(asked).symbol, np.arange(len(frame))
        return
    found = frame[names["symbol"]].astype(str)
    wanted = book.get(asked).symbol if asked is not None else None
    groups: dict[str, list[NDArray[np.int64]]] = {}
    for text in found.unique():
        rows = np.flatnonzero((found == text).to_numpy())
        try:
            symbol = book.get(_bare(text)).symbol
        except UnknownSymbol as error:
            if wanted is not None:
                continue
            raise HistoryError(f"{reading.name}: row {int(rows[0]) + reading.first_row}: {error}") from None
        groups.setdefault(symbol, []).append(rows)
    if wanted is not None and wanted not in groups:
        raise HistoryError(f"{reading.name}: no rows of {wanted}; found {' '.join(found.unique()[:10])}")
    for symbol, pieces in groups.items():
        if wanted in (None, symbol):
            yield symbol, np.sort(np.concatenate(pieces))


def _bare(text: str) -> str:
    """SHFE.au2512, au2512.SHFE, AU2512, CU2512.SHF -> au2512."""
    parts = [part for part in text.strip().split(".") if any(letter.isdigit() for letter in part)]
    return (parts[0] if parts else text).lower()


def _refuse_other_intervals(frame: pandas.DataFrame, name: Any, reading: Reading) -> None:
    other = ~frame[name].astype(str).str.lower().isin(["1m", "1min", "60", "interval.minute"]).to_numpy()
    if other.any():
        row = int(np.argmax(other))
        raise reading.refuse(row, str(name), frame[name].iloc[row], "1m", "keep the one-minute bars only")


def _has_times(frame: pandas.DataFrame) -> bool:
    """Whether the index is a column in disguise: rqdata's and Wind's answers have their times there."""
    import pandas

    index = frame.index
    return isinstance(index, pandas.MultiIndex | pandas.DatetimeIndex) or index.name is not None


def _index_names(frame: pandas.DataFrame) -> list[str]:
    return [str(name) if name is not None else "datetime" for name in frame.index.names]


def _shown(moment: np.datetime64) -> str:
    return str(moment.astype("datetime64[s]")).replace("T", " ")


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:120]
