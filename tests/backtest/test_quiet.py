"""Quiet minutes: passing over the bars that only grow a longer one changes nothing a strategy is told."""

from __future__ import annotations

import random
from datetime import date
from decimal import Decimal
from functools import partial
from math import inf
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbig import ArrayManager, BarGenerator, CtaTemplate
from arbig.backtest import engine
from arbig.backtest.plan import Matching, Plan, StrategyPlan
from arbig.backtest.quiet import collectors
from arbig.backtest.vnpy import Place, VnpyEngine
from arbig.domain.template import LONG, OPEN, round_to
from arbig.lab.desk import Desk

START, END = date(2025, 6, 5), date(2025, 6, 9)


class Throws(CtaTemplate):
    """At every longer bar some orders by dice, and a word about everything heard."""

    seed, minutes, other = 1, 5, 15
    parameters = ["seed", "minutes", "other"]

    def on_init(self):
        self.dice, self.told = random.Random(self.seed), TOLD[type(self)]
        self.told.clear()
        self.bg = BarGenerator(self.on_bar, self.minutes, self.on_longer)
        self.second = BarGenerator(self.on_bar, self.other, self.on_longer)
        self.am = ArrayManager(10)
        if self.seed % 2:
            self.load_bar(1)

    def on_bar(self, bar):
        """Only this."""
        self.bg.update_bar(bar)
        self.second.update_bar(bar)

    def on_longer(self, bar):
        dice = self.dice
        self.told.append((bar.datetime, bar.open_price, bar.high_price, bar.low_price, bar.close_price, self.pos))
        if dice.random() < 0.4:
            self.cancel_all()
        for _ in range(dice.randrange(3)):
            word = dice.choice([self.buy, self.sell, self.short, self.cover])
            word(bar.close_price + dice.uniform(-2, 2), 1, dice.random() < 0.7)
        if dice.random() < 0.02:
            self.bg = BarGenerator(self.on_bar, self.minutes, self.on_longer)

    def on_trade(self, trade):
        self.told.append((trade.datetime, trade.price, trade.direction, self.pos))

    def on_order(self, order):
        self.told.append((order.vt_orderid, order.status, order.traded, order.datetime, order.is_active()))


class Looks(Throws):
    """The same, and one thing more: every bar must come."""

    def on_bar(self, bar):
        self.last = bar
        self.bg.update_bar(bar)
        self.second.update_bar(bar)


TOLD = {Throws: [], Looks: []}


@pytest.fixture(scope="module")
def desk(tmp_path_factory, request):
    return Desk(root=request.config.rootpath, history=tmp_path_factory.mktemp("history"))


@pytest.fixture(scope="module")
def series(desk):
    return desk.history.generate("au2512", date(2025, 6, 3), END, 4, progress=False)


@settings(max_examples=16, deadline=None)
@given(
    seed=st.integers(1, 1000),
    minutes=st.integers(1, 30),
    other=st.sampled_from([5, 15, 60]),
    matching=st.sampled_from(Matching),
    capital=st.sampled_from([1_000_000.0, 150_000.0, 71_000.0]),
)
def test_what_is_told_is_the_same_with_every_bar_and_without_the_quiet_ones(
    desk, series, seed, minutes, other, matching, capital
):
    results = []
    for kind in (Throws, Looks):
        params = {"seed": seed, "minutes": minutes, "other": other}
        strategy = StrategyPlan(kind, "dice", (series.vt_symbol,), params, capital)
        plan = Plan((strategy,), {series.vt_symbol: series}, START, END, desk.book, desk.calendar, matching)
        results.append(engine.run(plan))
    quick, slow = results
    assert TOLD[Throws] == TOLD[Looks] and _reasons(quick) == _reasons(slow)
    assert (quick.trades, quick.orders, quick.stop_orders) == (slow.trades, slow.orders, slow.stop_orders)
    assert (quick.days, quick.positions, quick.working) == (slow.days, slow.positions, slow.working)


def _reasons(result):
    return [(failure.datetime, failure.reason) for failure in result.failures]


def test_only_a_body_that_feeds_generators_and_nothing_else_is_passed_over():
    assert collectors(Throws.__new__(Throws)) == ("bg", "second")
    assert collectors(Looks.__new__(Looks)) == ()


@given(
    tick=st.sampled_from([0.02, 0.05, 0.2, 0.5, 1.0, 5.0, 10.0, 0.0001]),
    price=st.floats(-1e7, 1e7, allow_nan=False) | st.integers(-(10**6), 10**6).map(lambda half: half / 2),
)
def test_an_order_price_is_rounded_as_decimals_are(tick, price):
    """On half a tick too, where binary is not asked."""
    engine = SimpleNamespace(tick=tick, now=Place(), limits={}, stops={}, stop_orders=[], lowest_buy=inf)
    engine._unit = Decimal(str(tick))
    engine._rounded = partial(VnpyEngine._rounded, engine)
    for wanted in (price, price * tick):
        VnpyEngine._word(engine, SimpleNamespace(trading=True), LONG, OPEN)(wanted, 1, stop=True)
        assert engine.stop_orders[-1][3] == round_to(wanted, tick)
