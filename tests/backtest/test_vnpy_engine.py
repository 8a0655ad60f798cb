"""Matching vnpy: what is called in which order, what is odd in vnpy and kept, and what is said to a bad plan."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, time

import numpy as np
import pytest

from arbig import ArrayManager, BarGenerator, CtaTemplate, StrategyTemplate
from arbig.backtest import engine
from arbig.backtest.feeds import Feed, playing, store_of
from arbig.backtest.plan import Matching, Plan, PlanError, StrategyPlan
from arbig.backtest.windows import VnpyRules, vnpy_rule
from arbig.bench import peer
from arbig.domain.messages import Interval
from arbig.domain.template import generator_rules
from arbig.lab.desk import Desk
from arbig.runtime.loader import load_class

DICE = '''
import random
from vnpy_ctastrategy import CtaTemplate


class Dice(CtaTemplate):
    """Sends and cancels at random, from every callback, and writes down what it is told."""

    seed = 1
    parameters = ["seed"]

    def on_init(self):
        self.dice, self.told, self.names = random.Random(self.seed), [], []
        self.tell("init")
        self.buy(1.0, 1)
        self.load_bar(3)

    def on_start(self):
        self.tell("start")
        self.names += self.buy(1.0, 1)

    def on_stop(self):
        self.tell("stop")
        self.names += self.short(9_000.0, 1)

    def tell(self, *words):
        self.told.append((*words, self.pos, self.inited, self.trading))

    def throw(self, price):
        dice = self.dice
        if dice.random() < 0.4:
            word = dice.choice([self.buy, self.sell, self.short, self.cover])
            self.names += word(price + dice.uniform(-1.5, 1.5), dice.randrange(1, 4), dice.random() < 0.5)
        if self.names and dice.random() < 0.3:
            self.cancel_order(dice.choice(self.names))
        if dice.random() < 0.03:
            self.cancel_all()

    def on_bar(self, bar):
        self.tell("bar", bar.datetime, bar.close_price)
        for _ in range(3):
            self.throw(bar.close_price)

    def on_order(self, order):
        self.tell("order", order.vt_orderid, order.status.name, order.price, order.volume, order.traded, order.datetime)
        if self.dice.random() < 0.3:
            self.throw(order.price)

    def on_trade(self, trade):
        self.tell("trade", trade.vt_orderid, trade.price, trade.volume, trade.direction.name, trade.offset.name)
        self.throw(trade.price)
        self.throw(trade.price)

    def on_stop_order(self, stop):
        self.tell("stop_order", stop.stop_orderid, stop.status.name, stop.price, list(stop.vt_orderids), stop.datetime)
        if self.dice.random() < 0.2:
            self.throw(stop.price)
'''


@pytest.fixture(scope="module")
def desk(tmp_path_factory, request):
    return Desk(root=request.config.rootpath, history=tmp_path_factory.mktemp("history"))


@pytest.fixture(scope="module")
def series(desk):
    return desk.history.generate("au2512", date(2025, 6, 3), date(2025, 6, 12), 4, progress=False)


START, END = date(2025, 6, 6), date(2025, 6, 12)


def plan_of(desk, kind, series, params=None, start=START, end=END):
    strategy = StrategyPlan(kind, kind.__name__, (series.vt_symbol,), params or {})
    return Plan((strategy,), {series.vt_symbol: series}, start, end, desk.book, desk.calendar, Matching.VNPY)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_callback_comes_in_vnpys_order_with_vnpys_values(desk, series, tmp_path, seed):
    """Orders from callbacks, cancels inside a crossing, stops placed by a fill of the same bar."""
    file = tmp_path / "dice.py"
    file.write_text(DICE)
    kind = load_class(file, "Dice")
    made = []

    class Kept(kind):
        def __init__(self, *given):
            super().__init__(*given)
            made.append(self)

    result = engine.run(plan_of(desk, Kept, series, {"seed": seed}))
    theirs = peer.engine(
        peer.strategy_class(file, "Dice"),
        peer.bars_of(series),
        series.first_of(START),
        {"seed": seed},
        size=1000,
        tick=0.02,
    )
    peer.run(theirs)
    assert not result.failures
    assert made[0].told == theirs.strategy.told
    assert peer.trade_rows(result.trades) == peer.trade_rows(theirs.get_all_trades())
    kinds = {words[0] for words in made[0].told}
    assert kinds == {"init", "start", "stop", "bar", "order", "trade", "stop_order"}
    assert len(result.trades) > 500


@pytest.mark.parametrize(
    ("interval", "window", "daily_end"),
    [
        (Interval.MINUTE, 1, None),
        (Interval.MINUTE, 5, None),
        (Interval.MINUTE, 7, None),
        (Interval.MINUTE, 60, None),
        (Interval.HOUR, 1, None),
        (Interval.HOUR, 3, None),
        (Interval.DAILY, 1, time(14, 59)),
    ],
)
def test_longer_bars_are_vnpys(series, interval, window, daily_end):
    """From the feed's columns, and bar by bar after one was left out."""
    utility, constant = peer.module("vnpy.trader.utility"), peer.module("vnpy.trader.constant")
    bars = peer.bars_of(series)
    for left_out in (None, 777):
        ours, theirs = [], []
        feed = Feed(store_of(series), vnpy_rule)
        token = generator_rules.set(VnpyRules)
        try:
            with playing(feed):
                generator = BarGenerator(print, window, ours.append, interval, daily_end)
                peers = utility.BarGenerator(print, window, theirs.append, constant.Interval(str(interval)), daily_end)
                for row, bar in enumerate(feed.play(13, len(series)), 13):
                    if row != left_out:
                        generator.update_bar(bar)
                        peers.update_bar(bars[row])
        finally:
            generator_rules.reset(token)
        names = (
            "datetime",
            "open_price",
            "high_price",
            "low_price",
            "close_price",
            "volume",
            "turnover",
            "open_interest",
        )
        assert [[getattr(bar, name) for name in names] for bar in ours] == [
            [getattr(bar, name) for name in names] for bar in theirs
        ]
        assert len(ours) >= 5


