"""Web. In: every channel and stream, the services' queries. Out: /api/v1, /ws, log-in, the way to the console.
Keeps: tickets and ended sessions. It watches and passes on; it never writes to a stream."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs

import structlog
from fastapi import FastAPI, HTTPException, Request, WebSocket, WebSocketDisconnect
from fastapi.exceptions import RequestValidationError
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from arbig.bus.port import Bus, BusError
from arbig.runtime.audit import note
from arbig.runtime.clock import Clock
from arbig.runtime.control import Control, ControlError
from arbig.runtime.service import Service
from arbig.runtime.settings import Settings
from arbig.runtime.status import house_status
from arbig.web import pages
from arbig.web.alerts import alert_routes
from arbig.web.api import PREFIX, api_of, asked, audited, unreadable
from arbig.web.catalogue import catalogue_of
from arbig.web.description import description as description_of
from arbig.web.desk import desk_of
from arbig.web.door import SESSION_SECONDS, TRADER, Door, Role, cookie_name
from arbig.web.guard import Guard, Visitor, who_of
from arbig.web.health import health_of
from arbig.web.hub import Away, Hub, Past, RequestError, Slow
from arbig.web.pending import Pending
from arbig.web.research import research_of
from arbig.web.schedule import schedule_of

OPENAPI = f"{PREFIX}/openapi.json"
MAX_REQUEST_BYTES = 64 * 1024
GOODBYE_SECONDS = 0.2
THREADS = 64  # a question waits in one of them; a halt never waits behind questions
CLOSE_POLICY, CLOSE_TRY_AGAIN = 1008, 1013
CONNECTIONS = {"session": 16, "ticket": 16, "token": 64}
PAST: Mapping[str, tuple[str, dict[str, str], str]] = {
    "trade": ("/trades", {}, "trades"),
    "order_status": ("/orders", {"active": "false", "limit": "1000"}, "orders"),
    "position": ("/positions", {}, "positions"),
}
"""What Trading keeps of a stream: the route, its query, and where its rows stand in the answer."""

log = structlog.get_logger()


class WebService(Service):
    name: ClassVar[str] = "web"
    needs: ClassVar[str | None] = "strategy"
    websockets: ClassVar[bool] = True

    def __init__(self, settings: Settings, bus: Bus, clock: Clock) -> None:
        super().__init__(settings, bus, clock)
        self.door = Door(settings, clock)
        self.pending = Pending(settings.data / "db" / "web.db")
        self.hub = Hub(
            bus,
            clock,
            {
                "status": self.house_status,
                "account": self._view("trading", "/account"),
                "positions": self._view("trading", "/positions"),
                "orders": self._view("trading", "/orders", active="true"),
                "strategies": self._view("strategy", "/strategies"),
            },
            {topic: self._past(topic) for topic in PAST},
        )
        self._connections: Counter[str] = Counter()
        self._control = Control(settings)

    async def start(self) -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS, "web"))
        for begun in self.pending.left():
            note(self.settings, begun.who, begun.place, begun.action, f"{begun.what} -> unknown: Web ended meanwhile")
            self.pending.remove(begun.number)
        for watch in (
            self.hub.watch_channels,
            self.hub.watch_streams,
            self.hub.watch_heartbeats,
            self.hub.watch_views,
        ):
            self.spawn(watch(), name=watch.__name__)

    async def stop(self) -> None:
        await super().stop()
        self.pending.close()
        self.door.close()

    def status(self) -> dict[str, object]:
        return {"clients": self.hub.clients, "dropped": self.hub.dropped, "undecodable": self.hub.undecodable}

    def admits(self, connection: HTTPConnection) -> bool:
        """The guard, inside, knows sessions and tickets as well as the token."""
        return True

    def who(self, scope: Scope) -> str | None:
        return who_of(scope)

    # ---- what the routes ask

    async def house_status(self) -> dict[str, Any]:
        return await asyncio.to_thread(house_status, self.settings)

    async def control(self, name: str, action: str) -> dict[str, Any]:
        """Start, stop or restart one process. Web itself ends and is started again by the supervisor."""
        if name == self.name:
            return self._control_self(action)
        deeds = {"start": self._control.start, "stop": self._control.stop, "restart": self._control.restart}
        try:
            await asyncio.to_thread(deeds[action], name)
        except ControlError as error:
            raise HTTPException(404 if "no service" in str(error) else 503, str(error)) from None
        return {"service": name, "action": action, "done": True}

    def _control_self(self, action: str) -> dict[str, Any]:
        if action == "stop":
            raise HTTPException(409, "Web cannot start itself again once it is stopped; use: arbig down")
        if action == "restart":
            asyncio.get_running_loop().call_later(GOODBYE_SECONDS, os.kill, os.getpid(), signal.SIGTERM)
        return {"service": self.name, "action": action, "done": action == "start"}

    async def events(self, after: str | None, limit: int) -> dict[str, Any]:
        try:
            entries = await self.bus.read("stream:event", after=after or "0-0", count=10_000)
        except BusError as error:
            raise HTTPException(503, f"Redis does not answer: {error}") from None
        chosen = entries[:limit] if after else entries[-limit:]
        return {
            "as_of": {"stream:event": chosen[-1].id if chosen else after or "0-0"},
            "events": [{"id": entry.id, **json.loads(entry.payload)} for entry in chosen],
        }

    def new_ticket(self, role: Role) -> str:
        return self.door.give_ticket(role)

    def _view(self, service: str, path: str, **query: str) -> Any:
        async def view() -> dict[str, Any]:
            try:
                answer: dict[str, Any] = await asked(self.settings, service, "GET", path, query)
            except HTTPException as error:
                return {"error": str(error.detail)}
            return answer

        return view

    def _past(self, topic: str) -> Past:
        path, query, key = PAST[topic]

        async def past(since: datetime | None) -> list[bytes]:
            naive = None if since is None else since.replace(tzinfo=None).isoformat()
            try:
                answer = await asked(self.settings, "trading", "GET", path, {**query, "since": naive})
            except HTTPException as error:
                raise Away(str(error.detail)) from None
            return [json.dumps(row, ensure_ascii=False).encode() for row in answer[key]]

        return past

    # ---- routes

    def routes(self, app: FastAPI) -> None:
        app.add_exception_handler(RequestValidationError, unreadable)
        app.add_middleware(Guard, settings=self.settings, door=self.door, pending=self.pending)
        app.include_router(api_of(self))
        app.include_router(research_of(self.settings))
        app.include_router(schedule_of(self.settings))
        app.include_router(catalogue_of(self.settings))
        app.include_router(desk_of(self.settings))
        app.include_router(alert_routes(self.settings))
        app.include_router(health_of(self.settings, self.bus, self.clock))
        app.mount(pages.DOC_ASSETS_URL, StaticFiles(directory=Path(pages.DOC_ASSETS)), name="assets")
        self._page_routes(app)
        self._log_in_routes(app)

        @app.websocket("/ws")
        async def socket(websocket: WebSocket) -> None:
            await self._serve_socket(websocket)

    def _page_routes(self, app: FastAPI) -> None:
        @app.get("/", include_in_schema=False)
        async def home(request: Request) -> Response:
            return RedirectResponse(self._place("console", request, TRADER), status_code=303)

        @app.get("/docs", include_in_schema=False)
        async def reference() -> Response:
            return pages.reference_page(OPENAPI)

        @app.get(OPENAPI, include_in_schema=False)
        async def described() -> Response:
            return JSONResponse(description_of(app.routes, PREFIX))

    def _log_in_routes(self, app: FastAPI) -> None:
        @app.get("/login", include_in_schema=False)
        async def log_in(request: Request) -> Response:
            query = request.query_params
            after, language = query.get("next", "console"), query.get("lang") or _language(request)
            if query.get("ticket") and (role := self.door.take_ticket(query["ticket"])):
                return self._enter(request, after, role, "by ticket")
            if session := self.door.session_of(request.cookies.get(cookie_name(self.settings))):
                return _to(request, self._place(after, request, session.role))
            return pages.log_in_page(language, after, problem="used" if query.get("ticket") else "")

        @app.post("/login", include_in_schema=False)
        async def log_in_with_token(request: Request) -> Response:
            query = request.query_params
            after, language = query.get("next", "console"), query.get("lang") or _language(request)
            if waiting := self.door.brake.seconds_left():
                return pages.log_in_page(language, after, "wait", seconds=round(waiting + 0.5), status=429)
            form = parse_qs((await _body(request)).decode("utf-8", "replace"))
            role = self.door.role_of(form.get("token", [""])[0].strip())
            if role is None:
                self.door.brake.failed()
                audited(request, "log-in refused", "wrong token")
                return pages.log_in_page(language, after, "wrong", status=401)
            self.door.brake.succeeded()
            return self._enter(request, after, role, "by token")

        @app.api_route("/logout", methods=["GET", "POST"], include_in_schema=False)
        async def log_out(request: Request) -> Response:
            self.door.end(request.cookies.get(cookie_name(self.settings)))
            audited(request, "log out", "")
            answer = RedirectResponse("/login", status_code=303)
            answer.delete_cookie(cookie_name(self.settings), httponly=True, samesite="strict")
            return answer

    def _enter(self, request: Request, after: str, role: Role, how: str) -> Response:
        cookie = self.door.make(role)
        request.scope["state"]["visitor"] = Visitor("session", role, self.door.name_of(cookie))
        audited(request, "log in", how)
        answer = _to(request, self._place(after, request, role))
        answer.set_cookie(
            cookie_name(self.settings),
            cookie,
            max_age=int(SESSION_SECONDS),
            httponly=True,
            samesite="strict",
        )
        return answer

    def _place(self, name: str, request: Request, role: Role) -> str:
        """Where a log-in leads: one of three places on the host name the browser used, never a foreign address. A
        notebook runs what is typed with the rights of this account: no place for a viewer."""
        host = request.url.hostname or "127.0.0.1"
        places = {
            "console": f"http://{host}:{self.settings.port('console')}/console",
            "jupyter": f"http://{host}:{self.settings.port('jupyter')}/lab",
            "docs": "/docs",
        }
        wanted = "console" if role != TRADER and name == "jupyter" else name
        return places.get(wanted, places["console"])

    async def _serve_socket(self, websocket: WebSocket) -> None:
        await websocket.accept()
        cookie = websocket.cookies.get(cookie_name(self.settings))
        visitor: Visitor = websocket.scope["state"]["visitor"]
        session = visitor.by == "session"
        code, reason = 1000, ""
        self._connections[str(visitor)] += 1
        try:
            if self._connections[str(visitor)] > CONNECTIONS[visitor.by]:
                raise RequestError(f"{CONNECTIONS[visitor.by]} connections of one {visitor.by} are open already")
            await self.hub.serve(websocket, _texts(websocket), (lambda: self.door.is_open(cookie)) if session else None)
        except WebSocketDisconnect:
            return
        except RequestError as error:
            code, reason = CLOSE_POLICY, str(error)
        except Slow as error:
            code, reason = CLOSE_TRY_AGAIN, f"slow client: {error}"
            self.hub.dropped += 1
            log.warning("slow client dropped", reason=str(error))
        except Away as error:
            code, reason = CLOSE_TRY_AGAIN, str(error)
        except BusError:
            code, reason = CLOSE_TRY_AGAIN, "Redis does not answer"
        finally:
            self._connections[str(visitor)] -= 1
            self._connections += Counter()  # who has none left is forgotten
        with suppress(RuntimeError, WebSocketDisconnect):
            await websocket.close(code, reason.encode()[:120].decode("utf-8", "ignore"))


async def _texts(websocket: WebSocket) -> AsyncIterator[str]:
    while True:
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1005), message.get("reason"))
        if message.get("text") is None:
            raise RequestError("expected text with one JSON object, found bytes")
        if len(message["text"]) > MAX_REQUEST_BYTES:
            raise RequestError(f"a request has at most {MAX_REQUEST_BYTES} characters")
        yield message["text"]


async def _body(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_REQUEST_BYTES:
            raise HTTPException(413, "a log-in form is smaller")
    return body


def _language(request: Request) -> str:
    return "zh" if request.headers.get("accept-language", "").lower().startswith("zh") else "en"


def _to(request: Request, place: str) -> Response:
    if request.headers.get("sec-fetch-site") == "cross-site":
        return pages.step_inside_page(place)
    return RedirectResponse(place, status_code=303)
