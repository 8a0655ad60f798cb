"""Risk: a price lies inside the day's limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from arbig.domain.messages import OrderRequest
from arbig.domain.risk.price_tick import TOLERANCE
from arbig.domain.risk.rule import Denial, RiskView


@dataclass(frozen=True)
class PriceLimits:
    opens_only: ClassVar[bool] = False

    def judge(self, order: OrderRequest, view: RiskView) -> Denial | None:
        if view.tick is None or view.limits is None:
            return None
        low, high = view.limits
        if low - TOLERANCE <= order.price <= high + TOLERANCE:
            return None
        return Denial(
            "PRICE_LIMITS",
            f"{order.symbol}: price {order.price:.10g} is outside {view.shown(low)}-{view.shown(high)}; "
            f"last price was {view.shown(view.tick.last_price)}",
        )
