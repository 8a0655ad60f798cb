"""The realistic engine on bars: what fills, at what price, how much, and what is refused. One sentence a rule."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from few_bars import FREE, MONDAY, MORNING, NIGHT, SYMBOL, TUESDAY, WEDNESDAY, bars, fills, house, plan, reasons, run

from arbig import Direction, Offset, Status, StopOrderStatus
from arbig.backtest import realistic
from arbig.backtest.plan import Costs, Plan, PlanError, StrategyPlan
from arbig.domain.counter import AT_THE_CLOSE, FORBIDDEN_NOW, error_message

SLIPPING = Costs(slippage_ticks=2, price_limits={"au": 0.1})


# ---- limit orders


def test_an_order_is_never_filled_by_the_bar_that_caused_it() -> None:
    """It was sent when that bar was over."""
    result = run(bars(MONDAY, [(800, 800, 700, 800), 900]), {1: lambda s: s.buy(800, 1)})
    assert fills(result) == []


def test_an_order_across_the_open_fills_there_plus_slippage() -> None:
    result = run(bars(MONDAY, [800, (800.1, 802, 800, 801)]), {1: lambda s: s.buy(801, 1)}, costs=SLIPPING)
    assert fills(result) == [(800.14, 1)]


def test_slippage_stops_at_the_order_s_own_price() -> None:
    result = run(bars(MONDAY, [800, (800.1, 802, 800, 801)]), {1: lambda s: s.buy(800.12, 1)}, costs=SLIPPING)
    assert fills(result) == [(800.12, 1)]


def test_a_sell_across_the_open_slips_downwards() -> None:
    result = run(bars(MONDAY, [800, (800.1, 802, 799, 801)]), {1: lambda s: s.short(799, 1)}, costs=SLIPPING)
    assert fills(result) == [(800.06, 1)]


def test_a_mere_touch_fills_nobody() -> None:
    result = run(bars(MONDAY, [800, (800, 801, 799, 800)]), {1: lambda s: s.buy(799, 1)})
    assert fills(result) == []


def test_a_resting_order_fills_at_its_own_price_when_traded_through() -> None:
    rows = [800, (800, 801, 799.5, 800), (800, 801, 798.98, 800)]
    result = run(bars(MONDAY, rows), {1: lambda s: s.buy(799, 1)}, costs=SLIPPING)
    assert fills(result) == [(799, 1)]
    assert result.trades[0].datetime == bars(MONDAY, rows)[2].datetime


def test_an_order_that_rested_keeps_its_price_when_the_market_jumps_over_it() -> None:
    """The seller met it on the way: the open beyond it is not ours."""
    result = run(bars(MONDAY, [800, 800, (790, 791, 789, 790)]), {1: lambda s: s.buy(799, 1)})
    assert fills(result) == [(799, 1)]


def test_no_more_than_a_share_of_the_volume_fills_and_the_rest_goes_on() -> None:
    rows = [800, (800, 801, 800, 801, 50), (802, 803, 801, 802, 20), (803, 804, 802, 803, 1000)]
    heard: list[Any] = []
    result = run(bars(MONDAY, rows), {1: lambda s: s.buy(810, 20)}, heard)
    assert fills(result) == [(800, 10), (802, 4), (803, 6)]
    assert [one.status for one in heard if not isinstance(one, tuple)] == [
        Status.NOTTRADED,
        Status.PARTTRADED,
        Status.PARTTRADED,
        Status.ALLTRADED,
    ]


def test_a_bar_that_traded_gives_at_least_one_lot_and_one_that_did_not_gives_none() -> None:
    rows = [800, (800, 800, 800, 800, 0), (800, 800, 800, 800, 2), 800]
    result = run(bars(MONDAY, rows), {1: lambda s: s.buy(810, 2)})
    assert [(trade.volume, trade.datetime.minute) for trade in result.trades] == [(1, 2), (1, 3)]


def test_the_better_price_takes_the_volume_first() -> None:
    rows = [800, (799, 799, 797, 798, 5)]
    result = run(bars(MONDAY, rows), {1: lambda s: s.buy(798.5, 1) + s.buy(800, 1)})
    assert fills(result) == [(799, 1)]
    assert result.trades[0].order_id == result.orders[1].order_id


def test_a_cancelled_order_fills_no_more() -> None:
    steps = {1: lambda s: s.buy(799, 1), 2: lambda s: s.cancel_all()}
    result = run(bars(MONDAY, [800, 800, (800, 800, 790, 790)]), steps)
    assert (fills(result), result.orders[0].status) == ([], Status.CANCELLED)


# ---- price limits


def two_days(*rows: Any) -> list[Any]:
    """Yesterday settled at 800, so that today's limits are 880 and 720."""
    return bars(MONDAY, [800]) + bars(TUESDAY, rows)


