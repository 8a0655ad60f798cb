"""Sender: one target's line. What is due goes out as one message; who does not answer is tried again, ever more
seldom. Sent before it is ticked off: a crash between the two repeats one message and loses none."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog

from arbig.alerts.hours import is_quiet
from arbig.alerts.targets import Target, TargetError
from arbig.alerts.wording import Due, message_of
from arbig.runtime.clock import Clock
from arbig.store.alerts import LOST, SENT, AlertStore, Delivery

AGAIN_SECONDS = (5.0, 10.0, 30.0, 60.0, 300.0)
LOOK_SECONDS = 5.0
"""Quiet hours end without anybody saying so."""
SEND_SECONDS = 60.0
GIVE_UP = timedelta(hours=24)

log = structlog.get_logger()


class Sender:
    def __init__(self, target: Target, store: AlertStore, clock: Clock, account: str, language: str) -> None:
        self.target = target
        self._store = store
        self._clock = clock
        self._account = account
        self._language = language
        self._wake = asyncio.Event()
        self.failed_since: datetime | None = None
        self.failures = 0
        self.error = ""
        self.last_sent: datetime | None = None

    def wake(self) -> None:
        self._wake.set()

    async def run(self) -> None:
        while True:
            self._wake.clear()
            if due := self.due():
                await self._tell(due)
                await self._clock.sleep(self._pause())
            else:
                await self._something()

    async def _something(self) -> None:
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                await self._wake.wait()
        except TimeoutError:
            pass

    def _pause(self) -> float:
        if not self.failures:
            return self.target.pause_seconds
        return AGAIN_SECONDS[min(self.failures, len(AGAIN_SECONDS)) - 1]

    def due(self) -> list[Delivery]:
        """In quiet hours only what is urgent."""
        waiting = self._store.waiting(self.target.name)
        if is_quiet(self.target.quiet_hours, self._clock.now()):
            return [one for one in waiting if one.kind in self.target.urgent]
        return waiting

    async def _tell(self, due: Sequence[Delivery]) -> None:
        lines = [Due(one.number, one.kind, one.text, one.count, one.at, one.repeat) for one in due]
        try:
            await self.send(*message_of(self._account, lines, self._language))
        except TargetError as error:
            self._failed(str(error), due)
            return
        self._store.ended(due, SENT, self._clock.now())

    async def send(self, title: str, body: str) -> None:
        """Raises TargetError."""
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await asyncio.to_thread(self.target.send, title, body)
        except TimeoutError:
            raise TargetError(f"no answer within {SEND_SECONDS:g} s") from None
        if self.failures:
            log.info(f"alert target {self.target.name} is reached again")
        self.failed_since, self.failures, self.error = None, 0, ""
        self.last_sent = self._clock.now()

    def _failed(self, error: str, due: Sequence[Delivery]) -> None:
        now = self._clock.now()
        if self.failed_since is None:
            log.error(f"alert target {self.target.name} is not reached: {error}")
            self.failed_since = now
        self.failures += 1
        self.error = error
        too_old = [one for one in due if now - one.asked_at > GIVE_UP]
        if too_old:
            log.error(f"alert target {self.target.name}: {len(too_old)} alerts are given up", reason=error)
            self._store.ended(too_old, LOST, now, error)

    def complaint(self) -> str | None:
        """One line for the console while the target does not answer."""
        if self.failed_since is None:
            return None
        tries = "1 try" if self.failures == 1 else f"{self.failures} tries"
        return (
            f"alert target {self.target.name} is not reached since {self.failed_since:%H:%M:%S} ({tries}), "
            f"{len(self._store.waiting(self.target.name))} alerts wait: {self.error}"
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.target.name,
            "kind": self.target.service,
            "masked": self.target.masked,
            "kinds": list(self.target.kinds),
            "state": "FAILING" if self.failed_since else "QUIET" if self.is_quiet() else "OK",
            "waiting": len(self._store.waiting(self.target.name)),
            "error": self.error,
            "last_sent": None if self.last_sent is None else self.last_sent.isoformat(timespec="milliseconds"),
        }

    def is_quiet(self) -> bool:
        return is_quiet(self.target.quiet_hours, self._clock.now())
