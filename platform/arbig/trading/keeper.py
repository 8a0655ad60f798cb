"""Trading: keeps the trading state, here and at the last door. What is stricter holds at the Gateway first and is
written down here then; what is looser is written down first.

A halt needs nobody: it holds in this process from the moment it is asked for, even when the Gateway is away and the
disk is full; the Gateway hears of it as soon as it can.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from datetime import date
from typing import Any

from arbig.runtime.clock import Clock
from arbig.runtime.http import CallError
from arbig.store.faults import Away, StoreError
from arbig.store.snapshots import SnapshotStore
from arbig.trading.state import SETTABLE, Block, State, TradingState, is_stricter

log = logging.getLogger(__name__)

AGAIN_SECONDS = 0.5
FIRST_START = "nobody has set a state yet"

Ask = Callable[..., Awaitable[Any]]
Changed = Callable[[TradingState], None]


class StateKeeper:
    """`changed` is told of every new state, when it holds."""

    def __init__(self, snapshots: SnapshotStore, ask: Ask, clock: Clock, changed: Changed) -> None:
        self._snapshots = snapshots
        self._ask = ask
        self._clock = clock
        self._changed = changed
        self._turn = asyncio.Lock()
        self._is_behind = asyncio.Event()
        self._blocks: dict[str, tuple[Block, ...]] = {}
        self.state = self._remembered()

    @property
    def gateway_knows(self) -> bool:
        """Whether the last door has heard of the state that holds here."""
        return not self._is_behind.is_set()

    def note(self, **found: bool) -> None:
        """What is found out anew at each start: the connection, and whether we know where we stand."""
        self.state = self.state.now(**found)

    def block(self, name: str, blocks: Iterable[Block]) -> None:
        """What holds for a while: these in place of the same room's earlier ones."""
        self._blocks[name] = tuple(blocks)
        self.state = self.state.now(blocks=tuple(each for found in self._blocks.values() for each in found))

    async def set(self, wanted: State, reason: str, cause: str | None = None, day: date | None = None) -> None:
        """Raises StoreError when it cannot be written; a stricter state holds all the same."""
        if is_stricter(wanted, self.state.wanted):  # no order passes while the Gateway takes its time
            self.state = self.state.set(wanted, reason, self._clock.now(), self.state.number + 1)
        async with self._turn:
            before, last = self.state, self.state.number
            if is_stricter(before.wanted, wanted):
                last = await self._newest_number()
            if not is_stricter(self.state.wanted, before.wanted):  # else a halt has come meanwhile
                await self._set(wanted, reason, max(last, self.state.number) + 1, cause, day)

    async def agree(self) -> None:
        """With the Gateway, which may have been halted while we could not be asked. Raises CallError."""
        async with self._turn:
            theirs, number, reason = await self._theirs()
            ours = self.state
            if number >= ours.number and is_stricter(theirs, ours.wanted):
                log.warning("the Gateway is %s by a newer hand: %s", theirs, reason)
                await self._set(theirs, reason or "set at the Gateway", number + 1)
            elif number >= ours.number and theirs is not ours.wanted:
                await self._set(ours.wanted, ours.reason, number + 1)
            elif number > ours.number:
                self._snapshots.set_state(ours.wanted, ours.reason, ours.since, number)
                self.state = self.state.now(number=max(number, self.state.number))
                self._is_behind.clear()
            elif (theirs, number) != (ours.wanted, ours.number):
                await self._push()
            else:
                self._is_behind.clear()

    async def push_for_ever(self) -> None:
        """What the Gateway could not be told at once."""
        while True:
            await self._is_behind.wait()
            await self._clock.sleep(AGAIN_SECONDS)
            try:
                await self.agree()
            except (CallError, StoreError):
                continue

    async def _theirs(self) -> tuple[State, int, str]:
        found = await self._ask("/state")
        return State(found["state"]), int(found["number"]), str(found["reason"])

    async def _newest_number(self) -> int:
        """A person who loosens the state has seen the last halt, wherever it was set."""
        try:
            return max(self.state.number, (await self._theirs())[1])
        except CallError:
            return self.state.number

    async def _set(
        self, wanted: State, reason: str, number: int, cause: str | None = None, day: date | None = None
    ) -> None:
        after = self.state.set(wanted, reason, self._clock.now(), number)
        row = (wanted, reason, after.since, number, cause, day)
        is_looser = is_stricter(self.state.wanted, wanted)
        if is_looser:
            self._snapshots.set_state(*row)
        self.state = after
        self._changed(after)
        await self._push()
        if not is_looser:
            self._snapshots.set_state(*row)

    async def _push(self) -> None:
        state = self.state
        try:
            await self._ask("/state", {"state": state.wanted, "reason": state.reason, "number": state.number})
        except CallError as error:
            self._is_behind.set()
            log.error("the Gateway does not know yet that trading is %s: %s", state.wanted, error)
        else:
            self._is_behind.clear()

    def _remembered(self) -> TradingState:
        """Unreadable means HALTED: nobody knows what the last person wanted. Raises Away: the next life can read it."""
        now = self._clock.now()
        try:
            found = self._snapshots.state()
            if found is None:
                self._snapshots.set_state(State.ACTIVE, FIRST_START, now, 1)
                return TradingState(State.ACTIVE, FIRST_START, now, 1)
            state, reason, since, number = found
            if state not in SETTABLE or number is None:
                raise ValueError(f"found state {state!r} with number {number!r}")
        except Away:
            raise
        except (StoreError, ValueError, TypeError) as error:
            reason = f"the stored trading state cannot be read ({error}); look at the account, then set a state"
            log.error("trading is HALTED: %s", reason)
            return TradingState(State.HALTED, reason, now, 0)
        return TradingState(State(state), reason, since, number)