def test_nobody_sells_to_us_at_limit_up() -> None:
    steps = {2: lambda s: s.buy(880, 1)}
    assert fills(run(two_days(870, 880, 880), steps)) == []


def test_nobody_buys_from_us_at_limit_down() -> None:
    steps = {2: lambda s: s.short(720, 1)}
    assert fills(run(two_days(730, 720, 720), steps)) == []


def test_at_limit_up_a_sell_is_filled() -> None:
    assert fills(run(two_days(870, 880, 880), {2: lambda s: s.short(875, 1)})) == [(880, 1)]


def test_an_order_that_queued_at_limit_up_fills_when_the_limit_opens() -> None:
    result = run(two_days(870, 880, (880, 880, 876, 876)), {2: lambda s: s.buy(880, 1)})
    assert fills(result) == [(880, 1)]


def test_a_price_beyond_the_limits_is_refused_in_the_exchange_s_words() -> None:
    steps = {2: lambda s: s.buy(880.02, 1) + s.short(719.98, 1)}
    above, below = reasons(run(two_days(870, 870), steps))
    assert ("涨停板" in above, "跌停板" in below) == (True, True)


def test_a_stop_order_through_a_locked_limit_queues_there() -> None:
    steps = {2: lambda s: s.buy(875, 1, stop=True)}
    result = run(two_days(870, 880, 880), steps)
    assert fills(result) == []
    assert (result.stop_orders[0].status, result.orders[0].price) == (StopOrderStatus.TRIGGERED, 880)


# ---- stop orders


def test_a_stop_order_fills_at_its_price_plus_slippage() -> None:
    rows = [800, (800, 806, 799, 805)]
    result = run(bars(MONDAY, rows), {1: lambda s: s.buy(803, 1, stop=True)}, costs=SLIPPING)
    assert fills(result) == [(803.04, 1)]


def test_a_stop_order_jumped_over_fills_at_the_open() -> None:
    result = run(bars(MONDAY, [800, (805, 806, 804, 805)]), {1: lambda s: s.buy(803, 1, stop=True)})
    assert fills(result) == [(805, 1)]


def test_a_stop_order_never_triggers_on_the_bar_that_placed_it() -> None:
    """Neither when placed after the bar nor when placed by a fill inside it."""
    rows = [800, (801, 806, 795, 805), 805]
    steps = {1: lambda s: s.buy(802, 1), -1: lambda s: s.sell(799, 1, stop=True)}
    result = run(bars(MONDAY, rows), steps)
    assert fills(result) == [(801, 1)]
    assert [one.status for one in result.stop_orders] == [StopOrderStatus.WAITING]


def test_of_two_stop_orders_in_one_bar_the_nearer_to_the_open_goes_first_and_may_cancel_the_other() -> None:
    def cancel(strategy: Any) -> None:
        strategy.cancel_all()

    rows = [800, (800, 810, 796, 800)]
    steps = {1: lambda s: s.buy(809, 1, stop=True) + s.short(797, 1, stop=True), -1: cancel}
    result = run(bars(MONDAY, rows), steps)
    assert fills(result) == [(797, 1)]
    assert [one.status for one in result.stop_orders] == [StopOrderStatus.CANCELLED, StopOrderStatus.TRIGGERED]


def test_a_stop_order_that_closes_what_is_not_held_is_refused_with_the_reason() -> None:
    heard: list[Any] = []
    result = run(bars(MONDAY, [800, (800, 806, 799, 805)]), {1: lambda s: s.cover(803, 1, stop=True)}, heard)
    assert "no short position is held" in reasons(result)[0]
    assert [one.status for one in heard] == [StopOrderStatus.WAITING, StopOrderStatus.TRIGGERED, Status.REJECTED]
    assert heard[1].vt_orderids == (heard[2].vt_orderid,)


