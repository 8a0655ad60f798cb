"""An order is traced back to what caused it, and its strategy moves to the next contract: the whole house."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import yaml
from flow import Flow, flow, flow_settings

CODE = """
from arbig import BarData, CtaTemplate

class Holder(CtaTemplate):
    lots = 2
    parameters = ["lots"]
    seen = 0
    entry = 0.0
    variables = ["seen", "entry"]

    def on_init(self):
        pass

    def on_bar(self, bar: BarData):
        self.seen += 1
        if self.trading and not self.pos:
            self.buy(bar.close_price + 1, self.lots)

    def on_trade(self, trade):
        self.entry = trade.price
"""
WISH = {"class_name": "Holder", "symbol": "au2512", "params": {"lots": 3}, "risk": {"max_position": 3}}


async def until(house: Flow, condition: Any, minutes: int = 30) -> None:
    for _ in range(minutes * 6):
        if await condition():
            return
        await house.play(1 / 6)
    raise AssertionError("not within the time")


async def books(house: Flow) -> dict[str, int]:
    rows = (await house.ask("trading", "GET", "/positions"))["strategies"]
    return {row["symbol"]: row["volume"] for row in rows if row["strategy_name"] == "Holder" and row["volume"]}


async def strategy(house: Flow) -> dict[str, Any]:
    found: dict[str, Any] = await house.ask("strategy", "GET", "/strategies/Holder")
    return found


def test_an_order_is_traced_to_its_bar_and_code_and_its_strategy_moves_on_with_all_it_has(tmp_path: Path) -> None:
    settings = flow_settings(tmp_path, 1, ())
    (tmp_path / "strategies" / "holder.py").write_text(CODE)

    async def play() -> None:
        async with flow(settings, after_minutes=5) as house:
            run = await house.ask("strategy", "POST", "/strategies", json=WISH)

            async def bought() -> bool:
                return await books(house) == {"au2512": 3}

            await until(house, bought)
            (order,) = (await house.ask("trading", "GET", "/orders", params={"active": "false"}))["orders"]
            found = await house.ask("trading", "GET", f"/orders/{order['order_id']}/whence")
            assert (found["run"]["source"], found["run"]["params"]) == (CODE, {"lots": 3})
            assert (order["run_id"], order["code_hash"]) == (run["run_id"], run["code_hash"])
            bar = found["cause"]["message"]
            assert order["cause"] == f"bar:au2512:{bar['seq']}" and bar["close_price"] + 1 == order["price"]
            known = [hop["place"] for hop in found["hops"] if hop["at"]]
            assert known == ["inbox", "gateway", "journal", "sent", "counter", "trading"], "the bus here has no clock"
            assert 3 == sum(trade["volume"] for trade in found["trades"])

            before = await strategy(house)
            job = await house.ask("trading", "POST", "/rolls", json={"strategy_name": "Holder", "to": "au2602"})
            await until(house, lambda: _is(house, job["id"], "DONE"))
            after = await strategy(house)
            assert (await books(house), after["symbols"], after["state"]) == ({"au2602": 3}, ["au2602"], "RUNNING")
            assert (after["parameters"], after["variables"]) == (before["parameters"], before["variables"])
            assert (after["pos"], after["run_id"] != before["run_id"]) == (3, True)
            written = yaml.safe_load((tmp_path / "config" / "strategies" / "Holder.yaml").read_text())
            assert (written["symbol"], written["params"], written["risk"]) == ("au2602", {"lots": 3}, WISH["risk"])
            seen = after["variables"]["seen"]
            await house.play(3)
            assert (await strategy(house))["variables"]["seen"] > seen, "it hears the new contract's bars"
            assert await books(house) == {"au2602": 3}

    async def _is(house: Flow, job_id: str, state: str) -> bool:
        rows = (await house.ask("trading", "GET", "/rolls"))["rolls"]
        return bool([row for row in rows if row["id"] == job_id and row["state"] == state])

    asyncio.run(play())
