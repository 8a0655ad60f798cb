"""The realistic engine on ticks: the same strategy on the same recorded ticks trades as it does at the exchange."""

from __future__ import annotations

from datetime import date, timedelta
from functools import cache
from itertools import count
from typing import Any

import pytest
from few_bars import SYMBOL, house
from hypothesis import given, settings
from hypothesis import strategies as st

from arbig import BarData, CtaTemplate, Exchange, OrderType, Status, StopOrderStatus, TickData, TradeData
from arbig.backtest import realistic
from arbig.backtest.plan import Costs, Plan, StrategyPlan
from arbig.backtest.prices import Character
from arbig.backtest.result import Result
from arbig.backtest.series import TickSeries
from arbig.domain.bars import BarGenerator
from arbig.domain.counter import CancelOrder, InsertOrder, OrderReport, TradeReport
from arbig.domain.sessions import Sessions
from arbig.exchange.core import Rules, SimulatedExchange

DAY = date(2025, 10, 15)
NO_SLIP = Costs(slippage_ticks=0)


@cache
def recorded() -> tuple[TickData, ...]:
    """A trading day of the simulated exchange, thinned to its first forty minutes and its last ten."""
    book, calendar = house()
    exchange = SimulatedExchange(
        Rules(seed=5, first_day=DAY, book=book, calendar=calendar, characters={"au": Character(start_price=880.0)})
    )
    exchange.subscribe(["au2512"])
    ticks = [event for event in exchange.advance_to(at(DAY, 15, 1)) if isinstance(event, TickData)]
    start, end = ticks[0].datetime, ticks[-1].datetime
    kept = [
        tick
        for tick in ticks
        if tick.datetime < start + timedelta(minutes=40) or tick.datetime > end - timedelta(minutes=10)
    ]
    return tuple(kept)


def at(day: date, hour: int, minute: int) -> Any:
    from arbig.domain.bars import datetime
    from arbig.domain.messages import SHANGHAI

    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=SHANGHAI)


Wish = tuple[int, str, int, int]
"""Tick number, buy/short/cancel, ticks from the last price, lots."""


class Scripted(CtaTemplate):
    wishes: dict[int, list[Wish]] = {}
    parameters = ["wishes"]

    def on_init(self) -> None:
        self.number = 0

    def on_tick(self, tick: TickData) -> None:
        self.number += 1
        for _, kind, away, volume in self.wishes.get(self.number, ()):
            if kind == "cancel":
                self.cancel_all()
            else:
                getattr(self, kind)(tick.last_price + away * 0.02, volume)


def backtested(kind: type[CtaTemplate], params: dict[str, Any], ticks: tuple[TickData, ...]) -> Result:
    book, calendar = house()
    strategy = StrategyPlan(kind, "test", (SYMBOL,), params, 50_000_000.0)
    series = {SYMBOL: TickSeries.from_ticks(ticks)}
    return realistic.run(Plan((strategy,), series, DAY, DAY, book, calendar, costs=NO_SLIP))


def at_the_exchange(wishes: dict[int, list[Wish]], ticks: tuple[TickData, ...]) -> list[tuple[Any, ...]]:
    """The same wishes sent after the same ticks to the exchange that replays them; its fills and ended orders."""
    book, calendar = house()
    rules = Rules(
        seed=1,
        first_day=DAY,
        book=book,
        calendar=calendar,
        characters={},
        capital=50_000_000.0,
        recorded={("au2512", DAY): ticks},
    )
    exchange, refs = SimulatedExchange(rules), count(1)
    exchange.subscribe(["au2512"])
    found: list[tuple[Any, ...]] = []
    working: dict[int, Status] = {}

    def hear(events: Any) -> None:
        for event in events:
            if isinstance(event, TradeReport):
                found.append((event.datetime, event.order_ref, event.direction, event.price, event.volume))
            elif isinstance(event, OrderReport):
                working[event.order_ref] = event.status

    for number, tick in enumerate(ticks, 1):
        hear(exchange.advance_to(tick.datetime))
        for _, kind, away, volume in wishes.get(number, ()):
            if kind == "cancel":
                for ref in [ref for ref, status in working.items() if status.is_active]:
                    hear(exchange.cancel_order(CancelOrder(order_ref=ref)))
                continue
            hear(exchange.insert_order(insertion(next(refs), kind, tick, away, volume)))
    hear(exchange.advance_to(at(DAY, 15, 1)))
    return [*found, tuple(sorted(working.items()))]


