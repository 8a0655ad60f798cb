"""Orders as a strategy knows them: one wish, one name, although a close may have become two orders at the counter."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import msgspec

from arbig.domain.messages import (
    CommandType,
    Detail,
    Direction,
    Exchange,
    Offset,
    OrderData,
    OrderRequest,
    OrderType,
    Status,
    TradeData,
)
from arbig.store.strategies import Lots

EXPIRES = timedelta(seconds=3)


@dataclass
class Working:
    """A wish under way and what has been heard of its parts."""

    request: OrderRequest
    parts: dict[str, OrderData] = field(default_factory=dict)
    filled: int = 0
    settles_until: float = 0.0
    cancel_again: float = 0.0

    @property
    def traded(self) -> int:
        """Lots the order's news announce; `filled` are those whose trades have been counted."""
        return sum(part.traded for part in self.parts.values())

    @property
    def unfilled(self) -> int:
        """Lots that may still come into the position."""
        ended = self.parts and not any(part.is_active() for part in self.parts.values())
        return max(0, (self.traded if ended else self.request.volume) - self.filled)

    def hear(self, order: OrderData) -> OrderData:
        """Take in one part's news; returns the whole order as the strategy sees it."""
        self.parts[order.request_id or order.order_id] = order
        if order.parent_id is None and len(self.parts) == 1 and order.volume >= self.request.volume:
            return order
        return self._whole(order)

    def _whole(self, newest: OrderData) -> OrderData:
        parts = list(self.parts.values())
        volume = max(self.request.volume, sum(part.volume for part in parts))
        unheard = volume > sum(part.volume for part in parts)
        traded = self.traded
        if unheard or any(part.is_active() for part in parts):
            status = Status.PARTTRADED if traded else Status.NOTTRADED
        elif traded == volume:
            status = Status.ALLTRADED
        elif all(part.status is Status.REJECTED for part in parts):
            status = Status.REJECTED
        else:
            status = Status.CANCELLED
        return msgspec.structs.replace(
            newest,
            request_id=self.request.request_id,
            parent_id=None,
            offset=self.request.offset,
            volume=volume,
            traded=traded,
            status=status,
        )


def order_request(
    *,
    request_id: str,
    strategy_name: str,
    vt_symbol: str,
    direction: Direction,
    offset: Offset,
    price: float,
    volume: int,
    now: datetime,
    run_id: str,
    code_hash: str,
    account_id: str,
    cause: str | None,
) -> OrderRequest:
    symbol, _, exchange = vt_symbol.partition(".")
    return OrderRequest(
        request_id=request_id,
        strategy_name=strategy_name,
        symbol=symbol,
        exchange=Exchange(exchange),
        direction=direction,
        offset=offset,
        order_type=OrderType.LIMIT,
        price=price,
        volume=volume,
        timestamp=now,
        expires_at=now + EXPIRES,
        run_id=run_id,
        code_hash=code_hash,
        account_id=account_id,
        cause=cause,
    )


def cancel_request(working: Working, request_id: str, now: datetime) -> OrderRequest:
    """The wish repeated, with the words that take it back."""
    known = next((part.order_id for part in working.parts.values() if part.is_active()), None)
    return msgspec.structs.replace(
        working.request,
        request_id=request_id,
        cmd_type=CommandType.CANCEL_ORDER,
        order_request_id=working.request.request_id,
        order_id=known,
        timestamp=now,
        expires_at=None,
    )


def wish_of(order: OrderData) -> OrderRequest:
    """The wish behind an order that this process has not sent itself (it was sent before a restart)."""
    return OrderRequest(
        request_id=order.vt_orderid,
        strategy_name=order.strategy_name,
        symbol=order.symbol,
        exchange=order.exchange,
        direction=order.direction,
        offset=order.offset,
        order_type=order.order_type,
        price=order.price,
        volume=order.volume,
        timestamp=order.datetime,
        account_id=order.account_id,
        run_id=order.run_id,
    )


def refusal(request: OrderRequest, reason: str) -> OrderData:
    """An order we did not let out, as news for the strategy."""
    return OrderData(
        order_id=request.request_id,
        request_id=request.request_id,
        symbol=request.symbol,
        exchange=request.exchange,
        direction=request.direction,
        offset=request.offset,
        order_type=request.order_type,
        price=request.price,
        volume=request.volume,
        traded=0,
        status=Status.REJECTED,
        detail=Detail.DENIED,
        error_msg=reason,
        datetime=request.timestamp,
        strategy_name=request.strategy_name,
        run_id=request.run_id,
    )


def lots_after(lots: Lots, trade: TradeData) -> Lots:
    """The position after a fill."""
    return lots_moved(lots, trade.direction.sign * trade.volume, trade.price)


def lots_moved(lots: Lots, change: int, at: float) -> Lots:
    """So many net lots more. The average price moves only when lots are added."""
    volume = lots.volume + change
    if volume == 0:
        return Lots()
    if lots.volume * change >= 0:
        price = (abs(lots.volume) * lots.price + abs(change) * at) / abs(volume)
    elif lots.volume * volume < 0:
        price = at
    else:
        price = lots.price
    return Lots(volume, price)
