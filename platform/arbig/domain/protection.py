"""Protection: the specification's risk block (8.1). Decides when a position must be closed, and each next step of that.

A close is a limit order across the best price. When the market moves away it is cancelled and priced anew, until the
position is flat; at a price limit it stands there, and an alarm says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from arbig.domain.messages import Direction, TickData

TICKS_ACROSS = 2
REPRICE_SECONDS = 0.5
ASK_AGAIN_SECONDS = 3.0
RETRY_SECONDS = (1.0, 2.0, 5.0, 15.0)


class Limits(Protocol):
    """The block itself: percent of the average entry price."""

    @property
    def stop_loss_pct(self) -> float | None: ...
    @property
    def take_profit_pct(self) -> float | None: ...


class Held(Protocol):
    """A strategy's net position in a contract and its average entry price."""

    @property
    def volume(self) -> int: ...
    @property
    def price(self) -> float: ...


class Asked(Protocol):
    """An order that may still fill."""

    @property
    def direction(self) -> Direction: ...
    @property
    def price(self) -> float: ...


@dataclass(frozen=True)
class Exit:
    """A close under way. `order` is our own working order, `asked` the others we have asked to cancel,
    `not_before` (monotonic seconds) the earliest time of the next try."""

    reason: str
    order: str | None = None
    asked: frozenset[str] = frozenset()
    refusals: int = 0
    not_before: float = 0.0
    alarmed: bool = False


@dataclass(frozen=True)
class Step:
    """What to do now: cancel these, or send this much at this price, or raise an alarm; `exit` is the new state."""

    exit: Exit
    cancel: tuple[str, ...] = ()
    price: float | None = None
    alarm: str | None = None


def breach(lots: Held, last_price: float, risk: Limits) -> str | None:
    """The sentence that says why this position must go, None while it may stay."""
    if not lots.volume or not lots.price:
        return None
    sign = 1 if lots.volume > 0 else -1
    percent = sign * (last_price - lots.price) / lots.price * 100
    said = f"{percent:+.2f} % of the entry price {lots.price:g}"
    if risk.stop_loss_pct is not None and percent <= -risk.stop_loss_pct:
        return f"stop loss: {said}, limit -{risk.stop_loss_pct:g} %"
    if risk.take_profit_pct is not None and percent >= risk.take_profit_pct:
        return f"take profit: {said}, limit +{risk.take_profit_pct:g} %"
    return None


def closing_direction(lots: Held) -> Direction:
    return Direction.SHORT if lots.volume > 0 else Direction.LONG


def next_step(
    exit: Exit, lots: Held, tick: TickData, price_tick: float, working: Mapping[str, Asked], now: float
) -> Step:
    """One step of a close. `working` are the strategy's orders in this contract that may still fill."""
    others = tuple(name for name in working if name != exit.order)
    if others:
        asked = others if now >= exit.not_before else tuple(name for name in others if name not in exit.asked)
        later = now + ASK_AGAIN_SECONDS if asked else exit.not_before
        return Step(replace(exit, asked=exit.asked | set(asked), not_before=later), cancel=asked)
    direction = closing_direction(lots)
    locked = is_locked(direction, tick)
    alarm = None
    if locked and not exit.alarmed:
        exit = replace(exit, alarmed=True)
        alarm = f"{tick.symbol} stands at its limit {tick.last_price:g}: the position cannot be closed yet"
    if exit.order is not None and exit.order in working:
        stale = not locked and not _crosses(working[exit.order], tick)
        if stale and now >= exit.not_before:
            return Step(replace(exit, not_before=now + ASK_AGAIN_SECONDS), cancel=(exit.order,), alarm=alarm)
        return Step(exit, alarm=alarm)
    if exit.refusals and now < exit.not_before:
        return Step(exit, alarm=alarm)
    price = _price(direction, tick, price_tick, locked)
    return Step(replace(exit, asked=frozenset(), not_before=now + REPRICE_SECONDS), price=price, alarm=alarm)


def refused(exit: Exit, now: float) -> Exit:
    """Our close was rejected: wait longer each time before the next one."""
    pause = RETRY_SECONDS[min(exit.refusals, len(RETRY_SECONDS) - 1)]
    return replace(exit, order=None, refusals=exit.refusals + 1, not_before=now + pause)


def _crosses(order: Asked, tick: TickData) -> bool:
    if order.direction is Direction.LONG:
        return not tick.ask_volume_1 or order.price >= tick.ask_price_1
    return not tick.bid_volume_1 or order.price <= tick.bid_price_1


def _price(direction: Direction, tick: TickData, price_tick: float, locked: bool) -> float:
    across = TICKS_ACROSS * price_tick
    if direction is Direction.LONG:
        best = tick.ask_price_1 if tick.ask_volume_1 else tick.last_price
        return tick.limit_up if locked else min(best + across, tick.limit_up or float("inf"))
    best = tick.bid_price_1 if tick.bid_volume_1 else tick.last_price
    return tick.limit_down if locked else max(best - across, tick.limit_down or 0.0)


def is_locked(direction: Direction, tick: TickData) -> bool:
    """The price stands at its limit and nobody is on the other side: an order would only queue."""
    if direction is Direction.LONG:
        return bool(tick.limit_up) and tick.last_price >= tick.limit_up and not tick.ask_volume_1
    return bool(tick.limit_down) and tick.last_price <= tick.limit_down and not tick.bid_volume_1
