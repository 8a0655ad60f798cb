"""Bar files: the folder Market writes, `{folder}/{symbol}/{trading day}.csv`, read and written as columns.

Read with pyarrow, a year in well under a second. Written a whole day at a time: a day is there or it is not.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow
import pyarrow.csv
from numpy.typing import NDArray

from arbig.backtest.series import BarSeries, Floats, Series, Times
from arbig.domain.instruments import Instrument
from arbig.domain.messages import Exchange
from arbig.store.bars import COLUMNS, HEADER

S = TypeVar("S", bound=Series)

PRICES = {"open_price": "open", "high_price": "high", "low_price": "low", "close_price": "close"}
NUMBERS = {**PRICES, "volume": "volume", "open_interest": "open_interest", "turnover": "turnover"}
OPTIONAL = ("open_interest", "turnover")


class HistoryError(ValueError):
    """History that cannot be used: where, what was found, what was expected, the mend. One line."""


def days_in(folder: Path) -> list[date]:
    """The trading days that have a file in a symbol's folder, in order."""
    return sorted(date.fromisoformat(entry.stem) for entry in folder.glob("????-??-??.csv"))


def read_days(folder: Path, instrument: Instrument, days: Sequence[date]) -> BarSeries:
    """The bars of these trading days as one series. Raises HistoryError naming file and row."""
    pieces = [read_day(folder / f"{day}.csv", instrument, day) for day in days]
    series = joined(pieces)
    if not len(series):
        raise HistoryError(f"{folder}: found no rows in the files of {days[0]} to {days[-1]}; import the days again")
    for row, column, found, expected in faults(series):
        ends = np.cumsum([len(piece) for piece in pieces])
        index = int(np.searchsorted(ends, row, side="right"))
        line = row - int(ends[index]) + len(pieces[index]) + 2
        raise HistoryError(
            f"{folder / f'{days[index]}.csv'}: row {line}, column {column}: found {found}, expected {expected}; mend "
            "the row, or remove the file and import the day again"
        )
    return series


def read_day(path: Path, instrument: Instrument, day: date) -> BarSeries:
    """One file as it is, right or wrong; what is empty is not-a-number. Raises HistoryError for what is no table."""
    table = _table(path)
    columns: dict[str, Any] = {field: _floats(table, name) for name, field in NUMBERS.items()}
    return BarSeries(
        symbol=instrument.symbol,
        exchange=Exchange(instrument.exchange),
        datetime=_times(table),
        trading_day=np.full(len(table), np.datetime64(day, "D")),
        **columns,
    )


def faults(series: BarSeries) -> Iterator[tuple[int, str, str, str]]:
    """Rows no backtest may read, the first of each kind: (row, column, found, expected)."""
    for name in PRICES.values():
        column = getattr(series, name)
        for row in _first(~(np.isfinite(column) & (column > 0))):
            yield row, name, str(column[row]), "a price above zero"
    for row in _first(~(np.isfinite(series.volume) & (series.volume >= 0))):
        yield row, "volume", str(series.volume[row]), "zero or more lots"
    for name, column, worst in (
        ("high", series.high, np.maximum(series.open, series.close)),
        ("low", -series.low, -np.minimum(series.open, series.close)),
    ):
        for row in _first(column < worst):
            body = f"open {series.open[row]} and close {series.close[row]}"
            yield row, name, str(getattr(series, name)[row]), f"the {name}est price, with {body}"
    steps = np.diff(series.datetime).astype(np.int64)
    for row in _first(steps <= 0):
        times = np.datetime_as_string(series.datetime[row : row + 2])
        found = f"{times[1]} twice" if steps[row] == 0 else f"{times[1]} after {times[0]}"
        yield row + 1, "datetime", found, "rows in order of time, each once"


def _first(wrong: NDArray[np.bool_]) -> Iterator[int]:
    if wrong.any():
        yield int(np.argmax(wrong))


