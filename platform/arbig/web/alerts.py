"""Web's alerts: who is told, what was told, a test."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from arbig.runtime.alerting import wants_alerts
from arbig.runtime.settings import Settings
from arbig.web.api import PREFIX, asked, audited

TEST_SECONDS = 90.0


class AlertTest(BaseModel):
    """Which target is tested; all of them without a name."""

    model_config = ConfigDict(extra="forbid")

    target: str | None = Field(None, max_length=64)


def alert_routes(settings: Settings) -> APIRouter:
    router = APIRouter(prefix=PREFIX, tags=["house"])

    @router.get("/alerts")
    async def alerts() -> Any:
        """The targets of config/alerts.yaml, their addresses masked, and what they were last told."""
        if not wants_alerts(settings):
            return {"targets": [], "sent": []}
        return await asked(settings, "alerts", "GET", "/alerts", {})

    @router.post("/alerts/test")
    async def test(wanted: AlertTest, request: Request) -> Any:
        """A test message, and what each target answered."""
        audited(request, "test alerts", wanted.target or "all")
        if not wants_alerts(settings):
            return {"results": []}
        return await asked(settings, "alerts", "POST", "/alerts/test", {}, wanted.model_dump(), TEST_SECONDS)

    return router
