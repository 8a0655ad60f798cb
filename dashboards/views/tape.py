"""Tape: the ticks of a contract as trades, newest first: price, lots, change of open interest, what it was."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

from views.words import Words

from arbig.domain.messages import TickData

KEPT = 80
NATURE = {
    ("buy", 1): "opens_long",
    ("buy", -1): "closes_short",
    ("sell", 1): "opens_short",
    ("sell", -1): "closes_long",
    ("buy", 0): "turns_long",
    ("sell", 0): "turns_short",
}


@dataclass(frozen=True, slots=True)
class Print:
    """What was traded between two ticks. `side`: who came to whom, by the quotes before."""

    tick: TickData
    lots: int
    interest: int
    side: str

    @property
    def nature(self) -> str:
        if self.lots and abs(self.interest) == self.lots:
            return "opens_both" if self.interest > 0 else "closes_both"
        return NATURE[self.side, (self.interest > 0) - (self.interest < 0)]


class Tape:
    """Of one contract. `count` grows with each print."""

    def __init__(self) -> None:
        self.prints: deque[Print] = deque(maxlen=KEPT)
        self.count = 0
        self._last: TickData | None = None

    def add(self, tick: TickData) -> None:
        last, self._last = self._last, tick
        if last is None or tick.trading_day != last.trading_day or tick.volume <= last.volume:
            return
        if last.ask_price_1 and tick.last_price >= last.ask_price_1:
            side = "buy"
        elif last.bid_price_1 and tick.last_price <= last.bid_price_1:
            side = "sell"
        else:
            side = "buy" if tick.last_price >= last.last_price else "sell"
        lots, interest = tick.volume - last.volume, tick.open_interest - last.open_interest
        self.prints.append(Print(tick, lots, interest, side))
        self.count += 1

    def since(self, count: int) -> list[Print]:
        """Oldest first."""
        new = min(self.count - count, len(self.prints))
        return list(self.prints)[len(self.prints) - new :] if new > 0 else []


def print_cells(one: Print, decimals: int, word: Words) -> list[Any]:
    kind = "up" if one.side == "buy" else "down"
    return [
        f"{one.tick.datetime:%H:%M:%S}",
        [f"{one.tick.last_price:.{decimals}f}", kind],
        [f"{one.lots}", kind],
        f"{one.interest:+d}" if one.interest else "0",
        [word(one.nature), kind],
    ]
