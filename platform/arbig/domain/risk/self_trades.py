"""Risk: trades of the account with itself, of a contract in a trading day. Near the exchange's number nothing is opened
that would meet an own order of the other side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt, Le

from arbig.domain.messages import Direction, OrderRequest
from arbig.domain.orders import OrderState
from arbig.domain.risk.rule import STRICT, Counts, Denial, RiskView


@dataclass(frozen=True)
class SelfTrades:
    __pydantic_config__: ClassVar[dict[str, str]] = STRICT
    opens_only: ClassVar[bool] = True
    code: ClassVar[str] = "SELF_TRADES"
    words: ClassVar[str] = "self-trades"

    max_trades: Annotated[int, Ge(1)] = 5
    warn_percent: Annotated[float, Gt(0), Le(100)] = 80.0

    @property
    def limit(self) -> int:
        return self.max_trades

    def count(self, counts: Counts) -> int:
        return counts.self_trades

    def judge(self, order: OrderRequest, view: RiskView) -> Denial | None:
        count = view.counts.self_trades
        if count + len(view.resting) < self.max_trades:
            return None
        meeting = sum(1 for own in view.resting if _meets(order, own))
        if not meeting or count + meeting < self.max_trades:
            return None
        return Denial(
            self.code,
            f"{order.symbol}: {count} self-trades today and {meeting} own orders in the way of this one, the exchange "
            f"counts up to {self.max_trades}; cancel those first (self_trades in risk.yaml)",
        )


def _meets(order: OrderRequest, own: OrderState) -> bool:
    if not own.is_active or own.direction is order.direction:
        return False
    return order.price >= own.price if order.direction is Direction.LONG else order.price <= own.price
