"""Every service's door: loopback is no permission. No route but /health without the token, none under another name."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from fastapi.routing import APIRoute

from arbig.bus.memory import MemoryBus
from arbig.domain.messages import SHANGHAI
from arbig.gateway.service import GatewayService
from arbig.market.service import MarketService
from arbig.runtime.audit import trail_of
from arbig.runtime.clock import ManualClock
from arbig.runtime.http import PART_HEADER
from arbig.runtime.service import Door, Life, Service, _Server
from arbig.runtime.settings import Settings, load_settings
from arbig.runtime.witness import Witness
from arbig.strategy.service import StrategyService
from arbig.trading.service import TradingService

ROOT = Path(__file__).parents[2]
BEHIND_THE_TOKEN = (GatewayService, MarketService, TradingService, StrategyService)  # Web's: tests/web/test_guard.py


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(root=ROOT, data=tmp_path, port_offset=3410)


@pytest.fixture(params=BEHIND_THE_TOKEN, ids=lambda kind: kind.name)
def life(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Life]:
    """A service with all its routes, as it stands before its first step."""
    clock = ManualClock(datetime(2026, 1, 5, 9, 0, tzinfo=SHANGHAI))
    kind: type[Service] = request.param
    life = Life(kind, settings, clock)
    life.service = kind(settings, MemoryBus(), clock)
    life.app = life._face()
    life.service.routes(life.app)
    yield life
    asyncio.run(life.service.stop())


def doors_of(life: Life) -> set[tuple[str, str]]:
    routes = [route for route in life.app.routes if isinstance(route, APIRoute)]
    return {(method, re.sub(r"\{[^}]*\}", "au2512", route.path)) for route in routes for method in route.methods}


def knock(life: Life, doors: set[tuple[str, str]], headers: dict[str, str]) -> dict[tuple[str, str], int]:
    async def each() -> dict[tuple[str, str], int]:
        transport = httpx.ASGITransport(Door(life))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as stranger:
            return {door: (await stranger.request(*door, headers=headers)).status_code for door in doors}

    return asyncio.run(each())


def test_no_route_but_health_opens_without_the_token(life: Life) -> None:
    doors = doors_of(life) - {("GET", "/health")}
    assert {("GET", "/status"), ("GET", "/ready"), ("GET", "/metrics")} < doors
    viewer = {"Authorization": f"Bearer {life.settings.viewer_token}"}
    for headers in ({}, viewer, {"Authorization": "Bearer " + "0" * 64}, {"Authorization": "Basic YTpi"}):
        assert dict.fromkeys(doors, 401) == knock(life, doors, headers)
    assert {("GET", "/health"): 200} == knock(life, {("GET", "/health")}, {})


def test_no_route_opens_under_another_name_even_with_the_token(life: Life) -> None:
    """A hostile page whose name leads to this machine (DNS rebinding) is a stranger."""
    doors = doors_of(life)
    for host in ("evil.example", "evil.example:8000", "127.0.0.1.evil.example", ""):
        headers = {"Authorization": f"Bearer {life.settings.token}", "Host": host}
        assert dict.fromkeys(doors, 421) == knock(life, doors, headers)


def test_what_is_posted_straight_to_a_service_is_a_line_of_the_trail(life: Life) -> None:
    """With the services' token or without one; what the parts of the house ask of one another is none."""

    async def posted() -> list[int]:
        transport = httpx.ASGITransport(Witness(Door(life), life.settings, life.clock, life.who))
        bearer = {"Authorization": f"Bearer {life.settings.token}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
            visitors: list[dict[str, str]] = [
                bearer,
                bearer | {PART_HEADER: "jupyter"},
                {},
                bearer | {PART_HEADER: "web"},
            ]
            return [(await client.post("/orders", headers=headers)).status_code for headers in visitors]

    assert [503, 503, 401, 503] == asyncio.run(posted())
    rows = trail_of(life.settings).rows()
    assert ["somebody with the services' token", "jupyter with the services' token", "stranger"] == [
        r.who for r in rows
    ]
    assert [("POST /orders", "-> 401 a bearer token is needed")] == [(row.action, row.what) for row in rows[2:]]


def test_no_service_publishes_its_own_description(life: Life) -> None:
    paths = {path for _, path in doors_of(life)}
    assert not paths & {"/docs", "/redoc", "/openapi.json"}


def test_every_service_listens_on_this_machine_only(life: Life) -> None:
    assert "127.0.0.1" == _Server(life).config.host


def test_a_websocket_at_a_service_that_starts_is_told_to_wait_and_not_that_its_token_is_wrong() -> None:
    settings = SimpleNamespace(host=lambda name: "127.0.0.1")
    kind = SimpleNamespace(name="web", early_paths=frozenset())
    life = SimpleNamespace(settings=settings, kind=kind, admits=lambda _: True, state="starting", waiting=None)
    said = []

    async def send(message):
        said.append(message)

    scope = {"type": "websocket", "path": "/ws", "headers": [(b"host", b"127.0.0.1:8080")]}
    asyncio.run(Door(life)(scope, None, send))
    assert [("websocket.http.response.start", 503)] == [(one["type"], one["status"]) for one in said[:1]]
