"""Answers of another moment, fills in any order: what agrees is never called a difference, what does not always is."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from arbig.domain.messages import SHANGHAI, Direction, Exchange, Offset, TradeData
from arbig.domain.positions import Holding
from arbig.trading.differences import Difference, Doubts, Lots, What, of_money, of_positions, tolerance
from arbig.trading.tally import Tally, opened_with

TEN = datetime(2025, 10, 15, 10, 0, tzinfo=SHANGHAI)
DAY = TEN.date()
SYMBOL = "au2512"
SIDES = tuple((SYMBOL, direction) for direction in Direction)


def fill(number: int, direction: Direction, offset: Offset, volume: int) -> TradeData:
    return TradeData(
        trade_id=f"{number}",
        order_id=f"{number}",
        symbol=SYMBOL,
        exchange=Exchange.SHFE,
        direction=direction,
        offset=offset,
        price=800.0,
        volume=volume,
        datetime=TEN + timedelta(seconds=number),
        strategy_name="A",
        account_id="sim",
        trading_day=DAY,
    )


@st.composite
def days(draw: st.DrawFn) -> tuple[str, Holding, list[TradeData]]:
    """A contract's kind, what it held at the day's beginning, and fills that a counter could truly have made."""
    kind = draw(st.sampled_from(("1", "2")))
    holding = Holding(symbol=SYMBOL, position_date_type=kind)
    for direction in Direction:
        lots = draw(st.integers(0, 4))
        if lots:
            holding = holding.after(fill(0, direction, Offset.OPEN, lots))
    began = holding = holding.rolled(800.0)
    fills: list[TradeData] = []
    for number in range(1, draw(st.integers(0, 12)) + 1):
        direction, offset = draw(st.sampled_from(Direction)), draw(st.sampled_from(Offset))
        side = holding.closable(direction)
        most = {Offset.OPEN: 5, Offset.CLOSETODAY: side.today}.get(offset, side.yesterday)
        most = side.volume if kind == "2" and offset is not Offset.OPEN else most
        if most:
            fills.append(fill(number, direction, offset, draw(st.integers(1, most))))
            holding = holding.after(fills[-1])
    return kind, began, fills


def held(holding: Holding) -> dict[tuple[str, Direction], Lots]:
    found = {(SYMBOL, side): Lots(holding.side(side).today, holding.side(side).yesterday) for side in Direction}
    return {side: lots for side, lots in found.items() if lots != Lots()}


def tally_of(began: Holding) -> Tally:
    held = {(SYMBOL, side): began.side(side).volume for side in Direction}
    return opened_with(DAY, None, held, (), (), lambda _: True)


@settings(max_examples=60, deadline=None)
@given(days(), st.randoms(use_true_random=False))
def test_the_sums_of_fills_in_any_order_are_what_the_counter_holds(
    day: tuple[str, Holding, list[TradeData]], chance: random.Random
) -> None:
    kind, holding, fills = day
    tally = tally_of(holding)
    for each in chance.sample(fills, len(fills)):
        tally.add(each)
    for each in fills:
        holding = holding.after(each)
    assert tally.lots(lambda _: kind == "1") == held(holding)


@settings(max_examples=60, deadline=None)
@given(days(), st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=6))
def test_answers_of_an_earlier_moment_are_never_a_difference(
    day: tuple[str, Holding, list[TradeData]], looks: list[tuple[int, int]]
) -> None:
    """The answer includes the first fills, we have heard some more: what came after the answer is left out."""
    kind, began, fills = day
    doubts = Doubts()
    for number, (included, more) in enumerate(looks):
        tally, holding = tally_of(began), began
        heard = fills[: included + more]
        for each in heard:
            tally.add(each)
        for each in fills[:included]:
            holding = holding.after(each)
        found = of_positions(tally.lots(lambda _: kind == "1", heard[included:]), held(holding))
        assert doubts.seen(found, 1.2 * number) == []


@settings(max_examples=60, deadline=None)
@given(days(), st.sampled_from(SIDES), st.sampled_from([-2, -1, 1, 2]), st.integers(0, 8), st.integers(0, 4))
def test_a_lot_that_is_wrong_is_found_by_the_second_look_while_fills_go_on(
    day: tuple[str, Holding, list[TradeData]], side: tuple[str, Direction], wrong: int, first: int, between: int
) -> None:
    kind, began, fills = day
    doubts, confirmed = Doubts(), []
    for number, included in enumerate((first, first + between)):
        tally, holding = tally_of(began), began
        for each in fills[:included]:
            tally.add(each)
            holding = holding.after(each)
        theirs = held(holding)
        lots = theirs.get(side, Lots())
        theirs[side] = Lots(lots.today + wrong, lots.yesterday)
        confirmed = doubts.seen(of_positions(tally.lots(lambda _: kind == "1"), theirs), 1.2 * number)
    assert [(one.what, one.symbol, one.direction, one.gap) for one in confirmed] == [(What.TODAY, *side, wrong)]


def _lot(gap: int) -> Difference:
    return Difference(what=What.TODAY, symbol=SYMBOL, direction=Direction.LONG, ours=3, theirs=3 + gap)


@given(st.lists(st.tuples(st.sampled_from([0, 0, 1, 2]), st.floats(0.0, 3.0)), max_size=12))
def test_only_the_same_gap_in_every_look_for_a_second_is_confirmed(looks: list[tuple[int, float]]) -> None:
    doubts, now, since, last = Doubts(), 0.0, 0.0, 0
    for gap, pause in looks:
        now += pause
        since, last = (since if gap == last else now), gap
        confirmed = doubts.seen([_lot(gap)] if gap else [], now)
        assert bool(confirmed) == bool(gap and now - since >= 1.0)


@given(st.lists(st.integers(1, 10**7), max_size=200))
def test_fees_kept_to_the_fen_and_fees_kept_whole_are_within_the_tolerance(fees: list[int]) -> None:
    """A hundredth of a fen in each fee; a fen more is a difference."""
    whole = sum(fee / 10_000 for fee in fees)
    rounded = round(sum(round(fee / 10_000, 2) for fee in fees), 2)
    allowed = {What.COMMISSION: tolerance(len(fees))}
    assert of_money({What.COMMISSION: whole}, {What.COMMISSION: rounded}, allowed) == []
    off = whole + tolerance(len(fees)) + 0.011
    assert of_money({What.COMMISSION: whole}, {What.COMMISSION: off}, allowed) != []
