"""Matching: our working orders of one contract meet a book of one level. Pure, the same live and in a backtest.

The market is what the ticks say: our orders never move it, they only use up what is displayed until the next tick
displays anew. An order that crosses on arrival fills at the book's price; one that rests fills at its own price, when
the other side comes to it or trades go through it. A trade exactly at its price proves nothing: others may have stood
before us. An empty side (limit-up, limit-down) fills nobody.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from arbig.domain.messages import Direction, OrderType, TickData


class Resting(msgspec.Struct, frozen=True, kw_only=True):
    """A working order as the matcher sees it. `sequence` is its place in time, `volume` what is still to be filled;
    `is_early`: it came before any book was displayed, so the first tick is its arrival."""

    order_id: str
    direction: Direction
    price: float
    volume: int
    sequence: int = 0
    order_type: OrderType = OrderType.LIMIT
    is_early: bool = False


class Fill(NamedTuple):
    order_id: str
    price: float
    volume: int


class Outcome(NamedTuple):
    """What one event did: the matcher after it, the fills in their order, the orders that died with what they left."""

    matcher: Matcher
    fills: tuple[Fill, ...] = ()
    cancelled: tuple[Resting, ...] = ()


class Side(msgspec.Struct, frozen=True):
    """What is still to be had on one side of the book until the next tick."""

    price: float = 0.0
    volume: int = 0

    def reached_by(self, order: Resting) -> bool:
        return self.volume > 0 and self.price > 0 and _at_least_as_good(order, self.price)


class Matcher(msgspec.Struct, frozen=True, kw_only=True):
    """The working orders of one contract and what the last tick displays."""

    orders: tuple[Resting, ...] = ()
    bid: Side = Side()
    ask: Side = Side()
    next_sequence: int = 1

    @property
    def has_book(self) -> bool:
        return self.bid.price > 0 or self.ask.price > 0

    def enter(self, order: Resting) -> Outcome:
        """A new order in continuous trading: it takes what it can reach, then rests (LIMIT) or dies (FAK, FOK)."""
        side = self._against(order.direction)
        reach = min(side.volume, order.volume) if side.reached_by(order) else 0
        if order.order_type is OrderType.FOK and reach < order.volume:
            return Outcome(self, (), (order,))
        fills = (Fill(order.order_id, side.price, reach),) if reach else ()
        left = replace(order, volume=order.volume - reach, is_early=not self.has_book)
        matcher = self._using(order.direction, reach)
        if left.volume and order.order_type is OrderType.LIMIT:
            return Outcome(matcher.rest(left), fills)
        return Outcome(matcher, fills, (left,) if left.volume else ())

    def rest(self, order: Resting) -> Matcher:
        """Take an order without matching it: an auction order, or one read back from the store."""
        sequence = order.sequence or self.next_sequence
        return replace(
            self,
            orders=_by_priority((*self.orders, replace(order, sequence=sequence))),
            next_sequence=max(self.next_sequence, sequence + 1),
        )

    def cancel(self, order_id: str) -> Outcome:
        gone = tuple(order for order in self.orders if order.order_id == order_id)
        kept = tuple(order for order in self.orders if order.order_id != order_id)
        return Outcome(replace(self, orders=kept), (), gone)

    def on_tick(self, tick: TickData) -> Outcome:
        """A new picture of the book: it displays anew, then our resting orders meet it at their own prices."""
        bid, ask = Side(tick.bid_price_1, tick.bid_volume_1), Side(tick.ask_price_1, tick.ask_volume_1)
        fresh = replace(self, bid=bid, ask=ask)
        if not self.orders:
            return Outcome(fresh)
        through = Side(tick.last_price, tick.last_volume)
        return fresh._meet(through)

    def on_auction(self, price: float, volume: int) -> Outcome:
        """The auction's one price: every order at least as good fills at it, better prices first, up to its volume."""
        left = {Direction.LONG: volume, Direction.SHORT: volume}
        fills: list[Fill] = []
        kept: list[Resting] = []
        for order in self.orders:
            filled = min(order.volume, left[order.direction]) if _at_least_as_good(order, price) else 0
            if filled:
                left[order.direction] -= filled
                fills.append(Fill(order.order_id, price, filled))
            if order.volume > filled:
                kept.append(replace(order, volume=order.volume - filled))
        return Outcome(replace(self, orders=tuple(kept)), tuple(fills))

    def on_day_end(self) -> Outcome:
        """The trading day is over: what still works dies, the book is empty."""
        return Outcome(Matcher(next_sequence=self.next_sequence), (), self.orders)

    def _meet(self, through: Side) -> Outcome:
        displayed = {Direction.LONG: self.ask, Direction.SHORT: self.bid}
        traded = {Direction.LONG: through.volume, Direction.SHORT: through.volume}
        fills: list[Fill] = []
        kept: list[Resting] = []
        for order in self.orders:
            side = displayed[order.direction]
            shown = min(order.volume, side.volume) if side.reached_by(order) else 0
            passed = 0
            if through.price > 0 and _better(order, through.price) and not order.is_early:
                passed = min(order.volume - shown, traded[order.direction])
            displayed[order.direction] = Side(side.price, side.volume - shown)
            traded[order.direction] -= passed
            if shown + passed:
                price = side.price if order.is_early else order.price
                fills.append(Fill(order.order_id, price, shown + passed))
            if order.volume > shown + passed:
                kept.append(replace(order, volume=order.volume - shown - passed, is_early=False))
        matcher = replace(self, orders=tuple(kept), ask=displayed[Direction.LONG], bid=displayed[Direction.SHORT])
        return Outcome(matcher, tuple(fills))

    def _against(self, direction: Direction) -> Side:
        return self.ask if direction is Direction.LONG else self.bid

    def _using(self, direction: Direction, volume: int) -> Matcher:
        if not volume:
            return self
        side = self._against(direction)
        left = Side(side.price, side.volume - volume)
        return replace(self, ask=left) if direction is Direction.LONG else replace(self, bid=left)


EPSILON = 1e-9


def _better(order: Resting, price: float) -> bool:
    """Would the order have paid more (asked less) than this price?"""
    return (order.price - price) * order.direction.sign > EPSILON


def _at_least_as_good(order: Resting, price: float) -> bool:
    return (order.price - price) * order.direction.sign > -EPSILON


def _by_priority(orders: tuple[Resting, ...]) -> tuple[Resting, ...]:
    """Price first, then time; buys before sells, which never meet one another here."""
    return tuple(
        sorted(orders, key=lambda order: (order.direction, -order.price * order.direction.sign, order.sequence))
    )
