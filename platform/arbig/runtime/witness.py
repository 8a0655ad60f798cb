"""Witness: one line of the audit trail for each action that comes over HTTP, done or refused: who, from where, what,
and how it ended. Questions leave none, unless they come with a wrong key.

The line is written when the outcome is known, before the answer is given. Of strangers, who may knock without end, only
so many lines a minute are written, and then how many there were.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from arbig.runtime.audit import note
from arbig.runtime.clock import Clock
from arbig.runtime.settings import Settings

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
STRANGER = "stranger"
STRANGERS_A_MINUTE = 30
WORDS_KEPT = 300
TOLD = ("request_id", "status", "wanted", "state", "id", "trading", "gateway", "run_id", "attached", "done", "role")
"""What an answer says of the outcome."""

Who = Callable[[Scope], str | None]


class Deed:
    """What a request does, as its route says it before it does it."""

    def __init__(self) -> None:
        self.action, self.what = "", ""

    def begins(self, action: str, what: str) -> None:
        self.action, self.what = action, what

    def has_ended(self) -> None:
        """Its line is written."""


def deed_of(scope: Scope) -> Deed:
    """The deed of a request; of one that came past no witness, one that nobody reads."""
    deed: Deed = scope.get("state", {}).get("deed") or Deed()
    return deed


class Witness:
    """ASGI, around everything else. `who`: who acts, or None for one whose line is written elsewhere."""

    def __init__(self, app: ASGIApp, settings: Settings, clock: Clock, who: Who) -> None:
        self._app = app
        self._settings = settings
        self._who = who
        self._strangers = Strangers(clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})["deed"] = Deed()
        held: list[Message] = []
        accepted = False

        async def telling(message: Message) -> None:
            nonlocal accepted
            kind = message["type"]
            accepted = accepted or kind == "websocket.accept"
            if kind == "http.response.start" and _is_worth_a_line(scope, message["status"]):
                held.append(message)
                return
            if kind == "http.response.body" and held:
                start = held.pop()
                await self._tell(scope, outcome(start["status"], message.get("body", b"")))
                await send(start)
            elif kind == "websocket.http.response.start" and message["status"] in (401, 403, 421):
                await self._tell(scope, str(message["status"]))
            elif kind == "websocket.close" and not accepted:
                await self._tell(scope, f"403 {message.get('reason') or ''}".rstrip())
            await send(message)

        await self._app(scope, receive, telling)

    async def _tell(self, scope: Scope, ended: str) -> None:
        who, deed = self._who(scope), deed_of(scope)
        more = self._strangers.more() if who == STRANGER else 0
        if who is None or more is None:
            return
        action = deed.action or f"{scope.get('method', 'WebSocket')} {scope['path']}"[:80]
        what = f"{deed.what} -> {ended}".lstrip() + (f" (and {more} more in the minute before)" if more else "")
        await asyncio.to_thread(note, self._settings, who, place_of(scope), action, what)
        deed.has_ended()


def place_of(scope: Scope) -> str:
    """From where."""
    return str((scope.get("client") or "?")[0])


class Strangers:
    """A brake: how many of them are written down in a minute."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until = 0.0
        self._written = self._left_out = 0

    def more(self) -> int | None:
        """How many were left out since the last line; None for one that is left out."""
        now = self._clock.monotonic()
        if now >= self._until:
            self._until, self._written = now + 60, 0
        if self._written >= STRANGERS_A_MINUTE:
            self._left_out += 1
            return None
        self._written += 1
        more, self._left_out = self._left_out, 0
        return more


def outcome(status: int, body: bytes) -> str:
    """`202 r1 SUBMITTING`, `403 a viewer may look, not act: ...`."""
    try:
        found: Any = json.loads(body)
    except ValueError:
        return str(status)
    return f"{status} {_words(found) if isinstance(found, dict) else ''}".rstrip()[:WORDS_KEPT]


def _words(found: Mapping[str, Any]) -> str:
    detail = found.get("detail")
    if isinstance(detail, list):
        return "; ".join(f"{'.'.join(map(str, one.get('loc', ())))}: {one.get('msg', '')}" for one in detail)
    if detail is not None:
        return str(detail)
    return " ".join(str(found[name]) for name in TOLD if isinstance(found.get(name), (str, int)))


def _is_worth_a_line(scope: Scope, status: int) -> bool:
    if scope["type"] != "http":
        return False
    if deed_of(scope).action or scope["method"] not in SAFE_METHODS or status in (403, 421):
        return True
    return status == 401 and "authorization" in Headers(scope=scope)
