"""Cancelling: an order that shall be gone, as a notebook sees it. It is gone when the counter says so, not before."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from arbig.client.client import ClientError
from arbig.domain.messages import OrderData

if TYPE_CHECKING:
    from arbig.lab.desk import Desk

LOOK_SECONDS = 0.2


class Cancel:
    """A cancel under way in Trading, which asks the counter again until the order is over."""

    def __init__(self, desk: Desk, name: str) -> None:
        self._desk = desk
        self.name = name

    @property
    def order(self) -> OrderData:
        """As it is now."""
        found = self._desk.live.ask(lambda client: client.whence(self.name))["order"]
        return msgspec.convert(found, OrderData)

    @property
    def state(self) -> str:
        """WAITING (a break, an auction), CANCELLING, or what became of the order: CANCELLED, ALLTRADED, REJECTED."""
        return self._now()[0]

    @property
    def detail(self) -> str:
        """What it waits for."""
        return self._now()[1]

    def wait(self, seconds: float = 60.0) -> str:
        """Until the order is over or the time is up. Interrupted, the cancel goes on."""
        end = time.monotonic() + seconds
        while (state := self.state) in ("WAITING", "CANCELLING") and time.monotonic() < end:
            time.sleep(LOOK_SECONDS)
        return state

    def _now(self) -> tuple[str, str]:
        for one in self._desk.live.ask(lambda client: client.cancels()):
            if self.name in (one["order_id"], one["request_id"]):
                return one["state"], one["detail"] or ""
        order = self.order
        return ("CANCELLING", "") if order.is_active() else (str(order.status), "")

    def __repr__(self) -> str:
        state, detail = self._now()
        return f"<cancel of {self.name}: {state}{f', {detail}' if detail else ''}>"


def cancel(desk: Desk, name: str) -> Cancel:
    """What `Desk.cancel` says."""
    try:
        desk.live.ask(lambda client: client.cancel_order(name))
    except ClientError as error:
        if error.status != 409:  # it is over already
            raise
    return Cancel(desk, name)
