"""Services: every process, how far it is behind, what it logs; start, stop, restart; a test of the alerts."""

from __future__ import annotations

from typing import Any

from views import tables
from views.parts import Filter, tile, tiles
from views.visit import Changes, Visit

AREAS = (
    '"processes processes" minmax(0, 1.25fr) "logs streams" minmax(0, 1.4fr) "logs alerts" minmax(110px, 0.55fr)'
    " / minmax(0, 1fr) 360px"
)
LEVELS = ("debug", "info", "warning", "error")
HEALTH_SECONDS, LOG_SECONDS, ALERT_SECONDS = 2.0, 1.5, 5.0
SHOWN_LINES = 150


class Services:
    name = "services"

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._word = word = visit.words()
        self._changes = Changes()
        self._processes = tables.grid("processes", "web", word, visit)
        self._processes.title = word("services")
        self._streams = tables.grid("streams", "health", word, visit)
        self._alerts = tables.grid("alerts", "alerts", word, visit, self._test, tools=[[word("test_all"), "", "test"]])
        self._alerts.empty = word("no_targets")
        self._logs = tables.grid("logs", self._source(""), word, visit)
        self._filter = Filter(
            services=[["", word("all_services")]], levels=[[name, name] for name in LEVELS], hint=word("search")
        )
        self.panel = tiles(
            AREAS,
            processes=self._processes,
            streams=self._streams,
            alerts=self._alerts,
            logs=tile(self._filter, self._logs),
        )

    def refresh(self) -> None:
        board, word = self._visit.board, self._word
        watch, client, changed = self._visit.watch, board.client, self._changes.changed
        health = watch.look("health", client.health, HEALTH_SECONDS) or {"services": {}, "streams": []}
        known = board.status.services if board.status else []
        if changed("processes", board.revisions["status"], board.revisions["heartbeat"], watch.revisions["health"]):
            silence = board.heartbeat.silence if board.heartbeat else {}
            self._processes.show(tables.process_rows(known, health["services"], silence, word))
        if changed("streams", watch.revisions["health"]):
            self._streams.show(tables.stream_rows(health["streams"]))
        if changed("names", [service.name for service in known]):
            self._filter.services = [["", word("all_services")], *([one.name, one.name] for one in known)]
        alerts = watch.look("alerts", client.alerts, ALERT_SECONDS)
        if alerts is not None and changed("alerts", watch.revisions["alerts"]):
            self._alerts.show(tables.alert_rows(alerts.get("targets", ()), word))
        self._refresh_logs()

    def _refresh_logs(self) -> None:
        service, level, grep = self._filter.service, self._filter.level, self._filter.grep
        watch, client = self._visit.watch, self._visit.board.client
        name = self._source(f"{service} {level} {grep}")
        chosen = {"service": service, "level": level, "grep": grep}
        wanted: dict[str, Any] = {key: value for key, value in chosen.items() if value} | {"limit": SHOWN_LINES}
        records = watch.look(name, lambda: client.logs(**wanted), LOG_SECONDS)
        if records is not None and self._changes.changed("logs", name, watch.revisions[name]):
            self._logs.source = name
            self._logs.show(tables.log_rows(records))

    @staticmethod
    def _source(wanted: str) -> str:
        return f"logs {wanted}"

    async def _test(self, action: str, key: str) -> object:
        results = (await self._visit.board.client.test_alerts(key or None)).get("results", ())
        told = " · ".join(f"{one.get('name', '')}: {one.get('error') or self._word('tested')}" for one in results)
        self._visit.say(told or self._word("no_targets"), any(one.get("error") for one in results))
        return results
