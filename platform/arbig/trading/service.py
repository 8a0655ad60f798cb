"""Trading. In: stream:order, stream:order_status, stream:trade, stream:position, stream:event, tick:*
Out: stream:cmd, stream:order_status (refusals), stream:event  Keeps: orders, trades, positions (`data/db/trading.db`).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from datetime import date, timedelta
from functools import partial
from typing import Any, ClassVar
from uuid import uuid4

from fastapi import FastAPI
from msgspec.structs import asdict

from arbig.bus.port import Bus, BusError, Entry
from arbig.bus.retention import Retaining
from arbig.bus.topics import EVENT, GATEWAY, MARKET, ORDER, ORDER_STATUS, POSITION, STRATEGY, TRADE, TRADING, group_of
from arbig.domain.faults import StartAnew
from arbig.domain.fees import FeeSchedule, margin
from arbig.domain.instruments import UnknownSymbol
from arbig.domain.messages import (
    AlarmCode,
    CommandType,
    Direction,
    EventData,
    EventType,
    MessageError,
    Offset,
    OrderData,
    OrderRequest,
    PositionData,
    TradeData,
    decode,
    encode,
)
from arbig.domain.orders import OrderState, Stage
from arbig.domain.risk import Breach, Readings, rules_from
from arbig.domain.sessions import CalendarError, Phase
from arbig.runtime.audit import note
from arbig.runtime.broker import is_live
from arbig.runtime.calendar import load_calendar
from arbig.runtime.clock import Clock
from arbig.runtime.crash import crash_point
from arbig.runtime.http import CallError, call
from arbig.runtime.instruments import load_instruments
from arbig.runtime.service import Service
from arbig.runtime.settings import Settings
from arbig.store.database import Database, StoreError
from arbig.store.equity import EquityStore
from arbig.store.flattens import FlattenStore
from arbig.store.intents import IntentStore
from arbig.store.orders import OrderStore, Received
from arbig.store.reconciliation import ChangeKind, ReconciliationStore
from arbig.store.rolls import RollStore
from arbig.store.snapshots import SnapshotStore
from arbig.trading import intent_routes, reconciliation_routes, roll_routes, routes, whence
from arbig.trading.activity import Activity
from arbig.trading.auditor import Auditor
from arbig.trading.bookkeeper import Bookkeeper
from arbig.trading.books import Book
from arbig.trading.canceller import Canceller
from arbig.trading.chaser import CANCELS_A_SECOND
from arbig.trading.differences import lots_of
from arbig.trading.equity import EquityRecorder, add_history
from arbig.trading.flattener import Flattener
from arbig.trading.judge import MEMORY_SECONDS, Judge
from arbig.trading.keeper import StateKeeper
from arbig.trading.order_manager import OrderManager, completed
from arbig.trading.order_subscriber import OrderSubscriber
from arbig.trading.outbox import Outbox
from arbig.trading.position_manager import PositionManager, closing
from arbig.trading.pulse import Pulse
from arbig.trading.pursuer import Pursuer
from arbig.trading.quotes import PATTERNS, Quotes
from arbig.trading.reconciler import Reconciler
from arbig.trading.risk_file import load_risk
from arbig.trading.roller import Roller
from arbig.trading.state import Block, State, TradingState, is_stricter
from arbig.trading.sweeper import Sweeper
from arbig.trading.tally import Tally, opened_with
from arbig.trading.tripwire import Tripwire, day_of
from arbig.trading.whence import Heard

log = logging.getLogger(__name__)

BACKOFF = (0.1, 0.2, 0.5, 1.0, 2.0)
RESYNC_SECONDS = 30.0
SECOND_LOOK_SECONDS = 1.1
ACCOUNT_SECONDS = 2.0
LAG_SECONDS = 10.0
RETRY_WRITE_SECONDS = 0.5
TELL_SECONDS = 1.0
BEGIN_SECONDS = 30.0
CANCEL_AGAIN_SECONDS = (3.0, 3.0, 6.0, 15.0, 60.0)
MEMORY = timedelta(seconds=MEMORY_SECONDS)
KEEP = timedelta(days=2)


class TradingService(Service):
    name: ClassVar[str] = TRADING
    needs: ClassVar[str | None] = MARKET

    def __init__(self, settings: Settings, bus: Bus, clock: Clock) -> None:
        super().__init__(settings, bus, clock)
        self.account_id = settings.account_id
        self.quotes = Quotes()
        self.fault: str | None = None
        self._janitors_bus: Bus | None = None
        self.is_open = False
        self.epoch: str | None = None
        self._epoch_now: str | None = None
        self.events: dict[EventType, Callable[[EventData], Awaitable[None]]] = {
            EventType.DISCONNECTED: self._on_disconnected,
            EventType.CONNECTED: self._on_connected,
            EventType.TRADING_DAY: self._on_trading_day,
            EventType.SETTLED: self._on_settled,
        }
        self._losses = 0
        self._unsaid: deque[tuple[EventType, str, dict[str, str | None]]] = deque()
        self._is_listening = asyncio.Event()
        self._must_resync = asyncio.Event()
        self._stale = asyncio.Event()
        self._unsaid_waits = asyncio.Event()
        self._must_cancel = asyncio.Event()
        self._looked_at = -LAG_SECONDS
        self._behind: dict[str, int] = {}
        self._rejected: dict[str, str] = {}
        self._was_silent = False
        self.heard = Heard()
        self.stale: tuple[str, ...] = ()

    # ---- life -----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        self._open(await self.opened(self.settings.database(TRADING), Database.open))
        self.spawn(self._listen(), "ticks")
        await self._is_listening.wait()
        await self._until_answered(self._read_clock)
        await self.durably(lambda: self._turn_to(self.quotes.trading_day))
        recently = self.clock.now() - MEMORY
        self.judge.remember(self.store.sent_since(recently), self.store.cancels_since(recently))
        self.outbox.load(self.store.unpublished())
        await self._until_answered(self._reconcile)
        self.reconciler.is_following = True
        self.spawn(self._consume(), "streams")
        self.spawn(self.outbox.mark_for_ever(), "outbox")
        self.spawn(self._reconcile_for_ever(), "reconciler")
        self.spawn(self._follow_account(), "account")
        self.spawn(self.sweeper.sweep_for_ever(), "sweeper")
        self.spawn(self.keeper.push_for_ever(), "the Gateway's state")
        self.spawn(self._cancel_while_halted(), "halt")
        self.spawn(self.flattener.run_for_ever(), "flatten")
        self.spawn(self.roller.run_for_ever(), "roll")
        self.canceller.load(self.store.cancels_asked())
        self.spawn(self.canceller.run_for_ever(), "cancels")
        self.spawn(self.pursuer.run_for_ever(), "intents")
        self.spawn(self._say_for_ever(), "events")

    def _open(self, database: Database) -> None:
        self.database = database
        self.risk, instruments = load_risk(self.settings), load_instruments(self.settings)
        self.calendar = calendar = load_calendar(self.settings)
        self.is_open = True
        self.store = OrderStore(self.database, self.account_id)
        self.snapshots = SnapshotStore(self.database, self.account_id)
        self.equity = EquityRecorder(EquityStore(self.database, self.account_id))
        self.keeper = StateKeeper(self.snapshots, self.ask, self.clock, self._on_state)
        self.positions = PositionManager(self.account_id)
        self.tripwire, self.pulse = Tripwire(self.risk.triggers), Pulse(self.risk)
        self._best_balance = self.snapshots.best_balance()
        self.outbox = Outbox(self.bus, self.store, self.clock, self.durably)
        self.checks = ReconciliationStore(self.database, self.account_id)
        self.bookkeeper = Bookkeeper(self.checks, self.store, self.positions, self.outbox, self.clock, self.account_id)
        self.orders = OrderManager(
            self.store, self.positions, Activity(self.risk, self._lot_margin), self.bookkeeper, self._opened
        )
        self.auditor = Auditor(
            self.orders,
            self.positions,
            self.checks,
            self.bookkeeper,
            self.quotes,
            instruments,
            self.clock,
            self.durably,
            self.mistrust,
            partial(self.say_alarms, code=AlarmCode.MISMATCH),
        )
        self.instruments = instruments
        self.judge = Judge(
            self.account_id,
            instruments,
            calendar,
            rules_from(self.risk),
            self.quotes,
            self.orders,
            self.positions,
            self.clock,
            lambda: self.reconciler.account,
            self.pulse,
        )
        self.sweeper = Sweeper(self.janitors_bus, self.clock, self._alarm)
        self.subscriber = OrderSubscriber(
            self.judge, self.orders, self.store, self.outbox, lambda: self.state, self.durably, self.bus
        )
        self.flattener = Flattener(
            FlattenStore(self.database, self.account_id),
            self.keeper,
            self.judge,
            self.orders,
            self.positions,
            self.subscriber,
            self.ask,
            self.cancel,
            self.say_alarms,
            self._must_resync.set,
        )
        self.pursuer = Pursuer(
            IntentStore(self.database, self.account_id),
            self.judge,
            self.orders,
            self.positions,
            self.subscriber,
            self.flattener,
            lambda: self.state,
            self.cancel,
            self.say_alarms,
            self._subscribe,
            is_live(self.settings),
        )
        self.canceller = Canceller(self.orders, self.cancel, self.flattener.closed, self.clock)
        self.roller = Roller(
            RollStore(self.database, self.account_id),
            self.keeper,
            self.judge,
            self.orders,
            self.positions,
            self.subscriber,
            self.ask,
            self.ask_strategy,
            self.cancel,
            self.say_alarms,
            lambda: self.flattener.running,
        )
        self.reconciler = Reconciler(
            self.ask,
            self.orders,
            self.positions,
            self.store,
            self.outbox,
            self.clock,
            self.durably,
            self.account_id,
            self.auditor,
            self.checks,
        )

    async def stop(self) -> None:
        await self.cancel_tasks()
        if self.is_open:
            with suppress(StoreError, StartAnew):  # said again after the next start, which is harmless
                self.outbox.mark()
            self.database.close()
        if self._janitors_bus is not None:
            await self._janitors_bus.close()

    def routes(self, app: FastAPI) -> None:
        add_history(app, self)
        routes.add(app, self)
        reconciliation_routes.add(app, self)
        roll_routes.add(app, self)
        whence.add(app, self)
        intent_routes.add(app, self)

    @property
    def state(self) -> TradingState:
        return self.keeper.state

    def status(self) -> dict[str, object]:
        return {
            "trading_state": self.state.effective,
            "trading_reason": self.state.words,
            "trading_since": self.state.since.isoformat(timespec="seconds"),
            "connection": "connected" if self.state.is_connected else "disconnected",
            "trading_day": None if self.orders.trading_day is None else self.orders.trading_day.isoformat(),
            "orders_today": self.orders.orders_today,
            "trades_today": self.orders.trades_today,
            "active_orders": self.orders.active_count,
            "outbox": self.outbox.waiting,
            "contradictions": self.orders.illegal,
            "flattens": [f"{job.scope}: {job.state}, {job.detail}" for job in self.flattener.running],
            "intents": [f"{intent.words}: {intent.state}, {intent.detail}" for intent in self.pursuer.running],
            "cancels": [
                f"cancel of {order.volume - order.traded} {order.symbol}: WAITING, {closed}"
                for order, closed in self.canceller.waiting
                if closed is not None
            ],
            "rolls": [f"{job.scope}: {job.state}, {job.detail}" for job in self.roller.running],
            "fault": self.fault,
            "alarms": [*self.sweeper.alarms, *self.auditor.alarms, *self.stale],
        }

    async def durably(self, write: Callable[[], Any]) -> None:
        """Until it is written: the entry behind it stays unacknowledged meanwhile."""
        while True:
            try:
                write()
            except StoreError as error:
                if self.fault is None:
                    log.error("%s", error)
                self.fault = str(error)
                await self.clock.sleep(RETRY_WRITE_SECONDS)
            else:
                self.fault = None
                return

    async def _until_answered(self, step: Callable[[], Awaitable[None]]) -> None:
        attempt = 0
        while True:
            try:
                await step()
                return
            except (CallError, BusError, StoreError) as error:
                log.warning("%s; asking again", error)
                await self.clock.sleep(BACKOFF[min(attempt, len(BACKOFF) - 1)])
                attempt += 1

    async def ask(self, path: str, body: Any = None) -> Any:
        """The Gateway's answer; with a body it is told something."""
        if body is None:
            return await call(self.settings, GATEWAY, "GET", path)
        return await call(self.settings, GATEWAY, "POST", path, json=body, timeout=TELL_SECONDS)

    async def _subscribe(self, symbol: str) -> None:
        await self.ask("/subscribe", {"symbols": [symbol]})

    # ---- where we stand -------------------------------------------------------------------------------------------

    async def _read_clock(self) -> None:
        clock = await self.ask("/clock")
        epoch = await self.bus.epoch()
        if clock.get("epoch", epoch) != epoch:
            raise CallError("the Gateway has still to publish the day again, for Redis has lost its data")
        self._epoch_now = epoch
        self.quotes.set_clock(clock["session_time"], clock["trading_day"])
        self._set_state(is_connected=bool(clock["connected"]))

    async def _reconcile(self) -> None:
        """Afterwards we know where we stand; while the exchange is away, we cannot: its return is an event."""
        await self._read_clock()
        await self.keeper.agree()
        if not self.state.is_connected:
            return
        if self.quotes.trading_day != self.orders.trading_day:
            await self.durably(lambda: self._turn_to(self.quotes.trading_day))
        lost_before = self._losses
        await self.reconciler.resync()
        await self.reconciler.check_statement(self.snapshots.last_settled(date.max), self._opened)
        if self.settings.gateway != "sim":
            await self._learn_rates()
        self.epoch = self._epoch_now
        if self._losses == lost_before and not self.state.is_reconciled:
            self._set_state(is_reconciled=True)
            try:
                await self._tell(EventType.RECONCILED, "orders, trades and positions agree with the exchange's answers")
            except BusError:
                self._set_state(is_reconciled=False)  # nobody has heard it: it is said again
                raise

    async def _reconcile_for_ever(self) -> None:
        while True:
            try:
                async with asyncio.timeout(SECOND_LOOK_SECONDS if self.auditor.in_doubt else RESYNC_SECONDS):
                    await self._must_resync.wait()
            except TimeoutError:
                pass
            self._must_resync.clear()
            await self._until_answered(self._reconcile)

    async def _follow_account(self) -> None:
        """The counter's account: every few seconds, and soon after a fill; limits of the account are watched with it.
        And fills that do not come are asked for."""
        missing: set[str] = set()
        while True:
            try:
                async with asyncio.timeout(ACCOUNT_SECONDS):
                    await self._stale.wait()
            except TimeoutError:
                pass
            self._stale.clear()
            if missing & self.orders.missing():
                self._must_resync.set()
            missing = self.orders.missing()
            with suppress(CallError):  # the Gateway is away, and its return is an event
                await self.reconciler.refresh_account()
                self.equity.note(self.reconciler.account, self.quotes.session_time)
            await self._watch()
            await self._pause_rejected()
            self._watch_market()
            self._say_warnings()

    async def _watch(self) -> None:
        """A limit of the house that is passed makes trading stricter, once a trading day: then people decide."""
        day = day_of(self.reconciler.account, self._best_balance) if self.reconciler.account else None
        self._best_balance = max(self._best_balance, day.began if day is not None else 0.0)
        now = self.clock.monotonic()
        if now - self._looked_at >= LAG_SECONDS:
            self._looked_at, self._behind = now, await self._unfinished_entries()
        for breach in self.tripwire.seen(Readings(now, day, self.pulse.requests, self._behind)):
            await self._act(breach)

    async def _unfinished_entries(self) -> dict[str, int]:
        """By group: how far it is behind the stream that it is furthest behind."""
        found: dict[str, int] = {}
        with suppress(BusError):
            for each in await self.bus.groups():
                found[each.group] = max(found.get(each.group, 0), each.lag + each.pending)
        return found

    async def mistrust(self, sentence: str) -> None:
        """Reconciliation has looked twice, and cannot explain what the counter holds; it has raised the alarm."""
        if self.risk.position_mismatch is not None:
            breach = self.risk.position_mismatch.breach(Readings(mismatch=sentence))
            if breach is not None:
                await self._act(breach, is_said=True)

    async def _act(self, breach: Breach, is_said: bool = False) -> None:
        """An account that a person is making flat is not halted meanwhile: its closes must go on."""
        wanted = State(breach.level)
        if not is_stricter(wanted, self.state.wanted):
            return
        if wanted is State.HALTED and any(job.is_account_wide for job in self.flattener.running):
            return
        try:
            await self.keeper.set(wanted, breach.sentence, breach.code, self.orders.trading_day)
        except StoreError as error:
            log.error("%s", error)  # it holds all the same, here and at the Gateway
        self.tripwire.acted(breach.code)
        if not is_said:
            self.say_alarms([f"trading is {wanted}: {breach.sentence}"], breach.code)

    def _watch_market(self) -> None:
        """Opening is refused by its rule; here it is said, when it has been seen twice."""
        rule, silent = self.risk.stale_market, self.judge.silent()
        is_silent = rule is not None and silent is not None and silent >= rule.seconds and self._is_trading_time()
        line = f"market data: {rule.words(silent)}" if rule is not None and silent is not None else ""
        if is_silent and self._was_silent and not self.stale:
            self.say_alarms([line])
        if self.stale and not is_silent:
            self.say_alarms(["market data: ticks come again"])
        self.stale = (line,) if is_silent and self._was_silent else ()
        self._was_silent = is_silent

    def _is_trading_time(self) -> bool:
        """Of any contract that is subscribed."""
        for symbol in self.settings.symbols:
            with suppress(UnknownSymbol, CalendarError):
                if self.judge.phase_of(symbol) is Phase.CONTINUOUS:
                    return True
        return False

    def _count_reject(self, before: OrderState | None, order: OrderData) -> None:
        after = self.orders.get(order.request_id or order.order_id)
        if after is None or after.stage is not Stage.REJECTED or (before is not None and before.stage is after.stage):
            return
        if after.strategy_name and self.pulse.rejected(after.strategy_name, self.clock.monotonic()):
            assert self.risk.rejects is not None
            self._rejected[after.strategy_name] = self.risk.rejects.words(after.strategy_name, after.error_msg or "")
            self._show_rejected()
            self._stale.set()

    def _show_rejected(self) -> None:
        self.keeper.block("rejects", [Block(name, None, words) for name, words in self._rejected.items()])

    async def _pause_rejected(self) -> None:
        """By the Strategy service, which remembers it. Until it has, the strategy opens nothing."""
        for name, words in list(self._rejected.items()):
            try:
                await self.pause_strategy(name)
            except CallError as error:
                if not error.status:
                    continue
                log.warning("%s is no running strategy: %s", name, error)
            else:
                self.say_alarms([words], AlarmCode.REJECTS)
            del self._rejected[name]
            self._show_rejected()

    async def pause_strategy(self, name: str) -> None:
        await call(self.settings, STRATEGY, "POST", f"/strategies/{name}/pause", timeout=TELL_SECONDS)

    async def ask_market(self, path: str, query: dict[str, Any]) -> Any:
        return await call(self.settings, MARKET, "GET", path, params=query)

    async def ask_strategy(self, method: str, path: str, body: Any = None) -> Any:
        """The Strategy service's answer: a strategy that begins anew is made, and its history read."""
        return await call(self.settings, STRATEGY, method, path, json=body, timeout=BEGIN_SECONDS)

    def _opened(self, day: date) -> Tally:
        """What our own trades add up to on a day, from the last settlement on."""
        settled = self.snapshots.last_settled(day)
        rows = [] if settled is None else self.snapshots.positions_of(settled)
        changes = [
            (change.trading_day, (change.symbol, Direction(change.direction)), lots_of(change))
            for change in self.checks.changes(after=settled)
            if change.kind in (ChangeKind.INHERITED, ChangeKind.ACCEPTED)
        ]
        sides = {(row["symbol"], Direction(row["direction"])): row["volume"] for row in rows}
        trades = self.store.trades_from(settled)
        tally = opened_with(day, settled, sides, changes, trades, partial(self._is_listed, day))
        account = None if settled is None else self.snapshots.account_of(settled)
        if account is not None and settled is not None and self.calendar.next_day(settled) == day:
            tally.pre_balance = account["balance"]
        return tally

    def _is_listed(self, day: date, symbol: str) -> bool:
        try:
            return self.instruments.get(symbol, day).last_trading_day >= day
        except UnknownSymbol:
            return True

    def _say_warnings(self) -> None:
        self.say_alarms(self.orders.activity.warnings())

    def say_alarms(self, lines: Iterable[str], code: str | None = None) -> None:
        self._unsaid.extend((EventType.ALARM, line, {"code": code}) for line in lines)
        if self._unsaid:
            self._unsaid_waits.set()

    async def _say_events(self) -> None:
        while self._unsaid:
            event, words, about = self._unsaid[0]
            log.warning("%s: %s", event, words)
            await self._tell(event, words, **about)
            self._unsaid.popleft()

    async def _learn_rates(self) -> None:
        """A broker charges as it likes: what it has told of margin and fees wins over config/instruments.yaml."""
        for told in (await self.ask("/rates"))["rates"]:
            fees = told["fees"]
            self.instruments.learn(told["symbol"], told["margin_rate"], None if fees is None else FeeSchedule(**fees))

    def _lot_margin(self, order: OrderState) -> float:
        """Yuan for one lot by our own table; what the counter really takes is in its account soon after."""
        try:
            contract = self.instruments.get(order.symbol, order.trading_day)
        except UnknownSymbol:
            return 0.0
        return margin(contract.margin_rate, contract.size, order.price, 1)

    async def janitors_bus(self) -> Retaining:
        """No service may trim with its own name."""
        from arbig.bus.redis import RedisBus

        self._janitors_bus = await RedisBus.connect(self.settings.redis_for("admin"))
        return self._janitors_bus

    def _set_state(self, **found: bool) -> None:
        self.keeper.note(**found)

    async def set_wanted(self, wanted: State, reason: str) -> None:
        """A person's decision; HALTED also asks to cancel whatever works."""
        await self.keeper.set(wanted, reason)

    def _on_state(self, state: TradingState) -> None:
        note(self.settings, TRADING, TRADING, "state", f"{state.wanted} (number {state.number}): {state.reason}")
        self._unsaid.append((EventType.TRADING_STATE, state.reason, {"state": state.wanted}))
        self._unsaid_waits.set()
        if state.wanted is State.HALTED:
            self._must_cancel.set()

    async def _cancel_while_halted(self) -> None:
        """What works at the moment of the halt, another terminal's orders as well; then our own until none is left, but
        never before the counter has had time for the cancels that wait in line."""
        pauses, pause = iter(CANCEL_AGAIN_SECONDS), CANCEL_AGAIN_SECONDS[0]
        while True:
            try:
                async with asyncio.timeout(pause):
                    await self._must_cancel.wait()
            except TimeoutError:
                pass
            is_fresh = self._must_cancel.is_set()
            pauses = iter(CANCEL_AGAIN_SECONDS) if is_fresh else pauses
            self._must_cancel.clear()
            working = [order for order in self.orders.active() if is_fresh or order.request_id]
            if self.state.wanted is State.HALTED:
                await self.cancel(working)
            pause = next(pauses, CANCEL_AGAIN_SECONDS[-1]) + len(working) / CANCELS_A_SECOND

    async def cancel(self, orders: Iterable[OrderState]) -> None:
        """Written down at once, also while there is no bus: then said with the next message that can be."""
        asked = list(orders)
        parents = {order.request_id for order in asked}
        for order in asked:
            if order.parent_id not in parents:  # a leg goes with its order
                with suppress(BusError):
                    await self.subscriber.take(self.cancel_request(order))

    async def _say_for_ever(self) -> None:
        """Events in their order, as soon as there is a bus to say them on."""
        while True:
            await self._unsaid_waits.wait()
            self._unsaid_waits.clear()
            try:
                await self._say_events()
                await self.outbox.flush()  # what was written down while there was no bus
            except BusError:
                await self.clock.sleep(RETRY_WRITE_SECONDS)
                self._unsaid_waits.set()

    async def _alarm(self, message: str) -> None:
        log.error("%s", message)
        await self._tell(EventType.ALARM, message)

    async def _tell(self, event: EventType, message: str, **about: Any) -> None:
        said = EventData(
            event=event,
            source=TRADING,
            datetime=self.clock.now(),
            message=message,
            account_id=self.account_id,
            trading_day=self.orders.trading_day,
            event_id=uuid4().hex,
            **about,
        )
        await self.bus.append([(EVENT.name, encode(said))])

    # ---- what comes in --------------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        async for batch in self.bus.listen(*PATTERNS):
            self.quotes.hear(batch, self.clock.monotonic())
            self._is_listening.set()

    async def _consume(self) -> None:
        """In this order: when a strategy answers a fill with a close, the fill and the position lie in front of it."""
        handlers = {
            EVENT.name: self._on_event,
            ORDER_STATUS.name: self._on_order,
            TRADE.name: self._on_trade,
            POSITION.name: self._on_position,
            ORDER.name: self.subscriber.on_request,
        }
        await self.bus.consume(group_of(TRADING), handlers)

    async def _on_order(self, entry: Entry) -> None:
        order = decode(OrderData, entry.payload)
        before = self.orders.get(order.request_id or order.order_id)
        await self.durably(lambda: self.orders.on_order(order))
        self.heard.note(order.order_id, self.clock.now())
        self._count_reject(before, order)
        if before is None and not order.request_id:
            self._tell_whom_it_touches(order)
        self.auditor.heard_order(order.symbol, entry.id)
        crash_point("tr.after_status")
        self.reconciler.seen({entry.stream: entry.id})

    def _tell_whom_it_touches(self, order: OrderData) -> None:
        """Another terminal's order. A close takes lots that strategies may count on."""
        if order.offset is Offset.OPEN or not order.is_active():
            return
        side = order.direction.opposite
        left = order.volume - order.traded
        words = f"{order.symbol}: another terminal works a {order.offset} of {left} {side} lots at {order.price}"
        for book in self.positions.owned():
            if book.symbol == order.symbol and book.volume * side.sign > 0:
                told = f"{words}; the book of {book.strategy_name} holds {abs(book.volume)} of them"
                about: dict[str, str | None] = {"strategy_name": book.strategy_name, "symbol": order.symbol}
                self._unsaid.append((EventType.EXTERNAL, told, about))
        self._unsaid_waits.set()

    async def _on_trade(self, entry: Entry) -> None:
        trade = completed(decode(TradeData, entry.payload), self.account_id, self.orders.trading_day)
        crash_point("tr.on_trade")
        is_new = not self.orders.is_counted(trade)
        await self.durably(lambda: self.orders.on_trade(trade))
        if is_new:
            self.auditor.heard_trade(trade, entry.id)
            self.positions.on_trade(trade)
            self._stale.set()
        crash_point("tr.after_trade")
        self.reconciler.seen({entry.stream: entry.id})

    async def _on_position(self, entry: Entry) -> None:
        self.positions.on_position(decode(PositionData, entry.payload), entry.id)
        crash_point("tr.after_position")
        self.reconciler.seen({entry.stream: entry.id})

    async def _on_event(self, entry: Entry) -> None:
        event = decode(EventData, entry.payload)
        if event.source == GATEWAY and event.event in self.events:
            await self.events[event.event](event)

    async def _on_disconnected(self, event: EventData) -> None:
        log.warning("the exchange is disconnected: %s", event.message)
        self._losses += 1
        self._set_state(is_connected=False, is_reconciled=False)

    async def _on_connected(self, event: EventData) -> None:
        self._set_state(is_reconciled=False)
        self._must_resync.set()

    async def _on_trading_day(self, event: EventData) -> None:
        if event.trading_day is not None and event.trading_day != self.orders.trading_day:
            self.quotes.trading_day = event.trading_day
            await self.durably(lambda: self._turn_to(event.trading_day))
            self._must_resync.set()

    def _turn_to(self, day: date | None) -> None:
        """The day's orders and trades; lots of a contract that has had its last day are paid out."""
        self.orders.load(day)
        if day is None:
            return
        self.pulse.load(self.store.received(day))
        self.tripwire.begin(self.snapshots.causes(day))
        for book in [book for book in self.positions.books.values() if book.volume]:
            with suppress(UnknownSymbol):
                if self.instruments.get(book.symbol).last_trading_day < day:
                    self._pay_out(book)

    def _pay_out(self, book: Book) -> None:
        tick = self.quotes.tick(book.symbol)
        price = tick.last_price if tick is not None else book.price
        settled = book.settled(price, self.clock.now())
        self.store.save_book(asdict(settled))
        self.positions.adopt(settled)
        words = "%s: %+d lots of %s are settled at %s: the contract has expired"
        log.info(words, book.strategy_name, book.volume, book.symbol, price)

    async def _on_settled(self, event: EventData) -> None:
        """The day's closing picture. The streams may be ahead of us or behind: what was said of that day counts."""
        day = event.trading_day or self.orders.trading_day
        if day is None:
            return
        with suppress(CallError):
            await self.reconciler.refresh_account()
        positions = closing(self.positions.positions(), await self._said_positions(), day)
        account, now = self.reconciler.account_of(day), self.clock.now()
        await self.durably(lambda: self.snapshots.settle(day, positions, account, now))
        await self.durably(lambda: self.store.prune(now - KEEP))
        self._must_resync.set()

    async def _said_positions(self) -> list[PositionData]:
        found: list[PositionData] = []
        after = "0-0"
        while page := await self.bus.read(POSITION.name, after):
            after = page[-1].id
            for entry in page:
                with suppress(MessageError):  # its reader sends it to the dead letters
                    found.append(decode(PositionData, entry.payload))
        return found

    # ---- a person's orders ----------------------------------------------------------------------------------------

    async def submit(self, request: OrderRequest, timeout_seconds: float = 3.0) -> Received | None:
        """Through the same stream as everybody's; the answer, None when it takes longer."""
        answer = self.subscriber.awaited(request.request_id)
        try:
            await self.bus.append([(ORDER.name, encode(request))])
            crash_point("tr.after_append")
            async with asyncio.timeout(timeout_seconds):
                return await answer
        except TimeoutError:
            return None
        finally:
            answer.cancel()

    def cancel_request(self, order: OrderState) -> OrderRequest:
        return OrderRequest(
            request_id=str(uuid4()),
            cmd_type=CommandType.CANCEL_ORDER,
            order_request_id=order.request_id or None,
            order_id=order.order_id,
            strategy_name=order.strategy_name,
            symbol=order.symbol,
            exchange=order.exchange,
            direction=order.direction,
            offset=order.offset,
            order_type=order.order_type,
            price=order.price,
            volume=order.volume,
            timestamp=self.clock.now(),
        )
