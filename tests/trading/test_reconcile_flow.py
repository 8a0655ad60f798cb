"""The busy house in memory: while it is busy it agrees; a lie of the counter is noticed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import yaml
from flow import Flow, flow, flow_settings
from msgspec.structs import replace

from arbig.domain.counter import InsertOrder
from arbig.domain.messages import Direction, EventData, EventType, Exchange, Offset, OrderType, decode
from arbig.runtime.settings import Settings
from arbig.trading.state import State

AFTER_THE_OPENING = 10

TURNING = """
from arbig import CtaTemplate

class Turning(CtaTemplate):
    lots = 2
    pause = 3
    parameters = ["lots", "pause"]
    heard = 0

    def on_init(self): pass

    def on_tick(self, tick):
        self.heard += 1
        if self.heard % self.pause: return
        self.cancel_all()
        price = tick.last_price + (20 if self.heard % 2 else -20) * self.get_pricetick()
        if self.pos <= 0: self.buy(tick.last_price + 20 * self.get_pricetick(), self.lots)
        else: self.sell(price, self.pos)
"""


def _of(home: Path, symbols: tuple[str, ...] = ("au2512",), pause: int = 3, **simulation: Any) -> Settings:
    settings = flow_settings(home, strategies=(), **simulation)
    (home / "strategies" / "turning.py").write_text(TURNING, "utf-8")
    for number, symbol in enumerate(symbols):
        file = {"strategy_name": f"Turning{number}", "class_name": "Turning", "symbol": symbol, "exchange": "SHFE"}
        text = yaml.safe_dump(file | {"params": {"lots": 1 + number, "pause": pause}})
        (home / "config" / "strategies" / f"turning{number}.yaml").write_text(text, "utf-8")
    return settings


def _said(house: Flow, kind: EventType = EventType.ALARM) -> list[str]:
    found = [decode(EventData, payload) for payload in house.bus.of("stream:event")]
    return [one.message for one in found if one.event is kind and one.source == "trading"]


def _differences(house: Flow) -> list[dict[str, Any]]:
    return house.trading.checks.differences()


async def _look_each_second(house: Flow, seconds: int) -> int:
    """How many looks there were. Each is asked for: what Trading waits between two is wall time, and a minute of this
    house's trading passes in less than that or in more, as the machine has time."""
    looks = set()
    for _ in range(seconds):
        house.trading._must_resync.set()
        await house.play(1 / 60)
        looks.add(house.trading.auditor.last_pass)
    await house.quiet()
    return len(looks)


def test_heavy_trading_raises_no_false_alarm_and_a_lie_is_noticed(tmp_path: Path) -> None:
    """Fills all the time, a look after every step; then the counter holds one lot more than it ever told."""

    async def play() -> None:
        async with flow(_of(tmp_path, ("au2512", "ag2512")), AFTER_THE_OPENING) as house:
            assert await _look_each_second(house, 30) > 25
            traded = house.trading.orders.trades_today
            assert traded > 5
            assert _differences(house) == []
            assert house.trading.state.wanted is State.ACTIVE
            exchange = house.counter.exchange
            account = exchange.truth.account
            held = account.holdings["au2512"]
            lie = replace(held, long=replace(held.long, today_lots=(*held.long.today_lots, _one_lot(exchange))))
            exchange.truth = replace(exchange.truth, account=account.with_holding(lie))
            await _look_each_second(house, 10)
            assert house.trading.orders.trades_today > traded
            assert {(row["what"], row["symbol"], row["direction"]) for row in _differences(house)} >= {
                ("today", "au2512", "LONG")
            }
            assert house.trading.state.wanted is State.REDUCING

    asyncio.run(play())


def _one_lot(exchange: Any) -> Any:
    from arbig.domain.positions import Lots

    price = exchange._markets["au2512"].price
    return Lots(1, price, price)


def test_an_order_of_another_terminal_is_external_within_a_second(tmp_path: Path) -> None:
    """F19 with the real Gateway: shown with nobody's name, counted, its lots in the unassigned book, no alarm. Then a
    person gives one to a strategy, which trades it as its own."""

    async def play() -> None:
        async with flow(flow_settings(tmp_path), AFTER_THE_OPENING) as house:
            await house.play(1 / 20)
            price = house.counter.exchange._markets["au2512"].path.limit_up
            wish = InsertOrder(
                order_ref=0, memo="", symbol="au2512", exchange=Exchange.SHFE, direction=Direction.LONG,
                offset=Offset.OPEN, order_type=OrderType.LIMIT, price=price, volume=2,
            )  # fmt: skip
            assert house.link.hear is not None
            house.link.hear(house.counter.on_wish(wish).to_all)
            await house.play(1 / 60)
            orders = (await house.ask("trading", "GET", "/orders", params={"active": "false"}))["orders"]
            assert [(one["strategy_name"], one["traded"], "request_id" in one) for one in orders] == [("", 2, False)]
            books = (await house.ask("trading", "GET", "/positions"))["strategies"]
            assert [(one["strategy_name"], one["volume"]) for one in books] == [("unassigned", 2)]
            lot = {"symbol": "au2512", "direction": "LONG", "volume": 1, "strategy_name": "MaRsiStrategy"}
            await house.ask("trading", "POST", "/positions/assign", json=lot)
            await house.quiet()
            assert (await house.ask("strategy", "GET", "/strategies/MaRsiStrategy"))["pos"] == 1
            await _look_each_second(house, 4)
            assert (_differences(house), house.trading.state.wanted) == ([], State.ACTIVE)

    asyncio.run(play())
