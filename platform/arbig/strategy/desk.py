"""Desk: what one strategy has under way: its orders, stop orders, and the closes of its risk block; and the word on
every new signal. Nothing is written or sent here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import structlog

from arbig.bus.port import Entry
from arbig.domain.messages import Direction, Offset, OrderData, OrderRequest, TradeData, encode, request_id_of
from arbig.domain.protection import Exit
from arbig.domain.template import STOP_PREFIX, StopOrder, StopOrderStatus, split_wish
from arbig.runtime.deployment import RiskConfig
from arbig.store.strategies import PredictionRow
from arbig.strategy.frames import (
    CancelAll,
    CancelOrder,
    Done,
    Holding,
    PlaceStop,
    Predicted,
    SendMail,
    SendOrder,
    SyncData,
    WriteLog,
)
from arbig.strategy.house import House
from arbig.strategy.orders import Working, cancel_request, order_request, refusal, wish_of

log = structlog.get_logger()

BLOCK = 1000
LOW = 200
SETTLING_SECONDS = 5.0
CANCEL_SECONDS = 2.0


@dataclass(eq=False)
class Item:
    """One event in a strategy's queue. `done` is set when its effect is durable; `counted` says that the position we
    started from includes this fill already; `kept` is the row that keeps its entry until then."""

    kind: str
    payloads: tuple[bytes, ...] = ()
    message: Any = None
    entry: Entry | None = None
    cause: str | None = None
    counted: bool = False
    done: asyncio.Future[None] | None = None
    kept: int | None = None


@dataclass
class Outcome:
    """What wishes amount to, before anything is written or sent. `predicted`: order -> the newest prediction that its
    strategy had then. `news` goes back to the strategy."""

    requests: list[OrderRequest] = field(default_factory=list)
    stop_orders: list[StopOrder] = field(default_factory=list)
    predictions: list[PredictionRow] = field(default_factory=list)
    predicted: dict[str, str] = field(default_factory=dict)
    news: list[Item] = field(default_factory=list)
    keep_variables: bool = False

    def tell_of_stop(self, stop_order: StopOrder, **changes: Any) -> None:
        changed = msgspec.structs.replace(stop_order, **changes)
        self.stop_orders.append(changed)
        self.news.append(Item("stop_order", (msgspec.json.encode(changed),)))


class Desk:
    def __init__(self, name: str, house: House) -> None:
        self.name = name
        self.house = house
        self.risk = RiskConfig()
        self.run_id = ""
        self.code_hash = ""
        self.user_paused = False
        self.orders: dict[str, Working] = {}
        self.settling: dict[str, Working] = {}  # finished, but fills they announced have not been counted yet
        self.stop_orders: dict[str, StopOrder] = {}
        self.exits: dict[str, Exit] = {}
        self.prediction_id = ""
        self.no_model = ""
        self._numbers = (0, 0)

    @property
    def paused(self) -> bool:
        return self.user_paused or not self.house.connected

    def begin(self, run_id: str, code_hash: str) -> None:
        self.run_id, self.code_hash = run_id, code_hash
        self.prediction_id = ""
        self._numbers = (0, 0)

    def log(self, message: str) -> None:
        log.info(message, strategy_name=self.name)

    # ---- news of orders

    def adopt(self, order: OrderData) -> None:
        """A working order from before our restart; its fills so far are in the position."""
        name = order.vt_orderid
        working = self.orders.get(name) or self.orders.setdefault(name, Working(wish_of(order)))
        working.hear(order)
        working.filled = working.traded

    def hear(self, order: OrderData) -> OrderData:
        """News of an order, or of a part of it; returns the whole order as the strategy knows it."""
        name = order.vt_orderid
        working = self.orders.get(name) or self.orders.setdefault(name, Working(wish_of(order)))
        whole = working.hear(order)
        if not whole.is_active():
            del self.orders[name]
            if working.filled < working.traded:
                working.settles_until = self.house.clock.monotonic() + SETTLING_SECONDS
                self.settling[name] = working
        return whole

    def count(self, trade: TradeData) -> None:
        """A fill that is in the position now."""
        name = trade.vt_orderid
        working = self.orders.get(name) or self.settling.get(name)
        if working is None:
            return
        working.filled += trade.volume
        if working.filled >= working.traded:
            self.settling.pop(name, None)

    def under_way(self, symbol: str) -> list[Working]:
        """Orders that may still change the position: working ones, and finished ones with a fill yet to be counted."""
        now = self.house.clock.monotonic()
        self.settling = {name: one for name, one in self.settling.items() if one.settles_until >= now}
        return [one for one in (*self.orders.values(), *self.settling.values()) if one.request.symbol == symbol]

    def is_settling(self, symbol: str) -> bool:
        return any(one.request.request_id in self.settling for one in self.under_way(symbol))

    def holding(self, symbol: str) -> Holding:
        closing = sum(one.unfilled for one in self.under_way(symbol) if one.request.offset is not Offset.OPEN)
        return self.house.holding(self.name, symbol, closing)

    # ---- requests

    @property
    def is_low(self) -> bool:
        """Numbers for further signals must be reserved before anything else is done."""
        first, end = self._numbers
        return bool(self.run_id) and end - first < LOW

    def reserve(self) -> None:
        """Raises StoreError."""
        first = self.house.store.reserve(self.name, BLOCK)
        self._numbers = (first, first + BLOCK)

    def request_id(self) -> str:
        if self._numbers[0] == self._numbers[1]:
            self.reserve()
        first, end = self._numbers
        self._numbers = (first + 1, end)
        return request_id_of(self.name, self.run_id, first)

    def request(self, wish: SendOrder, cause: str | None) -> OrderRequest:
        return order_request(
            request_id=wish.vt_orderid,
            strategy_name=self.name,
            vt_symbol=wish.vt_symbol,
            direction=wish.direction,
            offset=wish.offset,
            price=wish.price,
            volume=wish.volume,
            now=self.house.clock.now(),
            run_id=self.run_id,
            code_hash=self.code_hash,
            account_id=self.house.settings.account_id,
            cause=cause,
        )

    def requests_of_stop(self, stop_order: StopOrder, price: float, cause: str) -> list[OrderRequest]:
        """What a triggered stop order sends, with the holdings of this moment."""
        holding = self.holding(stop_order.vt_symbol.partition(".")[0])
        direction = stop_order.direction
        wishes = split_wish(
            direction,
            stop_order.offset,
            stop_order.volume,
            lock=stop_order.lock,
            net=stop_order.net,
            holding=max(0, -direction.sign * holding.net - holding.closing),
            yesterday=holding.yesterday_short if direction is Direction.LONG else holding.yesterday_long,
        )
        return [
            self.request(SendOrder(self.request_id(), stop_order.vt_symbol, direction, offset, price, volume), cause)
            for offset, volume in wishes
        ]

    def accept(self, request: OrderRequest, outcome: Outcome) -> None:
        self.orders[request.request_id] = Working(request)
        outcome.requests.append(request)

    def refusal(self, request: OrderRequest) -> str | None:
        """Why a signal is not let out, None when it is."""
        if request.symbol in self.exits:
            return f"the risk block is closing {request.symbol} ({self.exits[request.symbol].reason})"
        if request.offset is not Offset.OPEN:
            return self._refusal_to_close(request)
        limit = self.risk.max_position
        if limit is None:
            return None
        opening = sum(
            one.unfilled
            for one in self.under_way(request.symbol)
            if one.request.direction is request.direction and one.request.offset is Offset.OPEN
        )
        held = request.direction.sign * self.house.lots(self.name, request.symbol).volume
        total = held + opening + request.volume
        if total <= limit:
            return None
        return f"{request.direction} {request.volume} {request.symbol} would make {total} lots, max_position is {limit}"

    def _refusal_to_close(self, request: OrderRequest) -> str | None:
        """A close must not take the lots of another strategy in the same account."""
        side = request.direction.opposite
        own = side.sign * self.house.lots(self.name, request.symbol).volume
        held = max(0, own, self.house.unclaimed(self.name, request.symbol, side))
        closing = sum(
            one.unfilled
            for one in self.under_way(request.symbol)
            if one.request.direction is request.direction and one.request.offset is not Offset.OPEN
        )
        if closing + request.volume <= held:
            return None
        return (
            f"{request.direction} {request.volume} {request.symbol} would close {closing + request.volume} lots, "
            f"the strategy holds {held}"
        )

    def cancel(self, name: str, outcome: Outcome) -> None:
        if name.startswith(STOP_PREFIX):
            stop_order = self.stop_orders.pop(name, None)
            if stop_order is not None:
                outcome.tell_of_stop(stop_order, status=StopOrderStatus.CANCELLED)
            return
        working = self.orders.get(name)
        if working is None:
            self.log(f"cancel: {name} is not working any more")
            return
        now = self.house.clock.monotonic()
        if now < working.cancel_again:  # one is on its way: a strategy that cancels with every tick must not flood
            return
        working.cancel_again = now + CANCEL_SECONDS
        outcome.requests.append(cancel_request(working, self.request_id(), self.house.clock.now()))

    def cancel_all(self, outcome: Outcome) -> None:
        """Everything but the risk block's own closes."""
        protecting = {exit.order for exit in self.exits.values()}
        for name in [*self.orders, *self.stop_orders]:
            if name not in protecting:
                self.cancel(name, outcome)

    # ---- what the strategy's code wishes

    def judge(self, done: Done, cause: str | None) -> Outcome:
        outcome = Outcome()
        for action in done.actions:
            JUDGES[type(action)](self, action, cause, outcome)
        return outcome

    def _send(self, wish: SendOrder, cause: str | None, outcome: Outcome) -> None:
        request = self.request(wish, cause)
        reason = f"{self.name} is paused" if self.paused else self.refusal(request)
        if reason is None:
            self.accept(request, outcome)
            if self.prediction_id:
                outcome.predicted[request.request_id] = self.prediction_id
            return
        self.log(f"refused: {reason}")
        outcome.news.append(Item("refused", (encode(refusal(request, reason)),)))

    def _place_stop(self, wish: PlaceStop, cause: str | None, outcome: Outcome) -> None:
        stop_order = wish.stop_order
        tick = self.house.ticks.get(stop_order.vt_symbol.partition(".")[0])
        if tick is not None:
            stop_order = msgspec.structs.replace(stop_order, datetime=tick.datetime)
        self.stop_orders[stop_order.stop_orderid] = stop_order
        outcome.tell_of_stop(stop_order)

    def _cancel(self, wish: CancelOrder, cause: str | None, outcome: Outcome) -> None:
        self.cancel(wish.vt_orderid, outcome)

    def _cancel_all(self, wish: CancelAll, cause: str | None, outcome: Outcome) -> None:
        self.cancel_all(outcome)

    def _predicted(self, said: Predicted, cause: str | None, outcome: Outcome) -> None:
        """A row for each; a log line only when the model goes away, and when it is back."""
        self.prediction_id = self.request_id()
        outcome.predictions.append(
            PredictionRow(
                prediction_id=self.prediction_id,
                strategy_name=self.name,
                run_id=self.run_id,
                model=said.model,
                version=said.version,
                value=said.value,
                reason=said.reason,
                vt_symbol=said.vt_symbol,
                features_at=said.features_at,
                at=self.house.clock.now(),
                cause=cause or "",
                milliseconds=said.milliseconds,
            )
        )
        if bool(said.reason) != bool(self.no_model):
            self.log(
                f"model {said.model}: {said.reason}; the fallback {said.value:g} stands"
                if said.reason
                else f"model {said.model} answers, version {said.version}"
            )
        self.no_model = said.reason

    def _write_log(self, wish: WriteLog, cause: str | None, outcome: Outcome) -> None:
        self.log(wish.message)

    def _send_mail(self, wish: SendMail, cause: str | None, outcome: Outcome) -> None:
        log.warning(wish.message, strategy_name=self.name, mail=True)

    def _sync(self, wish: SyncData, cause: str | None, outcome: Outcome) -> None:
        outcome.keep_variables = True


JUDGES: dict[type, Callable[[Desk, Any, str | None, Outcome], None]] = {
    SendOrder: Desk._send,
    PlaceStop: Desk._place_stop,
    CancelOrder: Desk._cancel,
    CancelAll: Desk._cancel_all,
    Predicted: Desk._predicted,
    WriteLog: Desk._write_log,
    SendMail: Desk._send_mail,
    SyncData: Desk._sync,
}
