"""Performance: figures a trader can check by hand, and none where there is nothing to know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from math import isnan, log, sqrt
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbig.backtest.performance import (
    Cost,
    RoundTrip,
    costs_of,
    equity,
    exposure_of,
    monthly_returns,
    ratios,
    round_trips,
    round_trips_of,
    statistics,
    statistics_of,
)
from arbig.backtest.plan import Costs, Matching, Opening, Plan, StrategyPlan
from arbig.backtest.result import Day, Failure, Result
from arbig.backtest.series import BarSeries
from arbig.domain.fees import FeeSchedule
from arbig.domain.instruments import InstrumentBook, ProductRow
from arbig.domain.messages import SHANGHAI, BarData, Direction, Exchange, Offset, TradeData
from arbig.domain.positions import Holding, Lots, Side
from arbig.domain.sessions import TradingCalendar
from arbig.domain.template import CtaTemplate

LONG, SHORT = Direction.LONG, Direction.SHORT
OPEN, CLOSE, TODAY = Offset.OPEN, Offset.CLOSE, Offset.CLOSETODAY
MONDAY = date(2025, 9, 1)
GOLD = {"au2512.SHFE": 1000.0}


def trade(
    minute: int,
    direction: Direction,
    price: float,
    volume: int = 1,
    *,
    order: str | None = None,
    offset: Offset = OPEN,
    day: date = MONDAY,
    strategy: str = "ma",
    symbol: str = "au2512",
) -> TradeData:
    return TradeData(
        trade_id=str(minute), order_id=order or str(minute), symbol=symbol, exchange=Exchange.SHFE,
        direction=direction, offset=offset, price=price, volume=volume, strategy_name=strategy, trading_day=day,
        datetime=datetime(day.year, day.month, day.day, 9, tzinfo=SHANGHAI) + timedelta(minutes=minute),
    )  # fmt: skip


def days(profits: Sequence[float], first: date = MONDAY, **given: float) -> list[Day]:
    """A Day for every calendar day from `first`."""
    facts = {"commission": 0.0, "slippage": 0.0, "turnover": 0.0, "trade_count": 0} | given
    return [
        Day(
            trading_day=first + timedelta(days=number),
            strategy_name="ma",
            balance=0.0,
            net_pnl=profit,
            holding_pnl=profit,
            trading_pnl=0.0,
            margin=0.0,
            position={},
            **facts,
        )
        for number, profit in enumerate(profits)
    ]


def summary(trips: Iterable[RoundTrip]) -> list[tuple[Direction, int, float, float, float, bool]]:
    return [(one.direction, one.volume, one.entry_price, one.exit_price, one.pnl, one.is_open) for one in trips]


# ---- round trips --------------------------------------------------------------------------------------------------


def test_a_buy_and_a_sell_are_a_round_trip():
    trips = round_trips([trade(0, LONG, 600.0), trade(5, SHORT, 602.5, offset=CLOSE)], GOLD)
    assert summary(trips) == [(LONG, 1, 600.0, 602.5, 2500.0, False)]
    assert trips[0].held == timedelta(minutes=5)


def test_the_oldest_lots_are_closed_first_and_partial_closes_are_trips_of_their_own():
    trips = round_trips(
        [trade(0, LONG, 600.0, 2), trade(1, LONG, 610.0, 2), trade(2, SHORT, 620.0, 1), trade(3, SHORT, 630.0, 2)], GOLD
    )
    assert summary(trips) == [
        (LONG, 1, 600.0, 620.0, 20_000.0, False),
        (LONG, 1, 600.0, 630.0, 30_000.0, False),
        (LONG, 1, 610.0, 630.0, 20_000.0, False),
        (LONG, 1, 610.0, 610.0, 0.0, True),
    ]


def test_a_reversal_closes_and_opens_the_other_side():
    trips = round_trips([trade(0, LONG, 600.0, 1), trade(1, SHORT, 590.0, 3)], GOLD, prices={"au2512.SHFE": 580.0})
    assert summary(trips) == [(LONG, 1, 600.0, 590.0, -10_000.0, False), (SHORT, 2, 590.0, 580.0, 20_000.0, True)]


def test_fills_of_one_order_are_one_trip_at_their_average_price():
    """A partly filled order does not count as several wins."""
    trips = round_trips(
        [
            trade(0, LONG, 600.0, 1, order="buy"),
            trade(1, LONG, 603.0, 2, order="buy"),
            trade(5, SHORT, 610.0, 2, order="sell"),
            trade(6, SHORT, 613.0, 1, order="sell"),
        ],
        GOLD,
    )
    assert summary(trips) == [(LONG, 3, 602.0, 611.0, 27_000.0, False)]


def test_strategies_and_contracts_do_not_close_one_another():
    trips = round_trips(
        [trade(0, LONG, 600.0), trade(1, SHORT, 610.0, strategy="other"), trade(2, SHORT, 620.0, symbol="au2602")],
        GOLD | {"au2602.SHFE": 1000.0},
    )
    assert [trip.is_open for trip in trips] == [True, True, True]


fills = st.lists(
    st.tuples(
        st.sampled_from([LONG, SHORT]),
        st.integers(29_000, 31_000),
        st.integers(1, 5),
        st.sampled_from(["ma", "rsi"]),
        st.sampled_from(["au2512", "au2602"]),
        st.integers(0, 2),
    ),
    max_size=40,
)


@given(fills, st.integers(29_000, 31_000), st.integers(29_000, 31_000))
@settings(max_examples=150, deadline=None)
def test_round_trips_and_the_open_rest_are_the_whole_account(given_fills, last_near, last_far):
    """Any fills of any strategies: profit, costs and lots of the trips are those of the account, to the cent."""
    trades = [
        trade(
            n,
            direction,
            ticks / 50,
            volume,
            strategy=strategy,
            symbol=symbol,
            order=f"{strategy}{symbol}{direction}{n - back}",
        )
        for n, (direction, ticks, volume, strategy, symbol, back) in enumerate(given_fills)
    ]
    sizes = {"au2512.SHFE": 1000.0, "au2602.SHFE": 1000.0}
    last = {"au2512.SHFE": last_near / 50, "au2602.SHFE": last_far / 50}
    costs = [Cost(10.0 * one.volume, 20.0 * one.volume) for one in trades]
    trips = round_trips(trades, sizes, costs, last)

    cash = sum(-one.direction.sign * one.price * one.volume * sizes[one.vt_symbol] for one in trades)
    net: Counter[tuple[str, str]] = Counter()
    for one in trades:
        net[one.strategy_name, one.vt_symbol] += one.direction.sign * one.volume
    worth = cash + sum(lots * last[symbol] * sizes[symbol] for (_, symbol), lots in net.items())
    held: Counter[tuple[str, str]] = Counter()
    for trip in trips:
        if trip.is_open:
            held[trip.strategy_name, trip.vt_symbol] += trip.direction.sign * trip.volume

    assert sum(trip.pnl for trip in trips) == pytest.approx(worth, abs=0.01)
    assert sum(trip.cost.commission for trip in trips) == pytest.approx(sum(one.commission for one in costs))
    assert sum(trip.cost.slippage for trip in trips) == pytest.approx(sum(one.slippage for one in costs))
    assert {key: lots for key, lots in held.items() if lots} == {key: lots for key, lots in net.items() if lots}
    assert all(trip.volume > 0 for trip in trips)


# ---- of a run -----------------------------------------------------------------------------------------------------


class Sleeper(CtaTemplate):
    author = "tests"


def bars(day: date, closes: Sequence[float]) -> list[BarData]:
    start = datetime(day.year, day.month, day.day, 9, tzinfo=SHANGHAI)
    return [
        BarData(
            symbol="au2512",
            exchange=Exchange.SHFE,
            datetime=start + timedelta(minutes=n),
            interval="1m",
            open_price=close,
            high_price=close + 0.5,
            low_price=close - 0.5,
            close_price=close,
            volume=10,
            open_interest=1,
            trading_day=day,
        )
        for n, close in enumerate(closes)
    ]


BOOK = InstrumentBook.from_rows(
    [
        ProductRow(
            product="au",
            exchange=Exchange.SHFE,
            name="黄金",
            english_name="Gold",
            valid_from=date(2008, 1, 9),
            size=1000,
            price_tick=0.02,
            night_close=None,
            position_date_type="1",
            max_order_volume=500,
            margin_rate=0.14,
            fees=FeeSchedule(open_by_lot=10.0, close_by_lot=10.0, close_today_by_lot=2.0),
        )
    ]
)
PRICES = [600.0, 601.0, 602.0, 603.0, 599.0, 598.0, 604.0, 605.0]


def run(*trades: TradeData, profits: Sequence[float] = (), matching: Matching = Matching.REALISTIC) -> Result:
    """A run of two days of eight minutes."""
    series = BarSeries.from_bars([*bars(MONDAY, PRICES), *bars(MONDAY + timedelta(days=1), PRICES)])
    plan = Plan(
        strategies=(StrategyPlan(Sleeper, "ma", ("au2512.SHFE",), capital=100_000.0),),
        series={"au2512.SHFE": series},
        start=MONDAY,
        end=MONDAY + timedelta(days=1),
        book=BOOK,
        calendar=TradingCalendar({MONDAY, MONDAY + timedelta(days=1)}),
        matching=matching,
        costs=Costs(rate=0.0001, slippage=0.1),
    )
    return Result(plan, (), trades, (), tuple(days(profits)), (), (), ())


def test_a_trip_knows_its_worst_and_best_moment_and_its_bars():
    """Bought at 601 in the second minute, sold at 604 in the seventh: lows reach 597.5, highs 603.5, the exit 604."""
    (trip,) = round_trips_of(run(trade(1, LONG, 601.0), trade(6, SHORT, 604.0, offset=TODAY)))
    assert (trip.worst, trip.best, trip.bars) == (-3500.0, 3000.0, 5)
    (short,) = round_trips_of(run(trade(1, SHORT, 601.0), trade(6, LONG, 604.0, offset=TODAY)))
    assert (short.worst, short.best) == (-3000.0, 3500.0)


def test_what_is_open_is_valued_as_the_account_is():
    """At the settlement price, the average of the last day; vnpy's account takes the last close."""
    (trip,) = round_trips_of(run(trade(1, LONG, 601.0, 2)))
    assert (trip.is_open, trip.exit_price, trip.pnl, trip.bars) == (True, 601.5, 1000.0, 15)
    (trip,) = round_trips_of(run(trade(1, LONG, 601.0, 2), matching=Matching.VNPY))
    assert (trip.exit_price, trip.pnl) == (605.0, 8000.0)


