"""Web's answers: which struct each route's answer can be read with. What the client reads is in `client/answers.py`;
here is the rest, and the table of all of them, from which the OpenAPI description and `docs/api.md` are made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from arbig.client import answers as said
from arbig.client.answers import Answer

Rows = list[dict[str, Any]]


class Ticket(Answer, frozen=True, kw_only=True):
    """`/login?ticket=...` lets in once, as that role."""

    ticket: str
    valid_seconds: int
    role: str


class Services(Answer, frozen=True, kw_only=True):
    services: list[said.ServiceState]


class Controlled(Answer, frozen=True, kw_only=True):
    service: str
    action: str
    done: bool


class LogRecord(Answer, frozen=True, kw_only=True):
    """One line of a service's log; further keys are what it was logged with."""

    ts: str
    level: str
    service: str
    event: str


class Logs(Answer, frozen=True, kw_only=True):
    records: list[LogRecord]


class Instruments(Answer, frozen=True, kw_only=True):
    """Each with `symbol exchange product name size price_tick margin_rate ...`."""

    contracts: Rows


class Clock(Answer, frozen=True, kw_only=True):
    session_time: str | None
    trading_day: str | None
    speed: float | None = None
    connected: bool | None = None


class Accepted(Answer, frozen=True, kw_only=True):
    accepted: list[str]


class BookChanges(Answer, frozen=True, kw_only=True):
    changes: Rows


class Reconciliation(Answer, frozen=True, kw_only=True):
    """A difference is `{what, symbol, direction, order_id, ours, theirs, done, state, found_at, closed_at}`."""

    trading_day: str | None
    last_pass: str | None
    differences: Rows
    mended: int
    open: Rows
    book_changes: Rows
    statement: dict[str, Any] | None


class AccountPoint(Answer, frozen=True, kw_only=True):
    datetime: str
    trading_day: str | None = None
    balance: float


class AccountHistory(Answer, frozen=True, kw_only=True):
    points: list[AccountPoint]


class TradingState(Answer, frozen=True, kw_only=True):
    """`state` is what holds now, `wanted` what was set."""

    state: str
    wanted: str
    reason: str
    since: str
    number: int
    gateway_knows: bool
    connected: bool
    reconciled: bool


class Halted(Answer, frozen=True, kw_only=True):
    """HALTED, or why not."""

    trading: str
    gateway: str


class LotsLeft(Answer, frozen=True, kw_only=True):
    symbol: str
    direction: str
    volume: int


class Flatten(Answer, frozen=True, kw_only=True):
    """`state`: WAITING CANCELLING CLOSING DONE STOPPED."""

    id: str
    strategy_name: str | None
    symbol: str | None
    state: str
    reason: str
    detail: str
    since: str
    left: list[LotsLeft]


class Flattens(Answer, frozen=True, kw_only=True):
    flattens: list[Flatten]


class Deployed(said.Strategy, frozen=True, kw_only=True):
    """`attached`: it was there already, in this very version."""

    attached: bool = False


class Named(Answer, frozen=True, kw_only=True):
    """A strategy after something was done with it."""

    strategy_name: str | None = None
    state: str | None = None


class Run(Answer, frozen=True, kw_only=True):
    """How a run of a strategy began: class, source, parameters, contracts."""

    run_id: str | None = None
    class_name: str | None = None
    source: str | None = None
    parameters: dict[str, Any] | None = None


class Research(Answer, frozen=True, kw_only=True):
    items: Rows


class Classes(Answer, frozen=True, kw_only=True):
    classes: Rows


class Schedule(Answer, frozen=True, kw_only=True):
    session_time: str | None
    entries: Rows
    problems: list[str]


class NotebookRun(Answer, frozen=True, kw_only=True):
    """`state`: DUE RUNNING DONE FAILED TIMEOUT KILLED MISSED SKIPPED."""

    run_id: str
    name: str | None = None
    state: str | None = None


class NotebookRuns(Answer, frozen=True, kw_only=True):
    runs: list[NotebookRun]


class StoppedRun(Answer, frozen=True, kw_only=True):
    run_id: str
    stopped: bool


class Intent(Answer, frozen=True, kw_only=True):
    """`repeated`: the same was wanted before, this is that one."""

    id: str
    strategy_name: str
    symbol: str
    target: int
    intent: str
    state: str
    detail: str = ""
    orders: Rows = []
    repeated: bool = False


