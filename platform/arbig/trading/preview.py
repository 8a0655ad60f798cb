"""Trading: what would become of an order, by the judgement of real orders. Nothing is written, counted or sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from arbig.domain.fees import commission, margin
from arbig.domain.instruments import Instrument
from arbig.domain.messages import Offset, OrderRequest
from arbig.domain.positions import Leg
from arbig.trading.judge import Refusal

if TYPE_CHECKING:
    from arbig.trading.service import TradingService


def preview(request: OrderRequest, trading: TradingService) -> dict[str, Any]:
    """The orders it would be split into, each with its commission and, where it opens, its margin at the order's price;
    or the rule that refuses it (`code`) and its sentence."""
    plan = trading.judge.plan(request, trading.state)
    if isinstance(plan, Refusal):
        return {"legs": [], "refusal": {"code": plan.code, "detail": plan.sentence}} | _sums([], trading)
    instrument = trading.instruments.get(request.symbol, trading.quotes.trading_day)
    legs = [_leg(leg, request, instrument) for leg in plan]
    return {"legs": legs, "refusal": None} | _sums(legs, trading)


def _leg(leg: Leg, request: OrderRequest, instrument: Instrument) -> dict[str, Any]:
    held = margin(instrument.margin_rate, instrument.size, request.price, leg.volume)
    paid = commission(instrument.fees, instrument.size, leg.offset, request.price, leg.volume)
    return {
        "offset": leg.offset,
        "volume": leg.volume,
        "commission": round(paid, 2),
        "margin": round(held, 2) if leg.offset is Offset.OPEN else 0.0,
    }


def _sums(legs: list[dict[str, Any]], trading: TradingService) -> dict[str, Any]:
    """`available` is what the account has before the order."""
    return {
        "commission": round(sum(leg["commission"] for leg in legs), 2),
        "margin": round(sum(leg["margin"] for leg in legs), 2),
        "available": trading.reconciler.account.get("available"),
    }
