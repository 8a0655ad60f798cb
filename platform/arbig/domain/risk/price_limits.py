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
        tick = view.tick
        if tick is None or tick.limit_down <= 0 or tick.limit_up <= 0:
            return None
        if tick.limit_down - TOLERANCE <= order.price <= tick.limit_up + TOLERANCE:
            return None
        allowed = f"{view.shown(tick.limit_down)}-{view.shown(tick.limit_up)}"
        return Denial(
            "PRICE_LIMITS",
            f"{order.symbol}: price {order.price:.10g} is outside {allowed}; "
            f"last price was {view.shown(tick.last_price)}",
        )
