"""Tape: the ticks of the running trading day, read back from the journal that Market keeps to rebuild its bars."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from arbig.market.queries import QueryError

MOST = 100_000
USUAL = 500


class Cut(NamedTuple):
    """Which ticks of a contract: the newest `limit` of them, those since a moment (`2025-10-15T09:00:00`, compared as
    it is written), or the one of a number."""

    symbol: str
    limit: int = USUAL
    since: str | None = None
    seq: int | None = None


def cut_of(symbol: str, limit: str | None, since: str | None, seq: str | None) -> Cut:
    """The query's words as values. Raises QueryError."""
    numbers = {"limit": limit, "seq": seq}
    for name, words in numbers.items():
        if words is not None and not (words.isdigit() and int(words) > 0):
            raise QueryError(f"{name}: found {words!r}, expected a number above zero; write e.g. {name}=500")
    most = MOST if since is not None else USUAL
    return Cut(symbol, min(int(limit or most), MOST), since, int(seq) if seq is not None else None)


def ticks_of(path: Path, cut: Cut) -> list[bytes]:
    """The payloads as they came, oldest first. A file that is not there has none."""
    if not path.exists() or not path.stat().st_size:
        return []
    found: list[bytes] = []
    wanted = f'"symbol":"{cut.symbol}"'.encode()
    number = None if cut.seq is None else f'"seq":{cut.seq}'.encode()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        for line in _backwards(text):
            if wanted not in line or (number is not None and not _has(line, number)):
                continue
            if cut.since is not None and _moment(line) < cut.since:
                break
            found.append(line)
            if len(found) >= cut.limit or number is not None:
                break
    return found[::-1]


def _backwards(text: mmap.mmap) -> Iterator[bytes]:
    """Whole lines, the last one first; a torn last one is passed over."""
    end = text.rfind(b"\n")
    while end > 0:
        begin = text.rfind(b"\n", 0, end) + 1
        yield text[begin:end]
        end = begin - 1


def _has(line: bytes, number: bytes) -> bool:
    place = line.find(number)
    return place >= 0 and line[place + len(number) : place + len(number) + 1] in (b",", b"}")


def _moment(line: bytes) -> str:
    place = line.find(b'"datetime":"') + 12
    return line[place : line.find(b'"', place)].decode()
