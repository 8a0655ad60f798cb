"""Notebooks: what the scheduler runs, when, how it went; the archived report of each run; run now."""

from __future__ import annotations

from views import tables
from views.parts import tiles
from views.visit import Changes, Visit

AREAS = '"schedule" minmax(0, 0.8fr) "runs" minmax(0, 1fr) / minmax(0, 1fr)'
SECONDS = 2.0
SHOWN_RUNS = 100


class Notebooks:
    name = "notebooks"

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._word = word = visit.words()
        self._changes = Changes()
        self._schedule = tables.grid("schedule", "schedule", word, visit, self._run)
        self._runs = tables.grid("runs", "runs", word, visit, self._stop)
        self.panel = tiles(AREAS, schedule=self._schedule, runs=self._runs)

    def refresh(self) -> None:
        watch, client, word = self._visit.watch, self._visit.board.client, self._word
        schedule = watch.look("schedule", client.schedule, SECONDS)
        runs = watch.look("runs", lambda: client.scheduled_runs(limit=SHOWN_RUNS), SECONDS)
        if self._changes.changed("schedule", watch.revisions["schedule"]):
            self._schedule.empty = word("no_scheduler") if "schedule" in watch.errors else word("none")
            entries = [] if schedule is None or "schedule" in watch.errors else schedule["entries"]
            self._schedule.show(tables.schedule_rows(entries, word))
        if self._changes.changed("runs", watch.revisions["runs"]):
            self._runs.empty = word("no_scheduler") if "runs" in watch.errors else word("none")
            known = [] if runs is None or "runs" in watch.errors else runs
            self._runs.show(tables.run_rows(known, self._visit.board.settings.port("web"), word))

    async def _run(self, action: str, key: str) -> object:
        self._visit.watch.again("runs")
        return await self._visit.board.client.run_scheduled(key)

    async def _stop(self, action: str, key: str) -> object:
        self._visit.watch.again("runs")
        return await self._visit.board.client.stop_scheduled_run(key)