@pytest.mark.parametrize(("matching", "price", "bars"), [(Matching.REALISTIC, 603.0, 3), (Matching.VNPY, 599.0, 4)])
def test_what_a_failed_strategy_left_open_is_valued_when_it_failed(matching, price, bars):
    """At four minutes past nine: the fourth bar is over, the fifth, named by that time, is what vnpy just saw."""
    result = run(trade(1, LONG, 601.0), profits=[0.0], matching=matching)
    failure = Failure("ma", datetime(2025, 9, 1, 9, 4, tzinfo=SHANGHAI), "ZeroDivisionError")
    (trip,) = round_trips_of(replace(result, failures=(failure,)))
    assert (trip.exit_price, trip.bars) == (price, bars)


def test_lots_from_before_the_first_day_are_trips_from_its_start():
    """They count from their mark, as the account counts them; closing yesterday's lots costs ten yuan."""
    result = run(trade(3, SHORT, 603.0, offset=CLOSE))
    before = Opening({"au2512": Holding(symbol="au2512", long=Side(yesterday_lots=(Lots(2, 590.0, 599.0),)))})
    (strategy,) = result.plan.strategies
    plan = replace(result.plan, strategies=(replace(strategy, opening=before),))
    trips = round_trips_of(replace(result, plan=plan))
    assert summary(trips) == [(LONG, 1, 599.0, 603.0, 4000.0, False), (LONG, 1, 599.0, 601.5, 2500.0, True)]
    assert [trip.cost.commission for trip in trips] == [10.0, 0.0]


