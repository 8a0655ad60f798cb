"""Scheduler. In: config/schedule.yaml, the trading calendar, hb:gateway  Out: a child process a run, stream:event
Keeps: what was due, ran and ended (`data/db/scheduler.db`), the archive (`data/runs`).

A due is a row before anything is begun, and one due has one row: two schedulers, a restart in the middle, a clock that
jumps begin it at most once. Due times are session time: the simulated exchange's clock, else Shanghai's.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Iterable
from datetime import datetime
from typing import ClassVar
from uuid import uuid4

import structlog
from fastapi import FastAPI
from msgspec.structs import replace

from arbig.bus.port import Bus, BusError
from arbig.bus.topics import EVENT, GATEWAY, HEARTBEAT, SCHEDULER, WEB
from arbig.domain.messages import EventData, EventType, Heartbeat, MessageError, decode, encode
from arbig.domain.schedules import Due
from arbig.runtime.calendar import load_calendar
from arbig.runtime.clock import Clock
from arbig.runtime.files import write_whole
from arbig.runtime.http import CallError, call
from arbig.runtime.instruments import load_instruments
from arbig.runtime.service import Service
from arbig.runtime.settings import Settings, SettingsError
from arbig.scheduler import routes
from arbig.scheduler.configuration import FILE, Entry, Schedule, load_schedule
from arbig.scheduler.launcher import Child, Outcome, end_orphans, launch, make_report
from arbig.scheduler.planner import Planned, is_late, next_due, plan
from arbig.scheduler.runner import ORDER
from arbig.scheduler.settler import settled
from arbig.store.runs import Run, RunStore
from arbig.store.sqlite import StoreError

LOOK_SECONDS = 0.5
KEEP_LOOK_SECONDS = 10.0
SETTLE_AGAIN_SECONDS = 1.0
SAY_AGAIN_SECONDS = 1.0
RETRIED = ("FAILED", "TIMEOUT", "KILLED")
log = structlog.get_logger()


class SchedulerService(Service):
    name: ClassVar[str] = SCHEDULER
    needs: ClassVar[str | None] = WEB

    def __init__(self, settings: Settings, bus: Bus, clock: Clock) -> None:
        super().__init__(settings, bus, clock)
        self.schedule = Schedule({})
        self.file_problem: str | None = None
        self.children: dict[str, Child] = {}
        self.live: dict[str, Run] = {}
        self._heard: datetime | None = None
        self._file_seen: tuple[int, int] | None = None
        self._kept_at = 0.0
        self._was_away = True
        self._unsaid: deque[str] = deque()
        self._unsaid_waits = asyncio.Event()
        self._is_ending = False
        self.is_open = False

    # ---- life -----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        self.book, self.calendar = load_instruments(self.settings), load_calendar(self.settings)
        try:
            self.store = RunStore(self.settings.data / "db" / "scheduler.db")
        except StoreError as error:
            raise SettingsError(str(error)) from None
        self.is_open = True
        self.looked = self.store.looked()
        self.read_schedule()
        self.spawn(self._say_for_ever(), "events")
        if self.settings.gateway == "sim":
            self.spawn(self._listen(), "the exchange's clock")
        self.spawn(self._look_for_ever(), "schedule")

    async def stop(self) -> None:
        """Runs that are under way end; the next life finds them and does what their end asks for."""
        self._is_ending = True
        await asyncio.gather(
            *(child.end("KILLED", "the scheduler was stopped") for child in list(self.children.values()))
        )
        await self.cancel_tasks()
        if self.is_open:
            self.store.close()

    def routes(self, app: FastAPI) -> None:
        routes.add(app, self)

    def status(self) -> dict[str, object]:
        return {
            "running": sorted(run.name for run in self.live.values()),
            "entries": len(self.schedule.entries),
            "alarms": list(self.problems()),
        }

    # ---- the schedule ---------------------------------------------------------------------------------------------

    def read_schedule(self) -> None:
        """Anew when the file has changed. A file nobody can read leaves what was read before."""
        path = self.settings.config / FILE
        try:
            found = path.stat()
            seen = (found.st_mtime_ns, found.st_size)
        except OSError:
            seen = (0, 0)
        if seen == self._file_seen:
            return
        self._file_seen = seen
        before = set(self.problems())
        try:
            self.schedule, self.file_problem = load_schedule(self.settings, self.book, self.calendar), None
        except SettingsError as error:
            self.file_problem = str(error)
        for line in self.problems():
            if line not in before:
                log.error(line)
                self.say(line)

    def problems(self) -> Iterable[str]:
        if self.file_problem is not None:
            yield self.file_problem
        yield from self.schedule.problems
        now = self.session_time()
        for entry in self.schedule.entries.values():
            if now is not None and entry.config.enabled and (line := next_due(entry, now)[1]):
                yield f"config/{FILE}: schedule.{entry.name}: {line}"

    def session_time(self) -> datetime | None:
        """The exchange's clock. A broker's is the wall's, also while the Gateway is away; the simulated one stands
        still then, and before it was heard nothing is due."""
        return self._heard if self.settings.gateway == "sim" else self.clock.now()

    async def _listen(self) -> None:
        async for batch in self.bus.listen(HEARTBEAT.of(GATEWAY)):
            for _, payload in batch:
                try:
                    heard = decode(Heartbeat, payload).session_time
                except MessageError:
                    continue
                self._heard = heard or self._heard

    # ---- what is due ----------------------------------------------------------------------------------------------

    async def _look_for_ever(self) -> None:
        recovered = False
        while True:
            if self.session_time() is not None:
                if not recovered:
                    recovered = True
                    self._recover()
                self.read_schedule()
                self.look()
            await self.clock.sleep(LOOK_SECONDS)

    def look(self) -> None:
        """Everything that has become due since the last look gets its row, and what is to run begins."""
        now = self.session_time()
        if now is None:
            return
        if self.looked is None:
            self._keep_look(now)
        assert self.looked is not None
        planned = plan(self.schedule.entries.values(), self.looked, now, self._was_away)
        self._was_away = False
        try:
            for each in planned:
                self._take(each)
            self.looked = now
            if planned or self.clock.monotonic() - self._kept_at > KEEP_LOOK_SECONDS:
                self._keep_look(now)
        except StoreError as error:
            log.error(str(error))  # looked at again from where we were

    def _keep_look(self, now: datetime) -> None:
        self.store.look(now)
        self.looked, self._kept_at = now, self.clock.monotonic()

    def _take(self, planned: Planned) -> None:
        entry = self.schedule.entries[planned.name]
        run = self._new(entry, planned.due)
        if planned.missed is not None:
            run = replace(run, state=planned.state, error=planned.missed, settled=True)
        elif (other := self.of(entry.name)) is not None:
            words = f"the run of {other.due:%H:%M:%S} still runs"
            run = replace(run, state="SKIPPED", error=words, settled=True)
        if not self.store.add(run):
            return
        if run.state == "DUE":
            self._begin(run, entry)
        elif planned.state == "MISSED":
            self.say(f"{run.name} of {run.due:%Y-%m-%d %H:%M:%S} is {run.state}: {run.error}")

    def _new(self, entry: Entry, due: Due, asked_by: str | None = None) -> Run:
        return Run(
            run_id=uuid4().hex[:12],
            name=entry.name,
            trading_day=due.trading_day,
            due=due.moment,
            state="DUE",
            notebook=entry.config.notebook,
            on_end=entry.config.on_end,
            asked_by=asked_by,
        )

    def of(self, name: str) -> Run | None:
        """The run of this entry that is under way."""
        return next((run for run in self.live.values() if run.name == name and run.state in ("DUE", "RUNNING")), None)

    def run_now(self, entry: Entry, asked_by: str) -> Run:
        """Because somebody asked. Raises StoreError, CalendarError."""
        now = self.session_time() or self.clock.now()
        run = self._new(entry, Due(now, self.calendar.trading_day_of(now)), asked_by)
        if self.store.add(run):
            self._begin(run, entry)
        return run

    def _recover(self) -> None:
        """What a former life left: begun runs are dead, due ones were never begun, ends may be unsettled."""
        now = self.session_time()
        assert now is not None
        for run in self.store.open():
            entry = self.schedule.entries.get(run.name)
            if run.state == "RUNNING":
                end_orphans(run)
                self.live[run.run_id] = run
                self.spawn(self._after_death(run, entry), f"run {run.name}")
            elif run.state == "DUE" and entry is not None and not is_late(entry, Due(run.due, run.trading_day), now):
                self._begin(run, entry)
            elif run.state == "DUE":
                why = "the scheduler ended before it began, and came back too late"
                self.store.save(replace(run, state="MISSED", error=why, settled=True))
                self.say(f"{run.name} of {run.due:%Y-%m-%d %H:%M:%S} is MISSED: {why}")
            else:
                self.spawn(self._settle(run, entry), f"settle {run.name}")

    async def _after_death(self, run: Run, entry: Entry | None) -> None:
        outcome = Outcome("KILLED", "the scheduler ended in the middle of it")
        if entry is not None and run.attempt <= entry.config.retries:
            await self._lead(run, entry)
        else:
            await self._end(run, entry, outcome)

    # ---- a run ----------------------------------------------------------------------------------------------------

    def _begin(self, run: Run, entry: Entry) -> None:
        self.live[run.run_id] = run
        self.spawn(self._lead(run, entry), f"run {run.name}")

    async def _lead(self, run: Run, entry: Entry) -> None:
        """Its attempts, one after the other, and its end."""
        while True:
            run = self._attempt(run)
            why = await self._refusal(entry)
            outcome = Outcome("FAILED", why) if why else await self._run(run, entry)
            if self._is_ending:
                return  # the next life finds it
            run = self.live[run.run_id]
            if why or outcome.state not in RETRIED or run.attempt > entry.config.retries or self._was_stopped(run):
                break
            log.warning("tried again", name=run.name, state=outcome.state, error=outcome.error, attempt=run.attempt)
            await self.clock.sleep(entry.retry_pause.total_seconds())
        await self._end(run, entry, outcome)

    def _was_stopped(self, run: Run) -> bool:
        child = self.children.get(run.run_id)
        return child is not None and child.why is not None and child.why[0] == "KILLED"

    def _attempt(self, run: Run) -> Run:
        """Written down before the child is started."""
        folder = run.folder or self._folder(run)
        begun = replace(
            run,
            state="RUNNING",
            attempt=run.attempt + 1,
            started=run.started or self.session_time() or run.due,
            seconds=run.seconds or 0.0,
            folder=folder,
            pid=None,
        )
        self._keep(begun)
        return begun

    def _folder(self, run: Run) -> str:
        base = f"runs/{run.trading_day}/{run.name}-{run.due:%H%M%S}"
        return f"{base}-{run.run_id[:4]}" if (self.settings.data / base).exists() else base

    async def _refusal(self, entry: Entry) -> str | None:
        """Why it may not run in its mode."""
        house = self.settings
        if house.gateway == "sim":
            return "mode: live: on the simulated exchange everything is paper" if entry.config.mode == "live" else None
        if house.mode == "paper":
            return "mode: live: config/arbig.yaml says mode: paper" if entry.config.mode == "live" else None
        try:
            answer = await call(house, "trading", "GET", "/granted", params={"strategy_name": entry.name})
        except CallError as error:
            return f"whether it has a grant is not known: {error}"
        refusal: str | None = answer["refusal"]
        if entry.config.mode == "live":
            return refusal
        return None if refusal else "mode: paper: it has a grant for real money; say mode: live, or revoke the grant"

    async def _run(self, run: Run, entry: Entry) -> Outcome:
        began = self.clock.monotonic()
        try:
            child = await launch(self.settings, run, entry.notebook, entry.config.parameters)
        except (OSError, ValueError) as error:
            return Outcome("FAILED", f"it could not be started: {error}")
        self.children[run.run_id] = child
        self._keep(replace(run, pid=child.pid))
        log.info("run", name=run.name, run_id=run.run_id, due=run.due.isoformat(), attempt=run.attempt)
        outcome = await child.outcome(entry.deadline)
        spent = round((run.seconds or 0.0) + self.clock.monotonic() - began, 2)
        self.live[run.run_id] = replace(self.live[run.run_id], seconds=spent)
        return outcome

    async def stop_run(self, run: Run, by: str) -> None:
        child = self.children.get(run.run_id)
        if child is not None:
            await child.end("KILLED", f"stopped by {by}")

    async def _end(self, run: Run, entry: Entry | None, outcome: Outcome) -> None:
        self.children.pop(run.run_id, None)
        ended = replace(
            run,
            state=outcome.state,
            error=outcome.error,
            cell=outcome.cell,
            ended=self.session_time() or run.due,
            pid=None,
        )
        self._keep(ended)
        log.info("ended", name=run.name, run_id=run.run_id, state=ended.state, error=ended.error, cell=ended.cell)
        if ended.state != "DONE":
            where = "" if ended.cell is None else f" in cell {ended.cell}"
            self.say(f"{run.name} of {run.due:%Y-%m-%d %H:%M:%S} is {ended.state}{where}: {ended.error}")
        await self._settle(ended, entry)

    async def _settle(self, run: Run, entry: Entry | None) -> None:
        """Until everything is asked for; Trading may be away for a while."""
        self.live[run.run_id] = run
        if run.folder is not None:
            await make_report(self.settings, run)
        keep_intents = entry is not None and entry.config.keep_intents
        while not run.settled:
            try:
                run = await settled(self.settings, run, keep_intents)
            except CallError as error:
                log.warning(f"{run.name}: its end waits: {error}")
                await self.clock.sleep(SETTLE_AGAIN_SECONDS)
        self._keep(run)
        if run.folder is not None:
            self._archive(run)
        del self.live[run.run_id]

    def _archive(self, run: Run) -> None:
        path = self.settings.data / str(run.folder) / ORDER
        order = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        write_whole(path, json.dumps(order | routes.shown(run), ensure_ascii=False, indent=1))

    def _keep(self, run: Run) -> None:
        self.live[run.run_id] = run
        self.store.save(run)

    # ---- alarms ---------------------------------------------------------------------------------------------------

    def say(self, words: str) -> None:
        self._unsaid.append(words)
        self._unsaid_waits.set()

    async def _say_for_ever(self) -> None:
        while True:
            await self._unsaid_waits.wait()
            self._unsaid_waits.clear()
            while self._unsaid:
                event = EventData(
                    event=EventType.ALARM, source=self.name, datetime=self.clock.now(), message=self._unsaid[0]
                )
                try:
                    await self.bus.append([(EVENT.name, encode(event))])
                except BusError:
                    await self.clock.sleep(SAY_AGAIN_SECONDS)
                else:
                    self._unsaid.popleft()
