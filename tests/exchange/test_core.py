"""The counter and the exchange behind it: what they take, what they refuse, what a day does to a position."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbig.domain.counter import (
    CancelRejected,
    DayMark,
    InsertRejected,
    OrderReport,
    PositionReport,
    TradeReport,
)
from arbig.domain.messages import SHANGHAI, Direction, Offset, OrderType, Status
from arbig.domain.sessions import TradingCalendar
from arbig.exchange.core import Rules, ScriptedReject, SimulatedExchange

LONG, SHORT = Direction.LONG, Direction.SHORT


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2025-{text.replace(' ', 'T')}").replace(tzinfo=SHANGHAI)


def statuses(events: list[Any]) -> list[str]:
    return [str(event.status) for event in events if isinstance(event, OrderReport)]


def trades(events: list[Any]) -> list[tuple[float, int]]:
    return [(event.price, event.volume) for event in events if isinstance(event, TradeReport)]


def error(events: list[Any]) -> int | None:
    (event,) = events
    return event.error_id


@pytest.fixture
def trader(desk: Callable[..., Any]) -> Any:
    """At 21:01, in the middle of continuous trading."""
    made = desk("au2512")
    made.until("10-14 21:01:00")
    return made


def test_a_crossing_order_fills_at_the_book_and_the_report_comes_before_the_trade(trader: Any) -> None:
    quote = trader.quote()
    events = trader.buy(quote.ask_price_1 + 2.0)
    assert [type(event).__name__ for event in events] == ["OrderReport", "OrderReport", "TradeReport", "PositionReport"]
    assert statuses(events) == ["NOTTRADED", "ALLTRADED"]
    assert trades(events) == [(quote.ask_price_1, 1)]


def test_an_order_larger_than_the_book_fills_in_parts(trader: Any) -> None:
    quote = trader.quote()
    events = trader.buy(quote.ask_price_1, quote.ask_volume_1 + 3, offset=Offset.OPEN)
    assert trades(events) == [(quote.ask_price_1, quote.ask_volume_1)]
    assert statuses(events)[-1] == "PARTTRADED"
    assert trades(trader.buy(quote.ask_price_1, 1)) == [], "what is taken stays taken until the next tick"


def test_fak_takes_what_there_is_and_fok_all_or_nothing(trader: Any) -> None:
    quote = trader.quote()
    too_much = quote.ask_volume_1 + 1
    fok = trader.buy(quote.ask_price_1, too_much, order_type=OrderType.FOK)
    fak = trader.buy(quote.ask_price_1, too_much, order_type=OrderType.FAK)
    assert (statuses(fok), trades(fok)) == (["NOTTRADED", "CANCELLED"], [])
    assert statuses(fak) == ["NOTTRADED", "PARTTRADED", "CANCELLED"]
    assert trades(fak) == [(quote.ask_price_1, quote.ask_volume_1)]


def test_a_resting_order_fills_when_the_market_comes_to_it(trader: Any) -> None:
    quote = trader.quote()
    assert statuses(trader.buy(round(quote.bid_price_1 - 1.0, 2))) == ["NOTTRADED"]
    events = trader.until("10-15 02:30:00")
    assert trades(events) == [(round(quote.bid_price_1 - 1.0, 2), 1)]


@pytest.mark.parametrize(
    ("why", "order", "expected"),
    [
        ("no lots", {"price": 838.0, "volume": 0}, 15),
        ("no price", {"price": 0.0}, 15),
        ("not a number", {"price": float("nan")}, 15),
        ("unknown product", {"price": 838.0, "symbol": "xx2512"}, 16),
        ("expired", {"price": 838.0, "symbol": "au2410"}, 17),
        ("reference used before", {"price": 838.0, "ref": 1}, 22),
        ("off the tick", {"price": 838.01}, 95),
        ("too many lots", {"price": 838.0, "volume": 501}, 106),
        ("too dear", {"price": 838.0, "volume": 60}, 31),
        ("nothing of today", {"price": 838.0, "offset": Offset.CLOSETODAY, "direction": SHORT}, 50),
        ("nothing of yesterday", {"price": 838.0, "offset": Offset.CLOSEYESTERDAY, "direction": SHORT}, 51),
        ("CLOSE means yesterday", {"price": 838.0, "offset": Offset.CLOSE, "direction": SHORT}, 51),
    ],
)
def test_the_counter_refuses_with_its_number(trader: Any, why: str, order: dict[str, Any], expected: int) -> None:
    trader.buy(round(trader.quote().bid_price_1 - 5, 2))
    events = trader.order(**order)
    assert isinstance(events[0], InsertRejected)
    assert error(events) == expected
    assert "CTP:" in events[0].error_msg and "(" in events[0].error_msg


def test_over_closing_where_the_days_are_together_is_error_30(shipped: Rules, desk: Callable[..., Any]) -> None:
    book = shipped.book
    rows = {name: tuple(replace(row, position_date_type="2") for row in book._rows[name]) for name in book.products}
    trader = desk("au2512", book=type(book)(rows, shipped.calendar))
    trader.until("10-14 21:01:00")
    trader.buy(trader.quote().ask_price_1)
    assert error(trader.sell(838.0, 2, offset=Offset.CLOSE)) == 30
    assert statuses(trader.sell(838.0, 1, offset=Offset.CLOSE))[0] == "NOTTRADED"


def test_lots_promised_to_a_working_close_cannot_be_closed_again(trader: Any) -> None:
    trader.buy(trader.quote().ask_price_1)
    high = round(trader.quote().bid_price_1 + 20, 2)
    events = trader.sell(high)
    assert [row.frozen for event in events if isinstance(event, PositionReport) for row in event.positions] == [1, 0]
    assert error(trader.sell(high)) == 50
    trader.cancel(2)
    assert statuses(trader.sell(high)) == ["NOTTRADED"]


def test_a_price_beyond_the_limit_is_refused_by_the_exchange_in_words(trader: Any) -> None:
    quote = trader.quote()
    for price, words in ((quote.limit_up + 1, "涨停板"), (quote.limit_down - 1, "跌停板")):
        (report,) = trader.buy(round(price, 2))
        assert (report.status, report.error_id) == (Status.REJECTED, None)
        assert words in report.error_msg
    assert statuses(trader.buy(quote.limit_up))[-1] == "ALLTRADED"


@pytest.mark.parametrize(
    "when", ["10-14 20:59:30", "10-15 02:31:00", "10-15 10:20:00", "10-15 12:00:00", "10-15 15:10:00"]
)
def test_no_orders_while_the_auction_is_matched_in_breaks_and_when_closed(desk: Callable[..., Any], when: str) -> None:
    trader = desk()
    trader.until(when)
    (report,) = trader.buy(838.0)
    assert (report.status, report.error_id) == (Status.REJECTED, None)
    assert "当前状态禁止此项操作" in report.error_msg


def test_auction_orders_fill_at_the_auction_price_and_the_rest_goes_on(desk: Callable[..., Any]) -> None:
    trader = desk()
    trader.until("10-14 20:57:00")
    assert statuses(trader.buy(950.0)) == ["NOTTRADED"]
    assert statuses(trader.buy(800.0)) == ["NOTTRADED"]
    assert statuses(trader.buy(838.0, order_type=OrderType.FAK)) == ["REJECTED"]
    events = trader.until("10-14 21:00:00")
    assert trades(events) == [(trader.quote().open_price, 1)]
    assert statuses(trader.until("10-14 21:02:00")) == []
    assert [report.status for report in trader.exchange.order_reports()][1] == Status.NOTTRADED


def test_a_cancel_that_comes_too_late_is_26_and_of_nothing_is_25(trader: Any) -> None:
    trader.buy(trader.quote().ask_price_1)
    assert error(trader.cancel(1)) == 26
    assert error(trader.cancel(99)) == 25
    trader.buy(800.0)
    (report,) = trader.cancel(2)
    assert report.status is Status.CANCELLED


def test_cancels_pass_in_a_break_but_not_while_closed(desk: Callable[..., Any]) -> None:
    trader = desk()
    trader.until("10-14 21:01:00")
    trader.buy(800.0)
    trader.buy(800.0)
    trader.until("10-15 03:00:00")
    (refused,) = trader.cancel(1)
    trader.until("10-15 10:20:00")
    (report,) = trader.cancel(1)
    assert isinstance(refused, CancelRejected) and refused.error_id is None
    assert report.status is Status.CANCELLED


def test_a_good_for_day_order_lives_from_night_to_day_and_dies_at_the_close(trader: Any) -> None:
    trader.buy(800.0)
    assert trader.until("10-15 14:59:59") == []
    (report,) = [event for event in trader.until("10-15 15:00:01") if isinstance(event, OrderReport)]
    assert (report.status, report.traded) == (Status.CANCELLED, 0)
    assert "收盘" in report.error_msg


def test_settlement_makes_todays_lots_yesterdays_and_pays_the_day_out(trader: Any) -> None:
    trader.buy(trader.quote().ask_price_1, 2)
    bought = trader.exchange.positions()[0]
    before = trader.exchange.account_row()
    events = trader.until("10-15 16:00:00")
    mark = next(event for event in events if isinstance(event, DayMark))
    after = trader.exchange.account_row()
    held = trader.exchange.positions()[0]
    settlement = trader.exchange.truth.closes["au2512"].settlement
    assert (mark.settled, mark.trading_day) == (True, date(2025, 10, 15))
    assert (held.volume, held.yd_volume, held.price) == (2, 2, bought.price)
    assert after.trading_day == date(2025, 10, 16)
    assert after.pre_balance == pytest.approx(5_000_000 - before.commission + 2000 * (settlement - bought.price))
    assert (after.commission, after.position_profit) == (0, 0)
    assert after.margin == pytest.approx(0.14 * settlement * 2000)


def test_the_next_day_yesterdays_lots_want_closeyesterday(trader: Any) -> None:
    trader.buy(trader.quote().ask_price_1, 2)
    events = trader.until("10-15 21:01:00")
    assert [event.settled for event in events if isinstance(event, DayMark)] == [True, False]
    bid = trader.quote().bid_price_1
    assert error(trader.sell(bid, offset=Offset.CLOSETODAY)) == 50
    assert statuses(trader.sell(bid, offset=Offset.CLOSEYESTERDAY))[-1] == "ALLTRADED"
    assert statuses(trader.sell(bid, offset=Offset.CLOSE, order_type=OrderType.LIMIT))[0] == "NOTTRADED"


def test_margin_and_fees_are_the_contracts(trader: Any) -> None:
    ask = trader.quote().ask_price_1
    trader.buy(ask)
    row = trader.exchange.account_row()
    assert row.margin == pytest.approx(0.14 * ask * 1000)
    assert row.commission == 10
    trader.sell(trader.quote().bid_price_1)
    assert trader.exchange.account_row().commission == 10, "closing today's gold is free"


def test_a_working_open_holds_money_until_it_is_cancelled(trader: Any) -> None:
    free = trader.exchange.account_row().available
    trader.buy(800.0, 10)
    held = trader.exchange.account_row()
    assert held.frozen == pytest.approx(0.14 * 800 * 1000 * 10 + 100)
    trader.cancel(1)
    assert trader.exchange.account_row().available == free


def test_scripted_rejects_come_from_the_counter_or_the_exchange(desk: Callable[..., Any]) -> None:
    script = (ScriptedReject(at_order=2, error_id=31), ScriptedReject(at_order=3, message="交易所拒单"))
    trader = desk(rejects=script)
    trader.until("10-14 21:01:00")
    first, second, third = (trader.buy(838.0) for _ in range(3))
    assert isinstance(first[0], OrderReport) and first[0].status is Status.NOTTRADED
    assert error(second) == 31
    assert (third[0].status, third[0].error_msg) == (Status.REJECTED, "交易所拒单")


def test_an_expired_contract_is_settled_in_cash_on_its_last_day(desk: Callable[..., Any]) -> None:
    trader = desk("au2510", "au2512")
    trader.until("10-14 21:01:00")
    trader.buy(trader.quote("au2510").ask_price_1, symbol="au2510")
    events = trader.until("10-15 16:00:00")
    rows = [row for event in events if isinstance(event, PositionReport) for row in event.positions]
    assert [row.volume for row in rows if row.symbol == "au2510"][-2:] == [0, 0]
    assert trader.exchange.positions() == ()
    assert error(trader.buy(838.0, symbol="au2510")) == 17


def test_with_nothing_listed_the_exchange_keeps_its_hours(desk: Callable[..., Any]) -> None:
    """The clock must not run through a year in one leap when the last contract has expired."""
    exchange = desk("au2510").exchange
    for _ in exchange.advance_to(at("10-15 16:00:00")):
        pass
    assert exchange.truth.symbols == ()
    assert exchange.next_moment(timedelta(seconds=1), timedelta(seconds=6)) == (at("10-15 20:55:00"), False)


def test_the_clock_stands_still_after_the_calendars_last_day(shipped: Rules) -> None:
    last = date(2025, 10, 16)
    calendar = TradingCalendar(frozenset(day for day in shipped.calendar.days if day <= last))
    exchange = SimulatedExchange(replace(shipped, calendar=calendar))
    exchange.subscribe(("au2512",))
    for _ in range(200):
        moment, _ = exchange.next_moment(timedelta(hours=1), timedelta(seconds=6))
        for _ in exchange.advance_to(moment):
            pass
    assert (exchange.trading_day, exchange.session_time) == (last, at("10-16 15:00:06"))


def test_the_private_flow_is_numbered_without_gaps(trader: Any) -> None:
    events = trader.buy(trader.quote().ask_price_1) + trader.buy(800.0) + trader.cancel(2)
    flows = [event.flow for event in events if isinstance(event, OrderReport | TradeReport)]
    assert flows == list(range(1, len(flows) + 1))


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from([LONG, SHORT]),
        st.sampled_from(list(Offset)),
        st.sampled_from(list(OrderType)),
        st.integers(-60, 60),
        st.integers(1, 30),
        st.integers(0, 40),
    ),
    min_size=5,
    max_size=25,
)


@settings(max_examples=25, deadline=None)
@given(ACTIONS)
def test_whatever_is_ordered_money_and_lots_stay_true(desk: Callable[..., Any], actions: list[tuple[Any, ...]]) -> None:
    """Positions equal the sum of the trades, nothing is negative, every order ends inside its volume."""
    trader = desk("au2512")
    told: list[Any] = trader.until("10-14 21:00:30")
    for direction, offset, kind, ticks_away, volume, pause in actions:
        price = round(trader.quote().last_price + ticks_away * 0.02, 2)
        told += trader.order(price, volume, direction, offset, kind)
        told += list(trader.exchange.advance_to(trader.exchange.session_time + timedelta(seconds=pause)))
    net = {LONG: 0, SHORT: 0}
    for trade in (event for event in told if isinstance(event, TradeReport)):
        side = trade.direction if trade.offset is Offset.OPEN else trade.direction.opposite
        net[side] += trade.volume if trade.offset is Offset.OPEN else -trade.volume
    held = {row.direction: row.volume for row in trader.exchange.positions()}
    assert {side: held.get(side, 0) for side in net} == net
    for report in (event for event in told if isinstance(event, OrderReport)):
        assert 0 <= report.traded <= report.volume
    account = trader.exchange.account_row()
    assert account.margin >= 0 and account.frozen >= -0.01
    assert account.balance == pytest.approx(
        account.pre_balance + account.close_profit + account.position_profit - account.commission, abs=0.02
    )
