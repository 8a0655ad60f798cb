"""What happens to a trader's days: settlement and the night after it, a dead line, a price at its limit."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import yaml
from flow import Flow, flow, flow_settings

from arbig.domain.messages import (
    Direction,
    EventData,
    EventType,
    Offset,
    OrderRequest,
    PositionData,
    Status,
    TradeData,
    decode,
)
from arbig.runtime.http import CallError
from arbig.runtime.settings import Settings

BEFORE_THE_CLOSE = 550
AFTER_THE_OPENING = 10
BEFORE_THE_FALL = 114

OVERNIGHT = """
from arbig import CtaTemplate

class Overnight(CtaTemplate):
    first_day = ""
    bought = False
    variables = ["first_day", "bought"]

    def on_init(self): pass

    def on_bar(self, bar):
        self.first_day = self.first_day or str(bar.trading_day)
        if not self.bought:
            self.bought = bool(self.buy(bar.close_price + 20 * self.get_pricetick(), 2))
        elif self.pos and str(bar.trading_day) != self.first_day:
            self.sell(bar.close_price - 20 * self.get_pricetick(), self.pos)
"""

EAGER = """
from arbig import CtaTemplate

class Eager(CtaTemplate):
    def on_init(self): pass
    def on_bar(self, bar):
        if self.pos == 0: self.buy(bar.close_price + 20 * self.get_pricetick(), 1)
        else: self.sell(bar.close_price - 20 * self.get_pricetick(), self.pos)
"""

ONE_LOT = """
from arbig import CtaTemplate

class OneLot(CtaTemplate):
    bought = False
    def on_init(self): pass
    def on_bar(self, bar):
        if not self.bought:
            self.bought = bool(self.buy(bar.close_price + 20 * self.get_pricetick(), 1))
