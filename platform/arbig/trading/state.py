"""Trading: may orders be sent? Two answers in one: what a person has set, and whether we know where we stand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime as Time
from enum import StrEnum
from typing import Any, NamedTuple, Self

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


class Block(NamedTuple):
    """Something that holds for a while and ends by itself: these orders are refused. None stands for every strategy,
    every contract; orders of the cause that `passes` are not meant."""

    strategy_name: str | None
    symbol: str | None
    words: str
    opens_only: bool = True
    passes: str | None = None

    def holds(self, request: OrderRequest) -> bool:
        return (
            self.strategy_name in (None, request.strategy_name)
            and self.symbol in (None, request.symbol)
            and (request.offset is Offset.OPEN or not self.opens_only)
            and (self.passes is None or request.cause != self.passes)
        )

    @property
    def is_general(self) -> bool:
        return self.strategy_name is None and self.symbol is None


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
    blocks: tuple[Block, ...] = ()

    @property
    def effective(self) -> State:
        if not (self.is_connected and self.is_reconciled):
            return State.HALTED if self.wanted is State.HALTED else State.RECONCILING
        return State.REDUCING if self.wanted is State.ACTIVE and self.hold else self.wanted

    @property
    def hold(self) -> Block | None:
        """What keeps the whole account from opening anything, for a while."""
        return next((block for block in self.blocks if block.is_general), None)

    @property
    def words(self) -> str:
        """Why the effective state is what it is."""
        return self.hold.words if self.wanted is State.ACTIVE and self.hold else self.reason

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
        found = next((block for block in self.blocks if block.holds(request)), None)
        return None if found is None else f"{request.symbol}: {found.words}"

    def now(self, **changes: Any) -> Self:
        return replace(self, **changes)

    def set(self, wanted: State, reason: str, when: Time, number: int) -> Self:
        return replace(self, wanted=wanted, reason=reason, since=when, number=number)
