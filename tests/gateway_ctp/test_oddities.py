"""What real counters do now and then, one card each: refusals, repeats, empty answers, broken lines, odd days."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from datetime import date
from typing import Any

import pytest
from counter_double import NONE, raw_order, raw_trade

from arbig.domain.counter import (
    CancelOrder,
    CancelRejected,
    DayMark,
    InsertRejected,
    LoggedIn,
    OrderReport,
    ReplayEnd,
    Subject,
    TradeReport,
)
from arbig.domain.messages import Direction, Exchange, Offset, Status
from arbig.gateway.ctp.reconnect import FATAL, TRANSIENT, Attempts, NoAnswer, Refused, reason_of
from arbig.gateway.port import NotConnected
from arbig.runtime.credentials import Secret

Offices = Callable[..., Any]
DAY = "20251015"


def play(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(story)


def stranger(**changes: Any) -> dict[str, Any]:
    """An order of another terminal."""
    return {
        "InstrumentID": "au2512", "ExchangeID": "SHFE", "TradingDay": DAY, "OrderRef": "7", "OrderMemo": "",
        "FrontID": 9, "SessionID": 99, "OrderSysID": "9001".rjust(12), "Direction": "1", "CombOffsetFlag": "1",
        "LimitPrice": 880.0, "VolumeTotalOriginal": 1, "VolumeTraded": 0, "OrderStatus": "3", "OrderSubmitStatus": "3",
        "StatusMsg": "", "TimeCondition": "3", "VolumeCondition": "1", "InsertDate": "20251014",
        "InsertTime": "21:02:00", "ForceCloseReason": "0", **changes,
    }  # fmt: skip


def strange_trade(**changes: Any) -> dict[str, Any]:
    return {
        "InstrumentID": "au2512", "ExchangeID": "SHFE", "TradingDay": DAY, "TradeID": "5001", "OrderRef": "7",
        "OrderSysID": "9001".rjust(12), "Direction": "1", "OffsetFlag": "1", "Price": 880.0, "Volume": 1,
        "TradeDate": "20251014", "TradeTime": "21:02:00", **changes,
    }  # fmt: skip


# ---- the log-in ----


@pytest.mark.parametrize("error_id", sorted(TRANSIENT))
@pytest.mark.parametrize("call", ["reqAuthenticate", "reqUserLogin"])
def test_what_passes_is_tried_again_until_it_has_passed(open_office: Offices, call: str, error_id: int) -> None:
    async def story() -> None:
        async with open_office(before=lambda truth: truth.refuse[f"trading.{call}"].extend([error_id] * 2)) as office:
            assert await office.do(lambda truth: truth.count("reqAuthenticate")) == 3
            assert office.connector.connected and office.connector.refusal is None

    play(story())


@pytest.mark.parametrize("error_id", sorted(FATAL))
def test_a_credential_error_is_said_once_and_never_tried_again(open_office: Offices, error_id: int) -> None:
    async def story() -> None:
        def before(truth: Any) -> None:
            truth.refuse["reqAuthenticate"].append(error_id)

        async with open_office(wait=False, before=before) as office:
            await office.recorder.until(lambda: office.recorder.alarms)
            await office.do(lambda truth: truth.close_fronts())
            await office.recorder.until(lambda: office.connector.counts["disconnects"])
            await asyncio.sleep(0.1)
            assert await office.do(lambda truth: truth.count("reqAuthenticate")) == 1
            assert not office.connector.connected
            assert f"authentication: {error_id}" in office.recorder.alarms[0]

    play(story())


def test_a_refused_password_is_not_sent_again_by_the_next_life(open_office: Offices) -> None:
    """A supervisor may restart the Gateway as often as it likes; another password has its own try."""

    async def story() -> None:
        def before(truth: Any) -> None:
            truth.refuse["trading.reqUserLogin"].append(3)
            truth.refuse["market.reqUserLogin"].append(3)

        async with open_office(wait=False, before=before) as office:
            await office.recorder.until(lambda: len(office.recorder.alarms) == 2)
            for _ in range(2):
                await office.restart(wait=False)
                await office.recorder.until(lambda: len(office.recorder.alarms) == 2)
                await asyncio.sleep(0.1)
            assert await office.do(lambda truth: truth.count("reqUserLogin")) == 2
            assert [lamp.on for lamp in office.connector.lamps.values()] == [False, False]
            assert all("arbig doctor --ctp --again" in (lamp.reason or "") for lamp in office.connector.lamps.values())
            await office.restart(td_address=f"unix:{office.server.path}", product_name="x", wait=False)
            await office.restart(app_id="another", wait=False)
            await office.recorder.until(lambda: any("authentication: 63" in words for words in office.recorder.alarms))

    play(story())


def test_a_wrong_password_is_sent_once(open_office: Offices) -> None:
    async def story() -> None:
        async with open_office() as office:
            await office.stop()
            before = await office.do(lambda truth: truth.count("reqAuthenticate"))
            office.recorder.__init__()
            office.connector = office.new_connector(password=Secret("forgotten"))
            await office.start(wait=False)
            await office.recorder.until(lambda: sum("log-in: 3" in words for words in office.recorder.alarms) == 2)
            assert await office.do(lambda truth: truth.count("reqAuthenticate")) == before + 1

    play(story())


def test_pauses_grow_and_begin_anew_after_a_success() -> None:
    attempts = Attempts()
    assert [attempts.pause_after(NoAnswer()) for _ in range(5)] == [5, 10, 30, 60, 60]
    attempts.succeeded()
    assert attempts.pause_after(Refused("log-in", 8, "")) == 5
    assert attempts.pause_after(Refused("log-in", 999, "")) == 10
    assert attempts.pause_after(Refused("log-in", 999, "")) is None, "an unknown refusal a second time is the last"


@pytest.mark.parametrize("reason", [0x1001, 0x1002, 0x2001, 0x2002, 0x2003])
def test_a_broken_line_is_told_with_its_reason_and_comes_back(open_office: Offices, reason: int) -> None:
    async def story() -> None:
        async with open_office() as office:
            await office.do(lambda truth: truth.close_fronts(reason))
            await office.ready(2)
            assert office.recorder.losses == [reason_of(reason)] and f"{reason:#06x}" in office.recorder.losses[0]
            assert len(office.recorder.of(LoggedIn)) == 2
            await office.recorder.until(lambda: office.connector.lamps["market_data"].on)
            await office.to("10-14T21:01:10")
            await office.recorder.until(office.recorder.ticks)

    play(story())


def test_a_line_that_breaks_while_a_query_is_out_fails_the_query_at_once(open_office: Offices) -> None:
    async def story() -> None:
        async with open_office() as office:
            await office.do(lambda truth: truth.deaf.add("reqQryTradingAccount"))
            question = asyncio.ensure_future(office.connector.query(Subject.ACCOUNT))
            await asyncio.sleep(0.05)
            await office.do(lambda truth: truth.close_fronts())
            with pytest.raises(NotConnected, match="front disconnected"):
                await question

    play(story())


# ---- settlement, contracts, queries ----


def test_an_order_before_the_settlement_is_confirmed_is_refused_with_42(open_office: Offices) -> None:
    async def story() -> None:
        async with open_office() as office:
            await office.do(lambda truth: truth.confirmed.clear())
            ref = await office.send(800.0)
            await office.recorder.until(lambda: office.recorder.of(InsertRejected))
            (refused,) = office.recorder.of(InsertRejected)
            assert (refused.order_ref, refused.error_id) == (ref, 42)

    play(story())


@pytest.mark.parametrize("error_id", [90, 154])
def test_a_query_that_is_not_ready_is_asked_again(open_office: Offices, error_id: int) -> None:
    async def story() -> None:
        async with open_office() as office:
            await office.do(lambda truth: truth.refuse["reqQryTradingAccount"].extend([error_id, error_id]))
            assert (await office.connector.query(Subject.ACCOUNT)).account is not None
            assert await office.do(lambda truth: truth.count("reqQryTradingAccount")) == 3

    play(story())


@pytest.mark.parametrize("code", [-2, -3])
def test_a_query_the_library_turns_down_is_asked_again(open_office: Offices, code: int) -> None:
    async def story() -> None:
        async with open_office() as office:
            await office.do(lambda truth: truth.turn_down["reqQryOrder"].extend([code]))
            assert (await office.connector.query(Subject.ORDERS)).orders == ()
            assert await office.do(lambda truth: truth.count("reqQryOrder")) == 2

    play(story())


@pytest.mark.parametrize("subject", [Subject.ORDERS, Subject.TRADES, Subject.POSITIONS, Subject.ACCOUNT])
def test_an_empty_answer_is_an_answer(open_office: Offices, subject: Subject) -> None:
    async def story() -> None:
        names = {"reqQryOrder", "reqQryTrade", "reqQryInvestorPosition", "reqQryTradingAccount"}
        async with open_office(before=lambda truth: truth.empty.update(names)) as office:
            found = await office.connector.query(subject)
            assert (found.orders, found.trades, found.positions, found.account) == ((), (), (), None)

    play(story())


def test_no_contracts_is_an_alarm_and_trading_goes_on(open_office: Offices) -> None:
    async def story() -> None:
        async with open_office(before=lambda truth: truth.empty.add("reqQryInstrument")) as office:
            ref = await office.send(await office.price() + 1)
            await office.recorder.until(lambda: office.recorder.of(TradeReport))
            assert office.recorder.statuses(ref)[-1] == "ALLTRADED"
            assert "names no contract" in office.recorder.alarms[0]

    play(story())


# ---- orders ----


@pytest.mark.parametrize("error_id", [22, 30, 31, 42, 50, 51, 90, 95, 116])
def test_a_counters_refusal_is_told_once_with_its_number(open_office: Offices, error_id: int) -> None:
    """It comes twice: to the session, and to every terminal of the account."""

    async def story() -> None:
        async with open_office() as office:
            await office.do(lambda truth: truth.refuse["reqOrderInsert"].append(error_id))
            ref = await office.send(800.0)
            await office.recorder.until(lambda: office.recorder.of(InsertRejected))
            await asyncio.sleep(0.05)
            (refused,) = office.recorder.of(InsertRejected)
            assert (refused.order_ref, refused.error_id) == (ref, error_id)
            assert refused.error_msg.startswith("CTP:")

    play(story())


@pytest.mark.parametrize("code", [-1, -2, -3])
def test_an_order_the_library_turns_down_certainly_did_not_go_out(open_office: Offices, code: int) -> None:
    async def story() -> None:
        async with open_office() as office:
            await office.do(lambda truth: truth.turn_down["reqOrderInsert"].append(code))
            with pytest.raises(NotConnected, match=str(code)):
                await office.send(800.0)
            assert await office.do(lambda truth: len(truth.counter.exchange.order_reports())) == 0

    play(story())


def test_the_exchanges_refusal_comes_as_a_status_with_words(open_office: Offices) -> None:
    async def story() -> None:
        async with open_office() as office:
            ref = await office.send(2000.0)
            await office.recorder.until(lambda: office.recorder.statuses(ref)[-1:] == ["REJECTED"])
            told = office.recorder.of(OrderReport)[-1]
            assert told.error_id is None and "涨停板" in (told.error_msg or "")

    play(story())


def test_over_closing_is_50_for_todays_lots_and_51_for_yesterdays(open_office: Offices) -> None:
    async def story() -> None:
        async with open_office() as office:
            for offset in (Offset.CLOSETODAY, Offset.CLOSEYESTERDAY, Offset.CLOSE):
                await office.send(await office.price(), direction=Direction.SHORT, offset=offset)
            await office.recorder.until(lambda: len(office.recorder.of(InsertRejected)) == 3)
            assert [refused.error_id for refused in office.recorder.of(InsertRejected)] == [50, 51, 51]

    play(story())


def test_a_trade_may_come_before_its_orders_status(open_office: Offices) -> None:
    async def story() -> None:
        async with open_office(before=lambda truth: setattr(truth, "trade_first", True)) as office:
            ref = await office.send(await office.price() + 1)
            await office.recorder.until(lambda: office.recorder.statuses(ref)[-1:] == ["ALLTRADED"])
            heard = [fact for fact in office.recorder.heard if isinstance(fact, OrderReport | TradeReport)]
            assert [type(fact).__name__ for fact in heard[:2]] == ["OrderReport", "TradeReport"]
            assert office.recorder.of(TradeReport)[0].order_sys_id == heard[-1].order_sys_id

    play(story())


def test_part_of_an_order_fills_and_the_rest_is_cancelled(open_office: Offices) -> None:
    async def story() -> None:
        async with open_office() as office:
            ref = await office.send(await office.price() + 0.06, volume=30)
            await office.recorder.until(lambda: "PARTTRADED" in office.recorder.statuses(ref))
            office.connector.cancel(CancelOrder(order_ref=ref))
            await office.recorder.until(lambda: office.recorder.statuses(ref)[-1:] == ["CANCELLED"])
            last = office.recorder.of(OrderReport)[-1]
            assert 0 < last.traded < 30
            assert sum(trade.volume for trade in office.recorder.of(TradeReport)) == last.traded

    play(story())


def test_a_cancel_that_comes_too_late_is_refused_once(open_office: Offices) -> None:
    async def story() -> None:
        async with open_office() as office:
            ref = await office.send(await office.price() + 1)
            await office.recorder.until(lambda: office.recorder.statuses(ref)[-1:] == ["ALLTRADED"])
            office.connector.cancel(CancelOrder(order_ref=ref))
            await office.recorder.until(lambda: office.recorder.of(CancelRejected))
            await asyncio.sleep(0.05)
            (refused,) = office.recorder.of(CancelRejected)
            assert (refused.order_sys_id, refused.error_id) == ("1", 26)

    play(story())


def test_a_cancel_of_an_order_nobody_knows_is_refused_with_25(open_office: Offices) -> None:
    async def story() -> None:
        async with open_office() as office:
            office.connector.cancel(CancelOrder(order_ref=4444))
            (refused,) = office.recorder.of(CancelRejected)
            assert (refused.order_ref, refused.error_id) == (4444, 25)

    play(story())


def test_a_forced_close_nobody_of_us_sent_is_told_with_its_trade(open_office: Offices) -> None:
    async def story() -> None:
        async with open_office() as office:
            raw = stranger(CombOffsetFlag="2", OrderRef="", OrderStatus="0", VolumeTraded=1, ForceCloseReason="1")
            await office.do(lambda truth: truth.push("onRtnOrder", raw))
            await office.do(lambda truth: truth.push("onRtnTrade", strange_trade(OffsetFlag="2", OrderRef="")))
            await office.recorder.until(lambda: office.recorder.of(TradeReport))
            (told,), (trade,) = office.recorder.of(OrderReport), office.recorder.of(TradeReport)
            assert (told.forced, told.offset, told.order_ref) == (True, Offset.CLOSE, 0)
            assert (trade.offset, trade.order_sys_id) == (Offset.CLOSE, "9001")

    play(story())


@pytest.mark.parametrize(
    ("letter", "status"),
    {"2": Status.CANCELLED, "4": Status.CANCELLED, "b": Status.SUBMITTING, "c": Status.SUBMITTING}.items(),
)
def test_a_rare_status_is_told_and_its_trade_finds_the_order(open_office: Offices, letter: str, status: Status) -> None:
    async def story() -> None:
        async with open_office() as office:
            await office.do(lambda truth: truth.push("onRtnOrder", stranger(OrderStatus=letter)))
            await office.do(lambda truth: truth.push("onRtnTrade", strange_trade()))
            await office.recorder.until(lambda: office.recorder.of(TradeReport))
            assert office.recorder.of(OrderReport)[0].status is status
            assert office.recorder.of(TradeReport)[0].order_sys_id == office.recorder.of(OrderReport)[0].order_sys_id

    play(story())


def test_two_exchanges_may_give_the_same_number_and_two_terminals_the_same_reference(open_office: Offices) -> None:
    """A cancel of ours never hits a stranger's order."""

    async def story() -> None:
        async with open_office() as office:
            ref = await office.send(await office.price() - 5)
            await office.recorder.until(lambda: office.recorder.statuses(ref)[-1:] == ["NOTTRADED"])
            for changes in ({"InstrumentID": "sc2512", "ExchangeID": "INE", "OrderSysID": "1".rjust(12)}, {}):
                raw = stranger(OrderRef=str(ref), SessionID=len(changes), **changes)
                await office.do(lambda truth, raw=raw: truth.push("onRtnOrder", raw))
            await office.recorder.until(lambda: len(office.recorder.of(OrderReport)) == 4)
            office.connector.cancel(CancelOrder(order_ref=ref, order_sys_id="1"))
            await office.recorder.until(lambda: "CANCELLED" in office.recorder.statuses(ref))
            request = next(data for name, data in await office.do(lambda t: list(t.calls)) if name == "reqOrderAction")
            assert (request["InstrumentID"], request["ExchangeID"]) == ("au2512", "SHFE")

    play(story())


