"""Pace: no more orders in any second than the counter takes. What is beyond it queues there without a word."""

from __future__ import annotations

from collections import deque

PER_SECOND = 3
"""CTP's own guide names six commands a second and session; orders have one half, cancels the other."""


class Pace:
    """Pure: the time goes in, the wait comes out."""

    def __init__(self, per_second: int = PER_SECOND) -> None:
        self.per_second = per_second
        self._slots: deque[float] = deque()

    def wait(self, now: float) -> float:
        """Seconds until the next one may go."""
        self._forget(now)
        if len(self._slots) < self.per_second:
            return 0.0
        return max(self._slots[-self.per_second] + 1.0 - now, 0.0)

    def take(self, now: float) -> float:
        """As `wait`, and the place is taken."""
        wait = self.wait(now)
        self._slots.append(now + wait)
        return wait

    def _forget(self, now: float) -> None:
        while len(self._slots) > self.per_second and self._slots[0] < now - 1.0:
            self._slots.popleft()
