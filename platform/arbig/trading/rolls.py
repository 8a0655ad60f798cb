"""Trading: a strategy on its way from one contract to the next. Values only; `roller.py` acts."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime as Time
from enum import StrEnum
from typing import NamedTuple, Self

from msgspec.structs import replace

from arbig.domain.messages import Direction
from arbig.domain.orders import OrderState
from arbig.store.rolls import RollRow
from arbig.trading.state import Block

CAUSE = "roll:"


class RollState(StrEnum):
    WAITING = "WAITING"
    HOLDING = "HOLDING"  # the strategy is laid to rest, what works of it is cancelled
    MOVING = "MOVING"  # old lots are closed, new ones opened
    BINDING = "BINDING"  # all lots are there; the strategy is to begin on the new contract
    DONE = "DONE"
    STOPPED = "STOPPED"


RUNNING = (RollState.WAITING, RollState.HOLDING, RollState.MOVING, RollState.BINDING)
STOPPED = "STOPPED"
"""What a strategy does that was left half way."""


class Moved(NamedTuple):
    """Lots of this roll that are certain."""

    closed: int
    opened: int


class Roll(RollRow, frozen=True, kw_only=True):
    """One job."""

    @property
    def cause(self) -> str:
        return f"{CAUSE}{self.id}"

    @property
    def is_running(self) -> bool:
        return self.state in RUNNING

    @property
    def scope(self) -> str:
        return f"roll of {self.strategy_name} from {self.symbol} to {self.target}"

    @property
    def held(self) -> Direction:
        """The side of what moves."""
        return Direction.LONG if (self.lots or 0) >= 0 else Direction.SHORT

    def holds(self, order: OrderState) -> bool:
        """Whether an order is of what moves."""
        return order.strategy_name == self.strategy_name and order.symbol in (self.symbol, self.target)

    @property
    def block(self) -> Block:
        """Meanwhile the strategy sends nothing."""
        words = f"{self.strategy_name} moves from {self.symbol} to {self.target}; see: arbig roll"
        return Block(self.strategy_name, None, words, False, self.cause)

    def moved(self, filled: Iterable[tuple[str, int]]) -> Moved:
        """From what its own orders have traded, by contract. Nothing else counts: what another hand closes is not
        opened again."""
        found = {self.symbol: 0, self.target: 0}
        for symbol, lots in filled:
            found[symbol] = found.get(symbol, 0) + lots
        return Moved(found[self.symbol], found[self.target])

    def now(self, state: RollState, detail: str, when: Time) -> Self:
        return replace(self, state=state, detail=detail, changed_at=when)


def to_do(lots: int, held: int, moved: Moved) -> tuple[int, int]:
    """How many are still to be closed and to be opened, at most: of `lots` in all, `held` now in the old contract. No
    lot is opened before one of the old contract is certainly closed."""
    total = abs(lots)
    side = 1 if lots > 0 else -1
    return max(0, min(total - moved.closed, side * held)), max(0, min(moved.closed, total) - moved.opened)