"""


def _of(
    home: Path, code: str, name: str, risk: dict[str, Any] | None = None, symbol: str = "au2512", **simulation: Any
) -> Settings:
    settings = flow_settings(home, strategies=(), **simulation)
    (home / "strategies" / "mine.py").write_text(code, "utf-8")
    file = {"strategy_name": name, "symbol": symbol, "exchange": "SHFE", "risk": risk or {}}
    (home / "config" / "strategies" / "mine.yaml").write_text(yaml.safe_dump(file), "utf-8")
    return settings


async def _until(house: Flow, condition: Any, minutes: int, what: str) -> None:
    for _ in range(minutes * 6):
        if condition():
            return
        await house.play(1 / 6)
    raise AssertionError(f"not within {minutes} minutes of trading: {what}")


def _trades(house: Flow) -> list[TradeData]:
    return [decode(TradeData, payload) for payload in house.bus.of("stream:trade")]


def _events(house: Flow) -> list[EventType]:
    return [decode(EventData, payload).event for payload in house.bus.of("stream:event")]


def _sent(house: Flow) -> list[OrderRequest]:
    return [decode(OrderRequest, payload) for name, payload in house.bus.said if name == "stream:order"]


def test_lots_held_over_settlement_are_yesterdays_and_are_closed_as_such(tmp_path: Path) -> None:
    """The day's close is written down and agrees with the counter's statement, the account begins the next day with its
    balance, and the books agree."""

    async def play() -> None:
        async with flow(_of(tmp_path, OVERNIGHT, "Overnight"), BEFORE_THE_CLOSE) as house:
            first_day = house.trading.orders.trading_day
            assert first_day is not None
            await _until(house, lambda: sum(trade.volume for trade in _trades(house)) == 2, 10, "two lots")
            await _until(house, lambda: EventType.TRADING_DAY in _events(house), 30, "the next trading day")
            await house.quiet()
            told = decode(PositionData, house.bus.of("stream:position")[-1])
            assert (told.direction, told.volume, told.yd_volume) == (Direction.LONG, 2, 2)
            (kept,) = house.trading.snapshots.positions_of(first_day)
            assert (kept["direction"], kept["volume"], kept["yd_volume"]) == (Direction.LONG, 2, 0)
            await _until(house, lambda: sum(trade.volume for trade in _trades(house)) == 4, 10, "the closing fills")
            await house.quiet()
            assert {trade.offset for trade in _trades(house)[1:] if trade.direction is Direction.SHORT} == {
                Offset.CLOSEYESTERDAY
            }
            account = (await house.ask("trading", "GET", "/account"))["account"]
            closed = house.trading.snapshots.account_of(first_day)
            assert closed is not None
            assert closed["balance"] == account["pre_balance"] != closed["pre_balance"]
            answer = await house.ask("trading", "GET", "/positions")
            assert [] == answer["positions"]
            assert [("Overnight", 0)] == [(one["strategy_name"], one["volume"]) for one in answer["strategies"]]
            statement = (await house.ask("trading", "GET", "/reconciliation", params={"day": str(first_day)}))[
                "statement"
            ]
            assert (statement["agrees"], statement["trading_day"]) == (True, str(first_day))
            assert {row["amount"]: row["difference"] for row in statement["rows"]} == dict.fromkeys(
                ("pre_balance", "commission", "close_profit", "position_profit", "balance", "margin"), 0.0
            )
            assert [] == house.trading.checks.differences()

    asyncio.run(play())


def test_lots_held_over_a_contracts_last_day_are_paid_out_and_its_strategy_is_told_the_main_contract(
    tmp_path: Path,
) -> None:
    """au2510 expires on the first day. Nobody holds it afterwards, no alarm cries over a difference."""

    async def play() -> None:
        async with flow(_of(tmp_path, OVERNIGHT, "Overnight", symbol="au2510"), BEFORE_THE_CLOSE) as house:
            await _until(house, lambda: sum(trade.volume for trade in _trades(house)) == 2, 10, "two lots")
            await _until(house, lambda: EventType.TRADING_DAY in _events(house), 30, "the next trading day")
            await house.play(2)
            await house.quiet()
            answer = await house.ask("trading", "GET", "/positions")
            assert [] == answer["positions"]
            (book,) = answer["strategies"]
            assert (book["strategy_name"], book["volume"]) == ("Overnight", 0)
            assert book["total_pnl"] != 0.0
            strategy = await house.ask("strategy", "GET", "/strategies/Overnight")
            assert (strategy["state"], strategy["pos"]) == ("FAILED", 0)
            assert "au2510 expired on 2025-10-15; the main contract is au2512" in strategy["error"]
            alarms = [decode(EventData, payload) for payload in house.bus.of("stream:event")]
            assert [one.source for one in alarms if one.event is EventType.ALARM] == ["strategy"]

    asyncio.run(play())


def test_a_dead_line_pauses_strategies_until_everything_has_been_reconciled(tmp_path: Path) -> None:
    """No new signal and no person's order meanwhile; a cancel asked for then is made when the line is back."""

    async def play() -> None:
        async with flow(_of(tmp_path, EAGER, "Eager"), AFTER_THE_OPENING) as house:
            await _until(house, lambda: _trades(house), 5, "a fill")
            tick = (await house.ask("market", "GET", "/ticks/au2512"))["tick"]
            far = round(tick["last_price"] * 0.992 / 0.02) * 0.02
            form = {"symbol": "au2512", "direction": "LONG", "offset": "OPEN", "price": round(far, 2), "volume": 1}
            resting = asyncio.ensure_future(house.ask("trading", "POST", "/orders", json=form))
            await _until(house, resting.done, 1, "the answer")
            name = resting.result()["request_id"]
            await _until(house, lambda: _state(house, name) is Status.NOTTRADED, 1, "a resting order")
            house.link.cut("the line is dead")
            await house.quiet()
            eager = await house.ask("strategy", "GET", "/strategies/Eager")
            assert (eager["state"], eager["pause_reason"]) == ("PAUSED", "disconnected from the exchange")
            with pytest.raises(CallError, match="the exchange is disconnected; no new order is sent"):
                await house.ask("trading", "POST", "/orders", json=form)
            before = len(_sent(house))
            cancelling = asyncio.ensure_future(house.ask("trading", "DELETE", f"/orders/{name}"))
            await house.quiet()
            assert "request_id" in (await cancelling)
            assert len(_sent(house)) == before + 1
            await _until(house, lambda: EventType.RECONCILED in _events(house)[1:], 5, "the reconciliation")
            await _until(house, lambda: _state(house, name) is Status.CANCELLED, 1, "the cancel")
            assert (await house.ask("strategy", "GET", "/strategies/Eager"))["state"] == "RUNNING"
            fills = len(_trades(house))
            await _until(house, lambda: len(_trades(house)) > fills, 5, "the next fill")

    asyncio.run(play())


def _state(house: Flow, name: str) -> Status | None:
    found = house.trading.orders.get(name)
    return None if found is None else found.status


def test_a_position_caught_at_the_price_limit_is_told_and_closed_when_the_limit_opens(tmp_path: Path) -> None:
    """The risk block's close stands in line at the limit; it is not sent again and again meanwhile."""
    wild = {"au": {"start_price": 880, "price_limit": 0.002, "volatility": 0.05}}
    settings = _of(tmp_path, ONE_LOT, "OneLot", {"stop_loss_pct": 0.05}, products=wild)

    async def play() -> None:
        async with flow(settings, BEFORE_THE_FALL) as house:
            await _until(house, lambda: _trades(house), 5, "the lot")
            await _until(house, lambda: any("stands at its limit" in line for line in _alarms(house)), 5, "the limit")
            await house.play(5)
            *_, close = _sent(house)
            sent = len(_sent(house))
            tick = (await house.ask("market", "GET", "/ticks/au2512"))["tick"]
            assert (tick["last_price"], tick["bid_volume_1"]) == (tick["limit_down"], 0)
            assert (close.direction, close.price) == (Direction.SHORT, tick["limit_down"])
            await _until(house, lambda: len(_trades(house)) == 2, 90, "the close")
            assert 0 == (await house.ask("strategy", "GET", "/strategies/OneLot"))["pos"]
            assert sent == len(_sent(house))
            assert 1 == sum("stands at its limit" in line for line in _alarms(house))

    asyncio.run(play())


def _alarms(house: Flow) -> list[str]:
    events = [decode(EventData, payload) for payload in house.bus.of("stream:event")]
    return [event.message or "" for event in events if event.event is EventType.ALARM]
