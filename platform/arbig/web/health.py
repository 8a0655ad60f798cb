"""Web's route to how the house fares in detail: what each service says of itself, how long it takes to say it, and how
far every reader of a stream is behind."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from fastapi import APIRouter

from arbig.bus.port import Bus, BusError
from arbig.bus.topics import GATEWAY, MARKET, STRATEGY, TRADING
from arbig.runtime.clock import Clock
from arbig.runtime.http import CallError, call
from arbig.runtime.settings import Settings
from arbig.web.api import CALL_SECONDS, PREFIX

ASKED = (GATEWAY, MARKET, TRADING, STRATEGY)


def health_of(settings: Settings, bus: Bus, clock: Clock) -> APIRouter:
    router = APIRouter(prefix=PREFIX, tags=["house"])

    async def own(service: str) -> dict[str, Any]:
        began = clock.monotonic()
        try:
            said: dict[str, Any] = await call(settings, service, "GET", "/status", timeout=CALL_SECONDS)
        except CallError as error:
            return {"error": str(error)}
        return said | {"answer_ms": round((clock.monotonic() - began) * 1000, 1)}

    @router.get("/health")
    async def health() -> dict[str, Any]:
        """Each service's own status with the milliseconds of its answer; lag, pending and lost of each reader."""
        answers = await asyncio.gather(*(own(service) for service in ASKED))
        try:
            groups = [msgspec.to_builtins(group) for group in await bus.groups()]
        except BusError:
            groups = []
        return {"services": dict(zip(ASKED, answers, strict=True)), "streams": groups}

    return router
