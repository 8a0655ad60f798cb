"""The whole house on a broker's counter: ticks, orders, trades through CtpConnector; a Gateway killed in the middle.

The counter's truth is a process of its own; the Gateway differs from the shipped one in its two API classes alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from books import disagreements, exchange_trades, exchange_truth
from churning import SYMBOLS, churning_house
from ctp_house import Counter, is_trading, standing
from house import House, until

pytestmark = pytest.mark.processes


def test_a_house_on_a_brokers_counter_trades_and_survives_its_gateways_death(
    tmp_path: Path, short_folder: Path
) -> None:
    """No exchange of ours runs; the books equal the counter's, and no request is inserted twice."""
    house = churning_house(tmp_path / "house", 3050)
    house.edit("arbig.yaml", gateway="ctp", mode="live", account_id="broker-1", symbols=list(SYMBOLS))
    house.edit("simulation.yaml", history_days=0)
    counter = Counter(house, short_folder / "counter.sock")
    try:
        with standing(house, short_folder / "counter.sock"):
            until(lambda: is_trading(house), 120, "everything up, connected, ACTIVE")
            status = house.status()
            assert "exchange" not in [row["name"] for row in status["services"]]
            assert {name: lamp["on"] for name, lamp in status["lamps"].items()} == {
                "trading": True,
                "market_data": True,
            }
            assert "trading front on  market data front on" in house.arbig("status", check=False).stdout
            until(lambda: len(exchange_trades(house)) >= 4, 60, "trades before the kill")
            house.kill("gateway")
            before = len(exchange_trades(house))
            until(lambda: is_trading(house), 60, "the Gateway back, reconciled, ACTIVE")
            until(lambda: len(exchange_trades(house)) >= before + 4, 60, "trades after the kill")
            assert {"au2512", "ag2512"} <= {one["symbol"] for one in house.ask("gateway", "GET", "/rates")["rates"]}
            cut = house.ask("gateway", "POST", "/disconnect", {"seconds": 1})
            assert "only the simulated exchange is disconnected on demand" in json.dumps(cut)
            for row in house.ask("strategy", "GET", "/strategies")["strategies"]:
                house.ask("strategy", "POST", f"/strategies/{row['strategy_name']}/stop")
            until(lambda: not house.ask("trading", "GET", "/orders")["orders"], 30, "no order working after the stop")
            counter.stand_still()
            until(lambda: not disagreements(house), 40, "the books agree")
            assert counter.control.ask("count", "reqOrderInsert") == exchange_truth(house).orders_asked
    finally:
        counter.close()


def paper_reports(house: House, *, trades: bool) -> list[dict[str, Any]]:
    """What the paper counter has written down, oldest first."""
    with house.database("paper/paper.db") as db:
        words = "SELECT report FROM reports WHERE is_trade = ? ORDER BY flow"
        return [json.loads(row[0]) for row in db.execute(words, (trades,))]


def paper_disagreements(house: House) -> list[str]:
    """The paper counter's own book against ours: orders one to one, trades one to one, lots."""
    theirs = {
        report["order_ref"]: (report["status"], report["traded"]) for report in paper_reports(house, trades=False)
    }
    with house.database("db/gateway.db") as db:
        journal = dict(db.execute("SELECT order_ref, request_id FROM orders WHERE order_ref IS NOT NULL"))
    with house.database("db/trading.db") as db:
        ours = {row[0]: row[1:] for row in db.execute("SELECT request_id, status, traded FROM orders")}
        traded = sorted(db.execute("SELECT trade_id, price, volume FROM trades").fetchall())
    told = [(one["trade_id"], one["price"], one["volume"]) for one in paper_reports(house, trades=True)]
    lots = sum(one["volume"] * (1 if one["direction"] == "LONG" else -1) for one in paper_reports(house, trades=True))
    held = house.ask("trading", "GET", "/positions")["positions"]
    net = sum(row["volume"] * (1 if row["direction"] == "LONG" else -1) for row in held)
    return [
        *(f"{ref}: paper {state}, ours {ours.get(journal.get(ref))}"
          for ref, state in theirs.items() if ours.get(journal.get(ref)) != state),
        *([] if traded == sorted(told) else [f"trades: paper {len(told)}, ours {len(traded)}"]),
        *([] if lots == net else [f"lots: paper {lots}, ours {net}"]),
    ]  # fmt: skip


@pytest.mark.chaos
def test_a_paper_house_trades_on_the_brokers_ticks_and_no_order_reaches_the_counter_whoever_is_killed(
    tmp_path: Path, short_folder: Path
) -> None:
    """The counter's own count is nought, its trading front was never entered, and our books are the paper counter's."""
    house = churning_house(tmp_path / "house", 5830)
    house.edit("arbig.yaml", gateway="ctp", mode="paper", account_id="paper", symbols=list(SYMBOLS))
    house.edit("simulation.yaml", history_days=0)
    crash = short_folder / "crash"
    house.environment["ARBIG_CRASH"] = f"@{crash}"
    counter = Counter(house, short_folder / "counter.sock")
    try:
        with standing(house, short_folder / "counter.sock"):
            until(lambda: is_trading(house), 120, "everything up, connected, ACTIVE")

            def trades_again(words: str, seconds: float = 90) -> None:
                before = len(paper_reports(house, trades=True))
                until(lambda: len(paper_reports(house, trades=True)) >= before + 4, seconds, f"trades {words}")

            trades_again("at first")
            for point in (
                "paper.before_commit",
                "paper.after_commit",
                "gw.after_commit",
                "gw.after_send",
                "gw.on_trade",
            ):
                crash.write_text(point)
                until(lambda: crash.with_suffix(".hit").exists(), 60, f"{point} reached")
                crash.with_suffix(".hit").unlink()
                until(lambda: is_trading(house), 90, f"ACTIVE after {point}")
            for service in ("gateway", "trading"):
                house.kill(service)
                until(lambda: is_trading(house), 90, f"ACTIVE after {service} was killed")
            trades_again("after the kills")
            for row in house.ask("strategy", "GET", "/strategies")["strategies"]:
                house.ask("strategy", "POST", f"/strategies/{row['strategy_name']}/stop")
            until(lambda: not house.ask("trading", "GET", "/orders")["orders"], 60, "no order working after the stop")
            until(lambda: not paper_disagreements(house), 60, "the books agree")
            calls = ("reqOrderInsert", "reqOrderAction", "reqAuthenticate", "reqSettlementInfoConfirm", "reqQryOrder")
            assert {name: counter.control.ask("count", name) for name in calls} == dict.fromkeys(calls, 0)
            assert len(paper_reports(house, trades=True)) >= 8
    finally:
        counter.close()
