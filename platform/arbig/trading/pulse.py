"""Trading: how fast the house works: what was asked for in the last seconds, the day's seconds with many messages, and
how often the counter has rejected a strategy.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable
from datetime import datetime as Time

from arbig.domain.risk import RiskSettings
from arbig.store.orders import Received

NEVER = 2**31


class Pulse:
    def __init__(self, settings: RiskSettings) -> None:
        bursts, rejects = settings.message_bursts, settings.rejects
        self._burst = NEVER if bursts is None else bursts.messages
        self._rejects = rejects
        self._kept_seconds = 0.0 if settings.runaway is None else settings.runaway.within_seconds
        self._rejected: defaultdict[str, deque[float]] = defaultdict(deque)
        self.requests: deque[float] = deque()
        self._second: Time | None = None
        self._messages = 0
        self.bursts = 0

    def load(self, received: Iterable[Received]) -> None:
        """The day's seconds, from what was answered in it, oldest first."""
        self._second, self._messages, self.bursts = None, 0, 0
        for each in received:
            self.passed_on(each.received_at, each.messages or 0)

    def asked(self, now: float) -> None:
        """An order or a cancel has been asked for, whatever becomes of it."""
        self.requests.append(now)
        while now - self.requests[0] >= self._kept_seconds and len(self.requests) > 1:
            self.requests.popleft()

    def passed_on(self, when: Time, messages: int) -> None:
        """So many orders and cancels go to the counter."""
        second = when.replace(microsecond=0)
        before = self._messages if second == self._second else 0
        self._second, self._messages = second, before + messages
        self.bursts += before < self._burst <= self._messages

    def rejected(self, strategy_name: str, now: float) -> bool:
        """The counter has rejected an order of a strategy. True when it is one too many."""
        if self._rejects is None:
            return False
        recent = self._rejected[strategy_name]
        recent.append(now)
        while now - recent[0] >= self._rejects.within_seconds:
            recent.popleft()
        if len(recent) < self._rejects.orders:
            return False
        recent.clear()
        return True
