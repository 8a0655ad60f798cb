"""Risk: cancels of a contract in a trading day. The exchange watches an account that reaches its number; nothing is
opened that would have to be cancelled beyond it. Closes and cancels themselves always pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt, Le

from arbig.domain.messages import OrderRequest, OrderType
from arbig.domain.risk.rule import STRICT, Counts, Denial, RiskView


@dataclass(frozen=True)
class Cancels:
    __pydantic_config__: ClassVar[dict[str, str]] = STRICT
    opens_only: ClassVar[bool] = True
    code: ClassVar[str] = "CANCELS"
    words: ClassVar[str] = "cancels"

    max_cancels: Annotated[int, Ge(1)] = 500
    warn_percent: Annotated[float, Gt(0), Le(100)] = 80.0

    @property
    def limit(self) -> int:
        return self.max_cancels

    def count(self, counts: Counts) -> int:
        return counts.cancels

    def judge(self, order: OrderRequest, view: RiskView) -> Denial | None:
        """Were every working order cancelled, and this one too, the number must still not be reached."""
        if order.order_type is not OrderType.LIMIT:
            return None
        cancels, working = view.counts.cancels, view.counts.working
        if cancels + working + 1 < self.max_cancels:
            return None
        return Denial(
            self.code,
            f"{order.symbol}: {cancels} cancels today and {working} orders working, the exchange counts up to "
            f"{self.max_cancels}; open with FAK or FOK, which it does not count, or tomorrow (cancels in risk.yaml)",
        )