def test_another_terminals_refusal_with_our_reference_is_not_ours(open_office: Offices) -> None:
    async def story() -> None:
        async with open_office() as office:
            ref = await office.send(await office.price() - 5)
            await office.recorder.until(lambda: office.recorder.statuses(ref)[-1:] == ["NOTTRADED"])
            for memo in ("ANOTHERS", ""):
                raw = {"OrderRef": str(ref if memo else 4444), "OrderMemo": memo, "InstrumentID": "au2512"}
                await office.do(
                    lambda truth, raw=raw: truth.push("onErrRtnOrderInsert", raw, {"ErrorID": 31}, keep=False)
                )
            await office.connector.query(Subject.ORDERS)
            assert office.recorder.of(InsertRejected) == []

    play(story())


def test_a_replay_after_a_re_login_says_the_same_again_and_nothing_else(open_office: Offices) -> None:
    """What is told twice is told in the same words; the journal knows it by them."""

    async def story() -> None:
        async with open_office() as office:
            await office.send(await office.price() + 1)
            await office.recorder.until(lambda: office.recorder.of(TradeReport))
            first = [fact for fact in office.recorder.heard if isinstance(fact, OrderReport | TradeReport)]
            await office.do(lambda truth: truth.close_fronts())
            await office.ready(2)
            again = [fact for fact in office.recorder.heard if isinstance(fact, OrderReport | TradeReport)]
            assert again == first + first

    play(story())


