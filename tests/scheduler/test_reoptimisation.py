"""The weekly re-optimisation on a real stack: where holding longer truly pays it gives the running strategy the better
parameters, where prices are noise it asks a person."""

from __future__ import annotations

import ast
import json
import re
import shutil
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from house import ROOT, House, until

from arbig import Desk

pytestmark = [pytest.mark.processes, pytest.mark.chaos, pytest.mark.timeout(500)]
STRATEGY = Path(__file__).parents[1] / "support" / "strategies" / "evening.py"
FIRST, LAST = "2025-08-18", "2025-10-14"
RISE = 0.008
"""Of a day, beside a volatility of 0.011: holding longer is better, honestly."""
GOLD, SILVER = "Gold-evening", "Silver-evening"
BEFORE = {"minutes": 30, "volume": 2}
WISH = {"strategy": "EveningStrategy", "space": {"minutes": [30, 120, 400]}, "promote": True}
ENTRY = {"notebook": "scheduled/weekly_reoptimisation.ipynb", "at": "22:30", "deadline": "5m"}


def entry(strategy_name: str, symbol: str) -> dict[str, Any]:
    return ENTRY | {"parameters": WISH | {"strategy_name": strategy_name, "symbol": symbol}}


def rising(desk: Desk, made: Desk) -> None:
    """A made contract's bars, made to rise by RISE a day to where the house's own prices begin."""
    made.history.generate("au2512", FIRST, LAST)
    frame = made.history.frame("au2512")
    until_the_end = np.arange(len(frame)) / len(frame) - 1.0
    own = np.log(frame["close"].iloc[-1] / frame["close"].iloc[0])
    factor = np.exp((RISE * len(made.history.days("au2512")) - own) * until_the_end)
    for name in ("open", "high", "low", "close"):
        frame[name] = (frame[name] * factor / 0.02).round() * 0.02
    desk.history.import_frame(frame.drop(columns=["trading_day", "turnover"]), "au2512", stamps="start")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("weekly"), port_offset=3950)
    shutil.copytree(ROOT / "notebooks" / "scheduled", house.home / "notebooks" / "scheduled")
    shutil.copy(STRATEGY, house.home / "strategies")
    for path in (house.config / "strategies").glob("*.yaml"):
        path.unlink()
    for name, symbol in ((GOLD, "au2512"), (SILVER, "ag2512")):
        what = {"strategy_name": name, "class_name": "EveningStrategy", "symbol": symbol, "params": BEFORE}
        house.edit(f"strategies/{name}.yaml", **what)
    house.edit("simulation.yaml", speed=60)  # the Scheduler is there before 22:30
    house.edit("schedule.yaml", schedule={"gold": entry(GOLD, "au2512"), "silver": entry(SILVER, "ag2512")})
    desk = Desk(root=house.home, data=house.data)
    rising(desk, Desk(root=house.home, data=house.home / "made"))
    desk.history.generate("ag2512", FIRST, LAST)
    with house.running():
        yield house


def ended(house: House, name: str) -> dict[str, Any]:
    """The run that its time has begun."""

    def over() -> Any:
        runs = [run for run in house.ask("scheduler", "GET", "/runs")["runs"] if run["name"] == name]
        return [run for run in runs if run["ended"] and (house.data / run["folder"] / "report.html").exists()]

    (found,) = until(over, 400, f"the end of {name}")
    assert (found["trading_day"], found["due"], found["asked_by"]) == ("2025-10-15", "2025-10-14T22:30:00", None)
    return dict(found)


def running(house: House, name: str) -> dict[str, Any]:
    strategies = house.ask("strategy", "GET", "/strategies")["strategies"]
    return next(one for one in strategies if one["strategy_name"] == name)


def told(house: House, run: dict[str, Any]) -> str:
    """The page of the report as a person reads it: without what is folded away."""
    page = (house.data / run["folder"] / "report.html").read_text("utf-8")
    seen = re.sub(r"(?s)<(style|details|title)>.*?</\1>|<[^>]+>", " ", page)
    return "\n".join(line for part in unescape(seen).splitlines() if (line := " ".join(part.split())))


def archived(house: House, run: dict[str, Any]) -> dict[str, Any]:
    folder = house.data / run["folder"]
    assert {path.name for path in folder.iterdir()} == {"executed.ipynb", "report.html", "run.json", "log.txt"}
    found: dict[str, Any] = json.loads((folder / "run.json").read_text("utf-8"))
    assert (found["state"], found["error"], found["name"]) == ("DONE", None, run["name"])
    return found


def test_past_its_three_gates_the_running_strategy_gets_the_best_parameters(house: House) -> None:
    before = running(house, GOLD)
    run = ended(house, "gold")
    after, report = running(house, GOLD), told(house, run)
    print(report)
    assert (run["state"], run["error"], run["attempt"]) == ("DONE", None, 1)
    assert before["parameters"] == BEFORE
    assert (after["state"], after["parameters"]) == ("RUNNING", {"minutes": 400, "volume": 2})
    assert after["run_id"] != before["run_id"]
    written = yaml.safe_load((house.config / "strategies" / f"{GOLD}.yaml").read_text("utf-8"))
    assert written["params"] == {"minutes": 400, "volume": 2}
    assert report.count("open 通过 |") == 3
    assert f"promoted 已采用: {GOLD} runs with {{'minutes': 400, 'volume': 2}}" in report
    assert "请人决定. To take them" not in report
    assert archived(house, run)["parameters"]["promote"] is True


def test_a_closed_gate_leaves_the_running_parameters_and_names_the_command_for_a_person(house: House) -> None:
    run = ended(house, "silver")
    found, report = running(house, SILVER), told(house, run)
    print(report)
    assert (run["state"], run["error"]) == ("DONE", None)
    assert (found["state"], found["parameters"]) == ("RUNNING", BEFORE)
    assert "closed 未通过 |" in report
    assert "a gate is closed 未过关: a person decides 请人决定" in report
    assert archived(house, run)["parameters"]["strategy_name"] == SILVER
    (words,) = re.findall(r"desk\.edit(\(.*\))", report)
    name, proposed = ast.literal_eval(words)
    desk = Desk(root=house.home, data=house.data)
    assert desk.edit(name, proposed).now.parameters == BEFORE | proposed != BEFORE
    desk.close()


def test_the_running_day_is_not_searched(house: House) -> None:
    """Its first minutes would be a day like any other: they closed a gate that whole days open."""
    desk = Desk(root=house.home, data=house.data)
    assert str(desk.history.days("au2512")[-1]) > LAST
    for name in ("gold", "silver"):
        assert f"36 finished trading days 已完成交易日, {FIRST} to {LAST}" in told(house, ended(house, name))


def test_what_is_searched_has_the_other_parameters_of_the_strategy_that_runs(house: House) -> None:
    """Not those of its class."""
    ended(house, "gold")
    (job,) = (house.data / "sweeps").glob("*au2512*/job.json")
    assert json.loads(job.read_text("utf-8"))["params"] == {"volume": 2}
