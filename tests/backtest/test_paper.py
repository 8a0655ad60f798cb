"""Paper: our orders on somebody else's ticks, by the exchange's rules and the counter's money."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

from arbig.backtest.counter_course import Event
from arbig.backtest.paper import PaperCounter, opened
from arbig.domain.counter import (
    CancelOrder,
    CancelRejected,
    DayMark,
    InsertOrder,
    InsertRejected,
    OrderReport,
    TradeReport,
)
from arbig.domain.messages import SHANGHAI, Direction, Exchange, Offset, OrderType, TickData
from arbig.runtime.calendar import load_calendar
from arbig.runtime.instruments import load_instruments
from arbig.runtime.settings import load_settings
from arbig.store.paper import PaperStore

ROOT = Path(__file__).parents[2]
DAY = date(2025, 10, 15)
TEN = datetime(2025, 10, 15, 10, 0, tzinfo=SHANGHAI)
NIGHT = datetime(2025, 10, 14, 21, 30, tzinfo=SHANGHAI)
LONG, SHORT = Direction.LONG, Direction.SHORT


class Desk:
    """A paper counter and what a test says to it."""

    def __init__(self, counter: PaperCounter) -> None:
        self.counter, self.ref = counter, counter.truth.max_order_ref
        self.events: list[Event] = []

    def tick(
        self, last: float, now: datetime = TEN, spread: float = 0.1, lots: int = 5, traded: int = 4
    ) -> list[Event]:
        tick = TickData(
            symbol="au2512", exchange=Exchange.SHFE, datetime=now, last_price=last, volume=1000, open_interest=1,
            last_volume=traded, open_price=900.0, high_price=950.0, low_price=850.0, pre_close=900.0, limit_up=980.0,
            limit_down=820.0, bid_price_1=last - spread, bid_volume_1=lots, ask_price_1=last + spread,
            ask_volume_1=lots, turnover=905.0 * 1000 * 1000, trading_day=DAY,
        )  # fmt: skip
        return self._said(self.counter.on_tick(tick, now))

    def send(
        self, price: float, volume: int = 1, now: datetime = TEN, direction: Direction = LONG,
        offset: Offset = Offset.OPEN, kind: OrderType = OrderType.LIMIT,
    ) -> list[Event]:  # fmt: skip
        self.ref += 1
        wish = InsertOrder(
            order_ref=self.ref, memo=f"memo{self.ref}", symbol="au2512", exchange=Exchange.SHFE, direction=direction,
            offset=offset, order_type=kind, price=price, volume=volume,
        )  # fmt: skip
        return self._said(self.counter.insert(wish, now))

    def cancel(self, ref: int, now: datetime = TEN) -> list[Event]:
        return self._said(self.counter.cancel(CancelOrder(order_ref=ref), now))

    def to(self, now: datetime, day: date = DAY) -> list[Event]:
        return self._said(self.counter.on_time(now, day))

    def _said(self, events: list[Event]) -> list[Event]:
        self.events += events
        return events

    @property
    def fills(self) -> list[tuple[float, int]]:
        return [(event.price, event.volume) for event in self.events if isinstance(event, TradeReport)]


@pytest.fixture(scope="module")
def market():
    settings = load_settings(root=ROOT)
    return load_instruments(settings), load_calendar(settings)


@pytest.fixture
def desk(market) -> Desk:
    return Desk(PaperCounter(*market, opened("paper", 5_000_000.0, DAY)))


def test_an_order_that_crosses_takes_the_book_and_one_that_rests_waits_for_it(desk):
    desk.tick(900.0)
    desk.send(900.1, 7)
    assert desk.fills == [(900.1, 5)]
    desk.tick(899.9)
    assert desk.fills == [(900.1, 5), (900.1, 2)]
    desk.send(899.0)
    desk.tick(899.0)
    assert len(desk.fills) == 2  # a trade at its price proves nothing
    desk.tick(898.8, spread=0.1)
    assert desk.fills[2:] == [(899.0, 1)]


def test_money_and_lots_are_counted_as_the_counter_counts_them(desk):
    desk.tick(900.0)
    desk.send(900.1, 2)
    desk.tick(901.0)
    row = desk.counter.account_row()
    assert (row.position_profit, row.margin > 0, row.commission) == (pytest.approx(0.9 * 2 * 1000), True, 20.0)
    (long,) = desk.counter.positions()
    assert (long.volume, long.yd_volume) == (2, 0)
    desk.send(900.9, 2, direction=SHORT, offset=Offset.CLOSETODAY)
    assert desk.counter.account_row().close_profit == pytest.approx(0.8 * 2 * 1000)
    assert desk.counter.positions() == ()


@pytest.mark.parametrize(
    ("wish", "error"),
    [
        ({"price": 900.01}, 95),
        ({"price": 900.0, "volume": 501}, 106),
        ({"price": 900.0, "volume": 400}, 31),
        ({"price": 900.0, "direction": SHORT, "offset": Offset.CLOSETODAY}, 50),
        ({"price": 900.0, "direction": SHORT, "offset": Offset.CLOSEYESTERDAY}, 51),
    ],
)
def test_it_refuses_with_the_counters_numbers(desk, wish, error):
    desk.tick(900.0)
    (refused,) = desk.send(**wish)
    assert isinstance(refused, InsertRejected) and refused.error_id == error


@pytest.mark.parametrize(
    ("now", "price", "words"),
    [
        (TEN.replace(hour=10, minute=20), 900.0, "禁止"),
        (TEN.replace(hour=16), 900.0, "禁止"),
        (TEN, 981.0, "涨停"),
        (TEN, 819.0, "跌破"),
    ],
)
def test_the_exchange_refuses_with_words_in_a_break_and_beyond_the_limits(desk, now, price, words):
    desk.tick(900.0)
    (refused,) = desk.send(price, now=now)
    assert isinstance(refused, OrderReport) and words in (refused.error_msg or "")


def test_an_auctions_one_price_fills_what_is_as_good(desk):
    before = datetime(2025, 10, 14, 20, 56, tzinfo=SHANGHAI)
    desk.send(901.0, 2, now=before)
    desk.send(899.0, 2, now=before)
    desk.tick(900.0, now=before.replace(minute=59, second=1), traded=30)
    assert desk.fills == [(900.0, 2)]


def test_a_break_matches_nothing_and_the_order_lives_on_into_the_day(desk):
    desk.tick(900.0, now=NIGHT)
    desk.send(899.0, now=NIGHT)
    desk.tick(890.0, now=datetime(2025, 10, 15, 3, 0, tzinfo=SHANGHAI))
    assert desk.fills == []
    desk.tick(890.0, now=TEN)
    assert desk.fills == [(899.0, 1)]


def test_at_the_close_what_works_dies_and_the_day_is_settled_at_its_average_price(desk):
    desk.tick(900.0)
    desk.send(900.1)
    desk.send(880.0)
    (died,) = desk.to(TEN.replace(hour=15))
    assert isinstance(died, OrderReport) and died.error_msg.startswith("收盘")
    marks = [event for event in desk.to(TEN.replace(hour=15, minute=30)) if isinstance(event, DayMark)]
    assert [(mark.trading_day, mark.settled) for mark in marks] == [(DAY, True), (date(2025, 10, 16), False)]
    statement = desk.counter.truth.statement
    assert statement.prices == {"au2512": 905.0}
    assert statement.balance == pytest.approx(5_000_000 + 4.9 * 1000 - 10)
    (long,) = desk.counter.positions()
    assert (long.yd_volume, desk.counter.account_row().pre_balance) == (1, statement.balance)


def test_days_slept_through_are_settled_one_after_another(desk):
    desk.tick(900.0)
    desk.send(900.1)
    events = desk.to(TEN + timedelta(days=5))
    days = [event.trading_day.day for event in events if isinstance(event, DayMark) and event.settled]
    assert (days, desk.counter.truth.trading_day) == ([15, 16, 17], date(2025, 10, 20))


def test_a_cancel_frees_the_lots_and_a_second_one_is_refused(desk):
    desk.tick(900.0)
    desk.send(900.1)
    desk.send(950.0, direction=SHORT, offset=Offset.CLOSETODAY)
    (refused,) = desk.send(951.0, direction=SHORT, offset=Offset.CLOSETODAY)
    assert refused.error_id == 50
    desk.cancel(2)
    (again,) = desk.cancel(2)
    assert isinstance(again, CancelRejected) and again.error_id == 26
    assert not isinstance(desk.send(951.0, direction=SHORT, offset=Offset.CLOSETODAY)[0], InsertRejected)


def test_what_is_on_disk_is_the_counter_again(desk, market, tmp_path):
    """Orders, lots and money; the next life matches what rests and goes on counting."""
    store = PaperStore(tmp_path / "paper.db")
    desk.tick(900.0)
    desk.send(900.1, 2)
    desk.send(899.0, 3)
    store.commit(desk.counter.truth, [e for e in desk.events if isinstance(e, OrderReport | TradeReport)])
    again = Desk(PaperCounter(*market, store.load(), store.orders(DAY)))
    assert again.counter.account_row() == desk.counter.account_row()
    assert again.counter.order_reports() == desk.counter.order_reports()
    assert store.trades(DAY) == tuple(event for event in desk.events if isinstance(event, TradeReport))
    for one in (desk, again):
        one.events.clear()
        one.tick(898.0)
    assert again.events == desk.events and again.fills == [(899.0, 3)]
    store.close()
