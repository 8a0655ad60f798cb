"""Fees and margin: what the counter takes for a fill and holds for a position. A rate is of the notional value."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from arbig.domain.messages import Direction, Offset


class FeeSchedule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Commission of one product: yuan a lot plus a share of the notional; both may be set, one is usually zero."""

    open_by_lot: float = 0.0
    open_by_rate: float = 0.0
    close_by_lot: float = 0.0
    close_by_rate: float = 0.0
    close_today_by_lot: float = 0.0
    close_today_by_rate: float = 0.0

    def of(self, offset: Offset) -> tuple[float, float]:
        """(yuan a lot, rate) for an offset; plain CLOSE pays what closing yesterday's lots pays."""
        if offset is Offset.OPEN:
            return self.open_by_lot, self.open_by_rate
        if offset is Offset.CLOSETODAY:
            return self.close_today_by_lot, self.close_today_by_rate
        return self.close_by_lot, self.close_by_rate


def commission(fees: FeeSchedule, size: float, offset: Offset, price: float, volume: int) -> float:
    """What a fill costs. `size` is the contract's multiplier."""
    by_lot, by_rate = fees.of(offset)
    return volume * (by_lot + by_rate * price * size)


def margin(rate: float, size: float, price: float, volume: int) -> float:
    """What the counter holds for lots valued at a price."""
    return rate * price * size * volume


def larger_side(margins: Iterable[tuple[str, Direction, float]]) -> float:
    """Margin over (product, side, amount): of each product only the larger of its long and its short sum is held."""
    sums: dict[str, dict[Direction, float]] = {}
    for product, side, amount in margins:
        sides = sums.setdefault(product, dict.fromkeys(Direction, 0.0))
        sides[side] += amount
    return sum(max(sides.values()) for sides in sums.values())


def both_sides(margins: Iterable[tuple[str, Direction, float]]) -> float:
    """Margin where the contract has no larger-side relief: everything is held."""
    return sum(amount for _, _, amount in margins)
