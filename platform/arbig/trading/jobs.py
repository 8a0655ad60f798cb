"""Trading: jobs that go on by themselves (a flatten, a roll, an intent), looked at anew until they are over."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar

from arbig.runtime.clock import Clock

LOOK_SECONDS = 0.2


class Job(Protocol):
    @property
    def id(self) -> str: ...

    @property
    def is_running(self) -> bool: ...


J = TypeVar("J", bound=Job)


class Jobs(ABC, Generic[J]):
    """Nothing is looked at while none runs; `_wake` when one begins."""

    def __init__(self, clock: Clock, jobs: Iterable[J]) -> None:
        self._clock = clock
        self._any = asyncio.Event()
        self.jobs = {job.id: job for job in jobs}

    @property
    def running(self) -> list[J]:
        return [job for job in self.jobs.values() if job.is_running]

    async def run_for_ever(self) -> None:
        self._wake()
        while True:
            await self._any.wait()
            for job in self.running:
                await self._look(job)
            if not self.running:
                self._any.clear()
            await self._clock.sleep(LOOK_SECONDS)

    def _wake(self) -> None:
        self._any.set()

    @abstractmethod
    async def _look(self, job: J) -> None:
        """One step, and its outcome written down; a fault is tried again with the next look."""
