"""The real stack: latency and partial fills make a difference, and parity says which part of it is what."""

from typing import Any

import pytest
from house import House, until
from lockstep import QUICK

from arbig import Desk
from arbig.lab.parity import Parity

pytestmark = pytest.mark.processes

TRADED_ORDERS = 8
LOTS = 12  # more than most ticks show
LOT_TICK = 20.0  # yuan: a tick of 0.02 on a lot of 1000 grams


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Parity:
    """Some minutes of a session at eighty times the clock, with the exchange in a process of its own."""
    house = House(tmp_path_factory.mktemp("parity"), port_offset=2900)
    house.edit("arbig.yaml", record_ticks=True, symbols=["au2512"])
    house.edit("simulation.yaml", speed=80)
    house.edit("market.yaml", history_days=2)
    _only_ma_rsi(house)
    with house.running():
        until(lambda: _traded(house) >= TRADED_ORDERS, 45, f"{TRADED_ORDERS} orders that traded")
        until(lambda: _in_parts(house), 60, "an order that was filled in parts")
    return Desk(root=house.home, data=house.data).parity()


def _only_ma_rsi(house: House) -> None:
    for file in (house.config / "strategies").glob("*.yaml"):
        if file.stem != "ma_rsi":
            file.unlink()
    params: dict[str, Any] = {**QUICK, "fast_window": 1, "slow_window": 2, "volume": LOTS}
    house.edit("strategies/ma_rsi.yaml", params=params, risk={"max_position": 2 * LOTS})
    house.edit("risk.yaml", order_size={"max_lots": 100}, notional={"max_value": 100_000_000})
    house.edit("simulation.yaml", capital=500_000_000)


def _traded(house: House) -> int:
    with house.database("db/trading.db") as database:
        return int(database.execute("SELECT count(*) FROM orders WHERE traded > 0").fetchone()[0])


def _in_parts(house: House) -> int:
    with house.database("db/trading.db") as database:
        parts = "SELECT order_id FROM trades GROUP BY order_id HAVING count(*) > 1"
        return int(database.execute(f"SELECT count(*) FROM ({parts})").fetchone()[0])


def test_every_order_has_its_counterpart_and_nothing_is_left_unexplained(found: Parity) -> None:
    """Same bars, same orders; latency alone changed what they paid. Given the moment at which an order came to it, the
    exchange in its own process filled it lot for lot as the backtest's matching says (the journal keeps whole
    milliseconds: one order may stand on the wrong side of a tick)."""
    table, buckets = found.orders, found.buckets
    assert table["live_sent"].notna().all() and table["replay_sent"].notna().all(), found
    assert (table["live_volume"] == table["replay_volume"]).all()
    assert round(sum(buckets.values()), 2) == found.total
    assert not any(buckets[name] for name in ("signal", "fee", "missed data", "manual"))
    assert buckets["residual"] == 0
    assert abs(buckets["price"]) <= LOT_TICK * LOTS
    assert abs(buckets["timing"] + buckets["price"] - found.total) < 0.01


def test_latency_and_partial_fills_were_there(found: Parity) -> None:
    orders = [row.pair for _, row in found.outcome.rows]
    assert any(pair.live is not None and len(pair.live.fills) > 1 for pair in orders)
    assert found.orders["words"].str.contains("live came to the exchange").any()
