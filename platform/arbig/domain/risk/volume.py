"""Risk: an order is for at least one lot, and for no more than the exchange takes at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from arbig.domain.messages import OrderRequest
from arbig.domain.risk.rule import Denial, RiskView


@dataclass(frozen=True)
class Volume:
    opens_only: ClassVar[bool] = False

    def judge(self, order: OrderRequest, view: RiskView) -> Denial | None:
        most = view.instrument.max_order_volume
        if 1 <= order.volume <= most:
            return None
        return Denial("VOLUME", f"{order.symbol}: volume {order.volume} is outside 1-{most} lots")
