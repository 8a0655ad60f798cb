"""Risk: no more than so many orders work at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge

from arbig.domain.messages import OrderRequest
from arbig.domain.risk.rule import STRICT, Denial, RiskView


@dataclass(frozen=True)
class WorkingOrders:
    __pydantic_config__: ClassVar[dict[str, str]] = STRICT
    opens_only: ClassVar[bool] = True

    max_orders: Annotated[int, Ge(1)] = 50

    def judge(self, order: OrderRequest, view: RiskView) -> Denial | None:
        if view.working_orders < self.max_orders:
            return None
        return Denial(
            "WORKING_ORDERS",
            f"{order.symbol}: {view.working_orders} orders are working, at most {self.max_orders} allowed; "
            "cancel some (working_orders.max_orders in risk.yaml)",
        )
