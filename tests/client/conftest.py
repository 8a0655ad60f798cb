"""Web written by hand: it answers what a test tells it to, over real HTTP and a real WebSocket."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import JSONResponse
from starlette.websockets import WebSocketDisconnect

TOKEN = "right"


@dataclass
class PretendedWeb:
    """`answers`: (method, path) -> (status, body). `lines`: what each WebSocket connection sends, then it closes."""

    answers: dict[tuple[str, str], tuple[int, Any]] = field(default_factory=dict)
    lines: list[list[dict[str, Any]]] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    heard: list[tuple[str, str, Any]] = field(default_factory=list)
    more: asyncio.Event = field(default_factory=asyncio.Event)
    url: str = ""

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.api_route("/api/v1/{path:path}", methods=["GET", "POST", "DELETE"])
        async def answer(path: str, request: Request) -> JSONResponse:
            if request.headers["authorization"] != f"Bearer {TOKEN}":
                return JSONResponse({"detail": "wrong token: expected the content of data/run/token"}, 401)
            body = await request.json() if await request.body() else dict(request.query_params)
            self.heard.append((request.method, f"/{path}", body))
            status, content = self.answers[request.method, f"/{path}"]
            return JSONResponse(content, status)

        @app.websocket("/ws")
        async def line(wire: WebSocket) -> None:
            if wire.headers["authorization"] != f"Bearer {TOKEN}":
                await wire.close(4401)
                return
            await wire.accept()
            await self._hear(wire)
            for frame in self.lines.pop(0) if self.lines else ():
                await wire.send_json(frame)
            try:
                if self.lines:
                    await wire.close(1013, "slow client: a message was not taken")
                else:
                    await self._hear(wire)
                    await wire.receive_text()
            except WebSocketDisconnect:
                return

        return app

    async def _hear(self, wire: WebSocket) -> None:
        self.requests.append(json.loads(await wire.receive_text()))
        self.more.set()

    async def has_heard(self, count: int) -> None:
        while len(self.requests) < count:
            self.more.clear()
            await self.more.wait()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[PretendedWeb]:
        server = uvicorn.Server(uvicorn.Config(self.app(), log_config=None, lifespan="off", ws="websockets-sansio"))
        listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        serving = asyncio.ensure_future(server.serve([listening]))
        try:
            yield self
        finally:
            server.should_exit = server.force_exit = True
            await serving


@pytest.fixture
def web() -> PretendedWeb:
    return PretendedWeb()
