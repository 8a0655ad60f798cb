"""Risk: no single opening order is larger than so many lots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge

from arbig.domain.messages import OrderRequest
from arbig.domain.risk.rule import STRICT, Denial, RiskView


@dataclass(frozen=True)
class OrderSize:
    __pydantic_config__: ClassVar[dict[str, str]] = STRICT
    opens_only: ClassVar[bool] = True

    max_lots: Annotated[int, Ge(1)] = 10

    def judge(self, order: OrderRequest, view: RiskView) -> Denial | None:
        if order.volume <= self.max_lots:
            return None
        return Denial(
            "ORDER_SIZE",
            f"{order.symbol}: {order.volume} lots in one order, at most {self.max_lots} allowed; "
            f"send fewer (order_size.max_lots in risk.yaml)",
        )
