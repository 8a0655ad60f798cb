"""Risk: seconds in which the account sends many orders and cancels. Ten such seconds a day must be reported beforehand
as high-frequency trading; after half of them opening goes slowly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge

from arbig.domain.messages import OrderRequest
from arbig.domain.risk.rule import STRICT, Denial, RiskView


@dataclass(frozen=True)
class MessageBursts:
    __pydantic_config__: ClassVar[dict[str, str]] = STRICT
    opens_only: ClassVar[bool] = True

    messages: Annotated[int, Ge(1)] = 8
    seconds_a_day: Annotated[int, Ge(1)] = 5

    def judge(self, order: OrderRequest, view: RiskView) -> Denial | None:
        if view.bursts < self.seconds_a_day or not view.sent or view.now - view.sent[-1].at >= 1.0:
            return None
        return Denial(
            "MESSAGE_BURSTS",
            f"{order.symbol}: {view.bursts} seconds today had {self.messages} or more orders and cancels, now one "
            "order a second is opened; wait a second (message_bursts in risk.yaml)",
        )
