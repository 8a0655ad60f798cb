"""Trading: moving a strategy to the next contract: routes for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from fastapi import FastAPI, HTTPException, Request

from arbig.runtime.http import CallError
from arbig.store.database import StoreError
from arbig.trading.roller import RollRefused
from arbig.trading.rolls import Roll

if TYPE_CHECKING:
    from arbig.trading.service import TradingService


class RollForm(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which strategy, and to which contract; `symbol` is the one it leaves, where it has several of the product."""

    strategy_name: str
    to: str
    symbol: str | None = None
    reason: str = "asked for by a person"


def add(app: FastAPI, trading: TradingService) -> None:
    @app.get("/rolls")
    async def rolls() -> dict[str, object]:
        return {"rolls": [_shown(job, trading) for job in trading.roller.jobs.values()]}

    @app.post("/rolls", status_code=202)
    async def roll(request: Request) -> dict[str, object]:
        try:
            form = msgspec.json.decode(await request.body(), type=RollForm)
        except msgspec.DecodeError as error:
            expected = ", ".join(RollForm.__struct_fields__)
            raise HTTPException(422, f"{error}; expected {expected}") from None
        try:
            job = await trading.roller.begin(form.strategy_name, form.to, form.symbol, form.reason)
        except RollRefused as refused:
            raise HTTPException(refused.status, str(refused)) from None
        except CallError as error:
            raise _refused(error) from None
        except StoreError as error:
            raise HTTPException(503, str(error)) from None
        return _shown(job, trading)

    @app.delete("/rolls/{job_id}")
    async def stop(job_id: str) -> dict[str, object]:
        """No lot moves any more; what it has sent is cancelled."""
        job = trading.roller.jobs.get(job_id)
        if job is None:
            raise HTTPException(404, f"{job_id}: no such roll; GET /rolls lists them")
        if not job.is_running:
            raise HTTPException(409, f"{job_id}: is {job.state} already")
        try:
            return _shown(await trading.roller.stop(job), trading)
        except StoreError as error:
            raise HTTPException(503, str(error)) from None


def _refused(error: CallError) -> HTTPException:
    """The Strategy service's own words, where it has answered."""
    if error.status and isinstance(error.body, dict) and "detail" in error.body:
        return HTTPException(error.status, error.body["detail"])
    return HTTPException(503, str(error))


def _shown(job: Roll, trading: TradingService) -> dict[str, object]:
    moved = trading.roller.moved(job)
    return {
        "id": job.id,
        "strategy_name": job.strategy_name,
        "symbol": job.symbol,
        "to": job.target,
        "state": job.state,
        "detail": job.detail,
        "reason": job.reason,
        "since": job.since.replace(tzinfo=None).isoformat(timespec="milliseconds"),
        "lots": job.lots,
        "closed": moved.closed,
        "opened": moved.opened,
        "stopping": job.stopping,
    }
