"""Web's REST: /api/v1, what the services know and do, for people. Each answer is the sibling's own; a sibling that is
away gives a 503 with one sentence."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Any, Literal, Protocol

from fastapi import APIRouter, HTTPException, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from arbig.domain.messages import Direction, Offset, OrderType
from arbig.runtime.broker import is_live
from arbig.runtime.clock import WallClock
from arbig.runtime.crash import crash_point
from arbig.runtime.deployment import Deployment, Edit
from arbig.runtime.halting import HALTED
from arbig.runtime.halting import halt as halt_house
from arbig.runtime.http import CallError, call
from arbig.runtime.logs import read_logs, wanted_of
from arbig.runtime.settings import Settings, SettingsError
from arbig.runtime.witness import deed_of
from arbig.web.door import TRADER, Role
from arbig.web.guard import Visitor
from arbig.web.hub import is_entry_id

PREFIX = "/api/v1"
CALL_SECONDS = 2.0
CHANGE_SECONDS = 45.0  # its code is made once on trial, its orders may have to be cancelled, its history read

Symbol = Annotated[str, Path(pattern=r"^[A-Za-z]{1,4}\d{3,4}(\.[A-Z]{2,5})?$", examples=["au2512"])]
Name = Annotated[str, Path(pattern=r"^[\w.-]{1,64}$")]
Limit = Annotated[int, Query(ge=1, le=10_000)]
Cursor = Annotated[int | None, Query(ge=1, lt=2**63, description="of the page after the one that is asked for")]


class Wish(BaseModel):
    """A person's order. Trading gives it its identity, splits the offset and judges the risk."""

    model_config = ConfigDict(extra="forbid")

    symbol: str = Field(examples=["au2512"])
    exchange: str | None = None
    direction: Direction
    offset: Offset
    order_type: OrderType = OrderType.LIMIT
    price: float = Field(allow_inf_nan=False)
    volume: int
    strategy_name: str | None = None
    request_id: str | None = Field(
        None, max_length=64, description="send the same wish twice with the same id: one order"
    )


class Halt(BaseModel):
    """A person's halt."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field("", max_length=400)


class Wanted(BaseModel):
    """The trading state a person sets."""

    model_config = ConfigDict(extra="forbid")

    state: Literal["ACTIVE", "REDUCING", "HALTED"]
    reason: str = Field("", max_length=400)


class Flat(BaseModel):
    """What is to be made flat: a strategy's book, a contract, or without either the whole account."""

    model_config = ConfigDict(extra="forbid")

    strategy_name: str | None = Field(None, max_length=64)
    symbol: str | None = Field(None, examples=["au2512"])
    reason: str = Field("asked for by a person", max_length=400)


class Lots(BaseModel):
    """Lots of one side that change their book."""

    model_config = ConfigDict(extra="forbid")

    symbol: str = Field(examples=["au2512"])
    direction: Direction
    volume: int
    strategy_name: str
    reason: str = Field("", max_length=200)


