"""Doubts: orders that went out and that the counter has not spoken of. Two answered queries decide, not one.

A counter may hold an order back without a word (CTP does, beyond its rate), so an answer that lacks it proves nothing
yet. Two that lack it, a second apart, with nothing sent in between, are taken for a no; and that no is provisional: for
a minute the counter is asked again, and a late word is adopted whenever it comes. This holds for the simulated exchange
as well: a wish written to a connection that was lost may still lie in the socket when the next session is answered.
"""

from __future__ import annotations

from collections.abc import Mapping

APART = 1.0
PROVISIONAL = 60.0
LOOK_EVERY = 20.0


class Doubts:
    """Pure: orders by their order_id, with their references; times in monotonic seconds."""

    def __init__(self) -> None:
        self._absent_since: dict[str, float] = {}
        self._given_up: dict[int, float] = {}
        self._looked_at = 0.0

    def answered(
        self, asked_for: Mapping[str, int], in_doubt: Mapping[str, int], asked_at: float, answered_at: float
    ) -> list[str]:
        """Orders to give up. `asked_for` were in doubt before the question, `in_doubt` still are with its answer."""
        self._looked_at = answered_at
        absent = asked_for.keys() & in_doubt.keys()
        gone = [name for name in absent if asked_at - self._absent_since.get(name, asked_at) >= APART]
        self._absent_since = {
            name: self._absent_since.get(name, answered_at) for name in absent if name not in set(gone)
        }
        self._given_up |= {asked_for[name]: answered_at + PROVISIONAL for name in gone}
        return gone

    def lost(self) -> None:
        """With the connection: what one session's answers lack is asked anew in the next."""
        self._absent_since.clear()

    def provisional(self, now: float) -> set[int]:
        """References of the orders given up less than a minute ago."""
        self._given_up = {ref: until for ref, until in self._given_up.items() if until >= now}
        return set(self._given_up)

    def is_look_due(self, now: float) -> bool:
        return bool(self.provisional(now)) and now - self._looked_at >= LOOK_EVERY
