"""Trading: moves a strategy to the next contract, its lots, parameters and variables, once.

A job is a row before it is begun, and each look asks anew what is left. The strategy is laid to rest, what works of it
is cancelled, its lots are counted; then old lots are closed, and as many new ones opened as are certainly closed (the
fills of the job's own orders say so, of whatever life); at last the strategy begins anew on the new contract.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from datetime import date
from typing import Any, NamedTuple
from uuid import uuid4

from msgspec.structs import asdict, replace

from arbig.bus.port import BusError
from arbig.domain.instruments import Instrument, UnknownSymbol
from arbig.domain.messages import Offset
from arbig.domain.orders import OrderState
from arbig.runtime.crash import crash_point
from arbig.runtime.http import CallError
from arbig.store.database import StoreError
from arbig.store.rolls import RollStore
from arbig.trading.chaser import Aim, Chaser
from arbig.trading.flattens import Flatten
from arbig.trading.jobs import Jobs
from arbig.trading.judge import Judge
from arbig.trading.keeper import StateKeeper
from arbig.trading.order_manager import OrderManager
from arbig.trading.order_subscriber import OrderSubscriber
from arbig.trading.position_manager import PositionManager
from arbig.trading.rolls import RUNNING, STOPPED, Moved, Roll, RollState, to_do
from arbig.trading.state import State

log = logging.getLogger(__name__)

SUBSCRIBE_AGAIN_SECONDS = 5.0
ALIVE = ("RUNNING", "PAUSED")


class RollRefused(Exception):
    """Why nothing is rolled, one line; `status` is HTTP's."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Look(NamedTuple):
    """What one look at a job has found, in words for people."""

    state: RollState
    detail: str


