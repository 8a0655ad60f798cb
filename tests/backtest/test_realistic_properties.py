"""The realistic engine under any bars and any strategy: money is conserved, and every fill could have been."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from few_bars import MONDAY, NIGHT, SYMBOL, TUESDAY, WEDNESDAY, Scripted, bars, house, plan
from hypothesis import given, settings
from hypothesis import strategies as st

from arbig import BarData, Direction, Offset, Status
from arbig.backtest import realistic
from arbig.backtest.contracts import Grid, trading_days
from arbig.backtest.plan import Costs, Plan, StrategyPlan
from arbig.backtest.result import Result
from arbig.domain.ledger import Account
from arbig.domain.template import round_to

TICK, SIZE = 0.02, 1000
COSTS = Costs(slippage_ticks=3, volume_share=0.3, price_limits={"au": 0.05})

bar_rows = st.tuples(
    st.integers(-200, 200), st.integers(0, 60), st.integers(0, 60), st.integers(-60, 60), st.integers(0, 40)
)
days = st.lists(st.lists(bar_rows, min_size=1, max_size=12), min_size=3, max_size=3)
wishes = st.tuples(
    st.sampled_from(["buy", "sell", "short", "cover", "cancel"]), st.integers(-150, 150), st.integers(1, 6),
    st.booleans(), st.sampled_from(["", "lock", "net"]),
)  # fmt: skip
scripts = st.lists(st.lists(wishes, max_size=3), max_size=30)


def made_bars(drawn: list[list[tuple[int, ...]]]) -> list[BarData]:
    """Open, the reach above and below, close, in ticks; the day's limits are kept."""
    found: list[BarData] = []
    level, settled = 40_000, None
    drawn = [[(*drawn[0][0][:4], 10), *drawn[0][1:]], *drawn[1:]]  # a series without any volume has no limit
    for day, rows in zip((MONDAY, TUESDAY, WEDNESDAY), drawn, strict=True):
        made = []
        low, high = (0, 10**6) if settled is None else (settled * 96 // 100, settled * 104 // 100)
        for jump, above, below, close, volume in rows:
            first = min(max(level + jump, low), high)
            level = min(max(first + close, low), high)
            top, bottom = min(max(first, level) + above, high), max(min(first, level) - below, low)
            made.append((*(round(one * TICK, 2) for one in (first, top, bottom, level)), volume))
        found += bars(day, made, NIGHT if day is TUESDAY else 540)  # type: ignore[arg-type]
        settled = level
    return found


class Drawn(Scripted):
    """Does what was drawn, near the newest close."""

    def on_bar(self, bar: BarData) -> None:
        self.number += 1
        for kind, ticks, volume, stop, mode in self.steps.get(self.number, ()):
            price = bar.close_price + ticks * TICK
            if kind == "cancel":
                self.cancel_all()
            else:
                getattr(self, kind)(price, volume, stop, lock=mode == "lock", net=mode == "net")


def drawn_plan(drawn: Any, script: Any, capital: float = 3_000_000.0) -> Plan:
    steps = dict(enumerate(script, 1))
    made = plan(made_bars(drawn), {}, capital=capital, costs=COSTS)
    strategy = StrategyPlan(Drawn, "any", (SYMBOL,), {"steps": steps}, capital)
    return replace(made, strategies=(strategy,))


def played(made: Plan) -> Result:
    """The run's result; only the money may have ended it."""
    result = realistic.run(made)
    assert all("blown up" in failure.reason for failure in result.failures), result.failures
    return result


def facts(result: Result) -> tuple[Any, ...]:
    return tuple(result.orders), tuple(result.trades), tuple(result.stop_orders), result.days, result.positions


@settings(max_examples=150, deadline=None)
@given(days, scripts)
def test_money_is_conserved_to_the_cent(drawn: Any, script: Any) -> None:
    """What was paid and received, what is held at the last settlement and what was charged make the balance."""
    result = played(drawn_plan(drawn, script))
    cash = -sum(trade.direction.sign * trade.price * trade.volume * SIZE for trade in result.trades)
    held = sum(trade.direction.sign * trade.volume for trade in result.trades)
    fees = sum(day.commission for day in result.days)
    last = result.days[-1]
    assert last.position == ({SYMBOL: held} if held else {})
    if not result.failures:  # who blew up inside a day has no settlement
        series = result.plan.series[SYMBOL]
        settlement = trading_days(series, house()[0].get(SYMBOL), 0.05, MONDAY, WEDNESDAY)[-1].settlement
        assert last.balance == pytest.approx(3_000_000 + cash + held * settlement * SIZE - fees, abs=0.005)
    assert last.balance - 3_000_000 == pytest.approx(sum(day.net_pnl for day in result.days), abs=0.005)
    for day in result.days:
        parts = day.holding_pnl + day.trading_pnl - day.commission - day.slippage
        assert day.net_pnl == pytest.approx(parts, abs=0.005)


@settings(max_examples=150, deadline=None)
@given(days, scripts)
def test_the_books_are_the_counter_s_own_ledger_fed_with_the_trades(drawn: Any, script: Any) -> None:
    """No close ever takes what is not held: the ledger would refuse it."""
    result = played(drawn_plan(drawn, script))
    if result.failures:
        return
    instrument = house()[0].get(SYMBOL)
    account = Account(account_id="any", trading_day=MONDAY, pre_balance=3_000_000.0)
    for day, row in zip(
        trading_days(result.plan.series[SYMBOL], instrument, 0.05, MONDAY, WEDNESDAY), result.days, strict=True
    ):
        for trade in result.trades:
            if trade.trading_day == day.day:
                account = account.after(trade, instrument)
        account = account.settled({instrument.symbol: instrument}, {instrument.symbol: day.settlement}, day.day)
        assert row.balance == pytest.approx(account.pre_balance, abs=1e-6)


@settings(max_examples=200, deadline=None)
@given(days, scripts)
def test_every_fill_could_have_been(drawn: Any, script: Any) -> None:
    """Later than its order, inside the bar (slippage aside) or at its own price which the bar passed, inside the day's
    limits, within the share of the volume, never worse than its own price."""
    result = played(drawn_plan(drawn, script))
    by_time = {bar.datetime: bar for bar in result.plan.series[SYMBOL].bars()}  # type: ignore[union-attr]
    orders = {order.order_id: order for order in result.orders}
    taken: dict[tuple[Any, Direction], int] = defaultdict(int)
    limits = limits_of(result.plan)
    for trade in result.trades:
        order, bar = orders[trade.order_id], by_time[trade.datetime]
        sign, slip = trade.direction.sign, COSTS.slippage_ticks * TICK + 1e-9
        assert (order.price - trade.price) * sign >= -1e-9
        inside = bar.low_price - slip <= trade.price <= bar.high_price + slip
        furthest = bar.low_price if sign > 0 else bar.high_price
        passed = trade.price == order.price and (order.price - furthest) * sign > TICK / 2
        assert inside or passed
        low, high = limits[bar.trading_day]  # type: ignore[index]
        assert low - 1e-9 <= trade.price <= high + 1e-9
        assert order.datetime <= trade.datetime
        taken[trade.datetime, trade.direction] += trade.volume
    for (moment, _), volume in taken.items():
        assert by_time[moment].volume > 0
        assert volume <= max(1, int(by_time[moment].volume * COSTS.volume_share))


def limits_of(made: Plan) -> dict[date, tuple[float, float]]:
    instrument = made.book.get(SYMBOL)
    found = trading_days(made.series[SYMBOL], instrument, 0.05, made.start, made.end)
    return {day.day: (day.limit_down, day.limit_up) for day in found}


@settings(max_examples=100, deadline=None)
@given(days, scripts)
def test_an_order_s_end_tells_what_became_of_every_lot(drawn: Any, script: Any) -> None:
    result = played(drawn_plan(drawn, script))
    filled: dict[str, int] = defaultdict(int)
    for trade in result.trades:
        filled[trade.order_id] += trade.volume
    for order in result.orders:
        assert order.traded == filled[order.order_id] <= order.volume
        assert (order.status is Status.ALLTRADED) == (order.traded == order.volume)
        assert order.status is not Status.REJECTED or order.error_msg


@settings(max_examples=30, deadline=None)
@given(days, scripts)
def test_a_plan_run_twice_gives_the_same_to_the_last_digit(drawn: Any, script: Any) -> None:
    made = drawn_plan(drawn, script)
    assert facts(realistic.run(made)) == facts(realistic.run(made))


@settings(max_examples=30, deadline=None)
@given(days, scripts, scripts)
def test_strategies_of_one_plan_do_not_disturb_one_another(drawn: Any, script: Any, other: Any) -> None:
    alone = drawn_plan(drawn, script)
    second = replace(alone.strategies[0], name="other", params={"steps": dict(enumerate(other, 1))}, capital=900_000.0)
    both = realistic.run(replace(alone, strategies=(second, *alone.strategies)))
    found = realistic.run(alone)
    assert [trade for trade in both.trades if trade.strategy_name == "any"] == list(found.trades)
    assert [day for day in both.days if day.strategy_name == "any"] == list(found.days)


@settings(max_examples=300, deadline=None)
@given(
    st.floats(0.001, 2_000_000, allow_nan=False),
    st.sampled_from([0.02, 0.2, 0.5, 0.05, 0.1, 0.005, 1.0, 5.0, 10.0, 50.0, 0.25]),
)
def test_the_fast_grid_is_the_exact_one(price: float, tick: float) -> None:
    assert Grid(tick).nearest(price) == round_to(price, tick)


@given(st.integers(1, 200_000), st.sampled_from([0.02, 0.5, 0.1, 1.0, 5.0]))
def test_half_a_tick_is_rounded_as_decimals_are(count: int, tick: float) -> None:
    price = float(f"{(count + 0.5) * tick:.6f}")
    assert Grid(tick).nearest(price) == round_to(price, tick)


def test_drawn_strategies_reach_every_kind_of_trade() -> None:
    """A guard for the tests above."""
    reached: set[Offset] = set()
    drawn = [[(10, 30, 30, 5 if number % 2 else -5, 40) for number in range(12)] for _ in range(3)]
    script = [[("buy", 100, 3, False, "")], [("sell", -100, 1, False, "")]] * 15
    for trade in played(drawn_plan(drawn, script)).trades:
        reached.add(trade.offset)
    assert reached == {Offset.OPEN, Offset.CLOSETODAY, Offset.CLOSEYESTERDAY}
