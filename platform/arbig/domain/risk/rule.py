"""Risk: what every rule has in common. A rule is its own settings and answers one question in one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import ClassVar, Protocol

from arbig.domain.instruments import Instrument
from arbig.domain.messages import Direction, Offset, OrderRequest, TickData
from arbig.domain.positions import Holding
from arbig.domain.sessions import Phase


@dataclass(frozen=True, slots=True)
class Denial:
    """No, and why: a word for the machine, a sentence for the trader."""

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
class RiskView:
    """All that rules may look at. `now` is in monotonic seconds like `Sent.at`; `sent` reaches back a minute,
    oldest first."""

    instrument: Instrument
    now: float
    phase: Phase
    trading_day: date | None = None
    tick: TickData | None = None
    holding: Holding | None = None
    working_orders: int = 0
    sent: Sequence[Sent] = ()

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


STRICT = {"extra": "forbid"}