def test_a_counter_that_does_not_echo_the_memo_is_helped_while_we_live(open_office: Offices) -> None:
    async def story() -> None:
        async with open_office(before=lambda truth: setattr(truth, "echoes_memo", False)) as office:
            ref = await office.send(await office.price() + 1)
            await office.recorder.until(lambda: office.recorder.of(TradeReport))
            assert {report.memo for report in office.recorder.of(OrderReport)} == {f"MEMO{ref:08d}"}

    play(story())


# ---- days, quotes, callbacks ----


def test_a_new_trading_day_is_told_with_the_end_of_the_old_one_and_confirmed(open_office: Offices) -> None:
    """The counter closes its fronts after the settlement; in the evening another trading day begins."""

    async def story() -> None:
        async with open_office() as office:
            await office.do(lambda truth: truth.close_fronts(stay_closed=True))
            await office.to("10-15T20:59:30")
            await office.do(lambda truth: setattr(truth, "is_open", True))
            await office.ready(2)
            marks = [(mark.trading_day, mark.settled) for mark in office.recorder.of(DayMark)]
            assert marks == [(date(2025, 10, 15), True), (date(2025, 10, 16), False)]
            assert office.recorder.of(LoggedIn)[-1].trading_day == date(2025, 10, 16)
            assert await office.do(lambda truth: sorted(truth.confirmed)) == ["20251015", "20251016"]

    play(story())


