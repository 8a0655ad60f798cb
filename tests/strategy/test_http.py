"""What the Strategy service answers: GET /strategies and a person's four commands."""

from __future__ import annotations

import asyncio

from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient

CODE = """
from arbig import CtaTemplate
class Quiet(CtaTemplate):
    def on_init(self): pass
"""
FIELDS = {"strategy_name", "class_name", "symbol", "state", "pos", "parameters", "variables", "stop_orders", "error",
          "traceback"}  # fmt: skip


def test_a_person_pauses_resumes_stops_and_starts(floor):
    floor.code(CODE)
    floor.yaml("strategy_name: Quiet\nsymbol: au2512\nexchange: SHFE\n")

    async def flow():
        async with floor.open() as desk:
            app = FastAPI()
            desk.service.routes(app)
            async with AsyncClient(transport=ASGITransport(app), base_url="http://strategy") as http:
                (shown,) = (await http.get("/strategies")).json()["strategies"]
                assert shown.keys() >= FIELDS
                assert (shown["state"], shown["symbol"]) == ("RUNNING", "au2512")
                states = []
                for command in ("pause", "resume", "stop", "start"):
                    answer = await http.post(f"/strategies/Quiet/{command}")
                    states.append(answer.json()["state"])
                assert states == ["PAUSED", "RUNNING", "STOPPED", "RUNNING"]
                unknown = await http.post("/strategies/Quiet/explode")
                assert (unknown.status_code, "expected one of: start, stop" in unknown.text) == (404, True)
                nobody = await http.post("/strategies/Nobody/start")
                assert (nobody.status_code, "there are: Quiet" in nobody.text) == (404, True)
                assert desk.service.status()["running"] == 1

    asyncio.run(flow())


def test_a_mended_file_gets_the_data_of_its_contract(floor):
    """It could not even tell its symbol when the service started."""
    floor.code(
        CODE.replace("def on_init(self): pass", "def on_init(self): pass\n    def on_tick(self, tick): self.buy(1, 1)")
    )
    floor.yaml("strategy_name: Quiet\n")

    async def flow():
        async with floor.open() as desk:
            app = FastAPI()
            desk.service.routes(app)
            floor.yaml("strategy_name: Quiet\nsymbol: au2512\nexchange: SHFE\n")
            async with AsyncClient(transport=ASGITransport(app), base_url="http://strategy") as http:
                assert (await http.post("/strategies/Quiet/start")).json()["state"] == "RUNNING"
            await asyncio.sleep(0.01)
            await desk.tick(800)
            assert len(await desk.some_requests(1)) == 1

    asyncio.run(flow())
