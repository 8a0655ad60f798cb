"""Risk: a close takes only what is held and not promised to another close."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from arbig.domain.messages import OrderRequest
from arbig.domain.positions import NotEnough, plan_offsets
from arbig.domain.risk.rule import Denial, RiskView


@dataclass(frozen=True)
class CloseAvailable:
    opens_only: ClassVar[bool] = False

    def judge(self, order: OrderRequest, view: RiskView) -> Denial | None:
        plan = plan_offsets(view.holding, view.instrument, order.direction, order.volume, order.offset)
        return Denial("CLOSE_AVAILABLE", plan.reason) if isinstance(plan, NotEnough) else None