class Accepted(BaseModel):
    """Why unexplained lots are taken as they are."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(min_length=1, max_length=200)


class TicketWish(BaseModel):
    """Whom the ticket lets in."""

    model_config = ConfigDict(extra="forbid")

    role: Literal["trader", "viewer"] = TRADER


class House(Protocol):
    """What the routes need of the service that carries them."""

    settings: Settings

    async def house_status(self) -> dict[str, Any]: ...

    async def control(self, name: str, action: str) -> dict[str, Any]: ...

    async def events(self, after: str | None, limit: int) -> dict[str, Any]: ...

    def new_ticket(self, role: Role) -> str: ...


def api_of(house: House) -> APIRouter:
    router = APIRouter(prefix=PREFIX)

    async def ask(service: str, method: str, path: str, json: Any = None, **query: Any) -> Any:
        return await asked(house.settings, service, method, path, query, json)

    async def act(service: str, method: str, path: str, json: Any = None, **query: Any) -> Any:
        crash_point("web.before_forward")
        seconds = CHANGE_SECONDS if service == "strategy" else CALL_SECONDS
        answer = await asked(house.settings, service, method, path, query, json, seconds)
        crash_point("web.after_forward")
        return answer

    @router.get("/whoami", tags=["log-in"])
    async def whoami(request: Request) -> dict[str, Any]:
        """Your role, `trader` or `viewer`, and how you came in."""
        visitor = visitor_of(request)
        return {"role": visitor.role, "name": str(visitor), "by": visitor.by}

    @router.get("/status", tags=["house"])
    async def status() -> dict[str, Any]:
        """The same object as `arbig status --json`."""
        return await house.house_status()

    @router.get("/services", tags=["house"])
    async def services() -> dict[str, Any]:
        return {"services": (await house.house_status())["services"]}

    @router.post("/services/{name}/{action}", tags=["house"], status_code=202)
    async def control(name: Name, action: Literal["start", "stop", "restart"], request: Request) -> dict[str, Any]:
        """Start, stop or restart one service through the supervisor."""
        audited(request, f"{action} service", name)
        return await house.control(name, action)

    @router.get("/logs", tags=["house"])
    async def logs(
        service: str | None = Query(None, pattern=r"^[\w-]{1,32}$"),
        level: Literal["debug", "info", "warning", "error", "critical"] = "info",
        grep: str | None = Query(None, max_length=200),
        since: str | None = Query(None, max_length=40, examples=["10m"]),
        limit: Limit = 200,
    ) -> dict[str, Any]:
        """The newest log lines of all services, or of one, oldest first."""
        return await asyncio.to_thread(_logs, house.settings, service, level, grep, since, limit)

    @router.get("/events", tags=["house"])
    async def events(after: str | None = Query(None, max_length=40), limit: Limit = 200) -> dict[str, Any]:
        """Connections, reconciliations, trading states, alarms."""
        if after is not None and not is_entry_id(after):
            raise HTTPException(422, f"after: found {after!r}, expected a stream id, e.g. 1766494801500-0")
        return await house.events(after, limit)

    @router.post("/tickets", tags=["log-in"], status_code=201)
    async def ticket(request: Request, wish: TicketWish | None = None) -> dict[str, Any]:
        """A single-use log-in ticket for /login?ticket=..., valid for ten minutes, a trader's or a viewer's. Asked with
        the trader's token only."""
        if visitor_of(request).by != "token":
            raise HTTPException(403, "a ticket is given for the token only, not for a session")
        role = TRADER if wish is None else wish.role
        audited(request, "ticket", role)
        return {"ticket": house.new_ticket(role), "valid_seconds": 600, "role": role}

    @router.get("/ticks/{symbol}", tags=["market"])
    async def ticks(symbol: Symbol) -> Any:
        return await ask("market", "GET", f"/ticks/{symbol}")

    @router.get("/bars/{symbol}", tags=["market"])
    async def bars(
        symbol: Symbol,
        interval: str = Query("1m", pattern=r"^(\d{1,3}m|1h|d|1d)$"),
        since: datetime | None = None,
        until: datetime | None = None,
        limit: Limit = 500,
        cursor: datetime | None = None,
    ) -> Any:
        """Bars stamped with their first minute, oldest first: from `since` to before `until`, the newest `limit`.
        `cursor` of the answer asks for the page before it."""
        span = {"since": _naive(since), "until": _naive(cursor or until)}
        page = await ask("market", "GET", f"/bars/{symbol}", interval=interval, limit=limit, **span)
        bars = page.get("bars", ())
        return {**page, "cursor": bars[0]["datetime"]} if len(bars) == limit else page

    @router.get("/instruments", tags=["market"])
    async def instruments() -> Any:
        return await ask("gateway", "GET", "/contracts")

    @router.get("/clock", tags=["market"])
    async def clock() -> Any:
        """The exchange's clock: session time, trading day, speed."""
        return await ask("gateway", "GET", "/clock")

    @router.get("/positions", tags=["trading"])
    async def positions() -> Any:
        return await ask("trading", "GET", "/positions")

    @router.post("/positions/{move}", tags=["trading"])
    async def assign(move: Literal["assign", "unassign"], lots: Lots, request: Request) -> Any:
        """Lots of one side from the unassigned book to a strategy's, or back."""
        audited(request, move, f"{lots.volume} {lots.symbol} {lots.direction} {lots.strategy_name}")
        return await act("trading", "POST", f"/positions/{move}", json=lots.model_dump(mode="json"))

    @router.get("/reconciliation", tags=["trading"])
    async def reconciliation(day: date | None = None) -> Any:
        """Where the counter and we disagreed, on the trading day or an earlier one; the last settlement, checked."""
        return await ask("trading", "GET", "/reconciliation", day=None if day is None else day.isoformat())

    @router.post("/reconciliation/accept", tags=["trading"])
    async def accept(accepted: Accepted, request: Request) -> Any:
        """Unexplained lots are taken as they are, into the unassigned book."""
        audited(request, "accept differences", accepted.reason)
        return await act("trading", "POST", "/reconciliation/accept", json=accepted.model_dump())

    @router.get("/account", tags=["trading"])
    async def account() -> Any:
        return await ask("trading", "GET", "/account")

    @router.get("/account/history", tags=["trading"])
    async def account_history(
        since: datetime | None = None, limit: Annotated[int, Query(ge=2, le=10_000)] = 2000
    ) -> Any:
        """The account's course: a point a session minute, thinned evenly where there are more than `limit`."""
        naive = since.replace(tzinfo=None).isoformat() if since else None
        return await ask("trading", "GET", "/account/history", since=naive, limit=limit)

    @router.get("/orders", tags=["trading"])
    async def orders(active: bool | None = None, limit: Limit = 500, cursor: Cursor = None) -> Any:
        """Working orders; with `active=false` of any day, the newest `limit`, oldest of them first. `cursor` of the
        answer asks for the page before it."""
        return await ask("trading", "GET", "/orders", active=_word(active), limit=limit, cursor=cursor)

    @router.post("/orders", tags=["trading"], status_code=202)
    async def send_order(wish: Wish, request: Request, preview: bool = False) -> Any:
        """With `preview`, what would become of it: split, commission, margin, or the rule that refuses it."""
        if preview:
            wanted = wish.model_dump(mode="json", exclude_none=True)
            return JSONResponse(await ask("trading", "POST", "/orders", json=wanted, preview="true"))
        audited(request, "order", f"{wish.direction} {wish.offset} {wish.volume} {wish.symbol} at {wish.price}")
        return await act("trading", "POST", "/orders", json=wish.model_dump(mode="json", exclude_none=True))

    @router.delete("/orders/{order_id}", tags=["trading"], status_code=202)
    async def cancel_order(order_id: Name, request: Request) -> Any:
        """Cancel by order id or request id."""
        audited(request, "cancel", order_id)
        return await act("trading", "DELETE", f"/orders/{order_id}")

    @router.get("/trades", tags=["trading"])
    async def trades(since: datetime | None = None, limit: Limit = 10_000, cursor: Cursor = None) -> Any:
        """Trades since a moment, the newest `limit`, oldest of them first. `cursor` of the answer asks for the page
        before it."""
        return await ask("trading", "GET", "/trades", since=_naive(since), limit=limit, cursor=cursor)

    @router.get("/trading/state", tags=["trading"])
    async def trading_state() -> Any:
        return await ask("trading", "GET", "/state")

    @router.post("/trading/state", tags=["trading"])
    async def set_trading_state(wanted: Wanted, request: Request) -> Any:
        """ACTIVE, REDUCING or HALTED, kept over restarts; HALTED cancels what works."""
        audited(request, f"trading {wanted.state}", wanted.reason)
        return await act("trading", "POST", "/state", json=wanted.model_dump())

    @router.post("/halt", tags=["trading"])
    async def halt(wanted: Halt, request: Request) -> dict[str, str]:
        """Trading and Gateway are told side by side; what each has answered."""
        audited(request, "halt", wanted.reason)
        crash_point("web.before_forward")
        answers = await asyncio.to_thread(halt_house, house.settings, wanted.reason)
        crash_point("web.after_forward")
        if HALTED not in answers.values():
            raise HTTPException(503, "; ".join(answers.values()))
        return answers

    @router.get("/flatten", tags=["trading"])
    async def flattens() -> Any:
        return await ask("trading", "GET", "/flatten")

    @router.post("/flatten", tags=["trading"], status_code=202)
    async def flatten(wanted: Flat, request: Request) -> Any:
        """Cancel, close, and ask the counter whether it is flat. The same thing twice is one."""
        audited(request, "flatten", f"{wanted.strategy_name or ''} {wanted.symbol or ''} {wanted.reason}".strip())
        return await act("trading", "POST", "/flatten", json=wanted.model_dump())

    @router.delete("/flatten/{job_id}", tags=["trading"])
    async def stop_flatten(job_id: Name, request: Request) -> Any:
        audited(request, "stop flatten", job_id)
        return await act("trading", "DELETE", f"/flatten/{job_id}")

    @router.get("/strategies", tags=["strategies"])
    async def strategies() -> Any:
        return await ask("strategy", "GET", "/strategies")

    @router.post("/strategies", tags=["strategies"], status_code=201)
    async def deploy(wish: Deployment, request: Request) -> Any:
        """A strategy comes into the house and starts. The same wish twice is one run (`attached`); another version of
        one that runs needs `replace`."""
        audited(request, f"deploy {wish.mode}", f"{wish.name} {wish.params}")
        return await act("strategy", "POST", "/strategies", json=wish.model_dump(mode="json", exclude_none=True))

    @router.patch("/strategies/{name}", tags=["strategies"])
    async def edit(name: Name, edit: Edit, request: Request) -> Any:
        """Other parameters, another risk block: a new run with the position it has."""
        audited(request, "edit strategy", f"{name} {edit.params} {edit.risk}")
        if visitor_of(request).run and is_live(house.settings):
            await _refuse_ungranted(house.settings, name, edit)
        return await act("strategy", "PATCH", f"/strategies/{name}", json=edit.model_dump(mode="json"))

    @router.delete("/strategies/{name}", tags=["strategies"])
    async def remove(name: Name, request: Request, force: bool = False) -> Any:
        """Out of the house; its file is laid aside. Not while it holds lots, unless forced."""
        audited(request, "remove strategy", name)
        return await act("strategy", "DELETE", f"/strategies/{name}", force=_word(force))

    @router.get("/strategies/{name}/runs/{run_id}", tags=["strategies"])
    async def run(name: Name, run_id: Name) -> Any:
        """How a run began: class, source, parameters, contracts."""
        return await ask("strategy", "GET", f"/strategies/{name}/runs/{run_id}")

    @router.get("/predictions", tags=["strategies"])
    async def predictions(
        strategy: Annotated[str | None, Query(pattern=r"^[\w.-]{1,64}$")] = None,
        request_id: Annotated[str | None, Query(pattern=r"^[\w.-]{1,64}$")] = None,
        limit: Annotated[int, Query(ge=1, le=5000)] = 100,
    ) -> Any:
        """What models said to strategies, the newest first; with `request_id` the one behind an order."""
        return await ask("strategy", "GET", "/predictions", strategy=strategy, request_id=request_id, limit=limit)

    @router.post("/strategies/{name}/{action}", tags=["strategies"], status_code=202)
    async def strategy(name: Name, action: Literal["start", "stop", "pause", "resume"], request: Request) -> Any:
        audited(request, f"{action} strategy", name)
        return await act("strategy", "POST", f"/strategies/{name}/{action}")

    return router


