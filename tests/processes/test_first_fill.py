"""The running stack: a first fill within a minute, seen everywhere; the same seed twice is the same day."""

import hashlib
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis
from books import disagreements
from house import House, until

pytestmark = pytest.mark.processes

TICKS = 4000


def test_the_specification_s_strategy_trades_within_a_minute_and_everybody_sees_it(tmp_path: Path) -> None:
    """Default configuration; beside it the breakout strategy, whose first order the counter refuses."""
    house = House(tmp_path, port_offset=2100)
    house.edit("strategies/breakout.yaml", enabled=True)
    house.edit("simulation.yaml", rejects=[{"at_order": 1, "error_id": 31}])
    with house.running():
        trades = until(lambda: fills_of(house, "MaRsiStrategy"), 60, "the first fill")
        assert trades[0]["symbol"] == "au2512"
        status = house.status()
        assert status["trades_today"] >= 1
        assert status["orders_today"] >= 2
        refused = [
            order
            for order in house.ask("trading", "GET", "/orders?active=false")["orders"]
            if order["status"] == "REJECTED"
        ]
        assert refused[0]["error_id"] == 31
        web = until(lambda: house.ask("web", "GET", "/api/v1/trades")["trades"], 5, "Web shows the fill")
        assert trades[0]["trade_id"] in [trade["trade_id"] for trade in web]
        bars = (house.data / "bars" / "au2512" / "2025-10-15.csv").read_text().splitlines()
        assert len(bars) > 10
        states = {row["strategy_name"]: row for row in house.ask("strategy", "GET", "/strategies")["strategies"]}
        assert states["BreakoutStrategy"]["state"] == states["MaRsiStrategy"]["state"] == "RUNNING"
        for name in states:
            house.ask("strategy", "POST", f"/strategies/{name}/stop")
        until(lambda: not disagreements(house), 20, f"the books agree: {disagreements(house)}")


@pytest.mark.parametrize("seed", [2, pytest.param(3, marks=pytest.mark.chaos)])
def test_other_days_bring_the_first_fill_within_a_minute_too(tmp_path: Path, seed: int) -> None:
    """The specification's YAML as it is, other prices."""
    house = House(tmp_path, port_offset=2100)
    house.edit("simulation.yaml", seed=seed)
    with house.running():
        until(lambda: fills_of(house, "MaRsiStrategy"), 60, "the first fill")


def fills_of(house: House, strategy: str) -> list[dict[str, Any]]:
    trades = house.ask("trading", "GET", "/trades")["trades"]
    return [trade for trade in trades if trade["strategy_name"] == strategy]


def _heard(house: House) -> list[bytes]:
    """The first ticks an outside subscriber hears; it listens from before the clock starts."""
    known = until(lambda: json.loads((house.data / "run" / "redis.json").read_text()), 30, "Redis' address")
    line = redis.Redis(port=known["port"], username="reader", password=known["users"]["reader"])
    until(line.ping, 30, "Redis")
    heard: list[bytes] = []
    with line, line.pubsub(ignore_subscribe_messages=True) as channel:
        channel.psubscribe("tick:*")
        deadline = time.monotonic() + 120
        while len(heard) < TICKS and time.monotonic() < deadline:
            message = channel.get_message(timeout=1.0)
            if message is not None:
                heard.append(message["channel"] + b" " + message["data"])
    return heard


@pytest.mark.chaos
def test_the_same_seed_twice_gives_the_same_ticks_and_bars_to_the_byte(tmp_path: Path) -> None:
    """Two stacks one after the other, half an hour of trading each, an outside ear on Redis."""
    days = []
    for name in ("first", "second"):
        house = House(tmp_path / name, port_offset=2200)
        house.edit("simulation.yaml", seed=2, speed=200)
        with ThreadPoolExecutor() as pool:
            listening = pool.submit(_heard, house)
            with house.running():
                ticks = listening.result()
                path = house.data / "bars" / "au2512" / "2025-10-15.csv"
                bars = until(lambda path=path: _rows(path, 30), 20, "thirty bars")
        days.append((len(ticks), hashlib.sha256(b"\n".join(ticks)).hexdigest(), hashlib.sha256(bars).hexdigest()))
    assert days[0] == days[1]
    assert days[0][0] == TICKS


def _rows(path: Path, count: int) -> bytes | None:
    lines = path.read_bytes().splitlines()[: count + 1] if path.exists() else []
    return b"\n".join(lines) if len(lines) > count else None
