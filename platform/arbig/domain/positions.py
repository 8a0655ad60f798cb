"""Positions: what is held of one contract, long and short, today's and yesterday's lots, and what closes may take.

`position_date_type` is the contract's own (CTP PositionDateType). '1' (SHFE, INE): today's and yesterday's lots are
apart; CLOSE and CLOSEYESTERDAY take yesterday's, CLOSETODAY today's. '2': every close takes the oldest lots first.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from datetime import datetime as Time
from enum import StrEnum
from typing import NamedTuple, Protocol, Self

import msgspec
from msgspec.structs import replace

from arbig.domain.messages import Direction, Exchange, Offset, PositionData, TradeData


class NotHeld(ValueError):
    """A close that takes more than is there: the position and the trades disagree."""


class Lots(msgspec.Struct, frozen=True):
    """Lots opened together. `price` is what was paid, `mark` what the counter values them from: the opening price on
    the day itself, the last settlement price afterwards."""

    volume: int
    price: float
    mark: float


def _volume(lots: tuple[Lots, ...]) -> int:
    volume = 0
    for one in lots:  # asked at every order of a backtest: twice as quick as sum() over so few
        volume += one.volume
    return volume


class ClosedLots(NamedTuple):
    """A part of a close: the lots it took, and whether they were today's."""

    lots: Lots
    is_today: bool


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """The long or the short half. Frozen lots are promised to working closes; they are part of the lots held."""

    today_lots: tuple[Lots, ...] = ()
    yesterday_lots: tuple[Lots, ...] = ()
    today_frozen: int = 0
    yesterday_frozen: int = 0

    @property
    def today(self) -> int:
        return _volume(self.today_lots)

    @property
    def yesterday(self) -> int:
        return _volume(self.yesterday_lots)

    @property
    def volume(self) -> int:
        return self.today + self.yesterday

    @property
    def frozen(self) -> int:
        return self.today_frozen + self.yesterday_frozen

    @property
    def today_available(self) -> int:
        return self.today - self.today_frozen

    @property
    def yesterday_available(self) -> int:
        return self.yesterday - self.yesterday_frozen

    @property
    def available(self) -> int:
        return self.volume - self.frozen

    @property
    def lots(self) -> tuple[Lots, ...]:
        """Oldest first."""
        return self.yesterday_lots + self.today_lots

    @property
    def price(self) -> float:
        """Average price paid, zero when nothing is held."""
        volume = self.volume
        return sum(lots.price * lots.volume for lots in self.lots) / volume if volume else 0.0


class Closing(Protocol):
    """A working close as positions see it (an OrderState is one). `working` is what may still be filled."""

    @property
    def direction(self) -> Direction: ...
    @property
    def offset(self) -> Offset: ...
    @property
    def working(self) -> int: ...


