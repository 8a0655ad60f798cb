"""HTTP between services: one question to a sibling, with the house's token."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx

from arbig.runtime.ready import is_success, question
from arbig.runtime.settings import Settings


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
    url = f"http://127.0.0.1:{settings.port(service)}"
    headers = {"Authorization": f"Bearer {settings.token}"}
    given = {name: value for name, value in (params or {}).items() if value is not None}
    try:
        client = httpx.AsyncClient(base_url=url, headers=headers, timeout=timeout, trust_env=False, verify=False)
        async with client:
            answer = await client.request(method, path, params=given, json=json)
    except httpx.HTTPError as error:
        raise CallError(f"{service} at {url} does not answer: {error or type(error).__name__}") from None
    body = _body(answer)
    if answer.is_error:
        raise CallError(f"{service} {method} {path}: {answer.status_code} {_reason(body)}", answer.status_code, body)
    return body


async def is_ready(settings: Settings, service: str, timeout: float = 2.0) -> bool:
    """Whether the sibling says that it is ready: asked often while waiting, so without the client's weight."""
    port = settings.port(service)
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(question(port, settings.token, "/ready"))
                return is_success(await reader.read(64))
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False


def _body(answer: httpx.Response) -> Any:
    if "json" in answer.headers.get("content-type", ""):
        return answer.json()
    return answer.text


def _reason(body: Any) -> str:
    if isinstance(body, dict):
        return str(body.get("detail") or body.get("error") or body)
    return str(body)[:200]
