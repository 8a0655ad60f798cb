"""Risk: a price stands on the contract's tick."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import ClassVar

from arbig.domain.messages import OrderRequest
from arbig.domain.risk.rule import Denial, RiskView

TOLERANCE = 1e-6


@dataclass(frozen=True)
class PriceTick:
    opens_only: ClassVar[bool] = False

    def judge(self, order: OrderRequest, view: RiskView) -> Denial | None:
        tick = view.instrument.price_tick
        if not isfinite(order.price) or order.price <= 0:
            return Denial("PRICE", f"{order.symbol}: price {order.price} is not a price above zero")
        steps = order.price / tick
        if abs(steps - round(steps)) <= TOLERANCE:
            return None
        below, above = int(steps) * tick, (int(steps) + 1) * tick
        return Denial(
            "PRICE_TICK",
            f"{order.symbol}: price {order.price:.10g} is not a multiple of the tick {tick:g}; "
            f"nearest are {view.shown(below)} and {view.shown(above)}",
        )
