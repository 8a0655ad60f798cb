"""Hops: when, by the wall's clock, an order passed the Gateway's own places. Kept in memory, and written with what is
published next: nothing on an order's way waits for it.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime

from arbig.domain.counter import TickBatch
from arbig.runtime.clock import Clock

TICKS = 256
"""A signal comes soon after its tick: so many of each contract are remembered."""
ORDERS = 10_000


class Hops:
    """`tick` passed on, command `read`, row `journalled`, order `sent`, the counter's first word `spoken`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ticks: dict[str, deque[tuple[int, datetime]]] = {}
        self._orders: dict[str, dict[str, datetime]] = {}
        self._due: list[str] = []

    def ticks(self, batch: TickBatch) -> None:
        now = self._clock.now()
        for symbol, seq, _ in batch.ticks:
            known = self._ticks.get(symbol)
            if known is None:
                known = self._ticks[symbol] = deque(maxlen=TICKS)
            known.append((seq, now))

    def admitted(self, order_id: str, read: datetime, cause: str | None) -> None:
        """Its row is on disk."""
        times = {"read": read, "journalled": self._clock.now()}
        tick = self._tick(cause)
        if tick is not None:
            times["tick"] = tick
        if len(self._orders) >= ORDERS:
            self._orders.clear()  # nobody has spoken of them for ten thousand orders
        self._orders[order_id] = times

    def sent(self, order_id: str) -> None:
        if order_id in self._orders:
            self._orders[order_id]["sent"] = self._clock.now()

    def spoken(self, order_id: str) -> None:
        """The counter's first word of it."""
        times = self._orders.get(order_id)
        if times is not None and "spoken" not in times:
            times["spoken"] = self._clock.now()
            self._due.append(order_id)

    def take(self) -> list[tuple[str, dict[str, datetime]]]:
        """What is complete, once."""
        due, self._due = self._due, []
        return [(order_id, self._orders.pop(order_id)) for order_id in due if order_id in self._orders]

    def of(self, order_id: str) -> dict[str, datetime]:
        """What is not written yet."""
        return dict(self._orders.get(order_id, {}))

    def _tick(self, cause: str | None) -> datetime | None:
        kind, _, rest = (cause or "").partition(":")
        symbol, _, seq = rest.partition(":")
        if kind not in ("tick", "stop") or not seq.isdigit():
            return None
        return next((when for number, when in reversed(self._ticks.get(symbol, ())) if number == int(seq)), None)
