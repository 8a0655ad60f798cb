"""Files of vnpy's own package, dropped into strategies/ as they are, in the process of a real strategy."""

from __future__ import annotations

import asyncio
import shutil
from importlib.util import find_spec
from pathlib import Path

from arbig.domain.messages import CommandType, Direction, Offset

SPEC = find_spec("vnpy_ctastrategy")
assert SPEC is not None and SPEC.submodule_search_locations
BUNDLED = Path(SPEC.submodule_search_locations[0]) / "strategies"
OLD = """
from vnpy_ctastrategy import CtaTemplate
from vnpy.trader.utility import load_json

class Old(CtaTemplate):
    setting = load_json("old.json")
    def on_init(self): pass
"""
YAML = "strategy_name: {0}\nsymbol: au2512\nexchange: SHFE\nparams: {1}\n"


def _dropped(floor, file, class_name, params):
    shutil.copy(BUNDLED / file, floor.root / "strategies" / file)
    floor.yaml(YAML.format(class_name, params))


def test_vnpys_own_test_strategy_does_its_four_tests(floor):
    """Driven by ticks alone: an order at the upper limit, one at the lower, cancel all, a stop order."""
    _dropped(floor, "test_strategy.py", "TestStrategy", "{test_trigger: 1}")

    async def flow():
        async with floor.open(processes=True) as desk:
            live = desk.live("TestStrategy")
            await desk.tick(800)
            (market,) = await desk.some_requests(1)
            assert (market.price, market.direction, market.offset) == (880.0, Direction.LONG, Offset.OPEN)
            await desk.fill(market)
            await desk.tick(800)
            _, limit = await desk.some_requests(2)
            assert limit.price == 720.0
            await desk.tick(800)
            _, _, cancel = await desk.some_requests(3)
            assert (cancel.cmd_type, cancel.order_request_id) == (CommandType.CANCEL_ORDER, limit.request_id)
            await desk.tick(800)
            await desk.until(lambda: live.describe()["stop_orders"], "the stop order")
            await desk.tick(810)
            *_, triggered = await desk.some_requests(4)
            assert triggered.cause.startswith("stop:au2512:")
            await desk.until(lambda: live.variables["test_all_done"], "the end of its tests")
            assert (live.state, live.describe()["pos"]) == ("RUNNING", 1)

    asyncio.run(flow())


def test_a_name_that_is_not_here_is_shown_with_its_line(floor):
    floor.code(OLD)
    floor.yaml(YAML.format("Old", "{}"))

    async def flow():
        async with floor.open(processes=True) as desk:
            shown = desk.live("Old").describe()
            assert shown["state"] == "FAILED"
            assert "mine.py, line 3: vnpy's load_json does not exist here; name it in `variables`" in shown["error"]
            assert "\n" not in shown["error"]

    asyncio.run(flow())


TICKS_ONLY = """
from vnpy_ctastrategy import CtaTemplate, BarGenerator

class TicksOnly(CtaTemplate):
    minutes = 0
    long_bars = 0
    variables = ["minutes", "long_bars"]

    def on_init(self):
        self.bg = BarGenerator(self.on_minute, 2, self.on_two_minutes)
        self.unfed = BarGenerator(self.on_two_minutes)

    def on_tick(self, tick):
        self.bg.update_tick(tick)

    def on_minute(self, bar):
        self.minutes += 1
        self.bg.update_bar(bar)
        self.put_event()

    def on_two_minutes(self, bar):
        self.long_bars += 1
"""


def test_a_strategy_without_on_bar_gets_its_bars_through_the_generator_it_feeds(floor):
    """With vnpy the generator makes them of the ticks; here they are Market's, each once."""
    floor.code(TICKS_ONLY)
    floor.yaml(YAML.format("TicksOnly", "{}"))

    async def flow():
        async with floor.open() as desk:
            live = desk.live("TicksOnly")
            await desk.tick(800)
            for minute in range(4):
                await desk.bar(minute, 800 + minute)
            await desk.until(lambda: live.variables["minutes"] == 4, "four minutes")
            assert live.variables["long_bars"] == 2

    asyncio.run(flow())
