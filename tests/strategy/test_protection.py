"""The specification's risk block: when a position must go, and how it is closed."""

from __future__ import annotations

import asyncio

import pytest

from arbig.domain.messages import Direction, EventType, Offset, Status
from arbig.domain.protection import breach
from arbig.runtime.deployment import RiskConfig
from arbig.store.strategies import Lots

IDLE = """
from arbig import CtaTemplate

class Idle(CtaTemplate):
    def on_init(self): pass
    def on_tick(self, tick):
        if tick.last_price == 801: self.sell(850, 2)
        if tick.last_price == 780: self.buy(780, 1)
"""
YAML = "strategy_name: Idle\nsymbol: au2512\nexchange: SHFE\nrisk: {stop_loss_pct: 2.0, take_profit_pct: 5.0}\n"
RISK = RiskConfig(stop_loss_pct=2.0, take_profit_pct=5.0)


@pytest.mark.parametrize(
    ("volume", "price", "expected"),
    [
        (1, 784.0, "stop loss"),
        (1, 784.02, None),
        (1, 840.0, "take profit"),
        (1, 839.98, None),
        (-1, 816.0, "stop loss"),
        (-1, 815.98, None),
        (-1, 760.0, "take profit"),
        (0, 1.0, None),
    ],
)
def test_percent_of_the_average_entry_price_decides(volume, price, expected):
    reason = breach(Lots(volume, 800.0), price, RISK)
    assert (reason or "").partition(":")[0] == (expected or "")


def test_without_limits_a_position_stays():
    assert breach(Lots(1, 800.0), 1.0, RiskConfig()) is None


@pytest.fixture
def long_two(floor):
    """A strategy that holds two lots at 800."""
    floor.code(IDLE)
    floor.yaml(YAML)
    floor.siblings.strategies = [{"strategy_name": "Idle", "symbol": "au2512", "volume": 2, "price": 800.0}]
    return floor


def test_a_stop_loss_closes_across_the_best_price_and_is_repriced_until_filled(long_two):
    """Sell below the bid; the bid falls away: cancel, wait for the end, sell again what is left."""

    async def flow():
        async with long_two.open() as desk:
            await desk.tick(784)
            (first,) = await desk.some_requests(1)
            assert (first.direction, first.offset, first.volume) == (Direction.SHORT, Offset.CLOSE, 2)
            assert first.price < 783.98
            await desk.fill(first, volume=1)
            await desk.until(lambda: desk.live("Idle").describe()["pos"] == 1, "half of it")
            await asyncio.sleep(0.55)
            await desk.tick(783)
            _, cancel = await desk.some_requests(2)
            assert cancel.order_request_id == first.request_id
            await desk.tick(782)
            assert len(await desk.requests()) == 2
            await desk.status(first, Status.CANCELLED, 1)
            await desk.until(lambda: not desk.live("Idle").desk.orders, "the cancel")
            await desk.tick(782)
            second = (await desk.some_requests(3))[2]
            assert (second.volume, second.direction) == (1, Direction.SHORT)
            assert second.price < 781.98
            await desk.fill(second)
            await desk.until(lambda: desk.live("Idle").describe()["pos"] == 0, "flat")
            await desk.tick(780)
            await desk.until(lambda: not desk.live("Idle").desk.exits, "the end of it")
            await desk.tick(780)
            assert (await desk.some_requests(4))[3].offset is Offset.OPEN

    asyncio.run(flow())


