"""Look-ahead: who peeks is caught, who does not is left in peace, and what no cut can reach is named."""

from __future__ import annotations

import socket
import threading
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pandas as pd
import pytest
import short_market
from follower import Follower

from arbig import ArrayManager, BarData, CtaTemplate, StrategyTemplate, TickData
from arbig.backtest import engine
from arbig.backtest.lookahead import Report, check
from arbig.backtest.plan import Matching, Plan, PlanError, StrategyPlan
from arbig.backtest.reach import readings
from arbig.backtest.result import Result
from arbig.lab.signals import FromFrames, with_signals
from arbig.runtime.loader import classes_in, load_class

CORPUS = Path(__file__).parents[1] / "lookahead_corpus"
SHIPPED = Path(__file__).parents[2] / "strategies"
VNPY = Path(str(find_spec("vnpy_ctastrategy").origin)).parent / "strategies"  # type: ignore[union-attr]
MATCHINGS = [Matching.VNPY, Matching.REALISTIC]


def files(kind: str) -> list[Any]:
    return [pytest.param(path, id=path.stem) for path in sorted((CORPUS / kind).glob("*.py"))]


def strategy(path: Path) -> type[CtaTemplate]:
    name = next(name for name in reversed(classes_in(path)) if name != "TestStrategy" and not name.endswith("Signal"))
    return load_class(path, name)  # type: ignore[return-value]


def checked(kind: type[CtaTemplate], matching: Matching = Matching.VNPY, cuts: Any = 6, **params: Any) -> Report:
    return check(with_signals(short_market.plan(kind, matching, **params)), cuts)


def test_the_corpus_is_large_enough() -> None:
    """At least fifteen of each kind, beside those in this file."""
    assert len(files("biased")) >= 15
    assert len(files("clean")) >= 15


@pytest.mark.parametrize("matching", MATCHINGS)
@pytest.mark.parametrize("path", files("biased"))
def test_a_strategy_that_looks_ahead_is_caught(path: Path, matching: Matching) -> None:
    """The report names the bar, the orders and the cut."""
    report = checked(strategy(path), matching)
    assert (report.ok, report.verdict) == (False, "looks ahead")
    finding = report.findings[0]
    assert finding.bar <= finding.cut
    assert finding.expected != finding.found


@pytest.mark.parametrize("path", files("clean"))
def test_a_strategy_that_does_not_look_ahead_is_left_in_peace(path: Path) -> None:
    """No false alarm, and orders enough to say so."""
    report = checked(strategy(path), cuts=2)
    assert (report.verdict, report.findings, report.outside) == ("clean", (), ())
    assert report.ok


@pytest.mark.parametrize("path", files("clean"))
def test_nor_with_realistic_matching(path: Path) -> None:
    """The other engine, the same verdict, on one day."""
    plan = with_signals(short_market.plan(strategy(path), Matching.REALISTIC))
    assert check(replace(plan, end=short_market.START), 2).findings == ()


@pytest.mark.parametrize("matching", MATCHINGS)
@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.stem)
        for path in (*sorted(VNPY.glob("*_strategy.py")), *sorted(SHIPPED.glob("*.py")))
        if path.stem not in ("test_strategy", "ml_gold")  # tests/ml judges what asks a model
    ],
)
def test_the_strategies_of_vnpy_and_our_own_are_clean(path: Path, matching: Matching) -> None:
    """The eight of vnpy_ctastrategy, read from the installed package, are controls."""
    assert checked(strategy(path), matching, cuts=1).verdict == "clean"


class OneStepAhead(Follower):
    """The plainest peek."""

    @staticmethod
    def prepare(frame: pd.DataFrame, params: dict[str, Any]) -> pd.DataFrame:
        return pd.DataFrame({"wanted": frame["close"].shift(-1) - frame["close"]}, index=frame.index)


def test_a_trader_reads_what_was_seen_too_early() -> None:
    """One line: who, at which bar, which orders, and what they are without the future."""
    report = checked(OneStepAhead, cuts=[datetime(2025, 10, 20, 10, 1)])
    assert str(report) == (
        "OneStepAhead: looks ahead (1319 orders and cancels, 1 cut, 5 runs); at the bar of 2025-10-20 10:01 "
        "OneStepAhead asks for cancel all, 'sell close 1 rb2601.SHFE at 3029', 'sell open 1 rb2601.SHFE at 3029'; "
        "with the data ended at the bar of 2025-10-20 10:01 it asks for nothing"
    )
    assert "<b style='color:#b42318'>looks ahead</b>" in report._repr_html_()
    assert "2025-10-20 10:01" in report._repr_html_()


