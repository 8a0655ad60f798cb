"""TickJournal: what Market received this trading day, kept to rebuild the running bar after a restart.

`data/market/{trading day}.jsonl` holds the ticks as they came and between them, marked by their first character:
`+au2512` a symbol begins (with the time since when nothing of it was missed), `@2025-10-15T09:01:02` the exchange's
clock, `!down` and `!up` the connection. The day is dropped at settlement, or handed on when ticks are recorded
(`recording.py`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime
from pathlib import Path

from arbig.domain.bars import Link
from arbig.domain.messages import SHANGHAI, MessageError, TickData, decode

Begin = tuple[str, datetime | None]
Line = TickData | datetime | Link | Begin


def line_of(event: datetime | Link | Begin) -> bytes:
    """The journal's own lines; a tick's line is the payload as it came."""
    if isinstance(event, datetime):
        return b"@" + _written(event)
    if isinstance(event, Link):
        return b"!" + event.value.encode()
    symbol, since = event
    return b"+" + symbol.encode() + (b" " + _written(since) if since is not None else b"")


def event_of(line: bytes) -> Line | None:
    """None for a line that cannot be read."""
    mark, rest = line[:1], line[1:]
    try:
        if mark == b"{":
            return decode(TickData, line)
        text = rest.decode()
        if mark == b"@":
            return _moment(text)
        if mark == b"!":
            return Link(text)
        if mark == b"+":
            symbol, _, since = text.partition(" ")
            return symbol, _moment(since) if since else None
    except (MessageError, ValueError):
        pass
    return None


class TickJournal:
    """One file per trading day, the newest one written to. A line torn by a crash is cut off at opening."""

    def __init__(self, folder: Path, keep: Callable[[Path], None] | None) -> None:
        """`keep` takes the file of a day that is over, instead of its end."""
        self._folder = folder
        self._keep = keep
        self._handle: int | None = None
        self.trading_day: date | None = None

    def days(self) -> list[date]:
        return sorted(date.fromisoformat(path.stem) for path in self._folder.glob("????-??-??.jsonl"))

    def read(self, day: date) -> Iterator[Line]:
        with self._path(day).open("rb") as file:
            for line in file:
                event = event_of(line.rstrip(b"\n")) if line.endswith(b"\n") else None
                if event is not None:
                    yield event

    def open(self, day: date) -> None:
        """Go on with a day, or begin it. Raises OSError."""
        self.close()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._handle = os.open(self._path(day), os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self.trading_day = day
        self._cut_torn_line(self._handle)

    def write(self, lines: Iterable[bytes]) -> None:
        """All lines in one write. Raises OSError; a write cut short is taken back."""
        data = b"".join(_ended(line) for line in lines)
        if self._handle is None or not data:
            return
        size = os.fstat(self._handle).st_size
        if os.write(self._handle, data) < len(data):
            os.ftruncate(self._handle, size)
            raise OSError(28, "No space left on device")

    def drop_before(self, day: date) -> None:
        """Days that are over."""
        for old in self.days():
            if old < day:
                self.drop(old)

    def drop(self, day: date) -> None:
        """The day is settled."""
        if day == self.trading_day:
            self.close()
        if self._keep is None:
            self._path(day).unlink(missing_ok=True)
        elif self._path(day).exists():
            self._keep(self._path(day))

    def close(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
        self._handle = self.trading_day = None

    @property
    def path(self) -> Path | None:
        """The running day's file."""
        return None if self.trading_day is None else self._path(self.trading_day)

    def _path(self, day: date) -> Path:
        return self._folder / f"{day}.jsonl"

    def _cut_torn_line(self, handle: int) -> None:
        size = os.fstat(handle).st_size
        end = size
        while end > 0:
            begin = max(0, end - 65536)
            newline = os.pread(handle, end - begin, begin).rfind(b"\n")
            if newline >= 0:
                end = begin + newline + 1
                break
            end = begin
        if end < size:
            os.ftruncate(handle, end)


def _ended(line: bytes) -> bytes:
    return (line if b"\n" not in line else line.replace(b"\n", b" ")) + b"\n"


def _written(moment: datetime) -> bytes:
    return moment.astimezone(SHANGHAI).replace(tzinfo=None).isoformat(timespec="milliseconds").encode()


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=SHANGHAI)
