"""Handles: what a service does by itself, as a notebook sees it. A handle holds a name and nothing else: whatever it
shows was asked a moment ago, and dropping it, or the kernel, changes nothing."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from arbig.client.client import ClientError
from arbig.domain.messages import OrderData

if TYPE_CHECKING:
    from arbig.lab.desk import Desk

LOOK_SECONDS = 0.2


class Handle(ABC):
    under_way: ClassVar[tuple[str, ...]]
    """The states in which it is not over."""

    def __init__(self, desk: Desk, name: str) -> None:
        self._desk = desk
        self.id = name

    @property
    @abstractmethod
    def now(self) -> dict[str, Any]:
        """Everything its service says of it. Raises ClientError."""

    @property
    def state(self) -> str:
        return str(self.now["state"])

    @property
    def detail(self) -> str:
        """What it does, or waits for, in words."""
        return str(self.now["detail"])

    def wait(self, seconds: float = 60.0) -> str:
        """Until it is over or the time is up; its state then. Interrupted, it goes on in its service."""
        end = time.monotonic() + seconds
        while (state := self.state) in self.under_way and time.monotonic() < end:
            time.sleep(LOOK_SECONDS)
        return state


class Flatten(Handle):
    """A flattening under way in Trading: WAITING, CANCELLING, CLOSING, then DONE or STOPPED."""

    under_way = ("WAITING", "CANCELLING", "CLOSING")

    @property
    def now(self) -> dict[str, Any]:
        """id, strategy_name, symbol, state, reason, detail, since, left."""
        return _found(self._desk.live.ask(lambda client: client.flattens()), self.id, "flatten")

    @property
    def left(self) -> list[dict[str, Any]]:
        """Lots that are not closed yet."""
        found: list[dict[str, Any]] = self.now["left"]
        return found

    def stop(self) -> None:
        """Leave the rest open."""
        self._desk.live.ask(lambda client: client.stop_flatten(self.id))

    def __repr__(self) -> str:
        job = self.now
        left = ", ".join(f"{one['volume']} {one['symbol']} {one['direction']}" for one in job["left"]) or "nothing left"
        return f"<flatten {job['strategy_name'] or job['symbol'] or 'everything'}: {job['state']}, {left}>"


class Roll(Handle):
    """A strategy's way to the next contract, in Trading: WAITING, HOLDING, MOVING, BINDING, then DONE or STOPPED."""

    under_way = ("WAITING", "HOLDING", "MOVING", "BINDING")

    @property
    def now(self) -> dict[str, Any]:
        """id strategy_name symbol to state detail reason since lots closed opened stopping."""
        return _found(self._desk.live.ask(lambda client: client.rolls()), self.id, "roll")

    def stop(self) -> None:
        """No lot moves any more. Untouched, the strategy goes on as it was; half way, it is left STOPPED."""
        self._desk.live.ask(lambda client: client.stop_roll(self.id))

    def __repr__(self) -> str:
        job = self.now
        return f"<roll of {job['strategy_name']} from {job['symbol']} to {job['to']}: {job['state']}, {job['detail']}>"


class Cancel(Handle):
    """A cancel in Trading, which asks the counter again until the order is over: WAITING (a break, an auction),
    CANCELLING, then what became of the order: CANCELLED, ALLTRADED, REJECTED. `id`: of the order or its request."""

    under_way = ("WAITING", "CANCELLING")

    @property
    def order(self) -> OrderData:
        """As it is now."""
        found = self._desk.live.ask(lambda client: client.whence(self.id))["order"]
        return msgspec.convert(found, OrderData)

    @property
    def now(self) -> dict[str, Any]:
        """state, detail."""
        for one in self._desk.live.ask(lambda client: client.cancels()):
            if self.id in (one["order_id"], one["request_id"]):
                return {"state": one["state"], "detail": one["detail"] or ""}
        order = self.order
        return {"state": "CANCELLING" if order.is_active() else str(order.status), "detail": ""}

    def __repr__(self) -> str:
        now = self.now
        return f"<cancel of {self.id}: {', '.join(word for word in now.values() if word)}>"


def _found(jobs: list[dict[str, Any]], job_id: str, what: str) -> dict[str, Any]:
    for job in jobs:
        if job["id"] == job_id:
            return job
    raise ClientError(f"{what} {job_id}: Trading does not know it (any more)", 404)


def flatten(desk: Desk, strategy_name: str | None, symbol: str | None, reason: str) -> Flatten:
    """What `Desk.flatten` says."""
    return Flatten(desk, desk.live.ask(lambda client: client.flatten(strategy_name, symbol, reason))["id"])


def roll(desk: Desk, strategy_name: str, to: str, symbol: str | None, reason: str | None) -> Roll:
    """What `Desk.roll` says."""
    return Roll(desk, desk.live.ask(lambda client: client.roll(strategy_name, to, symbol, reason))["id"])


def cancel(desk: Desk, name: str) -> Cancel:
    """What `Desk.cancel` says."""
    try:
        desk.live.ask(lambda client: client.cancel_order(name))
    except ClientError as error:
        if error.status != 409:  # it is over already
            raise
    return Cancel(desk, name)