async def asked(
    settings: Settings,
    service: str,
    method: str,
    path: str,
    query: Mapping[str, Any],
    json: Any = None,
    timeout: float = CALL_SECONDS,
) -> Any:
    """A sibling's answer, or the HTTP error a person understands."""
    try:
        return await call(settings, service, method, path, params=query, json=json, timeout=timeout)
    except CallError as error:
        if error.status and isinstance(error.body, dict) and "detail" in error.body:
            raise HTTPException(error.status, error.body["detail"]) from None
        if error.status and error.status != 500:
            raise HTTPException(error.status, error.body) from None
        raise HTTPException(503, f"{service} does not answer; see: arbig logs {service}") from None


async def _refuse_ungranted(settings: Settings, name: str, edit: Edit) -> None:
    """Nobody types, and money is real: as many lots as the strategy may hold must have been granted to it."""
    found = (await asked(settings, "strategy", "GET", "/strategies", {}))["strategies"]
    risk = next((one["risk"] for one in found if one["strategy_name"] == name), {}) | edit.risk
    lots = risk.get("max_position")
    if not isinstance(lots, int):
        raise HTTPException(
            403,
            f"{name}: has no max_position that a grant could name, so no scheduled notebook edits it; a person does",
        )
    answer = await asked(settings, "trading", "GET", "/granted", {"strategy_name": name, "lots": lots})
    if answer["refusal"]:
        raise HTTPException(403, answer["refusal"])


