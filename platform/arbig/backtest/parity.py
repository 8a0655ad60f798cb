"""Parity: a live session's orders beside the backtest's, and the difference of their profit split into its causes.

Profit is linear in fills: a fill at `price` of lots that are worth `mark` in the end is worth
sign * lots * size * (mark - price) - fee. So every yuan of a difference belongs to one fill, and the causes sum to the
whole, exactly (fractions). What an order left undone is followed to its end: the lots by which the two sides then
differ keep the name of what parted them until an order brings the sides together again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime as Time
from datetime import timedelta
from enum import StrEnum
from fractions import Fraction
from typing import NamedTuple, TypeAlias

from arbig.backtest.matching import Matcher, Outcome, Resting
from arbig.backtest.series import TickSeries
from arbig.domain.messages import Direction, Offset, Status

SAME_MOMENT = timedelta(milliseconds=1)
BAR = timedelta(minutes=1)
NEAR = timedelta(minutes=5)
"""Orders without a common bar are the same order only when they were sent within so long of one another."""


class Bucket(StrEnum):
    """Where a difference comes from."""

    SIGNAL = "signal"
    TIMING = "timing"
    PRICE = "price"
    FEE = "fee"
    MISSED = "missed data"
    MANUAL = "manual"
    RESIDUAL = "residual"


Amounts: TypeAlias = dict[Bucket, Fraction]
Quote: TypeAlias = Callable[[str, Time, Direction], float | None]
"""What an order of that direction would have paid in the market at a moment: (symbol, moment, direction) -> price."""


class Cause(NamedTuple):
    """`bar`, `tick` or `stop`, and when; None where only the number is known."""

    kind: str
    moment: Time | None = None


class Fill(NamedTuple):
    """Fee in yuan, of all its lots."""

    moment: Time
    price: float
    volume: int
    fee: float = 0.0


@dataclass(frozen=True)
class Order:
    """One order of one side. `by_hand`: a person's, another terminal's or the broker's, not the strategy's own;
    `arrived`: when the exchange took it, `ended`: when it was cancelled; None where that is not known."""

    order_id: str
    symbol: str
    direction: Direction
    offset: Offset
    price: float
    volume: int
    sent: Time
    status: Status
    fills: tuple[Fill, ...] = ()
    cause: Cause | None = None
    by_hand: bool = False
    words: str = ""
    arrived: Time | None = None
    ended: Time | None = None

    @property
    def is_opening(self) -> bool:
        return self.offset is Offset.OPEN

    @property
    def traded(self) -> int:
        return sum(fill.volume for fill in self.fills)

    @property
    def first_fill(self) -> Time | None:
        return self.fills[0].moment if self.fills else None


class Pair(NamedTuple):
    """The same order on both sides, or one that only one side has."""

    live: Order | None
    replay: Order | None

    @property
    def moment(self) -> Time:
        return min(order.sent for order in self if order is not None)

    @property
    def any(self) -> Order:
        found = self.live or self.replay
        assert found is not None
        return found


@dataclass(frozen=True)
class Row:
    """A pair and its part of the difference, by cause."""

    pair: Pair
    amounts: Amounts = field(default_factory=dict)

    @property
    def difference(self) -> Fraction:
        return sum(self.amounts.values(), Fraction(0))


def match(live: Sequence[Order], replay: Sequence[Order]) -> list[Pair]:
    """Each order with its counterpart: same contract, direction, opening or closing, and cause; where the cause's
    moment is not known the nearest in time. Never one order twice. In the order of time."""
    left, right = dict(enumerate(live)), dict(enumerate(replay))
    candidates = sorted(
        (_distance(one, other), i, k) for i, one in left.items() for k, other in right.items() if _may_be(one, other)
    )
    pairs: list[Pair] = []
    for _, i, k in candidates:
        if i in left and k in right:
            pairs.append(Pair(left.pop(i), right.pop(k)))
    pairs += [Pair(order, None) for order in left.values()]
    pairs += [Pair(None, order) for order in right.values()]
    return sorted(pairs, key=lambda pair: (pair.moment, pair.any.order_id))


def _may_be(one: Order, other: Order) -> bool:
    if one.by_hand or other.by_hand:
        return False
    if (one.symbol, one.direction, one.is_opening) != (other.symbol, other.direction, other.is_opening):
        return False
    if one.cause is not None and other.cause is not None:
        if one.cause.kind != other.cause.kind:
            return False
        if one.cause.kind == "bar" and one.cause.moment is not None and other.cause.moment is not None:
            return one.cause.moment == other.cause.moment
    return abs(one.sent - other.sent) <= NEAR


def _distance(one: Order, other: Order) -> tuple[bool, timedelta, int]:
    return one.offset != other.offset, abs(one.sent - other.sent), abs(one.volume - other.volume)


def worth(orders: Iterable[Order], sizes: Mapping[str, float], marks: Mapping[str, float]) -> Fraction:
    """What the fills of these orders earned by the time their lots are worth `marks`, fees paid."""
    return sum((_worth(order, fill, sizes, marks) for order in orders for fill in order.fills), Fraction(0))


def split(
    pairs: Sequence[Pair],
    sizes: Mapping[str, float],
    marks: Mapping[str, float],
    quote: Quote,
    expected: Mapping[str, tuple[Fill, ...]] | None = None,
) -> tuple[Row, ...]:
    """Live minus replay, order by order. `sizes`: units a lot, `marks`: what lots are worth in the end, by symbol.
    `expected`: by order_id, what live's orders would have had in the market they came to (`executed`): live against
    that is price, that against the replay is timing. Without it the market's own price at the two moments decides."""
    apart: dict[str, deque[_Lots]] = {}
    prices = _Prices(sizes, marks, quote, expected or {})
    return tuple(_row(pair, prices, apart.setdefault(pair.any.symbol, deque())) for pair in pairs)


