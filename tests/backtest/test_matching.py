"""Matching: what a book of one level gives to our orders, and nothing more."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbig.backtest.matching import Fill, Matcher, Outcome, Resting
from arbig.domain.messages import SHANGHAI, Direction, Exchange, OrderType, TickData

LONG, SHORT = Direction.LONG, Direction.SHORT


def tick(
    bid: float = 650.0, ask: float = 650.2, last: float = 650.1, *, bids: int = 5, asks: int = 5, traded: int = 4
) -> TickData:
    return TickData(
        symbol="au2512", exchange=Exchange.SHFE, datetime=datetime(2025, 10, 14, 9, 30, tzinfo=SHANGHAI),
        last_price=last, volume=100, open_interest=1, last_volume=traded, open_price=650.0, high_price=651.0,
        low_price=649.0, pre_close=650.0, limit_up=680.0, limit_down=620.0, bid_price_1=bid, bid_volume_1=bids,
        ask_price_1=ask, ask_volume_1=asks,
    )  # fmt: skip


def buy(price: float, volume: int = 1, name: str = "b", kind: OrderType = OrderType.LIMIT) -> Resting:
    return Resting(order_id=name, direction=LONG, price=price, volume=volume, order_type=kind)


def sell(price: float, volume: int = 1, name: str = "s", kind: OrderType = OrderType.LIMIT) -> Resting:
    return Resting(order_id=name, direction=SHORT, price=price, volume=volume, order_type=kind)


def market(**quotes: float) -> Matcher:
    return Matcher().on_tick(tick(**quotes)).matcher


def entered(matcher: Matcher, *orders: Resting) -> Matcher:
    for order in orders:
        matcher = matcher.enter(order).matcher
    return matcher


def volumes(matcher: Matcher) -> dict[str, int]:
    return {order.order_id: order.volume for order in matcher.orders}


# ---- arriving -----------------------------------------------------------------------------------------------------


def test_an_order_that_crosses_fills_at_the_better_price_of_the_book():
    assert market().enter(buy(651.0)).fills == (Fill("b", 650.2, 1),)
    assert market().enter(sell(649.0)).fills == (Fill("s", 650.0, 1),)


def test_an_order_larger_than_what_is_displayed_fills_in_part_and_rests():
    outcome = market(asks=3).enter(buy(650.2, 5))
    assert (outcome.fills, volumes(outcome.matcher), outcome.cancelled) == ((Fill("b", 650.2, 3),), {"b": 2}, ())


def test_what_one_order_took_the_next_does_not_get_until_the_book_displays_anew():
    matcher = entered(market(asks=3), buy(650.2, 2, "first"))
    assert matcher.enter(buy(650.2, 2, "second")).fills == (Fill("second", 650.2, 1),)
    assert entered(matcher, buy(650.2, 1, "x")).on_tick(tick()).matcher.enter(buy(650.2, 2)).fills[0].volume == 2


def test_an_order_that_does_not_cross_rests():
    outcome = market().enter(buy(650.0))
    assert (outcome.fills, volumes(outcome.matcher)) == ((), {"b": 1})


def test_fak_takes_what_is_there_and_the_rest_dies():
    outcome = market(asks=3).enter(buy(650.2, 5, kind=OrderType.FAK))
    assert outcome.fills == (Fill("b", 650.2, 3),)
    assert [(order.order_id, order.volume) for order in outcome.cancelled] == [("b", 2)]
    assert outcome.matcher.orders == ()


def test_fok_takes_all_or_nothing():
    assert market(asks=5).enter(buy(650.2, 5, kind=OrderType.FOK)).fills == (Fill("b", 650.2, 5),)
    outcome = market(asks=4).enter(buy(650.2, 5, kind=OrderType.FOK))
    assert (outcome.fills, outcome.cancelled[0].volume, outcome.matcher) == ((), 5, market(asks=4))


@pytest.mark.parametrize("kind", [OrderType.FAK, OrderType.FOK])
def test_an_immediate_order_that_reaches_nothing_dies_whole(kind: OrderType):
    outcome = market().enter(buy(650.0, 2, kind=kind))
    assert (outcome.fills, outcome.cancelled[0].volume, outcome.matcher.orders) == ((), 2, ())


def test_before_the_first_tick_an_order_waits_and_arrives_with_it_at_the_books_price():
    waiting = Matcher().enter(buy(670.0, 7))
    first = waiting.matcher.on_tick(tick(asks=5))
    second = first.matcher.on_tick(tick(ask=669.0, asks=5))
    assert (waiting.fills, first.fills, second.fills) == ((), (Fill("b", 650.2, 5),), (Fill("b", 670.0, 2),))


# ---- resting ------------------------------------------------------------------------------------------------------


def test_a_resting_order_fills_at_its_own_price_when_the_other_side_comes_to_it():
    matcher = entered(market(), buy(650.0, 2))
    assert matcher.on_tick(tick(bid=649.8, ask=649.9, last=650.0)).fills == (Fill("b", 650.0, 2),)


def test_a_resting_order_fills_when_trades_go_through_its_price_up_to_their_volume():
    outcome = entered(market(), sell(650.4, 6)).on_tick(tick(last=650.6, traded=4))
    assert (outcome.fills, volumes(outcome.matcher)) == ((Fill("s", 650.4, 4),), {"s": 2})


def test_trades_exactly_at_its_price_prove_nothing():
    assert entered(market(), sell(650.4)).on_tick(tick(last=650.4)).fills == ()


def test_the_better_price_fills_first_and_at_one_price_the_earlier_order():
    matcher = entered(market(), buy(649.8, 2, "low"), buy(650.0, 2, "early"), buy(650.0, 2, "late"))
    outcome = matcher.on_tick(tick(bid=649.0, ask=649.6, last=650.1, asks=3))
    assert (outcome.fills, volumes(outcome.matcher)) == (
        (Fill("early", 650.0, 2), Fill("late", 650.0, 1)),
        {"late": 1, "low": 2},
    )


def test_a_cancelled_order_leaves_and_says_what_was_left():
    outcome = entered(market(asks=1), buy(650.2, 3)).cancel("b")
    assert ([order.volume for order in outcome.cancelled], outcome.matcher.orders) == ([2], ())
    assert outcome.matcher.cancel("b").cancelled == ()


# ---- price limits, auction, day end -------------------------------------------------------------------------------


def test_at_limit_up_nobody_sells_so_no_buy_fills_and_every_sell_does():
    locked = market(bid=680.0, bids=9, ask=0.0, asks=0, last=680.0)
    assert locked.enter(buy(680.0)).fills == ()
    assert locked.enter(sell(680.0)).fills == (Fill("s", 680.0, 1),)
    assert entered(locked, buy(680.0)).on_tick(tick(bid=680.0, ask=0.0, asks=0, last=680.0)).fills == ()


def test_at_limit_down_nobody_buys_so_no_sell_fills():
    locked = market(bid=0.0, bids=0, ask=620.0, last=620.0)
    assert locked.enter(sell(620.0)).fills == ()
    assert locked.enter(buy(620.0)).fills == (Fill("b", 620.0, 1),)


def test_auction_orders_fill_together_at_the_one_price_better_prices_first():
    matcher = Matcher().rest(buy(650.0, 2, "at")).rest(buy(651.0, 2, "above")).rest(buy(649.0, 1, "below"))
    outcome = matcher.rest(sell(648.0, 1, "seller")).on_auction(650.0, 3)
    assert outcome.fills == (Fill("above", 650.0, 2), Fill("at", 650.0, 1), Fill("seller", 650.0, 1))
    assert volumes(outcome.matcher) == {"at": 1, "below": 1}


def test_an_order_lives_through_a_break_and_dies_at_the_end_of_its_trading_day():
    matcher = entered(market(), buy(640.0, 2))
    outcome = matcher.on_tick(tick()).matcher.on_day_end()
    assert ([order.order_id for order in outcome.cancelled], outcome.matcher.orders) == (["b"], ())
    assert outcome.matcher.enter(buy(700.0)).fills == ()


def test_an_order_read_back_from_the_store_keeps_its_place():
    matcher = entered(market(), buy(650.0, 1, "first"), buy(650.0, 1, "second"))
    back = Matcher()
    for order in reversed(matcher.orders):
        back = back.rest(order)
    assert back.orders == matcher.orders
    assert back.enter(buy(650.0, 1, "third")).matcher.orders[-1].order_id == "third"


# ---- anything at all ----------------------------------------------------------------------------------------------

prices = st.integers(0, 8).map(lambda step: round(649.0 + step * 0.2, 1))
orders = st.builds(Resting, order_id=st.just(""), direction=st.sampled_from(Direction), price=prices,
                   volume=st.integers(1, 5), order_type=st.sampled_from(OrderType))  # fmt: skip
ticks = st.builds(
    lambda bid, spread, last, bids, asks, traded: tick(
        bid=bid, ask=round(bid + spread * 0.2, 1), last=last, bids=bids, asks=asks, traded=traded
    ),
    prices, st.integers(1, 3), prices, st.integers(0, 5), st.integers(0, 5), st.integers(0, 5),
)  # fmt: skip


def played(events: list) -> list[Outcome]:
    matcher, outcomes = Matcher(), []
    for number, event in enumerate(events):
        if isinstance(event, Resting):
            order = Resting(order_id=str(number), direction=event.direction, price=event.price,
                            volume=event.volume, order_type=event.order_type)  # fmt: skip
            outcomes.append(matcher.enter(order))
        else:
            outcomes.append(matcher.on_tick(event))
        matcher = outcomes[-1].matcher
    return [*outcomes, matcher.on_day_end()]


@settings(max_examples=200, deadline=None)
@given(st.lists(orders | ticks, max_size=20))
def test_every_lot_is_filled_or_cancelled_once_within_its_price_and_what_was_displayed(events: list):
    outcomes = played(events)
    asked = {str(n): event for n, event in enumerate(events) if isinstance(event, Resting)}
    gone = dict.fromkeys(asked, 0)
    for outcome in outcomes:
        for name, price, volume in outcome.fills:
            gone[name] += volume
            assert volume > 0
            assert (asked[name].price - price) * asked[name].direction.sign >= -1e-9
        for order in outcome.cancelled:
            gone[order.order_id] += order.volume
    assert gone == {name: order.volume for name, order in asked.items()}
    shown = {LONG: 0, SHORT: 0}
    for event in events:
        if isinstance(event, TickData):
            shown[LONG] += event.ask_volume_1 + event.last_volume
            shown[SHORT] += event.bid_volume_1 + event.last_volume
    for side in Direction:
        filled = sum(fill.volume for out in outcomes for fill in out.fills if asked[fill.order_id].direction is side)
        assert filled <= shown[side]
    assert played(events) == outcomes
