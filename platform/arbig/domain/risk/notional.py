"""Risk: no single opening order is worth more than so many yuan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Gt

from arbig.domain.messages import OrderRequest
from arbig.domain.risk.rule import STRICT, Denial, RiskView


@dataclass(frozen=True)
class Notional:
    __pydantic_config__: ClassVar[dict[str, str]] = STRICT
    opens_only: ClassVar[bool] = True

    max_value: Annotated[float, Gt(0)] = 3_000_000.0

    def judge(self, order: OrderRequest, view: RiskView) -> Denial | None:
        value = order.price * view.instrument.size * order.volume
        if value <= self.max_value:
            return None
        return Denial(
            "NOTIONAL",
            f"{order.symbol}: order value {value:,.0f} yuan, at most {self.max_value:,.0f} allowed; "
            "send fewer lots (notional.max_value in risk.yaml)",
        )
