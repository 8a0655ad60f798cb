"""Web's guard: looks at every request and every WebSocket before any route does.

Order: Host (DNS rebinding), open paths, bearer token, session cookie; an unsafe method that comes by cookie must also
name our own Origin and carry the header a foreign page cannot send, and whoever comes is a trader: a viewer looks.
Loopback is not authentication.
"""

from __future__ import annotations

from http.cookies import CookieError, SimpleCookie
from typing import Any, Literal, NamedTuple
from urllib.parse import parse_qs, quote

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from arbig.runtime.broker import is_live
from arbig.runtime.http import RUN_HEADER
from arbig.runtime.settings import Settings
from arbig.runtime.witness import SAFE_METHODS, STRANGER, place_of
from arbig.web.door import TRADER, Door, Role, cookie_name
from arbig.web.pending import KeptDeed, Pending
from arbig.web.unattended import MOST_LETTERS, refusal

OPEN_PATHS = frozenset({"/health", "/login"})
PAGES = {"/": "console", "/docs": "docs"}
CSRF_HEADER = "x-arbig"
LEAVING = "/logout"


class Visitor(NamedTuple):
    """Who has come in, by what, and as what. `name`: of a session; `run`: of the schedule, in whose notebook nobody
    types."""

    by: Literal["token", "session", "ticket"]
    role: Role
    name: str = ""
    run: str = ""

    def __str__(self) -> str:
        run = f"in a run of {self.run}" if self.run else ""
        return " ".join(filter(None, (f"{self.role} by {self.by}", self.name, run)))


SECURITY_HEADERS = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (
        b"content-security-policy",
        b"default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
        b"img-src 'self' data:; frame-ancestors 'none'; form-action 'self' http://127.0.0.1:* http://localhost:*",
    ),
)

FRAMING = frozenset({b"content-security-policy", b"x-frame-options"})


def who_of(scope: Scope) -> str:
    """For the audit trail."""
    visitor = scope.get("state", {}).get("visitor")
    return f"web {visitor}" if visitor else STRANGER


def own_hosts(settings: Settings) -> frozenset[str]:
    port = settings.port("web")
    return frozenset({f"127.0.0.1:{port}", f"localhost:{port}"})


def own_origins(settings: Settings) -> frozenset[str]:
    return frozenset(f"http://{host}" for host in own_hosts(settings))


class Refusal(Exception):
    """Why a request may not go on."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


class Guard:
    """ASGI middleware, inside the witness: whom it lets in and whom it refuses is written down there."""

    def __init__(self, app: ASGIApp, settings: Settings, door: Door, pending: Pending) -> None:
        self._app = app
        self._door = door
        self._pending = pending
        self._hosts = own_hosts(settings)
        self._origins = own_origins(settings)
        self._cookie = cookie_name(settings)
        self._is_live = is_live(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        try:
            self._admit(scope)
        except Refusal as refusal:
            await self._refuse(refusal, scope, receive, send)
            return
        scope["state"]["deed"] = KeptDeed(self._pending, who_of(scope), place_of(scope))
        await self._app(scope, receive, _with_security_headers(send))

    def _admit(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        if headers.get("host", "") not in self._hosts:
            raise Refusal(421, f"Host {headers.get('host', '')!r} is not this server; open http://127.0.0.1 instead")
        origin = headers.get("origin")
        if scope["type"] == "websocket":
            scope["state"]["visitor"] = self._admit_socket(scope, headers, origin)
        else:
            self._admit_request(scope, headers, origin)

    def _admit_request(self, scope: Scope, headers: Headers, origin: str | None) -> None:
        safe = scope["method"] in SAFE_METHODS
        if scope["path"] in OPEN_PATHS:
            if not safe and origin not in self._origins:
                raise Refusal(403, f"Origin {origin!r} may not log in here")
            return
        visitor = scope["state"]["visitor"] = self._visitor(headers)
        if not safe and visitor.by == "session" and (origin not in self._origins or CSRF_HEADER not in headers):
            raise Refusal(403, f"a {scope['method']} by cookie needs our own Origin and the header X-Arbig")
        if not safe and visitor.role != TRADER and scope["path"] != LEAVING:
            raise Refusal(403, f"a viewer may look, not act: {scope['method']} needs the trader's token or link")
        if not safe and visitor.run and self._is_live:
            is_preview = b"preview=true" in scope["query_string"]
            if why := refusal(visitor.run, scope["method"], scope["path"], is_preview):
                raise Refusal(403, why)

    def _visitor(self, headers: Headers) -> Visitor:
        if "authorization" in headers:
            return self._bearer(headers["authorization"])._replace(run=headers.get(RUN_HEADER, "")[:MOST_LETTERS])
        session = self._door.session_of(_cookie(headers, self._cookie))
        if session is None:
            raise Refusal(401, "log in, or send the header Authorization: Bearer with the token of data/run/token")
        return Visitor("session", session.role, session.name)

    def _admit_socket(self, scope: Scope, headers: Headers, origin: str | None) -> Visitor:
        if origin is not None and origin not in self._origins:
            raise Refusal(403, f"Origin {origin!r} may not open a WebSocket here")
        if "authorization" in headers:
            return self._bearer(headers["authorization"])
        ticket = parse_qs(scope["query_string"].decode("latin-1")).get("ticket", [""])[0]
        if ticket and (role := self._door.take_ticket(ticket)):
            return Visitor("ticket", role)
        session = self._door.session_of(_cookie(headers, self._cookie))
        if origin is not None and session is not None:
            return Visitor("session", session.role, session.name)
        raise Refusal(401, "a WebSocket needs the bearer token, a ticket or a session")

    def _bearer(self, header: str) -> Visitor:
        scheme, _, token = header.partition(" ")
        role = self._door.role_of(token.strip()) if scheme.lower() == "bearer" else None
        if role is None:
            raise Refusal(401, "wrong token: expected the content of data/run/token, or of viewer_token beside it")
        return Visitor("token", role)

    async def _refuse(self, refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 4000 + refusal.status, "reason": refusal.reason[:120]})
            return
        await _answer(refusal, scope)(scope, receive, _with_security_headers(send))


def _answer(refusal: Refusal, scope: Scope) -> Response:
    page = PAGES.get(scope["path"])
    if refusal.status == 401 and page and scope["method"] == "GET" and "authorization" not in Headers(scope=scope):
        return RedirectResponse(f"/login?next={quote(page)}", status_code=303)
    headers = {"WWW-Authenticate": "Bearer"} if refusal.status == 401 else None
    return JSONResponse({"detail": refusal.reason}, status_code=refusal.status, headers=headers)


def _cookie(headers: Headers, name: str) -> str | None:
    try:
        morsel: Any = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return None
    return morsel.value if morsel else None


def _with_security_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = [*message.get("headers", ())]
            spoken = {name for name, _ in own}
            left_out = FRAMING if FRAMING & spoken else frozenset()  # a page that says itself who may frame it
            message["headers"] = [*own, *(pair for pair in SECURITY_HEADERS if pair[0] not in left_out)]
        await send(message)

    return sending
