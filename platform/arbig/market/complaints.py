"""Complaints: what cannot be used is counted, and said in one line now and then, not once for each message."""

from __future__ import annotations

import logging

from arbig.runtime.clock import Clock

log = logging.getLogger(__name__)

SAY_AGAIN_SECONDS = 10.0


class Complaints:
    """One kind of trouble. `count`: how often it came."""

    def __init__(self, clock: Clock, what: str) -> None:
        self.count = 0
        self._clock = clock
        self._what = what
        self._said_at: float | None = None

    def add(self, line: str) -> None:
        self.count += 1
        now = self._clock.monotonic()
        if self._said_at is None or now - self._said_at >= SAY_AGAIN_SECONDS:
            self._said_at = now
            log.warning("%s, %d so far; the latest: %s", self._what, self.count, line)
