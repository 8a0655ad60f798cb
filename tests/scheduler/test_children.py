"""A run's child, for real: however it ends, its state, the cell and the archive are right; nothing of it lives on."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from arbig.domain.messages import SHANGHAI
from arbig.runtime.settings import Settings, load_settings
from arbig.scheduler.launcher import Child, Outcome, launch, make_report
from arbig.store.runs import Run

pytestmark = pytest.mark.processes
ROOT = Path(__file__).parents[2]
DUE = datetime(2025, 10, 15, 15, 5, tzinfo=SHANGHAI)
PATIENCE = timedelta(minutes=4)
LOT = "lots = 1\nday = None"
NOTEBOOKS = {
    "tells": (LOT, "print(day, lots * 2)"),
    "errs": (LOT, "2 / 0", "3"),
    "dies": ("import os, signal", "os.kill(os.getpid(), signal.SIGKILL)"),
    "sleeps": ("import time\nprint('begun')", "open('asleep', 'w').close()\ntime.sleep(600)"),
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    shutil.copytree(ROOT / "config", tmp_path / "config")
    (tmp_path / "notebooks").mkdir()
    for name, texts in NOTEBOOKS.items():
        made = new_notebook(cells=[new_code_cell(text) for text in texts])
        made.cells[0].metadata = {"tags": ["parameters"]} if texts[0] is LOT else {}
        nbformat.write(made, tmp_path / "notebooks" / f"{name}.ipynb")
    return load_settings(root=tmp_path, data=tmp_path / "data", port_offset=0)


async def begun(settings: Settings, name: str, **parameters: object) -> tuple[Run, Child]:
    run = Run(
        run_id=f"{name}-1", name=name, trading_day=DUE.date(), due=DUE, state="RUNNING", attempt=1,
        folder=f"runs/2025-10-15/{name}-150500",
    )  # fmt: skip
    return run, await launch(settings, run, settings.root / "notebooks" / f"{name}.ipynb", parameters)


def living(run: Run) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("ARBIG_RUN") == run.run_id and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


async def until(question: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE.total_seconds()):
        while not question():  # noqa: ASYNC110 - files and processes announce nothing
            await asyncio.sleep(0.1)


def ended(settings: Settings, name: str, end: Callable[[Run, Child], Awaitable[Outcome]], **parameters: object) -> Path:
    """The archive's folder, with the outcome in `run.json` as the scheduler would have it."""

    async def play() -> Path:
        run, child = await begun(settings, name, **parameters)
        outcome = await end(run, child)
        await until(lambda: not living(run))
        await make_report(settings, run)
        (child.folder / "outcome").write_text(json.dumps(outcome))
        return child.folder

    return asyncio.run(play())


async def by_itself(run: Run, child: Child) -> Outcome:
    return await child.outcome(PATIENCE)


def outcome_in(folder: Path) -> tuple[str, str | None, int | None]:
    state, error, cell = json.loads((folder / "outcome").read_text())
    return state, error, cell


def test_a_run_gets_its_parameters_and_leaves_a_page_that_fetches_nothing(settings: Settings) -> None:
    folder = ended(settings, "tells", by_itself, lots=4, day="{trading_day}")
    assert outcome_in(folder) == ("DONE", None, None)
    page = (folder / "report.html").read_text("utf-8")
    assert "2025-10-15 8" in page
    assert re.findall(r"(?:src|href)=[\"']?https?:", page) == []
    assert {path.name for path in folder.iterdir()} == {
        "executed.ipynb", "report.html", "run.json", "log.txt", "outcome",
    }  # fmt: skip


def test_an_exception_and_a_dead_kernel_name_the_cell(settings: Settings) -> None:
    errs = ended(settings, "errs", by_itself, lots=2)
    assert outcome_in(errs) == ("FAILED", "ZeroDivisionError: division by zero", 3)  # In[2] is the given parameters
    dies = ended(settings, "dies", by_itself)
    assert outcome_in(dies) == ("FAILED", "its kernel died (killed from outside, or out of memory)", 2)
    assert (dies / "report.html").exists()
    page = (errs / "report.html").read_text("utf-8")
    folds = re.findall(r"(?s)<details( open)?[^>]*>\s*<summary>In \[(.)\]", page)
    assert folds == [("", "1"), (" open", "2"), (" open", "3"), ("", " ")], "code is folded but for what tells"
    assert "errs, 2025-10-15 15:05:00, trading day 交易日 2025-10-15" in page


def test_a_hang_a_sigterm_and_a_kill_are_told_apart_and_leave_what_was_executed(settings: Settings) -> None:
    asleep = settings.root / "notebooks" / "asleep"

    async def sleeping(child: Child) -> None:
        await until(asleep.exists)
        asleep.unlink()

    async def too_long(run: Run, child: Child) -> Outcome:
        await sleeping(child)
        return await child.outcome(timedelta(seconds=0.5))

    async def told(run: Run, child: Child) -> Outcome:
        await sleeping(child)
        os.kill(child.pid, signal.SIGTERM)
        return await child.outcome(PATIENCE)

    async def killed(run: Run, child: Child) -> Outcome:
        await sleeping(child)
        os.kill(child.pid, signal.SIGKILL)
        return await child.outcome(PATIENCE)

    expected = {
        too_long: ("TIMEOUT", "it ran longer than its deadline of 0:00:00.500000"),
        told: ("KILLED", "it was told to end (SIGTERM)"),
        killed: ("KILLED", "its process ended (signal 9)"),
    }
    for way, (state, error) in expected.items():
        folder = ended(settings, "sleeps", way)
        assert outcome_in(folder) == (state, error, 2)
        assert "begun" in (folder / "report.html").read_text("utf-8")
        shutil.rmtree(folder)


def test_a_sigterm_before_the_kernel_is_there_ends_the_run_all_the_same(settings: Settings) -> None:
    async def told_at_once(run: Run, child: Child) -> Outcome:
        await until(lambda: blocks(child.pid, signal.SIGTERM))
        os.kill(child.pid, signal.SIGTERM)
        return await child.outcome(PATIENCE)

    folder = ended(settings, "sleeps", told_at_once)
    assert outcome_in(folder)[:2] == ("KILLED", "it was told to end (SIGTERM)")


def blocks(pid: int, number: signal.Signals) -> bool:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    mask = next(line.split()[1] for line in lines if line.startswith("SigBlk"))
    return bool(int(mask, 16) & 1 << number - 1)