def test_stop_orders_wait_through_the_night_and_trigger_at_the_auction_s_price() -> None:
    rows = bars(MONDAY, [800]) + bars(TUESDAY, [(806, 807, 805, 806)], NIGHT)
    result = run(rows, {1: lambda s: s.buy(803, 1, stop=True)})
    assert fills(result) == [(806, 1)]


# ---- hours


LAST = 554  # 14:59, the last of an au trading day's 555 minutes


def test_an_order_sent_on_the_last_bar_of_the_day_is_refused_as_live() -> None:
    rows = bars(MONDAY, [800], LAST) + bars(TUESDAY, [800, 800])
    result = run(rows, {1: lambda s: s.buy(810, 1)})
    assert (fills(result), reasons(result)) == ([], [FORBIDDEN_NOW])


@pytest.mark.parametrize("minute", [329, 404, 464])
def test_an_order_sent_when_a_segment_is_over_is_refused(minute: int) -> None:
    """The night's end at 02:30, the break at 10:15, lunch at 11:30."""
    result = run(bars(MONDAY, [800, 800], minute), {1: lambda s: s.buy(810, 1)})
    assert reasons(result) == [FORBIDDEN_NOW]


def test_orders_live_through_breaks_and_from_night_to_day() -> None:
    rows = bars(MONDAY, [800, 800], 328) + bars(MONDAY, [(800, 800, 798, 798)], MORNING)
    assert fills(run(rows, {1: lambda s: s.buy(799, 1)})) == [(799, 1)]


def test_orders_die_at_the_close_before_the_strategy_hears_the_last_bar() -> None:
    heard: list[Any] = []
    rows = bars(MONDAY, [800, 800], LAST - 1) + bars(TUESDAY, [(800, 800, 790, 790)])
    result = run(rows, {1: lambda s: s.buy(799, 1), 2: lambda s: heard.append("last bar")}, heard)
    assert fills(result) == []
    assert [getattr(one, "status", one) for one in heard] == [Status.NOTTRADED, Status.CANCELLED, "last bar"]
    assert result.orders[0].error_msg == AT_THE_CLOSE


def test_in_a_break_the_exchange_takes_cancels_and_when_it_is_closed_it_takes_none() -> None:
    def cancelled(minute: int) -> Status:
        steps = {1: lambda s: s.buy(700, 1), 2: lambda s: s.cancel_all()}
        return run(bars(MONDAY, [800, 800, 800], minute), steps).orders[0].status

    assert cancelled(403) is Status.CANCELLED
    assert cancelled(328) is Status.NOTTRADED


def test_what_works_when_the_data_ends_inside_a_day_is_reported() -> None:
    result = run(bars(MONDAY, [800, 800]), {1: lambda s: s.buy(790, 1) + s.sell(780, 1, stop=True)})
    assert [type(one).__name__ for one in result.working] == ["OrderData", "StopOrder"]


def test_daily_bars_fill_at_the_next_day_s_open_and_their_orders_die_with_it() -> None:
    from msgspec.structs import replace as changed

    days = [MONDAY, TUESDAY, WEDNESDAY]
    rows = [(800, 810, 790, 805), (806, 812, 800, 810), (700, 820, 700, 800)]
    daily = [changed(bars(day, [row])[0], interval="d") for day, row in zip(days, rows, strict=True)]
    result = run(daily, {1: lambda s: s.buy(807, 1) + s.buy(799, 1)})
    assert fills(result) == [(806, 1)]
    assert result.orders[1].status is Status.CANCELLED


# ---- holdings and money


def test_a_close_larger_than_the_holding_is_refused_with_the_reason() -> None:
    heard: list[Any] = []
    steps = {1: lambda s: s.buy(810, 2), 2: lambda s: s.sell(790, 3)}
    result = run(bars(MONDAY, [800, 800, 800]), steps, heard)
    assert len(result.trades) == 1
    assert "CLOSE of 3 lots, 2 available" in heard[-1].error_msg
    assert heard[-1].status is Status.REJECTED