class Roller(Jobs[Roll]):
    """`ask` is the Gateway, `strategy` the Strategy service, `cancel` cancels orders of ours, `say` raises alarms,
    `flattens` are those under way: what is made flat is not rolled."""

    def __init__(
        self,
        store: RollStore,
        keeper: StateKeeper,
        judge: Judge,
        orders: OrderManager,
        positions: PositionManager,
        subscriber: OrderSubscriber,
        ask: Callable[..., Awaitable[Any]],
        strategy: Callable[..., Awaitable[Any]],
        cancel: Callable[[Iterable[OrderState]], Awaitable[None]],
        say: Callable[[Iterable[str]], None],
        flattens: Callable[[], Iterable[Flatten]],
    ) -> None:
        super().__init__(judge.clock, (Roll(**asdict(row)) for row in store.recent(RUNNING)))
        self._store = store
        self._keeper = keeper
        self._judge = judge
        self._orders = orders
        self._positions = positions
        self._chaser = Chaser(judge, orders, subscriber, cancel, say, _sent)
        self._ask = ask
        self._strategy = strategy
        self._say = say
        self._flattens = flattens
        self._earlier: dict[tuple[str, date | None], dict[str, tuple[str, int]]] = {}
        self._subscribed: dict[str, float] = {}
        self._turn = asyncio.Lock()
        self._show_blocks()

    # ---- what people ask ------------------------------------------------------------------------------------------

    async def begin(self, strategy_name: str, target: str, symbol: str | None, reason: str) -> Roll:
        """Written down when it returns; the same thing twice is one job, also when it is done already. Raises
        RollRefused, CallError (the Strategy service), StoreError."""
        async with self._turn:
            new = self._contract(target)
            for job in self.running:
                if job.strategy_name == strategy_name:
                    if job.target != new.symbol:
                        raise RollRefused(409, f"{strategy_name}: is on its way to {job.target}; stop that first")
                    return job
            told = await self._strategy("GET", f"/strategies/{strategy_name}")
            legs = list(told["symbols"])
            if new.symbol in legs:
                return self._done_before(strategy_name, new.symbol)
            old = self._leg(strategy_name, legs, symbol, new)
            job = self._new(strategy_name, old, new.symbol, told["state"], reason)
            self._store.add(job)
            self.jobs[job.id] = job
            self._show_blocks()
        crash_point("tr.roll_asked")
        log.warning("roll %s: %s (%s)", job.id, job.scope, job.reason)
        return job

    async def stop(self, job: Roll) -> Roll:
        """No lot moves any more from now on; orders under way are cancelled, the strategy is given back. Raises
        StoreError."""
        stopping = replace(job, stopping=True, changed_at=self._clock.now())
        self._store.save(stopping)
        self.jobs[job.id] = stopping
        return stopping

    def moved(self, job: Roll) -> Moved:
        """What its own orders have filled, of any life and any day."""
        key = (job.id, self._orders.trading_day)
        if key not in self._earlier:
            self._earlier = {k: v for k, v in self._earlier.items() if k[0] != job.id}
            self._earlier[key] = self._store.traded(job.cause)
        today = {o.request_id: (o.symbol, o.traded) for o in self._orders.states() if o.cause == job.cause}
        return job.moved((self._earlier[key] | today).values())

    # ---- who may be rolled, and where to --------------------------------------------------------------------------

    def _contract(self, symbol: str) -> Instrument:
        day = self._judge.quotes.trading_day
        try:
            found = self._judge.instruments.get(symbol, day)
        except UnknownSymbol as error:
            raise RollRefused(422, str(error)) from None
        if day is not None and found.last_trading_day < day:
            raise RollRefused(422, f"{found.symbol}: its last trading day was {found.last_trading_day}")
        return found

    def _leg(self, name: str, legs: list[str], symbol: str | None, new: Instrument) -> str:
        """The contract it leaves."""
        if symbol is not None:
            symbol = symbol.partition(".")[0]
            if symbol not in legs:
                raise RollRefused(422, f"{name}: does not trade {symbol}; it trades {', '.join(legs)}")
        fitting = [leg for leg in legs if self._product(leg) == new.product and symbol in (None, leg)]
        if not fitting:
            raise RollRefused(
                422, f"{name}: trades {', '.join(legs)}, and {new.symbol} is another product; say a contract of its own"
            )
        if len(fitting) > 1:
            raise RollRefused(422, f"{name}: has {' and '.join(fitting)}; say which one leaves: symbol={fitting[0]!r}")
        return fitting[0]

    def _product(self, symbol: str) -> str | None:
        try:
            return self._judge.instruments.get(symbol).product
        except UnknownSymbol:
            return None

    def _done_before(self, name: str, target: str) -> Roll:
        done = [job for job in self.jobs.values() if (job.strategy_name, job.target) == (name, target)]
        if not done:
            raise RollRefused(409, f"{name}: trades {target} already, there is nothing to roll")
        return done[-1]

    def _new(self, name: str, old: str, new: str, was: str, reason: str) -> Roll:
        now = self._clock.now()
        return Roll(
            id=uuid4().hex[:12],
            account_id=self._store.account_id,
            strategy_name=name,
            symbol=old,
            target=new,
            was=was if was in ALIVE else STOPPED,
            reason=reason,
            state=RollState.WAITING,
            detail="",
            since=now,
            changed_at=now,
        )

    # ---- its own life ---------------------------------------------------------------------------------------------

    async def _look(self, job: Roll) -> None:
        try:
            found = await (self._give_back(job) if job.stopping else self._step(job))
            self._move(self.jobs[job.id], found)
        except CallError as error:
            state = RollState.BINDING if job.state == RollState.BINDING else RollState.WAITING
            self._move(self.jobs[job.id], Look(state, str(error)))
        except (BusError, StoreError) as error:
            log.error("roll %s: %s", job.id, error)  # asked again with the next look

    async def _step(self, job: Roll) -> Look:
        if job.state == RollState.BINDING:
            return await self._bind(job)
        if flat := next((each for each in self._flattens() if _covers(each, job)), None):
            await self.stop(job)
            return _wait(f"{flat.scope} is being made flat, so nothing is rolled")
        state = self._keeper.state
        if state.wanted is not State.ACTIVE:
            return _wait(f"trading is {state.wanted} ({state.reason}), nothing can be opened")
        if not (state.is_connected and state.is_reconciled):
            return _wait("the exchange is away, or positions are being checked with it")
        if job.lots is None:
            return await self._hold(job)
        return await self._move_lots(job, job.lots)

    async def _hold(self, job: Roll) -> Look:
        """Its code rests, nothing of it works any more: then its lots are counted."""
        await self._strategy("POST", f"/strategies/{job.strategy_name}/hold")
        crash_point("tr.roll_held")
        if others := [order for order in self._orders.unfinished() if job.holds(order)]:
            await self._chaser.cancel_due(others)
            closed = self._chaser.closed(others[0].symbol)
            words = f"{len(others)} of its orders still work"
            return _wait(f"{words}, and {closed}") if closed else Look(RollState.HOLDING, words)
        if await self._has_no_price(job.target):
            return _wait(f"{job.target}: no price has been heard yet")
        counted = replace(job, lots=self._held(job))
        self._store.save(counted)
        self.jobs[job.id] = counted
        crash_point("tr.roll_counted")
        return Look(RollState.MOVING, f"{abs(counted.lots or 0)} lots to move")

    async def _move_lots(self, job: Roll, lots: int) -> Look:
        moved = self.moved(job)
        close, open_ = to_do(lots, self._held(job), moved)
        waits = []
        if close:
            aim = _aim(job, job.symbol, Offset.CLOSE)
            waits.append((job.symbol, await self._chaser.chase(aim, close)))
        if open_:
            await self._has_no_price(job.target)
            waits.append((job.target, await self._chaser.chase(_aim(job, job.target, Offset.OPEN), open_)))
        said = f"{moved.opened} of {abs(lots)} lots are in {job.target}, {close} still in {job.symbol}"
        if waits and all(why for _, why in waits):
            return _wait(f"{said}; " + "; ".join(f"{symbol}: {why}" for symbol, why in waits))
        if waits or self._unfinished(job):
            return Look(RollState.MOVING, said)
        if moved.closed < abs(lots):
            gone = abs(lots) - moved.closed
            return _wait(f"{said}; {gone} were taken out by another hand: stop the roll, then decide")
        crash_point("tr.roll_moved")
        return Look(RollState.BINDING, f"all of {abs(lots)} lots are in {job.target}")

    async def _bind(self, job: Roll) -> Look:
        wish = {"symbol": job.symbol, "to": job.target, "then": job.was}
        told = await self._strategy("POST", f"/strategies/{job.strategy_name}/bind", wish)
        crash_point("tr.roll_bound")
        return Look(RollState.DONE, f"{abs(job.lots or 0)} lots moved; the strategy is {told['state']} on {job.target}")

    async def _give_back(self, job: Roll) -> Look:
        """It was stopped: what is under way is cancelled; untouched, the strategy goes on as it was."""
        if unfinished := self._unfinished(job):
            await self._chaser.cancel_due(unfinished)
            return _wait(f"it is being stopped, {len(unfinished)} orders still work")
        moved = self.moved(job)
        then = STOPPED if moved.closed else job.was
        wish = {"symbol": job.symbol, "to": job.symbol, "then": then}
        told = await self._strategy("POST", f"/strategies/{job.strategy_name}/bind", wish)
        where = f"{moved.closed} lots of {job.symbol} were closed, {moved.opened} of {job.target} opened"
        return Look(RollState.STOPPED, f"stopped; {where}; the strategy is {told['state']} on {told['symbol']}")

    # ---- what there is --------------------------------------------------------------------------------------------

    def _held(self, job: Roll) -> int:
        """Net lots of the strategy in the old contract."""
        for book in self._positions.owned():
            if (book.strategy_name, book.symbol) == (job.strategy_name, job.symbol):
                return book.volume
        return 0

    def _unfinished(self, job: Roll) -> list[OrderState]:
        return [order for order in self._orders.unfinished() if order.cause == job.cause]

    async def _has_no_price(self, symbol: str) -> bool:
        """The Gateway is asked for the contract's ticks until one has come."""
        if self._judge.quotes.tick(symbol) is not None:
            return False
        now = self._clock.monotonic()
        if now - self._subscribed.get(symbol, -SUBSCRIBE_AGAIN_SECONDS) >= SUBSCRIBE_AGAIN_SECONDS:
            self._subscribed[symbol] = now
            await self._ask("/subscribe", {"symbols": [symbol]})
        return True

    def _move(self, job: Roll, look: Look) -> None:
        if (job.state, job.detail) == look:
            return
        after = job.now(*look, self._clock.now())
        self._store.save(after)
        self.jobs[job.id] = after
        if not after.is_running:
            self._chaser.forget(job.cause)
            self._say([f"{job.scope} ({job.reason}) is {look.state}: {look.detail}"])
        self._show_blocks()

    def _show_blocks(self) -> None:
        """None while it is bound: the strategy trades the moment it begins."""
        self._keeper.block("roll", [job.block for job in self.running if job.state != RollState.BINDING])
        if self.running:
            self._wake()


def _covers(flatten: Flatten, job: Roll) -> bool:
    return flatten.strategy_name in (None, job.strategy_name) and flatten.symbol in (None, job.symbol, job.target)


def _aim(job: Roll, symbol: str, offset: Offset) -> Aim:
    direction = job.held if offset is Offset.OPEN else job.held.opposite
    return Aim(job.cause, job.scope, job.strategy_name, symbol, direction, offset)


def _sent() -> None:
    crash_point("tr.roll_sent")


def _wait(detail: str) -> Look:
    return Look(RollState.WAITING, detail)
