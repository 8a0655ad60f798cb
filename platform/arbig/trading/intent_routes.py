"""Trading: positions that notebooks want, and the grants for real money."""

from __future__ import annotations

from asyncio import to_thread
from datetime import date
from datetime import datetime as Time
from typing import TYPE_CHECKING, Annotated

from fastapi import FastAPI, HTTPException, Query
from msgspec.structs import asdict
from pydantic import Field

from arbig.domain.messages import SHANGHAI
from arbig.runtime.files import Config
from arbig.store.database import StoreError
from arbig.store.intents import GrantRow
from arbig.trading.intents import Intent
from arbig.trading.pursuer import Refused

if TYPE_CHECKING:
    from arbig.trading.service import TradingService


class IntentForm(Config):
    """`target`: net lots of the strategy's own book. `trading_day`: the run's, else the session's."""

    strategy_name: str = Field(min_length=1, max_length=64, pattern=r"^[\w.-]+$")
    symbol: str
    target: int = Field(ge=-100_000, le=100_000)
    intent: str = Field(min_length=1, max_length=120)
    trading_day: date | None = None
    run_id: str | None = Field(None, max_length=64)


class GrantForm(Config):
    """`expires_at`: naive Shanghai, by the wall's clock."""

    strategy_name: str = Field(min_length=1, max_length=64, pattern=r"^[\w.-]+$")
    lots: int = Field(ge=1, le=100_000)
    expires_at: Time
    given_by: str = Field("a person", max_length=64)


def add(app: FastAPI, trading: TradingService) -> None:
    @app.get("/intents")
    async def intents(
        run_id: str | None = None,
        strategy_name: str | None = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    ) -> dict[str, object]:
        if run_id is not None:
            rows = await to_thread(trading.pursuer.store.of_run, run_id)
        else:
            rows = await to_thread(trading.pursuer.store.recent, limit, strategy_name)
        return {"intents": [_shown(Intent(**asdict(row)), trading) for row in rows]}

    @app.get("/intents/{intent_id}")
    async def intent(intent_id: str) -> dict[str, object]:
        return _shown(_found(intent_id, trading), trading)

    @app.post("/intents", status_code=202)
    async def want(form: IntentForm) -> dict[str, object]:
        _refuse_while_faulty(trading)
        try:
            taken, repeated = await trading.pursuer.want(
                form.strategy_name, form.symbol, form.target, form.intent, form.trading_day, form.run_id
            )
        except Refused as refused:
            raise HTTPException(refused.status, str(refused)) from None
        except StoreError as error:
            raise HTTPException(503, str(error)) from None
        return _shown(taken, trading) | {"repeated": repeated}

    @app.delete("/intents/{intent_id}")
    async def stop(intent_id: str, reason: str = "stopped by a person") -> dict[str, object]:
        found = _found(intent_id, trading)
        if not found.is_running:
            raise HTTPException(409, f"{intent_id}: is {found.state} already")
        try:
            return _shown(await trading.pursuer.stop(found, reason), trading)
        except StoreError as error:
            raise HTTPException(503, str(error)) from None

    @app.get("/grants")
    async def grants() -> dict[str, object]:
        now = trading.clock.now()
        return {"grants": [_grant(row, now) for row in trading.pursuer.store.grants()]}

    @app.get("/granted")
    async def granted(strategy_name: str, lots: Annotated[int, Query(ge=1, le=100_000)] = 1) -> dict[str, object]:
        return {"refusal": trading.pursuer.ungranted(strategy_name, lots)}

    @app.post("/grants", status_code=201)
    async def grant(form: GrantForm) -> dict[str, object]:
        now = trading.clock.now()
        expires = form.expires_at if form.expires_at.tzinfo else form.expires_at.replace(tzinfo=SHANGHAI)
        if expires <= now:
            raise HTTPException(422, f"expires_at: found {form.expires_at}, expected a moment to come")
        return _grant(trading.pursuer.grant(form.strategy_name, form.lots, expires, form.given_by), now)

    @app.delete("/grants/{grant_id}")
    async def revoke(grant_id: str) -> dict[str, object]:
        """What works under it is stopped with its next order; what is held stays."""
        found = next((row for row in trading.pursuer.store.grants() if row.id == grant_id), None)
        if found is None:
            raise HTTPException(404, f"{grant_id}: no such grant; GET /grants lists them")
        trading.pursuer.store.revoke(grant_id, trading.clock.now())
        return {"id": grant_id, "revoked": True}


def _found(intent_id: str, trading: TradingService) -> Intent:
    found = trading.pursuer.find(intent_id)
    if found is None:
        raise HTTPException(404, f"{intent_id}: no such intent; GET /intents lists them")
    return found


def _refuse_while_faulty(trading: TradingService) -> None:
    if trading.fault is not None:
        raise HTTPException(503, f"intents cannot be written down: {trading.fault}")


def _shown(intent: Intent, trading: TradingService) -> dict[str, object]:
    orders = [trading.orders.get(name) or trading.store.find(name, None) for name in intent.request_ids]
    return {
        **{name: getattr(intent, name) for name in ("id", "strategy_name", "intent", "symbol", "target", "run_id")},
        "trading_day": intent.trading_day.isoformat(),
        "state": intent.state,
        "detail": intent.detail,
        "since": _naive(intent.since),
        "changed_at": _naive(intent.changed_at),
        "orders": [
            {
                "request_id": order.request_id,
                "direction": order.direction,
                "offset": order.offset,
                "volume": order.volume,
                "traded": order.traded,
                "price": order.price,
                "status": order.status,
            }
            for order in orders
            if order is not None
        ],
    }


def _grant(row: GrantRow, now: Time) -> dict[str, object]:
    state = "REVOKED" if row.revoked_at else "EXPIRED" if row.expires_at <= now else "VALID"
    return {
        **{name: getattr(row, name) for name in ("id", "strategy_name", "lots", "given_by")},
        "expires_at": _naive(row.expires_at),
        "given_at": _naive(row.given_at),
        "revoked_at": None if row.revoked_at is None else _naive(row.revoked_at),
        "state": state,
    }


def _naive(moment: Time) -> str:
    return moment.astimezone(SHANGHAI).replace(tzinfo=None).isoformat(timespec="seconds")
