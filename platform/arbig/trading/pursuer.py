"""Trading: brings a notebook strategy's book to the position it wants, once for each intent.

An intent is a row before anything is sent, and the same intent again is answered from its row. Each look asks anew
what is missing; one order works at a time, its id made of the intent's and its number, which is written down before the
order. So a life that ends anywhere, of the notebook, the scheduler or Trading, loses nothing and sends nothing twice.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from datetime import date, datetime
from functools import partial
from uuid import uuid4

from msgspec.structs import asdict

from arbig.bus.port import BusError
from arbig.domain.instruments import Instrument, UnknownSymbol
from arbig.domain.messages import Offset
from arbig.domain.orders import OrderState
from arbig.domain.sessions import CalendarError
from arbig.runtime.crash import crash_point
from arbig.runtime.http import CallError
from arbig.store.database import StoreError
from arbig.store.intents import GrantRow, IntentStore
from arbig.trading.chaser import Aim, Chaser
from arbig.trading.flattener import Flattener
from arbig.trading.intents import CAUSE, RUNNING, Intent, IntentState, intent_id, next_order, ungranted
from arbig.trading.jobs import Jobs
from arbig.trading.judge import Judge
from arbig.trading.order_manager import OrderManager
from arbig.trading.order_subscriber import OrderSubscriber
from arbig.trading.position_manager import PositionManager
from arbig.trading.state import State, TradingState

log = logging.getLogger(__name__)

MOST_REFUSALS = 5
SHOWN = 100


class Refused(Exception):
    """Why an intent is not taken: one line; `status` is HTTP's."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Pursuer(Jobs[Intent]):
    """`is_live`: real money, so a grant is needed. `subscribe` asks for a contract's ticks."""

    def __init__(
        self,
        store: IntentStore,
        judge: Judge,
        orders: OrderManager,
        positions: PositionManager,
        subscriber: OrderSubscriber,
        flattener: Flattener,
        state: Callable[[], TradingState],
        cancel: Callable[[Iterable[OrderState]], Awaitable[None]],
        say: Callable[[Iterable[str]], None],
        subscribe: Callable[[str], Awaitable[None]],
        is_live: bool,
    ) -> None:
        super().__init__(judge.clock, (Intent(**asdict(row)) for row in store.in_states(RUNNING)))
        self.store = store
        self._judge = judge
        self._orders = orders
        self._positions = positions
        self._flattener = flattener
        self._state = state
        self._cancel = cancel
        self._say = say
        self._subscribe = subscribe
        self._is_live = is_live
        self._chaser = Chaser(
            judge, orders, subscriber, cancel, say, partial(crash_point, "tr.intent_sent"), self._number
        )
        self._subscribed: set[str] = set()

    # ---- what notebooks and people ask ----------------------------------------------------------------------------

    def find(self, name: str) -> Intent | None:
        row = self.jobs.get(name) or self.store.find(name)
        return None if row is None else Intent(**asdict(row))

    async def want(
        self, strategy_name: str, symbol: str, target: int, intent: str, trading_day: date | None, run_id: str | None
    ) -> tuple[Intent, bool]:
        """Written down when it returns; True when it was there before. Raises Refused, StoreError."""
        instrument = self._instrument(symbol)
        today = self._today(instrument.symbol)
        name = intent_id(self.store.account_id, strategy_name, intent, trading_day or today)
        if (known := self.find(name)) is not None:
            return known, True
        if why := self.ungranted(strategy_name, abs(target)):
            raise Refused(403, why)
        now = self._clock.now()
        new = Intent(
            id=name,
            account_id=self.store.account_id,
            strategy_name=strategy_name,
            intent=intent,
            trading_day=trading_day or today,
            symbol=instrument.symbol,
            target=target,
            until=self._last_day(instrument.symbol, today),
            steps=0,
            state=IntentState.WAITING,
            detail="taken",
            run_id=run_id,
            since=now,
            changed_at=now,
        )
        self.store.add(new)
        crash_point("tr.intent_taken")
        self.jobs[name] = new
        for older in self.running:
            if (older.strategy_name, older.symbol) == (strategy_name, new.symbol) and older.id != name:
                await self.stop(older, f"{intent} has taken its place")
        self._wake()
        log.info("intent %s: %s", name, new.words)
        return new, False

    async def stop(self, intent: Intent, why: str) -> Intent:
        """What works of it is cancelled, what is held stays. Raises StoreError."""
        stopped = self._move(intent, IntentState.STOPPED, f"{why}; {self._reached(intent)}")
        await self._cancel(self._ours(intent))
        return stopped

    def grant(self, strategy_name: str, lots: int, expires_at: datetime, given_by: str) -> GrantRow:
        row = GrantRow(
            id=uuid4().hex[:8],
            account_id=self.store.account_id,
            strategy_name=strategy_name,
            lots=lots,
            expires_at=expires_at,
            given_at=self._clock.now(),
            given_by=given_by,
        )
        self.store.grant(row)
        return row

    def ungranted(self, strategy_name: str, lots: int) -> str | None:
        """Why real money may not be used for so many lots; None when it may, or no money is real."""
        if not self._is_live:
            return None
        return ungranted(self.store.grants(), strategy_name, lots, self._clock.now())

    # ---- its own life ---------------------------------------------------------------------------------------------

    async def _look(self, intent: Intent) -> None:
        try:
            found = await self._found(intent)
            now = self.jobs[intent.id]
            if now.is_running:
                self._move(now, *found)
        except (BusError, StoreError) as error:
            log.error("intent %s: %s", intent.id, error)  # looked at again

    async def _found(self, intent: Intent) -> tuple[IntentState, str]:
        try:
            return await self._step(intent)
        except Refused as refused:
            return IntentState.REFUSED, str(refused)

    async def _step(self, intent: Intent) -> tuple[IntentState, str]:
        """Where it stands now, in words for people."""
        volume, working = self._volume(intent), self._ours(intent)
        direction, offset, lots = next_order(volume, intent.target)
        aim = Aim(intent.cause, intent.words, intent.strategy_name, intent.symbol, direction, offset)
        if over := self._over(intent, aim):
            await self._cancel(order for order in working if order.is_active)
            return over[0], f"{over[1]}; {self._reached(intent)}"
        if not lots and not working:
            return IntentState.DONE, f"{volume:+d} lots"
        if waits := self._waits():
            return IntentState.WAITING, f"{waits}; {self._reached(intent)}"
        if others := [order for order in working if not lots or order.direction is not direction]:
            await self._chaser.cancel_due(others)
            return IntentState.WORKING, self._reached(intent)
        if self._judge.quotes.tick(intent.symbol) is None:
            await self._ask_for_ticks(intent.symbol)
        waits = await self._chaser.chase(aim, lots)
        state = IntentState.WAITING if waits else IntentState.WORKING
        return state, "; ".join(filter(None, (waits, self._reached(intent))))

    def _over(self, intent: Intent, aim: Aim) -> tuple[IntentState, str] | None:
        """Why it will not go on."""
        for job in self._flattener.running:
            if job.strategy_name in (None, intent.strategy_name) and job.symbol in (None, intent.symbol):
                return IntentState.STOPPED, f"{job.scope} is being made flat"
        if self._chaser.refusals(aim) >= MOST_REFUSALS:
            return IntentState.REFUSED, self._chaser.why(aim)
        if aim.offset is Offset.OPEN and (why := self.ungranted(intent.strategy_name, abs(intent.target))):
            return IntentState.REFUSED, why
        if self._today(intent.symbol) > intent.until:
            return IntentState.EXPIRED, f"the trading day {intent.until} is over"
        return None

    def _waits(self) -> str | None:
        state = self._state()
        if state.wanted is State.HALTED:
            return f"trading is HALTED ({state.reason})"
        if not (state.is_connected and state.is_reconciled):
            return "the exchange is away, or positions are being checked with it"
        return None

    def _number(self, aim: Aim) -> str:
        """The next order's id; written down before there is such an order."""
        intent = self.jobs[aim.cause.removeprefix(CAUSE)].stepped(self._clock.now())
        self.store.save(intent)
        self.jobs[intent.id] = intent
        crash_point("tr.intent_numbered")
        return intent.request_id(intent.steps)

    # ---- what is there --------------------------------------------------------------------------------------------

    def _volume(self, intent: Intent) -> int:
        found = (
            book.volume
            for book in self._positions.owned()
            if (book.strategy_name, book.symbol) == (intent.strategy_name, intent.symbol)
        )
        return next(found, 0)

    def _ours(self, intent: Intent) -> list[OrderState]:
        """Orders of it that may still fill, or whose fills are still to come."""
        return [order for order in self._orders.unfinished() if order.cause == intent.cause]

    def _reached(self, intent: Intent) -> str:
        return f"{self._volume(intent):+d} of {intent.target:+d} lots"

    def _instrument(self, symbol: str) -> Instrument:
        try:
            return self._judge.instruments.get(symbol, self._judge.quotes.trading_day)
        except UnknownSymbol as error:
            raise Refused(422, str(error)) from None

    def _now(self, symbol: str) -> datetime:
        return self._judge.quotes.now(symbol) or self._clock.now()

    def _today(self, symbol: str) -> date:
        """Raises Refused beyond the calendar."""
        try:
            return self._judge.calendar.trading_day_of(self._now(symbol))
        except CalendarError as error:
            raise Refused(422, str(error)) from None

    def _last_day(self, symbol: str, today: date) -> date:
        """Whose end ends it: today, or the next trading day when today's session is over already."""
        sessions = self._judge.sessions_of(self._instrument(symbol))
        try:
            return (
                today if self._now(symbol) < sessions.continuous(today)[-1].end else sessions.calendar.next_day(today)
            )
        except CalendarError as error:
            raise Refused(422, str(error)) from None

    async def _ask_for_ticks(self, symbol: str) -> None:
        if symbol in self._subscribed:
            return
        try:
            await self._subscribe(symbol)
            self._subscribed.add(symbol)
        except CallError as error:
            log.warning("%s is not subscribed yet: %s", symbol, error)

    def _move(self, intent: Intent, state: IntentState, detail: str) -> Intent:
        if (intent.state, intent.detail) == (state, detail):
            return intent
        after = intent.now(state, detail, self._clock.now())
        self.store.save(after)
        self.jobs[intent.id] = after
        if not after.is_running:
            crash_point("tr.intent_over")
            self._chaser.forget(after.cause)
            self._forget_oldest()
            if state in (IntentState.EXPIRED, IntentState.REFUSED):
                self._say([f"intent of {after.words} is {state}: {detail}"])
            log.info("intent %s is %s: %s", after.id, state, detail)
        return after

    def _forget_oldest(self) -> None:
        over = [each for each in self.jobs.values() if not each.is_running]
        for each in over[:-SHOWN]:
            del self.jobs[each.id]