class Contract(Protocol):
    """What planning needs of an Instrument."""

    @property
    def symbol(self) -> str: ...
    @property
    def position_date_type(self) -> str: ...


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """One contract's position. Every change gives the next holding; nothing ever goes below zero."""

    symbol: str
    position_date_type: str = "1"
    long: Side = Side()
    short: Side = Side()

    @property
    def net(self) -> int:
        return self.long.volume - self.short.volume

    @property
    def splits_days(self) -> bool:
        return self.position_date_type == "1"

    def side(self, direction: Direction) -> Side:
        """The lots held LONG or SHORT."""
        return self.long if direction is Direction.LONG else self.short

    def closable(self, order_direction: Direction) -> Side:
        """The lots an order of this direction would close: buying closes shorts."""
        return self.side(order_direction.opposite)

    def after(self, trade: TradeData) -> Self:
        """The holding after a fill. A closing fill also uses up what its order had frozen."""
        if trade.offset is Offset.OPEN:
            side = self.side(trade.direction)
            lots = Lots(trade.volume, trade.price, trade.price)
            return self._with(trade.direction, replace(side, today_lots=(*side.today_lots, lots)))
        today, yesterday = self._taken(trade.direction, trade.offset, trade.volume)
        side = self.closable(trade.direction)
        left = replace(
            side,
            today_lots=_without(side.today_lots, today),
            yesterday_lots=_without(side.yesterday_lots, yesterday),
        )
        return self._with(trade.direction.opposite, self._freezing(left, trade.offset, side.frozen, -trade.volume))

    def closed_by(self, trade: TradeData) -> tuple[ClosedLots, ...]:
        """The lots a closing fill would take, oldest first; nothing for an opening one. Raises NotHeld."""
        if trade.offset is Offset.OPEN:
            return ()
        today, yesterday = self._taken(trade.direction, trade.offset, trade.volume)
        side = self.closable(trade.direction)
        return (
            *(ClosedLots(lots, False) for lots in _first(side.yesterday_lots, yesterday)),
            *(ClosedLots(lots, True) for lots in _first(side.today_lots, today)),
        )

    def freeze(self, direction: Direction, offset: Offset, volume: int) -> Self:
        """Promise lots to a working close of this order direction. Raises NotHeld when they are not available."""
        available = self._available(direction, offset)
        if volume > available:
            raise NotHeld(f"{self.symbol}: cannot freeze {volume} lots for {offset}, {available} available")
        return self._refrozen(direction, offset, volume)

    def release(self, direction: Direction, offset: Offset, volume: int) -> Self:
        """The unfilled rest of a close that was cancelled or rejected is free again."""
        return self._refrozen(direction, offset, -volume)

    def frozen_by(self, orders: Iterable[Closing]) -> Self:
        """The same lots, frozen by exactly these working orders of the contract (opens are ignored)."""
        holding = self._with(Direction.LONG, replace(self.long, today_frozen=0, yesterday_frozen=0))
        holding = holding._with(Direction.SHORT, replace(self.short, today_frozen=0, yesterday_frozen=0))
        for order in orders:
            if order.offset is not Offset.OPEN:
                holding = holding._refrozen(order.direction, order.offset, order.working)
        return holding

    def promised(self, direction: Direction, volume: int) -> Self:
        """So many lots more of the side held are frozen, by closes that are not known here: yesterday's first."""
        side = self.side(direction)
        yesterday = min(volume, side.yesterday_available)
        today = min(volume - yesterday, side.today_available)
        more = replace(side, yesterday_frozen=side.yesterday_frozen + yesterday, today_frozen=side.today_frozen + today)
        return self._with(direction, more)

    def rolled(self, settlement_price: float) -> Self:
        """The next trading day: today's lots become yesterday's, all are valued from the settlement price."""
        return replace(self, long=_rolled(self.long, settlement_price), short=_rolled(self.short, settlement_price))

    def to_position_data(
        self,
        direction: Direction,
        exchange: Exchange,
        when: Time,
        *,
        pnl: float = 0.0,
        margin: float | None = None,
        account_id: str | None = None,
        trading_day: date | None = None,
    ) -> PositionData:
        side = self.side(direction)
        return PositionData(
            symbol=self.symbol,
            exchange=exchange,
            direction=direction,
            volume=side.volume,
            frozen=side.frozen,
            price=side.price,
            pnl=pnl,
            yd_volume=side.yesterday,
            yd_frozen=side.yesterday_frozen,
            datetime=when,
            margin=margin,
            account_id=account_id,
            trading_day=trading_day,
        )

    @classmethod
    def from_position_data(cls, symbol: str, position_date_type: str, rows: Iterable[PositionData]) -> Self:
        """The holding a counter reports; the average price stands in for each lot's own."""
        holding = cls(symbol=symbol, position_date_type=position_date_type)
        for row in rows:
            today, yesterday = row.volume - row.yd_volume, row.yd_volume
            yesterday_frozen = min(row.frozen, yesterday) if row.yd_frozen is None else row.yd_frozen
            side = Side(
                today_lots=_bought(today, row.price),
                yesterday_lots=_bought(yesterday, row.price),
                today_frozen=row.frozen - yesterday_frozen,
                yesterday_frozen=yesterday_frozen,
            )
            holding = holding._with(row.direction, side)
        return holding

    def _available(self, direction: Direction, offset: Offset) -> int:
        side = self.closable(direction)
        if not self.splits_days:
            return side.available
        return side.today_available if offset is Offset.CLOSETODAY else side.yesterday_available

    def _taken(self, direction: Direction, offset: Offset, volume: int) -> tuple[int, int]:
        """(today's, yesterday's) lots that a close of `volume` takes."""
        side = self.closable(direction)
        if not self.splits_days:
            yesterday = min(volume, side.yesterday)
            today, held = volume - yesterday, side.volume
        elif offset is Offset.CLOSETODAY:
            today, yesterday, held = volume, 0, side.today
        else:
            today, yesterday, held = 0, volume, side.yesterday
        if volume > held:
            raise NotHeld(f"{self.symbol}: {offset} of {volume} lots, but {_held(side, direction)}")
        return today, yesterday

    def _refrozen(self, direction: Direction, offset: Offset, change: int) -> Self:
        side = self.closable(direction)
        return self._with(direction.opposite, self._freezing(side, offset, side.frozen, change))

    def _freezing(self, side: Side, offset: Offset, frozen: int, change: int) -> Side:
        """Frozen parts moved by `change`, never below zero nor above the lots there."""
        if not self.splits_days:
            total = _between(0, frozen + change, side.volume)
            yesterday = min(total, side.yesterday)
            return replace(side, yesterday_frozen=yesterday, today_frozen=total - yesterday)
        on_today = offset is Offset.CLOSETODAY
        return replace(
            side,
            today_frozen=_between(0, side.today_frozen + (change if on_today else 0), side.today),
            yesterday_frozen=_between(0, side.yesterday_frozen + (0 if on_today else change), side.yesterday),
        )

    def _with(self, direction: Direction, side: Side) -> Self:
        return replace(self, long=side) if direction is Direction.LONG else replace(self, short=side)


