"""Risk: orders are sent when the exchange takes them: continuous trading, and the auction's first four minutes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from arbig.domain.messages import OrderRequest, OrderType
from arbig.domain.risk.rule import Denial, RiskView
from arbig.domain.sessions import Phase

_WORDS = {
    Phase.CLOSED: "the session is closed",
    Phase.BREAK: "the session is in a break",
    Phase.AUCTION_MATCH: "the auction is being matched",
}


@dataclass(frozen=True)
class TradingHours:
    opens_only: ClassVar[bool] = False

    def judge(self, order: OrderRequest, view: RiskView) -> Denial | None:
        if not view.phase.accepts_orders:
            return Denial("TRADING_HOURS", f"{order.symbol}: {_WORDS[view.phase]}, no orders are taken")
        if view.phase is Phase.AUCTION_ORDER and order.order_type is not OrderType.LIMIT:
            return Denial(
                "TRADING_HOURS", f"{order.symbol}: {order.order_type} orders are not taken in the auction, only LIMIT"
            )
        return None
