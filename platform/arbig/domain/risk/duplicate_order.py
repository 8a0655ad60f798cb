"""Risk: the same opening order is not sent again and again within a moment, as a strategy gone wild would."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt

from arbig.domain.messages import OrderRequest
from arbig.domain.risk.rule import STRICT, Denial, RiskView, Sent


@dataclass(frozen=True)
class DuplicateOrder:
    """`max_orders` equal ones (symbol, side, price, volume) within `within_seconds`; the next is denied."""

    __pydantic_config__: ClassVar[dict[str, str]] = STRICT
    opens_only: ClassVar[bool] = True

    max_orders: Annotated[int, Ge(1)] = 3
    within_seconds: Annotated[float, Gt(0)] = 1.0

    def judge(self, order: OrderRequest, view: RiskView) -> Denial | None:
        recent = takewhile(lambda sent: view.now - sent.at < self.within_seconds, reversed(view.sent))
        wish = Sent.of(order, view.now)
        equal = sum(1 for sent in recent if sent == wish)
        if equal < self.max_orders:
            return None
        return Denial(
            "DUPLICATE_ORDER",
            f"{order.symbol}: {equal} equal orders within {self.within_seconds:g} s, no more are allowed; "
            "wait, or send another price or volume (duplicate_order in risk.yaml)",
        )