def test_warm_up_is_reported_with_the_length_at_which_orders_settle() -> None:
    """A mean over 500 minutes needs two days of 345; a sum over everything never settles."""

    class LongMean(Follower):
        @staticmethod
        def prepare(frame: pd.DataFrame, params: dict[str, Any]) -> pd.DataFrame:
            mean = frame["close"].rolling(500).mean()
            return pd.DataFrame({"wanted": frame["close"] - mean}, index=frame.index)

    class WholeSum(Follower):
        @staticmethod
        def prepare(frame: pd.DataFrame, params: dict[str, Any]) -> pd.DataFrame:
            first = frame["close"].iloc[0]
            return pd.DataFrame({"wanted": frame["close"] - first}, index=frame.index)

    settled, unsettled = checked(LongMean, cuts=1), checked(WholeSum, cuts=1)
    assert settled.warm_up is not None and unsettled.warm_up is not None
    assert (settled.ok, settled.warm_up.settled_days) == (True, 2)
    assert str(settled.warm_up) == "the orders settle at 2 of 3 trading days of history"
    assert (unsettled.ok, unsettled.warm_up.is_settled) == (True, False)
    assert "the orders change when the history before the start is 2 trading days instead of 3" in str(unsettled)


# ---- what no cut can reach


def test_a_file_read_by_the_strategy_is_named(tmp_path: Path) -> None:
    """It stays as it is when the plan's data is cut: the verdict is that nothing is proven."""
    file = tmp_path / "closes.csv"
    frame_of_the_plan().to_csv(file)

    class ReadsAFile(Follower):
        path = ""
        parameters = ["path"]

        def on_init(self) -> None:
            self.closes = pd.read_csv(self.path, index_col=0, parse_dates=True)["close"].to_dict()

        def wanted(self, bar: BarData) -> float:
            now = bar.datetime.replace(tzinfo=None)
            return self.closes.get(now + timedelta(minutes=1), bar.close_price) - bar.close_price

    report = checked(ReadsAFile, path=str(file))
    assert (report.ok, report.verdict) == (False, "not proven")
    assert "it reads the file closes.csv" in report.outside
    assert any("self.closes holds" in line for line in report.outside)


def frame_of_the_plan() -> pd.DataFrame:
    series = short_market.bars()
    return pd.DataFrame({"close": series.close}, index=pd.DatetimeIndex(series.datetime))


HISTORY = frame_of_the_plan()
MOVES = np.diff(HISTORY["close"].to_numpy(), append=0.0)


class FromAGlobal(Follower):
    def wanted(self, bar: BarData) -> float:
        row = HISTORY.index.get_loc(bar.datetime.replace(tzinfo=None))
        return float(MOVES[row])


class InTheClass(Follower):
    closes = HISTORY["close"].tolist()
    count = 3 * 345 - 1

    def on_init(self) -> None:
        self.row = self.count

    def wanted(self, bar: BarData) -> float:
        self.row += 1
        return self.closes[min(self.row + 1, len(self.closes) - 1)] - bar.close_price


class GivenAsParam(Follower):
    wishes: Any = None
    parameters = ["wishes"]

    def wanted(self, bar: BarData) -> float:
        return float(self.wishes.get(bar.datetime.replace(tzinfo=None), 0.0))


class InAClosure(Follower):
    @staticmethod
    def prepare(frame: pd.DataFrame, params: dict[str, Any]) -> pd.DataFrame:
        return pd.DataFrame({"wanted": HISTORY["close"].diff().shift(-1).reindex(frame.index)}, index=frame.index)


class RemembersItsRuns(Follower):
    seen: dict[datetime, float] = {}

    def wanted(self, bar: BarData) -> float:
        self.seen[bar.datetime] = bar.close_price
        return self.seen.get(bar.datetime + timedelta(minutes=1), bar.open_price) - bar.close_price


@pytest.mark.parametrize("kind", [FromAGlobal, InTheClass, InAClosure, GivenAsParam])
def test_a_whole_history_held_past_the_plan_is_named(kind: type[Follower]) -> None:
    """In a global, in the class, behind `prepare`, or handed over as a parameter."""
    wishes = dict(zip(HISTORY.index.to_pydatetime().tolist(), MOVES.tolist(), strict=True))
    params = {"wishes": wishes} if kind is GivenAsParam else {}
    report = checked(kind, **params)
    assert (report.ok, report.verdict) == (False, "not proven")
    assert report.outside


