"""Scheduler: its queries, and what a person may ask of it."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI, HTTPException, Query
from fastapi.responses import FileResponse, Response
from msgspec.structs import asdict

from arbig.domain.messages import SHANGHAI
from arbig.domain.sessions import CalendarError
from arbig.scheduler.configuration import FILE, Entry
from arbig.scheduler.planner import next_due
from arbig.scheduler.runner import REPORT
from arbig.store.runs import Run
from arbig.store.sqlite import StoreError

if TYPE_CHECKING:
    from arbig.scheduler.service import SchedulerService

LAST = ("run_id", "state", "due", "started", "ended", "seconds", "error", "cell", "attempt")


def add(app: FastAPI, scheduler: SchedulerService) -> None:
    """The routes of ARCHITECTURE.md's contract."""

    @app.get("/schedule")
    async def schedule() -> dict[str, Any]:
        known = [_entry(entry, scheduler) for entry in scheduler.schedule.entries.values()]
        broken = [{"name": name, "enabled": False, "problem": line} for name, line in scheduler.schedule.refused]
        now = scheduler.session_time()
        return {
            "session_time": None if now is None else _naive(now),
            "entries": [*known, *broken],
            "problems": list(scheduler.problems()),
        }

    @app.get("/runs")
    async def runs(
        name: str | None = None, trading_day: date | None = None, limit: Annotated[int, Query(ge=1, le=1000)] = 50
    ) -> dict[str, Any]:
        return {"runs": [shown(run) for run in scheduler.store.recent(name, trading_day, limit)]}

    @app.get("/runs/{run_id}")
    async def run(run_id: str) -> dict[str, Any]:
        return shown(_run(run_id, scheduler))

    @app.post("/schedule/{name}/run", status_code=202)
    async def run_now(name: str, by: str = "a person") -> dict[str, Any]:
        scheduler.read_schedule()
        entry = _known(name, scheduler)
        if (other := scheduler.of(name)) is not None:
            raise HTTPException(409, f"{name}: the run of {other.due:%Y-%m-%d %H:%M:%S} still runs; stop it first")
        try:
            return shown(scheduler.run_now(entry, by[:64]))
        except StoreError as error:
            raise HTTPException(503, str(error)) from None
        except CalendarError as error:
            raise HTTPException(422, str(error)) from None

    @app.post("/runs/{run_id}/stop", status_code=202)
    async def stop(run_id: str, by: str = "a person") -> dict[str, Any]:
        found = _run(run_id, scheduler)
        if found.run_id not in scheduler.children:
            raise HTTPException(409, f"{run_id}: is {found.state} already")
        await scheduler.stop_run(found, by[:64])
        return {"run_id": run_id, "stopped": True}

    @app.get("/runs/{run_id}/report")
    async def report(run_id: str) -> Response:
        found = _run(run_id, scheduler)
        path = scheduler.settings.data / str(found.folder) / REPORT
        if found.folder is None or not path.is_file():
            raise HTTPException(404, f"{found.name} of {found.due:%Y-%m-%d %H:%M:%S} is {found.state}: no report")
        return FileResponse(path, media_type="text/html")


def shown(run: Run) -> dict[str, Any]:
    values = {name: value for name, value in asdict(run).items() if name not in ("settled", "pid")}
    return {name: _naive(value) if isinstance(value, datetime) else _plain(value) for name, value in values.items()}


def _entry(entry: Entry, scheduler: SchedulerService) -> dict[str, Any]:
    config, now = entry.config, scheduler.session_time()
    due, problem = (None, None) if now is None or not config.enabled else next_due(entry, now)
    last = scheduler.store.last(entry.name)
    return {
        "name": entry.name,
        "notebook": entry.config.notebook,
        "when": entry.rule.words,
        "next": None if due is None else _naive(due.moment),
        "trading_day": None if due is None else due.trading_day.isoformat(),
        "mode": config.mode,
        "on_end": config.on_end,
        "deadline": config.deadline,
        "retries": config.retries,
        "enabled": config.enabled,
        "running": scheduler.of(entry.name) is not None,
        "problem": problem,
        "last": None if last is None else {name: shown(last)[name] for name in LAST},
    }


def _known(name: str, scheduler: SchedulerService) -> Entry:
    entry = scheduler.schedule.entries.get(name)
    if entry is not None:
        return entry
    line = dict(scheduler.schedule.refused).get(name)
    if line is not None:
        raise HTTPException(422, line)
    names = ", ".join(scheduler.schedule.entries) or "none"
    raise HTTPException(404, f"{name}: not in config/{FILE}; there are: {names}")


def _run(run_id: str, scheduler: SchedulerService) -> Run:
    found = scheduler.store.find(run_id)
    if found is None:
        raise HTTPException(404, f"{run_id}: no such run; GET /runs lists them")
    return found


def _naive(moment: datetime) -> str:
    return moment.astimezone(SHANGHAI).replace(tzinfo=None).isoformat(timespec="seconds")


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else list(value) if isinstance(value, tuple) else value
