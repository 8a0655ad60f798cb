"""Trading: `stream:order` in, `stream:cmd` and refusals out. One request, one answer, however often it is delivered."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime as Time
from typing import NamedTuple

from msgspec.structs import replace

from arbig.bus.port import Bus, Entry
from arbig.bus.topics import CMD, ORDER_STATUS
from arbig.domain.messages import CommandType, MessageError, OrderData, OrderRequest, decode, encode
from arbig.domain.orders import OrderState
from arbig.runtime.crash import crash_point
from arbig.store.database import StoreError
from arbig.store.orders import OrderStore, Outgoing, Received
from arbig.trading.judge import PATIENCE, Judge, Refusal, cancels_for, commands_for, denied
from arbig.trading.order_manager import OrderManager
from arbig.trading.outbox import Durably, Outbox
from arbig.trading.state import TradingState

log = logging.getLogger(__name__)

ACCEPTED = ""
UNWRITTEN, UNWRITTEN_CODE = "orders cannot be written down", "DATABASE"
MOST_LOTS = 2**31


class Decision(NamedTuple):
    """What is written in one transaction: the answer, the orders, and what is said about them."""

    received: Received
    states: tuple[OrderState, ...] = ()
    outgoing: tuple[Outgoing, ...] = ()


class OrderSubscriber:
    """Judges a request, writes the decision, says it, and only then lets the entry be acknowledged."""

    def __init__(
        self,
        judge: Judge,
        orders: OrderManager,
        store: OrderStore,
        outbox: Outbox,
        state: Callable[[], TradingState],
        durably: Durably,
        bus: Bus,
    ) -> None:
        self._judge = judge
        self._orders = orders
        self._store = store
        self._outbox = outbox
        self._state = state
        self._durably = durably
        self._bus = bus
        self._awaited: dict[str, set[asyncio.Future[Received]]] = {}

    def awaited(self, request_id: str) -> asyncio.Future[Received]:
        """The answer to a request that is about to be appended to the stream. Several may wait for the same one."""
        future: asyncio.Future[Received] = asyncio.get_running_loop().create_future()
        waiting = self._awaited.setdefault(request_id, set())
        waiting.add(future)

        def forget(done: asyncio.Future[Received]) -> None:
            waiting.discard(done)
            if not waiting and self._awaited.get(request_id) is waiting:
                del self._awaited[request_id]

        future.add_done_callback(forget)
        return future

    async def on_request(self, entry: Entry) -> None:
        crash_point("tr.after_read")
        request = checked(decode(OrderRequest, entry.payload))
        if self._judge.clock.now() - request.timestamp < PATIENCE:  # else it has waited while we were away
            self._judge.pulse.asked(self._judge.clock.monotonic())
        comes_again = entry.deliveries > 1 and self._orders.get(request.request_id) is None
        await self.take(request, await self._refused_aloud(entry.id, request.request_id) if comes_again else None)
        crash_point("tr.before_ack")

    async def take(self, request: OrderRequest, refusal: Refusal | None = None) -> None:
        """Trading's own requests need no stream. Returns when the answer is written and said; raises BusError when it
        could not be said yet. `refusal`: what is decided already."""
        decision = self._decide(request) if refusal is None else self._refuse(request, refusal)
        crash_point("tr.after_judge")
        try:
            is_new = self._store.decide(*decision)
        except StoreError as error:
            decision, is_new = await self._unwritable(request, decision, error)
        if is_new:
            crash_point("tr.after_commit")
            self._adopt(request, decision)
            await self._outbox.publish(decision.outgoing)
            crash_point("tr.after_publish")
        else:
            await self._outbox.flush()
        self._answer(request.request_id)

    def answer_to(self, request_id: str) -> Received | None:
        return self._store.answer(request_id)

    def _decide(self, request: OrderRequest) -> Decision:
        if request.cmd_type is CommandType.CANCEL_ORDER:
            return self._cancel(request)
        plan = self._judge.plan(request, self._state())
        if isinstance(plan, Refusal):
            return self._refuse(request, plan)
        day, when = self._orders.trading_day, self._judge.session_time(request)
        commands = commands_for(request, plan, self._judge.account_id, day)
        states = tuple(replace(OrderState.from_command(each), created=when, updated=when) for each in commands)
        outgoing = tuple(
            self._outgoing(CMD.name, command.request_id, encode(command), command.expires_at) for command in commands
        )
        return Decision(self._received(request, ACCEPTED, len(outgoing)), states, outgoing)

    def _refuse(self, request: OrderRequest, refusal: Refusal) -> Decision:
        when = self._judge.session_time(request)
        state = denied(request, refusal, self._judge.account_id, self._orders.trading_day, when)
        payload = encode(state.to_order_data(event_id=f"O:{request.request_id}:{refusal.detail}"))
        outgoing = self._outgoing(ORDER_STATUS.name, request.request_id, payload)
        log.info("%s is denied (%s): %s", request.request_id, refusal.code, refusal.sentence)
        return Decision(self._received(request, refusal.sentence, code=refusal.code), (state,), (outgoing,))

    def _cancel(self, request: OrderRequest) -> Decision:
        name = request.order_request_id or request.order_id or ""
        legs = self._orders.legs(name)
        working = [leg for leg in legs if leg.is_active]
        if not legs:
            return Decision(self._received(request, f"{name}: no such order"))
        if not working:
            return Decision(self._received(request, f"{name}: is {legs[0].status} already"))
        commands = cancels_for(request, working)
        outgoing = tuple(self._outgoing(CMD.name, command.request_id, encode(command)) for command in commands)
        return Decision(self._received(request, ACCEPTED, len(outgoing)), (), outgoing)

    async def _unwritable(self, request: OrderRequest, decision: Decision, error: StoreError) -> tuple[Decision, bool]:
        """An order that cannot be written is refused: at once, aloud, and for good as soon as the database can be
        written again. Until then its entry is not acknowledged. A cancel only waits, and so does what was decided
        before: it may be on its way."""
        is_known = self._orders.get(request.request_id) is not None
        if request.cmd_type is not CommandType.CANCEL_ORDER and not is_known:
            decision = self._refuse(request, Refusal(f"{request.symbol}: {UNWRITTEN}: {error}", code=UNWRITTEN_CODE))
            await self._say(decision.states[0])
        written: list[bool] = []
        await self._durably(lambda: written.append(self._store.decide(*decision)))
        return decision, written[0]

    async def _refused_aloud(self, after: str, request_id: str) -> Refusal | None:
        """What a former life has said of an order that it could not write down: it holds."""
        name = request_id.encode()
        while batch := await self._bus.read(ORDER_STATUS.name, after):
            for payload in (each.payload for each in batch if name in each.payload):
                with suppress(MessageError):  # its reader sends it to the dead letters
                    told = decode(OrderData, payload)
                    if told.request_id == request_id and UNWRITTEN in (told.error_msg or ""):
                        return Refusal(told.error_msg or "", code=UNWRITTEN_CODE)
            after = batch[-1].id
        return None

    async def _say(self, state: OrderState) -> None:
        await self._bus.append([(ORDER_STATUS.name, encode(state.to_order_data()))])

    def _adopt(self, request: OrderRequest, decision: Decision) -> None:
        self._orders.decided(decision.states)
        self._judge.pulse.passed_on(decision.received.received_at, decision.received.messages or 0)
        if request.cmd_type is CommandType.CANCEL_ORDER:
            self._judge.cancelled(len(decision.outgoing))
        elif any(state.is_active for state in decision.states):
            self._judge.sent(request)

    def _answer(self, request_id: str) -> None:
        waiting = [future for future in self._awaited.get(request_id, ()) if not future.done()]
        if waiting and (answer := self._store.answer(request_id)) is not None:
            for future in waiting:
                future.set_result(answer)

    def _received(self, request: OrderRequest, answer: str, messages: int = 0, code: str | None = None) -> Received:
        return Received(
            request_id=request.request_id,
            kind=request.cmd_type or CommandType.SEND_ORDER,
            answer=answer,
            received_at=self._judge.clock.now(),
            symbol=request.symbol,
            trading_day=self._orders.trading_day,
            messages=messages,
            code=code,
        )

    def _outgoing(self, stream: str, request_id: str, payload: bytes, expires_at: Time | None = None) -> Outgoing:
        return Outgoing(
            id=self._store.next_outgoing(),
            stream=stream,
            request_id=request_id,
            payload=payload,
            written_at=self._judge.clock.now(),
            expires_at=expires_at,
        )


def checked(request: OrderRequest) -> OrderRequest:
    """What cannot even be refused by name, or written down. Raises MessageError."""
    if not request.request_id:
        raise MessageError("not an OrderRequest: request_id is empty, expected the request's own name")
    if abs(request.volume) > MOST_LOTS:
        raise MessageError(f"not an OrderRequest: volume {request.volume} is no number of lots")
    return request