def test_what_one_run_leaves_for_the_next_is_named() -> None:
    """The second run knows the closes of the first."""
    report = checked(RemembersItsRuns)
    assert not report.ok
    assert report.verdict == "not repeatable"
    assert "RemembersItsRuns.seen is changed by a run and kept for the next one" in report.outside


@cache
def changes_to_come(first: float, last: float) -> pd.Series:
    """As if the key said all there is to know of the history."""
    return changes_to_come.frame["close"].diff().shift(-1)  # type: ignore[attr-defined]


class KeepsAnswers(Follower):
    @staticmethod
    def prepare(frame: pd.DataFrame, params: dict[str, Any]) -> pd.DataFrame:
        changes_to_come.frame = frame  # type: ignore[attr-defined]
        return pd.DataFrame({"wanted": changes_to_come(0.0, 1.0).reindex(frame.index)}, index=frame.index)


def test_answers_kept_by_a_function_do_not_hide_a_peek() -> None:
    """They are forgotten before every run."""
    report = checked(KeepsAnswers)
    assert report.findings[0].how in ("cut", "mirrored", "shuffled")


def test_an_unseeded_coin_is_not_repeatable() -> None:
    """Two equal runs differ: nothing can be said about a third."""
    coins = Random()

    class Coin(Follower):
        def wanted(self, bar: BarData) -> float:
            return coins.choice((-1.0, 1.0))

    report = checked(Coin)
    assert (report.ok, report.verdict) == (False, "not repeatable")


def test_a_strategy_without_orders_proves_nothing() -> None:
    """Said so, not called clean."""

    class Silent(Follower):
        def wanted(self, bar: BarData) -> float:
            return 0.0

    report = checked(Silent)
    assert (report.ok, report.verdict) == (False, "not proven")
    assert report.notes == ("no orders: there is nothing to compare",)


# ---- what a fast engine shows


class BehindTheWindow(Follower):
    """Takes the array behind the indicator window it is shown, and reads on where the window ends."""

    def on_init(self) -> None:
        self.arrays = ArrayManager(30)
        self.load_bar(2)

    def on_bar(self, bar: BarData) -> None:
        self.arrays.update_bar(bar)
        super().on_bar(bar)

    def wanted(self, bar: BarData) -> float:
        window = self.arrays.close
        whole = window if window.base is None else window.base
        start = (window.__array_interface__["data"][0] - whole.__array_interface__["data"][0]) // whole.itemsize
        after = start + len(window)
        return float(whole[after] - bar.close_price) if whole.ndim == 1 and after < len(whole) else 0.0


class BehindTheBar(Follower):
    """Reads the row after its own in the columns its bar looks up."""

    def wanted(self, bar: Any) -> float:
        closes = bar.sheet.close_price if hasattr(bar, "sheet") else []
        return float(closes[bar.at + 1] - bar.close_price) if hasattr(bar, "at") and bar.at + 1 < len(closes) else 0.0


@pytest.mark.parametrize("kind", [BehindTheWindow, BehindTheBar])
def test_columns_that_a_fast_engine_shows_are_within_the_reach_of_the_check(kind: type[Follower]) -> None:
    """Bars and windows are views of the whole series there: who reads on is caught."""
    assert checked(kind, Matching.VNPY).verdict == "looks ahead"
    assert not checked(kind, Matching.REALISTIC, cuts=2).ok


# ---- the fill's side


@pytest.mark.parametrize("matching", MATCHINGS)
def test_no_engine_fills_an_order_on_the_bar_that_caused_it(matching: Matching) -> None:
    """A strategy that has seen a bar's close cannot have that bar's open: its fills are on later bars."""

    class WantsTheOpen(CtaTemplate):
        def on_init(self) -> None:
            self.sent: dict[str, datetime] = {}
            self.fills: list[tuple[datetime, datetime]] = []

        def on_bar(self, bar: BarData) -> None:
            if not self.trading:
                return
            self.cancel_all()
            if bar.close_price > bar.open_price and self.pos == 0:
                self.note(self.buy(bar.open_price, 1), bar)
                self.note(self.buy(bar.low_price, 1, stop=True), bar)
            elif self.pos > 0:
                self.note(self.sell(bar.high_price, self.pos), bar)

        def note(self, names: list[str], bar: BarData) -> None:
            self.sent |= dict.fromkeys(names, bar.datetime)

        def on_stop_order(self, stop_order: Any) -> None:
            self.sent |= dict.fromkeys(stop_order.vt_orderids, self.sent[stop_order.stop_orderid])

    result = engine.run(short_market.plan(WantsTheOpen, matching))
    births = {order.order_id: order.datetime for order in result.orders}
    assert result.failures == ()
    assert len(result.trades) > 50
    late = [trade for trade in result.trades if trade.datetime < births[trade.order_id]]
    assert late == []


