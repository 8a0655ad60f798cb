"""Ticks on disk: `{folder}/{symbol}/{trading day}.parquet`, a day at a time, whole or not at all.

Columns are TickSeries' own; the contract stands in each row, so that any Parquet reader understands the file.
"""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet

from arbig.backtest.series import TICK_COLUMNS, TickSeries
from arbig.domain.messages import Exchange


class TickFileError(OSError):
    """A tick file that cannot be used: which one, what was found, what mends it. One line."""


class TickStore:
    """The folder of all tick files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, symbol: str, day: date) -> Path:
        return self.folder / symbol / f"{day}.parquet"

    def symbols(self) -> list[str]:
        """The contracts with at least one day of ticks."""
        return sorted({path.parent.name for path in self.folder.glob("*/????-??-??.parquet")})

    def days(self, symbol: str) -> list[date]:
        """The trading days with ticks of a contract, in order."""
        return sorted(date.fromisoformat(path.stem) for path in (self.folder / symbol).glob("????-??-??.parquet"))

    def write_day(self, ticks: TickSeries) -> Path:
        """One trading day of one contract; what was there is replaced. Raises TickFileError, the old file unharmed."""
        days = np.unique(ticks.trading_day)
        if len(days) != 1:
            raise TickFileError(f"ticks of {ticks.symbol}: found {len(days)} trading days, expected one a file")
        path = self.path(ticks.symbol, days[0].astype(date))
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with fresh.open("wb") as file:
                pyarrow.parquet.write_table(_table(ticks), file, compression="zstd")
                file.flush()
                os.fsync(file.fileno())  # whoever recorded the day forgets it now
            fresh.replace(path)
        except OSError as error:
            raise TickFileError(
                f"{path}: not written ({error.strerror or error}); make room, or give another folder"
            ) from None
        finally:
            fresh.unlink(missing_ok=True)
        return path

    def read_day(self, symbol: str, day: date) -> TickSeries:
        """The day's ticks. Raises TickFileError when there is no such file, or none that can be read."""
        return read_file(self.path(symbol, day))


def read_file(path: Path) -> TickSeries:
    """One file. Raises TickFileError."""
    try:
        table = pyarrow.parquet.read_table(path, partitioning=None)
        return TickSeries(
            symbol=table["symbol"][0].as_py(),
            exchange=Exchange(table["exchange"][0].as_py()),
            datetime=table["datetime"].to_numpy().astype("datetime64[ms]"),
            trading_day=table["trading_day"].to_numpy().astype("datetime64[D]"),
            **{name: table[name].to_numpy().astype(np.float64) for name in TICK_COLUMNS},
        )
    except FileNotFoundError:
        raise TickFileError(f"{path}: no such file; record or import the day's ticks") from None
    except (OSError, pyarrow.ArrowException, KeyError, IndexError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise TickFileError(f"{path}: not a tick file ({reason}); remove it and import the day again") from None


def _table(ticks: TickSeries) -> pyarrow.Table:
    size = len(ticks)
    named = {name: pyarrow.array([getattr(ticks, name)] * size).dictionary_encode() for name in ("symbol", "exchange")}
    columns = {
        "datetime": pyarrow.array(ticks.datetime.astype("datetime64[ms]")),
        "trading_day": pyarrow.array(ticks.trading_day.astype("datetime64[D]")),
        **named,
        **{name: pyarrow.array(getattr(ticks, name)) for name in TICK_COLUMNS},
    }
    return pyarrow.table(columns)
