"""Subscriptions: which contracts' ticks somebody wants. A broker's front forgets them with every line that breaks, and
strategies say theirs once: what was said outlives the Gateway's own restarts, as long as the contract trades.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from datetime import date
from pathlib import Path

from arbig.domain.instruments import InstrumentBook, UnknownSymbol


class Subscriptions:
    """Without a path nothing outlives the process."""

    def __init__(self, symbols: Iterable[str], path: Path | None = None) -> None:
        self._path = path
        self._symbols = dict.fromkeys((*symbols, *_read(path)))

    @property
    def symbols(self) -> tuple[str, ...]:
        return tuple(self._symbols)

    def add(self, symbols: Iterable[str]) -> tuple[str, ...]:
        """Those that are new."""
        fresh = tuple(dict.fromkeys(symbol for symbol in symbols if symbol not in self._symbols))
        if fresh:
            self._symbols |= dict.fromkeys(fresh)
            self._write()
        return fresh

    def drop_expired(self, book: InstrumentBook, trading_day: date) -> None:
        self._symbols = {symbol: None for symbol in self._symbols if not _is_over(book, symbol, trading_day)}

    def _write(self) -> None:
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_suffix(".new")
        fresh.write_text("\n".join(self._symbols), encoding="utf-8")
        fresh.replace(self._path)


def _is_over(book: InstrumentBook, symbol: str, trading_day: date) -> bool:
    try:
        return book.get(symbol, trading_day).last_trading_day < trading_day
    except UnknownSymbol:
        return False


def _read(path: Path | None) -> list[str]:
    if path is not None:
        with contextlib.suppress(FileNotFoundError):
            return path.read_text("utf-8").split()
    return []
