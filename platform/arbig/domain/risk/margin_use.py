"""Risk: margin, with what working orders and this one would need, takes no more than a share of the balance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Gt, Le

from arbig.domain.fees import margin
from arbig.domain.messages import OrderRequest
from arbig.domain.risk.rule import STRICT, Denial, RiskView


@dataclass(frozen=True)
class MarginUse:
    __pydantic_config__: ClassVar[dict[str, str]] = STRICT
    opens_only: ClassVar[bool] = True

    max_percent: Annotated[float, Gt(0), Le(100)] = 80.0

    def judge(self, order: OrderRequest, view: RiskView) -> Denial | None:
        funds, contract = view.funds, view.instrument
        if funds is None:
            return None
        more = margin(contract.margin_rate, contract.size, order.price, order.volume)
        needed = funds.margin + max(funds.frozen, funds.reserved) + more
        if needed <= funds.balance * self.max_percent / 100:
            return None
        return Denial(
            "MARGIN_USE",
            f"{order.symbol}: margin would be {needed:,.0f} yuan of a balance of {funds.balance:,.0f}, at most "
            f"{self.max_percent:g} % allowed; close some or send fewer lots (margin_use.max_percent in risk.yaml)",
        )
