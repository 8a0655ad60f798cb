"""Risk: opening orders come no faster than so many a second and a minute, by the wall's clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge

from arbig.domain.messages import OrderRequest
from arbig.domain.risk.rule import STRICT, Denial, RiskView


@dataclass(frozen=True)
class OrderRate:
    __pydantic_config__: ClassVar[dict[str, str]] = STRICT
    opens_only: ClassVar[bool] = True

    per_second: Annotated[int, Ge(1)] = 3
    per_minute: Annotated[int, Ge(1)] = 60

    def judge(self, order: OrderRequest, view: RiskView) -> Denial | None:
        for seconds, most, word in ((1.0, self.per_second, "second"), (60.0, self.per_minute, "minute")):
            if len(view.sent) >= most and view.now - view.sent[-most].at < seconds:
                return Denial(
                    "ORDER_RATE",
                    f"{order.symbol}: {most} orders in the last {word}, no more are allowed; "
                    f"wait a {word} (order_rate.per_{word} in risk.yaml)",
                )
        return None
