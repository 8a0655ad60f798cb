"""Equal trades: vnpy's eight strategies, from the installed package and unchanged, in vnpy's engine and in ours.

Every trade is compared: time, direction, offset, price, volume.
"""

from __future__ import annotations

from collections import Counter
from datetime import date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbig.backtest import engine
from arbig.backtest.plan import Costs, Matching, Plan, StrategyPlan
from arbig.backtest.series import BarSeries, TickSeries
from arbig.bench import peer
from arbig.domain.messages import Exchange, Status
from arbig.domain.template import StopOrderStatus
from arbig.lab.desk import Desk
from arbig.lab.generating import paths, product_prices
from arbig.runtime.loader import load_class

HISTORIES = (("au2512", 1), ("rb2601", 2), ("au2510", 3))
DAYS, WARMUP = 44, 8
PARAMS = {"BollChannelStrategy": {"boll_dev": 2.0, "sl_multiplier": 2.0}}
"""As they come, except one that would trade once in two days."""


@pytest.fixture(scope="module")
def desk(tmp_path_factory, request):
    return Desk(root=request.config.rootpath, history=tmp_path_factory.mktemp("history"))


@pytest.fixture(scope="module")
def histories(desk):
    days = desk.calendar.days_between(date(2025, 6, 3), date(2025, 9, 1))[:DAYS]
    return [
        (desk.history.generate(symbol, days[0], days[-1], seed, progress=False), days[WARMUP], days[-1])
        for symbol, seed in HISTORIES
    ]


def plan_of(desk, kind, series, start, end, params=None, **costs):
    strategy = StrategyPlan(kind, kind.__name__, (series.vt_symbol,), params or {})
    return Plan(
        (strategy,), {series.vt_symbol: series}, start, end, desk.book, desk.calendar, Matching.VNPY, Costs(**costs)
    )


def both(desk, file, class_name, series, start, end, params=None, bars=None, **costs):
    """Our result, and vnpy's engine after its run."""
    ours = engine.run(plan_of(desk, load_class(file, class_name), series, start, end, params, **costs))
    instrument = desk.book.get(series.symbol, start)
    theirs = peer.engine(
        peer.strategy_class(file, class_name),
        bars or peer.bars_of(series),
        series.first_of(start),
        params or {},
        size=instrument.size,
        tick=instrument.price_tick,
        **costs,
    )
    return ours, peer.run(theirs)


@pytest.fixture(scope="module")
def vnpy_bars(histories):
    return [peer.bars_of(series) for series, _, _ in histories]


@pytest.mark.parametrize(("module", "class_name"), peer.STRATEGIES)
def test_every_trade_of_vnpys_strategies_is_equal(desk, histories, vnpy_bars, module, class_name):
    seen = Counter()
    for (series, start, end), bars in zip(histories, vnpy_bars, strict=True):
        params = PARAMS.get(class_name, {})
        ours, theirs = both(desk, peer.strategy_file(module), class_name, series, start, end, params, bars)
        assert not ours.failures
        assert peer.trade_rows(ours.trades) == peer.trade_rows(theirs.get_all_trades())
        assert [order.vt_orderid for order in ours.orders] == list(theirs.limit_orders)
        assert [order.status.name for order in ours.orders] == [one.status.name for one in theirs.get_all_orders()]
        assert [stop.status.name for stop in ours.stop_orders] == [
            one.status.name for one in theirs.stop_orders.values()
        ]
        assert ours.trades and len(ours.working) == len(theirs.active_limit_orders) + len(theirs.active_stop_orders)
        seen.update(trade.direction.name for trade in ours.trades)
        seen.update("night" for trade in ours.trades if trade.datetime.hour >= 21 or trade.datetime.hour < 3)
        seen.update("cancelled" for order in ours.orders if order.status is Status.CANCELLED)
        seen.update(stop.status.name for stop in ours.stop_orders)
    assert seen["LONG"] + seen["SHORT"] >= 100
    assert min(seen["LONG"], seen["SHORT"], seen["night"]) >= 20
    if seen["WAITING"] or seen["TRIGGERED"]:
        assert seen["TRIGGERED"] >= 20 and seen[StopOrderStatus.CANCELLED.name] >= 20
    assert seen["cancelled"] >= (20 if class_name == "DoubleMaStrategy" else 0)


