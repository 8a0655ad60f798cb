"""A house whose two strategies trade far too often, the risk limits out of their way."""

import shutil
from pathlib import Path

from house import House

CHURN = Path(__file__).with_name("strategies") / "churn.py"
SYMBOLS = ("au2512", "ag2512")


def churning_house(home: Path, port_offset: int) -> House:
    house = House(home, port_offset)
    shutil.copy(CHURN, house.home / "strategies")
    for path in (house.config / "strategies").glob("*.yaml"):
        path.unlink()
    for symbol in SYMBOLS:
        house.edit(
            f"strategies/churn_{symbol}.yaml",
            strategy_name=f"Churn-{symbol}",
            class_name="ChurnStrategy",
            symbol=symbol,
            exchange="SHFE",
            params={"pace": 16},
        )
    house.edit("simulation.yaml", speed=30, capital=50_000_000)
    house.edit(
        "risk.yaml",
        order_rate={"per_second": 100, "per_minute": 6000},
        duplicate_order=None,
        cancel_rate=None,
        cancels=None,
        message_bursts=None,
        runaway=None,
    )
    return house


def is_whole(house: House) -> bool:
    """Every process up, connected, ACTIVE."""
    status = house.status()
    return (
        all(row["healthy"] for row in status["services"])
        and status["connection"] == "CONNECTED"
        and status["trading_state"] == "ACTIVE"
    )
