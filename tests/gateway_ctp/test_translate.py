"""CTP's dicts at the door: what counters really send becomes the house's words, and wishes become what CTP reads."""

from __future__ import annotations

import sys
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbig.domain.counter import InsertOrder
from arbig.domain.messages import SHANGHAI, Direction, Exchange, Offset, OrderType, Status
from arbig.gateway.ctp.translate import (
    OFFSETS,
    STATUSES,
    Key,
    Untranslatable,
    account_from_ctp,
    cancel_rejected,
    clock_of,
    contract_from_ctp,
    ctp_from_cancel,
    ctp_from_insert,
    insert_rejected,
    moment_of,
    natural_day,
    order_from_ctp,
    positions_from_ctp,
    price_of,
    tick_from_ctp,
    trade_from_ctp,
)
from arbig.runtime.calendar import load_calendar
from arbig.runtime.settings import load_settings

ROOT = Path(__file__).parents[2]
CALENDAR = load_calendar(load_settings(root=ROOT))
DAY = date(2025, 10, 15)
NONE = sys.float_info.max


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=SHANGHAI)


def depth(**changes: Any) -> dict[str, Any]:
    raw = {
        "TradingDay": "20251015", "ActionDay": "20251014", "InstrumentID": "au2512", "ExchangeID": "",
        "UpdateTime": "21:00:00", "UpdateMillisec": 500, "LastPrice": 880.02, "Volume": 120, "OpenInterest": 180000.0,
        "OpenPrice": 879.0, "HighestPrice": 881.0, "LowestPrice": 878.5, "PreClosePrice": 877.0,
        "PreSettlementPrice": 876.5, "UpperLimitPrice": 999.2, "LowerLimitPrice": 753.8, "BidPrice1": 880.0,
        "BidVolume1": 3, "AskPrice1": 880.04, "AskVolume1": 2, "Turnover": 105602400.0, "AveragePrice": 880020.0,
    }  # fmt: skip
    return raw | changes


def order(**changes: Any) -> dict[str, Any]:
    raw = {
        "InstrumentID": "au2512", "ExchangeID": "SHFE", "TradingDay": "20251015", "OrderRef": "          12",
        "OrderMemo": "ABCDEFGHIJKL", "FrontID": 1, "SessionID": 7, "OrderSysID": "        4711", "Direction": "0",
        "CombOffsetFlag": "0", "CombHedgeFlag": "1", "LimitPrice": 880.0, "VolumeTotalOriginal": 3, "VolumeTraded": 0,
        "OrderStatus": "3", "OrderSubmitStatus": "3", "StatusMsg": "未成交", "TimeCondition": "3",
        "VolumeCondition": "1", "OrderPriceType": "2", "InsertDate": "20251014", "InsertTime": "21:00:05",
        "UpdateTime": "", "CancelTime": "", "ForceCloseReason": "0",
    }  # fmt: skip
    return raw | changes


def trade(**changes: Any) -> dict[str, Any]:
    raw = {
        "InstrumentID": "au2512", "ExchangeID": "SHFE", "TradingDay": "20251015", "TradeID": "       99",
        "OrderRef": "12", "OrderSysID": "        4711", "Direction": "0", "OffsetFlag": "0", "Price": 880.0,
        "Volume": 2, "TradeDate": "20251014", "TradeTime": "21:00:06",
    }  # fmt: skip
    return raw | changes


def tick(**changes: Any) -> Any:
    return tick_from_ctp(depth(**changes), Exchange.SHFE, DAY, CALENDAR, account_id="a1")


def report(**changes: Any) -> Any:
    return order_from_ctp(order(**changes), DAY, CALENDAR)


def test_a_snapshot_of_the_night_keeps_its_natural_day_and_its_trading_day() -> None:
    found = tick()
    assert (found.datetime, found.trading_day) == (at("2025-10-14T21:00:00.500"), DAY)
    assert (found.last_price, found.limit_up, found.pre_settlement, found.volume) == (880.02, 999.2, 876.5, 120)


@pytest.mark.parametrize(("written", "microseconds"), [(0, 0), (5, 5000), (50, 50_000), (500, 500_000)])
def test_five_milliseconds_are_not_half_a_second(written: int, microseconds: int) -> None:
    assert tick(UpdateMillisec=written).datetime.microsecond == microseconds