async def unreadable(_: Request, error: Exception) -> JSONResponse:
    """A body or query that makes no sense: which part, and why. What was sent is not repeated: it may be no text."""
    assert isinstance(error, RequestValidationError)
    detail = [
        {"loc": [_text(part) for part in one["loc"]], "msg": _text(one["msg"]), "type": one["type"]}
        for one in error.errors()
    ]
    return JSONResponse({"detail": detail}, status_code=422)


def _text(part: object) -> str | int:
    return part if isinstance(part, int) else str(part).encode("utf-8", "replace").decode()


def audited(request: Request, action: str, what: str) -> None:
    """Said by a route before it acts: one line of the audit trail, with how it ended (`runtime/witness.py`)."""
    deed_of(request.scope).begins(action, what)


def visitor_of(request: Request) -> Visitor:
    """Whom the guard has let in."""
    visitor: Visitor = request.scope["state"]["visitor"]
    return visitor


def _naive(time: datetime | None) -> str | None:
    return time.replace(tzinfo=None).isoformat() if time else None


def _word(flag: bool | None) -> str | None:
    return None if flag is None else str(flag).lower()


def _logs(
    settings: Settings, service: str | None, level: str, grep: str | None, since: str | None, limit: int
) -> dict[str, Any]:
    try:
        wanted = wanted_of(service, level, grep, since, WallClock().now())
    except SettingsError as error:
        raise HTTPException(422, str(error)) from None
    return {"records": list(deque(read_logs(settings.logs, wanted), maxlen=limit))}