def test_two_closes_of_the_same_lots_are_one_too_many() -> None:
    steps = {1: lambda s: s.buy(810, 1), 2: lambda s: s.sell(850, 1) + s.sell(851, 1)}
    assert "frozen by working closes" in reasons(run(bars(MONDAY, [800, 800, 800]), steps))[0]


def test_a_close_is_split_into_today_s_and_yesterday_s_lots_and_heard_as_one_order() -> None:
    heard: list[Any] = []
    rows = bars(MONDAY, [800, 800]) + bars(TUESDAY, [800, 800, 800])
    steps = {1: lambda s: s.buy(810, 2), 3: lambda s: s.buy(810, 1), 4: lambda s: s.sell(790, 3)}
    result = run(rows, steps, heard)
    closes = [(trade.offset, trade.volume) for trade in result.trades if trade.offset is not Offset.OPEN]
    assert closes == [(Offset.CLOSEYESTERDAY, 2), (Offset.CLOSETODAY, 1)]
    orders = [one for one in heard if not isinstance(one, tuple)]
    assert {one.vt_orderid for one in orders[-3:]} == {orders[-1].vt_orderid}
    assert (orders[-1].status, orders[-1].volume, orders[-1].traded) == (Status.ALLTRADED, 3, 3)
    assert heard[-1][0] == 0


def test_lock_closes_only_yesterday_s_lots_and_opens_the_rest() -> None:
    rows = bars(MONDAY, [800, 800]) + bars(TUESDAY, [800, 800, 800])
    steps = {1: lambda s: s.buy(810, 1), 3: lambda s: s.buy(810, 1), 4: lambda s: s.sell(790, 2, lock=True)}
    result = run(rows, steps)
    assert [trade.offset for trade in result.trades][2:] == [Offset.CLOSEYESTERDAY, Offset.OPEN]
    assert {(one.direction, one.volume) for one in result.positions} == {(Direction.LONG, 1), (Direction.SHORT, 1)}


def test_net_closes_the_other_side_before_it_opens() -> None:
    steps = {1: lambda s: s.short(790, 1), 2: lambda s: s.buy(810, 3, net=True)}
    result = run(bars(MONDAY, [800, 800, 800]), steps)
    assert [(trade.offset, trade.volume) for trade in result.trades][1:] == [(Offset.CLOSETODAY, 1), (Offset.OPEN, 2)]


def test_opening_without_money_is_refused_in_the_counter_s_words() -> None:
    result = run(bars(MONDAY, [800, 800]), {1: lambda s: s.buy(800, 1)}, capital=100_000.0)
    assert reasons(result) == [error_message(31)]


def test_working_orders_hold_the_money_they_may_need() -> None:
    """au at 800: 112,000 of margin a lot."""
    result = run(bars(MONDAY, [800, 800]), {1: lambda s: s.buy(799, 1) + s.buy(799, 1)}, capital=200_000.0)
    assert [order.status for order in result.orders] == [Status.NOTTRADED, Status.REJECTED]


def test_fees_are_those_of_the_contract() -> None:
    """au: 10 yuan a lot, closing today's lots is free."""
    rows = bars(MONDAY, [800, 800, 800, 800]) + bars(TUESDAY, [800, 800])
    steps = {1: lambda s: s.buy(810, 2), 2: lambda s: s.sell(790, 1), 5: lambda s: s.sell(790, 1)}
    first, second = run(rows, steps).days
    assert (first.commission, second.commission) == (20.0, 10.0)


def test_the_day_s_figures_add_up() -> None:
    rows = bars(MONDAY, [800, (800, 802, 800, 802)]) + bars(TUESDAY, [(805, 806, 805, 806)])
    costs = Costs(slippage_ticks=5, price_limits={"au": 0.1})
    first, second = run(rows, {1: lambda s: s.buy(810, 1)}, costs=costs).days
    assert (first.slippage, first.commission, first.trading_pnl) == pytest.approx((100.0, 10.0, 1000.0))
    assert first.net_pnl == pytest.approx(first.holding_pnl + first.trading_pnl - first.commission - first.slippage)
    assert (second.holding_pnl, second.trading_pnl) == pytest.approx((5000.0, 0.0))
    assert (first.position, second.margin) == ({SYMBOL: 1}, pytest.approx(806 * 1000 * 0.14))
    assert second.balance == pytest.approx(10_000_000 + first.net_pnl + second.net_pnl)