@pytest.mark.parametrize(
    ("ctp_name", "name"),
    {
        "UpperLimitPrice": "limit_up", "LowerLimitPrice": "limit_down", "OpenPrice": "open_price",
        "HighestPrice": "high_price", "LowestPrice": "low_price", "PreClosePrice": "pre_close",
        "BidPrice1": "bid_price_1", "AskPrice1": "ask_price_1",
    }.items(),
)  # fmt: skip
def test_the_largest_double_is_no_price(ctp_name: str, name: str) -> None:
    assert getattr(tick(**{ctp_name: NONE}), name) == 0.0


def test_a_snapshot_without_time_or_price_is_no_tick() -> None:
    assert tick(UpdateTime="") is None
    assert tick(LastPrice=NONE) is None
    assert tick(Turnover=NONE, PreSettlementPrice=NONE).turnover is None


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_no_price_beyond_reason_comes_in(value: float) -> None:
    found = price_of(value)
    assert found is None or abs(found) < 1e300


@pytest.mark.parametrize(
    ("exchange", "written", "clock", "trading_day", "expected"),
    [
        ("SHFE", "20251014", "21:00:00", "2025-10-15", "2025-10-14T21:00:00"),
        ("SHFE", "20251015", "00:30:00", "2025-10-15", "2025-10-15T00:30:00"),
        ("SHFE", "", "21:00:00", "2025-10-15", "2025-10-14T21:00:00"),
        ("SHFE", "20991231", "21:00:00", "2025-10-15", "2025-10-14T21:00:00"),
        ("INE", "20251018", "02:29:59", "2025-10-20", "2025-10-18T02:29:59"),
        ("DCE", "20251015", "21:00:00", "2025-10-15", "2025-10-14T21:00:00"),  # writes the trading day at night
        ("DCE", "20251020", "21:00:00", "2025-10-20", "2025-10-17T21:00:00"),  # Friday night belongs to Monday
        ("CZCE", "20251020", "22:59:59", "2025-10-20", "2025-10-17T22:59:59"),
        ("DCE", "20251020", "09:00:00", "2025-10-20", "2025-10-20T09:00:00"),
        ("CZCE", "", "00:10:00", "2025-10-20", "2025-10-18T00:10:00"),
    ],
)
def test_the_day_on_the_wall_follows_from_the_trading_day_where_it_is_not_written(
    exchange: str, written: str, clock: str, trading_day: str, expected: str
) -> None:
    """Never from the local clock: around midnight and for the snapshot before the opening that is the wrong day."""
    moment = clock_of(clock)
    assert moment is not None
    assert moment_of(exchange, written, moment, date.fromisoformat(trading_day), CALENDAR) == at(expected)


@given(st.datetimes(datetime(2025, 3, 1), datetime(2025, 9, 30)).map(lambda found: found.time()),
       st.sampled_from(CALENDAR.days_between(date(2025, 3, 3), date(2025, 9, 30))))  # fmt: skip
def test_any_time_lies_between_two_closes(clock: Any, trading_day: date) -> None:
    found = natural_day(trading_day, clock, CALENDAR)
    assert CALENDAR.previous_day(trading_day) <= found <= trading_day


@pytest.mark.parametrize(
    ("letter", "submit", "traded", "expected"),
    [
        ("0", "3", 3, Status.ALLTRADED), ("1", "3", 1, Status.PARTTRADED), ("2", "3", 1, Status.CANCELLED),
        ("3", "3", 0, Status.NOTTRADED), ("3", "3", 1, Status.PARTTRADED), ("4", "3", 0, Status.CANCELLED),
        ("5", "3", 0, Status.CANCELLED), ("5", "4", 0, Status.REJECTED), ("5", "3", 2, Status.CANCELLED),
        ("a", "0", 0, Status.SUBMITTING), ("b", "0", 0, Status.SUBMITTING), ("c", "0", 0, Status.SUBMITTING),
    ],
)  # fmt: skip
def test_every_status_a_counter_knows_has_a_word_here(letter: str, submit: str, traded: int, expected: Status) -> None:
    assert report(OrderStatus=letter, OrderSubmitStatus=submit, VolumeTraded=traded).status is expected
    assert set(STATUSES) == set("012345abc")


@pytest.mark.parametrize("letter", ["2", "5", "6"])
def test_a_forced_close_is_a_close_and_is_named(letter: str) -> None:
    found = report(CombOffsetFlag=letter, OrderRef="")
    assert (found.offset, found.forced, found.order_ref) == (Offset.CLOSE, True, 0)
    assert trade_from_ctp(trade(OffsetFlag=letter), DAY, CALENDAR).offset is Offset.CLOSE
    assert set(OFFSETS) == set("0123456")


