"""Backtest: vnpy's eight strategies and MaRsi through vnpy's engine and ours, in turn, on the same year of minutes.

Timed from the loaded history to the trades, nothing computed before: ours begins with columns and makes its bars and
indicators inside the measured time, vnpy's begins with its finished bars. Equal trades are checked first.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from arbig.backtest import engine
from arbig.backtest.plan import Matching, Plan, StrategyPlan
from arbig.backtest.result import Result
from arbig.backtest.series import BarSeries
from arbig.bench import peer
from arbig.bench.house import BenchFailed
from arbig.lab.desk import Desk
from arbig.runtime.loader import load_class

SYMBOL, FIRST_DAY = "au2512", date(2024, 11, 18)
WARMUP_DAYS = 20
SYMBOLS_IN_MEMORY = 50
TWIN_IMPORTS = (
    ("from arbig import ArrayManager, BarData, CtaTemplate, Range", "from arbig import Range"),
    ("class MaRsiStrategy", "from vnpy_ctastrategy import ArrayManager, BarData, CtaTemplate\n\n\nclass MaRsiStrategy"),
)
"""MaRsi for vnpy's engine: the same file, its template and its array manager vnpy's."""


@dataclass(frozen=True)
class Candidate:
    name: str
    ours: Any
    theirs: Any


def run(folder: Path, days: int, rounds: int) -> dict[str, Any]:
    place = folder / "backtest"
    desk = Desk(history=place / "bars")
    series, start, end = _history(desk, days)
    bars = peer.bars_of(series)
    candidates = _candidates(desk, place)
    warm = _seconds(partial(_warm, desk, candidates, series, start))
    rows = [_measured(desk, one, series, bars, start, end, rounds) for one in candidates]
    return {
        "bars": len(series) - series.first_of(start),
        "days": days,
        "warm_up_s": round(warm, 2),
        "strategies": rows,
        "equal_trades": all(row["equal_trades"] for row in rows),
        "median_ratio": round(median(row["ratio"] for row in rows), 2),
        "least_ratio": min(row["ratio"] for row in rows),
        "median_realistic_ratio": round(median(row["realistic_ratio"] for row in rows), 2),
        "memory_mb": _memory(series),
    }


def _history(desk: Desk, days: int) -> tuple[BarSeries, date, date]:
    first = desk.calendar.day_from(FIRST_DAY)
    every = desk.calendar.days_between(first, desk.calendar.last)[: days + WARMUP_DAYS]
    shutil.rmtree(desk.history.folder, ignore_errors=True)
    series = desk.history.generate(SYMBOL, every[0], every[-1], seed=1, progress=False)
    return series, every[WARMUP_DAYS], every[-1]


def _candidates(desk: Desk, place: Path) -> list[Candidate]:
    found = []
    for module, name in peer.STRATEGIES:
        file = peer.strategy_file(module)
        found.append(Candidate(name, load_class(file, name), peer.strategy_class(file, name)))
    file = desk.settings.root / "strategies" / "ma_rsi.py"
    twin = place / "ma_rsi_for_vnpy.py"
    text = file.read_text(encoding="utf-8")
    for ours, theirs in TWIN_IMPORTS:
        if ours not in text:
            raise BenchFailed(f"{file}: found no {ours!r}; vnpy's engine is given this file with vnpy's imports")
        text = text.replace(ours, theirs, 1)
    twin.write_text(text, encoding="utf-8")
    return [
        *found,
        Candidate("MaRsiStrategy", load_class(file, "MaRsiStrategy"), peer.strategy_class(twin, "MaRsiStrategy")),
    ]


def _warm(desk: Desk, candidates: list[Candidate], series: BarSeries, start: date) -> None:
    """Everything imported and compiled, by a day of each."""
    for one in candidates:
        for matching in Matching:
            _ours(desk, one, series.days(series.trading_day[0].astype(date), start), start, start, matching)


def _measured(
    desk: Desk, one: Candidate, series: BarSeries, bars: list[Any], start: date, end: date, rounds: int
) -> dict[str, Any]:
    """The best of some rounds, the engines taking turns."""
    first = series.first_of(start)
    count = len(series) - first
    equal = _is_equal(_ours(desk, one, series, start, end), _theirs(desk, one, bars, first))
    seconds: dict[str, list[float]] = {"ours": [], "theirs": [], "realistic": []}
    for _ in range(rounds):
        seconds["theirs"].append(_seconds(partial(peer.run, peer_engine(desk, one, bars, first))))
        for name, matching in (("ours", Matching.VNPY), ("realistic", Matching.REALISTIC)):
            seconds[name].append(_seconds(partial(_ours, desk, one, _fresh(series), start, end, matching)))
    ours, theirs, real = (min(seconds[name]) for name in ("ours", "theirs", "realistic"))
    return {
        "name": one.name,
        "equal_trades": equal,
        "bars_per_s": round(count / ours),
        "vnpy_bars_per_s": round(count / theirs),
        "ratio": round(theirs / ours, 2),
        "realistic_ratio": round(theirs / real, 2),
    }


def _ours(
    desk: Desk, one: Candidate, series: BarSeries, start: date, end: date, matching: Matching = Matching.VNPY
) -> Result:
    strategy = StrategyPlan(one.ours, one.name, (series.vt_symbol,), capital=100_000_000.0)
    plan = Plan((strategy,), {series.vt_symbol: series}, start, end, desk.book, desk.calendar, matching)
    result = engine.run(plan)
    if result.failures and matching is Matching.VNPY:
        raise BenchFailed(f"{one.name}: {result.failures[0].reason}")
    return result


def peer_engine(desk: Desk, one: Candidate, bars: list[Any], first: int) -> Any:
    instrument = desk.book.get(SYMBOL)
    return peer.engine(one.theirs, bars, first, {}, size=instrument.size, tick=instrument.price_tick)


def _theirs(desk: Desk, one: Candidate, bars: list[Any], first: int) -> Any:
    return peer.run(peer_engine(desk, one, bars, first))


def _is_equal(ours: Result, theirs: Any) -> bool:
    return bool(ours.trades) and peer.trade_rows(ours.trades) == peer.trade_rows(theirs.get_all_trades())


def _fresh(series: BarSeries) -> BarSeries:
    """The same rows, of which nothing is known yet."""
    return series.rows(0, len(series))


def _seconds(step: Callable[[], object]) -> float:
    """Processor time: a neighbour on the machine does not count."""
    began = time.process_time()
    step()
    return time.process_time() - began


MEMORY = """
import sys
import numpy as np
import psutil
from arbig.backtest.series import BarSeries
from arbig.domain.messages import Exchange
before = psutil.Process().memory_info().rss
rows, symbols = int(sys.argv[1]), int(sys.argv[2])
kept = [
    BarSeries("au2512", Exchange.SHFE, np.arange(rows).astype("datetime64[s]"),
              np.arange(rows).astype("datetime64[D]"), *(np.random.rand(rows) for _ in range(7)))
    for _ in range(symbols)
]
print(psutil.Process().memory_info().rss - before)
"""


def _memory(series: BarSeries) -> int:
    """Megabytes that 50 such series take, measured in a process of its own."""
    words = [sys.executable, "-c", MEMORY, str(len(series)), str(SYMBOLS_IN_MEMORY)]
    answer = subprocess.run(words, capture_output=True, text=True, check=True)
    return round(int(answer.stdout) / 2**20)
