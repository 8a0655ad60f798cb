"""A BaseGateway as a stranger would write one, trading on a simulated exchange in this process.

As vnpy's own do, it pushes contracts, account, positions, orders and trades after `connect`, from a thread of its own,
and names an order by a number of the day.
"""

from __future__ import annotations

import threading
from typing import Any, ClassVar

from vnpy.trader.constant import Direction, Exchange, Offset, OrderType, Product, Status
from vnpy.trader.gateway import BaseGateway
from vnpy.trader.object import (
    AccountData,
    CancelRequest,
    ContractData,
    OrderData,
    OrderRequest,
    PositionData,
    SubscribeRequest,
    TradeData,
)

from arbig.domain.counter import CancelOrder, InsertOrder, InsertRejected, OrderReport, TradeReport
from arbig.domain.messages import Direction as OurDirection
from arbig.domain.messages import Exchange as OurExchange
from arbig.domain.messages import Offset as OurOffset
from arbig.domain.messages import OrderType as OurType
from arbig.exchange.counter import Counter


class StreetGateway(BaseGateway):
    """`connect` takes the counter itself: it is in this process."""

    default_name = "STREET"
    default_setting: ClassVar[dict[str, Any]] = {"counter": None}
    exchanges: ClassVar[list[Exchange]] = [Exchange.SHFE]

    def connect(self, setting: dict[str, Any]) -> None:
        self._street: Street = setting["counter"]
        self._street.listener = self
        thread = threading.Thread(target=self._log_in)
        thread.start()
        thread.join()

    def _log_in(self) -> None:
        exchange = self._street.counter.exchange
        for symbol in exchange.truth.symbols:
            found = exchange.rules.book.get(symbol, exchange.trading_day)
            self.on_contract(ContractData(
                symbol=symbol, exchange=Exchange[found.exchange.name], name=found.name, product=Product.FUTURES,
                size=found.size, pricetick=found.price_tick, gateway_name=self.gateway_name,
            ))  # fmt: skip
        for report in exchange.order_reports():
            self.tell(report)
        for trade in self._street.counter.store.trades(exchange.trading_day):
            self.tell(trade)
        self.query_account()
        self.query_position()

    def tell(self, word: Any) -> None:
        if not isinstance(word, OrderReport | TradeReport):
            return
        common: dict[str, Any] = {"gateway_name": self.gateway_name, "symbol": word.symbol}
        if isinstance(word, OrderReport):
            self.on_order(OrderData(
                **common, exchange=Exchange[word.exchange.name], orderid=word.order_sys_id,
                type=OrderType[word.order_type.name], direction=Direction[word.direction.name],
                offset=Offset[word.offset.name], price=word.price, volume=word.volume, traded=word.traded,
                status=Status[word.status.name], datetime=word.datetime,
            ))  # fmt: skip
        else:
            self.on_trade(TradeData(
                **common, exchange=Exchange[word.exchange.name], orderid=word.order_sys_id, tradeid=word.trade_id,
                direction=Direction[word.direction.name], offset=Offset[word.offset.name], price=word.price,
                volume=word.volume, datetime=word.datetime,
            ))  # fmt: skip

    def send_order(self, req: OrderRequest) -> str:
        self._street.inserts += 1
        words = self._street.counter.on_wish(InsertOrder(
            order_ref=self._street.inserts, memo="", symbol=req.symbol, exchange=OurExchange[req.exchange.name],
            direction=OurDirection[req.direction.name], offset=OurOffset[req.offset.name],
            order_type=OurType[req.type.name], price=req.price, volume=int(req.volume),
        )).to_all  # fmt: skip
        if self._street.breaks:
            raise RuntimeError("broken after the order went out")
        first = words[0]
        if isinstance(first, InsertRejected):
            order = req.create_order_data(f"refused{self._street.inserts}", self.gateway_name)
            order.status = Status.REJECTED
            self.on_order(order)
            return str(order.vt_orderid)
        order = req.create_order_data(first.order_sys_id, self.gateway_name)
        self.on_order(order)
        self._say(words)
        return str(order.vt_orderid)

    def cancel_order(self, req: CancelRequest) -> None:
        self._say(self._street.counter.on_wish(CancelOrder(order_sys_id=req.orderid)).to_all)

    def _say(self, words: Any) -> None:
        for word in words:
            self.tell(word)
        self.query_position()

    def subscribe(self, req: SubscribeRequest) -> None: ...

    def query_account(self) -> None:
        row = self._street.counter.exchange.account_row()
        self.on_account(AccountData(
            accountid="1", balance=row.balance, frozen=row.balance - row.available, gateway_name=self.gateway_name,
        ))  # fmt: skip

    def query_position(self) -> None:
        for row in self._street.counter.exchange.positions():
            self.on_position(PositionData(
                symbol=row.symbol, exchange=Exchange[row.exchange.name], direction=Direction[row.direction.name],
                volume=row.volume, frozen=row.frozen, price=row.price, yd_volume=row.yd_volume,
                gateway_name=self.gateway_name,
            ))  # fmt: skip

    def close(self) -> None:
        self._street.listener = None


class Street:
    """The exchange, and who listens to it."""

    def __init__(self, counter: Counter) -> None:
        self.counter = counter
        self.listener: StreetGateway | None = None
        self.inserts = 0
        self.breaks = False
