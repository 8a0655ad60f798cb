"""Risk: lots of one product, over all its contracts: net (long less short) and gross (long and short). Working orders
that open count as if they were filled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge

from arbig.domain.messages import OrderRequest
from arbig.domain.risk.rule import STRICT, Denial, RiskView


@dataclass(frozen=True)
class ProductPosition:
    __pydantic_config__: ClassVar[dict[str, str]] = STRICT
    opens_only: ClassVar[bool] = True

    max_net: Annotated[int, Ge(1)] = 500
    max_gross: Annotated[int, Ge(1)] = 1000

    def judge(self, order: OrderRequest, view: RiskView) -> Denial | None:
        held, opening, product = view.held, view.opening, view.instrument.product
        mine = held.of(order.direction) + opening.of(order.direction) + order.volume
        others = held.of(order.direction.opposite)
        net, gross = mine - others, mine + others + opening.of(order.direction.opposite)
        if net > self.max_net:
            return Denial(
                "NET_POSITION",
                f"{order.symbol}: {product} would be {net} lots {order.direction} net, at most {self.max_net} allowed; "
                "close some first (product_position.max_net in risk.yaml)",
            )
        if gross > self.max_gross:
            return Denial(
                "GROSS_POSITION",
                f"{order.symbol}: {product} would be {gross} lots, long and short together, at most {self.max_gross} "
                "allowed; close some first (product_position.max_gross in risk.yaml)",
            )
        return None
