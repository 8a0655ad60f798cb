"""Tampering: what is cut off is gone, what is scrambled is another market, and what came before is untouched."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime

import hypothesis.strategies as st
import numpy as np
import pytest
import short_market
from follower import Follower
from hypothesis import given, settings

from arbig.backtest import tampering
from arbig.backtest.plan import Plan
from arbig.backtest.series import BarSeries, TickSeries

COLUMNS = ("open", "high", "low", "close", "volume", "turnover", "open_interest")
rows = st.integers(3 * 345, 6 * 345 - 2)


def plan() -> Plan:
    return short_market.plan(Follower)


def only(plan: Plan) -> BarSeries:
    (series,) = plan.series.values()
    assert isinstance(series, BarSeries)
    return series


def moment(row: int) -> datetime:
    found: datetime = short_market.bars().datetime[row].astype(datetime)
    return found


@settings(max_examples=20, deadline=None)
@given(row=rows, how=st.sampled_from(sorted(tampering.CHANGES)), seed=st.integers(0, 99))
def test_a_scrambled_market_is_the_same_until_then_and_another_one_after(row: int, how: str, seed: int) -> None:
    """Bars stay bars: the high is highest, prices are on the tick, nothing is missing."""
    before, after = only(plan()), only(tampering.scrambled(plan(), moment(row), how, seed))
    for name in COLUMNS:
        assert np.array_equal(getattr(before, name)[: row + 1], getattr(after, name)[: row + 1])
        assert np.isfinite(getattr(after, name)).all()
    assert np.array_equal(before.datetime, after.datetime)
    assert not np.array_equal(before.close[row + 1 :], after.close[row + 1 :])
    assert (after.high >= np.maximum(after.open, after.close)).all()
    assert (after.low <= np.minimum(after.open, after.close)).all()
    assert (after.low > 0).all()
    assert np.array_equal(after.close, np.round(after.close))


@settings(max_examples=20, deadline=None)
@given(row=rows)
def test_mirrored_is_every_rise_a_fall(row: int) -> None:
    """A peek at the next move is always turned round."""
    before, after = only(plan()), only(tampering.scrambled(plan(), moment(row), "mirrored", 1))
    was, is_now = np.diff(before.close[row:]), np.diff(after.close[row:])
    large = np.abs(was) > 2
    assert (np.sign(is_now[large]) == -np.sign(was[large])).all()


@settings(max_examples=20, deadline=None)
@given(row=rows)
def test_a_cut_leaves_nothing_to_reach(row: int) -> None:
    """Not even through the array behind a view."""
    cut = tampering.cut(plan(), moment(row))
    series = only(cut)
    assert len(series) == row + 1
    assert cut.end == series.trading_day[-1].astype(date)
    assert all(getattr(series, name).base is None for name in (*COLUMNS, "datetime", "trading_day"))


@pytest.mark.parametrize(("days", "expected"), [(0, 0), (1, 345), (3, 3 * 345), (9, 3 * 345)])
def test_history_is_shortened_by_whole_trading_days(days: int, expected: int) -> None:
    """The oldest go first."""
    assert only(tampering.with_history(plan(), days)).first_of(short_market.START) == expected
    assert tampering.history_days(plan()) == 3


@pytest.mark.parametrize("how", sorted(tampering.CHANGES))
def test_ticks_are_scrambled_with_their_books(how: str) -> None:
    """The bid stays under the ask, and tick mode's bars go the other way too."""
    given_plan = replace(short_market.tick_plan(Follower), warmup={short_market.bars().vt_symbol: short_market.bars()})
    before, row = short_market.ticks(), len(short_market.ticks()) // 2
    middle = before.datetime[row].astype(datetime)
    changed = tampering.scrambled(given_plan, middle, how, 1)
    (after,), (bars,) = changed.series.values(), changed.warmup.values()
    assert isinstance(after, TickSeries)
    assert (after.bid_price_1 < after.ask_price_1).all()
    assert (after.low_price <= after.last_price).all() or how == "shuffled"
    assert np.array_equal(before.last_price[: row + 1], after.last_price[: row + 1])
    assert not np.array_equal(before.last_price[row + 1 :], after.last_price[row + 1 :])
    assert not np.array_equal(bars.close, short_market.bars().close)


def test_the_bar_of_a_running_minute_is_cut_off_with_its_ticks() -> None:
    """It holds ticks that are still to come."""
    given_plan = replace(short_market.tick_plan(Follower), warmup={short_market.bars().vt_symbol: short_market.bars()})
    moment = datetime(2025, 10, 20, 10, 5, 10)
    (bars,) = tampering.cut(given_plan, moment).warmup.values()
    assert bars.datetime[-1] == np.datetime64("2025-10-20T10:04:00")
