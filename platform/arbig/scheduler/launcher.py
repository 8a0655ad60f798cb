"""Scheduler: a run's child, a process group of its own, from its start to its end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from arbig.runtime.files import write_whole
from arbig.runtime.settings import Settings
from arbig.scheduler.runner import EXECUTED, ORDER, OUTCOME, REPORT, last_cell
from arbig.store.runs import Run

GRACE_SECONDS = 7.0
"""supervisord waits ten seconds for the scheduler itself."""
REPORT_SECONDS = 60.0
RUN, NAME, DAY, FOLDER = "ARBIG_RUN", "ARBIG_RUN_NAME", "ARBIG_RUN_DAY", "ARBIG_RUN_FOLDER"
DEFAULT_SPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}


class Outcome(NamedTuple):
    state: str
    error: str | None = None
    cell: int | None = None


class Child:
    """`why` is set when the scheduler itself ends it: the state and the words that its end then gets."""

    def __init__(self, process: asyncio.subprocess.Process, folder: Path) -> None:
        self.process = process
        self.folder = folder
        self.why: tuple[str, str] | None = None

    @property
    def pid(self) -> int:
        return self.process.pid

    async def outcome(self, deadline: timedelta) -> Outcome:
        try:
            async with asyncio.timeout(deadline.total_seconds()):
                await self.process.wait()
        except TimeoutError:
            await self.end("TIMEOUT", f"it ran longer than its deadline of {deadline}")
        _end_group(self.pid)
        return self._outcome()

    async def end(self, state: str, words: str) -> None:
        """SIGTERM first, SIGKILL when that is not enough."""
        self.why = self.why or (state, words)
        with suppress(ProcessLookupError):
            self.process.terminate()
        try:
            async with asyncio.timeout(GRACE_SECONDS):
                await self.process.wait()
        except TimeoutError:
            _end_group(self.pid)
            await self.process.wait()

    def _outcome(self) -> Outcome:
        path = self.folder / OUTCOME
        try:
            said = Outcome(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            code = self.process.returncode or 0
            how = f"signal {-code}" if code < 0 else f"exit code {code}, see {self.folder.name}/log.txt"
            said = Outcome("KILLED", f"its process ended ({how})", last_cell(self.folder))
        path.unlink(missing_ok=True)
        return said if self.why is None else Outcome(*self.why, said.cell)


def _end_group(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def end_orphans(run: Run) -> None:
    """What a dead scheduler's run still does: its process group, when it is really that one."""
    if run.pid is None:
        return
    import psutil

    with suppress(psutil.Error, OSError):
        if psutil.Process(run.pid).environ().get(RUN) == run.run_id:
            _end_group(run.pid)


async def launch(settings: Settings, run: Run, notebook: Path, parameters: Mapping[str, Any]) -> Child:
    """Raises OSError."""
    folder = settings.data / str(run.folder)
    keep_former(folder, run.attempt)
    order = {
        "run_id": run.run_id,
        "name": run.name,
        "trading_day": run.trading_day.isoformat(),
        "due": run.due.replace(tzinfo=None).isoformat(),
        "attempt": run.attempt,
        "notebook": str(notebook),
        "kernelspec": _kernelspec(notebook),
        "cwd": str(settings.root / "notebooks"),
        "parameters": filled(parameters, run),
    }
    write_whole(folder / ORDER, json.dumps(order, ensure_ascii=False, indent=1))
    return Child(await _started(settings, run, folder), folder)


async def make_report(settings: Settings, run: Run) -> None:
    """Of what was executed, when the run itself could not."""
    folder = settings.data / str(run.folder)
    if (folder / REPORT).exists() or not (folder / EXECUTED).exists():
        return
    process = await _started(settings, run, folder, "--report")
    try:
        async with asyncio.timeout(REPORT_SECONDS):
            await process.wait()
    except TimeoutError:
        _end_group(process.pid)


async def _started(settings: Settings, run: Run, folder: Path, *words: str) -> asyncio.subprocess.Process:
    environment = {
        **os.environ,
        "ARBIG_ROOT": str(settings.root),
        "ARBIG_CONFIG": str(settings.config),
        "ARBIG_DATA": str(settings.data),
        "ARBIG_PORT_OFFSET": str(settings.port_offset),
        "ARBIG_SERVICE": "scheduler",
        "PYTHONWARNINGS": "ignore",
        RUN: run.run_id,
        NAME: run.name,
        DAY: run.trading_day.isoformat(),
        FOLDER: str(folder),
    }
    with (folder / "log.txt").open("ab") as log:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "arbig.scheduler.runner", str(folder), *words),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=settings.root,
            env=environment,
            start_new_session=True,
        )


def keep_former(folder: Path, attempt: int) -> None:
    """An earlier attempt's archive keeps a name of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (EXECUTED, REPORT):
        path = folder / name
        if path.exists():
            path.rename(folder / f"{path.stem}-{attempt - 1}{path.suffix}")


def filled(parameters: Mapping[str, Any], run: Run) -> dict[str, Any]:
    """`{trading_day}` in a text parameter is the run's."""
    return {
        name: value.replace("{trading_day}", run.trading_day.isoformat()) if isinstance(value, str) else value
        for name, value in parameters.items()
    }


def _kernelspec(notebook: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(notebook.read_text(encoding="utf-8")).get("metadata", {})
    return dict(found.get("kernelspec", DEFAULT_SPEC))
