"""Risk: nothing is opened blind. A front that has sent no tick of any contract for so long, in trading hours, is not
believed; it ends by itself with the next tick.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Gt

from arbig.domain.messages import OrderRequest
from arbig.domain.risk.rule import STRICT, Denial, RiskView
from arbig.domain.sessions import Phase


@dataclass(frozen=True)
class StaleMarket:
    __pydantic_config__: ClassVar[dict[str, str]] = STRICT
    opens_only: ClassVar[bool] = True

    seconds: Annotated[float, Gt(0)] = 10.0

    def judge(self, order: OrderRequest, view: RiskView) -> Denial | None:
        if view.phase is not Phase.CONTINUOUS or view.silent is None or view.silent < self.seconds:
            return None
        return Denial("STALE_MARKET", f"{order.symbol}: {self.words(view.silent)}")

    def words(self, silent: float) -> str:
        return (
            f"no tick of any contract for {silent:.0f} s, at most {self.seconds:g} s allowed; nothing is opened until "
            "ticks come again (stale_market.seconds in risk.yaml)"
        )
