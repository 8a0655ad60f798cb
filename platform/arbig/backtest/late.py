"""Late: messages that stand for themselves until somebody looks closer. What a strategy usually reads is at hand; the
whole message is made for all else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from arbig.domain.messages import Direction, Offset, OrderData, Status, TradeData


class Order(msgspec.Struct, gc=False):
    """A limit order of matching `vnpy`, while it lives and after. `row` is the one it was born at."""

    name: str
    direction: Direction
    offset: Offset
    price: float
    volume: Any
    row: int
    status: Status
    traded: Any = 0

    @property
    def number(self) -> str:
        return self.name.rpartition(".")[2]


Fill = tuple[Order, float, int, int]
"""An order, the price of its fill, the row, and its number in the run."""


class Late(msgspec.Struct, frozen=True, eq=False):
    """Equal to the message it stands for, printed, copied and pickled as it; `isinstance` takes it for one through the
    `__class__` that each kind says."""

    def whole(self) -> Any:
        """The message itself."""
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        return bool(self.whole() == (other.whole() if issubclass(type(other), Late) else other))  # type: ignore[attr-defined]

    def __hash__(self) -> int:
        return hash(self.whole())

    def __repr__(self) -> str:
        return repr(self.whole())

    def __copy__(self) -> Any:
        return self.whole()

    def __deepcopy__(self, memo: object) -> Any:
        return self.whole()

    def __reduce__(self) -> Any:
        return self.whole().__reduce__()


class LateTrade(Late, frozen=True, eq=False):
    """News of a fill."""

    make: Callable[[Fill], TradeData]
    fill: Fill

    @property  # type: ignore[misc]
    def __class__(self) -> type[TradeData]:  # type: ignore[override]
        return TradeData

    @property
    def direction(self) -> Direction:
        return self.fill[0].direction

    @property
    def offset(self) -> Offset:
        return self.fill[0].offset

    @property
    def volume(self) -> Any:
        return self.fill[0].volume

    @property
    def price(self) -> float:
        return self.fill[1]

    @property
    def vt_orderid(self) -> str:
        return self.fill[0].name

    def whole(self) -> TradeData:
        return self.make(self.fill)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.whole(), name)


class LateOrder(Late, frozen=True, eq=False):
    """News of an order, as it was when it was told."""

    make: Callable[[Order], OrderData]
    order: Order
    status: Status
    traded: Any

    @property  # type: ignore[misc]
    def __class__(self) -> type[OrderData]:  # type: ignore[override]
        return OrderData

    @property
    def vt_orderid(self) -> str:
        return self.order.name

    def is_active(self) -> bool:
        return self.status.is_active

    def whole(self) -> OrderData:
        return msgspec.structs.replace(self.make(self.order), status=self.status, traded=self.traded)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.whole(), name)
