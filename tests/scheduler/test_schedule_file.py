"""config/schedule.yaml: what is wrong with an entry is one line that mends it, and stops no other entry."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from arbig.runtime.calendar import load_calendar
from arbig.runtime.instruments import load_instruments
from arbig.runtime.settings import Settings, SettingsError, load_settings
from arbig.scheduler.configuration import Schedule, load_schedule

ROOT = Path(__file__).parents[2]
CELL = {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": ["symbol = 'au2512'\n", "lots = 1"]}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    shutil.copytree(ROOT / "config", tmp_path / "config")
    notebooks = tmp_path / "notebooks"
    notebooks.mkdir()
    (notebooks / "report.ipynb").write_text(json.dumps({"cells": [CELL], "metadata": {}}))
    (notebooks / "plain.ipynb").write_text(json.dumps({"cells": [], "metadata": {}}))
    (notebooks / "broken.ipynb").write_text("no notebook")
    return load_settings(root=tmp_path, data=tmp_path / "data", port_offset=0)


def loaded(settings: Settings, text: str | dict[str, Any]) -> Schedule:
    words = text if isinstance(text, str) else json.dumps({"schedule": text})
    (settings.config / "schedule.yaml").write_text(words)
    return load_schedule(settings, load_instruments(settings), load_calendar(settings))


GOOD = {"notebook": "report.ipynb", "after_day_close": "5m"}
MA_RSI = "MaRsiStrategy"


@pytest.mark.parametrize(
    ("name", "entry", "line"),
    [
        (
            "x",
            {"notebook": "repotr.ipynb", "at": "15:05"},
            "repotr.ipynb is not there. Did you mean: report?",
        ),
        ("x", {"notebook": "../../etc/x.ipynb", "at": "15:05"}, "expected a file under notebooks/"),
        ("x", {"notebook": "broken.ipynb", "at": "15:05"}, "notebooks/broken.ipynb is not a notebook"),
        ("x", {"notebook": "plain.ipynb", "at": "15:05", "parameters": {"lots": 2}}, "has no cell tagged parameters"),
        ("x", GOOD | {"parameters": {"lotz": 2}}, "has no parameter 'lotz'. Did you mean: lots?"),
        ("x", {"notebook": "report.ipynb"}, "found no time, expected exactly one of before_night_open"),
        ("x", GOOD | {"at": "15:05"}, "found after_day_close, at, expected exactly one of"),
        ("x", GOOD | {"deadline": "soon"}, "deadline: found 'soon', expected a span of time"),
        ("x", GOOD | {"on_end": "sell"}, "on_end: found 'sell', expected one of 'keep', 'stop' or 'flatten'"),
        ("x", GOOD | {"dedline": "5m"}, "dedline: unknown key. Did you mean: deadline?"),
        ("x", {"notebook": "report.ipynb", "at": 1505}, "at: found 1505"),
        ("x", {"notebook": "report.ipynb", "cron": "0 10 * * 6"}, "found weekday '6'"),
        ("x", {"notebook": "report.ipynb", "before_night_open": "1m", "symbol": "ec2512"}, "has no night session"),
        ("x", GOOD | {"symbol": "xx2512"}, "symbol: xx2512"),
        ("GOOD", GOOD, "found the name of good again"),
        (MA_RSI, GOOD, "a strategy in config/strategies has this name"),
        ("daily report", GOOD, "expected letters, digits, _ and -"),
        ("x", "report", "schedule.x: found 'report', expected keys and values"),
    ],
)
def test_a_bad_entry_is_one_line_and_the_good_one_beside_it_runs(
    settings: Settings, name: str, entry: Any, line: str
) -> None:
    found = loaded(settings, {"good": GOOD, name: entry})
    (problem,) = found.problems
    assert line in problem
    assert problem.startswith("config/schedule.yaml: schedule.")
    assert "\n" not in problem
    assert list(found.entries) == ["good"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("schedule: [", "config/schedule.yaml: line 1"),
        ("schedule: [report]", "config/schedule.yaml: schedule: found list"),
        ("entries: {}", "config/schedule.yaml: entries: unknown key"),
        ("schedule:\n  a: {notebook: report}\n  a: {notebook: report}\n", "key 'a' stands twice"),
    ],
)
def test_a_broken_file_is_one_line(settings: Settings, text: str, line: str) -> None:
    with pytest.raises(SettingsError) as refused:
        loaded(settings, text)
    assert line in str(refused.value)
    assert "\n" not in str(refused.value)


def test_no_file_and_an_empty_one_schedule_nothing(settings: Settings) -> None:
    (settings.config / "schedule.yaml").unlink(missing_ok=True)
    assert load_schedule(settings, load_instruments(settings), load_calendar(settings)) == Schedule({})
    assert loaded(settings, "") == Schedule({})


def test_the_schedule_that_is_shipped_has_no_problem_and_runs_the_daily_report_alone() -> None:
    settings = load_settings(root=ROOT)
    shipped = load_schedule(settings, load_instruments(settings), load_calendar(settings))
    assert shipped.problems == ()
    assert [entry.name for entry in shipped.entries.values() if entry.config.enabled] == ["daily_report"]