def insertion(ref: int, kind: str, tick: TickData, away: int, volume: int) -> InsertOrder:
    from arbig import Direction, Offset

    return InsertOrder(
        order_ref=ref,
        memo="",
        symbol="au2512",
        exchange=Exchange.SHFE,
        direction=Direction.LONG if kind == "buy" else Direction.SHORT,
        offset=Offset.OPEN,
        order_type=OrderType.LIMIT,
        price=round(tick.last_price + away * 0.02, 2),
        volume=volume,
    )


def in_the_backtest(wishes: dict[int, list[Wish]], ticks: tuple[TickData, ...]) -> list[tuple[Any, ...]]:
    result = backtested(Scripted, {"wishes": wishes}, ticks)
    assert not result.failures
    number = {order.order_id: place for place, order in enumerate(result.orders, 1)}
    fills = [
        (trade.datetime, number[trade.order_id], trade.direction, trade.price, trade.volume) for trade in result.trades
    ]
    return [*fills, tuple((place, order.status) for place, order in enumerate(result.orders, 1))]


def by_number(wishes: list[Wish]) -> dict[int, list[Wish]]:
    found: dict[int, list[Wish]] = {}
    for wish in wishes:
        found.setdefault(wish[0], []).append(wish)
    return found


drawn_wishes = st.lists(
    st.tuples(
        st.integers(2, len(recorded()) - 1),
        st.sampled_from(["buy", "short", "cancel"]),
        st.integers(-12, 12),
        st.integers(1, 40),
    ),
    min_size=1,
    max_size=25,
)


@settings(max_examples=12, deadline=None)
@given(drawn_wishes)
def test_fills_are_those_of_the_simulated_exchange(wishes: list[Wish]) -> None:
    """Time, order, direction, price and volume of every fill, and how every order ended."""
    asked = by_number(wishes)
    assert in_the_backtest(asked, recorded()) == at_the_exchange(asked, recorded())


class Watching(CtaTemplate):
    """Keeps the bars it is given."""

    seen: list[Any] = []
    parameters = ["seen"]

    def on_init(self) -> None:
        self.seen.append("init")

    def on_bar(self, bar: BarData) -> None:
        self.seen.append((bar, self.cta_engine.moment))  # type: ignore[attr-defined]


def test_bars_are_made_by_the_house_s_generator_and_the_last_minute_of_a_segment_is_closed_in_time() -> None:
    seen: list[Any] = []
    backtested(Watching, {"seen": seen}, recorded())
    _, calendar = house()
    generator = BarGenerator("au2512", Sessions(house()[0].get(SYMBOL).night_close, calendar))
    expected = [bar for tick in recorded() for bar in generator.on_tick(tick)]
    expected += generator.on_time(recorded()[-1].datetime + timedelta(minutes=2))
    bars = [bar for bar, _ in seen[1:]]
    assert [(bar.datetime, bar.close_price, bar.volume) for bar in bars] == [
        (bar.datetime, bar.close_price, bar.volume) for bar in expected
    ]
    assert all(moment - bar.datetime <= timedelta(minutes=1, seconds=6) for bar, moment in seen[1:])


class Stopping(CtaTemplate):
    """A stop order one tick above the first price; once filled, a stop below it."""

    def on_init(self) -> None:
        self.number = 0

    def on_tick(self, tick: TickData) -> None:
        self.number += 1
        if self.number == 10:
            self.buy(tick.last_price + 0.06, 2, stop=True)

    def on_trade(self, trade: TradeData) -> None:
        if self.pos == 2:
            self.sell(trade.price - 0.06, 2, stop=True)


def test_a_stop_order_goes_out_across_the_book_when_the_last_price_reaches_it() -> None:
    result = backtested(Stopping, {}, recorded())
    first = result.stop_orders[0]
    assert first.status is StopOrderStatus.TRIGGERED
    reached = next(
        tick for tick in recorded() if tick.datetime > first.datetime and tick.last_price >= first.price - 1e-9
    )
    assert (result.trades[0].datetime, result.trades[0].price) == (reached.datetime, reached.ask_price_1)
    assert result.orders[0].price == reached.limit_up


@pytest.mark.parametrize("ticks", [2])
def test_slippage_is_added_to_what_takes_when_asked_for(ticks: int) -> None:
    book, calendar = house()
    wishes = by_number([(100, "buy", 10, 1)])
    strategy = StrategyPlan(Scripted, "test", (SYMBOL,), {"wishes": wishes}, 50_000_000.0)
    series = {SYMBOL: TickSeries.from_ticks(recorded())}
    slipped = realistic.run(
        Plan((strategy,), series, DAY, DAY, book, calendar, costs=Costs(slippage_ticks=ticks))
    ).trades[0]
    plain = backtested(Scripted, {"wishes": wishes}, recorded()).trades[0]
    assert slipped.price == pytest.approx(plain.price + ticks * 0.02)
