"""Risk: the rules in the order they are asked, and their settings. A new rule is a file and a line here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import ClassVar

from arbig.domain.messages import CommandType, Offset, OrderRequest
from arbig.domain.risk.activity import counts_of, opening_of, product_of
from arbig.domain.risk.cancel_rate import CancelRate
from arbig.domain.risk.cancels import Cancels
from arbig.domain.risk.close_available import CloseAvailable
from arbig.domain.risk.daily_loss import DailyLoss
from arbig.domain.risk.drawdown import Drawdown
from arbig.domain.risk.duplicate_order import DuplicateOrder
from arbig.domain.risk.large_cancels import LARGE_LOTS, LargeCancels
from arbig.domain.risk.margin_use import MarginUse
from arbig.domain.risk.message_bursts import MessageBursts
from arbig.domain.risk.notional import Notional
from arbig.domain.risk.order_rate import OrderRate
from arbig.domain.risk.order_size import OrderSize
from arbig.domain.risk.position_mismatch import PositionMismatch
from arbig.domain.risk.price_band import STOP_CAUSE, PriceBand
from arbig.domain.risk.price_limits import PriceLimits
from arbig.domain.risk.price_tick import PriceTick
from arbig.domain.risk.product_position import ProductPosition
from arbig.domain.risk.rejects import Rejects
from arbig.domain.risk.rule import (
    STRICT,
    Breach,
    Counting,
    Counts,
    Day,
    Denial,
    Exposure,
    Funds,
    Level,
    Readings,
    RiskView,
    Rule,
    Sent,
    Trigger,
)
from arbig.domain.risk.runaway import Runaway
from arbig.domain.risk.self_trades import SelfTrades
from arbig.domain.risk.stale_market import StaleMarket
from arbig.domain.risk.stream_lag import StreamLag
from arbig.domain.risk.trading_hours import TradingHours
from arbig.domain.risk.volume import Volume
from arbig.domain.risk.working_orders import WorkingOrders

__all__ = [
    "COUNTER_RULES",
    "STOP_CAUSE",
    "Breach",
    "Counting",
    "Counts",
    "Day",
    "Denial",
    "Exposure",
    "Funds",
    "Level",
    "Readings",
    "RiskSettings",
    "RiskView",
    "Rule",
    "Sent",
    "Trigger",
    "counts_of",
    "judge",
    "opening_of",
    "product_of",
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
    cancel_rate: CancelRate | None = field(default_factory=CancelRate)
    cancels: Cancels | None = field(default_factory=Cancels)
    large_cancels: LargeCancels | None = field(default_factory=LargeCancels)
    self_trades: SelfTrades | None = field(default_factory=SelfTrades)
    product_position: ProductPosition | None = field(default_factory=ProductPosition)
    margin_use: MarginUse | None = field(default_factory=MarginUse)
    stale_market: StaleMarket | None = field(default_factory=StaleMarket)
    message_bursts: MessageBursts | None = field(default_factory=MessageBursts)
    daily_loss: DailyLoss | None = field(default_factory=DailyLoss)
    drawdown: Drawdown | None = field(default_factory=Drawdown)
    runaway: Runaway | None = field(default_factory=Runaway)
    stream_lag: StreamLag | None = field(default_factory=StreamLag)
    position_mismatch: PositionMismatch | None = field(default_factory=PositionMismatch)
    rejects: Rejects | None = field(default_factory=Rejects)

    @property
    def triggers(self) -> tuple[Trigger, ...]:
        """What watches the house."""
        every = (self.daily_loss, self.drawdown, self.runaway, self.stream_lag, self.position_mismatch)
        return tuple(each for each in every if each is not None)

    @property
    def counting(self) -> tuple[Counting, ...]:
        """What the exchange counts."""
        return tuple(each for each in (self.cancels, self.large_cancels, self.self_trades) if each is not None)

    @property
    def large_lots(self) -> int:
        return LARGE_LOTS if self.large_cancels is None else self.large_cancels.lots


def rules_from(settings: RiskSettings) -> tuple[Rule, ...]:
    """Every rule that is on: the counter's first, then the house's in the order of the settings."""
    sections = (getattr(settings, section.name) for section in fields(settings))
    house = (rule for rule in sections if rule is not None and hasattr(rule, "judge"))
    return (*COUNTER_RULES, *house)


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
