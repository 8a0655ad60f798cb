"""Web's routes to the Scheduler, to notebooks' intents and to the grants for real money."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from arbig.runtime.http import CallError, call
from arbig.runtime.settings import Settings
from arbig.web.api import PREFIX, Name, asked, audited, visitor_of
from arbig.web.research import sandboxed
from arbig.web.unattended import MOST_LETTERS

INTENT_SECONDS = 5.0
RUN_ID = Annotated[str, Path(pattern=r"^[0-9a-f]{12}$", examples=["3f2a9c01d7be"])]
INTENT_ID = Annotated[str, Path(pattern=r"^[0-9a-f-]{36}$")]
GRANT_ID = Annotated[str, Path(pattern=r"^[0-9a-f]{8}$")]
Limit = Annotated[int, Query(ge=1, le=1000)]


class IntentWish(BaseModel):
    """A position that a notebook wants, once a trading day and name."""

    model_config = ConfigDict(extra="forbid")

    strategy_name: str = Field(min_length=1, max_length=64, pattern=r"^[\w.-]+$", examples=["close_gold"])
    symbol: str = Field(examples=["au2512"], max_length=16)
    target: int = Field(ge=-100_000, le=100_000, description="net lots of the strategy's own book")
    intent: str = Field(min_length=1, max_length=120, examples=["2025-10-15-close"])
    trading_day: date | None = None
    run_id: str | None = Field(None, max_length=64)


class GrantWish(BaseModel):
    """Real money: so many lots of a contract until a moment (naive: Shanghai)."""

    model_config = ConfigDict(extra="forbid")

    strategy_name: str = Field(min_length=1, max_length=64, pattern=r"^[\w.-]+$")
    lots: int = Field(ge=1, le=100_000)
    expires_at: datetime


def schedule_of(settings: Settings) -> APIRouter:
    router = APIRouter(prefix=PREFIX, tags=["schedule"])

    async def ask(service: str, method: str, path: str, json: Any = None, **query: Any) -> Any:
        return await asked(settings, service, method, path, query, json, INTENT_SECONDS)

    @router.get("/schedule")
    async def schedule() -> Any:
        """What runs when, how it went last, and what is wrong with config/schedule.yaml."""
        return await ask("scheduler", "GET", "/schedule")

    @router.post("/schedule/{name}/run", status_code=202)
    async def run(name: Name, request: Request) -> Any:
        """Now, whatever its time."""
        audited(request, "run notebook", name)
        return await ask("scheduler", "POST", f"/schedule/{name}/run")

    @router.get("/runs")
    async def runs(
        name: str | None = Query(None, max_length=64), trading_day: date | None = None, limit: Limit = 50
    ) -> Any:
        """Runs of notebooks, the newest first."""
        day = None if trading_day is None else trading_day.isoformat()
        return await ask("scheduler", "GET", "/runs", name=name, trading_day=day, limit=limit)

    @router.get("/runs/{run_id}")
    async def one_run(run_id: RUN_ID) -> Any:
        return await ask("scheduler", "GET", f"/runs/{run_id}")

    @router.post("/runs/{run_id}/stop", status_code=202)
    async def stop_run(run_id: RUN_ID, request: Request) -> Any:
        audited(request, "stop run", run_id)
        return await asked(settings, "scheduler", "POST", f"/runs/{run_id}/stop", {}, None, 15.0)

    @router.get("/runs/{run_id}/report", response_class=Response)
    async def report(run_id: RUN_ID) -> Response:
        """The executed notebook as a page, sandboxed."""
        try:
            page = await call(settings, "scheduler", "GET", f"/runs/{run_id}/report")
        except CallError as error:
            detail = error.body.get("detail") if isinstance(error.body, dict) else str(error)
            raise HTTPException(error.status or 503, detail) from None
        return Response(page, media_type="text/html; charset=utf-8", headers=sandboxed(settings))

    @router.get("/intents")
    async def intents(
        run_id: str | None = Query(None, max_length=64),
        strategy_name: str | None = Query(None, max_length=64),
        limit: Limit = 50,
    ) -> Any:
        """Positions that notebooks wanted, and what became of each."""
        return await ask("trading", "GET", "/intents", run_id=run_id, strategy_name=strategy_name, limit=limit)

    @router.get("/intents/{intent_id}")
    async def intent(intent_id: INTENT_ID) -> Any:
        return await ask("trading", "GET", f"/intents/{intent_id}")

    @router.post("/intents", status_code=202)
    async def want(wish: IntentWish, request: Request) -> Any:
        """The same intent of the same trading day again is answered from the first one (`repeated`)."""
        deployed = (await ask("strategy", "GET", "/strategies"))["strategies"]
        if any(one["strategy_name"] == wish.strategy_name for one in deployed):
            raise HTTPException(409, f"{wish.strategy_name}: is a deployed strategy with its own book; name another")
        audited(request, "intent", f"{wish.strategy_name} {wish.target:+d} {wish.symbol} {wish.intent}")
        return await ask("trading", "POST", "/intents", wish.model_dump(mode="json", exclude_none=True))

    @router.delete("/intents/{intent_id}")
    async def stop_intent(intent_id: INTENT_ID, request: Request) -> Any:
        audited(request, "stop intent", intent_id)
        return await ask("trading", "DELETE", f"/intents/{intent_id}")

    @router.get("/grants")
    async def grants() -> Any:
        return await ask("trading", "GET", "/grants")

    @router.post("/grants", status_code=201)
    async def grant(wish: GrantWish, request: Request) -> Any:
        """A notebook strategy may hold so many lots with real money until then."""
        audited(request, "grant", f"{wish.strategy_name} {wish.lots} lots until {wish.expires_at}")
        who = str(visitor_of(request))[:MOST_LETTERS]
        return await ask("trading", "POST", "/grants", wish.model_dump(mode="json") | {"given_by": who})

    @router.delete("/grants/{grant_id}")
    async def revoke(grant_id: GRANT_ID, request: Request) -> Any:
        audited(request, "revoke grant", grant_id)
        return await ask("trading", "DELETE", f"/grants/{grant_id}")

    return router