def executed(orders: Iterable[Order], ticks: TickSeries) -> dict[str, tuple[Fill, ...]]:
    """What the simulated exchange would have given these orders of one contract, each when it came to the market.
    Where that is not known: at its first fill if it took there, else when it was sent. Fees are left out."""
    sent = [order for order in orders if order.status is not Status.REJECTED]
    arrivals = deque(sorted(((_arrival(order), n) for n, order in enumerate(sent)), key=lambda one: one[0]))
    found: dict[str, list[Fill]] = {order.order_id: [] for order in sent}
    matcher, row = Matcher(), 0
    while arrivals or matcher.orders:
        if not matcher.orders:  # nothing can happen before the next order comes
            row = max(row, ticks.before(arrivals[0][0] + SAME_MOMENT) - 1)
        if row >= len(ticks):
            break
        tick = ticks.tick(max(row, 0))
        outcome = matcher.on_tick(tick)
        matcher, row = outcome.matcher, row + 1
        _note(found, outcome, tick.datetime)
        until = ticks.tick(row).datetime if row < len(ticks) else None
        matcher = _without_cancelled(matcher, sent, until)
        while arrivals and (until is None or arrivals[0][0] + SAME_MOMENT < until):
            when, n = arrivals.popleft()
            outcome = matcher.enter(_resting(sent[n], n))
            matcher = outcome.matcher
            _note(found, outcome, when)
    return {name: tuple(fills) for name, fills in found.items()}


def _arrival(order: Order) -> Time:
    if order.arrived is not None:
        return order.arrived
    first = order.first_fill
    took = first is not None and abs(order.fills[0].price - order.price) > 1e-9
    return first if took and first is not None else order.sent


def _resting(order: Order, number: int) -> Resting:
    return Resting(
        order_id=order.order_id,
        direction=order.direction,
        price=order.price,
        volume=order.volume,
        sequence=number + 1,
    )


def _note(found: dict[str, list[Fill]], outcome: Outcome, when: Time) -> None:
    for name, price, volume in outcome.fills:
        found[name].append(Fill(when, price, volume))


def _without_cancelled(matcher: Matcher, orders: Iterable[Order], until: Time | None) -> Matcher:
    for order in orders:
        if order.ended is not None and until is not None and order.ended < until:
            matcher = matcher.cancel(order.order_id).matcher
    return matcher


def total(rows: Iterable[Row]) -> Amounts:
    """By cause, of all orders."""
    sums: Amounts = dict.fromkeys(Bucket, Fraction(0))
    for row in rows:
        for bucket, amount in row.amounts.items():
            sums[bucket] += amount
    return sums


