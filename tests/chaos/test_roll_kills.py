"""kill -9 inside a roll, on a whole house: at each of its steps, of Trading and of Strategy. The lots, the parameters
and the variables are in the next contract when it is over, each lot moved once."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from itertools import cycle
from typing import Any

import pytest
from house import House, until

from arbig.runtime.crash import POINTS

pytestmark = [pytest.mark.chaos, pytest.mark.processes, pytest.mark.timeout(1500)]

OFFSET = 5480
LOTS = 2
STEPS = [point.name for point in POINTS if point.name.startswith(("tr.roll_", "st.roll_"))]
HOLDER = f'''"""Buys once, after the auction, and holds."""

from arbig import CtaTemplate, TickData


class Holder(CtaTemplate):
    parameters = ["lots"]
    variables = ["bought"]
    lots = {LOTS}
    bought = False

    def on_init(self) -> None:
        pass

    def on_tick(self, tick: TickData) -> None:
        if self.trading and not self.bought and tick.ask_volume_1 and tick.datetime.hour != 20:
            self.bought = True
            self.buy(round(tick.ask_price_1 * 1.003 / 0.02) * 0.02, self.lots)
'''


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("rolls"), port_offset=OFFSET)
    house.edit("simulation.yaml", speed=20)
    house.edit("arbig.yaml", symbols=["au2512", "au2602"])
    for file in (house.config / "strategies").glob("*.yaml"):
        file.unlink()
    (house.home / "strategies" / "holder.py").write_text(HOLDER)
    house.edit("strategies/holder.yaml", strategy_name="Holder", symbol="au2512", exchange="SHFE")
    house.environment["ARBIG_CRASH"] = f"@{house.home / 'crash'}"
    with house.running():
        yield house


def book(house: House) -> dict[str, int]:
    rows = house.ask("trading", "GET", "/positions")["strategies"]
    return {row["symbol"]: row["volume"] for row in rows if row["strategy_name"] == "Holder" and row["volume"]}


def counters(house: House) -> dict[str, int]:
    """What the account holds, as the exchange itself answers."""
    rows = house.ask("gateway", "GET", "/positions")["positions"]
    net: Counter[str] = Counter()
    for row in rows:
        net[row["symbol"]] += row["volume"] if row["direction"] == "LONG" else -row["volume"]
    return {symbol: volume for symbol, volume in net.items() if volume}


def strategy(house: House) -> dict[str, Any]:
    rows = house.ask("strategy", "GET", "/strategies")["strategies"]
    return next(row for row in rows if row["strategy_name"] == "Holder")


def over(house: House, job_id: str) -> dict[str, Any] | None:
    jobs: list[dict[str, Any]] = house.ask("trading", "GET", "/rolls")["rolls"]
    return next((job for job in jobs if job["id"] == job_id and job["state"] in ("DONE", "STOPPED")), None)


def test_a_roll_moves_each_lot_once_whoever_dies_at_which_step(house: House) -> None:
    until(lambda: book(house) == {"au2512": LOTS}, 180, "it holds its lots")
    crash, hit = house.home / "crash", house.home / "crash.hit"
    for step, target in zip(STEPS, cycle(("au2602", "au2512")), strict=False):
        hit.unlink(missing_ok=True)
        crash.write_text(step)
        roll = lambda target=target: house.ask("trading", "POST", "/rolls", {"strategy_name": "Holder", "to": target})
        told = until(lambda roll=roll: "id" in (said := roll()) and said, 60, f"{step}: the roll is taken")
        until(lambda step=step: hit.read_text() == step, 60, f"death at {step}")
        done = until(lambda told=told: over(house, told["id"]), 120, f"{step}: the roll is over")
        assert (done["state"], done["closed"], done["opened"]) == ("DONE", LOTS, LOTS), (step, done)
        until(lambda target=target: book(house) == {target: LOTS}, 30, f"{step}: its book")
        until(lambda target=target: counters(house) == {target: LOTS}, 30, f"{step}: the account")
        now = strategy(house)
        assert (now["symbol"], now["state"], now["parameters"]["lots"], now["variables"]["bought"]) == (
            target, "RUNNING", LOTS, True,
        ), (step, now)  # fmt: skip
    orders = house.ask("gateway", "GET", "/orders?fresh=true")["orders"]
    assert {1} == set(Counter(order["request_id"] for order in orders).values())
    print(f"\n{len(STEPS)} deaths inside a roll: {', '.join(STEPS)}", file=sys.stderr)
