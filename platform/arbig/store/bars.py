"""Bars on disk: `data/bars/{symbol}/{trading day}.csv`, one line per bar, only ever added to.

A line goes to the file in one write; a write that the disk cuts short is taken back. A line torn by a crash is cut off
when the file is next opened for writing, and a bar that is not newer than the file's last one is never written: no
crash leaves half a line or the same bar twice.
"""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from arbig.domain.messages import SHANGHAI, BarData, Exchange

OPEN_FILES = 512


class BarFileError(OSError):
    """A bar file that cannot be used: which one, what was found, what mends it."""


def _number(text: str) -> float | None:
    return float(text) if text else None


def _whole(text: str) -> int | None:
    return int(text) if text else None


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=SHANGHAI)


def _day(text: str) -> date | None:
    return date.fromisoformat(text) if text else None


# column: how it is read
COLUMNS: dict[str, Callable[[str], Any]] = {
    "datetime": _moment,
    "symbol": str,
    "exchange": Exchange,
    "interval": str,
    "open_price": float,
    "high_price": float,
    "low_price": float,
    "close_price": float,
    "volume": int,
    "open_interest": int,
    "turnover": _number,
    "trading_day": _day,
    "seq": _whole,
    "partial": lambda text: True if text else None,
}
HEADER = (",".join(COLUMNS) + "\n").encode()


class BarStore:
    """The folder of all bar files. Written by Market alone, read by whoever likes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: OrderedDict[Path, _File] = OrderedDict()

    def append(self, bars: Sequence[BarData]) -> list[BarData]:
        """Write the bars that their files do not have yet; returns those. Raises BarFileError after all files were
        tried: of a failing file none of the bars was written, and the call may be repeated."""
        written: list[BarData] = []
        failure: BarFileError | None = None
        for path, group in groupby(sorted(bars, key=self._place), self.path_of):
            try:
                written += self._open(path).append(group)
            except BarFileError as error:
                failure = failure or error
        if failure is not None:
            raise failure
        return written

    def write_day(self, symbol: str, day: date, bars: Sequence[BarData]) -> bool:
        """A whole earlier day at once; False when the day has a file already."""
        path = self.path(symbol, day)
        if path.exists():
            return False
        fresh = path.with_name(f".{path.name}.new")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_bytes(HEADER + b"".join(map(line_of, bars)))
            fresh.replace(path)
        except OSError as error:
            raise explained(path, error) from None
        return True

    def days(self, symbol: str) -> list[date]:
        """The trading days that have a file, in order."""
        try:
            names = [entry.stem for entry in (self.folder / checked(symbol)).glob("????-??-??.csv")]
        except OSError as error:
            raise explained(self.folder / symbol, error) from None
        return sorted(date.fromisoformat(name) for name in names)

    def read_day(self, symbol: str, day: date) -> list[BarData]:
        """The day's bars; a last line still being written, or torn by a crash, is left out."""
        return read(self.path(symbol, day))

    def last(self, symbol: str, day: date) -> BarData | None:
        """The newest bar of a trading day."""
        bars = self.read_day(symbol, day)
        return bars[-1] if bars else None

    def path(self, symbol: str, day: date) -> Path:
        return self.folder / checked(symbol) / f"{day}.csv"

    def path_of(self, bar: BarData) -> Path:
        return self.path(bar.symbol, bar.trading_day or bar.datetime.date())

    def close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()

    def _place(self, bar: BarData) -> tuple[Path, datetime]:
        return self.path_of(bar), bar.datetime

    def _open(self, path: Path) -> _File:
        file = self._files.get(path)
        if file is None:
            file = self._files[path] = _File(path)
            if len(self._files) > OPEN_FILES:
                self._files.popitem(last=False)[1].close()
        self._files.move_to_end(path)
        return file


class _File:
    """One day of one symbol, open at its end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            self._size = _mended(self._handle)
        except OSError as error:
            raise explained(path, error) from None
        bars = read(path)
        self._last = bars[-1].datetime if bars else None

    def append(self, bars: Iterable[BarData]) -> list[BarData]:
        fresh: list[BarData] = []
        last = self._last
        for bar in bars:
            if last is None or bar.datetime > last:
                fresh.append(bar)
                last = bar.datetime
        if fresh:
            self._write(b"".join(map(line_of, fresh)))
            self._last = last
        return fresh

    def _write(self, lines: bytes) -> None:
        data = lines if self._size else HEADER + lines
        try:
            written = os.write(self._handle, data)
            if written < len(data):
                raise OSError(28, "No space left on device")
        except OSError as error:
            os.ftruncate(self._handle, self._size)
            raise explained(self.path, error) from None
        self._size += written

    def close(self) -> None:
        os.close(self._handle)


def _mended(handle: int) -> int:
    """Cut off a torn last line; the size that remains."""
    data = os.pread(handle, os.fstat(handle).st_size, 0)
    size = data.rfind(b"\n") + 1
    if size < len(data):
        os.ftruncate(handle, size)
    return size


def read(path: Path) -> list[BarData]:
    """Every whole line of a bar file. Raises BarFileError naming the line."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise explained(path, error) from None
    lines = text[: text.rfind("\n") + 1].splitlines()
    if not lines:
        return []
    names = lines[0].split(",")
    found: list[BarData] = []
    for number, line in enumerate(lines[1:], 2):
        values = line.split(",")
        try:
            cells = zip(names, values, strict=True)
            found.append(BarData(**{name: COLUMNS[name](cell) for name, cell in cells if name in COLUMNS}))
        except (ValueError, TypeError) as error:
            reason = f"line {number}: found {line[:80]!r}, expected {','.join(COLUMNS)} ({error})"
            raise BarFileError(f"{path}: {reason}; remove the line") from None
    return found


def line_of(bar: BarData) -> bytes:
    """A bar as its line: times as on the wire, numbers as they are, absent ones empty."""
    cells = (
        bar.datetime.replace(tzinfo=None).isoformat(timespec="seconds"),
        bar.symbol,
        bar.exchange,
        bar.interval,
        bar.open_price,
        bar.high_price,
        bar.low_price,
        bar.close_price,
        bar.volume,
        bar.open_interest,
        "" if bar.turnover is None else bar.turnover,
        bar.trading_day or "",
        "" if bar.seq is None else bar.seq,
        "1" if bar.partial else "",
    )
    return (",".join(map(str, cells)) + "\n").encode()


def checked(symbol: str) -> str:
    """A symbol becomes a folder's name: letters and digits only."""
    if re.fullmatch(r"[A-Za-z0-9]+", symbol) is None:
        raise BarFileError(f"bars of {symbol!r}: expected letters and digits, e.g. au2512")
    return symbol


def explained(path: Path, error: OSError | UnicodeDecodeError) -> BarFileError:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return BarFileError(f"{path}: {reason}; make its folder writable and its disk roomy, or give another: --data DIR")
