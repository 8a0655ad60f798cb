"""Door: the last one before the counter. What Trading has said of new orders, durable, asked before each insert.

Never told, or told something that cannot be read: HALTED. HALTED is taken from everybody, and is newer than what was
told before; anything looser only with a number greater than the last, so that an old word never opens what a newer one
has closed. Cancels do not pass here.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from arbig.domain.messages import SHANGHAI, Offset
from arbig.runtime.clock import Clock
from arbig.store.journal import Journal

NEVER_TOLD = "Trading has not said yet that orders may be sent 尚未收到交易状态"


class State(StrEnum):
    ACTIVE = "ACTIVE"
    REDUCING = "REDUCING"
    HALTED = "HALTED"


class Standing(NamedTuple):
    state: State
    reason: str
    since: datetime | None
    number: int


class Stale(ValueError):
    """A looser state whose number is not greater than the last one's."""


class Door:
    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock
        self.standing = _remembered(journal)

    def refusal(self, offset: Offset) -> str | None:
        """Why an order does not pass now; None when it does."""
        standing = self.standing
        if standing.state is State.ACTIVE or (standing.state is State.REDUCING and offset is not Offset.OPEN):
            return None
        what = "no order passes" if standing.state is State.HALTED else "only closing orders pass"
        return f"{what} the Gateway: it is {standing.state} ({standing.reason or 'no reason was given'})"

    def set(self, state: State, reason: str, number: int | None) -> None:
        """Raises Stale, and StoreError when it could not be written: a halt holds in this process all the same."""
        last = self.standing
        if state is not State.HALTED:
            if (state, number) == (last.state, last.number):
                return
            if number is None or number <= last.number:
                raise Stale(
                    f"{state} with number {number}: the Gateway is {last.state} with number {last.number}; "
                    f"ask GET /state, and say it again with a greater number"
                )
        is_same = state is last.state and reason == last.reason
        since = last.since if is_same and last.since is not None else self._clock.now()
        newer = last.number + 1 if number is None else max(last.number, number)
        found = Standing(state, reason, since, newer)
        if found == last:
            return
        if state is State.HALTED:
            self.standing = found
        self._journal.set_standing(state, reason, since.astimezone(SHANGHAI).isoformat(), found.number)
        self.standing = found


def _remembered(journal: Journal) -> Standing:
    found = journal.standing()
    if found is None:
        return Standing(State.HALTED, NEVER_TOLD, None, 0)
    state, reason, since, number = found
    try:
        return Standing(State(state), reason, datetime.fromisoformat(since), number)
    except ValueError:
        return Standing(
            State.HALTED, f"the state in the journal cannot be read: {state!r} since {since!r}", None, number
        )