def checked(series: BarSeries) -> BarSeries:
    """The series itself. Raises HistoryError naming the first row that no backtest may read."""
    for row, column, found, expected in faults(series):
        raise HistoryError(
            f"{series.symbol}: row {row}, column {column}: found {found}, expected {expected}; mend or drop the row"
        )
    return series


def joined(pieces: Sequence[S]) -> S:
    """Series of one contract, one after another."""
    columns: dict[str, Any] = {
        field.name: np.concatenate([getattr(piece, field.name) for piece in pieces])
        for field in fields(pieces[0])
        if isinstance(getattr(pieces[0], field.name), np.ndarray)
    }
    return replace(pieces[0], **columns)


def same_rows(one: Series, other: Series) -> bool:
    """Whether two series hold the same values."""
    columns = [field.name for field in fields(one) if isinstance(getattr(one, field.name), np.ndarray)]
    return len(one) == len(other) and all(np.array_equal(getattr(one, name), getattr(other, name)) for name in columns)


def write_whole(path: Path, text: bytes) -> None:
    """A whole file: a crash or a full disk leaves it as it was. Raises HistoryError."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with fresh.open("wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        raise HistoryError(
            f"{path}: not written ({error.strerror}); make room, or give another folder: Desk(history=...)"
        ) from None
    finally:
        fresh.unlink(missing_ok=True)


def text_of(series: BarSeries) -> bytes:
    """The file's bytes, as Market would have written them."""
    moments = np.datetime_as_string(series.datetime.astype("datetime64[s]")).tolist()
    rows = zip(
        moments,
        *(map(repr, column.tolist()) for column in (series.open, series.high, series.low, series.close)),
        *(map(str, column.astype(np.int64).tolist()) for column in (series.volume, series.open_interest)),
        map(repr, series.turnover.tolist()),
        np.datetime_as_string(series.trading_day).tolist(),
        map(str, range(1, len(series) + 1)),
        strict=True,
    )
    named = f",{series.symbol},{series.exchange},{series.interval},"
    return HEADER + "".join(f"{moment}{named}{','.join(cells)},\n" for moment, *cells in rows).encode()


def _table(path: Path) -> pyarrow.Table:
    """The whole lines of a file; a last line still being written is left out."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise HistoryError(f"{path}: {error.strerror}; make it readable") from None
    data = data[: data.rfind(b"\n") + 1]
    types = {name: pyarrow.float64() for name in NUMBERS} | {"datetime": pyarrow.timestamp("s")}
    convert = pyarrow.csv.ConvertOptions(
        column_types=types, include_columns=["datetime", *NUMBERS], include_missing_columns=True
    )
    try:
        table = pyarrow.csv.read_csv(
            pyarrow.py_buffer(data), read_options=pyarrow.csv.ReadOptions(use_threads=False), convert_options=convert
        )
    except pyarrow.ArrowInvalid as error:
        raise HistoryError(f"{path}: {_plain(error)}; expected {','.join(COLUMNS)}; import the day again") from None
    if table["datetime"].null_count:
        raise HistoryError(f"{path}: column datetime: found nothing in a row, expected a time; import the day again")
    return table


def _plain(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _floats(table: pyarrow.Table, name: str) -> Floats:
    column: Floats = table[name].to_numpy()
    return np.nan_to_num(column, nan=0.0) if name in OPTIONAL and table[name].null_count else column


def _times(table: pyarrow.Table) -> Times:
    column: Times = table["datetime"].to_numpy().astype("datetime64[s]")
    return column


def by_day(series: S) -> Iterator[tuple[date, S]]:
    """The series cut into trading days."""
    edges = np.flatnonzero(np.diff(series.trading_day).astype(np.int64)) + 1
    for start, stop in pairwise([0, *edges.tolist(), len(series)]):
        yield series.trading_day[start].astype(date), series.rows(start, stop)
