"""SIGKILL to one service after another while orders are in flight: nothing lost, nothing sent twice."""

import shutil
from pathlib import Path

import pytest
from books import disagreements, exchange_orders, exchange_trades
from house import House, until

pytestmark = pytest.mark.processes

SUPPORT = Path(__file__).parents[1] / "support"
KILLED = ("gateway", "trading", "strategy", "market", "exchange", "redis", "web", "gateway", "trading")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory):
    """Two churning strategies on two contracts, risk limits out of their way."""
    house = House(tmp_path_factory.mktemp("kill"), port_offset=2000)
    shutil.copy(SUPPORT / "strategies" / "churn.py", house.home / "strategies")
    for name in ("ma_rsi", "breakout", "mean_reversion"):
        (house.config / "strategies" / f"{name}.yaml").unlink()
    for symbol in ("au2512", "ag2512"):
        house.edit(
            f"strategies/churn_{symbol}.yaml",
            strategy_name=f"Churn-{symbol}",
            class_name="ChurnStrategy",
            symbol=symbol,
            exchange="SHFE",
            params={"pace": 16},
        )
    house.edit("simulation.yaml", speed=30, capital=50_000_000)
    house.edit("risk.yaml", order_rate={"per_second": 100, "per_minute": 6000}, duplicate_order=None)
    with house.running():
        yield house


def _healthy(house: House) -> bool:
    status = house.status()
    return (
        all(row["healthy"] for row in status["services"])
        and status["connection"] == "CONNECTED"
        and status["trading_state"] == "ACTIVE"
    )


def _trades_more(house: House, than: int) -> bool:
    return len(exchange_trades(house)) > than


def test_no_order_is_doubled_and_no_trade_lost_whichever_service_is_killed(house: House) -> None:
    """Nine kills, each with trading under way before it and resumed after it; then the books agree to the last lot."""
    until(lambda: _trades_more(house, 5), 60, "the first trades")
    for service in KILLED:
        before = house.pid(service)
        house.kill(service)
        until(
            lambda before=before, service=service: house.pid(service) not in (0, before), 30, f"{service} started again"
        )
        until(lambda: _healthy(house), 60, f"ACTIVE again after {service} was killed")
        trades = len(exchange_trades(house))
        until(lambda trades=trades: _trades_more(house, trades + 2), 60, f"trading again after {service} was killed")

    for row in house.ask("strategy", "GET", "/strategies")["strategies"]:
        house.ask("strategy", "POST", f"/strategies/{row['strategy_name']}/stop")
    until(lambda: not house.ask("trading", "GET", "/orders")["orders"], 20, "no order working after the stop")
    until(lambda: not disagreements(house), 20, f"the books agree: {disagreements(house)}")
    assert len(exchange_orders(house)) > 40
