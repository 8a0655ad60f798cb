"""Scheduling: what the Scheduler runs, ran and is allowed, as a notebook sees it (`desk.schedule`)."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from arbig.client.client import ClientError
from arbig.lab.handles import Handle
from arbig.lab.live import table

if TYPE_CHECKING:
    import pandas as pd

    from arbig.lab.desk import Desk

ENTRY_COLUMNS = ("name", "notebook", "when", "next", "mode", "on_end", "enabled", "last", "problem")
RUN_COLUMNS = (
    "due", "name", "trading_day", "state", "attempt", "started", "ended", "seconds", "cell", "error", "intents",
    "orders", "strategies", "on_end", "folder", "run_id",
)  # fmt: skip
GRANT_COLUMNS = ("id", "strategy_name", "lots", "expires_at", "given_by", "given_at", "revoked_at", "state")


class ScheduledRun(Handle):
    """A run that was asked for."""

    under_way = ("DUE", "RUNNING")

    @property
    def now(self) -> dict[str, Any]:
        return self._desk.live.ask(lambda client: client.scheduled_run(self.id))

    @property
    def detail(self) -> str:
        """What went wrong, if anything did."""
        return str(self.now["error"] or "")

    def wait(self, seconds: float = 300.0) -> str:
        """Until it has ended or the time is up; its state then. A notebook takes its time."""
        return super().wait(seconds)

    def stop(self) -> None:
        self._desk.live.ask(lambda client: client.stop_scheduled_run(self.id))

    def __repr__(self) -> str:
        now = self.now
        words = "" if now["error"] is None else f", {now['error']}"
        return f"<run {now['name']} of {now['due'].replace('T', ' ')}: {now['state']}{words}>"


class Scheduling:
    """`desk.schedule`: a table of the entries, and what can be asked of them."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    @property
    def frame(self) -> pd.DataFrame:
        """A row an entry; `next` is session time, `last` how its last run ended."""
        rows = self._answer["entries"]
        shown = [{**row, "last": (row.get("last") or {}).get("state")} for row in rows]
        return table(shown, ENTRY_COLUMNS).set_index("name")

    @property
    def problems(self) -> list[str]:
        """What is wrong with config/schedule.yaml, a line each."""
        found: list[str] = self._answer["problems"]
        return found

    def run(self, name: str) -> ScheduledRun:
        """Now, whatever its time. Raises ClientError while it runs already."""
        return ScheduledRun(self._desk, self._desk.live.ask(lambda client: client.run_scheduled(name))["run_id"])

    def history(self, name: str | None = None, trading_day: str | None = None, limit: int = 50) -> pd.DataFrame:
        """The newest runs first."""
        return table(self._desk.live.ask(lambda client: client.scheduled_runs(name, trading_day, limit)), RUN_COLUMNS)

    def grant(self, strategy_name: str, lots: int, expires_at: str | datetime) -> dict[str, Any]:
        """Real money: this notebook strategy may hold so many lots of a contract until then. Written to the audit."""
        until = expires_at if isinstance(expires_at, str) else expires_at.isoformat()
        return self._desk.live.ask(lambda client: client.grant(strategy_name, lots, until))

    def revoke(self, grant_id: str) -> None:
        self._desk.live.ask(lambda client: client.revoke(grant_id))

    @property
    def grants(self) -> pd.DataFrame:
        return table(self._desk.live.ask(lambda client: client.grants()), GRANT_COLUMNS)

    @property
    def _answer(self) -> dict[str, Any]:
        return self._desk.live.ask(lambda client: client.schedule())

    def __repr__(self) -> str:
        try:
            return repr(self.frame)
        except ClientError as error:
            return f"<schedule: {error}>"

    def _repr_html_(self) -> str | None:
        found: str | None = self.frame.to_html(na_rep="")
        return found
