"""HTTP between services: one question to a sibling, with the house's token.

By the standard library's client: every service asks at its start, where a bigger one costs a quarter of a second.
"""

from __future__ import annotations

import asyncio
import http.client
import json as _json
import os
import ssl
from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.parse import quote, urlencode

from arbig.runtime.ready import is_success, question
from arbig.runtime.settings import Settings

PART_HEADER = "X-Arbig-Part"
RUN_HEADER = "X-Arbig-Run"
"""Of a notebook that the Scheduler runs: nobody types there, and Web is told so."""
"""Which part of the house asks."""


class CallError(ConnectionError):
    """The sibling did not answer, or refused: `status` is its HTTP status, 0 when there was no answer."""

    def __init__(self, message: str, status: int = 0, body: Any = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = body


async def call(
    settings: Settings,
    service: str,
    method: str,
    path: str,
    *,
    params: Mapping[str, Any] | None = None,
    json: Any = None,
    timeout: float = 5.0,
) -> Any:
    """The sibling's JSON answer. Raises CallError when it is away or says no."""
    return await asyncio.to_thread(ask, settings, service, method, path, params=params, json=json, timeout=timeout)


def ask(
    settings: Settings,
    service: str,
    method: str,
    path: str,
    *,
    params: Mapping[str, Any] | None = None,
    json: Any = None,
    timeout: float = 5.0,
) -> Any:
    """The same for those without a loop."""
    query = urlencode({name: value for name, value in (params or {}).items() if value is not None}, doseq=True)
    payload = None if json is None else _json.dumps(json).encode()
    headers = {"Authorization": f"Bearer {settings.token}", PART_HEADER: os.environ.get("ARBIG_SERVICE", "arbig")}
    headers |= {"Content-Type": "application/json"} if payload else {}
    host, port = settings.host(service), settings.port(service)
    context = context_for(settings, service)
    line = (
        http.client.HTTPConnection(host, port, timeout=timeout)
        if context is None
        else http.client.HTTPSConnection(host, port, timeout=timeout, context=context)
    )
    try:
        address = quote(path, safe="/?%:@!$&'()*+,;=~")
        line.request(method, f"{address}?{query}" if query else address, payload, headers)
        answer = line.getresponse()
        body = _body(answer.headers.get_content_type(), answer.read())
    except (OSError, ValueError, http.client.HTTPException) as error:
        why = str(error) or type(error).__name__
        raise CallError(f"{service} at http://{host}:{port} does not answer: {why}") from None
    finally:
        line.close()
    if answer.status >= 400:
        raise CallError(f"{service} {method} {path}: {answer.status} {_reason(body)}", answer.status, body)
    return body


async def is_ready(settings: Settings, service: str, timeout: float = 2.0) -> bool:
    """Whether the sibling says that it is ready: asked often while waiting, so without the client's weight."""
    host, port = settings.host(service), settings.port(service)
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_connection(host, port, ssl=context_for(settings, service))
            try:
                writer.write(question(port, settings.token, "/ready", host))
                return is_success(await reader.read(64))
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False


@cache
def _context(authority: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=authority)


def context_for(settings: Settings, service: str) -> ssl.SSLContext | None:
    """Who must vouch for a service beyond this machine; None where it speaks without TLS."""
    tls = settings.hosts.tls
    return _context(tls.ca) if tls is not None and settings.speaks_tls(service) else None


def _body(kind: str, content: bytes) -> Any:
    return _json.loads(content) if "json" in kind else content.decode("utf-8", "replace")


def _reason(body: Any) -> str:
    if isinstance(body, dict):
        return str(body.get("detail") or body.get("error") or body)
    return str(body)[:200]
