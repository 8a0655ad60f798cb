"""Port: where one strategy's code runs. Twins: `process.py` (a process of its own), `memory.py` (this one)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from arbig.runtime.loader import StrategyFault
from arbig.strategy.frames import Call, Done, Fetch, Load

CALL_SECONDS = 0.8
INIT_SECONDS = 3.0  # for on_init as long as it computes; one that sleeps or waits has CALL_SECONDS too
LOAD_SECONDS = 15.0

Historian = Callable[[Fetch], Awaitable[tuple[bytes, ...]]]


class Raised(StrategyFault):
    """A callback raised."""


class Hung(StrategyFault):
    """A callback did not return in time."""


class Died(StrategyFault):
    """Its process is gone."""


class Runner(Protocol):
    async def load(self, load: Load) -> Done:
        """Make the strategy. Raises StrategyFault."""

    async def call(self, call: Call) -> Done:
        """One callback, one at a time. Raises StrategyFault."""

    async def close(self) -> None:
        """End it, whatever it does."""


RunnerFactory = Callable[[Historian], Runner]
