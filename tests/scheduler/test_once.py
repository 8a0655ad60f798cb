"""Each due is run at most once: by two schedulers, over a restart in the middle, when the clock jumps; and what was
missed is said."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from arbig.bus.memory import MemoryBus
from arbig.bus.topics import EVENT
from arbig.domain.messages import SHANGHAI, EventData, decode
from arbig.runtime.clock import ManualClock
from arbig.runtime.settings import Settings, SettingsError, load_settings
from arbig.scheduler.configuration import Entry
from arbig.scheduler.launcher import Outcome
from arbig.scheduler.service import SchedulerService
from arbig.store.runs import Run

ROOT = Path(__file__).parents[2]


def moment(words: str) -> datetime:
    return datetime.fromisoformat(words).replace(tzinfo=SHANGHAI)


class Recorded(SchedulerService):
    """The service, but for the child process: a run is noted, and ends when the test says so."""

    def __init__(self, settings: Settings, bus: MemoryBus, clock: ManualClock) -> None:
        super().__init__(settings, bus, clock)
        self.begun: list[str] = []
        self.outcomes: list[Outcome] = []
        self.hold = asyncio.Event()
        self.hold.set()

    async def _run(self, run: Run, entry: Entry) -> Outcome:
        self.begun.append(f"{run.name} {run.due:%m-%d %H:%M:%S}")
        await self.hold.wait()
        return self.outcomes.pop(0) if self.outcomes else Outcome("DONE")

    async def _settle(self, run: Run, entry: Entry | None) -> None:
        self._keep(run.__class__(**{name: getattr(run, name) for name in run.__struct_fields__} | {"settled": True}))
        del self.live[run.run_id]

    async def at(self, words: str) -> None:
        """The exchange's clock shows this now."""
        self._heard = moment(words)
        await self.clock.advance(1.0)  # type: ignore[attr-defined]

    def states(self) -> list[str]:
        return [f"{run.name} {run.due:%m-%d %H:%M} {run.state}" for run in self.store.recent(None, None, 100)][::-1]

    async def alarms(self) -> list[str]:
        return [decode(EventData, entry.payload).message for entry in await self.bus.read(EVENT.name)]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    shutil.copytree(ROOT / "config", tmp_path / "config")
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "report.ipynb").write_text('{"cells": [], "metadata": {}}')
    write(tmp_path, report={"after_day_close": "5m"}, evening={"before_night_open": "10m", "missed": "skip"})
    return load_settings(root=tmp_path, data=tmp_path / "data", port_offset=0)


def write(home: Path, **entries: Any) -> None:
    whole = {name: {"notebook": "report.ipynb", **entry} for name, entry in entries.items()}
    (home / "config" / "schedule.yaml").write_text(json.dumps({"schedule": whole}))


@asynccontextmanager
async def living(settings: Settings, bus: MemoryBus, words: str) -> AsyncIterator[Recorded]:
    service = Recorded(settings, bus, ManualClock(moment("2026-11-23 09:00")))
    await service.start()
    try:
        await service.at(words)
        yield service
    finally:
        service.hold.set()
        await service.stop()


def test_what_is_due_runs_once_and_the_jump_over_closed_hours_is_not_late(settings: Settings) -> None:
    async def play() -> None:
        async with living(settings, MemoryBus(), "2025-10-15 14:59:00") as service:
            assert service.begun == []
            await service.at("2025-10-15 15:00:06")
            await service.at("2025-10-15 20:55:00")  # the simulated exchange passes over closed hours
            assert sorted(service.begun) == ["evening 10-15 20:50:00", "report 10-15 15:05:00"]
            await service.at("2025-10-15 14:00:00")  # back
            await service.at("2025-10-15 20:56:00")
            assert len(service.begun) == 2

    asyncio.run(play())


def test_over_the_holiday_nothing_is_due_and_a_clock_that_jumps_a_day_runs_what_is_not_late(settings: Settings) -> None:
    async def play() -> None:
        bus = MemoryBus()
        async with living(settings, bus, "2025-09-30 14:00:00") as service:
            await service.at("2025-10-09 08:55:00")
            assert service.begun == ["report 09-30 15:05:00"]
            await service.at("2025-10-10 15:06:00")  # over a day, its night and another day
            assert service.begun[1:] == ["report 10-10 15:05:00"]
            assert service.states()[1:] == [
                "report 10-09 15:05 SKIPPED",
                "evening 10-09 20:50 MISSED",
                "report 10-10 15:05 DONE",
            ]
            (line,) = await service.alarms()
            assert line == (
                "evening of 2025-10-09 20:50:00 is MISSED: trading has gone on for more than 30m since (grace: 30m)"
            )

    asyncio.run(play())


