"""Web's routes to what was saved in research. A page there runs scripts of its own: it is handed out sandboxed, so that
it has no origin, no cookie and no network, and only the console may frame it."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, HTTPException, Path
from starlette.responses import FileResponse, Response

from arbig.runtime.research import ID, Archive
from arbig.runtime.settings import Settings
from arbig.web.api import PREFIX

ItemId = Annotated[str, Path(pattern=ID.pattern, examples=["20251016-150500-MaRsiStrategy"])]


def sandboxed(settings: Settings) -> dict[str, str]:
    """The headers of a page that somebody's notebook made."""
    console = settings.port("console")
    policy = (
        "sandbox allow-scripts",
        "default-src 'none'",
        "script-src 'unsafe-inline' 'unsafe-eval'",
        "style-src 'unsafe-inline'",
        "img-src data: blob:",
        "font-src data:",
        f"frame-ancestors http://127.0.0.1:{console} http://localhost:{console}",
    )
    return {"Content-Security-Policy": "; ".join(policy)}


def research_of(settings: Settings) -> APIRouter:
    router = APIRouter(prefix=f"{PREFIX}/research", tags=["research"])
    archive = Archive.of(settings.data)

    @router.get("")
    async def items() -> dict[str, Any]:
        """Saved tearsheets, sweeps, comparisons with their figures, newest first."""
        found: list[Any] = msgspec.to_builtins(await asyncio.to_thread(archive.items))
        return {"items": found}

    @router.get("/{item}", response_class=Response)
    async def page(item: ItemId) -> Response:
        """The page itself, sandboxed."""
        path = archive.page(item)
        if path is None:
            raise HTTPException(404, f"{item}: nothing of that name was saved; see GET {PREFIX}/research")
        return FileResponse(path, media_type="text/html; charset=utf-8", headers=sandboxed(settings))

    return router