class Prefer(StrEnum):
    """Which lots a close takes first where the contract keeps the days apart."""

    YESTERDAY = "yesterday"
    TODAY = "today"


class Leg(NamedTuple):
    """One order of a plan."""

    offset: Offset
    volume: int


class NotEnough(msgspec.Struct, frozen=True):
    """A close that cannot be made, with the reason in words."""

    reason: str


def plan_offsets(
    holding: Holding | None,
    instrument: Contract,
    direction: Direction,
    volume: int,
    offset: Offset = Offset.CLOSE,
    prefer: Prefer = Prefer.YESTERDAY,
) -> tuple[Leg, ...] | NotEnough:
    """The orders that fulfil a wish. OPEN is itself; a CLOSE is split where the contract keeps the days apart; an
    explicit CLOSETODAY or CLOSEYESTERDAY takes only those lots there, and is a plain CLOSE elsewhere."""
    if offset is Offset.OPEN:
        return (Leg(Offset.OPEN, volume),)
    side = (holding or Holding(symbol=instrument.symbol)).closable(direction)
    if instrument.position_date_type != "1":
        return _one(instrument, side, direction, Offset.CLOSE, volume, side.available)
    if offset is Offset.CLOSETODAY:
        return _one(instrument, side, direction, offset, volume, side.today_available)
    if offset is Offset.CLOSEYESTERDAY:
        return _one(instrument, side, direction, offset, volume, side.yesterday_available)
    if volume > side.available:
        return NotEnough(_too_few(instrument, side, direction, offset, volume, side.available))
    return _split(side, volume, prefer)


def _split(side: Side, volume: int, prefer: Prefer) -> tuple[Leg, ...]:
    today = min(volume, side.today_available)
    if prefer is Prefer.YESTERDAY:
        today = volume - min(volume, side.yesterday_available)
    legs = ((Offset.CLOSETODAY, today), (Offset.CLOSEYESTERDAY, volume - today))
    return _legs(*(legs if prefer is Prefer.TODAY else reversed(legs)))


def _one(
    instrument: Contract, side: Side, direction: Direction, offset: Offset, volume: int, available: int
) -> tuple[Leg, ...] | NotEnough:
    if volume > available:
        return NotEnough(_too_few(instrument, side, direction, offset, volume, available))
    return (Leg(offset, volume),)


def _legs(*legs: tuple[Offset, int]) -> tuple[Leg, ...]:
    return tuple(Leg(offset, volume) for offset, volume in legs if volume)


def _too_few(
    instrument: Contract, side: Side, direction: Direction, offset: Offset, volume: int, available: int
) -> str:
    return f"{instrument.symbol}: {offset} of {volume} lots, {available} available; {_held(side, direction)}"


def _held(side: Side, direction: Direction) -> str:
    name = direction.opposite.lower()
    if not side.volume:
        return f"no {name} position is held"
    text = f"{name} position {side.volume} ({side.today} of today, {side.yesterday} of yesterday)"
    return f"{text}, {side.frozen} frozen by working closes" if side.frozen else text


def _bought(volume: int, price: float) -> tuple[Lots, ...]:
    return (Lots(volume, price, price),) if volume else ()


def _first(lots: tuple[Lots, ...], volume: int) -> tuple[Lots, ...]:
    taken: list[Lots] = []
    for part in lots:
        if volume <= 0:
            break
        taken.append(replace(part, volume=min(part.volume, volume)))
        volume -= part.volume
    return tuple(taken)


def _without(lots: tuple[Lots, ...], volume: int) -> tuple[Lots, ...]:
    left: list[Lots] = []
    for part in lots:
        gone = min(part.volume, volume)
        volume -= gone
        if part.volume > gone:
            left.append(replace(part, volume=part.volume - gone))
    return tuple(left)


def _rolled(side: Side, settlement_price: float) -> Side:
    return Side(yesterday_lots=tuple(replace(lots, mark=settlement_price) for lots in side.lots))


def _between(low: int, value: int, high: int) -> int:
    return max(low, min(value, high))