def in_cents(amounts: Mapping[Bucket, Fraction]) -> dict[Bucket, Fraction]:
    """Rounded to the cent so that the rounded parts sum to the rounded whole: the largest remainders are rounded up."""
    floors = {bucket: int(amount * 100 // 1) for bucket, amount in amounts.items()}
    missing = round(sum(amounts.values(), Fraction(0)) * 100) - sum(floors.values())
    by_remainder = sorted(amounts, key=lambda bucket: floors[bucket] - amounts[bucket] * 100)
    for bucket in by_remainder[:missing]:
        floors[bucket] += 1
    return {bucket: Fraction(cents, 100) for bucket, cents in floors.items()}


def exact(number: float) -> Fraction:
    """The number as it is written: 838.14 is 83814/100."""
    return Fraction(repr(float(number)))


# ---- one order


@dataclass
class _Lots:
    """Lots by which the sides differ: signed, live more is positive when long."""

    volume: int
    root: Bucket


class _Part(NamedTuple):
    """Some lots of a fill."""

    moment: Time
    price: Fraction
    fee: Fraction
    volume: int


@dataclass(frozen=True)
class _Prices:
    sizes: Mapping[str, float]
    marks: Mapping[str, float]
    quote: Quote
    expected: Mapping[str, tuple[Fill, ...]]


class _Step(NamedTuple):
    """From one list of fills to another: to what a price that differs is owed, and to what a lot."""

    mine: tuple[Fill, ...]
    theirs: tuple[Fill, ...]
    price: Bucket | None
    root: Bucket


def _row(pair: Pair, prices: _Prices, apart: deque[_Lots]) -> Row:
    order = pair.any
    size, mark = exact(prices.sizes[order.symbol]), exact(prices.marks[order.symbol])
    sign = order.direction.sign
    amounts: Amounts = {}

    def add(bucket: Bucket, amount: Fraction) -> None:
        if amount:
            amounts[bucket] = amounts.get(bucket, Fraction(0)) + amount

    for step in _steps(pair, prices):
        common, mine_left, theirs_left = _zipped(step)
        for mine, theirs in common:
            lots = sign * mine.volume * size
            add(Bucket.FEE, theirs.fee - mine.fee)
            for bucket, yuan in _of_prices(step, pair, mine.price - theirs.price, prices.quote):
                add(bucket, -lots * yuan)
        for side, parts in ((1, mine_left), (-1, theirs_left)):
            for part in parts:
                amount = side * (sign * part.volume * size * (mark - part.price) - part.fee)
                for met, bucket in _traced(side * sign * part.volume, step.root, apart):
                    add(bucket, amount * abs(met) / part.volume)
    return Row(pair, {bucket: amount for bucket, amount in amounts.items() if amount})


def _steps(pair: Pair, prices: _Prices) -> tuple[_Step, ...]:
    live, replay = pair
    if live is None or replay is None:
        root = Bucket.MANUAL if live is not None and live.by_hand else Bucket.SIGNAL
        return (_Step(live.fills if live else (), replay.fills if replay else (), None, root),)
    grown = Bucket.SIGNAL if live.volume != replay.volume else None
    between = prices.expected.get(live.order_id)
    if between is None:
        root = Bucket.PRICE if _together(live, replay) else Bucket.TIMING
        return (_Step(live.fills, replay.fills, None, grown or root),)
    paid = live if live.fills else replay
    fee = sum(fill.fee for fill in paid.fills) / max(paid.traded, 1)
    there = tuple(fill._replace(fee=fee * fill.volume) for fill in between)
    return (
        _Step(live.fills, there, Bucket.PRICE, Bucket.PRICE),
        _Step(there, replay.fills, Bucket.TIMING, grown or Bucket.TIMING),
    )


def _zipped(step: _Step) -> tuple[list[tuple[_Part, _Part]], list[_Part], list[_Part]]:
    """Lot against lot in the order of their fills, and what either side has more."""
    mine, theirs = (
        deque(_Part(fill.moment, exact(fill.price), exact(fill.fee), fill.volume) for fill in fills)
        for fills in (step.mine, step.theirs)
    )
    common: list[tuple[_Part, _Part]] = []
    while mine and theirs:
        volume = min(mine[0].volume, theirs[0].volume)
        common.append((_taken(mine, volume), _taken(theirs, volume)))
    return common, list(mine), list(theirs)


def _taken(parts: deque[_Part], volume: int) -> _Part:
    part = parts.popleft()
    if volume == part.volume:
        return part
    fee = part.fee * volume / part.volume
    parts.appendleft(part._replace(volume=part.volume - volume, fee=part.fee - fee))
    return part._replace(volume=volume, fee=fee)


def _of_prices(step: _Step, pair: Pair, apart: Fraction, quote: Quote) -> Iterable[tuple[Bucket, Fraction]]:
    """Why the prices of the same lot differ. `apart`: mine less theirs."""
    live, replay = pair
    if step.price is not None or live is None or replay is None:
        return ((step.price or step.root, apart),)
    if not apart or _together(live, replay):
        return ((Bucket.PRICE, apart),)
    here, there = (quote(one.symbol, one.arrived or one.sent, one.direction) for one in (live, replay))
    if here is None or there is None:
        return ((Bucket.RESIDUAL, apart),)
    moved = exact(here) - exact(there)
    return (Bucket.TIMING, moved), (Bucket.PRICE, apart - moved)


def _together(live: Order, replay: Order) -> bool:
    """They came to the market in one moment, as far as bars can tell."""
    return abs((live.arrived or live.sent) - (replay.arrived or replay.sent)) < BAR


def _traced(lots: int, root: Bucket, apart: deque[_Lots]) -> Iterable[tuple[int, Bucket]]:
    """These lots and what they are owed to: first those that bring the sides together, then those that part them."""
    while lots and apart and apart[0].volume * lots < 0:
        met = min(abs(lots), abs(apart[0].volume))
        yield met, apart[0].root
        step = met if lots > 0 else -met
        lots -= step
        apart[0].volume += step
        if not apart[0].volume:
            apart.popleft()
    if lots:
        apart.append(_Lots(lots, root))
        yield lots, root


def _worth(order: Order, fill: Fill, sizes: Mapping[str, float], marks: Mapping[str, float]) -> Fraction:
    lots = order.direction.sign * fill.volume * exact(sizes[order.symbol])
    return lots * (exact(marks[order.symbol]) - exact(fill.price)) - exact(fill.fee)