class Quiet(CtaTemplate):
    def on_init(self):
        pass


class RaisesLater(CtaTemplate):
    def on_init(self):
        self.count = 0

    def on_bar(self, bar):
        self.count += 1
        self.buy(bar.close_price + 5, 1)
        if self.count == 50:
            raise KeyError("gold")


class AsksTooEarly(CtaTemplate):
    def on_init(self):
        self.am = ArrayManager(100)

    def on_bar(self, bar):
        self.am.update_bar(bar)
        self.buy(self.am.trix(60), 1)


def test_a_strategy_that_raises_ends_its_run_and_keeps_what_came_before(desk, series):
    result = engine.run(plan_of(desk, RaisesLater, series))
    (failure,) = result.failures
    assert failure.reason == "KeyError: 'gold'"
    assert "raise KeyError" in failure.traceback
    assert failure.datetime == series.bar(series.first_of(START) + 49).datetime
    assert len(result.trades) == 49
    assert result.positions[0].volume == 49
    assert result.days[-1].trading_day == START


def test_a_price_that_is_no_number_is_a_failure_with_its_bar(desk, series):
    result = engine.run(plan_of(desk, AsksTooEarly, series))
    (failure,) = result.failures
    assert "order price: found nan, expected a number" in failure.reason
    assert failure.datetime == series.bar(series.first_of(START)).datetime


def test_what_progress_raises_ends_the_run(desk, series):
    seen = []

    def stop(done, every):
        seen.append((done, every))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.run(plan_of(desk, Quiet, series), stop)
    assert seen == [(min(4096, len(series.days(START, END))), len(series.days(START, END)))]


def test_the_same_plan_gives_the_same_result(desk, series, tmp_path):
    file = tmp_path / "dice.py"
    file.write_text(DICE)
    plan = plan_of(desk, load_class(file, "Dice"), series)
    once, again = engine.run(plan), engine.run(plan)
    assert (once.trades, once.orders, once.days, once.stop_orders) == (
        again.trades,
        again.orders,
        again.days,
        again.stop_orders,
    )


def test_a_plan_that_cannot_be_run_is_refused_in_one_line(desk, series):
    class Legs(StrategyTemplate):
        def on_init(self):
            pass

        def on_bars(self, bars):
            pass

    good = plan_of(desk, Quiet, series)
    for bad, words in (
        (replace(good, strategies=(StrategyPlan(Legs, "legs", ("au2512.SHFE",)),)), 'write matching="realistic"'),
        (replace(good, strategies=good.strategies * 2), 'write matching="realistic"'),
        (replace(good, strategies=()), "no strategy"),
        (replace(good, series={}), "no series of au2512.SHFE"),
        (replace(good, start=END, end=START), "is later than end"),
        (replace(good, start=date(2025, 7, 1), end=date(2025, 7, 2)), "has no rows from 2025-07-01 to 2025-07-02"),
    ):
        with pytest.raises(PlanError, match=words) as error:
            engine.run(bad)
        assert "\n" not in str(error.value)


def test_a_warm_up_longer_than_the_history_is_a_warning(desk, series):
    class Reads(Quiet):
        def on_init(self):
            self.load_bar(30)

    (warning,) = engine.run(plan_of(desk, Reads, series)).warnings
    assert "load_bar(30) wants au2512.SHFE from 2025-05-06, its history begins 2025-06-03" in warning


def test_columns_that_nobody_may_write_to_are_enough(desk, series):
    """A sweep's workers share one read-only copy."""
    frozen = series.rows(0, len(series))
    for name in ("datetime", "trading_day", "open", "high", "low", "close", "volume", "turnover", "open_interest"):
        column = np.array(getattr(frozen, name))
        column.flags.writeable = False
        object.__setattr__(frozen, name, column)
    kind = load_class(peer.strategy_file("double_ma_strategy"), "DoubleMaStrategy")
    assert engine.run(plan_of(desk, kind, frozen)).trades == engine.run(plan_of(desk, kind, series)).trades
