"""Web's route to what could be deployed: the classes of `strategies/*.py` and their parameters."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from fastapi import APIRouter

from arbig.runtime.catalogue import catalogue
from arbig.runtime.settings import Settings
from arbig.web.api import PREFIX


def catalogue_of(settings: Settings) -> APIRouter:
    router = APIRouter(prefix=PREFIX)

    @router.get("/strategy-classes", tags=["strategies"])
    async def classes() -> dict[str, Any]:
        """Class, file, parameters with kind and default; a file that cannot be read with the reason."""
        found: list[Any] = msgspec.to_builtins(await asyncio.to_thread(catalogue, settings.root / "strategies"))
        return {"classes": found}

    return router