def test_what_the_margin_cannot_carry_is_closed_at_the_next_open() -> None:
    rows = bars(MONDAY, [800, 800]) + bars(TUESDAY, [780, 780]) + bars(WEDNESDAY, [781, 781])
    result = run(rows, {1: lambda s: s.buy(800, 1)}, capital=125_000.0)
    assert fills(result) == [(800, 1), (781, 1)]
    assert result.trades[1].forced
    assert "margin call" in result.warnings[0]
    assert (result.positions, result.failures) == ((), ())


def test_a_balance_that_is_gone_ends_the_run_and_keeps_what_came_before() -> None:
    rows = bars(MONDAY, [800, 800]) + bars(TUESDAY, [(760, 760, 680, 680), 700])
    seen: list[Any] = []
    result = run(rows, {1: lambda s: s.buy(800, 1), 4: seen.append}, capital=115_000.0)
    assert "blown up" in result.failures[0].reason
    assert (len(result.trades), seen, result.days[-1].balance) == (1, [], pytest.approx(115_000 - 10 - 120_000))


def test_lots_held_to_the_last_trading_day_are_settled_in_cash() -> None:
    book, _ = house()
    last = book.get("au2510").last_trading_day
    seen: list[int] = []
    rows = bars(last, [800, 800, 800], symbol="au2510")
    result = run(rows, {1: lambda s: s.buy(810, 1), 3: lambda s: seen.append(s.pos)})
    assert "last trading day" in result.warnings[0]
    assert seen == [1]


# ---- the strategy


def test_a_strategy_that_raises_ends_with_its_place_and_its_own_traceback() -> None:
    def fail(strategy: Any) -> None:
        raise ZeroDivisionError("no bars, no mean")

    result = run(bars(MONDAY, [800, 800, 800]), {1: lambda s: s.buy(810, 1), 2: fail})
    failure = result.failures[0]
    assert (failure.reason, failure.datetime.minute) == ("ZeroDivisionError: no bars, no mean", 2)
    assert "in fail" in failure.traceback
    assert "bar_course" not in failure.traceback
    assert (len(result.trades), result.days[0].position) == (1, {SYMBOL: 1})


@pytest.mark.parametrize("price", [float("nan"), float("inf")])
def test_a_price_that_is_no_number_ends_the_run_with_a_sentence(price: float) -> None:
    result = run(bars(MONDAY, [800, 800]), {1: lambda s: s.buy(price, 1)})
    assert "indicator" in result.failures[0].reason


def test_an_order_that_makes_no_sense_is_logged_and_not_sent() -> None:
    steps = {1: lambda s: s.buy(-5, 1) + s.buy(800, 0)}
    result = run(bars(MONDAY, [800, 800]), steps)
    assert (len(result.orders), len(result.logs)) == (0, 2)


def test_a_strategy_that_answers_refusals_with_orders_is_stopped() -> None:
    from few_bars import Scripted

    class Stubborn(Scripted):
        def on_order(self, order: Any) -> None:
            self.buy(1, 1)

    rows = two_days(800, 800)
    made = plan(rows, {2: lambda s: s.buy(1, 1)})
    stubborn = StrategyPlan(Stubborn, "test", (SYMBOL,), made.strategies[0].params)
    result = realistic.run(Plan((stubborn,), made.series, MONDAY, TUESDAY, made.book, made.calendar, costs=FREE))
    assert "pieces of news" in result.failures[0].reason


def test_legs_of_a_minute_are_told_together_and_traded_each_by_its_own_bars() -> None:
    seen: list[Any] = []

    def enter(strategy: Any) -> None:
        strategy.buy("au2512.SHFE", 810, 1)
        strategy.short("ag2512.SHFE", 7900, 5)

    def look(strategy: Any) -> None:
        seen.append(dict(strategy.pos_data))

    gold, silver = bars(MONDAY, [800, 800, 801]), bars(MONDAY, [8000, 8000, 8000], symbol="ag2512")
    result = run([*gold, *silver], {1: enter, 2: look}, capital=20_000_000.0)
    assert sorted(fills(result)) == [(800, 1), (8000, 5)]
    assert seen == [{"au2512.SHFE": 1, "ag2512.SHFE": -5}]
    assert {one.vt_symbol for one in result.positions} == {"au2512.SHFE", "ag2512.SHFE"}