def test_fees_are_the_contracts_own_by_the_age_of_the_lots():
    """Ten yuan to open, two to close lots of today, ten to close yesterday's."""
    tuesday = MONDAY + timedelta(days=1)
    trades = (
        trade(0, LONG, 600.0, 3),
        trade(1, SHORT, 601.0, 1, offset=TODAY),
        trade(2, SHORT, 601.0, 2, offset=CLOSE, day=tuesday),
    )
    assert [cost.commission for cost in costs_of(run(*trades).plan, trades)] == [30.0, 2.0, 20.0]
    assert [trip.cost.commission for trip in round_trips_of(run(*trades))] == [12.0, 40.0]


def test_vnpy_costs_are_the_plans_rate_and_slippage():
    result = run(trade(0, LONG, 600.0, 2), matching=Matching.VNPY)
    assert list(costs_of(result.plan, result.trades)) == [Cost(2 * 1000 * 600.0 * 0.0001, 2 * 1000 * 0.1)]


def test_exposure_is_the_share_of_minutes_in_a_position():
    result = run(trade(2, LONG, 600.0), trade(6, SHORT, 601.0, offset=TODAY))
    assert exposure_of(result, round_trips_of(result)) == 4 / 16
    assert exposure_of(run(), ()) == 0.0


# ---- statistics ---------------------------------------------------------------------------------------------------

