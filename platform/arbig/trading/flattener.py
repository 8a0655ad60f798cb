"""Trading: makes an account, a contract or a strategy's book flat, and believes it only when the counter says so.

A job is a row before it is begun. Each look asks anew what is left: orders that still work are cancelled first, then
lots are closed with limit orders across the best price, and when nothing is left an answered query decides. Nothing is
closed while an order of the same lots may still fill, so a life that ends anywhere leaves nothing to be done twice.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple
from uuid import uuid4

from msgspec.structs import asdict

from arbig.bus.port import BusError
from arbig.domain.messages import Direction, Offset
from arbig.domain.orders import OrderState
from arbig.runtime.crash import crash_point
from arbig.runtime.http import CallError
from arbig.store.database import StoreError
from arbig.store.flattens import FlattenStore
from arbig.trading.chaser import Aim, Chaser
from arbig.trading.flattens import RUNNING, Flatten, FlattenState, Target, targets_of
from arbig.trading.jobs import Jobs
from arbig.trading.judge import Judge
from arbig.trading.keeper import StateKeeper
from arbig.trading.order_manager import OrderManager
from arbig.trading.order_subscriber import OrderSubscriber
from arbig.trading.position_manager import PositionManager
from arbig.trading.state import State, is_stricter

log = logging.getLogger(__name__)

VERIFY_AGAIN_SECONDS = 1.0


class Look(NamedTuple):
    """What one look at a job has found, in words for people."""

    state: FlattenState
    detail: str


class Flattener(Jobs[Flatten]):
    """`ask` is the Gateway, `cancel` cancels orders of ours, `say` raises alarms, `doubt` asks for a reconciliation."""

    def __init__(
        self,
        store: FlattenStore,
        keeper: StateKeeper,
        judge: Judge,
        orders: OrderManager,
        positions: PositionManager,
        subscriber: OrderSubscriber,
        ask: Callable[..., Awaitable[Any]],
        cancel: Callable[[Iterable[OrderState]], Awaitable[None]],
        say: Callable[[Iterable[str]], None],
        doubt: Callable[[], None],
    ) -> None:
        super().__init__(judge.clock, (Flatten(**asdict(row)) for row in store.recent(RUNNING)))
        self._store = store
        self._keeper = keeper
        self._orders = orders
        self._positions = positions
        self._chaser = Chaser(judge, orders, subscriber, cancel, say, _sent)
        self._ask = ask
        self._cancel = cancel
        self._say = say
        self._doubt = doubt
        self._verified: dict[str, float] = {}
        self._show_blocks()

    # ---- what people ask ------------------------------------------------------------------------------------------

    async def begin(self, strategy_name: str | None, symbol: str | None, reason: str) -> Flatten:
        """Written down when it returns; the same thing twice is one job. Raises StoreError."""
        for job in self.running:
            if job.is_same(strategy_name, symbol):
                return job
        now = self._clock.now()
        job = Flatten(
            id=uuid4().hex[:12],
            account_id=self._store.account_id,
            strategy_name=strategy_name,
            symbol=symbol,
            reason=reason,
            state=FlattenState.WAITING,
            detail="",
            since=now,
            changed_at=now,
        )
        self._store.add(job)
        self.jobs[job.id] = job
        self._show_blocks()
        crash_point("tr.flatten_asked")
        await self._reduce(job)
        log.warning("flatten %s: %s (%s)", job.id, job.scope, job.reason)
        return job

    async def stop(self, job: Flatten) -> Flatten:
        """What it has sent is cancelled, what is held stays, the trading state too. Raises StoreError."""
        left = self._move(job, Look(FlattenState.STOPPED, "stopped by a person"))
        await self._cancel(order for order in self._orders.active() if order.cause == job.cause)
        return left

    def left(self, job: Flatten) -> list[dict[str, Any]]:
        """By contract and side, whoever owns it."""
        sides: dict[tuple[str, Direction], int] = {}
        for target, volume in self._targets(job).items() if job.is_running else ():
            side = (target.symbol, target.held)
            sides[side] = sides.get(side, 0) + volume
        return [{"symbol": symbol, "direction": held, "volume": volume} for (symbol, held), volume in sides.items()]

    def closed(self, symbol: str) -> str | None:
        """Why nothing can be done in a contract now."""
        return self._chaser.closed(symbol)

    # ---- its own life ---------------------------------------------------------------------------------------------

    async def _look(self, job: Flatten) -> None:
        try:
            await self._reduce(job)
            found = await self._step(job)
            if self.jobs[job.id].is_running:
                self._move(self.jobs[job.id], found)
        except (CallError, BusError, StoreError) as error:
            log.error("flatten %s: %s", job.id, error)  # asked again with the next look

    async def _reduce(self, job: Flatten) -> None:
        """An account that is made flat opens nothing, and must be allowed to close: once, when the job begins."""
        if not job.detail:
            if job.is_account_wide and self._keeper.state.wanted is not State.REDUCING:
                await self._keeper.set(State.REDUCING, f"the account is being made flat ({job.reason})")
            crash_point("tr.flatten_reduced")
            self._move(job, Look(FlattenState.CANCELLING, "begun"))

    async def _step(self, job: Flatten) -> Look:
        state = self._keeper.state
        if is_stricter(state.wanted, State.REDUCING):
            return _wait(f"trading is HALTED ({state.reason}); set REDUCING or ACTIVE to go on")
        if not (state.is_connected and state.is_reconciled):
            return _wait("the exchange is away, or positions are being checked with it")
        if found := await self._cancel_others(job):
            return found
        targets = self._targets(job)
        if not targets:
            return await self._verify(job)
        waits = {target: await self._chaser.chase(_aim(job, target), volume) for target, volume in targets.items()}
        lots = sum(targets.values())
        if all(waits.values()):
            return _wait("; ".join(sorted({f"{target.symbol}: {why}" for target, why in waits.items()})))
        return Look(FlattenState.CLOSING, f"{lots} lots left" if lots > 1 else "1 lot left")

    def _targets(self, job: Flatten) -> dict[Target, int]:
        return targets_of(job, self._positions.lots(), self._positions.owned())

    # ---- cancel ---------------------------------------------------------------------------------------------------

    async def _cancel_others(self, job: Flatten) -> Look | None:
        """Whatever works in it and is not a close of ours. None when there is nothing of that kind."""
        others = [order for order in self._unfinished(job) if order.cause != job.cause]
        if not others:
            return None
        await self._cancel_due(others)
        closed = {why for order in others if (why := self._chaser.closed(order.symbol)) is not None}
        if closed and len({order.symbol for order in others}) == 1:
            return _wait(f"{len(others)} orders still work, and {closed.pop()}")
        return Look(FlattenState.CANCELLING, f"{len(others)} orders still work")

    def _unfinished(self, job: Flatten) -> list[OrderState]:
        """Orders of it that may still fill, or whose fills are still to come."""
        return [order for order in self._orders.unfinished() if job.holds(order)]

    async def _cancel_due(self, orders: Iterable[OrderState]) -> None:
        if await self._chaser.cancel_due(orders):
            crash_point("tr.flatten_cancelled")

    # ---- is it true? ----------------------------------------------------------------------------------------------

    async def _verify(self, job: Flatten) -> Look:
        """Ours say flat. The counter is asked, and its answer decides."""
        if unfinished := self._unfinished(job):
            await self._cancel_due(unfinished)
            return Look(FlattenState.CLOSING, "the last fills are still to come")
        now = self._clock.monotonic()
        if now - self._verified.get(job.id, -VERIFY_AGAIN_SECONDS) < VERIFY_AGAIN_SECONDS:
            return Look(FlattenState.WAITING, self.jobs[job.id].detail)
        self._verified[job.id] = now
        try:
            rows = (await self._ask("/positions"))["positions"]
        except CallError as error:
            return _wait(f"the counter has not answered whether it is flat: {error}")
        said = {(row["symbol"], Direction(row["direction"])): int(row["volume"]) for row in rows}
        left = targets_of(job, said, self._positions.owned())
        if left:
            self._doubt()
            held = ", ".join(f"{volume} {target.symbol} {target.held}" for target, volume in left.items())
            return _wait(f"the counter still says {held}; positions are checked again")
        if self._targets(job) or self._unfinished(job):
            return Look(FlattenState.CLOSING, "new lots have come")
        crash_point("tr.flatten_verified")
        return Look(FlattenState.DONE, f"the counter has answered: {job.scope} is flat")

    def _move(self, job: Flatten, look: Look) -> Flatten:
        if (job.state, job.detail) == look:
            return job
        after = job.now(*look, self._clock.now())
        self._store.save(after)
        self.jobs[job.id] = after
        if not after.is_running:
            self._chaser.forget(job.cause)
            self._say([f"flatten of {job.scope} ({job.reason}) is {look.state}: {look.detail}"])
        self._show_blocks()
        return after

    def _show_blocks(self) -> None:
        self._keeper.block("flatten", [job.block for job in self.running])
        if self.running:
            self._wake()


def _aim(job: Flatten, target: Target) -> Aim:
    scope = f"flatten of {job.scope}"
    return Aim(job.cause, scope, target.strategy_name, target.symbol, target.held.opposite, Offset.CLOSE)


def _sent() -> None:
    crash_point("tr.flatten_closed")


def _wait(detail: str) -> Look:
    return Look(FlattenState.WAITING, detail)