# ---- legs, parameters, engines, interruptions


def test_a_spread_of_two_legs_is_checked_too() -> None:
    """The peek is in the other leg: where one contract goes, the other follows a minute later."""

    class Spread(StrategyTemplate):
        ahead = 0
        signals: Any = None
        parameters = ["ahead", "signals"]

        @staticmethod
        def prepare(frames: dict[str, pd.DataFrame], params: dict[str, Any]) -> pd.DataFrame:
            first, second = frames.values()
            return pd.DataFrame({"wanted": (first["close"] - second["close"]).diff().shift(-params["ahead"])})

        def on_init(self) -> None: ...

        def on_bars(self, bars: dict[str, BarData]) -> None:
            row = self.signals.at(next(iter(bars.values())).datetime)
            if len(bars) < 2 or row is None or not self.trading:
                return
            for vt_symbol, side in zip(self.vt_symbols, (1, -1), strict=True):
                self.set_target(vt_symbol, side if row.wanted > 0 else -side if row.wanted < 0 else 0)
            self.rebalance_portfolio(bars)

    def report(ahead: int) -> Report:
        legs = [short_market.bars("rb2601", 1), short_market.bars("rb2605", 2)]
        names = tuple(leg.vt_symbol for leg in legs)
        one = StrategyPlan(Spread, "spread", names, {"ahead": ahead})
        plan = short_market.plan(OneStepAhead, Matching.REALISTIC)
        series = dict(zip(names, legs, strict=True))
        plan = replace(plan, strategies=(one,), series=series, end=short_market.START)
        return check(with_signals(plan), 2)

    assert report(0).verdict == "clean"
    assert report(1).verdict == "looks ahead"


@pytest.mark.parametrize("matching", MATCHINGS)
@pytest.mark.parametrize(("ahead", "verdict"), [(0, "clean"), (1, "looks ahead")])
def test_ticks_are_checked_like_bars(ahead: int, verdict: str, matching: Matching) -> None:
    """Two ticks a minute; the peek is at the next one."""

    class OnTicks(CtaTemplate):
        ahead = 0
        signals: Any = None
        parameters = ["ahead", "signals"]

        @staticmethod
        def prepare(frame: pd.DataFrame, params: dict[str, Any]) -> pd.DataFrame:
            move = frame["last_price"].diff().shift(-params["ahead"])
            return pd.DataFrame({"move": move}, index=frame.index)

        def on_init(self) -> None:
            self.load_bar(1)

        def on_bar(self, bar: BarData) -> None: ...

        def on_tick(self, tick: TickData) -> None:
            row = self.signals.at(tick.datetime)
            if not self.trading or row is None:
                return
            self.cancel_all()
            if row.move > 3 and self.pos == 0:
                self.buy(tick.ask_price_1, 1)
            elif row.move < -3 and self.pos > 0:
                self.sell(tick.bid_price_1, self.pos)

    report = check(with_signals(short_market.tick_plan(OnTicks, matching, ahead=ahead)), 3)
    assert report.verdict == verdict, repr(report)


def test_the_peeking_one_of_two_is_named() -> None:
    """A plan of several strategies says which."""
    fair = strategy(CORPUS / "clean" / "trailing_mean.py")
    plan = short_market.plan(OneStepAhead, Matching.REALISTIC)
    both = (*plan.strategies, replace(plan.strategies[0], kind=fair, name="fair"))
    report = check(with_signals(replace(plan, strategies=both)), 4)
    assert {finding.strategy_name for finding in report.findings} == {"OneStepAhead"}
    assert report.strategies == ("OneStepAhead", "fair")


