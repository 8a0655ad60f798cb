"""Bars as strategies get them: in order, none twice, none missing as far as Market still has it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from arbig.domain.messages import BarData


@dataclass
class BarCursor:
    """Where one contract's bars stand: the last one delivered."""

    last: BarData | None = None

    def is_old(self, bar: BarData) -> bool:
        return self.last is not None and bar.datetime <= self.last.datetime

    def follows(self, bar: BarData) -> bool:
        """No bar is missing before this one. On a new trading day nobody can tell without asking."""
        last = self.last
        if last is None or bar.seq is None or last.seq is None:
            return True
        return bar.trading_day == last.trading_day and bar.seq == last.seq + 1

    def gap(self, bar: BarData) -> str:
        """The gap in words."""
        last = self.last
        after = f"{last.datetime:%Y-%m-%d %H:%M}" if last else "the start"
        return f"{bar.symbol}: bars between {after} and {bar.datetime:%Y-%m-%d %H:%M}"


@dataclass
class Slicer:
    """Bars of several contracts -> one slice per minute. A leg without trades is not waited for beyond the next
    minute's first bar (or the caller's timer, `flush`)."""

    legs: frozenset[str]
    minute: datetime | None = None
    waiting: dict[str, tuple[BarData, bytes]] = field(default_factory=dict)

    def add(self, bar: BarData, payload: bytes) -> list[tuple[bytes, ...]]:
        """The slices that are whole now."""
        whole: list[tuple[bytes, ...]] = []
        if self.minute is not None and bar.datetime < self.minute:
            return whole
        if self.minute is not None and bar.datetime > self.minute:
            whole += self.flush()
        self.minute = bar.datetime
        self.waiting[bar.vt_symbol] = (bar, payload)
        if self.waiting.keys() >= self.legs:
            whole += self.flush()
        return whole

    def flush(self) -> list[tuple[bytes, ...]]:
        found = tuple(payload for _, payload in self.waiting.values())
        self.waiting.clear()
        return [found] if found else []
