"""Web in a thread of its own, over the bus in memory, with small siblings that answer what a test tells them to."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp

from arbig.bus.memory import MemoryBus
from arbig.runtime.clock import WallClock
from arbig.runtime.settings import PORTS, Settings, load_settings
from arbig.runtime.witness import Witness
from arbig.web.door import Role
from arbig.web.service import WebService

ROOT = Path(__file__).parents[2]
SIBLINGS = ("gateway", "market", "trading", "strategy")


def free_offset() -> int:
    """A port offset at which none of our ports is taken. Each worker looks in a range of its own: two looking at once
    would find the same one free."""
    first = 20_000 + 2_000 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    for offset in range(first, first + 1_000, 17):
        if all(_is_free(port + offset) for name, port in PORTS.items() if name != "redis"):
            return offset
    raise RuntimeError("no free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(root=ROOT, config=ROOT / "config", data=tmp_path / "data", port_offset=free_offset())


@dataclass
class Siblings:
    """What the other services answer: (service, method, path) -> (status, body). `heard`: what they were asked."""

    answers: dict[tuple[str, str, str], tuple[int, Any]] = field(default_factory=dict)
    heard: list[tuple[str, str, str, Any]] = field(default_factory=list)
    held: asyncio.Event | None = None

    def app(self, service: str) -> FastAPI:
        app = FastAPI()

        @app.api_route("/{path:path}", methods=["GET", "POST", "PATCH", "DELETE"])
        async def answer(path: str, request: Request) -> JSONResponse:
            body = await request.json() if await request.body() else dict(request.query_params)
            self.heard.append((service, request.method, f"/{path}", body))
            if self.held and service == "strategy":
                await self.held.wait()
            status, content = self.answers.get((service, request.method, f"/{path}"), (404, {"detail": "not here"}))
            return JSONResponse(content, status_code=status)

        return app


class Running:
    """A loop in a thread; servers and coroutines are given to it from the test."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self._servers: list[tuple[uvicorn.Server, Any]] = []

    def do(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(20)

    def call(self, function: Callable[[], Any]) -> Any:
        async def calling() -> Any:
            return function()

        return self.do(calling())

    def serve(self, app: ASGIApp, port: int) -> None:
        """On a socket that listens already: whoever comes early waits in its queue."""
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", ws="websockets-sansio"))
        listening = socket.create_server(("127.0.0.1", port))
        serving = asyncio.run_coroutine_threadsafe(server.serve([listening]), self.loop)
        self._servers.append((server, serving))

    def end(self) -> None:
        for server, serving in self._servers:
            server.should_exit = server.force_exit = True
            serving.result(20)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(20)
        self.loop.close()


@dataclass
class Web:
    """The running Web, as seen from outside and from inside."""

    settings: Settings
    service: WebService
    bus: MemoryBus
    app: FastAPI
    running: Running
    siblings: Siblings

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings.port('web')}"

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.settings.token}"}

    def http(self, **given: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, trust_env=False, timeout=10, **given)

    def as_program(self) -> httpx.Client:
        return self.http(headers=self.bearer)

    def as_viewer(self) -> httpx.Client:
        return self.http(headers={"Authorization": f"Bearer {self.settings.viewer_token}"})

    @contextmanager
    def as_browser(self, role: Role = "trader") -> Iterator[httpx.Client]:
        """Logged in by a ticket, with the cookie."""
        with self.http() as client:
            client.get("/login", params={"ticket": self.ticket(role)})
            yield client

    def ticket(self, role: Role = "trader") -> str:
        given: str = self.running.call(lambda: self.service.new_ticket(role))
        return given

    def start_sibling(self, name: str) -> None:
        self.running.serve(self.siblings.app(name), self.settings.port(name))

    def hold_strategy(self) -> None:
        """A Strategy service that hears and does not answer."""
        self.start_sibling("strategy")
        self.siblings.held = asyncio.Event()

    def let_go(self) -> None:
        held = self.siblings.held
        assert held is not None
        self.running.call(held.set)


@pytest.fixture
def web(settings: Settings) -> Iterator[Web]:
    running, bus = Running(), MemoryBus()
    service = running.call(lambda: WebService(settings, bus, WallClock()))
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    running.call(lambda: service.routes(app))
    running.do(service.start())
    running.serve(Witness(app, settings, WallClock(), service.who), settings.port("web"))
    yield Web(settings, service, bus, app, running, Siblings())
    running.do(service.stop())
    running.end()
