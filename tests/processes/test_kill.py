"""SIGKILL to one service after another while orders are in flight: nothing lost, nothing sent twice."""

from collections.abc import Iterator

import pytest
from books import disagreements, exchange_orders, exchange_trades
from churning import churning_house, is_whole
from house import House, until

pytestmark = pytest.mark.processes

KILLED = ("gateway", "trading", "strategy", "market", "exchange", "redis", "web", "gateway", "trading")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = churning_house(tmp_path_factory.mktemp("kill"), port_offset=2000)
    with house.running():
        yield house


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
        until(lambda: is_whole(house), 60, f"ACTIVE again after {service} was killed")
        trades = len(exchange_trades(house))
        until(lambda trades=trades: _trades_more(house, trades + 2), 60, f"trading again after {service} was killed")

    for row in house.ask("strategy", "GET", "/strategies")["strategies"]:
        house.ask("strategy", "POST", f"/strategies/{row['strategy_name']}/stop")
    until(lambda: not house.ask("trading", "GET", "/orders")["orders"], 20, "no order working after the stop")
    until(lambda: not disagreements(house), 20, f"the books agree: {disagreements(house)}")
    assert len(exchange_orders(house)) > 40