def test_targets_are_reached_by_closing_before_opening() -> None:
    """TargetPosTemplate does in this engine what it does live."""
    from arbig import BarData, TargetPosTemplate

    class Targets(TargetPosTemplate):
        def on_init(self) -> None:
            self.wanted = iter([2, 2, -1, -1, -1, -1])

        def on_bar(self, bar: BarData) -> None:
            super().on_bar(bar)
            self.set_target_pos(next(self.wanted))

    made = plan(bars(MONDAY, [800] * 6), {})
    strategy = StrategyPlan(Targets, "targets", (SYMBOL,))
    result = realistic.run(Plan((strategy,), made.series, MONDAY, MONDAY, made.book, made.calendar, costs=FREE))
    assert [(trade.offset, trade.volume) for trade in result.trades] == [
        (Offset.OPEN, 2),
        (Offset.CLOSETODAY, 2),
        (Offset.OPEN, 1),
    ]


# ---- plans and history


def test_warm_up_comes_from_the_history_before_the_start_and_its_gaps_are_named() -> None:
    from few_bars import Scripted

    seen: list[Any] = []

    class Warm(Scripted):
        def on_init(self) -> None:
            self.load_bar(3, callback=lambda bar: seen.append(bar.close_price))
            super().on_init()

    rows = bars(MONDAY, [798, 799]) + bars(WEDNESDAY, [800])
    made = plan(rows, {})
    warm = StrategyPlan(Warm, "warm", (SYMBOL,))
    result = realistic.run(Plan((warm,), made.series, WEDNESDAY, WEDNESDAY, made.book, made.calendar, costs=FREE))
    assert seen == [798, 799]
    assert "2025-10-14" in result.warnings[0]
    assert [day.trading_day for day in result.days] == [WEDNESDAY]


def test_days_beyond_the_calendar_are_run_with_a_warning() -> None:
    from msgspec.structs import replace as changed

    day = date(2027, 3, 1)
    monday = bars(MONDAY, [800, 800, 800])
    shift = day - MONDAY
    rows = [changed(bar, datetime=bar.datetime + shift, trading_day=day, symbol="au2704") for bar in monday]
    result = run(rows, {1: lambda s: s.buy(810, 1)})
    assert len(result.trades) == 1
    assert "not in the trading calendar" in result.warnings[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"strategies": ()}, "no strategy"),
        ({"start": TUESDAY, "end": MONDAY}, "exchange them"),
        ({"start": date(2025, 11, 3), "end": date(2025, 11, 4)}, "no rows"),
        ({"series": {}}, "no series"),
    ],
)
def test_a_plan_that_cannot_be_run_is_refused_in_one_line(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(PlanError, match=words) as refused:
        realistic.run(plan(bars(MONDAY, [800]), {}, **changes))
    assert "\n" not in str(refused.value)


def test_ctrl_c_keeps_what_was_done() -> None:
    from arbig.backtest.result import Interrupted

    def interrupt(strategy: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(Interrupted) as stopped:
        run(bars(MONDAY, [800, 800, 800]), {1: lambda s: s.buy(810, 1), 3: interrupt})
    assert len(stopped.value.result.trades) == 1
    assert "interrupted" in stopped.value.result.warnings[0]


def test_an_order_sent_in_the_last_quiet_minutes_dies_with_the_day_too() -> None:
    """Nothing traded between 14:57 and the close: there are no bars, but the close comes."""
    rows = bars(MONDAY, [800], LAST - 3) + bars(TUESDAY, [(800, 800, 790, 790)])
    result = run(rows, {1: lambda s: s.buy(799, 1)})
    assert (fills(result), result.orders[0].status) == ([], Status.CANCELLED)


def test_a_history_without_volume_limits_nothing_and_says_so() -> None:
    result = run(bars(MONDAY, [(800, 800, 800, 800, 0)] * 2), {1: lambda s: s.buy(810, 50)})
    assert fills(result) == [(800, 50)]
    assert "no volume" in result.warnings[0]