def test_a_restart_runs_what_came_due_meanwhile_unless_it_says_skip_or_too_much_was_traded(settings: Settings) -> None:
    async def play() -> None:
        bus = MemoryBus()
        async with living(settings, bus, "2025-10-15 14:00:00") as service:
            await service.clock.advance(11.0)  # type: ignore[attr-defined]
        async with living(settings, bus, "2025-10-15 20:58:00") as service:
            assert service.begun == ["report 10-15 15:05:00"]
            assert "evening 10-15 20:50 MISSED" in service.states()
        async with living(settings, bus, "2025-10-17 10:00:00") as service:
            assert service.begun == []
            assert service.states()[-2:] == ["report 10-16 15:05 MISSED", "evening 10-16 20:50 MISSED"]

    asyncio.run(play())


def test_a_life_that_ended_in_the_middle_is_killed_or_tried_again_and_a_due_never_begun_is_begun(
    settings: Settings,
) -> None:
    async def play() -> None:
        bus = MemoryBus()
        write(settings.root, once={"after_day_close": "5m"}, again={"after_day_close": "5m", "retries": 1})
        async with living(settings, bus, "2025-10-15 15:00:00") as service:
            for name, state in (("once", "RUNNING"), ("again", "RUNNING"), ("waiting", "DUE")):
                due = moment("2025-10-15 15:05:00")
                left = Run(run_id=name, name=name, trading_day=due.date(), due=due, state=state, attempt=1)
                service.store.add(left)
            write(settings.root, once={"at": "15:05"}, again={"at": "15:05", "retries": 1}, waiting={"at": "15:05"})
        async with living(settings, bus, "2025-10-15 15:06:00") as service:
            await service.at("2025-10-15 15:07:00")
            assert sorted(service.begun) == ["again 10-15 15:05:00", "waiting 10-15 15:05:00"]
            ended = {run.name: (run.state, run.attempt, run.error) for run in service.store.recent(None, None, 9)}
            assert ended == {
                "once": ("KILLED", 1, "the scheduler ended in the middle of it"),
                "again": ("DONE", 2, None),
                "waiting": ("DONE", 2, None),
            }

    asyncio.run(play())


def test_a_second_scheduler_on_the_same_data_is_refused_in_one_line(settings: Settings) -> None:
    async def play() -> None:
        async with living(settings, MemoryBus(), "2025-10-15 14:00:00"):
            second = Recorded(settings, MemoryBus(), ManualClock(moment("2026-11-23 09:00")))
            with pytest.raises(SettingsError, match=r"scheduler\.db is in use by another Scheduler: stop the other"):
                await second.start()

    asyncio.run(play())


def test_a_run_that_still_runs_keeps_the_next_one_out(settings: Settings) -> None:
    async def play() -> None:
        write(settings.root, often={"cron": "*/10 * * * *"})
        async with living(settings, MemoryBus(), "2025-10-15 13:35:00") as service:
            service.hold.clear()
            await service.at("2025-10-15 13:40:00")
            await service.at("2025-10-15 13:50:00")
            service.hold.set()
            await service.at("2025-10-15 13:51:00")
            await service.at("2025-10-15 14:00:00")
            assert service.begun == ["often 10-15 13:40:00", "often 10-15 14:00:00"]
            assert [run.error for run in service.store.recent(None, None, 9)][1] == "the run of 13:40:00 still runs"

    asyncio.run(play())


def test_a_failed_run_is_tried_again_so_often_and_then_an_alarm_says_where(settings: Settings) -> None:
    async def play() -> None:
        write(settings.root, report={"at": "14:10", "retries": 2, "retry_pause": "1s"})
        async with living(settings, MemoryBus(), "2025-10-15 14:00:00") as service:
            service.outcomes = [Outcome("FAILED", "ValueError: no bars", 3)] * 3
            for _ in range(6):
                await service.at("2025-10-15 14:11:00")
            assert len(service.begun) == 3
            assert await service.alarms() == ["report of 2025-10-15 14:10:00 is FAILED in cell 3: ValueError: no bars"]

    asyncio.run(play())


def test_the_end_of_the_calendar_is_a_line_among_the_problems(settings: Settings) -> None:
    async def play() -> None:
        async with living(settings, MemoryBus(), "2026-12-31 15:30:00") as service:
            lines = list(service.problems())
            assert len(lines) == 2
            assert "config/schedule.yaml: schedule.report: trading calendar: found" in lines[0]
            assert "add the year's holidays to config/holidays.yaml" in lines[0]

    asyncio.run(play())


def test_live_money_without_a_grant_and_a_mode_the_house_has_not_are_refused(settings: Settings) -> None:
    async def play() -> None:
        write(settings.root, report={"at": "14:10", "mode": "live"})
        async with living(settings, MemoryBus(), "2025-10-15 14:00:00") as service:
            await service.at("2025-10-15 14:11:00")
            (run,) = service.store.recent(None, None, 9)
            assert (run.state, run.error) == (
                "FAILED",
                "mode: live: on the simulated exchange everything is paper",
            )
            assert service.begun == []

    asyncio.run(play())