def test_working_orders_go_before_the_close_so_that_no_lot_is_sold_twice(long_two):
    async def flow():
        async with long_two.open() as desk:
            await desk.tick(801)
            (own,) = await desk.some_requests(1)
            await desk.tick(784)
            _, cancel = await desk.some_requests(2)
            assert cancel.order_request_id == own.request_id
            await desk.tick(784)
            assert len(await desk.requests()) == 2
            # it filled one lot before the cancel came; that lot's trade report is late
            await desk.status(own, Status.CANCELLED, 1)
            await desk.until(lambda: not desk.live("Idle").desk.orders, "the cancel")
            await desk.tick(784)
            assert len(await desk.requests()) == 2
            late = own
            from arbig.bus.topics import TRADE
            from arbig.domain.messages import TradeData, encode

            trade = TradeData(
                trade_id="9",
                order_id="o",
                request_id=late.request_id,
                symbol="au2512",
                exchange=late.exchange,
                direction=late.direction,
                offset=late.offset,
                price=850,
                volume=1,
                datetime=late.timestamp,
                strategy_name="Idle",
            )
            await desk.bus.append([(TRADE.name, encode(trade))])
            await desk.until(lambda: desk.live("Idle").describe()["pos"] == 1, "the late fill")
            await desk.tick(784)
            assert (await desk.some_requests(3))[2].volume == 1

    asyncio.run(flow())


def test_at_the_price_limit_the_close_stands_there_and_an_alarm_says_so(long_two):
    async def flow():
        async with long_two.open() as desk:
            for _ in range(3):
                await desk.tick(720, bid_volume_1=0, bid_price_1=0.0)
            (order,) = await desk.some_requests(1)
            await desk.until(lambda: desk.service.subscriber.ticks == 3, "the ticks")
            assert order.price == 720.0
            assert [line for line in await desk.alarms() if "limit" in line and "stands" in line]
            assert len(await desk.requests()) == 1

    asyncio.run(flow())


def test_new_signals_are_refused_while_the_risk_block_closes(long_two):
    async def flow():
        async with long_two.open() as desk:
            await desk.tick(780)
            await desk.some_requests(1)
            await asyncio.sleep(0.02)
            assert all(one.offset is Offset.CLOSE for one in await desk.requests())

    asyncio.run(flow())


def test_a_rejected_close_is_tried_again_later_not_at_every_tick(long_two):
    async def flow():
        async with long_two.open() as desk:
            await desk.tick(784)
            (order,) = await desk.some_requests(1)
            await desk.status(order, Status.REJECTED, error_msg="closed session")
            await desk.until(lambda: not desk.live("Idle").desk.orders, "the reject")
            for _ in range(5):
                await desk.tick(784)
            await desk.until(lambda: desk.service.subscriber.ticks == 6, "the ticks")
            assert len(await desk.requests()) == 1
            await asyncio.sleep(1.0)
            await desk.tick(784)
            assert len(await desk.some_requests(2)) == 2

    asyncio.run(flow())


def test_nothing_is_closed_while_disconnected(long_two):
    async def flow():
        async with long_two.open() as desk:
            await desk.event(EventType.DISCONNECTED)
            await desk.until(lambda: desk.live("Idle").state == "PAUSED", "the pause")
            await desk.tick(784)
            assert await desk.requests() == []
            await desk.event(EventType.RECONCILED)
            await desk.until(lambda: desk.live("Idle").state == "RUNNING", "the end of the pause")
            await desk.tick(784)
            assert len(await desk.some_requests(1)) == 1

    asyncio.run(flow())


def test_a_close_that_has_begun_is_finished_after_a_restart(long_two):
    """Although the price has come back."""

    async def flow():
        async with long_two.open() as desk:
            await desk.tick(784)
            await desk.some_requests(1)
        async with long_two.open() as desk:
            await desk.tick(800)
            assert len(await desk.some_requests(2)) == 2

    asyncio.run(flow())


def test_a_failed_strategys_position_is_guarded_after_a_restart_too(long_two):
    """Under the identity of the run that failed."""
    long_two.code(IDLE + "    def on_bar(self, bar): raise ValueError(bar)\n")

    async def flow():
        async with long_two.open() as desk:
            await desk.bar(0, 800)
            live = desk.live("Idle")
            await desk.until(lambda: live.state == "ERROR", "the failure")
            run_id = live.desk.run_id
        async with long_two.open() as desk:
            assert desk.live("Idle").state == "ERROR"
            await desk.until(lambda: desk.bus._listeners, "the subscription")
            await desk.tick(784)
            (close,) = await desk.some_requests(1)
            assert (close.offset, close.volume, close.run_id) == (Offset.CLOSE, 2, run_id)

    asyncio.run(flow())
