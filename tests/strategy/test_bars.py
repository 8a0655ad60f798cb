"""Bars as strategies get them: history first, then live, in order, none twice, none missing."""

from __future__ import annotations

import asyncio
from datetime import date, datetime, timedelta

import pytest

from arbig.bus.topics import BAR
from arbig.domain.messages import SHANGHAI, BarData, Exchange, encode
from arbig.strategy.bars import BarCursor, Slicer

NINE = datetime(2025, 10, 9, 9, 0, tzinfo=SHANGHAI)
SEEN = """
from arbig import BarGenerator, CtaTemplate, StrategyTemplate

class Seen(CtaTemplate):
    history = 0
    minutes = None
    windows = None
    variables = ["history", "minutes", "windows"]
    def on_init(self):
        self.minutes, self.windows = [], []
        self.generator = BarGenerator(None, 3, self.on_window)
        self.load_bar(1, callback=self.on_history)
    def on_history(self, bar): self.history += 1
    def on_window(self, bar): self.windows.append(f"{bar.datetime:%H:%M}")
    def on_bar(self, bar):
        self.minutes.append(f"{bar.datetime:%H:%M}")
        self.generator.update_bar(bar)

class Pair(StrategyTemplate):
    slices = None
    variables = ["slices"]
    def on_init(self): self.slices = []
    def on_bars(self, bars):
        self.slices.append(sorted(bars))
        if len(self.slices) == 1:
            for leg in self.legs: self.buy(leg, bars[leg].close_price, 1)
"""


def bar(minute, symbol="au2512", close=800.0, **more):
    values = {
        "symbol": symbol, "exchange": Exchange.SHFE, "datetime": NINE + timedelta(minutes=minute), "interval": "1m",
        "open_price": close, "high_price": close, "low_price": close, "close_price": close, "volume": 1,
        "open_interest": 1, "seq": minute + 1, "trading_day": date(2025, 10, 9),
    }  # fmt: skip
    return BarData(**(values | more))


async def publish(desk, *bars):
    for one in bars:
        await desk.bus.publish([(BAR.of(one.symbol), encode(one))])


@pytest.fixture
def seen(floor):
    floor.code(SEEN)
    floor.yaml("strategy_name: Seen\nsymbol: au2512\nexchange: SHFE\n")
    return floor


def test_history_is_fed_before_the_start_and_its_bars_do_not_come_again(seen):
    """Market's bars up to 09:02 are history; 09:02 published late is old, 09:03 is new."""
    seen.siblings.bars["au2512"] = [bar(minute) for minute in range(-3, 3)]

    async def flow():
        async with seen.open() as desk:
            live = desk.live("Seen")
            assert live.variables["history"] == 6
            await publish(desk, bar(2), bar(3))
            await desk.until(lambda: live.variables["minutes"] == ["09:03"], "the new bar")

    asyncio.run(flow())


def test_a_lost_bar_is_fetched_from_market_and_delivered_in_its_place(seen):
    """Bars that arrive meanwhile wait for it; a repeated one is delivered once."""

    async def flow():
        async with seen.open() as desk:
            live = desk.live("Seen")
            await publish(desk, bar(0))
            seen.siblings.bars["au2512"] = [bar(minute) for minute in range(6)]
            await publish(desk, bar(4), bar(5), bar(5))
            expected = [f"09:0{minute}" for minute in range(6)]
            await desk.until(lambda: len(live.variables["minutes"]) >= 6, "the bars")
            assert live.variables["minutes"] == expected
            assert desk.service.engine.bars_refilled == 3
            assert live.variables["windows"] == ["09:00", "09:03"]
            assert await desk.alarms() == []

    asyncio.run(flow())


def test_a_bar_that_market_does_not_have_either_is_named(seen):
    async def flow():
        async with seen.open() as desk:
            live = desk.live("Seen")
            await publish(desk, bar(0), bar(2))
            await desk.until(lambda: live.variables["minutes"] == ["09:00", "09:02"], "the bars")
            (alarm,) = await desk.alarms()
            assert "bars between 2025-10-09 09:00 and 2025-10-09 09:02 are missing" in alarm

    asyncio.run(flow())


def test_a_strategy_of_two_legs_gets_them_together_and_trades_both(floor):
    """A leg without trades is not waited for beyond a moment."""
    floor.code(SEEN)
    floor.yaml("strategy_name: Pair\nsymbols: [au2512, ag2512]\n")

    async def flow():
        async with floor.open() as desk:
            live = desk.live("Pair")
            await publish(desk, bar(0))
            await asyncio.sleep(0.01)
            await publish(desk, bar(0, "ag2512", 11000.0))
            orders = await desk.some_requests(2)
            assert [(one.symbol, one.price) for one in orders] == [("au2512", 800.0), ("ag2512", 11000.0)]
            await publish(desk, bar(1))
            both = ["ag2512.SHFE", "au2512.SHFE"]
            await desk.until(lambda: live.variables["slices"] == [both, ["au2512.SHFE"]], "a slice of one leg")
            await desk.fill(orders[1])
            await desk.until(lambda: live.describe()["positions"]["ag2512"]["volume"] == 1, "the fill")

    asyncio.run(flow())


def test_a_new_trading_day_begins_with_number_one_and_is_checked_once():
    cursor = BarCursor(bar(59))
    night = bar(0, datetime=NINE + timedelta(hours=12), trading_day=date(2025, 10, 10), seq=1)
    assert not cursor.follows(night)
    assert not cursor.is_old(night)
    cursor.last = night
    assert cursor.follows(bar(0, datetime=NINE + timedelta(hours=12, minutes=1), trading_day=night.trading_day, seq=2))


def test_slices_come_whole_or_with_the_next_minute():
    slicer = Slicer(frozenset({"au2512.SHFE", "ag2512.SHFE"}))
    assert slicer.add(bar(0), b"au0") == []
    assert slicer.add(bar(1, "ag2512"), b"ag1") == [(b"au0",)]
    assert slicer.add(bar(0, "ag2512"), b"late") == []
    assert slicer.add(bar(1), b"au1") == [(b"ag1", b"au1")]
    assert slicer.flush() == []
