"""Risk: the rules in the order they are asked, and their settings. A new rule is a file and a line here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import ClassVar

from arbig.domain.messages import CommandType, Offset, OrderRequest
from arbig.domain.risk.close_available import CloseAvailable
from arbig.domain.risk.duplicate_order import DuplicateOrder
from arbig.domain.risk.notional import Notional
from arbig.domain.risk.order_rate import OrderRate
from arbig.domain.risk.order_size import OrderSize
from arbig.domain.risk.price_band import STOP_CAUSE, PriceBand
from arbig.domain.risk.price_limits import PriceLimits
from arbig.domain.risk.price_tick import PriceTick
from arbig.domain.risk.rule import STRICT, Denial, RiskView, Rule, Sent
from arbig.domain.risk.trading_hours import TradingHours
from arbig.domain.risk.volume import Volume
from arbig.domain.risk.working_orders import WorkingOrders

__all__ = [
    "COUNTER_RULES",
    "STOP_CAUSE",
    "Denial",
    "RiskSettings",
    "RiskView",
    "Rule",
    "Sent",
    "judge",
    "rules_from",
]

COUNTER_RULES: tuple[Rule, ...] = (Volume(), PriceTick(), PriceLimits(), TradingHours(), CloseAvailable())
"""What the counter would refuse anyway: never configured, never off, for opens and closes alike."""


@dataclass(frozen=True)
class RiskSettings:
    """`config/risk.yaml`: one section a rule, with its numbers; `null` switches a rule off."""

    __pydantic_config__: ClassVar[dict[str, str]] = STRICT

    order_size: OrderSize | None = field(default_factory=OrderSize)
    notional: Notional | None = field(default_factory=Notional)
    price_band: PriceBand | None = field(default_factory=PriceBand)
    order_rate: OrderRate | None = field(default_factory=OrderRate)
    working_orders: WorkingOrders | None = field(default_factory=WorkingOrders)
    duplicate_order: DuplicateOrder | None = field(default_factory=DuplicateOrder)


def rules_from(settings: RiskSettings) -> tuple[Rule, ...]:
    """Every rule that is on: the counter's first, then the house's in the order of the settings."""
    house = (getattr(settings, section.name) for section in fields(settings))
    return (*COUNTER_RULES, *(rule for rule in house if rule is not None))


def judge(rules: Sequence[Rule], order: OrderRequest, view: RiskView) -> Denial | None:
    """The first denial, or None. A cancel is never judged, a close only by the counter's rules."""
    if order.cmd_type is CommandType.CANCEL_ORDER:
        return None
    for rule in rules:
        if rule.opens_only and order.offset is not Offset.OPEN:
            continue
        denial = rule.judge(order, view)
        if denial is not None:
            return denial
    return None
