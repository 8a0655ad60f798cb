"""Trading: trims the streams for the whole house, once a minute, with rights of its own."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence

from arbig.bus.port import BusError
from arbig.bus.retention import Janitor, Retaining
from arbig.runtime.clock import Clock
from arbig.runtime.settings import SettingsError

log = logging.getLogger(__name__)

SWEEP_SECONDS = 60.0


class Sweeper:
    """`alarms`: what the last sweep found that a person must know; each is told once while it lasts."""

    def __init__(
        self,
        open_bus: Callable[[], Awaitable[Retaining]],
        clock: Clock,
        alarm: Callable[[str], Awaitable[None]],
    ) -> None:
        self._open_bus = open_bus
        self._clock = clock
        self._alarm = alarm
        self._janitor: Janitor | None = None
        self.alarms: Sequence[str] = ()

    async def sweep_for_ever(self) -> None:
        while True:
            await self._clock.sleep(SWEEP_SECONDS)
            try:
                await self.sweep()
            except (BusError, SettingsError) as error:
                log.warning("streams are not trimmed now: %s", error)

    async def sweep(self) -> None:
        if self._janitor is None:
            self._janitor = Janitor(await self._open_bus())
        found = (await self._janitor.sweep()).alarms
        for alarm in found:
            if alarm not in self.alarms:
                await self._alarm(alarm)
        self.alarms = found
