"""Sixty SIGKILLs at random moments to random services, drawn from a seed, while two strategies churn.

The seed and the count can be said: ARBIG_CHAOS_SEED, ARBIG_CHAOS_KILLS.
"""

import os
import random
import time
from pathlib import Path

import pytest
from books import disagreements, exchange_orders, exchange_trades
from churning import churning_house, is_whole
from house import until

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(3600)]

SEED = int(os.environ.get("ARBIG_CHAOS_SEED", "1"))
KILLS = int(os.environ.get("ARBIG_CHAOS_KILLS", "60"))
VICTIMS = ("gateway", "trading", "strategy", "market", "exchange", "redis", "web")


def test_nothing_is_lost_and_nothing_sent_twice_whatever_is_killed_and_when(tmp_path: Path) -> None:
    """Kills come before the last one's victim is well again, too; at the end the books agree to the last lot."""
    draw = random.Random(SEED)
    house = churning_house(tmp_path, port_offset=2400)
    done = 0
    with house.running():
        until(lambda: len(exchange_trades(house)) > 5, 60, "the first trades")
        while done < KILLS:
            victim = draw.choice(VICTIMS)
            house.kill(victim)
            done += 1
            time.sleep(draw.uniform(0.2, 5.0))
            if done % 10 == 0:
                until(lambda: is_whole(house), 120, f"ACTIVE again after {done} kills")
        until(lambda: is_whole(house), 120, "ACTIVE again after the last kill")
        for row in house.ask("strategy", "GET", "/strategies")["strategies"]:
            house.ask("strategy", "POST", f"/strategies/{row['strategy_name']}/stop")
        until(lambda: not house.ask("trading", "GET", "/orders")["orders"], 30, "no order working after the stop")
        until(lambda: not disagreements(house), 30, f"the books agree: {disagreements(house)}")
        orders, trades = len(exchange_orders(house)), len(exchange_trades(house))
    print(f"\nseed {SEED}: {done} kills, {orders} orders and {trades} trades at the exchange, books equal")
