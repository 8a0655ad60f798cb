"""Clocks: the only place that looks at the wall. Everybody else is given a Clock."""

from __future__ import annotations

import asyncio
import os
import time
from datetime import datetime, timedelta
from heapq import heappop, heappush
from itertools import count
from pathlib import Path
from typing import Protocol

from arbig.domain.messages import SHANGHAI


class Clock(Protocol):
    def now(self) -> datetime:
        """The time in Shanghai, aware."""

    def monotonic(self) -> float:
        """Seconds that never go back."""

    async def sleep(self, seconds: float) -> None: ...


class WallClock:
    """`ARBIG_CLOCK=@FILE`, as `ARBIG_CRASH` for tests alone: so many seconds as stand there the wall has leapt."""

    _leap: Path | None = None

    def __init__(self) -> None:
        words = os.environ.get("ARBIG_CLOCK", "")
        self._leap = Path(words[1:]) if words.startswith("@") else None

    def now(self) -> datetime:
        wall = datetime.now(SHANGHAI)
        return wall if self._leap is None else wall + _seconds_in(self._leap)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def _seconds_in(file: Path) -> timedelta:
    try:
        return timedelta(seconds=float(file.read_text()))
    except (FileNotFoundError, ValueError):
        return timedelta(0)


class ManualClock:
    """Stands still until `advance` moves it; sleepers wake in the order of their times."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._elapsed = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = count()

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heappush(self._sleepers, (self._elapsed + seconds, next(self._order), woken))
        await woken

    async def advance(self, seconds: float) -> None:
        """Let the time pass; whoever wakes runs before the clock moves on."""
        end = self._elapsed + seconds
        await _settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            due, _, woken = heappop(self._sleepers)
            self._move(due)
            if not woken.done():
                woken.set_result(None)
                await _settle()
        self._move(end)

    def _move(self, elapsed: float) -> None:
        self._now += timedelta(seconds=elapsed - self._elapsed)
        self._elapsed = elapsed


async def _settle(rounds: int = 10) -> None:
    """Give every task that is ready its turn."""
    for _ in range(rounds):
        await asyncio.sleep(0)
