"""Rolling: a strategy's way to the next contract as a notebook sees it. The job is Trading's, the handle has its id."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from arbig.client.client import ClientError

if TYPE_CHECKING:
    from arbig.lab.desk import Desk

OVER = ("DONE", "STOPPED")
LOOK_SECONDS = 0.2


class Roll:
    """A roll under way in Trading."""

    def __init__(self, desk: Desk, job_id: str) -> None:
        self._desk = desk
        self.id = job_id

    @property
    def now(self) -> dict[str, Any]:
        """id strategy_name symbol to state detail reason since lots closed opened stopping."""
        for job in self._desk.live.ask(lambda client: client.rolls()):
            if job["id"] == self.id:
                return job
        raise ClientError(f"roll {self.id}: Trading does not know it (any more)", 404)

    @property
    def state(self) -> str:
        """WAITING, HOLDING, MOVING, BINDING, DONE or STOPPED."""
        return str(self.now["state"])

    @property
    def detail(self) -> str:
        """What it does, or waits for, in words."""
        return str(self.now["detail"])

    def wait(self, seconds: float = 60.0) -> str:
        """Until it is over or the time is up; its state then. Interrupted, the job goes on."""
        end = time.monotonic() + seconds
        while (state := self.state) not in OVER and time.monotonic() < end:
            time.sleep(LOOK_SECONDS)
        return state

    def stop(self) -> None:
        """No lot moves any more. Untouched, the strategy goes on as it was; half way, it is left STOPPED."""
        self._desk.live.ask(lambda client: client.stop_roll(self.id))

    def __repr__(self) -> str:
        job = self.now
        return f"<roll of {job['strategy_name']} from {job['symbol']} to {job['to']}: {job['state']}, {job['detail']}>"


def roll(desk: Desk, strategy_name: str, to: str, symbol: str | None, reason: str | None) -> Roll:
    """What `Desk.roll` says."""
    return Roll(desk, desk.live.ask(lambda client: client.roll(strategy_name, to, symbol, reason))["id"])
