"""Trading: what there is to make flat, and what stands in the way of it. Values only; `flattener.py` acts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime as Time
from enum import StrEnum
from typing import NamedTuple, Self

from msgspec.structs import replace

from arbig.domain.messages import Direction
from arbig.domain.orders import OrderState
from arbig.store.flattens import FlattenRow
from arbig.trading.books import Book
from arbig.trading.state import Block

CAUSE = "flatten:"
OTHERS = ""
"""The name that closes what no strategy owns: such a fill goes to the unassigned book."""


class FlattenState(StrEnum):
    WAITING = "WAITING"
    CANCELLING = "CANCELLING"
    CLOSING = "CLOSING"
    DONE = "DONE"
    STOPPED = "STOPPED"


RUNNING = (FlattenState.WAITING, FlattenState.CANCELLING, FlattenState.CLOSING)


class Target(NamedTuple):
    """Lots of one contract, held on one side, in one strategy's book (or in nobody's)."""

    strategy_name: str
    symbol: str
    held: Direction


class Flatten(FlattenRow, frozen=True, kw_only=True):
    """One job."""

    @property
    def cause(self) -> str:
        return f"{CAUSE}{self.id}"

    @property
    def is_running(self) -> bool:
        return self.state in RUNNING

    @property
    def is_account_wide(self) -> bool:
        return self.strategy_name is None and self.symbol is None

    @property
    def scope(self) -> str:
        if self.is_account_wide:
            return "the whole account"
        return " in ".join(part for part in (self.strategy_name, self.symbol) if part)

    def is_same(self, strategy_name: str | None, symbol: str | None) -> bool:
        return (self.strategy_name, self.symbol) == (strategy_name, symbol)

    def holds(self, order: OrderState) -> bool:
        """Whether an order is of what is made flat."""
        return self.strategy_name in (None, order.strategy_name) and self.symbol in (None, order.symbol)

    @property
    def block(self) -> Block:
        """Meanwhile nothing is opened in it; a strategy whose own book it is sends nothing at all."""
        is_book = self.strategy_name is not None
        words = f"{self.scope} is being made flat ({self.reason}); see: arbig status"
        return Block(self.strategy_name, self.symbol, words, not is_book, self.cause)

    def now(self, state: FlattenState, detail: str, when: Time) -> Self:
        return replace(self, state=state, detail=detail, changed_at=when)


def targets_of(job: Flatten, held: Mapping[tuple[str, Direction], int], books: Iterable[Book]) -> dict[Target, int]:
    """What is left to close: the counter's lots, first by the strategies' books, the rest as nobody's. A book that
    says more than the counter holds is not believed."""
    rest = {key: volume for key, volume in held.items() if volume > 0 and job.symbol in (None, key[0])}
    found: dict[Target, int] = {}
    for book in books:
        side = (book.symbol, Direction.LONG if book.volume > 0 else Direction.SHORT)
        lots = min(abs(book.volume), rest.get(side, 0))
        if not lots:
            continue
        rest[side] -= lots
        if job.strategy_name in (None, book.strategy_name):
            found[Target(book.strategy_name, *side)] = lots
    if job.strategy_name is None:
        found |= {Target(OTHERS, *side): lots for side, lots in rest.items() if lots}
    return found
