"""The real Gateway process between a real Redis and the real exchange dies at each of its crash points."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from arbig.bus.port import BusError
from arbig.bus.redis import RedisBus
from arbig.bus.topics import CMD, ORDER_STATUS, TRADE
from arbig.domain.messages import (
    CommandData,
    CommandType,
    Direction,
    Exchange,
    Offset,
    OrderData,
    OrderType,
    TickData,
    TradeData,
    decode,
    encode,
)
from arbig.runtime import redis_server
from arbig.runtime.clock import WallClock
from arbig.runtime.crash import EXIT_CODE
from arbig.runtime.http import CallError, call
from arbig.runtime.settings import EXIT_CONFIG, Settings, SettingsError, load_settings

pytestmark = pytest.mark.processes
ROOT = Path(__file__).parents[2]
OFFSET = 2600
DEATHS = (
    "gw.after_read:1",
    "gw.after_commit:1",
    "gw.before_send:1",
    "gw.after_send:1",
    "gw.on_callback:2",
    "gw.after_journal:2",
    "gw.after_publish:3",
)
"""A life first meets what its predecessor left: the pending command, the replay of the day, the unpublished events."""


class House:
    """Redis, exchange and Gateway on a folder of their own."""

    def __init__(self, folder: Path) -> None:
        config = folder / "config"
        config.mkdir()
        for file in (ROOT / "config").glob("*.yaml"):
            (config / file.name).write_text(file.read_text())
        simulation = config / "simulation.yaml"
        text = simulation.read_text().replace("wait_for: [market, trading, strategy]", "wait_for: []")
        simulation.write_text(text.replace("history_days: 15", "history_days: 0"))
        self.settings: Settings = load_settings(root=ROOT, config=config, data=folder / "d", port_offset=OFFSET)
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, module: str, crash: str = "", offset: int = OFFSET) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            "ARBIG_ROOT": str(ROOT),
            "ARBIG_CONFIG": str(self.settings.config),
            "ARBIG_DATA": str(self.settings.data),
            "ARBIG_PORT_OFFSET": str(offset),
            "ARBIG_CRASH": crash,
        }
        words = [sys.executable, "-m", module]
        process = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.processes.append(process)
        return process

    def wait_for_redis(self) -> None:
        while True:
            try:
                if redis_server.ask(self.settings, ["PING"]) == "PONG":
                    return
            except (BusError, SettingsError):
                time.sleep(0.02)

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            process.wait()

    def log_of(self, service: str) -> str:
        return (self.settings.logs / f"{service}.jsonl").read_text()

    def exchange_orders(self) -> Counter[str]:
        """How many orders of each memo's request the exchange has."""
        with sqlite3.connect(f"file:{self.settings.data / 'exchange' / 'exchange.db'}?mode=ro", uri=True) as db:
            rows = db.execute("SELECT record FROM orders").fetchall()
        db.close()
        return Counter(msgspec.json.decode(row[0])["memo"] for row in rows)

    def exchange_trades(self) -> list[str]:
        with sqlite3.connect(f"file:{self.settings.data / 'exchange' / 'exchange.db'}?mode=ro", uri=True) as db:
            rows = db.execute("SELECT report FROM reports WHERE is_trade").fetchall()
        db.close()
        return sorted(msgspec.json.decode(row[0])["trade_id"] for row in rows)


async def until(condition: Callable[[], object], seconds: float = 40.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - another process announces nothing
            await asyncio.sleep(0.02)


async def ready_or_dead(house: House, process: subprocess.Popen[bytes]) -> None:
    async with asyncio.timeout(40):
        while process.poll() is None:
            try:
                await call(house.settings, "gateway", "GET", "/ready")
                return
            except CallError:
                await asyncio.sleep(0.05)


async def first_price(bus: RedisBus) -> float:
    async for batch in bus.listen("tick:*"):
        if batch:
            return decode(TickData, batch[-1][1]).last_price
    raise AssertionError("no tick")


def order(request_id: str, price: float) -> bytes:
    now = WallClock().now()
    return encode(
        CommandData(
            cmd_type=CommandType.SEND_ORDER,
            request_id=request_id,
            symbol="au2512",
            exchange=Exchange.SHFE,
            direction=Direction.LONG,
            offset=Offset.OPEN,
            order_type=OrderType.LIMIT,
            price=price,
            volume=1,
            timestamp=now,
            strategy_name="S",
            expires_at=now + timedelta(seconds=120),
        )
    )


def test_a_death_at_any_point_doubles_no_order_and_loses_no_trade(tmp_path: Path) -> None:
    """Seven lives, each dying a step further on the way of an order; fills happen while nobody is there to hear."""
    house = House(tmp_path)

    async def play() -> None:
        trading = await RedisBus.connect(house.settings.redis_for("trading"))
        price = 0.0
        for number, death in enumerate(DEATHS):
            life = house.start("arbig.gateway", death)
            await ready_or_dead(house, life)
            if number == 0:
                await call(house.settings, "gateway", "POST", "/state", json={"state": "ACTIVE", "number": 1})
            price = price or round(await first_price(trading) + 5, 2)
            await trading.append([(CMD.name, order(f"r{number}", price))])
            await until(lambda life=life: life.poll() is not None)
            assert life.returncode == EXIT_CODE, death
        last = house.start("arbig.gateway")
        await ready_or_dead(house, last)
        second = house.start("arbig.gateway", offset=OFFSET + 1)
        await until(lambda: second.poll() is not None)
        assert second.returncode == EXIT_CONFIG
        assert "in use by another Gateway: stop the other copy" in house.log_of("gateway")
        answer = await settled(house)
        outcome = {row["request_id"]: (row["status"], row.get("detail")) for row in answer["orders"]}
        told = [decode(OrderData, entry.payload) for entry in await trading.read(ORDER_STATUS.name)]
        trades = [decode(TradeData, entry.payload) for entry in await trading.read(TRADE.name)]
        await trading.close()
        assert set(outcome) == {f"r{number}" for number in range(len(DEATHS))}
        assert set(outcome.values()) <= {("ALLTRADED", None), ("REJECTED", "NOT_SENT")}
        assert max(house.exchange_orders().values()) == 1, "no order twice"
        assert sum(status == "ALLTRADED" for status, _ in outcome.values()) == len(house.exchange_orders())
        assert sorted({trade.trade_id for trade in trades}) == house.exchange_trades()
        assert {trade.request_id for trade in trades} == {
            r for r, (status, _) in outcome.items() if status == "ALLTRADED"
        }
        assert {order.request_id for order in told if not order.is_active()} == set(outcome)

    async def settled(house: House) -> dict[str, list[dict[str, str]]]:
        async with asyncio.timeout(20):
            while True:
                answer = await call(house.settings, "gateway", "GET", "/orders")
                if len(answer["orders"]) == len(DEATHS) and all(
                    row["status"] in ("ALLTRADED", "REJECTED") for row in answer["orders"]
                ):
                    return answer  # type: ignore[no-any-return]
                await asyncio.sleep(0.05)

    house.start("arbig.runtime.redis_server")
    house.start("arbig.exchange")
    try:
        house.wait_for_redis()
        asyncio.run(play())
    finally:
        house.stop()