class Intents(Answer, frozen=True, kw_only=True):
    intents: list[Intent]


class Grant(Answer, frozen=True, kw_only=True):
    id: str
    strategy_name: str
    lots: int
    expires_at: str
    state: str


class Grants(Answer, frozen=True, kw_only=True):
    grants: list[Grant]


class Revoked(Answer, frozen=True, kw_only=True):
    id: str
    revoked: bool


class Roll(Answer, frozen=True, kw_only=True):
    id: str
    strategy_name: str
    state: str
    detail: str = ""


class Cancels(Answer, frozen=True, kw_only=True):
    """`order_id request_id strategy_name symbol state detail`; `state`: WAITING CANCELLING."""

    cancels: Rows


class Rolls(Answer, frozen=True, kw_only=True):
    rolls: list[Roll]


class Predictions(Answer, frozen=True, kw_only=True):
    predictions: Rows


class Alerts(Answer, frozen=True, kw_only=True):
    targets: Rows
    sent: Rows


class Tested(Answer, frozen=True, kw_only=True):
    """What became of the test at each target."""

    results: Rows = []


HTML = str
ANSWERS: Mapping[tuple[str, str], Any] = {
    ("GET", "/whoami"): said.Whoami,
    ("GET", "/health"): dict[str, Any],
    ("GET", "/status"): said.House,
    ("GET", "/services"): Services,
    ("POST", "/services/{name}/{action}"): Controlled,
    ("GET", "/logs"): Logs,
    ("GET", "/events"): said.Events,
    ("POST", "/tickets"): Ticket,
    ("GET", "/ticks/{symbol}"): said.LastTick,
    ("GET", "/ticks/{symbol}/tape"): said.Tape,
    ("GET", "/bars/{symbol}"): said.Bars,
    ("GET", "/instruments"): Instruments,
    ("GET", "/clock"): Clock,
    ("GET", "/positions"): said.Positions,
    ("POST", "/positions/{move}"): BookChanges,
    ("GET", "/reconciliation"): Reconciliation,
    ("POST", "/reconciliation/accept"): Accepted,
    ("GET", "/account"): said.AccountSnapshot,
    ("GET", "/account/history"): AccountHistory,
    ("GET", "/orders"): said.Orders,
    ("POST", "/orders"): said.OrderAnswer,
    ("DELETE", "/orders/{order_id}"): said.OrderAnswer,
    ("GET", "/orders/{order_id}/whence"): dict[str, Any],
    ("GET", "/trades"): said.Trades,
    ("GET", "/trading/state"): TradingState,
    ("POST", "/trading/state"): TradingState,
    ("POST", "/halt"): Halted,
    ("GET", "/flatten"): Flattens,
    ("POST", "/flatten"): Flatten,
    ("DELETE", "/flatten/{job_id}"): Flatten,
    ("GET", "/strategies"): said.Strategies,
    ("POST", "/strategies"): Deployed,
    ("PATCH", "/strategies/{name}"): said.Strategy,
    ("DELETE", "/strategies/{name}"): Named,
    ("POST", "/strategies/{name}/{action}"): Named,
    ("GET", "/strategies/{name}/runs/{run_id}"): Run,
    ("GET", "/strategy-classes"): Classes,
    ("GET", "/cancels"): Cancels,
    ("GET", "/rolls"): Rolls,
    ("POST", "/rolls"): Roll,
    ("DELETE", "/rolls/{job_id}"): Roll,
    ("GET", "/research"): Research,
    ("GET", "/research/{item}"): HTML,
    ("GET", "/schedule"): Schedule,
    ("POST", "/schedule/{name}/run"): NotebookRun,
    ("GET", "/runs"): NotebookRuns,
    ("GET", "/runs/{run_id}"): NotebookRun,
    ("POST", "/runs/{run_id}/stop"): StoppedRun,
    ("GET", "/runs/{run_id}/report"): HTML,
    ("GET", "/intents"): Intents,
    ("POST", "/intents"): Intent,
    ("GET", "/intents/{intent_id}"): Intent,
    ("DELETE", "/intents/{intent_id}"): Intent,
    ("GET", "/grants"): Grants,
    ("POST", "/grants"): Grant,
    ("DELETE", "/grants/{grant_id}"): Revoked,
    ("GET", "/predictions"): Predictions,
    ("GET", "/alerts"): Alerts,
    ("POST", "/alerts/test"): Tested,
}
