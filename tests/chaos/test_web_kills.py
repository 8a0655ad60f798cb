"""kill -9 of Web inside each thing a person can ask for, with orders working: nothing is lost, nothing is done twice
when the same is asked again, and the audit trail says what Web did not live to see."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fuzzing import questions
from house import House, until

from arbig.store.trail import Trail

pytestmark = [pytest.mark.chaos, pytest.mark.processes, pytest.mark.timeout(1500)]

OFFSET = 5380
MOMENTS = ("web.before_forward", "web.after_forward")
STRATEGY = "MaRsiStrategy"


class Desk:
    """A person at Web who asks again when no answer came."""

    def __init__(self, house: House, crash: Path) -> None:
        self.house, self.crash = house, crash
        self.died = 0

    def ask(self, method: str, path: str, body: Any = None) -> httpx.Response:
        token = (self.house.data / "run" / "token").read_text().strip()
        address = f"http://127.0.0.1:{8080 + OFFSET}/api/v1{path}"
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.request(method, address, json=body, headers=headers, timeout=60, trust_env=False)

    def killed_inside(self, moment: str, method: str, path: str, body: Any = None) -> httpx.Response:
        """Asked once with Web dying at that moment, and again when it is back."""
        self.crash.write_text(moment)
        with pytest.raises(httpx.HTTPError):
            self.ask(method, path, body)
        assert self.crash.with_suffix(".hit").read_text() == moment
        self.died += 1
        return until(lambda: self.again(method, path, body), 60, f"{method} {path} answered by the next Web")

    def again(self, method: str, path: str, body: Any) -> httpx.Response | None:
        answer = self.ask(method, path, body)
        return None if answer.status_code == 503 else answer

    def order(self, name: str, price: float) -> dict[str, Any]:
        wish = {"symbol": "au2512", "direction": "LONG", "offset": "OPEN", "price": price, "volume": 1}
        return wish | {"request_id": name}

    def requests(self) -> Counter[str]:
        """How many orders of each request the counter itself has, through the Gateway."""
        rows = self.house.ask("gateway", "GET", "/orders?fresh=true")["orders"]
        return Counter(row["request_id"] for row in rows)

    def strategy(self) -> dict[str, Any]:
        rows = self.ask("GET", "/strategies").json()["strategies"]
        return next(row for row in rows if row["strategy_name"] == STRATEGY)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    house = House(tmp_path_factory.mktemp("kills"), port_offset=OFFSET)
    house.edit("simulation.yaml", speed=10)
    for file in (house.config / "strategies").glob("*.yaml"):
        file.unlink()
    crash = house.home / "crash"
    house.environment["ARBIG_CRASH"] = f"@{crash}"
    house.arbig("up", "--detach", "--port-offset", str(OFFSET), seconds=400)
    yield Desk(house, crash)
    house.arbig("down", check=False)


def bid(desk: Desk) -> float:
    """A price at which an order works: a percent below the last one."""
    tick = until(lambda: desk.ask("GET", "/ticks/au2512").json()["tick"], 60, "a tick")
    return round(tick["last_price"] * 0.99 / 0.02) * 0.02


def test_web_is_killed_inside_everything_a_person_asks_for(desk: Desk) -> None:
    desk.house.trades()
    until(lambda: desk.house.ask("trading", "GET", "/state")["state"] == "ACTIVE", 60, "trading is ACTIVE")
    price = round(bid(desk), 2)
    working = until(lambda: _accepted(desk.ask("POST", "/orders", desk.order("kept", price))), 120, "an order works")
    assert working

    for moment in MOMENTS:  # an order
        name = f"order-{moment}"
        answer = desk.killed_inside(moment, "POST", "/orders", desk.order(name, price))
        assert (202, name) == (answer.status_code, answer.json()["request_id"]), answer.text
        until(lambda name=name: desk.requests()[name] == 1, 20, f"{name} at the counter")

    deployment = {"class_name": STRATEGY, "symbol": "au2512", "mode": "paper"}
    first = desk.killed_inside(MOMENTS[1], "POST", "/strategies", deployment)  # it stands, and nobody was told
    again = desk.killed_inside(MOMENTS[0], "POST", "/strategies", deployment)
    assert (201, True, True) == (first.status_code, first.json()["attached"], again.json()["attached"]), first.text
    assert first.json()["run_id"] == again.json()["run_id"]

    for moment, window in zip(MOMENTS, (11, 13), strict=True):  # a parameter
        change = {"params": {_parameter(desk): window}, "force": True}
        answer = desk.killed_inside(moment, "PATCH", f"/strategies/{STRATEGY}", change)
        assert answer.status_code == 200, answer.text
        assert window == desk.strategy()["parameters"][_parameter(desk)]

    before = desk.requests()
    assert {1} == set(before.values()) and {"kept", *(f"order-{moment}" for moment in MOMENTS)} <= set(before)

    jobs = set()
    for moment in MOMENTS:  # a flatten
        answer = desk.killed_inside(moment, "POST", "/flatten", {"symbol": "au2512", "reason": "killed"})
        assert answer.status_code == 202, answer.text
        jobs.add(answer.json()["id"])
        until(lambda: _is_over(desk), 60, "flat")
    for moment in MOMENTS:  # a halt
        answer = desk.killed_inside(moment, "POST", "/halt", {"reason": "killed"})
        assert (200, {"trading": "HALTED", "gateway": "HALTED"}) == (answer.status_code, answer.json())

    after = desk.requests()
    assert {1} == set(after.values()), after
    orders = desk.ask("GET", "/orders?active=false&limit=1000").json()["orders"]
    assert set(after) == {
        row["request_id"] for row in orders
    }  # nothing at the counter that we do not know, or the other way
    assert [] == desk.ask("GET", "/orders").json()["orders"]
    assert 10 == desk.died
    trail = Trail(desk.house.data / "db" / "audit.db")
    unknown = [row.action for row in trail.rows(1000) if row.what.endswith("unknown: Web ended meanwhile")]
    assert ["order"] * 2 + ["deploy paper"] * 2 + ["edit strategy"] * 2 + ["flatten"] * 2 + ["halt"] * 2 == unknown
    assert trail.broken() is None
    print(f"\nWeb killed at {desk.died} moments; {len(after)} requests at the counter, each once", file=sys.stderr)


def test_whatever_is_asked_of_a_whole_house_nothing_in_it_answers_500(desk: Desk) -> None:
    """The services' own 500 would be Web's 503; their logs would name it."""
    token = (desk.house.data / "run" / "token").read_text().strip()
    home = f"http://127.0.0.1:{8080 + OFFSET}"
    with httpx.Client(
        base_url=home, headers={"Authorization": f"Bearer {token}"}, timeout=90, trust_env=False
    ) as client:
        counted = questions(client.get("/api/v1/openapi.json").json(), client.request, examples=12, chance=7)
    assert counted[422] and counted[404] and counted[200] and not counted[500], counted
    logs = {log.name: log.read_text() for log in (desk.house.data / "logs").glob("*.jsonl")}
    assert [] == [name for name, text in logs.items() if "Exception in ASGI application" in text]
    print(f"\nasked {counted.total()} times: {dict(counted)}", file=sys.stderr)


def _accepted(answer: httpx.Response) -> bool:
    assert answer.status_code == 202, answer.text
    return True


def _is_over(desk: Desk) -> bool:
    return all(job["state"] in ("DONE", "STOPPED") for job in desk.ask("GET", "/flatten").json()["flattens"])


def _parameter(desk: Desk) -> str:
    """A window of the strategy's."""
    names: Callable[[], list[str]] = lambda: [name for name in desk.strategy()["parameters"] if "window" in name]
    return names()[0]
