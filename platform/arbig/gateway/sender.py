"""Sender: orders to the counter, one on its way at a time. The next goes out when the counter has spoken of the last.

What a window of one is for: an order that nobody has spoken of can then be only one, and no later one overtakes it. The
simulated exchange speaks of an order with its very next word; CTP when it has taken it, and it queues without a word
what comes too fast: so its rate is kept here, where an order that waits can still be refused. Expiry, connection and
the last door are asked right before each insert, however long the order (or this whole process) has stood still.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from arbig.domain.counter import InsertOrder
from arbig.domain.messages import Detail
from arbig.domain.orders import OrderState
from arbig.gateway.door import Door
from arbig.gateway.port import Connector, NotConnected
from arbig.runtime.clock import Clock
from arbig.runtime.crash import crash_point
from arbig.store.journal import Journal, Row

LOOK_AGAIN = 0.05
"""Wall seconds between two looks at orders that wait: for their turn under the counter's rate, or for their end."""


class Unechoed(NamedTuple):
    """The order on its way."""

    order_id: str
    sent_at: float


class Refused(NamedTuple):
    detail: Detail
    reason: str


class Sender:
    """`ready` says whether the connection stands and is reconciled, `now` is the session time that answers carry;
    `wake` is called when the journal has something to publish, `sent` when an order has just gone out."""

    def __init__(
        self,
        journal: Journal,
        connector: Connector,
        door: Door,
        clock: Clock,
        ready: Callable[[], bool],
        now: Callable[[], datetime],
        wake: Callable[[], None],
        sent: Callable[[str], None],
    ) -> None:
        self._journal = journal
        self._connector = connector
        self._door = door
        self._clock = clock
        self._ready = ready
        self._now = now
        self._wake = wake
        self._sent = sent
        self._waiting: deque[tuple[Row, datetime | None]] = deque()
        self._has_waiting = asyncio.Event()
        self._is_moving = False
        self.unechoed: Unechoed | None = None

    @property
    def is_free(self) -> bool:
        """Whether an order could go out at once."""
        return self.unechoed is None and not self._waiting and self._connector.turn_in() <= 0

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def refusal(self, order: OrderState, expires_at: datetime | None) -> Refused | None:
        """Why the order must not go out now."""
        now, today = self._clock.now(), self._journal.trading_day
        if expires_at is not None and now > expires_at:
            return Refused(Detail.EXPIRED, f"it expired at {expires_at:%H:%M:%S.%f}"[:-3])
        day = order.trading_day
        if day is not None and today is not None and day != today:
            return Refused(Detail.EXPIRED, f"it was meant for trading day {day}, and it is {today} now")
        if not self._ready():
            return Refused(Detail.NOT_SENT, "the counter is not connected 未连接柜台")
        refusal = self._door.refusal(order.offset)
        return Refused(Detail.DENIED, refusal) if refusal is not None else None

    def take(self, order: Row, expires_at: datetime | None, waits: bool) -> None:
        """An order whose row is on disk: it goes out now, or stands at the end of the queue."""
        if waits:
            self._waiting.append((order, expires_at))
            self._has_waiting.set()
        else:
            self._send(order, expires_at)

    def heard(self) -> None:
        """The counter has spoken, or has been given up on: if it was of the order on its way, the next one goes."""
        if self.unechoed is not None and not self._journal.is_in_flight(self.unechoed.order_id):
            self.unechoed = None
        if self._waiting:
            self._move()

    def lost(self) -> None:
        """The connection is gone: nothing that waits goes out any more. What was on its way is asked for later."""
        self.unechoed = None
        self._move()

    async def watch(self) -> None:
        """Until cancelled: what waits gets its turn, or its refusal, in time."""
        while True:
            await self._has_waiting.wait()
            while self._waiting:
                await self._clock.sleep(LOOK_AGAIN)
                self._move()
            self._has_waiting.clear()

    def _move(self) -> None:
        if self._is_moving:
            return
        self._is_moving = True
        try:
            self._refuse_waiting()
            while self._waiting and self.unechoed is None and self._connector.turn_in() <= 0:
                order, expires_at = self._waiting.popleft()
                if self._journal.now_sending(order.order_id):
                    self._send(order, expires_at)
        finally:
            self._is_moving = False

    def _refuse_waiting(self) -> None:
        refused = [(order, why) for order, end in self._waiting if (why := self.refusal(order.state, end)) is not None]
        if not refused:
            return
        gone = {order.order_id for order, _ in refused}
        self._waiting = deque(each for each in self._waiting if each[0].order_id not in gone)
        for order, why in refused:
            self._journal.withhold(order.order_id, why.detail, why.reason, self._now())
        self._wake()

    def _send(self, row: Row, expires_at: datetime | None) -> None:
        order = row.state
        wish = InsertOrder(
            order_ref=row.order_ref or 0,
            memo=row.memo or "",
            symbol=order.symbol,
            exchange=order.exchange,
            direction=order.direction,
            offset=order.offset,
            order_type=order.order_type,
            price=order.price,
            volume=order.volume,
        )
        crash_point("gw.before_send")
        refused = self.refusal(order, expires_at)
        if refused is not None:
            self._journal.withhold(row.order_id, refused.detail, refused.reason, self._now())
            self._wake()
            return
        self.unechoed = Unechoed(row.order_id, self._clock.monotonic())
        try:
            self._connector.insert(wish)
        except NotConnected as error:
            self.unechoed = None
            self._journal.withhold(row.order_id, Detail.NOT_SENT, str(error), self._now())
            self._wake()
            return
        self._sent(row.order_id)
        crash_point("gw.after_send")
