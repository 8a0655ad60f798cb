"""Trading: may orders be sent? Two answers in one: what a person has set, and whether we know where we stand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime as Time
from enum import StrEnum
from typing import Any, Self

from arbig.domain.messages import Offset, OrderRequest


class State(StrEnum):
    ACTIVE = "ACTIVE"
    REDUCING = "REDUCING"
    HALTED = "HALTED"
    RECONCILING = "RECONCILING"


SETTABLE = (State.ACTIVE, State.REDUCING, State.HALTED)
"""Each refuses more than the one before it."""


def is_stricter(state: State, than: State) -> bool:
    return SETTABLE.index(state) > SETTABLE.index(than)


@dataclass(frozen=True)
class TradingState:
    """`wanted` survives a restart, and `number` grows with each change of it; the other two are found out anew each
    time."""

    wanted: State
    reason: str
    since: Time
    number: int
    is_connected: bool = False
    is_reconciled: bool = False

    @property
    def effective(self) -> State:
        if not (self.is_connected and self.is_reconciled):
            return State.HALTED if self.wanted is State.HALTED else State.RECONCILING
        return self.wanted

    def refusal(self, request: OrderRequest) -> str | None:
        """Why an order is not sent now, None when nothing stands against it. Cancels are never asked."""
        if self.wanted is State.HALTED:
            return f"{request.symbol}: trading is halted ({self.reason}); no order is sent until it is set ACTIVE"
        if not self.is_connected:
            return f"{request.symbol}: the exchange is disconnected; no new order is sent until it is back"
        if not self.is_reconciled:
            return f"{request.symbol}: orders and positions are being checked with the exchange; try again in a moment"
        if self.wanted is State.REDUCING and request.offset is Offset.OPEN:
            return f"{request.symbol}: only closing orders are sent while trading is REDUCING ({self.reason})"
        return None

    def now(self, **changes: Any) -> Self:
        return replace(self, **changes)

    def set(self, wanted: State, reason: str, when: Time, number: int) -> Self:
        return replace(self, wanted=wanted, reason=reason, since=when, number=number)