def test_our_own_order_is_not_called_forced() -> None:
    found = report()
    assert (found.forced, found.order_ref, found.order_sys_id, found.memo) == (None, 12, "4711", "ABCDEFGHIJKL")


def test_the_exchanges_words_come_with_a_rejection_and_with_a_cancel_nobody_asked_for() -> None:
    refused = report(OrderStatus="5", OrderSubmitStatus="4", StatusMsg="已撤单报单被拒绝SHFE:价格超出涨停板")
    assert (refused.status, refused.error_id) == (Status.REJECTED, None)
    assert refused.error_msg == "已撤单报单被拒绝SHFE:价格超出涨停板"
    assert report(OrderStatus="5", StatusMsg="已撤单").error_msg is None
    assert report(OrderStatus="5", StatusMsg="收盘自动撤单").error_msg == "收盘自动撤单"


@pytest.mark.parametrize(
    ("terms", "kind"),
    [(("3", "1"), OrderType.LIMIT), (("1", "1"), OrderType.FAK), (("1", "2"), OrderType.FAK),
     (("1", "3"), OrderType.FOK), (("5", "1"), OrderType.LIMIT)],
)  # fmt: skip
def test_the_order_type_is_read_from_its_two_conditions(terms: tuple[str, str], kind: OrderType) -> None:
    assert report(TimeCondition=terms[0], VolumeCondition=terms[1]).order_type is kind


def test_an_orders_time_is_the_latest_one_it_names_on_its_natural_day() -> None:
    assert report().datetime == at("2025-10-14T21:00:05")
    assert report(UpdateTime="00:00:03").datetime == at("2025-10-15T00:00:03")
    assert report(ExchangeID="INE", CancelTime="09:30:00").datetime == at("2025-10-15T09:30:00")
    assert report(InsertDate="").datetime == at("2025-10-14T21:00:05")


def test_an_exchange_or_a_letter_we_have_no_word_for_is_one_line() -> None:
    with pytest.raises(Untranslatable, match=r"m2601: exchange 'DCE'; this house trades SHFE, INE"):
        report(InstrumentID="m2601", ExchangeID="DCE")
    with pytest.raises(Untranslatable, match=r"au2512: OrderStatus 'z', expected one of 0 1 2 3 4 5 a b c"):
        report(OrderStatus="z")


def test_a_memo_that_is_not_echoed_is_the_one_we_sent() -> None:
    assert order_from_ctp(order(OrderMemo=""), DAY, CALENDAR, memo="OURS").memo == "OURS"


def test_a_trade_knows_its_order_by_the_exchanges_number() -> None:
    found = trade_from_ctp(trade(), DAY, CALENDAR)
    assert (found.trade_id, found.order_sys_id, found.order_ref) == ("99", "4711", 12)
    assert (found.datetime, found.trading_day) == (at("2025-10-14T21:00:06"), DAY)
    assert trade_from_ctp(trade(OrderRef="W1x"), DAY, CALENDAR).order_ref == 0


def test_refusals_carry_number_and_words_even_where_the_words_are_missing() -> None:
    found = insert_rejected({"OrderRef": "12"}, {"ErrorID": 31, "ErrorMsg": "CTP:资金不足"}, at("2025-10-14"), DAY)
    assert (found.order_ref, found.error_id, found.error_msg) == (12, 31, "CTP:资金不足")
    silent = cancel_rejected(
        {"OrderRef": "12", "OrderSysID": " 47"}, {"ErrorID": 26, "ErrorMsg": ""}, at("2025-10-14"), DAY
    )
    assert (silent.order_sys_id, silent.error_id) == ("47", 26)
    assert silent.error_msg.startswith("CTP:报单已全成交")


def row(**changes: Any) -> dict[str, Any]:
    raw = {
        "InstrumentID": "au2512", "ExchangeID": "SHFE", "PosiDirection": "2", "PositionDate": "1", "Position": 2,
        "TodayPosition": 2, "YdPosition": 0, "LongFrozen": 0, "ShortFrozen": 1, "OpenCost": 1760000.0,
        "PositionCost": 1761000.0, "PositionProfit": 40.0, "UseMargin": 246400.0,
    }  # fmt: skip
    return raw | changes


def positions(*rows: dict[str, Any]) -> Any:
    return positions_from_ctp(rows, lambda _: 1000.0, lambda _: Exchange.SHFE, at("2025-10-14T21:00"), DAY, "a1")


