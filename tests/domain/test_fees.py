"""Fees and margin: by lot and by rate, today's closes apart, and the larger side of a product."""

from __future__ import annotations

import pytest

from arbig.domain.fees import FeeSchedule, both_sides, commission, larger_side, margin
from arbig.domain.messages import Direction, Offset

GOLD = FeeSchedule(open_by_lot=10, close_by_lot=10)
REBAR = FeeSchedule(open_by_rate=0.0001, close_by_rate=0.0001, close_today_by_rate=0.0002)


@pytest.mark.parametrize(
    ("offset", "expected"),
    [(Offset.OPEN, 30), (Offset.CLOSE, 30), (Offset.CLOSEYESTERDAY, 30), (Offset.CLOSETODAY, 0)],
)
def test_gold_costs_ten_yuan_a_lot_and_closing_todays_lots_is_free(offset: Offset, expected: float):
    assert commission(GOLD, 1000, offset, 650.0, 3) == expected


@pytest.mark.parametrize(("offset", "expected"), [(Offset.OPEN, 6.4), (Offset.CLOSE, 6.4), (Offset.CLOSETODAY, 12.8)])
def test_rebar_costs_a_share_of_the_value_and_more_for_closing_todays_lots(offset: Offset, expected: float):
    assert commission(REBAR, 10, offset, 3200.0, 2) == pytest.approx(expected)


def test_both_forms_of_a_fee_add_up():
    both = FeeSchedule(open_by_lot=1, open_by_rate=0.0001)
    assert commission(both, 10, Offset.OPEN, 3200.0, 2) == pytest.approx(2 + 6.4)


def test_margin_is_a_share_of_the_value():
    assert margin(0.14, 1000, 650.0, 2) == pytest.approx(182_000)


def test_only_the_larger_side_of_a_product_is_held_across_its_contracts():
    rows = [
        ("au", Direction.LONG, 100.0),
        ("au", Direction.SHORT, 70.0),
        ("au", Direction.SHORT, 50.0),
        ("rb", Direction.LONG, 30.0),
    ]
    assert (larger_side(rows), both_sides(rows), larger_side([])) == (150.0, 250.0, 0)
