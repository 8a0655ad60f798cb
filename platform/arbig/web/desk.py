"""Web's routes that the desk needs beside the usual ones: where an order came from, ticks read back, rolls."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from arbig.runtime.settings import Settings
from arbig.web.api import PREFIX, Name, Symbol, asked, audited

WHENCE_SECONDS = 10.0
OrderName = Annotated[str, Path(pattern=r"^[\w.:-]{1,64}$", examples=["17"])]


class RollWish(BaseModel):
    """A strategy moves to the next contract; `symbol` is the one it leaves, where it has several of the product."""

    model_config = ConfigDict(extra="forbid")

    strategy_name: str = Field(min_length=1, max_length=64, examples=["MaRsiStrategy"])
    to: str = Field(max_length=16, examples=["au2602"])
    symbol: str | None = Field(None, max_length=16, examples=["au2512"])
    reason: str = Field("asked for by a person", max_length=400)


def desk_of(settings: Settings) -> APIRouter:
    router = APIRouter(prefix=PREFIX)

    async def ask(service: str, method: str, path: str, json: Any = None, **query: Any) -> Any:
        return await asked(settings, service, method, path, query, json, WHENCE_SECONDS)

    @router.get("/orders/{order_id}/whence", tags=["trading"])
    async def whence(order_id: OrderName) -> Any:
        """The signal behind an order, the tick or bar behind that, code, parameters, and when it passed each place."""
        return await ask("trading", "GET", f"/orders/{order_id}/whence")

    @router.get("/ticks/{symbol}/tape", tags=["market"])
    async def tape(
        symbol: Symbol,
        limit: Annotated[int | None, Query(ge=1, le=100_000)] = None,
        since: datetime | None = None,
        seq: Annotated[int | None, Query(ge=1, lt=2**62)] = None,
    ) -> Any:
        """Ticks of the running trading day, oldest first: the newest `limit`, those `since` a moment, or a `seq`."""
        naive = since.replace(tzinfo=None).isoformat(timespec="milliseconds") if since else None
        return await ask("market", "GET", f"/ticks/{symbol}/tape", limit=limit, since=naive, seq=seq)

    @router.get("/cancels", tags=["trading"])
    async def cancels() -> Any:
        """Orders that somebody wants gone and that still work, and what they wait for."""
        return await ask("trading", "GET", "/cancels")

    @router.get("/rolls", tags=["strategies"])
    async def rolls() -> Any:
        return await ask("trading", "GET", "/rolls")

    @router.post("/rolls", tags=["strategies"], status_code=202)
    async def roll(wish: RollWish, request: Request) -> Any:
        """Lots, parameters and variables move to the next contract, once; the same thing twice is one."""
        audited(request, "roll", f"{wish.strategy_name} to {wish.to}: {wish.reason}")
        return await ask("trading", "POST", "/rolls", json=wish.model_dump())

    @router.delete("/rolls/{job_id}", tags=["strategies"])
    async def stop_roll(job_id: Name, request: Request) -> Any:
        """No lot moves any more; what was sent is cancelled."""
        audited(request, "stop roll", job_id)
        return await ask("trading", "DELETE", f"/rolls/{job_id}")

    return router
