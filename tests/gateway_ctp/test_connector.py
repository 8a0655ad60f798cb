"""The connector before the counter double: a session from its opening to its end, and what passes through it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from datetime import date
from typing import Any

import pytest
from counter_double import AUTH_CODE, PASSWORD, raw_depth

from arbig.domain.counter import (
    CancelOrder,
    ClockMark,
    LoggedIn,
    OrderReport,
    PositionReport,
    ReplayEnd,
    Subject,
    TradeReport,
)
from arbig.domain.messages import Direction, Offset
from arbig.gateway.port import NotConnected

Offices = Callable[..., Any]


def play(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(story)


def test_a_session_is_opened_step_by_step_and_ends_in_the_barrier(open_office: Offices) -> None:
    async def story() -> None:
        async with open_office() as office:
            calls = await office.do(lambda truth: [name for name, _ in truth.calls if name != "subscribeMarketData"])
            trading = [name for name in calls if name != "reqUserLogin"]
            (greeting,) = office.recorder.of(LoggedIn)
            assert trading == [
                "reqAuthenticate", "reqQrySettlementInfoConfirm", "reqQrySettlementInfo", "reqSettlementInfoConfirm",
                "reqQryInstrument",
            ]  # fmt: skip
            assert (greeting.trading_day, office.connector.connected) == (date(2025, 10, 15), True)
            assert office.recorder.of(ReplayEnd) == [ReplayEnd(flow=0)]
            assert office.recorder.alarms == [], "our instruments agree with the counter's"

    play(story())


def test_a_settlement_confirmed_today_is_not_confirmed_again(open_office: Offices) -> None:
    async def story() -> None:
        async with open_office() as office:
            await office.restart()
            assert await office.do(lambda truth: truth.count("reqSettlementInfoConfirm")) == 1
            assert await office.do(lambda truth: truth.count("reqQrySettlementInfoConfirm")) == 2

    play(story())


def test_an_order_is_heard_from_the_counter_then_from_the_exchange_and_its_trade_changes_the_position(
    open_office: Offices,
) -> None:
    async def story() -> None:
        async with open_office() as office:
            ref = await office.send(await office.price() + 1)
            await office.recorder.until(lambda: office.recorder.of(PositionReport))
            (trade,) = office.recorder.of(TradeReport)
            (position,) = office.recorder.of(PositionReport)[-1].positions
            assert office.recorder.statuses(ref) == ["SUBMITTING", "NOTTRADED", "ALLTRADED"]
            assert {report.memo for report in office.recorder.of(OrderReport)} == {f"MEMO{ref:08d}"}
            assert (trade.order_ref, trade.volume, trade.trading_day) == (ref, 1, date(2025, 10, 15))
            assert (position.volume, position.direction, position.account_id) == (1, Direction.LONG, "main")
            assert position.price == pytest.approx(trade.price)

    play(story())


def test_before_the_replay_has_ended_no_order_goes_out(open_office: Offices) -> None:
    async def story() -> None:
        async with open_office(wait=False, before=lambda truth: truth.deaf.add("reqQryInstrument")) as office:
            await office.recorder.until(lambda: office.recorder.of(LoggedIn))
            with pytest.raises(NotConnected, match="replay has not ended"):
                office.connector.insert(office.wish(800.0))
            assert await office.do(lambda truth: truth.count("reqOrderInsert")) == 0

    play(story())


def test_a_working_order_is_cancelled_by_the_exchanges_number_padding_and_all(open_office: Offices) -> None:
    async def story() -> None:
        async with open_office() as office:
            ref = await office.send(await office.price() - 5)
            await office.recorder.until(lambda: office.recorder.statuses(ref)[-1:] == ["NOTTRADED"])
            office.connector.cancel(CancelOrder(order_ref=ref))
            await office.recorder.until(lambda: office.recorder.statuses(ref)[-1:] == ["CANCELLED"])
            request = next(data for name, data in await office.do(lambda t: list(t.calls)) if name == "reqOrderAction")
            assert request["OrderSysID"] == "1".rjust(12)

    play(story())


def test_after_a_restart_the_days_orders_are_replayed_and_can_be_cancelled(open_office: Offices) -> None:
    async def story() -> None:
        async with open_office() as office:
            ref = await office.send(await office.price() - 5)
            await office.recorder.until(lambda: office.recorder.statuses(ref)[-1:] == ["NOTTRADED"])
            await office.restart()
            assert office.recorder.statuses(ref) == ["SUBMITTING", "NOTTRADED"]
            office.connector.cancel(CancelOrder(order_ref=ref))
            await office.recorder.until(lambda: office.recorder.statuses(ref)[-1:] == ["CANCELLED"])

    play(story())


def test_the_four_queries_tell_what_the_counter_has(open_office: Offices) -> None:
    async def story() -> None:
        async with open_office() as office:
            ref = await office.send(await office.price() + 1, volume=2)
            await office.recorder.until(lambda: office.recorder.of(PositionReport))
            orders = await office.connector.query(Subject.ORDERS)
            trades = await office.connector.query(Subject.TRADES)
            positions = await office.connector.query(Subject.POSITIONS)
            account = (await office.connector.query(Subject.ACCOUNT)).account
            clock = (await office.connector.query(Subject.CLOCK)).clock
            assert [(order.order_ref, order.traded) for order in orders.orders] == [(ref, 2)]
            assert sum(trade.volume for trade in trades.trades) == 2
            assert [(position.volume, position.yd_volume) for position in positions.positions] == [(2, 0)]
            assert (account.account_id, account.trading_day) == ("main", date(2025, 10, 15))
            assert clock.trading_day == date(2025, 10, 15)

    play(story())


def test_whoever_asks_the_same_at_once_shares_one_query(open_office: Offices) -> None:
    async def story() -> None:
        async with open_office() as office:
            answers = await asyncio.gather(*(office.connector.query(Subject.ACCOUNT) for _ in range(5)))
            assert len({answer.number for answer in answers}) == 5
            assert await office.do(lambda truth: truth.count("reqQryTradingAccount")) == 1

    play(story())


def test_a_quote_becomes_a_tick_with_its_trading_day_and_consecutive_numbers(open_office: Offices) -> None:
    async def story() -> None:
        async with open_office() as office:
            await office.recorder.until(lambda: office.connector.lamps["market_data"].on)
            await office.to("10-14T21:01:30")
            await office.recorder.until(lambda: len(office.recorder.ticks()) > 20)
            ticks = office.recorder.ticks()
            numbers = [tick.seq for tick in ticks]
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
            assert {tick.trading_day for tick in ticks} == {date(2025, 10, 15)}
            assert {tick.datetime.date() for tick in ticks} == {date(2025, 10, 14)}
            assert all(after.volume - before.volume == after.last_volume
                       for before, after in itertools.pairwise(ticks))  # fmt: skip

    play(story())


def test_session_time_goes_on_only_while_market_data_stand(open_office: Offices) -> None:
    """Without ticks nobody shall think that the market was quiet; trading goes on meanwhile."""

    async def story() -> None:
        async with open_office() as office:
            await office.recorder.until(lambda: office.recorder.of(ClockMark))
            await office.to("10-14T21:01:10")
            await office.do(lambda truth: truth.close_market(0x2001))
            await office.recorder.until(lambda: office.recorder.alarms)
            assert "no heartbeat came" in office.recorder.alarms[0]
            assert (office.connector.connected, office.recorder.losses) == (True, [])
            await office.recorder.until(lambda: office.connector.lamps["market_data"].on)
            known = len(office.recorder.ticks())
            await office.to("10-14T21:01:20")
            await office.recorder.until(lambda: len(office.recorder.ticks()) > known)
            before, after = office.recorder.ticks()[known - 1 : known + 1]
            assert after.seq > before.seq + 1, "the numbers leap: what was missed is seen to be missing"

    play(story())


def test_positions_that_are_gone_are_told_with_zero(open_office: Offices) -> None:
    async def story() -> None:
        async with open_office() as office:
            await office.send(await office.price() + 1)
            await office.recorder.until(lambda: office.recorder.of(PositionReport))
            await office.do(lambda truth: truth.empty.add("reqQryInvestorPosition"))
            first = await office.connector.query(Subject.POSITIONS)
            second = await office.connector.query(Subject.POSITIONS)
            assert [(position.symbol, position.volume) for position in first.positions] == [("au2512", 0)]
            assert second.positions == ()

    play(story())


def test_what_a_counter_finds_too_fast_is_asked_again_and_answered(open_office: Offices) -> None:
    async def story() -> None:
        async with open_office(query_seconds=0.005) as office:
            for subject in (Subject.ORDERS, Subject.TRADES, Subject.POSITIONS, Subject.ACCOUNT):
                await office.connector.query(subject)
            assert await office.do(lambda truth: truth.too_fast) <= office.connector.status["queries_repeated"]

    play(story())


def test_more_orders_than_the_rate_wait_or_are_refused_and_never_go_out_late(open_office: Offices) -> None:
    async def story() -> None:
        async with open_office() as office:
            office.connector._orders_pace.per_second = 2
            refused = 0
            for _ in range(6):
                try:
                    office.connector.insert(office.wish(await office.price() - 5))
                except NotConnected:
                    refused += 1
            await office.recorder.until(lambda: len(office.recorder.of(OrderReport)) >= 8)
            assert refused == 2
            assert await office.do(lambda truth: truth.count("reqOrderInsert")) == 4

    play(story())


def test_no_secret_is_shown_anywhere(open_office: Offices, capfd: pytest.CaptureFixture[str]) -> None:
    async def story() -> None:
        async with open_office(before=lambda truth: truth.refuse["trading.reqUserLogin"].extend([7])) as office:
            shown = f"{office.connector.status} {office.recorder.heard} {vars(office.connector)}"
            shown += repr(office.connector._account)
            assert PASSWORD not in shown and AUTH_CODE not in shown

    play(story())
    said = "".join(capfd.readouterr())
    assert "log-in failed" in said
    assert PASSWORD not in said and AUTH_CODE not in said


def test_a_short_position_is_closed_with_todays_lots(open_office: Offices) -> None:
    async def story() -> None:
        async with open_office() as office:
            await office.send(await office.price() - 1, direction=Direction.SHORT)
            await office.recorder.until(lambda: office.recorder.of(PositionReport))
            await office.send(await office.price() + 1, offset=Offset.CLOSETODAY)
            await office.recorder.until(lambda: len(office.recorder.of(TradeReport)) == 2)
            await office.recorder.until(
                lambda: [0] in [[row.volume for row in told.positions] for told in office.recorder.of(PositionReport)]
            )

    play(story())


def test_a_snapshot_of_the_double_is_what_a_front_sends(open_office: Offices) -> None:
    async def story() -> None:
        async with open_office() as office:
            await office.to("10-14T21:01:10")
            await office.recorder.until(office.recorder.ticks)
            raw = raw_depth(office.recorder.ticks()[-1])
            assert raw["ActionDay"] == "20251014" and raw["TradingDay"] == "20251015"

    play(story())


def test_what_strategies_subscribed_to_outlives_the_gateway_until_it_expires(open_office: Offices) -> None:
    """They say it once; a broker's front forgets it."""

    async def story() -> None:
        async with open_office() as office:
            office.flow_folder.with_name("symbols.txt").write_text("au2512\nau2506")
            office.connector.subscribe(["ag2512"])
            await office.restart()
            await office.recorder.until(lambda: office.connector.lamps["market_data"].on)
            assert office.recorder.of(LoggedIn)[-1].symbols[-1] == "ag2512"
            office.flow_folder.with_name("symbols.txt").write_text("au2512\nau2506")
            await office.restart()
            await office.recorder.until(lambda: office.connector.lamps["market_data"].on)
            assert office.recorder.of(LoggedIn)[-1].symbols == ("au2512",)
            calls = await office.do(
                lambda truth: [data[""] for name, data in truth.calls if name == "subscribeMarketData"]
            )
            assert "ag2512" in calls and "au2506" not in calls

    play(story())
