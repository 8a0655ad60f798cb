"""Risk: cancels of many lots at once, of a contract in a trading day. Like the count of all cancels, with a number of
its own for orders that are large.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt, Le

from arbig.domain.messages import OrderRequest, OrderType
from arbig.domain.risk.rule import STRICT, Counts, Denial, RiskView

LARGE_LOTS = 300


@dataclass(frozen=True)
class LargeCancels:
    __pydantic_config__: ClassVar[dict[str, str]] = STRICT
    opens_only: ClassVar[bool] = True
    code: ClassVar[str] = "LARGE_CANCELS"
    words: ClassVar[str] = "large cancels"

    max_cancels: Annotated[int, Ge(1)] = 50
    lots: Annotated[int, Ge(1)] = LARGE_LOTS
    warn_percent: Annotated[float, Gt(0), Le(100)] = 80.0

    @property
    def limit(self) -> int:
        return self.max_cancels

    def count(self, counts: Counts) -> int:
        return counts.large_cancels

    def judge(self, order: OrderRequest, view: RiskView) -> Denial | None:
        if order.order_type is not OrderType.LIMIT or order.volume < self.lots:
            return None
        cancels, working = view.counts.large_cancels, view.counts.large_working
        if cancels + working + 1 < self.max_cancels:
            return None
        return Denial(
            self.code,
            f"{order.symbol}: {cancels} cancels of {self.lots} lots or more today and {working} such orders working, "
            f"the exchange counts up to {self.max_cancels}; send fewer than {self.lots} lots "
            "(large_cancels in risk.yaml)",
        )
