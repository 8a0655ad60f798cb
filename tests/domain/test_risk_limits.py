"""Risk: what the exchange counts, what a product and the account may hold, and when only closing is left."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import date, datetime, time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from arbig.domain.fees import FeeSchedule
from arbig.domain.instruments import Instrument
from arbig.domain.messages import (
    SHANGHAI,
    CommandType,
    Direction,
    Exchange,
    Offset,
    OrderRequest,
    OrderType,
    TickData,
)
from arbig.domain.orders import OrderState, Stage
from arbig.domain.positions import Holding, Lots, NotEnough, Side, plan_offsets
from arbig.domain.risk import (
    COUNTER_RULES,
    Counts,
    Day,
    Exposure,
    Funds,
    Level,
    Readings,
    RiskSettings,
    RiskView,
    Sent,
    counts_of,
    judge,
    opening_of,
    product_of,
    rules_from,
)
from arbig.domain.risk.cancel_rate import CancelRate
from arbig.domain.risk.cancels import Cancels
from arbig.domain.risk.daily_loss import DailyLoss
from arbig.domain.risk.drawdown import Drawdown
from arbig.domain.risk.duplicate_order import DuplicateOrder
from arbig.domain.risk.large_cancels import LargeCancels
from arbig.domain.risk.margin_use import MarginUse
from arbig.domain.risk.notional import Notional
from arbig.domain.risk.order_rate import OrderRate
from arbig.domain.risk.order_size import OrderSize
from arbig.domain.risk.price_band import PriceBand
from arbig.domain.risk.product_position import ProductPosition
from arbig.domain.risk.runaway import Runaway
from arbig.domain.risk.self_trades import SelfTrades
from arbig.domain.risk.stream_lag import StreamLag
from arbig.domain.risk.working_orders import WorkingOrders
from arbig.domain.sessions import Phase

NOW = datetime(2025, 10, 14, 9, 30, tzinfo=SHANGHAI)
GOLD = Instrument(
    symbol="au2512", exchange=Exchange.SHFE, product="au", name="au2512", english_name="gold", size=1000,
    price_tick=0.02, night_close=time(2, 30), position_date_type="1", max_order_volume=500, fees=FeeSchedule(),
    margin_rate=0.14, last_trading_day=date(2025, 12, 15),
)  # fmt: skip
TICK = TickData(
    symbol="au2512", exchange=Exchange.SHFE, datetime=NOW, last_price=800.1, volume=1, open_interest=1, last_volume=1,
    open_price=800.0, high_price=801.0, low_price=799.0, pre_close=800.0, limit_up=810.0, limit_down=790.0,
    bid_price_1=800.08, bid_volume_1=10, ask_price_1=800.12, ask_volume_1=8,
)  # fmt: skip
VIEW = RiskView(instrument=GOLD, now=100.0, phase=Phase.CONTINUOUS, tick=TICK, holding=Holding(symbol="au2512"))
WIDE = rules_from(RiskSettings(order_size=OrderSize(1000), notional=Notional(1e12)))


def wish(**changes: object) -> OrderRequest:
    fields = dict(
        request_id="r", strategy_name="s", symbol="au2512", exchange=Exchange.SHFE, direction=Direction.LONG,
        offset=Offset.OPEN, order_type=OrderType.LIMIT, price=800.12, volume=1, timestamp=NOW,
    )  # fmt: skip
    return OrderRequest(**(fields | changes))


def order(**changes: object) -> OrderState:
    state = OrderState.from_request(wish(request_id="own", trading_day=NOW.date()))
    return structs.replace(state, **({"stage": Stage.NOTTRADED} | changes))


def code(request: OrderRequest, look: RiskView) -> str | None:
    denial = judge(WIDE, request, look)
    assert denial is None or (denial.sentence.startswith("au2512: ") and "risk.yaml)" in denial.sentence)
    return denial and denial.code


# ---- what the exchange counts -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (order(), Counts(working=1)),
        (order(stage=Stage.CANCELLED), Counts(cancels=1)),
        (order(stage=Stage.CANCELLED, volume=300), Counts(cancels=1, large_cancels=1)),
        (order(stage=Stage.CANCELLED, volume=300, traded=1, announced=1), Counts(cancels=1)),
        (order(volume=400, traded=50), Counts(working=1, large_working=1)),
        (order(stage=Stage.CANCELLED, order_type=OrderType.FAK), Counts()),
        (order(stage=Stage.CANCELLED, order_type=OrderType.FOK, volume=400), Counts()),
        (order(stage=Stage.ALLTRADED, traded=1), Counts()),
        (order(stage=Stage.REJECTED), Counts()),
        (order(stage=Stage.NOT_SENT), Counts()),
    ],
)  # fmt: skip
def test_only_a_limit_order_that_was_withdrawn_is_a_cancel(state: OrderState, expected: Counts) -> None:
    assert expected == counts_of(state, 300)


def test_lots_opening_are_those_that_may_still_trade() -> None:
    assert 3 == opening_of(order(volume=4, traded=1))
    assert 0 == opening_of(order(volume=4, offset=Offset.CLOSE))
    assert 1 == opening_of(order(volume=4, traded=1, announced=2, stage=Stage.CANCELLED))


def test_opening_stops_one_cancel_before_the_exchanges_number() -> None:
    assert code(wish(), replace(VIEW, counts=Counts(cancels=498))) is None
    assert code(wish(), replace(VIEW, counts=Counts(cancels=499))) == "CANCELS"
    assert code(wish(), replace(VIEW, counts=Counts(cancels=400, working=99))) == "CANCELS"
    assert code(wish(order_type=OrderType.FAK), replace(VIEW, counts=Counts(cancels=499))) is None


def test_large_orders_stop_one_large_cancel_before_it_and_small_ones_go_on() -> None:
    near = replace(VIEW, counts=Counts(cancels=49, large_cancels=49))
    assert code(wish(volume=300), near) == "LARGE_CANCELS"
    assert code(wish(volume=299), near) is None


@pytest.mark.parametrize(
    ("own", "price", "count", "expected"),
    [
        (order(direction=Direction.SHORT, price=800.12), 800.12, 4, "SELF_TRADES"),
        (order(direction=Direction.SHORT, price=800.12), 800.12, 3, None),
        (order(direction=Direction.SHORT, price=800.14), 800.12, 4, None),
        (order(direction=Direction.LONG, price=800.00), 800.12, 4, None),
        (order(direction=Direction.SHORT, price=800.12, stage=Stage.CANCELLED), 800.12, 4, None),
    ],
)
def test_near_the_number_no_opening_order_may_meet_an_own_one(
    own: OrderState, price: float, count: int, expected: str | None
) -> None:
    assert expected == code(wish(price=price), replace(VIEW, counts=Counts(self_trades=count), resting=[own]))


def test_after_five_cancels_in_a_second_nothing_is_opened_until_it_is_over() -> None:
    look = replace(VIEW, cancelled=[99.2 + n / 10 for n in range(5)])
    assert code(wish(), look) == "CANCEL_RATE"
    assert code(wish(), replace(look, now=100.3)) is None
    assert code(wish(), replace(VIEW, cancelled=[60.0] * 100)) == "CANCEL_RATE"


# ---- what may be held ---------------------------------------------------------------------------------------------


def test_a_product_is_held_net_and_gross_with_what_is_still_opening() -> None:
    look = replace(VIEW, held=Exposure(490, 0), opening=Exposure(9, 0))
    assert code(wish(), look) is None
    assert code(wish(volume=2), look) == "NET_POSITION"
    assert code(wish(volume=2, direction=Direction.SHORT, price=800.1), look) is None
    both = replace(VIEW, held=Exposure(500, 499), opening=Exposure(0, 1))
    assert code(wish(direction=Direction.SHORT, price=800.1), both) == "GROSS_POSITION"


def test_a_product_is_the_symbol_without_its_month() -> None:
    assert ["au", "rb"] == [product_of("au2512"), product_of("rb2601")]


def test_margin_with_working_orders_and_this_one_stays_below_its_share_of_the_balance() -> None:
    one_lot = 0.14 * 1000 * 800.12
    assert code(wish(), replace(VIEW, funds=Funds(1_000_000, 800_000 - one_lot))) is None
    assert code(wish(), replace(VIEW, funds=Funds(1_000_000, 800_001 - one_lot))) == "MARGIN_USE"
    assert code(wish(), replace(VIEW, funds=Funds(1_000_000, 0, frozen=700_000))) == "MARGIN_USE"
    assert code(wish(), replace(VIEW, funds=Funds(1_000_000, 0, frozen=1, reserved=700_000))) == "MARGIN_USE"
    assert code(wish(), replace(VIEW, funds=Funds(0, 0))) == "MARGIN_USE"


# ---- the account --------------------------------------------------------------------------------------------------


def test_a_daily_loss_is_what_was_traded_away_not_what_was_withdrawn() -> None:
    assert DailyLoss(5).breach(Readings(day=Day(balance=1.0, began=1_000_000, profit=-39_999))) is None
    found = DailyLoss(5, 8).breach(Readings(day=Day(balance=950_000, began=1_000_000, profit=-50_000)))
    assert found is not None
    assert ("DAILY_LOSS", "daily loss 50,000 yuan, 5.0% of 1,000,000") == (found.code, found.sentence[:41])
    assert Level.REDUCING is found.level
    worse = DailyLoss(5, 8).breach(Readings(day=Day(balance=920_000, began=1_000_000, profit=-80_000)))
    assert worse is not None and (worse.code, worse.level) == ("DAILY_LOSS_HALT", Level.HALTED)


def test_a_drawdown_is_below_the_best_settled_balance() -> None:
    assert Drawdown(20).breach(Readings(day=Day(800_001, 900_000, 0, best=1_000_000))) is None
    found = Drawdown(20).breach(Readings(day=Day(800_000, 900_000, 0, best=1_000_000)))
    assert found is not None and found.code == "DRAWDOWN"
    assert Drawdown(20).breach(Readings(day=Day(0, 0, 0))) is None


def test_a_program_gone_wild_is_many_requests_in_few_seconds() -> None:
    wild = Runaway(requests=3, within_seconds=10)
    assert wild.breach(Readings(now=20.0, requests=(9.0, 11.0, 12.0))) is None
    found = wild.breach(Readings(now=20.0, requests=(10.1, 11.0, 12.0)))
    assert found is not None and (found.code, found.level) == ("RUNAWAY", Level.HALTED)
    assert found.sentence.startswith("3 orders and cancels were asked for in 10 s, limit 3 (runaway")


def test_a_group_far_behind_its_stream_is_named() -> None:
    found = StreamLag(entries=100).breach(Readings(behind={"group:strategy": 120, "group:trading": 99}))
    assert found is not None and found.sentence.startswith("behind their streams: group:strategy by 120 entries, limit")


def test_nothing_is_opened_while_the_front_is_silent_in_trading_hours() -> None:
    assert code(wish(), replace(VIEW, silent=9.9)) is None
    assert code(wish(), replace(VIEW, silent=10.0)) == "STALE_MARKET"
    assert code(wish(), replace(VIEW, silent=99.0, phase=Phase.AUCTION_ORDER)) is None


def test_after_a_few_busy_seconds_one_order_a_second_is_opened() -> None:
    before = Sent.of(wish(price=799.0), VIEW.now - 0.9)
    assert code(wish(), replace(VIEW, bursts=5, sent=[before])) == "MESSAGE_BURSTS"
    assert code(wish(), replace(VIEW, bursts=4, sent=[before])) is None
    assert code(wish(), replace(VIEW, bursts=5, sent=[replace(before, at=VIEW.now - 1.0)])) is None


def test_triggers_judge_no_order() -> None:
    off = {each.name: None for each in fields(RiskSettings)} | {"daily_loss": DailyLoss(), "drawdown": Drawdown()}
    assert COUNTER_RULES == rules_from(RiskSettings(**off))


# ---- whatever the numbers are -------------------------------------------------------------------------------------

small = st.integers(1, 3)
percent = st.floats(0.01, 1.0)
tight = st.builds(
    RiskSettings,
    order_size=st.builds(OrderSize, small), notional=st.builds(Notional, percent),
    price_band=st.builds(PriceBand, percent), order_rate=st.builds(OrderRate, small, small),
    working_orders=st.builds(WorkingOrders, small), duplicate_order=st.builds(DuplicateOrder, small),
    cancel_rate=st.builds(CancelRate, small, small), cancels=st.builds(Cancels, small),
    large_cancels=st.builds(LargeCancels, small, small), self_trades=st.builds(SelfTrades, small),
    product_position=st.builds(ProductPosition, small, small), margin_use=st.builds(MarginUse, percent),
)  # fmt: skip
exposures = st.builds(Exposure, st.integers(0, 2000), st.integers(0, 2000))
crowded = st.builds(
    RiskView,
    instrument=st.just(GOLD), now=st.just(100.0), phase=st.just(Phase.CONTINUOUS), tick=st.just(TICK),
    working_orders=st.integers(0, 99), sent=st.just([Sent.of(wish(), 99.9)] * 99), cancelled=st.just([99.9] * 999),
    resting=st.lists(st.builds(order, direction=st.sampled_from(Direction), price=st.just(800.0)), max_size=3),
    counts=st.builds(Counts, *[st.integers(0, 999)] * 5), held=exposures, opening=exposures,
    funds=st.none() | st.builds(Funds, *[st.floats(0, 1e7)] * 4),
)  # fmt: skip
lots = st.lists(st.builds(Lots, st.integers(1, 40), st.just(800.0), st.just(800.0)), max_size=3).map(tuple)
sides = st.builds(Side, today_lots=lots, yesterday_lots=lots)


@settings(max_examples=150, deadline=None)
@given(
    tight, crowded, sides, sides, st.sampled_from(Direction), st.sampled_from([o for o in Offset if o != Offset.OPEN]),
    st.sampled_from(OrderType), st.integers(1, 60), st.integers(0, 1000),
)  # fmt: skip
def test_a_close_that_the_counter_would_take_is_never_refused(
    numbers: RiskSettings, look: RiskView, long: Side, short: Side, direction: Direction, offset: Offset,
    kind: OrderType, volume: int, ticks: int,
) -> None:  # fmt: skip
    holding = Holding(symbol="au2512", long=long, short=short)
    request = wish(direction=direction, offset=offset, order_type=kind, volume=volume, price=790.0 + ticks * 0.02)
    denial = judge(rules_from(numbers), request, replace(look, holding=holding))
    is_valid = not isinstance(plan_offsets(holding, GOLD, direction, volume, offset), NotEnough)
    assert is_valid == (denial is None)


@settings(max_examples=50, deadline=None)
@given(tight, crowded)
def test_a_cancel_is_never_refused(numbers: RiskSettings, look: RiskView) -> None:
    assert judge(rules_from(numbers), wish(cmd_type=CommandType.CANCEL_ORDER), look) is None


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(["open", "cancel", "close and cancel"]), max_size=40), st.integers(2, 8))
def test_opening_orders_alone_never_bring_the_exchanges_number(moves: list[str], limit: int) -> None:
    """Whatever is opened and cancelled again in whatever order, the count stays below the limit."""
    rule, working, cancels = Cancels(limit), 0, 0
    for move in moves:
        if move == "open":
            working += rule.judge(wish(), replace(VIEW, counts=Counts(cancels=cancels, working=working))) is None
        elif working:
            working, cancels = working - 1, cancels + 1
    assert cancels + working < limit
