"""Trading: lots that must change hands are chased: one limit order across the best price at a time, priced anew when
the market has left it. Who chases looks anew each time what is left: a life that ends leaves nothing to be done twice.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple
from uuid import uuid4

from arbig.bus.port import BusError
from arbig.domain import protection
from arbig.domain.instruments import UnknownSymbol
from arbig.domain.messages import Direction, Offset, OrderRequest, OrderType, Status
from arbig.domain.orders import OrderState
from arbig.domain.protection import ASK_AGAIN_SECONDS, Exit
from arbig.domain.sessions import CalendarError, Phase
from arbig.trading.judge import Judge
from arbig.trading.order_manager import OrderManager
from arbig.trading.order_subscriber import OrderSubscriber

log = logging.getLogger(__name__)

CANCELS_A_SECOND = 2.0
"""A broker's counter takes about three; more wait in line, and asking again makes the line longer."""

WAITS = {
    Phase.CLOSED: "the market is closed",
    Phase.AUCTION_ORDER: "the opening auction goes on",
    Phase.AUCTION_MATCH: "the opening auction goes on",
    Phase.BREAK: "the market takes its break",
}


class Aim(NamedTuple):
    """What is chased: for which job, in whose book, and how. `cause` is how its orders are known again."""

    cause: str
    scope: str
    strategy_name: str
    symbol: str
    direction: Direction
    offset: Offset


class Lots(NamedTuple):
    """As protection sees them: net, and the price they were bought at, which no close asks for."""

    volume: int
    price: float = 0.0


class Chaser:
    """`cancel` cancels orders of ours, `say` raises alarms, `sent` is called when an order has just gone out, `name`
    gives the next one its request id."""

    def __init__(
        self,
        judge: Judge,
        orders: OrderManager,
        subscriber: OrderSubscriber,
        cancel: Callable[[Iterable[OrderState]], Awaitable[None]],
        say: Callable[[Iterable[str]], None],
        sent: Callable[[], None],
        name: Callable[[Aim], str] = lambda _: str(uuid4()),
    ) -> None:
        self._judge = judge
        self._orders = orders
        self._subscriber = subscriber
        self._cancel = cancel
        self._say = say
        self._sent = sent
        self._name = name
        self._clock = judge.clock
        self._exits: dict[Aim, Exit] = {}
        self._refusals: dict[Aim, str] = {}
        self._asked: dict[str, float] = {}

    def forget(self, cause: str) -> None:
        """The job is over."""
        self._exits = {aim: exit for aim, exit in self._exits.items() if aim.cause != cause}
        self._refusals = {aim: words for aim, words in self._refusals.items() if aim.cause != cause}

    def refusals(self, aim: Aim) -> int:
        """How often its orders were refused, one after the other."""
        return self._exits[aim].refusals if aim in self._exits else 0

    def why(self, aim: Aim) -> str:
        """The last refusal's words."""
        return self._refusals.get(aim, "")

    def closed(self, symbol: str) -> str | None:
        """Why nothing can be done in a contract now."""
        try:
            phase = self._judge.phase_of(symbol)
        except (UnknownSymbol, CalendarError) as error:
            return str(error)
        return None if phase is Phase.CONTINUOUS else WAITS[phase]

    # ---- cancel ---------------------------------------------------------------------------------------------------

    async def cancel_due(self, orders: Iterable[OrderState]) -> bool:
        """Asked for again when nothing has come of it. True when a cancel went out."""
        now = self._clock.monotonic()
        active = [order for order in orders if order.is_active]
        patience = ASK_AGAIN_SECONDS + len(active) / CANCELS_A_SECOND
        due = [order for order in active if self._is_due(order, now, patience)]
        if due:
            await self._cancel(due)
        return bool(due)

    def _is_due(self, order: OrderState, now: float, patience: float) -> bool:
        """Never while the exchange would not take it."""
        if self.closed(order.symbol) is not None:
            return False
        name = order.request_id or order.order_id or ""
        if name in self._asked and now - self._asked[name] < patience:
            return False
        self._asked[name] = now
        return True

    # ---- send -----------------------------------------------------------------------------------------------------

    async def chase(self, aim: Aim, volume: int) -> str | None:
        """The next step for so many lots; says why it waits, None when it goes on."""
        if closed := self.closed(aim.symbol):
            return closed
        tick = self._judge.quotes.tick(aim.symbol)
        if tick is None:
            return "no price has been heard yet"
        instrument = self._judge.instruments.get(aim.symbol, self._judge.quotes.trading_day)
        now, lots = self._clock.monotonic(), Lots(-aim.direction.sign * volume)
        working = self._ours(aim)
        exit = self._exit(aim, working, now)
        step = protection.next_step(exit, lots, tick, instrument.price_tick, working, now)
        self._exits[aim] = step.exit
        if step.alarm is not None:
            self._say([f"{aim.scope}: {aim.symbol} stands at its limit {tick.last_price:g}: it waits there"])
        await self._cancel(leg for name in step.cancel for leg in self._orders.legs(name)[:1])
        if step.price is not None:
            request = self._request(aim, min(volume, instrument.max_order_volume), step.price)
            if refusal := await self._send(aim, step.exit, request):
                return refusal
        if protection.is_locked(aim.direction, tick):
            return f"the price stands at its limit {tick.last_price:g}"
        return self._refusals.get(aim) if not working and step.price is None else None

    def _ours(self, aim: Aim) -> dict[str, OrderState]:
        """Orders of this aim that may still fill; the legs of one split go by one name."""
        wanted = (aim.cause, aim.strategy_name, aim.symbol, aim.direction)
        return {
            order.vt_orderid: order
            for order in self._orders.unfinished()
            if (order.cause, order.strategy_name, order.symbol, order.direction) == wanted
        }

    def _exit(self, aim: Aim, working: Mapping[str, OrderState], now: float) -> Exit:
        """Where it stands. A former life's order is taken up, a rejected one makes the next one wait."""
        exit = self._exits.get(aim) or Exit(aim.scope, order=next(iter(working), None))
        if exit.order is not None and exit.order not in working:
            legs = self._orders.legs(exit.order)
            words = [leg.error_msg or "" for leg in legs if leg.status is Status.REJECTED]
            if words:
                what = "order" if aim.offset is Offset.OPEN else "close"
                self._refusals[aim] = f"the last {what} was rejected: {words[0]}"
                return protection.refused(exit, now)
        return exit

    def _request(self, aim: Aim, volume: int, price: float) -> OrderRequest:
        return OrderRequest(
            request_id=self._name(aim),
            strategy_name=aim.strategy_name,
            symbol=aim.symbol,
            exchange=self._judge.instruments.get(aim.symbol, self._judge.quotes.trading_day).exchange,
            direction=aim.direction,
            offset=aim.offset,
            order_type=OrderType.LIMIT,
            price=price,
            volume=volume,
            timestamp=self._clock.now(),
            cause=aim.cause,
        )

    async def _send(self, aim: Aim, exit: Exit, request: OrderRequest) -> str | None:
        """The sentence that refuses it, None when it is on its way."""
        try:
            await self._subscriber.take(request)
        except BusError as error:
            log.warning("%s: %s", aim.scope, error)  # written down: said as soon as there is a bus
        self._sent()
        answer = self._subscriber.answer_to(request.request_id)
        if answer is not None and answer.answer:
            self._exits[aim] = protection.refused(exit, self._clock.monotonic())
            self._refusals[aim] = answer.answer
            return answer.answer
        self._exits[aim] = replace(exit, order=request.request_id)
        return None
