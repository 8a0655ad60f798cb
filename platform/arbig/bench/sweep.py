"""Sweep: two hundred parameter sets, ours against vnpy's own brute-force optimiser, on the same history and cores.

Both are timed from the call to the ranked result, their processes' start included; vnpy reads from its database, we
from CSV files. Before a ratio is printed every set's net profit and number of trades must be equal.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from math import isclose
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np

from arbig.bench.brute_force import COLUMNS
from arbig.bench.house import BenchFailed
from arbig.bench.peer import strategy_file
from arbig.lab import stem
from arbig.lab.desk import Desk
from arbig.lab.sweeps import Sweep
from arbig.runtime.loader import load_class

SYMBOL = "au2512"
HISTORY = (date(2025, 5, 6), date(2025, 11, 14))
WARMUP_TRADING_DAYS = 12
WORKERS = 2
TARGET = "total_net_pnl"
COSTS: dict[str, Any] = {"rate": 0.00002, "slippage": 0.02}
CAPITAL = 100_000_000.0


@dataclass(frozen=True)
class Case:
    """One strategy of vnpy_ctastrategy and the sets to try."""

    module: str
    class_name: str
    space: Mapping[str, list[int]]


CASES = (
    Case(
        "double_ma_strategy",
        "DoubleMaStrategy",
        {"fast_window": list(range(5, 25)), "slow_window": list(range(30, 80, 5))},
    ),
    Case(
        "multi_timeframe_strategy",
        "MultiTimeframeStrategy",
        {
            "rsi_window": [8, 11, 14, 17, 20],
            "fast_window": [3, 5, 7, 9],
            "slow_window": [20, 30],
            "rsi_signal": [8, 12, 16, 20, 24],
        },
    ),
)


def run(folder: Path, days: int, sets: int | None = None) -> dict[str, Any]:
    """`days`: trading days that are traded; `sets`: only so many values of every first parameter (None: all)."""
    with TemporaryDirectory(dir=folder) as place:
        desk = Desk(data=Path(place) / "data", history=Path(place) / "bars")
        known = desk.calendar.days_between(*HISTORY)[: WARMUP_TRADING_DAYS + days]
        desk.history.generate(SYMBOL, known[0], known[-1], seed=1)
        return {"days": days, "strategies": [_measured(desk, Path(place), case, days, sets) for case in CASES]}


def _measured(desk: Desk, place: Path, case: Case, days: int, sets: int | None) -> dict[str, Any]:
    space = {name: values[:sets] for name, values in case.space.items()}
    known = desk.history.days(SYMBOL)
    start, end = known[WARMUP_TRADING_DAYS], known[WARMUP_TRADING_DAYS + days - 1]
    kind = load_class(strategy_file(case.module), case.class_name)
    stem.close()  # a process of ours that is still there from the sweep before would be a start not timed
    begun = perf_counter()
    ours = desk.sweep(
        kind, SYMBOL, start, end, space, capital=CAPITAL, matching="vnpy", target=TARGET, workers=WORKERS,
        folder=place / case.class_name, progress=False, **COSTS,
    )  # fmt: skip
    seconds = perf_counter() - begun
    assert isinstance(ours, Sweep)
    theirs = _brute_force(desk, place, case, space, start, end)
    return {
        "name": case.class_name,
        "sets": len(ours.finished),
        "seconds": round(seconds, 2),
        "vnpy_seconds": round(theirs["seconds"], 2),
        "ratio": round(theirs["seconds"] / seconds, 2),
        "equal": _equal(ours, theirs["rows"]),
        "trades": int(ours.rows["total_trade_count"].sum()),
    }


def _brute_force(
    desk: Desk, place: Path, case: Case, space: Mapping[str, list[int]], start: Any, end: Any
) -> dict[str, Any]:
    home = place / f"vnpy-{case.class_name}"
    (home / ".vntrader").mkdir(parents=True)
    bars = desk.history.bars(SYMBOL, None, end)
    np.savez(home / "bars.npz", **{name: getattr(bars, name) for name in COLUMNS})
    instrument = desk.book.get(SYMBOL, start)
    order = {
        "bars": str(home / "bars.npz"),
        "answer": str(home / "answer.json"),
        "module": f"vnpy_ctastrategy.strategies.{case.module}",
        "class_name": case.class_name,
        "vt_symbol": instrument.vt_symbol,
        "start": str(bars.datetime[bars.first_of(start)]),
        "end": str(end),
        "size": instrument.size,
        "price_tick": instrument.price_tick,
        "capital": CAPITAL,
        "target": TARGET,
        "space": space,
        "workers": WORKERS,
        **COSTS,
    }
    (home / "order.json").write_text(json.dumps(order))
    done = subprocess.run(
        [sys.executable, "-m", "arbig.bench.brute_force", str(home / "order.json")],
        cwd=home,
        env={**os.environ, "HOME": str(home), "TZ": "Asia/Shanghai"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    if done.returncode:
        raise BenchFailed(f"vnpy's optimiser failed: {done.stderr.strip().splitlines()[-1]}")
    answer: dict[str, Any] = json.loads((home / "answer.json").read_text())
    return answer


def _equal(ours: Sweep, theirs: list[dict[str, Any]]) -> bool:
    """Every set's trades to the last one, its profit up to the order of adding."""
    mine = {
        json.dumps(row.task.params, sort_keys=True): (row.statistics[TARGET], row.statistics["total_trade_count"])
        for row in ours.finished
    }
    others = {json.dumps(row["params"], sort_keys=True): (row["target"], row["trades"]) for row in theirs}
    return mine.keys() == others.keys() and all(
        isclose(mine[key][0], others[key][0], rel_tol=1e-9, abs_tol=1e-3) and mine[key][1] == others[key][1]
        for key in mine
    )
