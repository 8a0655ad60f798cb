"""Runs on a real stack: however one ends, its state, archive and alarm are right, and what it wanted is done once."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest
from house import House, until
from nbformat.v4 import new_code_cell, new_notebook

pytestmark = pytest.mark.processes
PARAMETERS = {"tags": ["parameters"]}
WANT = "from arbig import Desk\nwish = Desk().target('au2512', lots, intent='{trading_day}-' + name)\nwish.wait(120)"
NOTEBOOKS = {
    "buys": ("lots = 1\nname = 'buys'", WANT, "wish"),
    "errs": ("lots = 1", "2 / 0", "3"),
    "dies": ("import os, signal", "os.kill(os.getpid(), signal.SIGKILL)"),
    "hangs": ("import time\nprint('begun')", "time.sleep(600)"),
    "deploys": (
        "name = ''",
        "from arbig import Desk\nrun = Desk().deploy('BreakoutStrategy', 'au2512', strategy_name=name)",
    ),
}
ENTRIES: dict[str, dict[str, Any]] = {
    "buys": {"parameters": {"lots": 2}},
    "errs": {"parameters": {"lots": 3}},
    "dies": {},
    "hangs": {"deadline": "15s"},
    "told": {"notebook": "hangs"},
    "starts_again": {"notebook": "waits", "retries": 1, "keep_intents": True},
    "leaves": {"notebook": "deploys", "parameters": {"name": "Left"}},
    "stops": {"notebook": "deploys", "parameters": {"name": "Stopped"}, "on_end": "stop"},
    "buys_and_goes": {"notebook": "buys", "parameters": {"lots": 1}, "on_end": "flatten"},
}
WAITS = """
import pathlib, time
from arbig import Desk
wish = Desk().target("au2512", -1, intent="{trading_day}-once")
said = pathlib.Path("said")
if not said.exists():
    said.write_text(wish.id)
    time.sleep(600)
wish.wait(120)
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("runs"), port_offset=2950)
    house.edit("market.yaml", history_days=2)
    folder = house.home / "notebooks"
    folder.mkdir()
    for name, cells in (NOTEBOOKS | {"waits": ("", WAITS)}).items():
        made = new_notebook(cells=[new_code_cell(text) for text in cells if text])
        made.cells[0].metadata = PARAMETERS if cells[0].startswith(("lots", "name")) else {}
        nbformat.write(made, folder / f"{name}.ipynb")
    entries = {name: {"notebook": name, "at": "20:30", "deadline": "3m"} | entry for name, entry in ENTRIES.items()}
    (house.config / "schedule.yaml").write_text(json.dumps({"schedule": entries}))
    with house.running():
        yield house


def run_of(house: House, name: str) -> dict[str, Any]:
    return next(run for run in house.ask("scheduler", "GET", "/runs")["runs"] if run["name"] == name)


def ended(house: House, name: str) -> dict[str, Any]:
    def over() -> bool:
        run = run_of(house, name)
        return run["state"] not in ("DUE", "RUNNING") and (house.data / run["folder"] / "report.html").exists()

    until(over, 300, f"the end of {name}")
    return run_of(house, name)


def begin(house: House, name: str) -> None:
    told = house.ask("scheduler", "POST", f"/schedule/{name}/run")
    assert told["state"] in ("DUE", "RUNNING"), told


