"""Trading: a position that a notebook wants, and what a grant allows it. Values only; `pursuer.py` acts."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from datetime import datetime as Time
from enum import StrEnum
from typing import Self
from uuid import UUID, uuid5

from msgspec.structs import replace

from arbig.domain.messages import Direction, Offset
from arbig.store.intents import GrantRow, IntentRow

CAUSE = "intent:"
NAMESPACE = UUID("6f2b0c1e-8a44-5d0c-9b57-0a6d1c7b54e1")


class IntentState(StrEnum):
    WAITING = "WAITING"
    WORKING = "WORKING"
    DONE = "DONE"
    STOPPED = "STOPPED"
    EXPIRED = "EXPIRED"
    REFUSED = "REFUSED"


RUNNING = (IntentState.WAITING, IntentState.WORKING)


def intent_id(account_id: str, strategy_name: str, intent: str, trading_day: date) -> str:
    """The same wish has the same name, whoever asks again."""
    return str(uuid5(NAMESPACE, "|".join((account_id, strategy_name, intent, trading_day.isoformat()))))


class Intent(IntentRow, frozen=True, kw_only=True):
    """One wish."""

    @property
    def cause(self) -> str:
        return f"{CAUSE}{self.id}"

    @property
    def is_running(self) -> bool:
        return self.state in RUNNING

    @property
    def words(self) -> str:
        return f"{self.strategy_name}: {self.target:+d} {self.symbol} ({self.intent})"

    def request_id(self, step: int) -> str:
        return str(uuid5(UUID(self.id), str(step)))

    @property
    def request_ids(self) -> list[str]:
        return [self.request_id(step) for step in range(1, self.steps + 1)]

    def now(self, state: IntentState, detail: str, when: Time) -> Self:
        return replace(self, state=state, detail=detail, changed_at=when)

    def stepped(self, when: Time) -> Self:
        return replace(self, steps=self.steps + 1, changed_at=when)


def next_order(volume: int, target: int) -> tuple[Direction, Offset, int]:
    """From a book's net lots towards the target: what is held on the other side is closed first."""
    change = target - volume
    direction = Direction.LONG if change > 0 else Direction.SHORT
    if volume * change < 0:
        return direction, Offset.CLOSE, min(abs(change), abs(volume))
    return direction, Offset.OPEN, abs(change)


def ungranted(grants: Iterable[GrantRow], strategy_name: str, lots: int, now: Time) -> str | None:
    """Why no grant allows so many lots; None when one does."""
    own = [grant for grant in grants if grant.strategy_name == strategy_name]
    valid = [grant for grant in own if grant.revoked_at is None and now < grant.expires_at]
    if any(lots <= grant.lots for grant in valid):
        return None
    mend = f"give one: arbig schedule grant {strategy_name} --lots {max(lots, 1)} --days 5"
    if valid:
        return f"{strategy_name}: {lots} lots are more than the {max(g.lots for g in valid)} granted; {mend}"
    why = "was revoked" if own and own[-1].revoked_at else "has expired" if own else "was never given"
    return f"{strategy_name}: real money needs a grant, which {why}; {mend}"
