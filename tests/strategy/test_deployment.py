"""A strategy comes into a running house, is changed and leaves it: over HTTP, as the console and a notebook do it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient

from arbig.domain.messages import Status

CODE = """
from typing import Annotated
from arbig import CtaTemplate, Range
class Buyer(CtaTemplate):
    size: Annotated[int, Range(1, 50)] = 1
    seen = 0
    parameters = ["size"]
    variables = ["seen"]
    def on_init(self): pass
    def on_tick(self, tick):
        self.seen += 1
        if self.trading and not self.pos: self.buy(tick.last_price, self.size)
class Other(CtaTemplate):
    def on_init(self): pass
"""
BUYER = {"class_name": "Buyer", "symbol": "au2512", "params": {"size": 2}}


@asynccontextmanager
async def house(floor):
    """A Strategy service and what speaks to it."""
    async with floor.open() as desk:
        app = FastAPI()
        desk.service.routes(app)
        async with AsyncClient(transport=ASGITransport(app), base_url="http://strategy") as http:
            yield desk, http


async def first_tick(desk):
    """Sent until somebody listens: ticks may be lost."""
    while not desk.service.subscriber.ticks:
        await desk.tick(800)
        await asyncio.sleep(0.005)


def on(floor, play):
    async def flow():
        async with house(floor) as (desk, http):
            await play(desk, http)

    asyncio.run(flow())


@pytest.fixture
def code(floor):
    floor.code(CODE)
    return floor


def files(floor):
    return sorted(path.name for path in (floor.root / "config" / "strategies").iterdir())


def test_a_deployed_strategy_trades_at_once_and_is_there_after_a_restart(code):
    async def play(desk, http):
        answer = await http.post("/strategies", json=BUYER | {"risk": {"max_position": 3}})
        told = answer.json()
        assert (answer.status_code, told["state"], told["attached"]) == (201, "RUNNING", False)
        await first_tick(desk)
        (request,) = await desk.some_requests(1)
        assert (request.strategy_name, request.volume, request.run_id) == ("Buyer", 2, told["run_id"])

    on(code, play)
    written = yaml.safe_load((code.root / "config" / "strategies" / "Buyer.yaml").read_text())
    assert written == {"strategy_name": "Buyer", "symbol": "au2512", "params": {"size": 2},
                       "risk": {"max_position": 3}, "enabled": True}  # fmt: skip

    async def again(desk, http):
        assert desk.live("Buyer").state == "RUNNING"

    on(code, again)


def test_the_same_deployment_twice_is_one_run(code):
    async def play(desk, http):
        first = (await http.post("/strategies", json=BUYER)).json()
        second = (await http.post("/strategies", json=BUYER | {"symbol": "au2512.SHFE"})).json()
        assert (second["run_id"], second["attached"]) == (first["run_id"], True)

    on(code, play)


def test_another_version_needs_to_be_asked_for_and_keeps_what_the_strategy_knows(code):
    async def play(desk, http):
        first = (await http.post("/strategies", json=BUYER)).json()
        await first_tick(desk)
        await desk.fill((await desk.some_requests(1))[0])
        await desk.until(lambda: desk.live("Buyer").describe()["pos"] == 2, "the fill")
        refused = await http.post("/strategies", json=BUYER | {"params": {"size": 1}})
        assert refused.status_code == 409
        assert "is RUNNING with other parameters; say replace=True" in refused.json()["detail"]
        code.code(CODE.replace("self.seen += 1", "self.seen += 10"))
        refused = await http.post("/strategies", json=BUYER)
        assert "is RUNNING with other code; say replace=True" in refused.json()["detail"]
        second = (await http.post("/strategies", json=BUYER | {"replace": True})).json()
        assert second["run_id"] != first["run_id"] and second["code_hash"] != first["code_hash"]
        assert (second["pos"], second["variables"]["seen"], second["state"]) == (2, 1, "RUNNING")

    on(code, play)


def test_a_change_waits_for_no_order_that_works_unless_forced(code):
    async def play(desk, http):
        await http.post("/strategies", json=BUYER)
        await first_tick(desk)
        (request,) = await desk.some_requests(1)
        await desk.status(request, Status.NOTTRADED)
        await desk.until(lambda: desk.live("Buyer").describe()["working_orders"] != [], "the order")
        refused = await http.patch("/strategies/Buyer", json={"params": {"size": 5}})
        assert refused.status_code == 409 and "1 of its orders work" in refused.json()["detail"]
        forced = asyncio.ensure_future(http.patch("/strategies/Buyer", json={"params": {"size": 5}, "force": True}))
        cancel = (await desk.some_requests(2))[1]
        assert (cancel.cmd_type, cancel.order_request_id) == ("CANCEL_ORDER", request.request_id)
        assert not forced.done()
        await desk.status(request, Status.CANCELLED)
        told = (await forced).json()
        assert (told["parameters"], told["state"]) == ({"size": 5}, "RUNNING")

    on(code, play)


@pytest.mark.parametrize(
    ("wish", "status", "line"),
    [
        ({"class_name": "Buyerr"}, 404, "no such class in strategies/*.py. Did you mean: Buyer?"),
        ({"params": {"sise": 1}}, 422, "params.sise: unknown parameter of Buyer. Did you mean: size?"),
        ({"params": {"size": "two"}}, 422, "params.size: found 'two', expected an integer; write e.g. size: 1"),
        ({"params": {"size": 51}}, 422, "params.size: found 51, expected 1 to 50; write e.g. size: 1"),
        ({"symbol": "au9999"}, 422, "symbol: "),
        ({"symbol": None}, 422, "found neither symbol nor symbols"),
        ({"risk": {"max_position": 0}}, 422, "max_position"),
        ({"mode": "live"}, 403, "on the simulated exchange everything is paper"),
        ({"code_hash": "0" * 64}, 409, "is not the code you have"),
        ({"strategy_name": "../evil"}, 422, "strategy_name"),
    ],
)
def test_a_bad_wish_is_refused_in_one_line_and_changes_nothing(code, wish, status, line):
    async def play(desk, http):
        answer = await http.post("/strategies", json=BUYER | wish)
        assert answer.status_code == status, answer.text
        assert line in answer.text
        assert (desk.service.engine.strategies, files(code)) == ({}, [])

    on(code, play)


def test_code_that_cannot_be_made_is_refused_with_its_traceback_and_the_old_run_goes_on(code):
    async def play(desk, http):
        first = (await http.post("/strategies", json=BUYER)).json()
        code.code(CODE.replace("from typing", "import no_such_module\nfrom typing"))
        answer = await http.post("/strategies", json=BUYER | {"replace": True})
        assert answer.status_code == 422
        assert "No module named 'no_such_module'" in answer.json()["detail"]
        assert (desk.live("Buyer").state, desk.live("Buyer").desk.run_id) == ("RUNNING", first["run_id"])

    on(code, play)


def test_a_strategy_with_lots_is_not_removed_unless_forced_and_its_file_is_laid_aside(code):
    async def play(desk, http):
        await http.post("/strategies", json=BUYER)
        await http.post("/strategies", json={"class_name": "Other", "symbol": "ag2512"})
        await first_tick(desk)
        await desk.fill((await desk.some_requests(1))[0])
        await desk.until(lambda: desk.live("Buyer").describe()["pos"] == 2, "the fill")
        refused = await http.delete("/strategies/Buyer")
        assert refused.status_code == 409 and "holds +2 au2512; flatten it first" in refused.json()["detail"]
        removed = (await http.delete("/strategies/Buyer", params={"force": True})).json()
        assert yaml.safe_load(Path(removed["file"]).read_text())["strategy_name"] == "Buyer"
        assert (list(desk.service.engine.strategies), files(code)) == (["Other"], ["Other.yaml"])

    on(code, play)

    async def again(desk, http):
        assert list(desk.service.engine.strategies) == ["Other"]

    on(code, again)


def test_a_strategy_that_comes_back_begins_anew(code):
    async def play(desk, http):
        await http.post("/strategies", json=BUYER)
        await first_tick(desk)
        await desk.until(
            lambda: desk.live("Buyer").variables.get("seen") == 1 or desk.live("Buyer").desk.orders, "a tick"
        )
        request = (await desk.some_requests(1))[0]
        await desk.status(request, Status.CANCELLED)
        await desk.until(lambda: not desk.live("Buyer").desk.orders, "the cancel")
        await http.delete("/strategies/Buyer")
        told = (await http.post("/strategies", json=BUYER)).json()
        assert told["variables"]["seen"] == 0

    on(code, play)


def test_a_contract_that_is_replaced_is_no_longer_heard(code):
    async def play(desk, http):
        await http.post("/strategies", json={"class_name": "Other", "symbol": "au2512"})
        await http.post("/strategies", json={"class_name": "Other", "symbol": "ag2512", "replace": True})
        (live,) = [one for hearers in desk.service.engine._by_symbol.values() for one in hearers]
        assert live.legs == ("ag2512",)

    on(code, play)


def test_what_stood_behind_a_run_can_be_read_for_ever(code):
    async def play(desk, http):
        first = (await http.post("/strategies", json=BUYER)).json()
        code.code("# another day\n" + CODE)
        await http.post("/strategies", json=BUYER | {"params": {"size": 1}, "replace": True})
        was = (await http.get(f"/strategies/Buyer/runs/{first['run_id']}")).json()
        assert (was["source"], was["params"], was["code_hash"]) == (CODE, {"size": 2}, first["code_hash"])
        assert (await http.get("/strategies/Buyer/runs/never")).status_code == 404

    on(code, play)


def test_a_value_out_of_range_is_refused_in_an_edit_too_and_the_run_goes_on(code):
    async def play(desk, http):
        first = (await http.post("/strategies", json=BUYER)).json()
        refused = await http.patch("/strategies/Buyer", json={"params": {"size": 0}})
        assert (refused.status_code, refused.json()["detail"]) == (
            422,
            "params.size: found 0, expected 1 to 50; write e.g. size: 1",
        )
        assert (desk.live("Buyer").desk.run_id, desk.live("Buyer").state) == (first["run_id"], "RUNNING")

    on(code, play)


# ---- to the next contract: what Trading's roll asks for

BINDING = {"symbol": "au2512", "to": "au2602", "then": "RUNNING"}


def test_at_rest_for_a_roll_it_hears_nothing_and_is_not_to_be_changed(code):
    """Also after a restart of the service; then it is bound, once, with what it knew."""

    async def play(desk, http):
        await http.post("/strategies", json=BUYER)
        await first_tick(desk)
        (request,) = await desk.some_requests(1)
        await desk.status(request, Status.NOTTRADED)
        await desk.until(lambda: desk.live("Buyer").desk.orders, "the order")
        for _ in range(2):
            assert (await http.post("/strategies/Buyer/hold")).json()["state"] == "ROLLING"
        assert (await desk.some_requests(2))[1].cmd_type == "CANCEL_ORDER"
        changes = (
            http.post("/strategies/Buyer/start"),
            http.post("/strategies", json=BUYER),
            http.patch("/strategies/Buyer", json={"params": {"size": 3}}),
            http.delete("/strategies/Buyer"),
        )
        for answer in await asyncio.gather(*changes):
            assert answer.status_code == 409 and "lots move to the next contract" in answer.json()["detail"]
        await desk.fill(request)  # it was faster than the cancel: counted, and none of its code's business
        await desk.until(lambda: desk.live("Buyer").describe()["pos"] == 2, "the fill")

    on(code, play)

    async def again(desk, http):
        assert desk.live("Buyer").state == "ROLLING"
        refused = await http.post("/strategies/Buyer/bind", json=BINDING | {"to": "au9999"})
        assert refused.status_code == 422 and desk.live("Buyer").state == "ROLLING"
        bound = (await http.post("/strategies/Buyer/bind", json=BINDING)).json()
        assert (bound["symbols"], bound["state"], bound["variables"]["seen"]) == (["au2602"], "RUNNING", 1)
        repeated = (await http.post("/strategies/Buyer/bind", json=BINDING)).json()
        assert repeated["run_id"] == bound["run_id"]
        (live,) = [one for hearers in desk.service.engine._by_symbol.values() for one in hearers]
        assert live.legs == ("au2602",)

    on(code, again)


@pytest.mark.parametrize("then", ["PAUSED", "STOPPED"])
def test_bound_again_it_is_as_it_was(code, then):
    async def play(desk, http):
        await http.post("/strategies", json=BUYER)
        await http.post("/strategies/Buyer/hold")
        bound = (await http.post("/strategies/Buyer/bind", json=BINDING | {"then": then})).json()
        assert (bound["symbols"], bound["state"]) == (["au2602"], then)

    on(code, play)


def test_a_roll_that_was_stopped_gives_it_back_where_it_was(code):
    async def play(desk, http):
        await http.post("/strategies", json=BUYER)
        await http.post("/strategies/Buyer/hold")
        bound = (await http.post("/strategies/Buyer/bind", json=BINDING | {"to": "au2512"})).json()
        assert (bound["symbols"], bound["state"]) == (["au2512"], "RUNNING")

    on(code, play)
