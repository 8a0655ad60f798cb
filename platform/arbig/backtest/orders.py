"""Orders: what a strategy has under way in a backtest, as it changes; messages are made of it when somebody looks."""

from __future__ import annotations

from datetime import date
from datetime import datetime as Time
from typing import Any, NamedTuple

import msgspec

from arbig.backtest.markets import Market
from arbig.domain.messages import Detail, Direction, Offset, OrderData, OrderType, Status
from arbig.domain.template import StopOrder, StopOrderStatus


class Wish(msgspec.Struct, eq=False):
    """What one `buy` or `sell` became: a close may be two orders, one for today's lots and one for yesterday's."""

    name: str
    offset: Offset
    volume: int
    orders: list[Order] = []

    def told(self, order: Order) -> OrderData:
        """News of one of its orders, as the strategy hears it: of the whole."""
        if len(self.orders) == 1:
            return order.report()
        return order.report(
            order_id=self.name,
            parent_id=None,
            offset=self.offset,
            volume=self.volume,
            traded=sum(one.traded for one in self.orders),
            status=self._status(),
        )

    def _status(self) -> Status:
        if any(order.status.is_active for order in self.orders):
            return Status.PARTTRADED if any(order.traded for order in self.orders) else Status.NOTTRADED
        if sum(order.traded for order in self.orders) == self.volume:
            return Status.ALLTRADED
        refused = all(order.status is Status.REJECTED for order in self.orders)
        return Status.REJECTED if refused else Status.CANCELLED


class Cause(NamedTuple):
    """What an order answers: a bar or tick, or a stop order that was triggered."""

    kind: str
    symbol: str
    moment: Time

    def __str__(self) -> str:
        """As live says it, with a moment where live has a number: `bar:au2512:2025-10-15T09:30:00`."""
        return f"{self.kind}:{self.symbol}:{self.moment.replace(tzinfo=None).isoformat()}"


class Order(msgspec.Struct, eq=False):
    """An order at the exchange. `since`: the row on which it was sent; `rests`: it waits at its own price."""

    number: int
    order_id: str
    wish: Wish
    market: Market
    direction: Direction
    sign: int
    offset: Offset
    price: float
    volume: int
    since: int
    born: Time
    day: date
    forced: bool | None = None
    cause: Cause | None = None
    traded: int = 0
    status: Status = Status.SUBMITTING
    rests: bool = False
    detail: Detail | None = None
    error_id: int | None = None
    error_msg: str | None = None

    @property
    def symbol(self) -> str:
        return self.market.symbol

    @property
    def left(self) -> int:
        return self.volume - self.traded

    @property
    def working(self) -> int:
        return self.left if self.status.is_active else 0

    def report(self, **changes: Any) -> OrderData:
        """The order as it is now."""
        name = self.wish.name
        fields: dict[str, Any] = {
            "order_id": self.order_id,
            "parent_id": name if name != self.order_id else None,
            "offset": self.offset,
            "volume": self.volume,
            "traded": self.traded,
            "status": self.status,
            **changes,
        }
        return OrderData(
            symbol=self.market.symbol,
            exchange=self.market.instrument.exchange,
            direction=self.direction,
            order_type=OrderType.LIMIT,
            price=self.price,
            datetime=self.born,
            strategy_name=self.market.strategy_name,
            trading_day=self.day,
            forced=self.forced,
            cause=None if self.cause is None else str(self.cause),
            detail=self.detail,
            error_id=self.error_id,
            error_msg=self.error_msg,
            **fields,
        )


class Stop(msgspec.Struct, eq=False, gc=False):
    """A stop order, which waits here and is unknown to the exchange until it triggers. `born` is left out where its row
    says it: when that bar was over. There are very many, so the garbage collector is not told of them."""

    number: int
    name: str
    market: Market
    direction: Direction
    sign: int
    offset: Offset
    price: float
    volume: int
    since: int
    born: Time | None
    lock: bool
    net: bool
    names: tuple[str, ...] = ()
    status: StopOrderStatus = StopOrderStatus.WAITING

    def report(self) -> StopOrder:
        return StopOrder(
            vt_symbol=self.market.vt_symbol,
            direction=self.direction,
            offset=self.offset,
            price=self.price,
            volume=self.volume,
            stop_orderid=self.name,
            strategy_name=self.market.strategy_name,
            datetime=self.market.row_end(self.since) if self.born is None else self.born,
            lock=self.lock,
            net=self.net,
            vt_orderids=self.names,
            status=self.status,
        )
