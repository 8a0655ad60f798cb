"""Client: Web's REST in typed words. The console and the notebooks stand on it; it holds nothing.

async with ArbigClient() as arbig:
    for position in (await arbig.positions()).positions: ...
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, TypeVar

import httpx
import msgspec

from arbig.client.answers import (
    AccountSnapshot,
    Bars,
    Events,
    House,
    LastTick,
    OrderAnswer,
    Orders,
    Positions,
    Strategies,
    Tape,
    Trades,
    Whoami,
)
from arbig.domain.messages import Direction, Offset, OrderType
from arbig.runtime.http import RUN_HEADER
from arbig.runtime.settings import load_settings

API = "/api/v1"
TOKEN_VARIABLE = "ARBIG_TOKEN"
RUN_VARIABLE = "ARBIG_RUN_NAME"
T = TypeVar("T")


class ClientError(ConnectionError):
    """One line: no running stack, a wrong token, or what the service said. `status` is the HTTP status, 0 for none."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class ArbigClient:
    """An async client. Without arguments it finds address and token in the run folder of the copy at hand."""

    def __init__(self, base_url: str | None = None, token: str | None = None, timeout_seconds: float = 5.0) -> None:
        """`token`: the trader's or the viewer's; else ARBIG_TOKEN, else the trader's of the run folder."""
        self.base_url, self.token = _found(base_url, token)
        self._http = httpx.AsyncClient(
            base_url=self.base_url,
            headers={"Authorization": f"Bearer {self.token}"} | _unattended(),
            timeout=timeout_seconds,
            trust_env=False,
        )

    async def __aenter__(self) -> ArbigClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    # ---- questions

    async def whoami(self) -> Whoami:
        return await self._get("/whoami", Whoami)

    async def status(self) -> House:
        return await self._get("/status", House)

    async def health(self) -> dict[str, Any]:
        """`services`, each with its own status and `answer_ms`; `streams`, each group's lag, pending and lost."""
        return await self._get("/health", dict[str, Any])

    async def alerts(self) -> dict[str, Any]:
        """`targets` and what they were `sent`."""
        return await self._get("/alerts", dict[str, Any])

    async def tick(self, symbol: str) -> LastTick:
        return await self._get(f"/ticks/{symbol}", LastTick)

    async def account_history(self, since: datetime | None = None, limit: int | None = None) -> list[dict[str, Any]]:
        """`datetime trading_day balance available margin commission close_profit position_profit`, oldest first."""
        answer = await self._get("/account/history", dict[str, Any], since=_wire(since), limit=limit)
        found: list[dict[str, Any]] = answer["points"]
        return found

    async def reconciliation(self) -> dict[str, Any]:
        """Where the counter and we disagree."""
        return await self._get("/reconciliation", dict[str, Any])

    async def bars(
        self,
        symbol: str,
        interval: str = "1m",
        since: datetime | None = None,
        limit: int | None = None,
        until: datetime | None = None,
    ) -> Bars:
        """Finished bars from `since` to before `until`, the newest `limit` of them, oldest first."""
        span = {"since": _wire(since), "until": _wire(until)}
        return await self._get(f"/bars/{symbol}", Bars, interval=interval, limit=limit, **span)

    async def instruments(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self._get("/instruments", dict[str, Any]))["contracts"]
        return found

    async def positions(self) -> Positions:
        return await self._get("/positions", Positions)

    async def whence(self, order_id: str) -> dict[str, Any]:
        """Where an order came from; by order id or request id."""
        return await self._get(f"/orders/{order_id}/whence", dict[str, Any])

    async def tape(
        self, symbol: str, limit: int | None = None, since: datetime | None = None, seq: int | None = None
    ) -> Tape:
        """The running trading day's ticks, oldest first."""
        return await self._get(f"/ticks/{symbol}/tape", Tape, limit=limit, since=_wire(since), seq=seq)

    async def account(self) -> AccountSnapshot:
        return await self._get("/account", AccountSnapshot)

    async def orders(self, active: bool | None = None, limit: int | None = None, cursor: str | None = None) -> Orders:
        """Working orders, or with `active=False` a page of all; the answer's `cursor` asks for the page before it."""
        return await self._get("/orders", Orders, active=active, limit=limit, cursor=cursor)

    async def trades(
        self, since: datetime | None = None, limit: int | None = None, cursor: str | None = None
    ) -> Trades:
        return await self._get("/trades", Trades, since=_wire(since), limit=limit, cursor=cursor)

    async def strategies(self) -> Strategies:
        return await self._get("/strategies", Strategies)

    async def events(self, after: str | None = None, limit: int | None = None) -> Events:
        return await self._get("/events", Events, after=after, limit=limit)

    async def logs(self, **wanted: str | int | None) -> list[dict[str, Any]]:
        """The newest lines; `service= level= grep= since= limit=`."""
        found: list[dict[str, Any]] = (await self._get("/logs", dict[str, Any], **wanted))["records"]
        return found

    async def research(self) -> list[dict[str, Any]]:
        """What was saved to the archive, newest first, with its figures."""
        found: list[dict[str, Any]] = (await self._get("/research", dict[str, Any]))["items"]
        return found

    async def strategy_classes(self) -> list[dict[str, Any]]:
        """What can be deployed: class, file, parameters with kind and default."""
        found: list[dict[str, Any]] = (await self._get("/strategy-classes", dict[str, Any]))["classes"]
        return found

    # ---- actions

    async def send_order(
        self,
        symbol: str,
        direction: Direction,
        offset: Offset,
        price: float,
        volume: int,
        order_type: OrderType = OrderType.LIMIT,
        request_id: str | None = None,
    ) -> OrderAnswer:
        wish = {
            "symbol": symbol,
            "direction": direction,
            "offset": offset,
            "order_type": order_type,
            "price": price,
            "volume": volume,
            "request_id": request_id,
        }
        given = {name: value for name, value in wish.items() if value is not None}
        return await self._ask("POST", "/orders", OrderAnswer, json=given)

    async def preview_order(self, wish: Mapping[str, Any]) -> dict[str, Any]:
        """What would become of an order: `{legs, commission, margin, available, refusal}`. Nothing is sent."""
        return await self._ask("POST", "/orders", dict[str, Any], params={"preview": "true"}, json=wish)

    async def accept_differences(self, reason: str) -> dict[str, Any]:
        """Unexplained lots are taken as they are."""
        return await self._ask("POST", "/reconciliation/accept", dict[str, Any], json={"reason": reason})

    async def move_lots(self, move: str, lots: Mapping[str, Any]) -> dict[str, Any]:
        """`assign` them to a strategy's book, or `unassign` them."""
        return await self._ask("POST", f"/positions/{move}", dict[str, Any], json=lots)

    async def cancel_order(self, order_id: str) -> dict[str, Any]:
        return await self._ask("DELETE", f"/orders/{order_id}", dict[str, Any])

    async def halt(self, reason: str = "") -> dict[str, str]:
        """Send no order any more, cancel what works: what Trading and Gateway have answered."""
        return await self._ask("POST", "/halt", dict[str, str], json={"reason": reason})

    async def set_trading_state(self, state: str, reason: str = "") -> dict[str, Any]:
        """ACTIVE, REDUCING or HALTED."""
        return await self._ask("POST", "/trading/state", dict[str, Any], json={"state": state, "reason": reason})

    async def flatten(
        self, strategy_name: str | None = None, symbol: str | None = None, reason: str | None = None
    ) -> dict[str, Any]:
        """A strategy's book, a contract, or the whole account; its progress is in `flattens()`."""
        wish = {"strategy_name": strategy_name, "symbol": symbol, "reason": reason}
        given = {name: value for name, value in wish.items() if value is not None}
        return await self._ask("POST", "/flatten", dict[str, Any], json=given)

    async def flattens(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self._get("/flatten", dict[str, Any]))["flattens"]
        return found

    async def stop_flatten(self, job_id: str) -> dict[str, Any]:
        return await self._ask("DELETE", f"/flatten/{job_id}", dict[str, Any])

    async def roll(
        self, strategy_name: str, to: str, symbol: str | None = None, reason: str | None = None
    ) -> dict[str, Any]:
        """A strategy moves to the next contract; its progress is in `rolls()`."""
        wish = {"strategy_name": strategy_name, "to": to, "symbol": symbol, "reason": reason}
        given = {name: value for name, value in wish.items() if value is not None}
        return await self._ask("POST", "/rolls", dict[str, Any], json=given)

    async def cancels(self) -> list[dict[str, Any]]:
        """Orders that somebody wants gone and that still work."""
        found: list[dict[str, Any]] = (await self._get("/cancels", dict[str, Any]))["cancels"]
        return found

    async def rolls(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self._get("/rolls", dict[str, Any]))["rolls"]
        return found

    async def stop_roll(self, job_id: str) -> dict[str, Any]:
        return await self._ask("DELETE", f"/rolls/{job_id}", dict[str, Any])

    async def test_alerts(self, target: str | None = None) -> dict[str, Any]:
        """A test message to one target or to all, and what each answered."""
        return await self._ask("POST", "/alerts/test", dict[str, Any], json={"target": target})

    async def control_service(self, name: str, action: str) -> dict[str, Any]:
        return await self._ask("POST", f"/services/{name}/{action}", dict[str, Any])

    async def control_strategy(self, name: str, action: str) -> dict[str, Any]:
        return await self._ask("POST", f"/strategies/{name}/{action}", dict[str, Any])

    async def deploy(self, wish: Mapping[str, Any]) -> dict[str, Any]:
        """`runtime/deployment.py: Deployment` as a mapping; the strategy as it is now, `attached` when it was there."""
        return await self._ask("POST", "/strategies", dict[str, Any], json=wish)

    async def edit_strategy(self, name: str, change: Mapping[str, Any]) -> dict[str, Any]:
        return await self._ask("PATCH", f"/strategies/{name}", dict[str, Any], json=change)

    async def remove_strategy(self, name: str, force: bool = False) -> dict[str, Any]:
        return await self._ask("DELETE", f"/strategies/{name}", dict[str, Any], params={"force": str(force).lower()})

    async def run(self, name: str, run_id: str) -> dict[str, Any]:
        """How a run of a strategy began, with its source."""
        return await self._get(f"/strategies/{name}/runs/{run_id}", dict[str, Any])

    async def ticket(self, role: str = "trader") -> str:
        """A single-use log-in ticket for a browser."""
        return str((await self._ask("POST", "/tickets", dict[str, Any], json={"role": role}))["ticket"])

    # ---- notebooks on the calendar, and what they want

    async def clock(self) -> dict[str, Any]:
        """The exchange's: session_time, trading_day, speed, connected."""
        return await self._get("/clock", dict[str, Any])

    async def schedule(self) -> dict[str, Any]:
        """session_time, entries, problems."""
        return await self._get("/schedule", dict[str, Any])

    async def run_scheduled(self, name: str) -> dict[str, Any]:
        return await self._ask("POST", f"/schedule/{name}/run", dict[str, Any])

    async def scheduled_runs(
        self, name: str | None = None, trading_day: str | None = None, limit: int | None = None
    ) -> list[dict[str, Any]]:
        answer = await self._get("/runs", dict[str, Any], name=name, trading_day=trading_day, limit=limit)
        found: list[dict[str, Any]] = answer["runs"]
        return found

    async def scheduled_run(self, run_id: str) -> dict[str, Any]:
        return await self._get(f"/runs/{run_id}", dict[str, Any])

    async def stop_scheduled_run(self, run_id: str) -> dict[str, Any]:
        return await self._ask("POST", f"/runs/{run_id}/stop", dict[str, Any])

    async def want(self, wish: Mapping[str, Any]) -> dict[str, Any]:
        """strategy_name, symbol, target, intent, and trading_day, run_id when known; `repeated` when said before."""
        return await self._ask("POST", "/intents", dict[str, Any], json=wish)

    async def intent(self, intent_id: str) -> dict[str, Any]:
        return await self._get(f"/intents/{intent_id}", dict[str, Any])

    async def intents(self, strategy_name: str | None = None, limit: int | None = None) -> list[dict[str, Any]]:
        answer = await self._get("/intents", dict[str, Any], strategy_name=strategy_name, limit=limit)
        found: list[dict[str, Any]] = answer["intents"]
        return found

    async def stop_intent(self, intent_id: str) -> dict[str, Any]:
        return await self._ask("DELETE", f"/intents/{intent_id}", dict[str, Any])

    async def grants(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self._get("/grants", dict[str, Any]))["grants"]
        return found

    async def grant(self, strategy_name: str, lots: int, expires_at: str) -> dict[str, Any]:
        wish = {"strategy_name": strategy_name, "lots": lots, "expires_at": expires_at}
        return await self._ask("POST", "/grants", dict[str, Any], json=wish)

    async def revoke(self, grant_id: str) -> dict[str, Any]:
        return await self._ask("DELETE", f"/grants/{grant_id}", dict[str, Any])

    # ---- one way out

    async def _get(self, path: str, kind: type[T], **query: Any) -> T:
        return await self._ask("GET", path, kind, params={k: v for k, v in query.items() if v is not None})

    async def _ask(
        self, method: str, path: str, kind: type[T], params: Mapping[str, Any] | None = None, json: Any = None
    ) -> T:
        try:
            answer = await self._http.request(method, API + path, params=params, json=json)
        except httpx.ConnectError:
            raise no_stack(self.base_url) from None
        except httpx.HTTPError as error:
            raise ClientError(f"{self.base_url}: {type(error).__name__} {error}".rstrip()) from None
        if answer.is_error:
            raise ClientError(_reason(answer), answer.status_code)
        try:
            return msgspec.json.decode(answer.content, type=kind)
        except msgspec.DecodeError as error:
            raise ClientError(f"{method} {path}: an answer of another version: {error}") from None


def no_stack(base_url: str) -> ClientError:
    return ClientError(f"no running stack at {base_url}: run make up")


def _unattended() -> dict[str, str]:
    run = os.environ.get(RUN_VARIABLE)
    return {RUN_HEADER: run} if run else {}


def _found(base_url: str | None, token: str | None) -> tuple[str, str]:
    token = token or os.environ.get(TOKEN_VARIABLE)
    if base_url is not None and token:
        return base_url.rstrip("/"), token
    settings = load_settings()
    return (base_url or f"http://127.0.0.1:{settings.port('web')}").rstrip("/"), token or settings.token


def _wire(time: datetime | None) -> str | None:
    return time.replace(tzinfo=None).isoformat() if time else None


def _reason(answer: httpx.Response) -> str:
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        detail = answer.text[:200] or answer.reason_phrase
    if isinstance(detail, list):
        detail = "; ".join(f"{'.'.join(map(str, e['loc'][1:]))}: {e['msg']}" for e in detail)
    return str(detail)