PROFITS = [1000.0, -500.0, 2000.0, -1500.0, 0.0, 700.0]
RETURNS = [1000 / 100_000, -500 / 101_000, 2000 / 100_500, -1500 / 102_500, 0.0, 700 / 101_000]


def test_the_figures_are_those_worked_out_by_hand():
    figures = statistics(days(PROFITS), (), 100_000.0)
    mean = sum(RETURNS) / 6
    deviation = sqrt(sum((r - mean) ** 2 for r in RETURNS) / 5)
    downside = sqrt(sum(min(r, 0) ** 2 for r in RETURNS) / 6)
    annual = 1.017 ** (240 / 6) - 1
    expected = {
        "end_balance": 101_700.0,
        "total_net_pnl": 1700.0,
        "total_return": 0.017,
        "annual_return": annual,
        "annual_volatility": deviation * sqrt(240),
        "sharpe": mean / deviation * sqrt(240),
        "sortino": mean * 240 / (downside * sqrt(240)),
        "max_drawdown": -1500.0,
        "max_drawdown_share": -1500 / 102_500,
        "max_drawdown_days": 3,
        "calmar": annual / (1500 / 102_500),
        "profit_days": 3,
        "loss_days": 2,
    }
    assert {name: figures[name] for name in expected} == pytest.approx(expected)


def test_the_risk_free_rate_is_a_year_s():
    figures = statistics(days(PROFITS), (), 100_000.0, annual_days=250, risk_free=0.025)
    excess = np.array(RETURNS) - 0.0001
    assert figures["sharpe"] == pytest.approx(excess.mean() / excess.std(ddof=1) * sqrt(250))


@given(
    st.lists(st.floats(-0.2, 0.2).map(lambda share: round(share, 6)), min_size=2, max_size=300),
    st.sampled_from([240, 252]),
    st.sampled_from([0.0, 0.0001]),
)
@settings(max_examples=150, deadline=None)
def test_the_ratios_are_empyricals(shares, annual_days, daily_rate):
    import empyrical

    returns = np.array(shares)
    excess = returns - daily_rate
    theirs = {
        "annual_return": empyrical.annual_return(returns, annualization=annual_days),
        "annual_volatility": empyrical.annual_volatility(returns, annualization=annual_days),
        "sharpe": empyrical.sharpe_ratio(excess, annualization=annual_days),
        "sortino": empyrical.sortino_ratio(excess, annualization=annual_days),
        "calmar": empyrical.calmar_ratio(returns, annualization=annual_days),
    }
    with np.errstate(all="ignore"):
        ours = ratios(returns, excess, annual_days)
    assert ours.keys() == theirs.keys()
    known = [name for name, value in theirs.items() if np.isfinite(value) and np.ptp(returns) > 1e-9]
    assert {name: ours[name] for name in known} == pytest.approx({name: theirs[name] for name in known}, rel=1e-9)


def test_where_the_definition_is_vnpys_the_figure_is_vnpys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Money, drawdown, counts and total return; its Sharpe ratio is ours over log returns."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    import pandas as pd
    from vnpy_ctastrategy.backtesting import BacktestingEngine

    rng = np.random.default_rng(7)
    rows = days(
        rng.normal(300, 4000, 200).round(2).tolist(), commission=12.5, slippage=20.0, turnover=6e5, trade_count=3
    )
    engine = BacktestingEngine()
    engine.capital, engine.annual_days, engine.risk_free, engine.half_life = 1_000_000, 240, 0, 120
    columns = ("net_pnl", "commission", "slippage", "turnover", "trade_count")
    table = [{name: getattr(row, name) for name in columns} for row in rows]
    frame = pd.DataFrame(table, index=[row.trading_day for row in rows])
    theirs = engine.calculate_statistics(frame, output=False)
    ours = statistics(rows, (), 1_000_000.0)
    same = (
        "total_days", "profit_days", "loss_days", "end_balance", "max_drawdown", "total_net_pnl", "daily_net_pnl",
        "total_commission", "total_slippage", "total_turnover", "daily_turnover", "total_trade_count",
        "daily_trade_count",
    )  # fmt: skip
    assert {name: ours[name] for name in same} == pytest.approx({name: theirs[name] for name in same})
    assert ours["total_return"] * 100 == pytest.approx(theirs["total_return"])
    assert ours["max_drawdown_share"] * 100 == pytest.approx(theirs["max_ddpercent"])
    logs = np.array([log(1 + r) for r in equity(rows, 1_000_000.0).returns])
    assert theirs["sharpe_ratio"] == pytest.approx(logs.mean() / logs.std(ddof=1) * sqrt(240))


