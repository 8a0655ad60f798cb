"""A strategy that fails, loops, sleeps or dies takes nobody with it. Real processes."""

from __future__ import annotations

import asyncio
import os
import signal

from arbig.domain.messages import CommandType, Direction, Status

TWO = """
import time
from arbig import CtaTemplate

class Good(CtaTemplate):
    seen = 0
    variables = ["seen"]
    def on_init(self): pass
    def on_tick(self, tick):
        self.seen += 1
        self.put_event()

class Bad(CtaTemplate):
    how = "raise"
    parameters = ["how"]
    def on_init(self): pass
    def on_tick(self, tick):
        if tick.last_price == 800:
            self.buy(800, 1)
        elif self.how == "raise":
            self.undefined_thing()
        elif self.how == "loop":
            while True: pass
        elif self.how == "sleep":
            time.sleep(60)
        elif self.how == "exit":
            import sys; sys.exit(3)
"""
YAML = "strategy_name: {0}\nsymbol: au2512\nexchange: SHFE\n"


def _both(floor, how):
    floor.code(TWO)
    floor.yaml(YAML.format("Good"), "good.yaml")
    floor.yaml(YAML.format("Bad") + f"params:\n  how: {how}\n", "bad.yaml")


async def _bad_is_out_and_good_goes_on(floor, how):
    async with floor.open(processes=True) as desk:
        good, bad = desk.live("Good"), desk.live("Bad")
        await desk.tick(800)
        (order,) = await desk.some_requests(1)
        await desk.status(order, Status.NOTTRADED)
        await asyncio.sleep(0.05)
        started = asyncio.get_running_loop().time()
        await desk.tick(801)
        await desk.until(lambda: bad.state == "ERROR", "Bad in ERROR")
        seconds = asyncio.get_running_loop().time() - started
        _, cancel = await desk.some_requests(2)
        assert cancel.cmd_type is CommandType.CANCEL_ORDER
        assert cancel.order_request_id == order.request_id
        await desk.tick(802)
        await desk.until(lambda: good.variables["seen"] == 3, "Good sees every tick")
        assert good.state == "RUNNING"
        assert any("Bad" in line for line in await desk.alarms())
        return bad.describe(), seconds


def test_an_exception_stops_its_strategy_and_shows_the_traceback(floor):
    """The traceback begins in the strategy's own file."""
    _both(floor, "raise")
    shown, _ = asyncio.run(_bad_is_out_and_good_goes_on(floor, "raise"))
    assert "undefined_thing" in shown["error"]
    assert "strategies/mine.py" in shown["traceback"]
    assert "arbig/strategy" not in shown["traceback"]


def test_an_endless_loop_is_ended(floor):
    _both(floor, "loop")
    shown, _ = asyncio.run(_bad_is_out_and_good_goes_on(floor, "loop"))
    assert "did not return" in shown["error"]


def test_a_sleep_is_ended_within_a_second(floor):
    """0.8 s, and one look more."""
    _both(floor, "sleep")
    shown, seconds = asyncio.run(_bad_is_out_and_good_goes_on(floor, "sleep"))
    assert "did not return" in shown["error"]
    assert seconds < 2


def test_a_strategy_that_exits_is_an_error(floor):
    _both(floor, "exit")
    shown, _ = asyncio.run(_bad_is_out_and_good_goes_on(floor, "exit"))
    assert "SystemExit" in shown["error"]


COUNTER = """
from arbig import CtaTemplate

class Counter(CtaTemplate):
    count = 0
    variables = ["count"]
    def on_init(self): pass
    def on_bar(self, bar):
        self.count += 1
        self.put_event()
"""


def test_a_killed_process_is_started_again_with_its_variables(floor):
    """SIGKILL from outside: the next bar counts on."""
    floor.code(COUNTER)
    floor.yaml(YAML.format("Counter"))

    async def flow():
        async with floor.open(processes=True) as desk:
            counter = desk.live("Counter")
            await desk.bar(0, 800)
            await desk.bar(1, 800)
            await desk.until(lambda: counter.variables["count"] == 2, "two bars")
            os.kill(counter._runner.pid, signal.SIGKILL)
            await desk.bar(2, 800)
            await desk.until(lambda: counter.variables["count"] == 3, "the third bar")
            assert counter.state == "RUNNING"

    asyncio.run(flow())


def test_a_process_that_keeps_dying_is_an_error(floor):
    floor.code(
        """
import os
from arbig import CtaTemplate
class Suicide(CtaTemplate):
    def on_init(self): pass
    def on_tick(self, tick): os._exit(1)
"""
    )
    floor.yaml(YAML.format("Suicide"))

    async def flow():
        async with floor.open(processes=True) as desk:
            live = desk.live("Suicide")
            for price in (800, 801, 802, 803):
                await desk.tick(price)
            await desk.until(lambda: live.state == "ERROR", "the end of patience", 30)
            assert "died" in live.error

    asyncio.run(flow())


