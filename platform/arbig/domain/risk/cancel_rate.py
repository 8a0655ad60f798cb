"""Risk: who cancels faster than so many a second and a minute opens nothing meanwhile. No cancel is ever refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge

from arbig.domain.messages import OrderRequest
from arbig.domain.risk.rule import STRICT, Denial, RiskView


@dataclass(frozen=True)
class CancelRate:
    __pydantic_config__: ClassVar[dict[str, str]] = STRICT
    opens_only: ClassVar[bool] = True

    per_second: Annotated[int, Ge(1)] = 5
    per_minute: Annotated[int, Ge(1)] = 100

    def judge(self, order: OrderRequest, view: RiskView) -> Denial | None:
        for seconds, most, word in ((1.0, self.per_second, "second"), (60.0, self.per_minute, "minute")):
            if len(view.cancelled) >= most and view.now - view.cancelled[-most] < seconds:
                return Denial(
                    "CANCEL_RATE",
                    f"{order.symbol}: {most} cancels in the last {word}, nothing is opened after so many; "
                    f"wait a {word} (cancel_rate.per_{word} in risk.yaml)",
                )
        return None