def trip(net: float, minutes: int = 10) -> RoundTrip:
    start = datetime(2025, 9, 1, 9, tzinfo=SHANGHAI)
    return RoundTrip("ma", "au2512.SHFE", LONG, 1, start, 600.0, start + timedelta(minutes=minutes), 600.0, net)


def test_trips_give_win_rate_profit_factor_and_averages():
    figures = statistics(days(PROFITS), [trip(300), trip(-100, 30), trip(-50), trip(100)], 100_000.0)
    expected = {
        "round_trips": 4, "win_rate": 0.5, "profit_factor": 400 / 150, "average_trip": 62.5, "average_win": 200.0,
        "average_loss": -75.0, "best_trip": 300.0, "worst_trip": -100.0, "average_minutes_held": 15.0,
        "longest_losing_streak": 2,
    }  # fmt: skip
    assert {name: figures[name] for name in expected} == pytest.approx(expected)


@pytest.mark.parametrize("profits", [[], [500.0]])
def test_no_day_or_one_has_no_risk_figures_and_says_so(profits):
    figures = statistics(days(profits), (), 100_000.0)
    assert isnan(figures["sharpe"]) and isnan(figures["annual_return"])
    assert figures.notes["sharpe"] == f"found {len(profits)} trading days, at least 2 are needed"
    assert figures["end_balance"] == 100_000.0 + sum(profits)


def test_two_days_have_figures_that_are_marked_as_thin():
    figures = statistics(days([500.0, -200.0]), (), 100_000.0)
    assert figures["sharpe"] > 0
    assert figures.notes["sharpe"] == "a year's figure from 2 trading days only"


def test_without_volatility_there_is_no_ratio():
    flat = statistics(days([0.0] * 80), (), 100_000.0)
    assert (flat["annual_return"], flat["annual_volatility"], flat["max_drawdown"]) == (0.0, 0.0, 0.0)
    assert {name for name in ("sharpe", "sortino", "calmar") if isnan(flat[name])} == {"sharpe", "sortino", "calmar"}
    assert flat.notes["sharpe"] == "every day returned the same: no volatility to divide by"


def test_a_year_without_a_loss_has_no_sortino_and_no_profit_factor():
    figures = statistics(days([100.0, 200.0] * 40), [trip(100)], 100_000.0)
    assert isnan(figures["sortino"]) and isnan(figures["calmar"]) and isnan(figures["profit_factor"])
    assert figures["sharpe"] > 0 and figures["win_rate"] == 1.0
    assert figures.notes["profit_factor"] == "no round trip lost"


def test_a_blown_up_account_has_a_drawdown_but_no_ratios():
    figures = statistics(days([1000.0, -150_000.0, 2000.0]), (), 100_000.0)
    assert figures["max_drawdown"] == -150_000.0 and figures["end_balance"] == -47_000.0
    assert isnan(figures["sharpe"])
    assert figures.notes["sharpe"] == "the account was blown up on 2025-09-02"


@given(st.lists(st.floats(-60_000, 60_000, allow_nan=False), max_size=30), st.sampled_from([0.0, 1.0, 100_000.0]))
@settings(max_examples=150, deadline=None)
def test_every_account_has_figures_or_a_reason(profits, capital):
    figures = statistics(days(profits), (), capital)
    assert [name for name, value in figures.items() if isnan(value) and name not in figures.notes] == []
    assert not [name for name, value in figures.items() if value in (float("inf"), float("-inf"))]


def test_a_run_has_all_figures():
    result = run(trade(2, LONG, 600.0), trade(6, SHORT, 601.0, offset=TODAY), profits=[988.0, 0.0])
    figures = statistics_of(result)
    assert (figures["exposure"], figures["round_trips"], figures["best_trip"]) == (0.25, 1.0, 988.0)


def test_strategies_are_added_up_by_trading_day():
    account = equity([*days([100.0, 200.0]), *days([10.0, -20.0])], 1000.0)
    assert account.balance.tolist() == [1110.0, 1290.0]


# ---- months -------------------------------------------------------------------------------------------------------


def test_months_multiply_to_the_whole_return():
    rows = days([300.0] * 70, first=date(2025, 11, 20))
    months = monthly_returns(rows, 100_000.0)
    assert list(months) == [(2025, 11), (2025, 12), (2026, 1)]
    assert months[2025, 11] == pytest.approx(11 * 300 / 100_000)
    assert np.prod([1 + share for share in months.values()]) == pytest.approx(1 + 70 * 300 / 100_000)


def test_no_days_have_no_months():
    assert monthly_returns([], 100_000.0) == {}
    assert isnan(monthly_returns(days([-2000.0] * 40), 1000.0)[2025, 10])