def test_an_order_of_the_evening_belongs_to_the_next_trading_day(open_office: Offices) -> None:
    async def story() -> None:
        async with open_office() as office:
            await office.send(await office.price() - 5)
            await office.recorder.until(lambda: office.recorder.of(OrderReport))
            told = office.recorder.of(OrderReport)[0]
            assert (told.datetime.date(), told.trading_day) == (date(2025, 10, 14), date(2025, 10, 15))

    play(story())


def test_a_quote_without_prices_or_of_an_unknown_contract_hurts_nobody(open_office: Offices) -> None:
    async def story() -> None:
        async with open_office() as office:
            await office.recorder.until(lambda: office.connector.lamps["market_data"].on)
            empty = {"InstrumentID": "au2512", "UpdateTime": "20:59:00", "UpdateMillisec": 5, "LastPrice": NONE,
                     "Volume": 0, "TradingDay": DAY, "ActionDay": "20251014"}  # fmt: skip
            for raw in (empty, {**empty, "InstrumentID": "zz9912"}, {}, {"InstrumentID": "au2512"}):
                await office.do(lambda truth, raw=raw: truth.push_tick(raw))
            full = {**empty, "LastPrice": 880.0, "UpperLimitPrice": NONE, "BidPrice1": NONE}
            await office.do(lambda truth: truth.push_tick(full))
            await office.recorder.until(office.recorder.ticks)
            (tick,) = office.recorder.ticks()
            assert (tick.limit_up, tick.bid_price_1, tick.datetime.microsecond) == (0.0, 0.0, 5000)
            assert office.connector.counts["snapshots_without_a_price"] == 2
            assert office.connector.counts["untranslatable"] == 2

    play(story())