@pytest.mark.parametrize(("module", "class_name"), [peer.STRATEGIES[2], peer.STRATEGIES[7]])
def test_the_profit_of_all_days_is_equal_with_costs(desk, histories, vnpy_bars, module, class_name):
    """vnpy's days are dates, ours are trading days: each has its own days, both have the same sums."""
    series, start, end = histories[0]
    ours, theirs = both(
        desk, peer.strategy_file(module), class_name, series, start, end, {}, vnpy_bars[0], rate=2.5e-5, slippage=0.02
    )
    table = theirs.calculate_result()
    for field in ("net_pnl", "commission", "slippage", "turnover", "trade_count"):
        assert sum(getattr(day, field) for day in ours.days) == pytest.approx(table[field].sum(), rel=1e-9), field
    assert ours.days[-1].balance == pytest.approx(1_000_000 + table["net_pnl"].sum(), rel=1e-12)
    assert [day.trading_day for day in ours.days] == sorted({*series.days(start, end).trading_day.tolist()})
    assert table["net_pnl"].sum() != 0


def walk(seed, count, step, quiet, gap):
    """A random walk on the price tick through a day of minutes, with breaks, bars without a move, and gaps."""
    draw = np.random.default_rng(seed)
    moves = np.where(draw.random(count) < quiet, 0, draw.integers(-step, step + 1, count))
    moves += np.where(draw.random(count) < 0.01, draw.integers(-gap, gap + 1, count), 0)
    close = np.maximum(3000 + np.cumsum(moves), 10)
    open_ = np.maximum(np.append(close[0], close[:-1]) + draw.integers(-1, 2, count), 1)
    high = np.maximum(open_, close) + draw.integers(0, step + 1, count)
    low = np.maximum(np.minimum(open_, close) - draw.integers(0, step + 1, count), 1)
    minutes = [
        datetime(2025, 6, day, hour, minute)
        for day in (3, 4, 5, 6, 9, 10, 11, 12, 13)
        for hour in (9, 10, 11, 13, 14, 21, 22)
        for minute in range(60)
        if not (hour == 10 and 15 <= minute < 30)
        and not (hour == 11 and minute >= 30)
        and not (hour == 13 and minute < 30)
    ]
    keep = sorted(draw.choice(len(minutes), count, replace=False).tolist())
    times = [minutes[one] for one in keep]
    days = [(one + timedelta(days=one.hour > 20)).date() for one in times]
    return BarSeries(
        symbol="rb2601",
        exchange=Exchange.SHFE,
        datetime=np.array(times, "datetime64[s]"),
        trading_day=np.array(days, "datetime64[D]"),
        open=open_.astype(float),
        high=high.astype(float),
        low=low.astype(float),
        close=close.astype(float),
        volume=draw.integers(0, 1000, count).astype(float),
        turnover=draw.random(count) * 1e8,
        open_interest=draw.integers(1, 100_000, count).astype(float),
    )


@settings(max_examples=6, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    step=st.integers(1, 12),
    quiet=st.floats(0, 0.95),
    gap=st.integers(1, 200),
)
def test_trades_are_equal_on_any_walk(desk, seed, step, quiet, gap):
    """Also where minutes are missing, prices stand still, or jump."""
    series = walk(seed, 2200, step, quiet, gap)
    start, end = date(2025, 6, 5), date(2025, 6, 14)
    bars = peer.bars_of(series)
    for module, class_name in peer.STRATEGIES:
        ours, theirs = both(desk, peer.strategy_file(module), class_name, series, start, end, {}, bars)
        assert peer.trade_rows(ours.trades) == peer.trade_rows(theirs.get_all_trades()), class_name


@pytest.mark.parametrize(("module", "class_name"), [peer.STRATEGIES[2], peer.STRATEGIES[4], peer.STRATEGIES[5]])
def test_trades_are_equal_tick_by_tick(desk, histories, module, class_name):
    """The strategies make their own minutes of the ticks, as in vnpy."""
    bars, start, _ = histories[0]
    prices = product_prices(5, desk.book, desk.calendar, desk.settings)
    path, _ = next(paths(prices, "au2512", [start]))
    ticks = TickSeries.from_ticks(list(path.ticks(0, 12_000)))
    warmup = bars.rows(0, bars.first_of(start))
    file = peer.strategy_file(module)
    kind = load_class(file, class_name)
    plan = plan_of(desk, kind, ticks, start, start)
    plan = Plan(
        plan.strategies,
        plan.series,
        start,
        start,
        desk.book,
        desk.calendar,
        Matching.VNPY,
        warmup={bars.vt_symbol: warmup},
    )
    ours = engine.run(plan)
    instrument = desk.book.get("au2512")
    theirs = peer.engine(
        peer.strategy_class(file, class_name),
        peer.bars_of(warmup),
        0,
        {},
        size=instrument.size,
        tick=instrument.price_tick,
        ticks=peer.ticks_of(ticks),
    )
    peer.run(theirs)
    assert not ours.failures
    assert peer.trade_rows(ours.trades) == peer.trade_rows(theirs.get_all_trades())
    assert len(ours.trades) >= 4
