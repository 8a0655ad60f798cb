"""Desk: from a person's words to a run, every wrong word answered in one line, results as tables."""

from __future__ import annotations

import json
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from arbig import BarData, CtaTemplate, Desk, StrategyPlan, StrategyTemplate
from arbig.backtest.plan import Matching
from arbig.backtest.series import TickSeries
from arbig.cli import app

ROOT = Path(__file__).parents[2]
START, END = "2025-09-15", "2025-09-19"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A house with three weeks of gold and silver."""
    place = tmp_path_factory.mktemp("house")
    shutil.copytree(ROOT / "config", place / "config")
    shutil.copytree(ROOT / "strategies", place / "strategies")
    desk = Desk(root=place)
    for symbol in ("au2512", "ag2512"):
        desk.history.generate(symbol, "2025-09-01", END, seed=1, progress=False)
    desk.history.generate("cu2511", START, START, seed=1, ticks=True, progress=False)
    return place


@pytest.fixture
def desk(home: Path) -> Desk:
    return Desk(root=home)


class Once(CtaTemplate):
    """Buys when its `bars`-th bar is over and never again."""

    bars = 5
    price_of: str | None = None
    parameters = ["bars", "price_of"]

    def on_init(self) -> None:
        self.number = 0

    def on_bar(self, bar: BarData) -> None:
        self.number += 1
        if self.number == self.bars:
            self.buy(bar.close_price * 1.01, 1)


class Spread(StrategyTemplate):
    ratio = 1
    parameters = ["ratio"]

    def on_init(self) -> None:
        self.load_bars(2)
        self.sent = False

    def on_bars(self, bars: dict[str, BarData]) -> None:
        gold, silver = self.vt_symbols
        if self.trading and not self.sent and len(bars) == 2:
            self.sent = True
            self.buy(gold, bars[gold].close_price * 1.01, 1)
            self.short(silver, bars[silver].close_price * 0.99, self.ratio)


def test_a_strategy_is_named_by_its_class_or_given_as_one(desk: Desk) -> None:
    named = desk.backtest("MaRsiStrategy", "au2512", START, END, {"fast_window": 12})
    kind = named.plan.strategies[0].kind
    given = desk.backtest(kind, "au2512.SHFE", date(2025, 9, 15), date(2025, 9, 19), {"fast_window": np.int64(12)})
    assert len(named.trades) > 20
    pd.testing.assert_frame_equal(named.trades, given.trades)


def test_a_plan_reads_the_history_before_its_start_for_the_warm_up(desk: Desk) -> None:
    plan = desk.plan("MaRsiStrategy", "au2512", START, END)
    series = plan.series["au2512.SHFE"]
    assert (str(series.trading_day[0]), plan.start, plan.end) == ("2025-09-01", date(2025, 9, 15), date(2025, 9, 19))
    assert not desk.backtest(plan).warnings


def test_tables_tell_the_run(desk: Desk) -> None:
    result = desk.backtest(Once, "au2512", START, END, capital=500_000)
    assert list(result.trades["volume"]) == [1]
    assert list(result.orders["status"]) == ["ALLTRADED"]
    assert list(result.positions["volume"]) == [1]
    assert list(result.daily.index.strftime("%Y-%m-%d")) == [f"2025-09-{day}" for day in (15, 16, 17, 18, 19)]
    assert result.equity.iloc[-1] == result.daily["balance"].iloc[-1]
    assert result.statistics["total_net_pnl"] == pytest.approx(result.equity.iloc[-1] - 500_000)
    assert result.monthly.shape[0] == 1
    assert "500,000.00 ->" in repr(result)
    assert "<table>" in result._repr_html_()
    assert json.loads(json.dumps(result.summary()))["trades"] == 1


def test_several_strategies_each_with_its_own_capital(desk: Desk) -> None:
    both = desk.backtest(
        [
            StrategyPlan(Once, "gold", ("au2512",), {"bars": 3}, 300_000),
            StrategyPlan(Once, "silver", ("ag2512",), {"bars": 7}, 200_000),
        ],
        start=START,
        end=END,
    )
    alone = desk.backtest([StrategyPlan(Once, "silver", ("ag2512",), {"bars": 7}, 200_000)], start=START, end=END)
    assert both.capital == 500_000
    pd.testing.assert_frame_equal(both.daily[both.daily["strategy_name"] == "silver"], alone.daily, check_freq=False)


def test_a_strategy_of_one_contract_runs_once_on_each_of_several(desk: Desk) -> None:
    result = desk.backtest(Once, ["au2512", "ag2512"], START, END)
    assert sorted(result.trades["strategy_name"]) == ["Once.ag2512", "Once.au2512"]


def test_a_spread_trades_its_legs(desk: Desk) -> None:
    result = desk.backtest(Spread, ["au2512", "ag2512"], START, END, {"ratio": 4}, 5_000_000)
    assert sorted(result.trades["vt_symbol"].unique()) == ["ag2512.SHFE", "au2512.SHFE"]
    assert result.result.days[-1].position == {"au2512.SHFE": 1, "ag2512.SHFE": -4}


def test_ticks_are_a_mode(desk: Desk) -> None:
    plan = desk.plan(Once, "cu2511", START, START, mode="tick")
    assert isinstance(plan.series["cu2511.SHFE"], TickSeries)
    assert plan.costs.slippage_ticks == 0
    assert len(desk.backtest(plan).trades) == 1


def test_matching_vnpy_is_another_engine_behind_the_same_words(desk: Desk) -> None:
    result = desk.backtest(Once, "au2512", START, END, matching="vnpy")
    assert result.plan.matching is Matching.VNPY
    assert len(result.trades) == 1


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ({"strategy": "MaRsiStrateg"}, "Did you mean: MaRsiStrategy"),
        ({"strategy": 7}, "expected a strategy class"),
        ({"strategy": []}, "expected a strategy class"),
        ({"symbol": None}, "no symbol; write e.g. 'ag2512'"),
        ({"symbol": []}, "found none"),
        ({"symbol": "ay2512"}, "did you mean au2512"),
        ({"symbol": "au2512.INE"}, "trades on SHFE"),
        ({"symbol": ["au2512", "au2512.SHFE"]}, "each once"),
        ({"symbol": "rb2601"}, r"history\.generate\('rb2601'"),
        ({"start": "2025-09-19", "end": "2025-09-15"}, "exchange them"),
        ({"start": "15.9.2025"}, "expected a trading day"),
        ({"start": "2025-09-13", "end": "2025-09-14"}, "no trading from 2025-09-13"),
        ({"params": {"fast_windw": 3}}, "Did you mean: fast_window"),
        ({"params": {"fast_window": "ten"}}, "expected an integer"),
        ({"params": {"fast_window": 0}}, "fast_window: found 0, expected 1 to 500"),
        ({"params": {"rsi_long": 101}}, "rsi_long: found 101, expected 0 to 100"),
        ({"params": {"rsi_long": float("nan")}}, "found nan, expected 0 to 100"),
        ({"capital": 0}, "yuan above zero"),
        ({"capital": "much"}, "yuan above zero"),
        ({"matching": "real"}, "did you mean 'realistic'"),
        ({"mode": "bars"}, "did you mean 'bar'"),
        ({"slippage_ticks": -1}, "zero or more"),
        ({"volume_share": 20}, "at most 1"),
    ],
)
def test_a_wrong_word_is_answered_in_one_line(desk: Desk, words: dict[str, Any], line: str) -> None:
    """Always a ValueError, never two lines."""
    given = {"strategy": "MaRsiStrategy", "symbol": "au2512", "start": START, "end": END, **words}
    with pytest.raises(ValueError, match=line) as refused:
        desk.backtest(**given)
    assert "\n" not in str(refused.value)


def test_a_list_of_plans_brings_its_own_symbols(desk: Desk) -> None:
    with pytest.raises(ValueError, match="names its own"):
        desk.backtest([StrategyPlan(Once, "one", ("au2512",))], "au2512", START, END)


def test_a_plan_with_legs_for_a_strategy_of_one_contract_is_refused(desk: Desk) -> None:
    with pytest.raises(ValueError, match="trades one contract"):
        desk.backtest([StrategyPlan(Once, "one", ("au2512", "ag2512"))], start=START, end=END)


def test_a_warm_up_longer_than_the_history_names_what_is_missing(desk: Desk) -> None:
    result = desk.backtest("MaRsiStrategy", "au2512", "2025-09-03", END)
    assert "history of au2512.SHFE has a gap: 2025-08-25, 2025-08-26" in result.warnings[0]


def test_a_failing_strategy_leaves_what_it_did(desk: Desk) -> None:
    class Breaks(Once):
        def on_trade(self, trade: Any) -> None:
            raise RuntimeError("said the strategy")

    result = desk.backtest(Breaks, "au2512", START, END)
    assert len(result.trades) == 1
    assert "said the strategy" in repr(result)
    assert "test_desk.py" in result.failures[0].traceback


@pytest.mark.parametrize("matching", list(Matching))
def test_ctrl_c_gives_what_was_done(desk: Desk, matching: Matching) -> None:
    class Stops(Once):
        def on_bar(self, bar: BarData) -> None:
            super().on_bar(bar)
            if self.number == 700:
                raise KeyboardInterrupt

    result = desk.backtest(Stops, "au2512", START, END, matching=matching)
    assert (len(result.trades), len(result.daily)) == (1, 2)
    assert "interrupted" in result.warnings[-1]
    assert "interrupted" in repr(result)


def test_the_command_line_runs_it_too(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(home)
    words = ["backtest", "MaRsiStrategy", "au2512", "--start", START, "--end", END, "--param", "fast_window=12"]
    page = tmp_path / "run.html"
    told = CliRunner().invoke(app, [*words, "--html", str(page)])
    assert (told.exit_code, "au2512.SHFE" in told.stdout, page.stat().st_size > 10_000) == (0, True, True)
    found = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    assert (found["start"], found["failures"]) == (START, [])
    refused = CliRunner().invoke(app, [*words[:3], "--param", "fast=1"])
    assert (refused.exit_code, refused.stderr.count("\n")) == (1, 1)


def test_in_a_scheduled_notebook_the_trading_day_is_the_runs(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where no house runs: its bars are not whole yet."""
    monkeypatch.setenv("ARBIG_RUN_DAY", "2025-10-20")
    assert desk.trading_day == date(2025, 10, 20)
