"""Positions: today's and yesterday's lots, what is frozen, and what a close may take."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from arbig.domain.messages import SHANGHAI, Direction, Exchange, Offset, TradeData
from arbig.domain.positions import (
    Holding,
    Leg,
    Lots,
    NotEnough,
    NotHeld,
    Prefer,
    Side,
    plan_offsets,
)

NOON = datetime(2025, 10, 14, 11, 0, tzinfo=SHANGHAI)
LONG, SHORT = Direction.LONG, Direction.SHORT
OPEN, CLOSE, CLOSETODAY, CLOSEYESTERDAY = Offset.OPEN, Offset.CLOSE, Offset.CLOSETODAY, Offset.CLOSEYESTERDAY


@dataclass(frozen=True)
class Contract:
    symbol: str = "au2512"
    position_date_type: str = "1"


GOLD = Contract()
SOY = Contract("m2601", "2")


def trade(direction: Direction, offset: Offset, volume: int, price: float = 650.0) -> TradeData:
    return TradeData(
        trade_id="1", order_id="1", symbol="au2512", exchange=Exchange.SHFE, direction=direction, offset=offset,
        price=price, volume=volume, datetime=NOON, strategy_name="s",
    )  # fmt: skip


def side(today: int, yesterday: int, today_frozen: int = 0, yesterday_frozen: int = 0) -> Side:
    return Side(
        today_lots=(Lots(today, 650.0, 650.0),) if today else (),
        yesterday_lots=(Lots(yesterday, 640.0, 645.0),) if yesterday else (),
        today_frozen=today_frozen,
        yesterday_frozen=yesterday_frozen,
    )


def held(today: int = 0, yesterday: int = 0, kind: str = "1", **frozen: int) -> Holding:
    return Holding(symbol="au2512", position_date_type=kind, long=side(today, yesterday, **frozen))


def counts(holding: Holding, direction: Direction = LONG) -> tuple[int, int, int, int]:
    lots = holding.side(direction)
    return lots.today, lots.yesterday, lots.today_frozen, lots.yesterday_frozen


# ---- fills --------------------------------------------------------------------------------------------------------


def test_what_is_bought_today_is_todays_and_what_is_sold_short_stands_beside_it():
    holding = Holding(symbol="au2512").after(trade(LONG, OPEN, 2)).after(trade(SHORT, OPEN, 1))
    assert (counts(holding), counts(holding, SHORT), holding.net) == ((2, 0, 0, 0), (1, 0, 0, 0), 1)


@pytest.mark.parametrize(
    ("offset", "left"), [(CLOSE, (2, 2, 0, 0)), (CLOSEYESTERDAY, (2, 2, 0, 0)), (CLOSETODAY, (1, 3, 0, 0))]
)
def test_where_the_contract_keeps_the_days_apart_a_plain_close_takes_yesterdays_lots(offset: Offset, left: tuple):
    assert counts(held(today=2, yesterday=3).after(trade(SHORT, offset, 1))) == left


@pytest.mark.parametrize("offset", [CLOSE, CLOSEYESTERDAY, CLOSETODAY])
def test_elsewhere_every_close_takes_the_oldest_lots_first(offset: Offset):
    assert counts(held(today=2, yesterday=3, kind="2").after(trade(SHORT, offset, 4))) == (1, 0, 0, 0)


@pytest.mark.parametrize(
    ("kind", "offset", "volume"), [("1", CLOSE, 4), ("1", CLOSETODAY, 3), ("1", CLOSEYESTERDAY, 4), ("2", CLOSE, 6)]
)
def test_a_fill_of_more_than_is_held_is_an_error_that_says_what_is_held(kind: str, offset: Offset, volume: int):
    with pytest.raises(NotHeld, match=rf"au2512: {offset} of {volume} lots, but long position 5 \(2 of today, 3 of"):
        held(today=2, yesterday=3, kind=kind).after(trade(SHORT, offset, volume))


def test_the_oldest_lots_of_a_day_leave_first_and_the_average_price_follows():
    holding = Holding(symbol="au2512").after(trade(LONG, OPEN, 1, 650.0)).after(trade(LONG, OPEN, 3, 654.0))
    assert holding.long.price == 653.0
    assert holding.after(trade(SHORT, CLOSETODAY, 2)).long.today_lots == (Lots(2, 654.0, 654.0),)


def test_a_new_trading_day_makes_todays_lots_yesterdays_and_frees_what_was_frozen():
    holding = held(today=2, yesterday=3, today_frozen=1, yesterday_frozen=2).rolled(652.0)
    assert counts(holding) == (0, 5, 0, 0)
    assert [(lots.price, lots.mark) for lots in holding.long.lots] == [(640.0, 652.0), (650.0, 652.0)]


# ---- frozen lots --------------------------------------------------------------------------------------------------


def test_a_working_close_freezes_its_own_days_lots_and_a_cancel_frees_them():
    holding = held(today=2, yesterday=3).freeze(SHORT, CLOSETODAY, 2).freeze(SHORT, CLOSE, 1)
    assert counts(holding) == (2, 3, 2, 1)
    assert counts(holding.release(SHORT, CLOSETODAY, 2)) == (2, 3, 0, 1)


def test_a_fill_of_a_working_close_uses_up_what_it_had_frozen():
    holding = held(today=2, yesterday=3).freeze(SHORT, CLOSE, 3).after(trade(SHORT, CLOSE, 2))
    assert counts(holding) == (2, 1, 0, 1)


def test_what_is_frozen_cannot_be_frozen_again():
    with pytest.raises(NotHeld, match="cannot freeze 2 lots for CLOSETODAY, 1 available"):
        held(today=2).freeze(SHORT, CLOSETODAY, 1).freeze(SHORT, CLOSETODAY, 2)


def test_where_the_days_are_one_the_oldest_lots_are_frozen_first():
    assert counts(held(today=2, yesterday=3, kind="2").freeze(SHORT, CLOSE, 4)) == (2, 3, 1, 3)


def test_a_forced_close_by_the_broker_never_leaves_more_frozen_than_held():
    holding = held(yesterday=2).freeze(SHORT, CLOSE, 2).after(trade(SHORT, CLOSE, 2)).release(SHORT, CLOSE, 2)
    assert counts(holding) == (0, 0, 0, 0)


@dataclass(frozen=True)
class Close:
    direction: Direction
    offset: Offset
    working: int


def test_frozen_lots_can_always_be_counted_afresh_from_the_working_orders():
    working = [Close(SHORT, CLOSETODAY, 1), Close(SHORT, CLOSEYESTERDAY, 2), Close(LONG, OPEN, 9)]
    assert counts(held(today=2, yesterday=3, today_frozen=2).frozen_by(working)) == (2, 3, 1, 2)


# ---- the messages -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["1", "2"])
def test_a_holding_survives_the_way_through_position_messages(kind: str):
    holding = Holding(symbol="au2512", position_date_type=kind, long=side(2, 3), short=side(1, 0)).freeze(
        SHORT, CLOSE, 2
    )
    rows = [holding.to_position_data(direction, Exchange.SHFE, NOON) for direction in Direction]
    back = Holding.from_position_data("au2512", kind, rows)
    assert (counts(back), counts(back, SHORT)) == (counts(holding), counts(holding, SHORT))
    assert back.long.price == pytest.approx(holding.long.price)
    assert [(row.volume, row.yd_volume, row.frozen) for row in rows] == [(5, 3, 2), (1, 0, 0)]


# ---- plans --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prefer", "volume", "legs"),
    [
        (Prefer.YESTERDAY, 2, [(CLOSEYESTERDAY, 2)]),
        (Prefer.YESTERDAY, 4, [(CLOSEYESTERDAY, 3), (CLOSETODAY, 1)]),
        (Prefer.TODAY, 2, [(CLOSETODAY, 2)]),
        (Prefer.TODAY, 4, [(CLOSETODAY, 2), (CLOSEYESTERDAY, 2)]),
    ],
)
def test_a_close_is_split_into_the_two_days_in_the_preferred_order(prefer: Prefer, volume: int, legs: list):
    assert plan_offsets(held(today=2, yesterday=3), GOLD, SHORT, volume, CLOSE, prefer) == tuple(legs)


def test_a_close_where_the_days_are_one_is_one_plain_close():
    assert plan_offsets(held(2, 3, "2"), SOY, SHORT, 4, CLOSETODAY) == (Leg(CLOSE, 4),)


def test_an_open_is_itself():
    assert plan_offsets(None, GOLD, LONG, 3, OPEN) == (Leg(OPEN, 3),)


def test_a_close_larger_than_what_is_free_is_refused_with_the_reason_in_words():
    holding = held(today=2, yesterday=3).freeze(SHORT, CLOSETODAY, 1)
    assert plan_offsets(holding, GOLD, SHORT, 5) == NotEnough(
        "au2512: CLOSE of 5 lots, 4 available; long position 5 (2 of today, 3 of yesterday), 1 frozen by working closes"
    )


def test_a_close_of_nothing_says_that_nothing_is_held():
    assert plan_offsets(None, GOLD, LONG, 1) == NotEnough(
        "au2512: CLOSE of 1 lots, 0 available; no short position is held"
    )


@pytest.mark.parametrize(("offset", "volume"), [(CLOSETODAY, 3), (CLOSEYESTERDAY, 4)])
def test_an_explicit_offset_never_reaches_into_the_other_day(offset: Offset, volume: int):
    holding = held(today=2, yesterday=3)
    assert isinstance(plan_offsets(holding, GOLD, SHORT, volume, offset), NotEnough)
    assert plan_offsets(holding, GOLD, SHORT, volume - 1, offset) == (Leg(offset, volume - 1),)


lots_counts = st.integers(0, 5)


@settings(max_examples=200, deadline=None)
@given(lots_counts, lots_counts, st.data(), st.integers(1, 12), st.sampled_from(Prefer), st.sampled_from("12"))
def test_a_plan_closes_exactly_what_was_wished_and_can_always_be_frozen(
    today: int, yesterday: int, data: st.DataObject, volume: int, prefer: Prefer, kind: str
):
    contract = Contract(position_date_type=kind)
    holding = held(today, yesterday, kind)
    for offset, there in ((CLOSETODAY, today), (CLOSEYESTERDAY, yesterday)):
        holding = holding.freeze(SHORT, offset, data.draw(st.integers(0, there)))
    free = holding.long.available
    plan = plan_offsets(holding, contract, SHORT, volume, CLOSE, prefer)
    assert isinstance(plan, NotEnough) is (volume > free)
    if isinstance(plan, NotEnough):
        return
    assert sum(leg.volume for leg in plan) == volume
    after = holding
    for offset, lots in plan:
        after = after.freeze(SHORT, offset, lots)
    for offset, lots in plan:
        after = after.after(trade(SHORT, offset, lots))
    assert after.net == holding.net - volume


# ---- any course of events -----------------------------------------------------------------------------------------


class HoldingMachine(RuleBasedStateMachine):
    """Opens, working closes, partial fills, cancels and day rolls in any order, against plain counting."""

    @initialize(kind=st.sampled_from("12"))
    def begin(self, kind: str) -> None:
        self.holding = Holding(symbol="au2512", position_date_type=kind)
        self.volume = {LONG: 0, SHORT: 0}
        self.working: list[Close] = []

    @rule(direction=st.sampled_from(Direction), volume=st.integers(1, 4))
    def opens(self, direction: Direction, volume: int) -> None:
        self.holding = self.holding.after(trade(direction, OPEN, volume))
        self.volume[direction] += volume

    @rule(direction=st.sampled_from(Direction), volume=st.integers(1, 6), prefer=st.sampled_from(Prefer))
    def wishes_to_close(self, direction: Direction, volume: int, prefer: Prefer) -> None:
        contract = Contract(position_date_type=self.holding.position_date_type)
        plan = plan_offsets(self.holding, contract, direction, volume, CLOSE, prefer)
        promised = sum(close.working for close in self.working if close.direction is direction)
        assert isinstance(plan, NotEnough) is (volume > self.volume[direction.opposite] - promised)
        for offset, lots in () if isinstance(plan, NotEnough) else plan:
            self.holding = self.holding.freeze(direction, offset, lots)
            self.working.append(Close(direction, offset, lots))

    @precondition(lambda self: self.working)
    @rule(data=st.data())
    def a_close_fills(self, data: st.DataObject) -> None:
        close = self.working.pop(data.draw(st.integers(0, len(self.working) - 1)))
        lots = data.draw(st.integers(1, close.working))
        self.holding = self.holding.after(trade(close.direction, close.offset, lots))
        self.volume[close.direction.opposite] -= lots
        if lots < close.working:
            self.working.append(Close(close.direction, close.offset, close.working - lots))

    @precondition(lambda self: self.working)
    @rule(data=st.data())
    def a_close_is_cancelled(self, data: st.DataObject) -> None:
        close = self.working.pop(data.draw(st.integers(0, len(self.working) - 1)))
        self.holding = self.holding.release(close.direction, close.offset, close.working)

    @rule()
    def the_day_ends(self) -> None:
        self.holding = self.holding.rolled(651.0)
        self.working = []
        assert self.holding.long.today == self.holding.short.today == 0

    @invariant()
    def lots_are_conserved_and_nothing_is_negative(self) -> None:
        for direction in Direction:
            lots = self.holding.side(direction)
            assert lots.volume == self.volume[direction] >= 0
            assert 0 <= lots.today_frozen <= lots.today
            assert 0 <= lots.yesterday_frozen <= lots.yesterday
            promised = sum(close.working for close in self.working if close.direction is direction.opposite)
            assert lots.frozen == promised
        assert self.holding.frozen_by(self.working) == self.holding


TestHolding = HoldingMachine.TestCase
TestHolding.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
