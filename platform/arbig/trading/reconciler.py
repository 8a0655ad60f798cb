"""Trading: where do we stand? Asks the Gateway for everything, merges it, and settles what was left in the air.

The same questions at start, after a reconnect and every half minute. The answers may be older or newer than what the
streams bring: merging does not care.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import date, timedelta
from datetime import datetime as Time
from functools import partial
from typing import Any

import msgspec

from arbig.bus.port import entry_key
from arbig.bus.topics import CMD, ORDER_STATUS, POSITION, TRADE
from arbig.domain.counter import Statement
from arbig.domain.messages import Detail, OrderData, PositionData, Status, TradeData, encode
from arbig.domain.orders import OrderState, Stage
from arbig.runtime.clock import Clock
from arbig.store.orders import OrderStore, Outgoing
from arbig.store.reconciliation import ReconciliationStore
from arbig.trading.auditor import Auditor, Look
from arbig.trading.differences import Difference, What
from arbig.trading.order_manager import OrderManager, completed
from arbig.trading.outbox import Durably, Outbox
from arbig.trading.position_manager import PositionManager
from arbig.trading.tally import Tally

log = logging.getLogger(__name__)

ASK_AGAIN = timedelta(seconds=5)
LEVEL_SECONDS = 1.0
ROWS_AT_ONCE = 50
JOURNAL_KEPT = timedelta(days=10)
_READ = (ORDER_STATUS.name, TRADE.name)

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
        auditor: Auditor,
        checks: ReconciliationStore,
    ) -> None:
        self._ask = ask
        self._orders = orders
        self._positions = positions
        self._store = store
        self._outbox = outbox
        self._clock = clock
        self._durably = durably
        self._account_id = account_id
        self._auditor = auditor
        self._checks = checks
        self._checked_day: date | None = None
        self._moved = asyncio.Event()
        self.is_following = False
        self.as_of: dict[str, str] = {}
        self.account: dict[str, Any] = {}
        self._account_before: dict[str, Any] = {}

    async def resync(self) -> None:
        """Raises CallError when the Gateway does not answer: then nothing is settled."""
        began = self._clock.now()
        before = self._auditor.prices(symbol for symbol, _ in self._positions.lots())
        orders = await self._ask("/orders?fresh=true")
        trades = await self._ask(f"/trades?fresh=true{self._since()}")
        positions = await self._ask("/positions")
        money = await self.refresh_account()
        held = msgspec.convert(positions["positions"], list[PositionData])
        includes = positions.get("as_of", {})
        self._positions.replace(held, includes.get(POSITION.name, "0-0"))
        ends = (*(answer["as_of"] for answer in (orders, trades)), includes, money.get("as_of", {}))
        is_level = await self._caught_up(ends)
        if not self.is_following:
            day = self._orders.trading_day
            self._auditor.stranded(
                order for order in self._orders.active() if day and order.trading_day and order.trading_day < day
            )
        known, missed = await self._merge(orders["orders"], trades["trades"])
        for answer, stream in ((orders, ORDER_STATUS), (trades, TRADE), (positions, POSITION)):
            self.seen({stream.name: answer.get("as_of", {}).get(stream.name, "0-0")})
        await self._settle(began, known)
        await self._outbox.flush()
        order_ids = frozenset(order["order_id"] for order in orders["orders"])
        merged = missed if is_level and self.is_following else ()
        if not is_level:
            return
        same = all(money.get("as_of", {}).get(s.name) == includes.get(s.name) for s in (ORDER_STATUS, TRADE))
        account = self.account if same else {"trading_day": self.account["trading_day"]}
        await self._auditor.look(Look(held, account, includes, order_ids, merged, before))
        await self._outbox.flush()

    async def check_statement(self, day: date | None, tally_of: Callable[[date], Tally]) -> None:
        """The newest day that has been settled, once."""
        if day is None or day == self._checked_day or self._checks.statement(day) is not None:
            return
        said = (await self._ask("/statement"))["statement"]
        statement = None if said is None else msgspec.convert(said, Statement)
        if statement is None or statement.trading_day == day:
            self._checked_day = day
        if statement is not None and statement.trading_day == day:
            await self._auditor.check(statement, tally_of(day))

    def _since(self) -> str:
        """An empty database asks for every trade that the Gateway remembers: whose lots the account holds."""
        day = self._orders.trading_day
        if day is None or not self._store.is_empty():
            return ""
        return f"&since={(day - JOURNAL_KEPT).isoformat()}"

    async def _caught_up(self, ends: Iterable[Mapping[str, str]]) -> bool:
        """Whether we have read the streams as far as the answers do; waits a moment for it. At start the answers are
        themselves what is read first."""
        if not self.is_following:
            return True
        wanted = [(name, entry_key(end[name])) for end in ends for name in _READ if name in end]
        try:
            async with asyncio.timeout(LEVEL_SECONDS):
                while any(entry_key(self.as_of.get(name, "0-0")) < end for name, end in wanted):
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            return False
        return True

    async def refresh_account(self) -> Mapping[str, Any]:
        """The counter's answer, with the entries that it includes."""
        answer = await self._ask("/account")
        account = dict(answer["account"])
        if self.account and self.account["trading_day"] != account["trading_day"]:
            self._account_before = self.account
        self.account = account
        return answer

    def account_of(self, trading_day: date) -> dict[str, Any] | None:
        """The account at the close of a day. Once the counter has settled, the next day begins with its balance."""
        if self.account.get("trading_day") == trading_day.isoformat():
            return self.account
        if self._account_before.get("trading_day") == trading_day.isoformat():
            return self._account_before | {"balance": self.account["pre_balance"]}
        return None

    def seen(self, ids: Mapping[str, str]) -> None:
        """The last entry of each stream that our own answers include."""
        for stream, entry_id in ids.items():
            if entry_key(entry_id) > entry_key(self.as_of.get(stream, "0-0")):
                self.as_of[stream] = entry_id
        self._moved.set()

    async def _merge(self, orders: Any, trades: Any) -> tuple[set[str], list[Difference]]:
        """The requests that the Gateway knows, and what its lists said that we did not know."""
        heard = msgspec.convert(orders, list[OrderData])
        missed: list[Difference] = []
        for number, order in enumerate(heard):
            await _let_others(number)
            before = self._orders.get(order.request_id or order.order_id)
            await self._durably(partial(self._orders.on_order, order))
            after = self._orders.get(order.request_id or order.order_id)
            if after is not None and _progress(before) != _progress(after):
                missed.append(_missed_order(before, after))
        for number, trade in enumerate(msgspec.convert(trades, list[TradeData])):
            await _let_others(number)
            whole = completed(trade, self._account_id, self._orders.trading_day)
            if not self._orders.is_counted(whole):
                missed.append(_missed_trade(whole))
            await self._durably(partial(self._orders.on_trade, whole))
        return {order.request_id or "" for order in heard}, missed

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


async def _let_others(number: int) -> None:
    """A long list does not hold up orders on their way."""
    if number % ROWS_AT_ONCE == ROWS_AT_ONCE - 1:
        await asyncio.sleep(0)


def _progress(order: OrderState | None) -> tuple[Stage, int] | None:
    return None if order is None else (order.stage, order.announced)


def _missed_order(before: OrderState | None, after: OrderState) -> Difference:
    return Difference(
        what=What.ORDER,
        symbol=after.symbol,
        direction=after.direction,
        order_id=after.order_id or after.request_id,
        ours="not known" if before is None else f"{before.status} {before.announced}/{before.volume}",
        theirs=f"{after.status} {after.announced}/{after.volume}",
    )


def _missed_trade(trade: TradeData) -> Difference:
    return Difference(
        what=What.TRADE,
        symbol=trade.symbol,
        direction=trade.direction,
        order_id=trade.order_id,
        ours="not known",
        theirs=f"trade {trade.trade_id}: {trade.volume} at {trade.price}",
    )
