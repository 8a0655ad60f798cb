"""Risk: what every rule has in common. A rule is its own settings and answers one question in one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import ClassVar, Protocol, Self

from arbig.domain.instruments import Instrument
from arbig.domain.messages import Direction, Offset, OrderRequest, TickData
from arbig.domain.orders import OrderState
from arbig.domain.positions import Holding
from arbig.domain.sessions import Phase


@dataclass(frozen=True, slots=True)
class Denial:
    """No, and why: a word for the machine, a sentence for the trader (found, limit, mend)."""

    code: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Sent:
    """An order sent earlier, at a reading of the wall's monotonic seconds. Two are equal when they ask for the same."""

    at: float = field(compare=False)
    symbol: str
    direction: Direction
    offset: Offset
    price: float
    volume: int

    @classmethod
    def of(cls, order: OrderRequest, at: float) -> Sent:
        return cls(at, order.symbol, order.direction, order.offset, order.price, order.volume)


@dataclass(frozen=True, slots=True)
class Counts:
    """What an exchange counts of a contract in a trading day, and the orders that a cancel could still add. FAK and FOK
    orders are not counted."""

    cancels: int = 0
    large_cancels: int = 0
    self_trades: int = 0
    working: int = 0
    large_working: int = 0

    def moved(self, before: Self, after: Self) -> Self:
        """These counts when a part of them has changed."""
        return type(self)(
            self.cancels - before.cancels + after.cancels,
            self.large_cancels - before.large_cancels + after.large_cancels,
            self.self_trades - before.self_trades + after.self_trades,
            self.working - before.working + after.working,
            self.large_working - before.large_working + after.large_working,
        )


@dataclass(frozen=True, slots=True)
class Exposure:
    """Lots of a product, over all its contracts: held, or opening (working orders that will be held when they fill)."""

    long: int = 0
    short: int = 0

    def of(self, direction: Direction) -> int:
        return self.long if direction is Direction.LONG else self.short

    def plus(self, direction: Direction, lots: int) -> Exposure:
        if direction is Direction.LONG:
            return Exposure(self.long + lots, self.short)
        return Exposure(self.long, self.short + lots)


@dataclass(frozen=True, slots=True)
class Funds:
    """The counter's account in yuan. `reserved` is our own sum for working opening orders, of which the counter may not
    have told yet; its own is `frozen`."""

    balance: float
    margin: float
    frozen: float = 0.0
    reserved: float = 0.0


@dataclass(frozen=True, slots=True)
class RiskView:
    """All that rules may look at. `now` is in monotonic seconds like `Sent.at`; `sent` (opening orders) and `cancelled`
    reach back a minute, oldest first; `resting` are the contract's own orders that may still trade; `silent` is how
    many seconds ago the last tick of any contract came, `bursts` counts the day's seconds with many messages."""

    instrument: Instrument
    now: float
    phase: Phase
    trading_day: date | None = None
    tick: TickData | None = None
    holding: Holding | None = None
    working_orders: int = 0
    sent: Sequence[Sent] = ()
    cancelled: Sequence[float] = ()
    resting: Sequence[OrderState] = ()
    counts: Counts = Counts()
    held: Exposure = Exposure()
    opening: Exposure = Exposure()
    funds: Funds | None = None
    silent: float | None = None
    bursts: int = 0

    @property
    def limits(self) -> tuple[float, float] | None:
        """Limit-down and limit-up, None before the first tick of the trading day: yesterday's no longer hold."""
        tick = self.tick
        if tick is None or tick.limit_down <= 0 or tick.limit_up <= 0:
            return None
        if self.trading_day and tick.trading_day and tick.trading_day != self.trading_day:
            return None
        return tick.limit_down, tick.limit_up

    def shown(self, price: float) -> str:
        """A price with the decimals of its tick: 800.10 for gold, 3200 for rebar."""
        exponent = Decimal(str(self.instrument.price_tick)).normalize().as_tuple().exponent
        return f"{price:.{max(0, -int(exponent))}f}"


class Rule(Protocol):
    """`opens_only`: a limit of the house, which never stands in the way of a close. The others repeat what the counter
    would refuse anyway."""

    opens_only: ClassVar[bool]

    def judge(self, order: OrderRequest, view: RiskView) -> Denial | None: ...


@dataclass(frozen=True, slots=True)
class Day:
    """How the account stands, in yuan: its balance, what the day began with, what was earned since (after fees), and
    the best balance any day was settled with."""

    balance: float
    began: float
    profit: float
    best: float = 0.0


class Level(StrEnum):
    """How far a trigger goes: only closing orders, or none at all."""

    REDUCING = "REDUCING"
    HALTED = "HALTED"


@dataclass(frozen=True, slots=True)
class Breach:
    """A limit that is passed: a word for the machine, a sentence for the trader, and what is set."""

    code: str
    sentence: str
    level: Level


@dataclass(frozen=True, slots=True)
class Readings:
    """What triggers look at: the account, when orders and cancels were asked for (monotonic seconds like `now`),
    how many entries each group is behind its stream, and what reconciliation cannot explain."""

    now: float = 0.0
    day: Day | None = None
    requests: Sequence[float] = ()
    behind: Mapping[str, int] = field(default_factory=dict)
    mismatch: str | None = None


class Trigger(Protocol):
    """Looks at the house, not at an order: beyond its limit trading is set stricter until a person decides."""

    def breach(self, found: Readings) -> Breach | None: ...


class Counting(Protocol):
    """A rule about a number that the exchange counts, of a contract in a trading day: who comes near it is warned."""

    code: ClassVar[str]
    words: ClassVar[str]

    @property
    def limit(self) -> int: ...

    @property
    def warn_percent(self) -> float: ...

    def count(self, counts: Counts) -> int: ...


STRICT = {"extra": "forbid"}
