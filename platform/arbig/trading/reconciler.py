"""Trading: where do we stand? Asks the Gateway for everything, merges it, and settles what was left in the air.

The same questions at start, after a reconnect and every half minute. The answers may be older or newer than what the
streams bring: merging does not care.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import date, timedelta
from datetime import datetime as Time
from functools import partial
from typing import Any

import msgspec

from arbig.bus.port import entry_key
from arbig.bus.topics import CMD, ORDER_STATUS, POSITION
from arbig.domain.messages import Detail, OrderData, PositionData, Status, TradeData, encode
from arbig.domain.orders import OrderState
from arbig.runtime.clock import Clock
from arbig.store.orders import OrderStore, Outgoing
from arbig.trading.order_manager import OrderManager, completed
from arbig.trading.outbox import Durably, Outbox
from arbig.trading.position_manager import PositionManager

log = logging.getLogger(__name__)

ASK_AGAIN = timedelta(seconds=5)

Ask = Callable[[str], Awaitable[Mapping[str, Any]]]

WORDS = {
    Detail.EXPIRED: "the order expired before it could be passed on; it was never sent",
    Detail.NOT_SENT: "the order was never passed on",
    Detail.UNKNOWN: "passed on, and the exchange has not answered yet",
}
_STATUS = {Detail.UNKNOWN: Status.SUBMITTING}


class Reconciler:
    def __init__(
        self,
        ask: Ask,
        orders: OrderManager,
        positions: PositionManager,
        store: OrderStore,
        outbox: Outbox,
        clock: Clock,
        durably: Durably,
        account_id: str,
        alarm: Callable[[str], Awaitable[None]],
    ) -> None:
        self._ask = ask
        self._orders = orders
        self._positions = positions
        self._store = store
        self._outbox = outbox
        self._clock = clock
        self._durably = durably
        self._account_id = account_id
        self._alarm = alarm
        self._explained: dict[str, int] | None = None
        self._suspected: dict[str, int] | None = None
        self.as_of: dict[str, str] = {}
        self.account: dict[str, Any] = {}
        self._account_before: dict[str, Any] = {}

    async def resync(self) -> None:
        """Raises CallError when the Gateway does not answer: then nothing is settled."""
        began = self._clock.now()
        orders = await self._ask("/orders")
        trades = await self._ask("/trades")
        positions = await self._ask("/positions")
        await self.refresh_account()
        known = await self._merge(orders["orders"], trades["trades"])
        held = msgspec.convert(positions["positions"], list[PositionData])
        self._positions.replace(held, positions.get("as_of", {}).get(POSITION.name, "0-0"))
        for answer in (orders, trades, positions):
            self.seen(answer.get("as_of", {}))
        await self._settle(began, known)
        await self._outbox.flush()
        await self._check()

    async def refresh_account(self) -> None:
        account = dict((await self._ask("/account"))["account"])
        if self.account and self.account["trading_day"] != account["trading_day"]:
            self._account_before = self.account
        self.account = account

    def account_of(self, trading_day: date) -> dict[str, Any] | None:
        """The account at the close of a day. Once the counter has settled, the next day begins with its balance."""
        if self.account.get("trading_day") == trading_day.isoformat():
            return self.account
        if self._account_before.get("trading_day") == trading_day.isoformat():
            return self._account_before | {"balance": self.account["pre_balance"]}
        return None

    async def _check(self) -> None:
        """Positions that no trade explains may be there from before; that they change, twice seen, is an alarm."""
        found = self._positions.unexplained()
        if self._explained is None or found == self._explained:
            self._explained, self._suspected = found, None
        elif found == self._suspected:
            symbols = sorted(found.keys() | self._explained.keys())
            lines = [f"{name} {self._explained.get(name, 0):+d} -> {found.get(name, 0):+d}" for name in symbols]
            self._explained, self._suspected = found, None
            await self._alarm(f"the account holds lots that no trade explains (net, before -> now): {', '.join(lines)}")
        else:
            self._suspected = found

    def seen(self, ids: Mapping[str, str]) -> None:
        """The last entry of each stream that our own answers include."""
        for stream, entry_id in ids.items():
            if entry_key(entry_id) > entry_key(self.as_of.get(stream, "0-0")):
                self.as_of[stream] = entry_id

    async def _merge(self, orders: Any, trades: Any) -> set[str]:
        heard = msgspec.convert(orders, list[OrderData])
        for order in heard:
            await self._durably(partial(self._orders.on_order, order))
        for trade in msgspec.convert(trades, list[TradeData]):
            whole = completed(trade, self._account_id, self._orders.trading_day)
            await self._durably(partial(self._orders.on_trade, whole))
        return {order.request_id or "" for order in heard}

    async def _settle(self, began: Time, known: set[str]) -> None:
        """Orders that the Gateway was asked about and does not know. `began` lies before the question: a command that
        had expired by then and is not known will not be sent any more."""
        lost = [state for state in self._orders.active() if not state.order_id and state.request_id not in known]
        commands = {command.request_id: command for command in self._commands(lost)}
        for state in lost:
            await self._settle_one(state, commands.get(state.request_id), began)

    def _commands(self, states: Iterable[OrderState]) -> list[Outgoing]:
        return self._store.outgoing_of([state.request_id for state in states], CMD.name)

    async def _settle_one(self, state: OrderState, command: Outgoing | None, began: Time) -> None:
        if command is None:
            await self._conclude(state, Detail.NOT_SENT)
        elif command.expires_at is None or command.expires_at >= began:
            return
        elif self._outbox.is_waiting(state.request_id):
            await self._outbox.withdraw(state.request_id)
            await self._conclude(state, Detail.EXPIRED)
        else:
            if not state.is_unknown:
                await self._conclude(state, Detail.UNKNOWN)
            if command.expires_at + ASK_AGAIN < began:  # expired: the Gateway answers it and can no longer send it
                await self._outbox.publish([command])

    async def _conclude(self, state: OrderState, detail: Detail) -> None:
        log.warning("order %s: %s", state.request_id, WORDS[detail])
        status = _STATUS.get(detail, Status.REJECTED)
        said = OrderData(
            order_id=state.order_id or "",
            symbol=state.symbol,
            exchange=state.exchange,
            direction=state.direction,
            offset=state.offset,
            order_type=state.order_type,
            price=state.price,
            volume=state.volume,
            traded=state.traded,
            status=status,
            datetime=state.updated,
            strategy_name=state.strategy_name,
            request_id=state.request_id,
            parent_id=state.parent_id,
            account_id=state.account_id,
            trading_day=state.trading_day,
            event_id=f"O:{state.request_id}:{detail}",
            detail=detail,
            error_msg=WORDS[detail],
            run_id=state.run_id,
        )
        message = Outgoing(
            id=self._store.next_outgoing(),
            stream=ORDER_STATUS.name,
            request_id=state.request_id,
            payload=encode(said),
            written_at=self._clock.now(),
        )
        await self._durably(partial(self._orders.on_order, said, [message]))
        await self._outbox.publish([message])
