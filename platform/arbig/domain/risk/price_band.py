"""Risk: an opening price stays near the last one. A triggered stop is sent at the day's limit to be sure of its fill;
it is judged at the price at which it would really trade, the best on the other side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Gt

from arbig.domain.messages import Direction, OrderRequest, TickData
from arbig.domain.risk.rule import STRICT, Denial, RiskView

STOP_CAUSE = "stop:"


@dataclass(frozen=True)
class PriceBand:
    __pydantic_config__: ClassVar[dict[str, str]] = STRICT
    opens_only: ClassVar[bool] = True

    percent: Annotated[float, Gt(0)] = 1.0

    def judge(self, order: OrderRequest, view: RiskView) -> Denial | None:
        if view.tick is None or view.tick.last_price <= 0:
            return None
        last = view.tick.last_price
        width = last * self.percent / 100
        price = _effective(order, view.tick)
        if abs(price - last) <= width:
            return None
        return Denial(
            "PRICE_BAND",
            f"{order.symbol}: price {price:.10g} is outside {view.shown(last - width)}-{view.shown(last + width)} "
            f"({self.percent:g} % around the last price); last price was {view.shown(last)}; "
            "bring the price nearer (price_band.percent in risk.yaml)",
        )


def _effective(order: OrderRequest, tick: TickData) -> float:
    if not (order.cause or "").startswith(STOP_CAUSE):
        return order.price
    if order.direction is Direction.LONG:
        return min(order.price, tick.ask_price_1) if tick.ask_price_1 > 0 else order.price
    return max(order.price, tick.bid_price_1) if tick.bid_price_1 > 0 else order.price