def test_todays_and_yesterdays_rows_are_one_side_and_the_static_number_is_not_believed() -> None:
    """Three lots of yesterday, one of them closed since: `YdPosition` still says three."""
    history = row(PositionDate="2", Position=2, TodayPosition=0, YdPosition=3, ShortFrozen=1, OpenCost=1750000.0)
    (found,) = positions(row(), history)
    assert (found.volume, found.yd_volume, found.frozen, found.yd_frozen) == (4, 2, 2, 1)
    assert found.price == 877.5
    assert (found.direction, found.pnl, found.margin) == (Direction.LONG, 80.0, 492800.0)


def test_a_short_side_is_frozen_by_buying_and_no_side_is_lost() -> None:
    short = row(PosiDirection="3", LongFrozen=2, ShortFrozen=0)
    found = {position.direction: position.frozen for position in positions(row(), short)}
    assert found == {Direction.LONG: 1, Direction.SHORT: 2}


def test_an_empty_position_reply_is_an_empty_account() -> None:
    assert positions() == positions({}) == ()


def test_positions_on_other_exchanges_or_without_a_side_are_left_out() -> None:
    assert positions(row(ExchangeID="DCE"), row(PosiDirection="1")) == ()
    assert positions(row(ExchangeID=""))[0].exchange is Exchange.SHFE


def test_the_account_carries_the_houses_name_and_no_price_of_nobody() -> None:
    raw = {"AccountID": "123456", "Balance": 100.0, "Available": NONE, "FrozenMargin": 1.0, "FrozenCash": 2.0,
           "FrozenCommission": 3.0, "TradingDay": "20251015"}  # fmt: skip
    found = account_from_ctp(raw, DAY, "main")
    assert (found.account_id, found.balance, found.available, found.frozen) == ("main", 100.0, 0.0, 6.0)
    assert "123456" not in repr(found)


def test_an_empty_contract_reply_is_no_contract() -> None:
    assert contract_from_ctp({}) is None
    found = contract_from_ctp({"InstrumentID": "au2512", "ExchangeID": "SHFE", "VolumeMultiple": 1000,
                               "PriceTick": 0.02, "PositionDateType": "1", "MaxLimitOrderVolume": 500,
                               "MaxMarginSideAlgorithm": "1"})  # fmt: skip
    assert found is not None and (found.size, found.position_date_type, found.margin_by_larger_side) == (
        1000,
        "1",
        True,
    )


@pytest.mark.parametrize("kind", OrderType)
@pytest.mark.parametrize("offset", Offset)
@pytest.mark.parametrize("direction", Direction)
def test_a_wish_that_comes_back_is_the_wish(kind: OrderType, offset: Offset, direction: Direction) -> None:
    wish = InsertOrder(order_ref=12, memo="ABCDEFGHIJKL", symbol="au2512", exchange=Exchange.SHFE, direction=direction,
                       offset=offset, order_type=kind, price=880.02, volume=2)  # fmt: skip
    sent = ctp_from_insert(wish, "9999", "u")
    back = order_from_ctp(order(**sent), DAY, CALENDAR)
    assert (back.order_ref, back.memo, back.symbol, back.direction, back.offset, back.order_type, back.price) == (
        12, "ABCDEFGHIJKL", "au2512", direction, offset, kind, 880.02
    )  # fmt: skip
    assert sent["OrderPriceType"] == "2", "never a market order"
    assert len(sent["OrderRef"]) <= 12 and len(sent["OrderMemo"]) <= 12


def test_a_cancel_names_the_order_as_the_exchange_or_as_the_session_knows_it() -> None:
    by_exchange = ctp_from_cancel("au2512", "SHFE", "9999", "u", order_sys_id="        4711")
    assert by_exchange["OrderSysID"] == "        4711" and "OrderRef" not in by_exchange
    by_session = ctp_from_cancel("au2512", "SHFE", "9999", "u", key=Key(1, 7, "12"))
    assert (by_session["FrontID"], by_session["SessionID"], by_session["OrderRef"]) == (1, 7, "12")


def test_times_that_are_none_are_none() -> None:
    assert clock_of("") is clock_of("25:00:00") is clock_of("1:2") is None
    assert timedelta(milliseconds=clock_of("21:00:00", 999).microsecond / 1000) == timedelta(milliseconds=999)  # type: ignore[union-attr]