def processes_of(run_id: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("ARBIG_RUN") == run_id:
                found.append(process)
        except psutil.Error:
            continue
    return found


def alarms(house: House) -> list[str]:
    entries = house.redis("XRANGE", "stream:event", "-", "+")
    said = [json.loads(entry[1][1]) for entry in entries]
    return [each["message"] for each in said if each["event"] == "ALARM" and each["source"] == "scheduler"]


def test_a_notebook_decides_its_book_holds_it_and_the_archive_tells_it(house: House) -> None:
    begin(house, "buys")
    run = ended(house, "buys")
    until(lambda: run_of(house, "buys")["intents"], 60, "its end is settled")
    run = run_of(house, "buys")
    (intent,) = run["intents"]
    assert (run["state"], run["attempt"], run["error"], run["cell"]) == ("DONE", 1, None, None)
    assert (intent["state"], intent["target"], intent["strategy_name"]) == ("DONE", 2, "buys")
    assert len(run["orders"]) >= 1
    books = house.ask("trading", "GET", "/positions")["strategies"]
    assert [book["volume"] for book in books if book["strategy_name"] == "buys"] == [2]
    folder = house.data / run["folder"]
    assert {path.name for path in folder.iterdir()} == {"executed.ipynb", "report.html", "run.json", "log.txt"}
    assert json.loads((folder / "run.json").read_text())["orders"] == run["orders"]
    page = (folder / "report.html").read_text("utf-8")
    assert "+2 au2512" in page
    assert re.findall(r"(?:src|href)=[\"']?https?:", page) == []
    notebook = json.loads((folder / "executed.ipynb").read_text())
    assert notebook["metadata"]["kernelspec"].get("name", "python3") == "python3"


def test_an_exception_a_dead_kernel_and_a_hang_are_told_apart(house: House) -> None:
    for name in ("errs", "dies", "hangs"):
        begin(house, name)
    found = {name: ended(house, name) for name in ("errs", "dies", "hangs")}
    assert {name: (run["state"], run["cell"], run["error"]) for name, run in found.items()} == {
        "errs": ("FAILED", 3, "ZeroDivisionError: division by zero"),  # In[2] is the injected parameters
        "dies": ("FAILED", 2, "its kernel died (killed from outside, or out of memory)"),
        "hangs": ("TIMEOUT", found["hangs"]["cell"], "it ran longer than its deadline of 0:00:15"),
    }
    said = alarms(house)
    for name, run in found.items():
        assert [name in line and run["state"] in line for line in said].count(True) == 1, said
        assert processes_of(run["run_id"]) == []


@pytest.mark.chaos
def test_a_run_told_to_end_says_so_and_leaves_what_was_executed(house: House) -> None:
    begin(house, "told")
    executed = lambda: house.data / run_of(house, "told")["folder"] / "executed.ipynb"
    until(lambda: "begun" in executed().read_text(), 60, "its first cell")
    group = processes_of(run_of(house, "told")["run_id"])
    next(one for one in group if "arbig.scheduler.runner" in one.cmdline()).terminate()
    run = ended(house, "told")
    assert (run["state"], run["error"]) == ("KILLED", "it was told to end (SIGTERM)")
    assert [line for line in alarms(house) if "told" in line and "KILLED" in line]
    assert processes_of(run["run_id"]) == []


@pytest.mark.chaos
def test_the_end_of_a_run_keeps_stops_or_closes_what_it_has_begun(house: House) -> None:
    for name in ("leaves", "stops", "buys_and_goes"):
        begin(house, name)
    for name in ("leaves", "stops", "buys_and_goes"):
        assert "DONE" == ended(house, name)["state"]
    strategies = lambda: {
        one["strategy_name"]: one for one in house.ask("strategy", "GET", "/strategies")["strategies"]
    }
    until(lambda: strategies()["Stopped"]["state"] == "STOPPED", 30, "what the run deployed is stopped")
    assert strategies()["Left"]["state"] == "RUNNING"
    held = lambda: [
        book["volume"]
        for book in house.ask("trading", "GET", "/positions")["strategies"]
        if book["strategy_name"] == "buys_and_goes"
    ]
    until(lambda: held() in ([], [0]), 120, "what it bought is closed")
    assert run_of(house, "buys_and_goes")["orders"]


def test_a_scheduler_killed_in_the_middle_of_a_run_neither_loses_nor_doubles_what_it_wanted(house: House) -> None:
    begin(house, "starts_again")
    said = house.home / "notebooks" / "said"
    until(said.exists, 300, "the intent is said")
    before = run_of(house, "starts_again")
    house.kill("scheduler")
    until(lambda: run_of(house, "starts_again")["state"] == "DONE", 300, "the second attempt")
    after = run_of(house, "starts_again")
    assert (after["run_id"], after["due"], after["attempt"]) == (before["run_id"], before["due"], 2)
    (intent,) = house.ask("trading", "GET", f"/intents?run_id={after['run_id']}")["intents"]
    assert (intent["id"], intent["state"]) == (said.read_text(), "DONE")
    assert sum(order["traded"] for order in intent["orders"]) == 1
    books = house.ask("trading", "GET", "/positions")["strategies"]
    assert [book["volume"] for book in books if book["strategy_name"] == "starts_again"] == [-1]
    former = Path(house.data / after["folder"])
    assert (former / "executed-1.ipynb").exists()
