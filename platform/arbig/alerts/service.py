"""Alerts. In: `stream:event`, the audit trail. Out: messages to people. Keeps: `data/db/alerts.db`, how far it has
read and who has yet to hear what. It watches: nothing waits for it, and it writes to no stream."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar

import structlog
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, ConfigDict, Field

from arbig.alerts.sender import Sender
from arbig.alerts.targets import TargetError, by_kind, targets_of
from arbig.alerts.wording import Alert, alert_of_event, alert_of_row, title_of, word
from arbig.bus.port import Bus, BusError, Entry, entry_key
from arbig.bus.topics import EVENT
from arbig.domain.messages import EventData, MessageError, decode
from arbig.runtime.alerting import load_alerts
from arbig.runtime.audit import trail_of
from arbig.runtime.clock import Clock
from arbig.runtime.crash import crash_point
from arbig.runtime.service import Service
from arbig.runtime.settings import Settings, SettingsError
from arbig.store.alerts import AlertStore, Delivery, Occurrence, Position
from arbig.store.sqlite import StoreError
from arbig.store.trail import Row

TRAIL = "trail"
BEGINNING = "0-0"
LOOK_SECONDS = 0.5
LOOK_BACK = timedelta(minutes=10)
"""How old what the first start ever still tells may be: what happened while the house was starting."""
SHOWN = 100

log = structlog.get_logger()


class Asked(BaseModel):
    """Which target is tested; all of them without a name."""

    model_config = ConfigDict(extra="forbid")

    target: str | None = Field(None, max_length=64)


class AlertsService(Service):
    name: ClassVar[str] = "alerts"
    needs: ClassVar[str | None] = None

    def __init__(self, settings: Settings, bus: Bus, clock: Clock) -> None:
        super().__init__(settings, bus, clock)
        self.config = load_alerts(settings)
        self._targets = targets_of(self.config)
        self._by_kind = by_kind(self._targets)
        self._window = timedelta(seconds=self.config.window_seconds)
        self._trail = trail_of(settings)
        try:
            self.store = AlertStore(settings.data / "db" / "alerts.db")
        except StoreError as error:
            raise SettingsError(str(error)) from None
        self.senders = {
            name: Sender(target, self.store, clock, settings.account_id, self.config.language)
            for name, target in self._targets.items()
        }

    async def start(self) -> None:
        self.spawn(self._read_events(await self._resumed()), "events")
        self.spawn(self._read_trail(), "trail")
        self.spawn(self._close_windows(), "windows")
        for name, sender in self.senders.items():
            self.spawn(sender.run(), f"target {name}")

    async def stop(self) -> None:
        await super().stop()
        self.store.close()

    def status(self) -> dict[str, object]:
        return {"alarms": [line for sender in self.senders.values() if (line := sender.complaint())]}

    # ---- what comes in --------------------------------------------------------------------------------------------

    async def _read_events(self, position: Position) -> None:
        while True:
            try:
                epoch = await self.bus.epoch()
                if position.epoch != epoch:  # the day is said again; what was heard before is known by its id
                    position = Position(epoch, BEGINNING)
                entries = await self.bus.read(EVENT.name, position.after)
                if entries:
                    position = Position(epoch, entries[-1].id)
                    self._heard(EVENT.name, position, [found for entry in entries if (found := self._alert(entry))])
                    continue
            except BusError as error:
                log.warning(f"events unread: {error}")
            await self.clock.sleep(LOOK_SECONDS)

    async def _resumed(self) -> Position:
        """Where the process before this one stopped reading. Gone from the stream meanwhile: somebody is told."""
        epoch, kept = await self.bus.epoch(), self.store.position(EVENT.name)
        if kept is None:
            since = int((self.clock.now() - LOOK_BACK).timestamp() * 1000)
            return Position(epoch, min(f"{since}-0", await self.bus.last_id(EVENT.name), key=entry_key))
        oldest = await self.bus.read(EVENT.name, count=1)
        if kept.epoch == epoch and oldest and entry_key(kept.after) < entry_key(oldest[0].id):
            gone = f"alerts slept since {kept.after}: events before {oldest[0].id} may never have been told"
            self._heard(EVENT.name, kept, [Alert("alarm", "slept", gone, self.clock.now(), f"slept:{oldest[0].id}")])
        return kept

    def _alert(self, entry: Entry) -> Alert | None:
        try:
            return alert_of_event(decode(EventData, entry.payload), entry.id, self.config.language)
        except MessageError:
            return None  # its readers send it to stream:dead

    async def _read_trail(self) -> None:
        """Log-ins stand in the audit trail."""
        while True:
            try:
                await self._look_at_the_trail()
            except StoreError as error:
                log.warning(f"log-ins unread: {error}")
            await self.clock.sleep(LOOK_SECONDS)

    async def _look_at_the_trail(self) -> None:
        kept = self.store.position(TRAIL) or Position("", "0")
        if rows := await asyncio.to_thread(self._trail.after, int(kept.after)):
            fresh = [row for row in rows if kept.after != "0" or self._is_fresh(row)]
            found = [alert for row in fresh if (alert := alert_of_row(row, self.config.language))]
            self._heard(TRAIL, Position("", str(rows[-1].number)), found)

    def _is_fresh(self, row: Row) -> bool:
        """The first start ever finds the log-ins of years."""
        return self.clock.now() - datetime.fromisoformat(row.at) < LOOK_BACK

    def _heard(self, source: str, position: Position, alerts: Sequence[Alert]) -> None:
        occurrences = [Occurrence(one.kind, one.subject, one.text, one.at, one.event_id) for one in alerts]
        crash_point("al.before_commit")
        due = self.store.hear(source, position, occurrences, self._by_kind, self.clock.now(), self._window)
        crash_point("al.after_commit")
        if due:
            self._wake()

    async def _close_windows(self) -> None:
        while True:
            if self.store.close_windows(self._by_kind, self.clock.now(), self._window):
                self._wake()
            await self.clock.sleep(LOOK_SECONDS)

    def _wake(self) -> None:
        for sender in self.senders.values():
            sender.wake()

    # ---- questions ------------------------------------------------------------------------------------------------

    def routes(self, app: FastAPI) -> None:
        @app.get("/alerts")
        async def alerts() -> dict[str, Any]:
            return {
                "targets": [sender.as_json() for sender in self.senders.values()],
                "sent": [_shown(one) for one in self.store.recent(SHOWN)],
            }

        @app.post("/alerts/test")
        async def test(asked: Asked) -> dict[str, Any]:
            if asked.target is not None and asked.target not in self.senders:
                known = ", ".join(self.senders)
                raise HTTPException(404, f"config/alerts.yaml: no target {asked.target!r}; there are: {known}")
            chosen = [asked.target] if asked.target else list(self.senders)
            return {"results": await asyncio.gather(*(self._tested(name) for name in chosen))}

    async def _tested(self, name: str) -> dict[str, Any]:
        language = self.config.language
        title = f"[ARBIG {self.settings.account_id}] {title_of('test', language)}"
        try:
            await self.senders[name].send(title, word("test", language, target=name))
        except TargetError as error:
            return {"target": name, "ok": False, "error": str(error)}
        return {"target": name, "ok": True, "error": ""}


def _shown(one: Delivery) -> dict[str, Any]:
    return {
        "number": one.number,
        "target": one.target,
        "kind": one.kind,
        "text": one.text,
        "count": one.count,
        "state": one.state,
        "at": one.at.isoformat(timespec="milliseconds"),
        "ended_at": None if one.ended_at is None else one.ended_at.isoformat(timespec="milliseconds"),
        "error": one.error,
    }