def test_ctrl_c_keeps_what_was_found() -> None:
    """The report says that it was stopped, and proves nothing."""

    def run(plan: Plan) -> Result:
        if len(calls) == 5:
            raise KeyboardInterrupt
        calls.append(plan)
        return engine.run(plan)

    calls: list[Plan] = []
    fair = strategy(CORPUS / "clean" / "trailing_mean.py")
    report = check(with_signals(short_market.plan(fair)), 4, run=run)
    assert (report.ok, report.runs, report.verdict) == (False, 5, "not proven")
    assert str(report).endswith("stopped before the end")


def test_progress_is_told_up_to_the_end() -> None:
    """Done and total meet."""
    told: list[tuple[int, int]] = []
    fair = strategy(CORPUS / "clean" / "trailing_mean.py")
    check(with_signals(short_market.plan(fair)), 2, progress=lambda done, total: told.append((done, total)))
    assert [done for done, _ in told] == list(range(1, len(told) + 1))
    assert told[-1][0] == told[-1][1]


def test_a_prepare_that_makes_what_nobody_asked_for_is_refused_in_one_line() -> None:
    """With the mend."""

    class NoSignals(CtaTemplate):
        def on_init(self) -> None: ...

    plan = short_market.plan(NoSignals)
    one = replace(plan.strategies[0], prepare=FromFrames(lambda frame, params: frame[["close"]]))
    with pytest.raises(PlanError) as refused:
        replace(plan, strategies=(one,)).prepared()
    assert str(refused.value) == (
        "NoSignals: prepare made 'signals', NoSignals has no such parameter; write signals = None and add it to "
        "`parameters`"
    )


def test_a_prepare_that_fails_or_makes_no_frame_is_refused_in_one_line() -> None:
    """What it said is kept."""

    def plan(prepare: Any) -> Plan:
        one = short_market.plan(OneStepAhead)
        return replace(one, strategies=(replace(one.strategies[0], prepare=FromFrames(prepare)),))

    with pytest.raises(PlanError, match="OneStepAhead: prepare failed: KeyError: 'settle'"):
        plan(lambda frame, params: frame["settle"]).prepared()
    with pytest.raises(PlanError, match="found list, expected a DataFrame whose index is the rows' moments"):
        plan(lambda frame, params: [1.0]).prepared()


def test_the_default_of_a_parameter_reaches_prepare() -> None:
    """So does what the plan says instead."""

    class Windowed(Follower):
        window = 5
        parameters = ["window", "signals"]

        @staticmethod
        def prepare(frame: pd.DataFrame, params: dict[str, Any]) -> pd.DataFrame:
            return pd.DataFrame({"wanted": frame["close"] * 0 + params["window"]}, index=frame.index)

    def first(**params: Any) -> float:
        made = with_signals(short_market.plan(Windowed, **params)).prepared().strategies[0].params
        return float(made["signals"].last(datetime(2025, 12, 1)).wanted)

    assert (first(), first(window=9)) == (5.0, 9.0)


def test_signals_are_read_by_their_moment() -> None:
    """Exactly, or the newest one; nothing before the first."""
    from arbig.backtest.signals import Signals

    moments = np.array(["2025-10-20T09:00", "2025-10-20T09:05"], "datetime64[s]")
    signals = Signals(moments, {"fast": np.array([1.0, 2.0])})
    assert signals.at(datetime(2025, 10, 20, 9, 5)).fast == 2.0
    assert signals.at(datetime(2025, 10, 20, 9, 3)) is None
    assert signals.last(datetime(2025, 10, 20, 9, 3)).fast == 1.0
    assert signals.last(datetime(2025, 10, 20, 8, 59)) is None
    assert repr(signals) == "Signals(fast: 2 rows)"
    with pytest.raises(ValueError, match="the moments do not ascend"):
        Signals(moments[::-1], {"fast": np.array([1.0, 2.0])})
    with pytest.raises(ValueError, match="fast has 1 values, expected 2"):
        Signals(moments, {"fast": np.array([1.0])})


def test_a_thread_that_ran_before_is_not_the_strategys() -> None:
    """A notebook's own line to the house goes on while the proof runs; what the proof itself asks is heard."""
    go, done, found = threading.Event(), threading.Event(), []

    def other() -> None:
        go.wait(10)
        with socket.socket() as line:
            line.connect_ex(("127.0.0.1", 1))
        done.set()

    threading.Thread(target=other, daemon=True).start()
    with readings(found):
        go.set()
        done.wait(10)
        assert found == []
        with socket.socket() as line:
            line.connect_ex(("127.0.0.1", 2))
    assert found == ["it asks ('127.0.0.1', 2)"]
