"""Stops: when a local stop order fires, and at which price it then goes out."""

from __future__ import annotations

from arbig.domain.messages import BarData, Direction, TickData
from arbig.domain.template import StopOrder


def fires_on_tick(stop_order: StopOrder, tick: TickData) -> bool:
    """The last price has reached it."""
    if stop_order.direction is Direction.LONG:
        return tick.last_price >= stop_order.price
    return tick.last_price <= stop_order.price


def fires_on_bar(stop_order: StopOrder, bar: BarData) -> bool:
    """A bar shows what lost ticks would have shown, if the stop order stood before the bar began."""
    if stop_order.datetime >= bar.datetime:
        return False
    if stop_order.direction is Direction.LONG:
        return bar.high_price >= stop_order.price
    return bar.low_price <= stop_order.price


def crossing_price(direction: Direction, tick: TickData) -> float:
    """A limit price that takes whatever is there: the day's limit, where there is one."""
    if direction is Direction.LONG:
        return tick.limit_up or tick.ask_price_1 or tick.last_price
    return tick.limit_down or tick.bid_price_1 or tick.last_price
