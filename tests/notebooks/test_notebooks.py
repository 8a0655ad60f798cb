"""Notebooks: they run from top to bottom without a network, show what they showed when saved, and stay small."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
EVERY = sorted((ROOT / "notebooks").glob("*.ipynb"))
LIVE = ("06_author_and_deploy", "07_live_desk", "08_schedule", "10_daily_report")
"""They need a running stack: test_live_notebooks.py."""
LONG = ("09_train_and_serve",)
"""They train and serve on Ray, a minute and a half: make chaos runs them."""
NOTEBOOKS = [
    pytest.param(path, id=path.stem, marks=[pytest.mark.chaos] if path.stem in LONG else [])
    for path in EVERY
    if path.stem not in LIVE
]
SANITISE = Path(__file__).with_name("sanitise.cfg")
CHINESE = re.compile(r"[\u4e00-\u9fff]")
PRIVATE = re.compile(r"/root/|/home/|/tmp/|/work/|/Users/|[A-Za-z]:\\\\|api[_-]?key|BEGIN .*PRIVATE KEY", re.IGNORECASE)
EXPECTED = ("01_data", "02_design", "03_backtest", "04_sweep", "05_parity", "09_train_and_serve", *LIVE)


def cells(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return found


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A copy of what a notebook needs beside it; what it writes stays there, and no other notebook sees it."""
    for name in ("config", "strategies", "notebooks"):
        shutil.copytree(
            ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns(".ipynb_checkpoints", "__pycache__")
        )
    return tmp_path


@pytest.mark.parametrize("path", NOTEBOOKS)
def test_a_notebook_shows_again_what_it_showed(path: Path, house: Path) -> None:
    """nbval runs every cell and compares its output; cells whose output may differ are marked one by one."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ARBIG_")}
    run = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "-p", "no:cacheprovider", "-q"),
            *(f"--nbval-sanitize-with={SANITISE}", "--nbval-cell-timeout=200", f"--rootdir={house}"),
            str(house / "notebooks" / path.name),
        ],
        cwd=house / "notebooks",
        env={**environment, "HOME": str(house), "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]


@pytest.mark.parametrize("path", EVERY, ids=[path.stem for path in EVERY])
def test_a_notebook_is_saved_whole_and_small(path: Path) -> None:
    """Under 1 MB, every code cell run in order, no error left in it, no private path; it begins in two languages."""
    code = [cell for cell in cells(path) if cell["cell_type"] == "code"]
    first = cells(path)[0]
    assert path.stat().st_size < 1_000_000
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert [cell for cell in code if any(output["output_type"] == "error" for output in cell["outputs"])] == []
    assert PRIVATE.findall(path.read_text(encoding="utf-8")) == []
    assert first["cell_type"] == "markdown" and CHINESE.search("".join(first["source"]))


def test_the_notebooks_a_newcomer_reads_are_there() -> None:
    assert [name for name in EXPECTED if name not in {path.stem for path in EVERY}] == []