def test_a_callback_that_breaks_is_logged_and_counted_and_the_next_one_is_heard(
    open_office: Offices, capfd: pytest.CaptureFixture[str]
) -> None:
    async def story() -> None:
        async with open_office() as office:
            broken = stranger()
            del broken["VolumeTotalOriginal"]
            await office.do(lambda truth: truth.push("onRtnOrder", broken))
            await office.do(lambda truth: truth.push("onRtnOrder", stranger()))
            await office.recorder.until(lambda: office.recorder.of(OrderReport))
            assert office.connector.status["callback_failures"] == 1

    play(story())
    assert "trading.onRtnOrder" in capfd.readouterr().out


def test_orders_of_exchanges_we_do_not_trade_are_left_out_and_counted(open_office: Offices) -> None:
    async def story() -> None:
        async with open_office() as office:
            raw = stranger(InstrumentID="m2601", ExchangeID="DCE")
            await office.do(lambda truth: truth.strangers.append(raw))
            await office.do(lambda truth: truth.push("onRtnOrder", raw))
            assert (await office.connector.query(Subject.ORDERS)).orders == ()
            assert office.connector.counts["untranslatable"] == 2

    play(story())


def test_the_phase_of_a_product_is_known(open_office: Offices) -> None:
    async def story() -> None:
        async with open_office() as office:
            raw = {"ExchangeID": "SHFE", "InstrumentID": "au", "InstrumentStatus": "2", "EnterTime": "21:00:00"}
            await office.do(lambda truth: truth.push("onRtnInstrumentStatus", raw))
            await office.recorder.until(lambda: office.connector.phases.get("au") == "2")

    play(story())


def test_the_double_says_what_ctp_says(open_office: Offices) -> None:
    """Every name that the connector reads is in the double's dicts, and the barrier is said once for each log-in."""

    async def story() -> None:
        async with open_office() as office:
            await office.send(await office.price() + 1)
            await office.recorder.until(lambda: office.recorder.of(TradeReport))
            (order, *_), (trade,) = office.recorder.of(OrderReport), office.recorder.of(TradeReport)
            assert {"OrderSysID", "OrderMemo", "StatusMsg"} <= set(raw_order(order, 1, 1))
            assert {"TradeID", "OrderSysID", "OffsetFlag"} <= set(raw_trade(trade))
            assert len(office.recorder.of(ReplayEnd)) == 1
            assert trade.exchange is Exchange.SHFE and list(itertools.islice(office.recorder.alarms, 1)) == []

    play(story())
