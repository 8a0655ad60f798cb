"""Indicators: declared by a class or read from its text, drawn over whole columns with the values a strategy sees."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pytest
import talib

from arbig.domain.arrays import ArrayManager
from arbig.domain.indicators import FormulaError, drawn, formula_of, wanted_by
from arbig.domain.messages import SHANGHAI, BarData, Exchange, Interval

DECLARED = """
class Base(CtaTemplate):
    fast_window = 10
    dev: float = 2

class Cross(Base):
    indicators = {"fast": "sma(fast_window)", "channel": "boll(20, dev)", "strength": "rsi(rsi_window)"}
    rsi_window = 14
"""
WRITTEN_FOR_VNPY = """
from vnpy_ctastrategy import CtaTemplate, BarGenerator, ArrayManager

class DoubleMa(CtaTemplate):
    fast_window: int = 10
    def on_init(self):
        self.am: ArrayManager = ArrayManager()
    def on_bar(self, bar):
        am = self.am
        self.fast = am.sma(self.fast_window, array=True)[-1]
        self.again = self.am.sma(self.fast_window)
        self.signal = am.macd(12, 26, signal_period=9)
        self.other.rsi(5)
        self.late = am.ema(self.count() + 1)
"""


def columns(rows: int = 300) -> list[np.ndarray]:
    close = 800 + np.cumsum(np.random.default_rng(7).normal(size=rows))
    return [close - 0.1, close + 1, close - 1, close, np.full(rows, 5.0), close * 5, np.full(rows, 9.0)]


def test_a_declared_line_is_drawn_with_the_run_s_parameters_or_the_class_s_own() -> None:
    close = columns()[3]
    lines, problems = drawn(wanted_by(DECLARED, "Cross"), {"fast_window": 5}, columns())
    assert problems == []
    assert [(line.name, line.pane) for line in lines] == [
        ("fast", ""),
        ("channel upper", ""),
        ("channel lower", ""),
        ("strength", "rsi"),
    ]
    np.testing.assert_array_equal(lines[0].values, talib.SMA(close, 5))
    np.testing.assert_array_equal(lines[3].values, talib.RSI(close, 14))


def test_the_last_value_is_the_one_the_strategy_reads() -> None:
    opens, highs, lows, closes, volumes, turnovers, interests = columns()
    arrays = ArrayManager(len(closes))
    moment = datetime(2025, 10, 15, 9, 0, tzinfo=SHANGHAI)
    for n in range(len(closes)):
        arrays.update_bar(
            BarData(
                symbol="au2512", exchange=Exchange.SHFE, datetime=moment, open_price=opens[n], high_price=highs[n],
                low_price=lows[n], close_price=closes[n], volume=volumes[n], interval=Interval.MINUTE,
                open_interest=interests[n], turnover=turnovers[n],
            )
        )  # fmt: skip
    lines, _ = drawn(wanted_by(DECLARED, "Cross"), {}, columns())
    assert (arrays.sma(10), *arrays.boll(20, 2.0)) == tuple(line.values[-1] for line in lines[:3])


def test_a_strategy_written_for_vnpy_shows_what_it_asks_of_its_array_manager() -> None:
    wanted = wanted_by(WRITTEN_FOR_VNPY, "DoubleMa")
    assert ["sma(fast_window)", "macd(12, 26, 9)"] == [formula.label for formula in wanted.formulas]
    lines, problems = drawn(wanted, {}, columns())
    assert (["", "macd", "macd", "macd"], []) == ([line.pane for line in lines], problems)
    assert "sma(10)" == lines[0].name, "with the value of this run"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("sma", "found 'sma', expected e.g. 'sma(fast_window)'"),
        ("smaa(10)", "'smaa' is no indicator of ArrayManager"),
        ("boll(20)", "found 'boll(20)', expected boll(n, dev), each a number or a parameter's name"),
        ("sma(__import__('os'))", "expected sma(n)"),
        ("sma(10", "found 'sma(10', expected e.g."),
    ],
)
def test_a_formula_that_means_nothing_is_refused_in_one_line(text: str, line: str) -> None:
    with pytest.raises(FormulaError) as refused:
        formula_of("x", text)
    assert line in str(refused.value) and str(refused.value).startswith("indicators.x: ")


def test_what_cannot_be_drawn_is_said_and_the_rest_is_drawn() -> None:
    text = DECLARED.replace("rsi(rsi_window)", "rsi(nothing)").replace("boll(20, dev)", "boll(20)")
    lines, problems = drawn(wanted_by(text, "Cross"), {}, columns())
    assert ["fast"] == [line.name for line in lines]
    assert "expected boll(n, dev)" in problems[0]
    assert problems[1] == "strength: 'nothing' is neither a number nor a parameter of the strategy"
    assert wanted_by("class (", "Cross").problems[0].startswith("Cross: its source cannot be read")
    assert wanted_by("class Cross:\n    indicators = ['sma']", "Cross").problems[0].startswith("indicators: expected")