def test_the_strategy_process_ends_with_the_service(floor):
    """No orphan may go on trading."""
    floor.code(COUNTER)
    floor.yaml(YAML.format("Counter"))

    async def flow():
        async with floor.open(processes=True) as desk:
            pid = desk.live("Counter")._runner.pid
            assert os.path.exists(f"/proc/{pid}")
        return pid

    assert not os.path.exists(f"/proc/{asyncio.run(flow())}")


def test_prints_of_a_strategy_become_log_lines(floor, capfd):
    floor.code(COUNTER.replace("self.count += 1", "print('hello from the bar')"))
    floor.yaml(YAML.format("Counter"))

    async def flow():
        async with floor.open(processes=True) as desk:
            await desk.bar(0, 800)
            live = desk.live("Counter")
            await desk.until(lambda: live._queue.empty() and live.variables["count"] == 0, "one bar")
            await asyncio.sleep(0.1)

    asyncio.run(flow())
    assert "hello from the bar" in "".join(capfd.readouterr())


def test_an_order_of_a_strategy_process_bears_its_cause_and_identity(floor):
    """What the Gateway will see: cause, code, run, expiry."""
    _both(floor, "raise")

    async def flow():
        async with floor.open(processes=True) as desk:
            await desk.tick(800)
            (order,) = await desk.some_requests(1)
            return order, desk.live("Bad")

    order, bad = asyncio.run(flow())
    assert order.direction is Direction.LONG
    assert order.cause == "tick:au2512:1"
    assert (order.run_id, order.code_hash) == (bad.desk.run_id, bad.desk.code_hash)
    assert (order.expires_at - order.timestamp).total_seconds() == 3


FILLED = """
import os, time
from arbig import CtaTemplate

class Filled(CtaTemplate):
    hangs_once = ""
    fills = 0
    parameters = ["hangs_once"]
    variables = ["fills"]
    def on_init(self): pass
    def on_tick(self, tick):
        if tick.last_price == 800: self.buy(800, 1)
    def on_trade(self, trade):
        if self.hangs_once and not os.path.exists(self.hangs_once):
            open(self.hangs_once, "w").close()
            time.sleep(60)
        self.fills += 1
"""


def _slow_and_quick(floor):
    floor.code(FILLED)
    mark = floor.root / "hung"
    floor.yaml(YAML.format("Slow") + f"class_name: Filled\nparams:\n  hangs_once: {mark}\n", "slow.yaml")
    floor.yaml(YAML.format("Quick") + "class_name: Filled\n", "quick.yaml")
    return mark


async def _both_are_filled(desk, mark):
    """The slow one first; it hangs in `on_trade` when this returns."""
    slow, quick = sorted(await _after_tick(desk), key=lambda one: one.strategy_name, reverse=True)
    await desk.fill(slow)
    await desk.until(mark.exists, "the hanging callback")
    await desk.fill(quick)


async def _after_tick(desk):
    await desk.tick(800)
    return await desk.some_requests(2)


def test_a_strategy_that_hangs_holds_up_nobody_elses_fills(floor):
    """Its own fill is in its position all the same, and counted once."""
    mark = _slow_and_quick(floor)

    async def flow():
        async with floor.open(processes=True) as desk:
            slow, quick = desk.live("Slow"), desk.live("Quick")
            await _both_are_filled(desk, mark)
            await desk.until(lambda: quick.variables.get("fills") == 1, "the quick one's fill")
            assert slow.state == "RUNNING", "still within its patience"
            await desk.until(lambda: slow.state == "ERROR", "the end of patience")
            assert slow.describe()["pos"] == quick.describe()["pos"] == 1
            await desk.until(lambda: not desk.service.store.kept(), "nothing left to finish")

    asyncio.run(flow())


def test_a_fill_whose_strategy_hung_is_told_after_a_restart(floor):
    """Its stream has gone on meanwhile: the entry stood on our own disk."""
    mark = _slow_and_quick(floor)

    async def flow():
        async with floor.open(processes=True) as desk:
            await _both_are_filled(desk, mark)
            await desk.until(lambda: desk.live("Quick").variables.get("fills") == 1, "the quick one's fill")
            async with asyncio.timeout(0.5):
                while any(one.pending for one in await desk.bus.groups() if one.group == "group:strategy"):  # noqa: ASYNC110 - the bus announces nothing
                    await asyncio.sleep(0.005)
        floor.siblings.as_of = {"stream:trade": "0-0"}
        async with floor.open(processes=True) as desk:
            slow = desk.live("Slow")
            await desk.until(lambda: slow.variables.get("fills") == 1, "the fill")
            assert slow.describe()["pos"] == desk.live("Quick").describe()["pos"] == 1
            await desk.until(lambda: not desk.service.store.kept(), "nothing left to finish")

    asyncio.run(flow())
